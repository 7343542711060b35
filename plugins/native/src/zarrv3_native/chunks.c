/* Chunks to elements and back, many at once and without Python's lock. What is unusual is left to Python. */

#include "kernels.h"

static const char *const REFUSED = "no memory for a batch, elements of another size, or a codec that refuses its configuration";

/* ---------------------------------------------------------------- decoding */

typedef struct {
    Py_ssize_t number; /* of the piece */
    Window window;
    Py_buffer value;
    bool missing, done;
} Read;

/* What elements are taken out of, and how. */
typedef struct {
    const Part *part;
    Py_ssize_t item, word;
} Taken;

static void take_one(void *what, Py_ssize_t at, Py_ssize_t step, Py_ssize_t count, char *array, Py_ssize_t stride) {
    const Taken *taken = what;
    take_line(taken->part, taken->item, taken->word, at, step, count, array, stride);
}

enum { FEW = 4 }; /* lists of fewer than one element in so many are taken out of each part */

/* Whether a chunk is decoded in parts of some length: if it has several, or is shuffled, where only what is wanted is put together. */
static bool goes_by_parts(const Worker *worker, const Window *w, Py_ssize_t item, Py_ssize_t length, bool shuffled) {
    if (length >= worker->nbytes && !shuffled) return false;
    if (w->lists != NULL)
        return shuffled && w->lists->count < worker->nbytes / item / FEW / ((worker->nbytes + length - 1) / length);
    for (int axis = 0; axis < w->ndim; axis++)
        if (w->chunk_stride[axis] <= 0 || w->shape[axis] == 0) return false;
    return true;
}

/* Decode one part after the other, so that each is still in the processor's cache when it is copied. Those that the window
 * does not touch are decoded too: damage there has to be noticed. */
static bool decode_parts(Worker *worker, const Read *read, Py_ssize_t item, Py_ssize_t size, Py_ssize_t length,
                         bool shuffled, char *array) {
    const Window *w = &read->window;
    Py_ssize_t end = w->chunk_start;
    for (int axis = 0; w->lists == NULL && axis < w->ndim; axis++) end += (w->shape[axis] - 1) * w->chunk_stride[axis];
    for (Part part = {.start = 0}; part.start < worker->nbytes; part.start += length) {
        part.stop = part.start + length < worker->nbytes ? part.start + length : worker->nbytes;
        if (!decode_part(worker, read->value.buf, size, shuffled, &part)) return false;
        Taken taken = {.part = &part, .item = item, .word = worker->word};
        if (w->lists != NULL)
            take_lists(w->lists, item, worker->word, &part, array);
        else if (part.start <= end && part.stop > w->chunk_start)
            each_line(w, item, part.start, part.stop, array, take_one, &taken);
    }
    return true;
}

static bool decode_one(Worker *worker, const Read *read, Py_ssize_t item, char *array) {
    const uint8_t *data = read->value.buf;
    const Window *w = &read->window;
    Py_ssize_t size = read->value.len;
    if (!is_sound(worker, data, &size)) return false;
    const char *decoded = (const char *)data;
    bool shuffled = is_shuffled(worker, data, item);
    if (w->flat && !shuffled && !(is_stored(worker) && worker->word > 1)) {
        char *to = array + w->array_start;
        if (!decode_whole(worker, data, size, to)) return false;
        if (worker->word > 1) copy_line(worker->nbytes / item, item, worker->word, to, item, to, item);
        return true;
    }
    if (!is_stored(worker)) {
        Py_ssize_t length = part_bytes(worker, data, item);
        if (goes_by_parts(worker, w, item, length, shuffled))
            return has_scratch(worker, length) && decode_parts(worker, read, item, size, length, shuffled, array);
        if (!has_scratch(worker, worker->content) || !decode_whole(worker, data, size, worker->scratch)) return false;
        decoded = worker->scratch;
    }
    take_window(w, item, worker->word, decoded, array);
    return true;
}

