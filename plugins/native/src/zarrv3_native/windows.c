/* Where the elements of a piece lie, in the chunk and in the array, and how they are copied. */

#include "kernels.h"

bool chunk_of(PyObject *shape, Py_ssize_t item, const Layout *layout, Chunk *chunk) {
    Py_ssize_t ndim = PyTuple_Size(shape);
    if (ndim < 0) return false;
    if (ndim > MAX_NDIM || item <= 0 || item % layout->word || (layout->ndim && layout->ndim != ndim)) {
        PyErr_SetString(PyExc_ValueError, "too many dimensions, or elements that do not fit");
        return false;
    }
    chunk->ndim = (int)ndim;
    chunk->item = item;
    chunk->nbytes = item;
    for (int axis = 0; axis < chunk->ndim; axis++) {
        Py_ssize_t length = PyLong_AsSsize_t(PyTuple_GetItem(shape, axis));
        if (length == -1 && PyErr_Occurred()) return false;
        if (length <= 0 || chunk->nbytes > PY_SSIZE_T_MAX / length) {
            PyErr_SetString(PyExc_ValueError, "a chunk without elements, or too large");
            return false;
        }
        chunk->shape[axis] = length;
        chunk->nbytes *= length;
    }
    Py_ssize_t stride = item;
    for (int place = chunk->ndim - 1; place >= 0; place--) {
        int axis = layout->ndim ? layout->order[place] : place;
        chunk->stride[axis] = stride;
        stride *= chunk->shape[axis];
    }
    return true;
}

bool range_of(PyObject *index, Py_ssize_t length, Range *range) {
    if (PySlice_Check(index)) {
        Py_ssize_t stop;
        if (PySlice_Unpack(index, &range->start, &stop, &range->step) < 0) {
            PyErr_Clear();
            return false;
        }
        range->count = PySlice_AdjustIndices(length, &range->start, &stop, range->step);
        range->kept = true;
        return true;
    }
    if (!PyLong_CheckExact(index)) return false;
    range->start = PyLong_AsSsize_t(index);
    if (range->start == -1 && PyErr_Occurred()) PyErr_Clear();
    range->step = range->count = 1;
    range->kept = false;
    return range->start >= 0 && range->start < length;
}

static Py_ssize_t distance(Py_ssize_t stride) {
    return stride < 0 ? -stride : stride;
}

static void move_axis(Window *w, int from, int to) {
    Py_ssize_t shape = w->shape[from], array = w->array_stride[from], chunk = w->chunk_stride[from];
    for (int step = from < to ? 1 : -1; from != to; from += step) {
        w->shape[from] = w->shape[from + step];
        w->array_stride[from] = w->array_stride[from + step];
        w->chunk_stride[from] = w->chunk_stride[from + step];
    }
    w->shape[to] = shape;
    w->array_stride[to] = array;
    w->chunk_stride[to] = chunk;
}

/* Put the dimensions in the order in which the chunk has them, leave out those of one element, and join those that are one to
 * both sides, so that lines are long. */
static void simplify(Window *w) {
    for (int axis = 1; axis < w->ndim; axis++) {
        int to = axis;
        while (to > 0 && distance(w->chunk_stride[to - 1]) < distance(w->chunk_stride[axis])) to--;
        move_axis(w, axis, to);
    }
    int kept = 0;
    for (int axis = 0; axis < w->ndim; axis++) {
        if (w->shape[axis] == 1) continue;
        if (kept && w->array_stride[kept - 1] == w->array_stride[axis] * w->shape[axis] &&
            w->chunk_stride[kept - 1] == w->chunk_stride[axis] * w->shape[axis]) {
            w->shape[kept - 1] *= w->shape[axis];
            w->array_stride[kept - 1] = w->array_stride[axis];
            w->chunk_stride[kept - 1] = w->chunk_stride[axis];
            continue;
        }
        w->shape[kept] = w->shape[axis];
        w->array_stride[kept] = w->array_stride[axis];
        w->chunk_stride[kept] = w->chunk_stride[axis];
        kept++;
    }
    w->ndim = kept;
    int near = kept - 1; /* the dimension along which the array is in one piece comes next to that of the chunk */
    for (int axis = kept - 1; axis >= 0; axis--)
        if (distance(w->array_stride[axis]) < distance(w->array_stride[near])) near = axis;
    if (near < kept - 2) move_axis(w, near, kept - 2);
}

