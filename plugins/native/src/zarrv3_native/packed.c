/* Blosc buffers of LZ4 with shuffled bytes, made block by block from where elements lie: they are neither gathered nor shuffled in memory
 * of a chunk's size. The bytes are those that the library makes; it is asked first what it does with a chunk of some size. */

#include "kernels.h"

enum { HEADER = 16, LENGTH = 4, MIN_STREAM = 128 };
enum { VERSION = 2, LZ4_VERSION = 1, SHUFFLED = 0x01, STORED = 0x02, UNSPLIT = 0x10, LZ4 = 0x20 };

bool form_of(const uint8_t *made, Py_ssize_t item, Form *form) {
    int flags = made[2] & ~UNSPLIT;
    *form = (Form){.nbytes = read_word(made + 4), .block = read_word(made + 8), .is_split = !(made[2] & UNSPLIT)};
    return made[0] == VERSION && made[1] == LZ4_VERSION && made[3] == item && has_rows(item) &&
           flags == (SHUFFLED | LZ4) && form->block > 0 && form->block % (uint32_t)item == 0 &&
           form->nbytes % (uint32_t)item == 0;
}

static void write_word(char *to, Py_ssize_t number) {
    for (int i = 0; i < LENGTH; i++) to[i] = (char)((uint32_t)number >> 8 * i);
}

/* Put what a window has between `start` and `stop` of a chunk into rows; `at` is where the line begins that comes next. */
static void put_part(const Window *w, Py_ssize_t item, const char *array, uint8_t *const *rows, Py_ssize_t start, Py_ssize_t stop,
                     Py_ssize_t at, int axis) {
    if (axis < w->ndim - 1) {
        Py_ssize_t reach = 0; /* from the first byte of a step along this axis to its last one */
        for (int inner = axis + 1; inner < w->ndim; inner++) reach += (w->shape[inner] - 1) * w->chunk_stride[inner];
        for (Py_ssize_t i = 0; i < w->shape[axis]; i++, at += w->chunk_stride[axis], array += w->array_stride[axis])
            if (at + reach >= start && at < stop) put_part(w, item, array, rows, start, stop, at, axis + 1);
        return;
    }
    Py_ssize_t step = w->ndim ? w->chunk_stride[axis] : item, count = w->ndim ? w->shape[axis] : 1;
    Py_ssize_t stride = w->ndim ? w->array_stride[axis] : item;
    Py_ssize_t first = at >= start ? 0 : (start - at + step - 1) / step;
    Py_ssize_t last = at >= stop ? 0 : (stop - at + step - 1) / step; /* the first one that is behind */
    if (last > count) last = count;
    if (first < last) put_line(rows, item, (at + first * step - start) / item, step / item, last - first, array + first * stride, stride);
}

/* Compress the streams of a block, which lie one behind the other; what they become, 0 if there is no room. */
static Py_ssize_t pack_streams(const char *block, int streams, Py_ssize_t each, int speed, PackLz4 pack, char *to, Py_ssize_t room) {
    Py_ssize_t used = 0;
    for (int i = 0; i < streams; i++, block += each) {
        Py_ssize_t most = room - used - LENGTH;
        if (most <= 0) return 0;
        char *packed = to + used + LENGTH;
        Py_ssize_t made = pack(block, packed, (int)each, (int)(most < each ? most : each), speed);
        if (made <= 0 || made == each) { /* it cannot be compressed */
            if (most < each) return 0;
            memcpy(packed, block, (size_t)each);
            made = each;
        }
        write_word(to + used, made);
        used += LENGTH + made;
    }
    return used;
}

Py_ssize_t pack_window(const Form *form, const Window *w, Py_ssize_t item, const char *array, int level, PackLz4 pack, char *work,
                       char *to, Py_ssize_t room) {
    Py_ssize_t count = (form->nbytes + form->block - 1) / form->block, used = HEADER + LENGTH * count;
    if (used > room) return 0;
    for (Py_ssize_t number = 0; number < count; number++) {
        Py_ssize_t start = number * form->block, left = form->nbytes - start;
        Py_ssize_t length = left < form->block ? left : form->block;
        bool split = form->is_split && length == form->block && length / item >= MIN_STREAM;
        uint8_t *rows[MAX_ROWS];
        for (int row = 0; row < item; row++) rows[row] = (uint8_t *)work + row * (length / item);
        put_part(w, item, array + w->array_start, rows, start, start + length, w->chunk_start, 0);
        write_word(to + HEADER + LENGTH * number, used);
        int streams = split ? (int)item : 1;
        Py_ssize_t made = pack_streams(work, streams, length / streams, 10 - level, pack, to + used, room - used);
        if (made == 0) return 0;
        used += made;
    }
    const char header[] = {VERSION, LZ4_VERSION, (char)(SHUFFLED | LZ4 | (form->is_split ? 0 : UNSPLIT)), (char)item};
    memcpy(to, header, sizeof header);
    write_word(to + 4, form->nbytes);
    write_word(to + 8, form->block);
    write_word(to + 12, used);
    return used;
}