/* The pieces that can be done here; how many. */
static Py_ssize_t gather_reads(PyObject *values, PyObject *pieces, const Chunk *chunk, const Py_buffer *out,
                               Read *reads, Py_ssize_t total) {
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; i < total; i++) {
        Read *read = &reads[count];
        PyObject *value = PySequence_GetItem(values, i), *piece = PySequence_GetItem(pieces, i);
        read->window.lists = NULL;
        bool fits = value != NULL && piece != NULL && window_of(piece, chunk, out, &read->window);
        read->number = i;
        read->done = false;
        read->missing = value == Py_None;
        if (fits && !read->missing && PyObject_GetBuffer(value, &read->value, PyBUF_SIMPLE) < 0) fits = false;
        PyErr_Clear(); /* Python meets it again, and says it better */
        Py_XDECREF(value);
        Py_XDECREF(piece);
        if (fits)
            count++;
        else
            free(read->window.lists);
    }
    return count;
}

/* The numbers of the pieces that are not done; releases what was held. */
static PyObject *left_of(Read *reads, Py_ssize_t count, Py_ssize_t total) {
    PyObject *left = PyList_New(0);
    Py_ssize_t next = 0;
    for (Py_ssize_t i = 0; i < total; i++) {
        bool done = false;
        if (next < count && reads[next].number == i) {
            done = reads[next].done;
            free(reads[next].window.lists);
            if (!reads[next].missing) PyBuffer_Release(&reads[next].value);
            next++;
        }
        if (!done && left != NULL && !add_number(left, i)) Py_CLEAR(left);
    }
    return left;
}

/* decode(codec, chunk shape, fill, values, pieces, out): the numbers of the pieces that are left to Python. */
PyObject *kernel_decode(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *codec_object, *shape, *values, *pieces, *out_object, *left = NULL;
    const char *fill;
    Py_ssize_t item;
    if (!PyArg_ParseTuple(args, "OO!y#OOO", &codec_object, &PyTuple_Type, &shape, &fill, &item, &values, &pieces,
                          &out_object))
        return NULL;
    const Codec *codec;
    Chunk chunk;
    Py_ssize_t total = PySequence_Size(pieces);
    if (total < 0 || !codec_of(codec_object, &codec) || !chunk_of(shape, item, layout_of(codec), &chunk)) return NULL;
    Py_buffer out;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_WRITABLE | PyBUF_STRIDES) < 0) return NULL;
    Worker worker;
    bool ready = open_worker(&worker, codec, chunk.nbytes, false) && out.itemsize == item;
    Read *reads = malloc((size_t)(total ? total : 1) * sizeof *reads);
    if (reads == NULL || !ready) {
        PyErr_SetString(PyExc_MemoryError, REFUSED);
    } else {
        Py_ssize_t count = gather_reads(values, pieces, &chunk, &out, reads, total);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) {
            if (reads[i].missing) {
                fill_window(&reads[i].window, out.buf, fill, item);
                reads[i].done = true;
            } else {
                reads[i].done = decode_one(&worker, &reads[i], item, out.buf);
            }
        }
        Py_END_ALLOW_THREADS
        left = left_of(reads, count, total);
    }
    free(reads);
    close_worker(&worker);
    PyBuffer_Release(&out);
    return left;
}

/* ---------------------------------------------------------------- encoding */

typedef struct {
    Py_ssize_t number; /* of the piece */
    Window window;
    bool keeps, missing; /* part of the old chunk, which may not be stored */
    Py_buffer old;
    PyObject *bytes; /* with room for the most it can be, unless room is lent */
    char *to;        /* that room */
    Py_ssize_t size; /* what it is; EMPTY or FAILED */
} Write;

enum { EMPTY = 0, FAILED = -1 };

static bool is_fill(const char *data, Py_ssize_t nbytes, const char *fill, Py_ssize_t item) {
    return memcmp(data, fill, (size_t)item) == 0 && memcmp(data, data + item, (size_t)(nbytes - item)) == 0;
}