/* The places on the side of the chunk. */
static bool inside_of(PyObject *inside, const Chunk *chunk, Window *w) {
    if (!PyTuple_Check(inside) || PyTuple_Size(inside) != chunk->ndim) return false;
    const Py_ssize_t *strides = chunk->stride;
    w->ndim = 0;
    w->chunk_start = 0;
    for (int axis = 0; axis < chunk->ndim; axis++) {
        Range range;
        if (!range_of(PyTuple_GetItem(inside, axis), chunk->shape[axis], &range)) return false;
        w->chunk_start += range.start * strides[axis];
        if (!range.kept) continue;
        w->shape[w->ndim] = range.count;
        w->chunk_stride[w->ndim] = range.step * strides[axis];
        w->ndim++;
    }
    return true;
}

/* The places on the side of the array, which must have the same shape. */
static bool outside_of(PyObject *outside, const Py_buffer *array, Window *w) {
    if (!PyTuple_Check(outside) || PyTuple_Size(outside) != array->ndim) return false;
    int ndim = 0;
    w->array_start = 0;
    for (int axis = 0; axis < array->ndim; axis++) {
        Range range;
        if (!range_of(PyTuple_GetItem(outside, axis), array->shape[axis], &range)) return false;
        w->array_start += range.start * array->strides[axis];
        if (!range.kept) continue;
        if (ndim == w->ndim || range.count != w->shape[ndim]) return false;
        w->array_stride[ndim] = range.step * array->strides[axis];
        ndim++;
    }
    return ndim == w->ndim;
}

bool window_of(PyObject *piece, const Chunk *chunk, const Py_buffer *array, Window *w) {
    w->lists = NULL;
    if (!PyTuple_Check(piece) || PyTuple_Size(piece) != 4) return false;
    if (!inside_of(PyTuple_GetItem(piece, 1), chunk, w) || !outside_of(PyTuple_GetItem(piece, 2), array, w)) {
        w->flat = false;
        w->lists = lists_of(piece, chunk, array);
        return w->lists != NULL;
    }
    simplify(w);
    Py_ssize_t item = chunk->item;
    w->flat = w->ndim == 0 ? item == chunk->nbytes
                           : w->ndim == 1 && w->shape[0] * item == chunk->nbytes && w->chunk_stride[0] == item &&
                                 w->array_stride[0] == item;
    return true;
}

/* Elements of more than one word, or of an unusual one. */
static void copy_reversed(Py_ssize_t count, Py_ssize_t item, Py_ssize_t word, char *to, Py_ssize_t to_stride,
                          const char *from, Py_ssize_t from_stride) {
    for (Py_ssize_t i = 0; i < count; i++, to += to_stride, from += from_stride)
        for (Py_ssize_t start = 0; start < item; start += word)
            for (Py_ssize_t low = start, high = start + word - 1; low <= high; low++, high--) {
                char first = from[low], last = from[high];
                to[low] = last;
                to[high] = first;
            }
}

