/* Texts as `vlen-utf8` has them: a count, then the length and the bytes of each, to elements of numpy's StringDType and back. */

#include "kernels.h"

#if __has_include(<numpy/arrayobject.h>)

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

enum { WORD = 4 }; /* bytes of a count or length */

static uint32_t word(const uint8_t *data) {
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

static char *put_word(char *to, size_t number) {
    for (int i = 0; i < WORD; i++) *to++ = (char)(number >> 8 * i);
    return to;
}

/* Whether bytes are UTF-8 as Python wants it: the shortest form, and no surrogates. */
static bool is_utf8(const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size;) {
        uint64_t eight;
        if (size - i >= sizeof eight) {
            memcpy(&eight, text + i, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                i += sizeof eight;
                continue;
            }
        }
        uint8_t first = text[i++];
        if (first < 0x80) continue;
        size_t more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
        if (first < 0xC2 || first > 0xF4 || size - i < more) return false;
        uint8_t least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
        uint8_t most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
        if (text[i] < least || text[i] > most) return false;
        for (size_t next = 1; next < more; next++)
            if ((text[i + next] & 0xC0) != 0x80) return false;
        i += more;
    }
    return true;
}

/* An array of StringDType as a buffer; false, with an exception, for anything else. Its allocator has a lock, which is held
 * only together with Python's: so no fork can find it held. */
static bool texts_of(PyObject *object, bool writes, Py_buffer *view, const PyArray_StringDTypeObject **dtype) {
    if (PyArray_ImportNumPyAPI() < 0) return false;
    PyArrayObject *array = (PyArrayObject *)object;
    if (!PyArray_Check(object) || PyArray_TYPE(array) != NPY_VSTRING || !PyArray_ISALIGNED(array) ||
        (writes && !PyArray_ISWRITEABLE(array))) {
        PyErr_SetString(PyExc_ValueError, "this is not an array of texts that can be used");
        return false;
    }
    *view = (Py_buffer){.buf = PyArray_DATA(array), .ndim = PyArray_NDIM(array), .shape = PyArray_SHAPE(array),
                        .strides = PyArray_STRIDES(array), .itemsize = PyArray_ITEMSIZE(array)};
    *dtype = (const PyArray_StringDTypeObject *)PyArray_DESCR(array);
    return true;
}

/* ---------------------------------------------------------------- decoding */

typedef struct {
    const char *content;
    const Py_ssize_t *starts; /* of the length of each element; one more, at the end of all */
    const char *fill;         /* instead, if there is no content */
    size_t fill_size;
    npy_string_allocator *allocator;
} Source;

/* Where the elements are; false unless they are texts and fill the content exactly. */
static bool split(const uint8_t *content, Py_ssize_t size, Py_ssize_t count, Py_ssize_t *starts) {
    if (size < WORD || word(content) != (uint64_t)count) return false;
    Py_ssize_t at = WORD;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (size - at < WORD) return false;
        Py_ssize_t length = word(content + at);
        starts[i] = at;
        at += WORD;
        if (length > size - at || !is_utf8(content + at, (size_t)length)) return false;
        at += length;
    }
    starts[count] = at;
    return at == size;
}

static bool pack_box(const Source *source, const Window *w, int axis, char *array, Py_ssize_t index) {
    if (axis < w->ndim) {
        for (Py_ssize_t i = 0; i < w->shape[axis]; i++) {
            if (!pack_box(source, w, axis + 1, array, index)) return false;
            array += w->array_stride[axis];
            index += w->chunk_stride[axis];
        }
        return true;
    }
    const char *text = source->fill;
    size_t size = source->fill_size;
    if (source->content != NULL) {
        Py_ssize_t start = source->starts[index] + WORD;
        text = source->content + start;
        size = (size_t)(source->starts[index + 1] - start);
    }
    return NpyString_pack(source->allocator, (npy_packed_static_string *)array, text, size) == 0;
}

typedef struct {
    const Chunk *chunk;
    const char *fill;
    Py_ssize_t fill_size, limit;
    Py_ssize_t *starts;
    const PyArray_StringDTypeObject *dtype;
    char *array;
} Texts;