/* Begin with the old chunk, or with one of nothing but the fill value; false if the bytes are not a chunk. */
static bool start_with(Worker *decoder, const Write *write, char *chunk, Py_ssize_t nbytes, const char *fill,
                       Py_ssize_t item) {
    if (!write->keeps || write->missing) {
        for (Py_ssize_t at = 0; at < nbytes; at += item) memcpy(chunk + at, fill, (size_t)item);
        return true;
    }
    Py_ssize_t size = write->old.len;
    return is_sound(decoder, write->old.buf, &size) && decode_whole(decoder, write->old.buf, size, chunk);
}

static Py_ssize_t encode_one(Worker *worker, Worker *decoder, const Write *write, const char *fill, Py_ssize_t item,
                             bool keep_empty, const char *array, Py_ssize_t room) {
    const Window *w = &write->window;
    const char *data = w->flat ? array + w->array_start : NULL;
    if (!write->keeps && w->lists == NULL && worker->word == 1 && count_of(w) * item == worker->nbytes) {
        if (!keep_empty && has_only(w, array, fill, item)) return EMPTY;
        Py_ssize_t made = encode_window(worker, w, item, array, write->to, room);
        if (made > 0) return made;
    }
    if (!w->flat || worker->word > 1 || write->keeps) { /* damage to an old chunk is noticed even if all of it is replaced */
        char *chunk = is_stored(worker) ? write->to : has_scratch(worker, worker->content) ? worker->scratch : NULL;
        if (chunk == NULL) return FAILED;
        if (write->keeps || count_of(w) * item < worker->nbytes) /* or it reaches over the array's edge */
            if (!start_with(decoder, write, chunk, worker->nbytes, fill, item)) return FAILED;
        put_window(w, item, worker->word, chunk, array);
        data = chunk;
    }
    if (!keep_empty && is_fill(data, worker->nbytes, fill, item)) return EMPTY;
    return encode_whole(worker, data, write->to, room);
}

/* The answer for one piece: bytes, or the place in the room that was lent; None for an empty chunk, `undone` for one that
 * is left to Python. */
static PyObject *answer_of(Write *write, const char *room, PyObject *undone) {
    PyObject *bytes = write->bytes;
    write->bytes = NULL;
    if (write->size > 0 && room == NULL) {
        if (_PyBytes_Resize(&bytes, write->size) < 0) return NULL;
        return bytes;
    }
    Py_XDECREF(bytes);
    if (write->size > 0) {
        Py_ssize_t start = write->to - room;
        return Py_BuildValue("nn", start, start + write->size);
    }
    return Py_NewRef(write->size == EMPTY ? Py_None : undone);
}

static PyObject *answers_of(Write *writes, Py_ssize_t count, Py_ssize_t total, const char *room, PyObject *undone) {
    PyObject *answers = PyList_New(total);
    Py_ssize_t next = 0;
    for (Py_ssize_t i = 0; i < total && answers != NULL; i++) {
        bool here = next < count && writes[next].number == i;
        PyObject *answer = here ? answer_of(&writes[next++], room, undone) : Py_NewRef(undone);
        if (answer == NULL)
            Py_CLEAR(answers);
        else
            PyList_SetItem(answers, i, answer);
    }
    while (next < count) Py_XDECREF(writes[next++].bytes);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (writes[i].keeps && !writes[i].missing) PyBuffer_Release(&writes[i].old);
        free(writes[i].window.lists);
    }
    return answers;
}

/* Hold the old chunk of a piece, `olds[number]`, if there are any; false, perhaps with an exception, if it cannot be read. */
static bool hold_old(PyObject *olds, Write *write) {
    if (olds == Py_None) return true;
    PyObject *old = PySequence_GetItem(olds, write->number);
    bool held = old == Py_None || (old != NULL && PyObject_GetBuffer(old, &write->old, PyBUF_SIMPLE) == 0);
    write->keeps = held;
    write->missing = old == Py_None;
    Py_XDECREF(old);
    return held;
}

