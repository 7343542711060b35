/* Blosc buffers of LZ4 with shuffled bytes, made block by block from where elements lie: they are neither gathered nor shuffled in memory
 * of a chunk's size. The bytes are those that the library makes; it is asked first what it does with a chunk of some size. */

#include "kernels.h"

bool form_of(const uint8_t *made, Py_ssize_t item, Form *form) {
    int flags = made[2] & ~UNSPLIT;
    *form = (Form){.nbytes = read_word(made + 4), .block = read_word(made + 8), .is_split = !(made[2] & UNSPLIT)};
    return made[0] == FORMAT && made[1] == LZ4_FORMAT && made[3] == item && has_rows(item) &&
           flags == (SHUFFLED | LZ4) && form->block > 0 && form->block % (uint32_t)item == 0 &&
           form->nbytes % (uint32_t)item == 0;
}

static void write_word(char *to, Py_ssize_t number) {
    for (int i = 0; i < LENGTH; i++) to[i] = (char)((uint32_t)number >> 8 * i);
}

/* The rows of a block, and where it begins in the chunk. */
typedef struct {
    uint8_t *rows[MAX_ROWS];
    Py_ssize_t item, start;
} Rows;

static void put_one(void *what, Py_ssize_t at, Py_ssize_t step, Py_ssize_t count, char *array, Py_ssize_t stride) {
    const Rows *rows = what;
    put_line(rows->rows, rows->item, (at - rows->start) / rows->item, step / rows->item, count, array, stride);
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
        Rows rows = {.item = item, .start = start};
        for (int row = 0; row < item; row++) rows.rows[row] = (uint8_t *)work + row * (length / item);
        each_line(w, item, start, start + length, (char *)array, put_one, &rows); /* which only reads it */
        write_word(to + HEADER + LENGTH * number, used);
        int streams = split ? (int)item : 1;
        Py_ssize_t made = pack_streams(work, streams, length / streams, 10 - level, pack, to + used, room - used);
        if (made == 0) return 0;
        used += made;
    }
    const char header[] = {FORMAT, LZ4_FORMAT, (char)(SHUFFLED | LZ4 | (form->is_split ? 0 : UNSPLIT)), (char)item};
    memcpy(to, header, sizeof header);
    write_word(to + 4, form->nbytes);
    write_word(to + 8, form->block);
    write_word(to + 12, used);
    return used;
}
