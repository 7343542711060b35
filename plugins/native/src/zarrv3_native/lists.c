/* Pieces that arrays of numbers name: points, and rows and columns by their numbers. The numbers are checked and become offsets
 * while Python's lock is held: the arrays may be the user's, who may change them. */

#include "kernels.h"

enum { MOST = 1 << 20 }; /* numbers of one piece; more are left to Python, whose memory they need not double */

typedef struct {
    bool kept, listed; /* it is not an integer; it is an array */
    Range range;
    Py_buffer numbers;
    Py_ssize_t stride, count; /* of the numbers, which lie along one of the array's dimensions */
    int dimension;
} Index;

typedef struct {
    int ndim, listed, first, last; /* how many indices are arrays, and where the first and the last of them are */
    Index indices[MAX_NDIM];
} Side;

static bool numbers_of(PyObject *object, Index *index) {
    if (PyObject_GetBuffer(object, &index->numbers, PyBUF_STRIDES | PyBUF_FORMAT) < 0) {
        PyErr_Clear();
        return false;
    }
    index->listed = index->kept = true;
    const Py_buffer *numbers = &index->numbers;
    bool fits = numbers->itemsize == sizeof(int64_t) && numbers->ndim >= 1 && numbers->format != NULL &&
                (strcmp(numbers->format, "l") == 0 || strcmp(numbers->format, "q") == 0);
    index->count = 1;
    index->dimension = 0;
    for (int axis = 0; fits && axis < numbers->ndim; axis++) {
        if (numbers->shape[axis] == 1) continue;
        fits = index->count == 1;
        index->count = numbers->shape[axis];
        index->dimension = axis;
    }
    index->stride = fits ? numbers->strides[index->dimension] : 0;
    return fits && index->count <= MOST;
}

/* The indices of one side; false if it is left to Python. To be released in any case. */
static bool side_of(PyObject *tuple, int ndim, const Py_ssize_t *shape, Side *side) {
    *side = (Side){.ndim = 0, .first = -1};
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != ndim) return false;
    bool integers = false;
    for (int axis = 0; axis < ndim; axis++) {
        Index *index = &side->indices[axis];
        PyObject *object = PyTuple_GetItem(tuple, axis);
        *index = (Index){0};
        side->ndim++;
        if (range_of(object, shape[axis], &index->range)) {
            index->kept = index->range.kept;
            index->count = index->range.count;
            integers = integers || !index->kept;
            if (index->count > MOST) return false;
            continue;
        }
        if (!numbers_of(object, index)) return false;
        if (side->first < 0) side->first = axis;
        side->last = axis;
        side->listed++;
    }
    return !(integers && side->listed); /* numpy moves dimensions then */
}

static void release_side(Side *side) {
    for (int axis = 0; axis < side->ndim; axis++)
        if (side->indices[axis].listed) PyBuffer_Release(&side->indices[axis].numbers);
}

/* Whether each index is for a dimension of its own: one array at most, or the shapes of `numpy.ix_` without a gap. */
static bool is_crossed(const Side *side) {
    if (side->listed <= 1) return side->listed == 0 || side->indices[side->first].numbers.ndim == 1;
    for (int axis = side->first; axis <= side->last; axis++) {
        const Index *index = &side->indices[axis];
        if (!index->listed || index->numbers.ndim != side->last - side->first + 1) return false;
        if (index->count > 1 && index->dimension != axis - side->first) return false;
    }
    return true;
}

/* Whether the indices name points: as many numbers for each dimension. */
static bool is_points(const Side *side) {
    if (side->listed < 2 || side->listed != side->ndim) return false;
    for (int axis = 0; axis < side->ndim; axis++) {
        const Index *index = &side->indices[axis];
        if (index->numbers.ndim != 1 || index->count != side->indices[0].count) return false;
    }
    return true;
}

/* Add the offsets that an index stands for; false if a number is out of bounds. */
static bool add_offsets(const Index *index, Py_ssize_t length, Py_ssize_t stride, Py_ssize_t *offsets) {
    for (Py_ssize_t i = 0; i < index->count; i++) {
        int64_t number = index->range.start + i * index->range.step;
        if (index->listed) memcpy(&number, (const char *)index->numbers.buf + i * index->stride, sizeof number);
        if (number < 0 || number >= length) return false;
        offsets[i] += (Py_ssize_t)number * stride;
    }
    return true;
}

/* Room for the offsets of both sides, all 0. */
static Lists *new_lists(int ndim, const Py_ssize_t *shape) {
    Py_ssize_t total = 0;
    for (int axis = 0; axis < ndim; axis++) total += shape[axis];
    Lists *lists = calloc(1, sizeof *lists + (size_t)(2 * total) * sizeof(Py_ssize_t));
    if (lists == NULL) return NULL;
    lists->ndim = ndim;
    lists->count = 1;
    Py_ssize_t *room = (Py_ssize_t *)(lists + 1);
    for (int axis = 0; axis < ndim; axis++) {
        lists->shape[axis] = shape[axis];
        lists->count *= shape[axis];
        lists->array[axis] = room;
        lists->chunk[axis] = room + shape[axis];
        room += 2 * shape[axis];
    }
    return lists;
}

/* Whether the last dimension is one piece on both sides. */
static bool ends_in_one_piece(const Lists *lists, Py_ssize_t item) {
    int axis = lists->ndim - 1;
    for (Py_ssize_t i = 1; axis >= 0 && i < lists->shape[axis]; i++)
        if (lists->array[axis][i] != lists->array[axis][i - 1] + item ||
            lists->chunk[axis][i] != lists->chunk[axis][i - 1] + item)
            return false;
    return axis >= 0;
}