/* Decode one value, whose bytes are NULL if it is missing; all but the elements themselves without Python's lock. */
static bool decode_texts(Worker *worker, const Texts *texts, const Window *window, const uint8_t *data, Py_ssize_t size) {
    Source source = {.starts = texts->starts, .fill = texts->fill, .fill_size = (size_t)texts->fill_size};
    if (data != NULL) {
        const uint8_t *content;
        Py_BEGIN_ALLOW_THREADS
        content = decode_any(worker, data, &size, texts->limit);
        if (content != NULL && !split(content, size, texts->chunk->nbytes, texts->starts)) content = NULL;
        Py_END_ALLOW_THREADS
        if (content == NULL) return false;
        source.content = (const char *)content;
    }
    source.allocator = NpyString_acquire_allocator(texts->dtype);
    bool done = pack_box(&source, window, 0, texts->array + window->array_start, window->chunk_start);
    NpyString_release_allocator(source.allocator);
    return done;
}

/* Where a piece is; false for one that is left to Python, as are those with arrays as indices. */
static bool place_of(PyObject *piece, const Chunk *chunk, const Py_buffer *array, Window *window) {
    if (piece == NULL || !window_of(piece, chunk, array, window)) return false;
    bool has_lists = window->lists != NULL;
    free(window->lists);
    return !has_lists;
}

/* Decode one value by its number; false if it is left to Python. */
static bool decode_number(Worker *worker, const Texts *texts, const Py_buffer *out, PyObject *values, PyObject *pieces,
                         Py_ssize_t number) {
    PyObject *value = PySequence_GetItem(values, number), *piece = PySequence_GetItem(pieces, number);
    Py_buffer held = {0};
    Window window;
    bool done = false;
    if (value != NULL && place_of(piece, texts->chunk, out, &window) &&
        (value == Py_None || PyObject_GetBuffer(value, &held, PyBUF_SIMPLE) == 0))
        done = decode_texts(worker, texts, &window, value == Py_None ? NULL : held.buf, held.len);
    PyErr_Clear(); /* Python meets it again, and says it better */
    if (held.obj != NULL) PyBuffer_Release(&held);
    Py_XDECREF(value);
    Py_XDECREF(piece);
    return done;
}

/* decode_texts(codec, chunk shape, fill, limit, values, pieces, out): the numbers of the pieces that are left to Python. */
PyObject *kernel_decode_texts(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *codec_object, *shape, *values, *pieces, *out_object, *left = NULL;
    const Codec *codec;
    Chunk chunk;
    Py_buffer out;
    Texts texts = {.chunk = &chunk};
    if (!PyArg_ParseTuple(args, "OO!y#nOOO", &codec_object, &PyTuple_Type, &shape, &texts.fill, &texts.fill_size,
                          &texts.limit, &values, &pieces, &out_object) ||
        !codec_of(codec_object, &codec) || !chunk_of(shape, 1, layout_of(codec), &chunk) ||
        !texts_of(out_object, true, &out, &texts.dtype))
        return NULL;
    Py_ssize_t total = PySequence_Size(pieces);
    if (total < 0) return NULL;
    texts.array = out.buf;
    texts.starts = calloc((size_t)chunk.nbytes + 1, sizeof *texts.starts);
    Worker worker;
    if (open_worker(&worker, codec, 0, false) && texts.starts != NULL)
        left = PyList_New(0);
    else
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; left != NULL && i < total; i++)
        if (!decode_number(&worker, &texts, &out, values, pieces, i) && !add_number(left, i)) Py_CLEAR(left);
    close_worker(&worker);
    free(texts.starts);
    return left;
}

/* ---------------------------------------------------------------- encoding */

static bool load_box(npy_string_allocator *allocator, const Window *w, int axis, const char *array, Py_ssize_t index,
                     npy_static_string *found) {
    if (axis < w->ndim) {
        for (Py_ssize_t i = 0; i < w->shape[axis]; i++) {
            if (!load_box(allocator, w, axis + 1, array, index, found)) return false;
            array += w->array_stride[axis];
            index += w->chunk_stride[axis];
        }
        return true;
    }
    npy_static_string *one = &found[index];
    return NpyString_load(allocator, (const npy_packed_static_string *)array, one) == 0 && one->size <= UINT32_MAX;
}

enum { EMPTY = 0, FAILED = -1 };