void copy_line(Py_ssize_t count, Py_ssize_t item, Py_ssize_t word, char *to, Py_ssize_t to_stride, const char *from,
               Py_ssize_t from_stride) {
    bool dense = to_stride == item && from_stride == item;
    if (dense && word == 1) {
        memcpy(to, from, (size_t)(count * item));
        return;
    }
    if (dense && item > word) { /* complex numbers */
        count *= item / word;
        item = to_stride = from_stride = word;
    }
#define COPY_ITEMS(size)                                       \
    for (Py_ssize_t i = 0; i < count; i++) {                   \
        memcpy(to, from, size);                                \
        to += to_stride;                                       \
        from += from_stride;                                   \
    }
#define REVERSE_ITEMS(type, reverse)                                     \
    if (dense)                                                           \
        for (Py_ssize_t i = 0; i < count; i++) {                         \
            type one;                                                    \
            memcpy(&one, from + i * (Py_ssize_t)sizeof one, sizeof one); \
            one = reverse(one);                                          \
            memcpy(to + i * (Py_ssize_t)sizeof one, &one, sizeof one);   \
        }                                                                \
    else                                                                 \
        for (Py_ssize_t i = 0; i < count; i++) {                         \
            type one;                                                    \
            memcpy(&one, from + i * from_stride, sizeof one);            \
            one = reverse(one);                                          \
            memcpy(to + i * to_stride, &one, sizeof one);                \
        }
    if (word > 1) {
        switch (item == word ? word : 0) {
        case 2: REVERSE_ITEMS(uint16_t, __builtin_bswap16) break;
        case 4: REVERSE_ITEMS(uint32_t, __builtin_bswap32) break;
        case 8: REVERSE_ITEMS(uint64_t, __builtin_bswap64) break;
        default: copy_reversed(count, item, word, to, to_stride, from, from_stride); break;
        }
        return;
    }
    switch (item) { /* a constant size makes the copy one instruction */
    case 1: COPY_ITEMS(1) break;
    case 2: COPY_ITEMS(2) break;
    case 4: COPY_ITEMS(4) break;
    case 8: COPY_ITEMS(8) break;
    case 16: COPY_ITEMS(16) break;
    default: COPY_ITEMS((size_t)item) break;
    }
#undef COPY_ITEMS
#undef REVERSE_ITEMS
}

enum { TILE = 16 };

/* Copy a plane whose lines are not in one piece on both sides by small squares, so that what one element brings into the
 * processor's cache serves its neighbours. */
static void copy_plane(const Py_ssize_t *shape, Py_ssize_t item, Py_ssize_t word, char *to, const Py_ssize_t *to_stride,
                       const char *from, const Py_ssize_t *from_stride) {
    for (Py_ssize_t row = 0; row < shape[0]; row += TILE)
        for (Py_ssize_t column = 0; column < shape[1]; column += TILE) {
            Py_ssize_t last = row + TILE < shape[0] ? row + TILE : shape[0];
            Py_ssize_t count = column + TILE < shape[1] ? TILE : shape[1] - column;
            for (Py_ssize_t i = row; i < last; i++)
                copy_line(count, item, word, to + i * to_stride[0] + column * to_stride[1], to_stride[1],
                          from + i * from_stride[0] + column * from_stride[1], from_stride[1]);
        }
}

void copy_box(int ndim, const Py_ssize_t *shape, Py_ssize_t item, Py_ssize_t word, char *to,
              const Py_ssize_t *to_stride, const char *from, const Py_ssize_t *from_stride) {
    if (ndim == 0) {
        copy_line(1, item, word, to, item, from, item);
    } else if (ndim == 1) {
        copy_line(shape[0], item, word, to, to_stride[0], from, from_stride[0]);
    } else if (ndim == 2 && (distance(to_stride[0]) < distance(to_stride[1]) ||
                             distance(from_stride[0]) < distance(from_stride[1]))) {
        copy_plane(shape, item, word, to, to_stride, from, from_stride);
    } else {
        for (Py_ssize_t i = 0; i < shape[0]; i++)
            copy_box(ndim - 1, shape + 1, item, word, to + i * to_stride[0], to_stride + 1,
                     from + i * from_stride[0], from_stride + 1);
    }
}