/* The pieces that can be encoded here; how many. Each has room of its own, in the room that was lent if there is one. */
static Py_ssize_t gather_writes(PyObject *pieces, PyObject *olds, const Chunk *chunk, const Py_buffer *value,
                                Py_ssize_t bound, const Py_buffer *room, Write *writes, Py_ssize_t total) {
    Py_ssize_t count = 0, used = 0;
    for (Py_ssize_t i = 0; i < total; i++) {
        Write *write = &writes[count];
        PyObject *piece = PySequence_GetItem(pieces, i);
        *write = (Write){.number = i, .size = FAILED};
        if (piece != NULL && window_of(piece, chunk, value, &write->window)) {
            if (room->buf != NULL) { /* where exactly is known when those before it are encoded */
                write->to = used + bound <= room->len ? (char *)room->buf + used : NULL;
                used += bound;
            } else {
                write->bytes = PyBytes_FromStringAndSize(NULL, bound);
                write->to = write->bytes == NULL ? NULL : PyBytes_AsString(write->bytes);
            }
            if (write->to != NULL && hold_old(olds, write)) {
                count++;
            } else {
                Py_CLEAR(write->bytes);
                free(write->window.lists);
            }
        }
        PyErr_Clear();
        Py_XDECREF(piece);
    }
    return count;
}

/* Encode all pieces with memory that is lent, or NULL. */
static PyObject *encode_all(Worker *worker, Worker *decoder, const Chunk *chunk, const char *fill, bool keep_empty,
                            PyObject *pieces, PyObject *olds, const Py_buffer *value, const Py_buffer *room,
                            PyObject *undone) {
    Py_ssize_t total = PySequence_Size(pieces);
    if (total < 0) return NULL;
    Write *writes = malloc((size_t)(total ? total : 1) * sizeof *writes);
    if (writes == NULL) return PyErr_NoMemory();
    Py_ssize_t bound = encoded_bound(worker);
    Py_ssize_t count = gather_writes(pieces, olds, chunk, value, bound, room, writes, total);
    char *next = room->buf; /* in a room chunks lie one behind the other, and none is longer than the bound */
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        if (next != NULL) writes[i].to = next;
        writes[i].size = encode_one(worker, decoder, &writes[i], fill, chunk->item, keep_empty, value->buf, bound);
        if (next != NULL && writes[i].size > 0) next += writes[i].size;
    }
    Py_END_ALLOW_THREADS
    PyObject *answers = answers_of(writes, count, total, room->buf, undone);
    free(writes);
    return answers;
}

/* encode(codec, chunk shape, fill as it lies in a chunk, keep empty, pieces, olds, value, undone, room): for each piece what
 * `answer_of` says. `olds` are the chunks, None for a missing one, of which a part stays; or None. The last is lent
 * memory, as large as all that is encoded can be, or None. */
PyObject *kernel_encode(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *codec_object, *shape, *pieces, *olds, *value_object, *undone, *room_object;
    PyObject *answers = NULL;
    const char *fill;
    Py_ssize_t item;
    int keep_empty;
    if (!PyArg_ParseTuple(args, "OO!y#pOOOOO", &codec_object, &PyTuple_Type, &shape, &fill, &item, &keep_empty, &pieces,
                          &olds, &value_object, &undone, &room_object))
        return NULL;
    const Codec *codec;
    Chunk chunk;
    if (!codec_of(codec_object, &codec) || !chunk_of(shape, item, layout_of(codec), &chunk)) return NULL;
    Py_buffer value = {0}, room = {0};
    if (PyObject_GetBuffer(value_object, &value, PyBUF_STRIDES) < 0) return NULL;
    if (room_object == Py_None || PyObject_GetBuffer(room_object, &room, PyBUF_WRITABLE) == 0) {
        Worker worker, decoder;
        bool ready = open_worker(&worker, codec, chunk.nbytes, true) && value.itemsize == item;
        ready = open_worker(&decoder, olds == Py_None ? NULL : codec, chunk.nbytes, false) && ready;
        if (ready)
            answers = encode_all(&worker, &decoder, &chunk, fill, keep_empty, pieces, olds, &value, &room, undone);
        else
            PyErr_SetString(PyExc_MemoryError, REFUSED);
        close_worker(&worker);
        close_worker(&decoder);
    }
    if (room.buf != NULL) PyBuffer_Release(&room);
    PyBuffer_Release(&value);
    return answers;
}