/* The content of a chunk into the scratch; its bytes, EMPTY or FAILED. What is loaded is there until the allocator is released. */
static Py_ssize_t join(Worker *worker, const Texts *texts, const Window *window, bool keep_empty,
                       npy_string_allocator *allocator, npy_static_string *found) {
    Py_ssize_t count = texts->chunk->nbytes, size = WORD;
    npy_static_string fill = {.size = (size_t)texts->fill_size, .buf = texts->fill};
    for (Py_ssize_t i = 0; i < count; i++) found[i] = fill;
    if (!load_box(allocator, window, 0, texts->array + window->array_start, window->chunk_start, found)) return FAILED;
    bool empty = !keep_empty;
    for (Py_ssize_t i = 0; i < count; i++) {
        size += WORD + (Py_ssize_t)found[i].size;
        empty = empty && found[i].size == fill.size && (!fill.size || memcmp(found[i].buf, fill.buf, fill.size) == 0);
    }
    if (empty) return EMPTY;
    if (!set_content(worker, size)) return FAILED;
    char *to = put_word(worker->scratch, (size_t)count);
    for (Py_ssize_t i = 0; i < count; i++) {
        to = put_word(to, found[i].size);
        if (found[i].size) memcpy(to, found[i].buf, found[i].size);
        to += found[i].size;
    }
    return size;
}

/* Encode one piece into memory that is the caller's then, all but the elements themselves without Python's lock; its size, EMPTY
 * or FAILED. */
static Py_ssize_t encode_texts(Worker *worker, const Texts *texts, const Window *window, bool keep_empty, char **made) {
    npy_static_string *found = calloc((size_t)texts->chunk->nbytes, sizeof *found);
    if (found == NULL) return FAILED;
    npy_string_allocator *allocator = NpyString_acquire_allocator(texts->dtype);
    Py_ssize_t size = join(worker, texts, window, keep_empty, allocator, found);
    NpyString_release_allocator(allocator);
    free(found);
    if (size <= 0) return size;
    Py_ssize_t room = encoded_bound(worker);
    *made = malloc((size_t)room);
    if (*made == NULL) return FAILED;
    Py_BEGIN_ALLOW_THREADS
    size = encode_whole(worker, worker->scratch, *made, room);
    Py_END_ALLOW_THREADS
    return size;
}

static PyObject *encode_piece(Worker *worker, const Texts *texts, const Py_buffer *value, PyObject *piece,
                              bool keep_empty, PyObject *undone) {
    Window window;
    Py_ssize_t size = FAILED;
    char *made = NULL;
    if (place_of(piece, texts->chunk, value, &window))
        size = encode_texts(worker, texts, &window, keep_empty, &made);
    PyErr_Clear();
    PyObject *answer = size > 0 ? PyBytes_FromStringAndSize(made, size) : Py_NewRef(size == EMPTY ? Py_None : undone);
    free(made);
    return answer;
}

/* encode_texts(codec, chunk shape, fill, keep empty, pieces, value, undone): for each piece bytes, None or `undone`. */
PyObject *kernel_encode_texts(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *codec_object, *shape, *pieces, *value_object, *undone, *answers = NULL;
    const Codec *codec;
    Chunk chunk;
    Py_buffer value;
    Texts texts = {.chunk = &chunk};
    int keep_empty;
    if (!PyArg_ParseTuple(args, "OO!y#pOOO", &codec_object, &PyTuple_Type, &shape, &texts.fill, &texts.fill_size,
                          &keep_empty, &pieces, &value_object, &undone) ||
        !codec_of(codec_object, &codec) || !chunk_of(shape, 1, layout_of(codec), &chunk) ||
        !texts_of(value_object, false, &value, &texts.dtype))
        return NULL;
    Py_ssize_t total = PySequence_Size(pieces);
    if (total < 0) return NULL;
    texts.array = value.buf;
    Worker worker;
    if (open_worker(&worker, codec, 0, true))
        answers = PyList_New(total);
    else
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; answers != NULL && i < total; i++) {
        PyObject *piece = PySequence_GetItem(pieces, i);
        PyObject *answer = encode_piece(&worker, &texts, &value, piece, keep_empty, undone);
        Py_XDECREF(piece);
        if (answer == NULL)
            Py_CLEAR(answers);
        else
            PyList_SetItem(answers, i, answer);
    }
    close_worker(&worker);
    return answers;
}

#else /* built without numpy's headers: texts are left to Python */

PyObject *kernel_decode_texts(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(args)) {
    PyErr_SetString(PyExc_NotImplementedError, "built without numpy");
    return NULL;
}

PyObject *kernel_encode_texts(PyObject *module, PyObject *args) {
    return kernel_decode_texts(module, args);
}

#endif

bool has_texts(void) {
#if __has_include(<numpy/arrayobject.h>)
    return true;
#else
    return false;
#endif
}