static Lists *listed(const Side *inside, const Side *outside, const Chunk *chunk, const Py_buffer *array) {
    Py_ssize_t shape[MAX_NDIM];
    bool points = is_points(inside) && outside->ndim == 1 && outside->indices[0].kept;
    if (!points && !(is_crossed(inside) && is_crossed(outside))) return NULL;
    int ndim = 0, kept = 0;
    for (int axis = 0; axis < inside->ndim; axis++)
        if (inside->indices[axis].kept && (!points || axis == 0)) shape[ndim++] = inside->indices[axis].count;
    for (int axis = 0; axis < outside->ndim; axis++)
        if (outside->indices[axis].kept && (kept == ndim || outside->indices[axis].count != shape[kept++])) return NULL;
    if (kept != ndim) return NULL;
    Lists *lists = new_lists(ndim, shape);
    if (lists == NULL) return NULL;
    bool fits = true;
    Py_ssize_t start = 0; /* of what integers name */
    for (int axis = 0, at = 0; axis < inside->ndim && fits; axis++) {
        bool own = inside->indices[axis].kept;
        fits = add_offsets(&inside->indices[axis], chunk->shape[axis], chunk->stride[axis], own ? lists->chunk[points ? 0 : at] : &start);
        at += own;
    }
    lists->chunk_start = start;
    start = 0;
    for (int axis = 0, at = 0; axis < outside->ndim && fits; axis++) {
        bool own = outside->indices[axis].kept;
        fits = add_offsets(&outside->indices[axis], array->shape[axis], array->strides[axis], own ? lists->array[at] : &start);
        at += own;
    }
    lists->array_start = start;
    lists->ends_flat = fits && ends_in_one_piece(lists, chunk->item);
    if (fits) return lists;
    free(lists);
    return NULL;
}

Lists *lists_of(PyObject *piece, const Chunk *chunk, const Py_buffer *array) {
    Side inside, outside = {0};
    Lists *lists = NULL;
    if (side_of(PyTuple_GetItem(piece, 1), chunk->ndim, chunk->shape, &inside) &&
        side_of(PyTuple_GetItem(piece, 2), array->ndim, array->shape, &outside))
        lists = listed(&inside, &outside, chunk, array);
    release_side(&inside);
    release_side(&outside);
    return lists;
}

/* Copy from dimension `axis` on; without offsets of its own, `from` stays one element. */
static void copy_from(const Lists *lists, int axis, Py_ssize_t item, Py_ssize_t word, char *to,
                      Py_ssize_t *const *to_offsets, const char *from, Py_ssize_t *const *from_offsets) {
    if (axis == lists->ndim) {
        copy_line(1, item, word, to, item, from, item);
        return;
    }
    Py_ssize_t count = lists->shape[axis];
    const Py_ssize_t *put = to_offsets[axis], *take = from_offsets == NULL ? NULL : from_offsets[axis];
#define TAKEN(i) (from + (take == NULL ? 0 : take[i]))
#define COPY_ITEMS(size) \
    for (Py_ssize_t i = 0; i < count; i++) memcpy(to + put[i], TAKEN(i), size);
    if (axis < lists->ndim - 1) {
        for (Py_ssize_t i = 0; i < count; i++)
            copy_from(lists, axis + 1, item, word, to + put[i], to_offsets, TAKEN(i), from_offsets);
    } else if (lists->ends_flat && take != NULL && count) {
        copy_line(count, item, word, to + put[0], item, from + take[0], item);
    } else if (word > 1) {
        for (Py_ssize_t i = 0; i < count; i++) copy_line(1, item, word, to + put[i], item, TAKEN(i), item);
    } else {
        switch (item) { /* a constant size makes the copy one instruction */
        case 1: COPY_ITEMS(1) break;
        case 2: COPY_ITEMS(2) break;
        case 4: COPY_ITEMS(4) break;
        case 8: COPY_ITEMS(8) break;
        default: COPY_ITEMS((size_t)item) break;
        }
    }
#undef COPY_ITEMS
#undef TAKEN
}

void copy_lists(const Lists *lists, Py_ssize_t item, Py_ssize_t word, char *to, Py_ssize_t *const *to_offsets,
                const char *from, Py_ssize_t *const *from_offsets) {
    copy_from(lists, 0, item, word, to, to_offsets, from, from_offsets);
}

/* Those from dimension `axis` on, of which the first one is at byte `at` of the chunk. */
static void take_from(const Lists *lists, int axis, Py_ssize_t item, Py_ssize_t word, const Part *part, char *array, Py_ssize_t at) {
    Py_ssize_t count = axis < lists->ndim ? lists->shape[axis] : 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t place = axis < lists->ndim ? at + lists->chunk[axis][i] : at;
        char *to = axis < lists->ndim ? array + lists->array[axis][i] : array;
        if (axis < lists->ndim - 1)
            take_from(lists, axis + 1, item, word, part, to, place);
        else if (place >= part->start && place < part->stop)
            take_line(part, item, word, place, item, 1, to, item);
    }
}

void take_lists(const Lists *lists, Py_ssize_t item, Py_ssize_t word, const Part *part, char *array) {
    take_from(lists, 0, item, word, part, array + lists->array_start, lists->chunk_start);
}