void fill_window(const Window *w, char *array, const char *element, Py_ssize_t item) {
    static const Py_ssize_t nowhere[MAX_NDIM]; /* the element stays where it is */
    if (w->lists != NULL)
        copy_lists(w->lists, item, 1, array + w->lists->array_start, w->lists->array, element, NULL);
    else
        copy_box(w->ndim, w->shape, item, 1, array + w->array_start, w->array_stride, element, nowhere);
}

typedef struct {
    const Window *window;
    Py_ssize_t item, start, stop;
    LineOf line;
    void *what;
} Walk;

/* Those from dimension `axis` on; `at` is where the line begins that comes next. */
static void walk_lines(const Walk *walk, char *array, Py_ssize_t at, int axis) {
    const Window *w = walk->window;
    if (axis < w->ndim - 1) {
        Py_ssize_t reach = 0; /* from the first byte of a step along this axis to its last one */
        for (int inner = axis + 1; inner < w->ndim; inner++) reach += (w->shape[inner] - 1) * w->chunk_stride[inner];
        for (Py_ssize_t i = 0; i < w->shape[axis]; i++, at += w->chunk_stride[axis], array += w->array_stride[axis])
            if (at + reach >= walk->start && at < walk->stop) walk_lines(walk, array, at, axis + 1);
        return;
    }
    Py_ssize_t step = w->ndim ? w->chunk_stride[axis] : walk->item, count = w->ndim ? w->shape[axis] : 1;
    Py_ssize_t stride = w->ndim ? w->array_stride[axis] : walk->item;
    Py_ssize_t first = at >= walk->start ? 0 : (walk->start - at + step - 1) / step;
    Py_ssize_t last = at >= walk->stop ? 0 : (walk->stop - at + step - 1) / step; /* the first one that is behind */
    if (last > count) last = count;
    if (first < last) walk->line(walk->what, at + first * step, step, last - first, array + first * stride, stride);
}

void each_line(const Window *w, Py_ssize_t item, Py_ssize_t start, Py_ssize_t stop, char *array, LineOf line, void *what) {
    const Walk walk = {.window = w, .item = item, .start = start, .stop = stop, .line = line, .what = what};
    walk_lines(&walk, array + w->array_start, w->chunk_start, 0);
}

static bool has_only_from(const Window *w, int axis, const char *array, const char *element, Py_ssize_t item) {
    if (axis == w->ndim) return memcmp(array, element, (size_t)item) == 0;
    for (Py_ssize_t i = 0; i < w->shape[axis]; i++, array += w->array_stride[axis])
        if (!has_only_from(w, axis + 1, array, element, item)) return false;
    return true;
}

bool has_only(const Window *w, const char *array, const char *element, Py_ssize_t item) {
    return has_only_from(w, 0, array + w->array_start, element, item);
}

Py_ssize_t count_of(const Window *w) {
    if (w->lists != NULL) return w->lists->count;
    Py_ssize_t count = 1;
    for (int axis = 0; axis < w->ndim; axis++) count *= w->shape[axis];
    return count;
}

void put_window(const Window *w, Py_ssize_t item, Py_ssize_t word, char *chunk, const char *array) {
    const Lists *lists = w->lists;
    if (lists != NULL)
        copy_lists(lists, item, word, chunk + lists->chunk_start, lists->chunk, array + lists->array_start, lists->array);
    else
        copy_box(w->ndim, w->shape, item, word, chunk + w->chunk_start, w->chunk_stride, array + w->array_start,
                 w->array_stride);
}

void take_window(const Window *w, Py_ssize_t item, Py_ssize_t word, const char *chunk, char *array) {
    const Lists *lists = w->lists;
    if (lists != NULL)
        copy_lists(lists, item, word, array + lists->array_start, lists->array, chunk + lists->chunk_start, lists->chunk);
    else
        copy_box(w->ndim, w->shape, item, word, array + w->array_start, w->array_stride, chunk + w->chunk_start,
                 w->chunk_stride);
}
