/* What the files of this module share: every function may run in many threads at once. */

#ifndef ZARRV3_NATIVE_KERNELS_H
#define ZARRV3_NATIVE_KERNELS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NDIM 16 /* selections of more dimensions are left to Python */

/* ------------------------------------------------------------------ windows.c */

/* The number in four bytes, the lowest first. */
static inline uint32_t read_word(const uint8_t *data) {
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

/* What a slice names of a dimension, or an integer, which drops it. */
typedef struct {
    Py_ssize_t start, step, count;
    bool kept; /* a slice */
} Range;

/* The elements that a slice or an integer names of a dimension of some length; false, without an exception, for anything else. */
bool range_of(PyObject *index, Py_ssize_t length, Range *range);

/* `array[outside]` and `chunk[inside]` where some indices are arrays: for each dimension of what is copied the offsets, in bytes, of
 * its elements on both sides. */
typedef struct {
    int ndim;
    bool ends_flat; /* the last dimension is one piece on both sides */
    Py_ssize_t count, shape[MAX_NDIM], array_start, chunk_start;
    Py_ssize_t *array[MAX_NDIM], *chunk[MAX_NDIM];
} Lists;

/* `array[outside]` and `chunk[inside]`: two windows of one shape. Lengths are in elements, all else is in bytes. */
typedef struct {
    int ndim;
    Py_ssize_t shape[MAX_NDIM];
    Py_ssize_t array_start, array_stride[MAX_NDIM];
    Py_ssize_t chunk_start, chunk_stride[MAX_NDIM];
    bool flat;    /* all elements of the chunk, in order, and in one piece in the array */
    Lists *lists; /* what counts instead of all the above, if there are any; to be freed */
} Window;

/* How the elements of a chunk lie in its memory. */
typedef struct {
    Py_ssize_t word; /* that many bytes at a time are in reverse; 1: none are */
    int ndim;
    int order[MAX_NDIM]; /* of the dimensions, if there are any here; otherwise they are in C order */
} Layout;

typedef struct {
    int ndim;
    Py_ssize_t shape[MAX_NDIM], stride[MAX_NDIM];
    Py_ssize_t item;   /* bytes of an element */
    Py_ssize_t nbytes; /* of the chunk */
} Chunk;

/* The shape of a chunk from a tuple; false, with an exception, unless it is one of at most MAX_NDIM lengths and fits the layout. */
bool chunk_of(PyObject *shape, Py_ssize_t item, const Layout *layout, Chunk *chunk);

/* The windows of a piece (`zarrv3.indexing.Piece`); false, without an exception, for one that is left to Python. */
bool window_of(PyObject *piece, const Chunk *chunk, const Py_buffer *array, Window *window);

/* Copy the elements of a strided box, and reverse each `word` bytes. */
void copy_box(int ndim, const Py_ssize_t *shape, Py_ssize_t item, Py_ssize_t word, char *to,
              const Py_ssize_t *to_stride, const char *from, const Py_ssize_t *from_stride);

/* Copy elements of a line that are `stride` bytes apart, likewise; they may stay in place. */
void copy_line(Py_ssize_t count, Py_ssize_t item, Py_ssize_t word, char *to, Py_ssize_t to_stride, const char *from,
               Py_ssize_t from_stride);

/* Set all elements of a window to one. */
void fill_window(const Window *window, char *array, const char *element, Py_ssize_t item);

/* Told of a line of elements: the first byte of it in its chunk and the bytes from one to the next, how many, and where they lie in the
 * array. */
typedef void (*LineOf)(void *what, Py_ssize_t at, Py_ssize_t step, Py_ssize_t count, char *array, Py_ssize_t stride);

/* Call `line` with everything that a window, whose steps in the chunk are positive, has between two bytes of the chunk. */
void each_line(const Window *window, Py_ssize_t item, Py_ssize_t start, Py_ssize_t stop, char *array, LineOf line, void *what);

/* Whether all elements of a window, which has no lists, are one. */
bool has_only(const Window *window, const char *array, const char *element, Py_ssize_t item);

/* How many elements a window has. */
Py_ssize_t count_of(const Window *window);

/* Copy the elements of a window into its chunk, and reverse each `word` bytes; both pointers are to the first byte of all. */
void put_window(const Window *window, Py_ssize_t item, Py_ssize_t word, char *chunk, const char *array);

/* Copy the elements of a window out of its chunk, likewise. */
void take_window(const Window *window, Py_ssize_t item, Py_ssize_t word, const char *chunk, char *array);

/* ------------------------------------------------------------------ buffers of Blosc: codecs.c and packed.c */

/* A header, of which two bytes are versions; after it the places of the blocks. A block is one stream, or one for each byte of an
 * element if the block is so large; a stream is its length and that many bytes. */
enum { HEADER = 16, FORMAT = 2, LZ4_FORMAT = 1, LENGTH = 4, MAX_STREAMS = 16, MIN_STREAM = 128 };
enum { SHUFFLED = 0x01, STORED = 0x02, BITS = 0x04, FUTURE = 0x08, UNSPLIT = 0x10 }; /* flags */
enum { LZ4 = 0x20, KINDS = 0xE0 };                                                    /* beside them: what has made the streams */

/* ------------------------------------------------------------------ shuffled.c */

#define MAX_ROWS 16

/* Bytes of a chunk that elements are taken from. */
typedef struct {
    Py_ssize_t start, stop; /* where they are in the chunk */
    const char *bytes;      /* decoded; NULL where they are still shuffled into rows, one for each byte of an element */
    const uint8_t *rows[MAX_ROWS];
} Part;

/* Whether elements of this size can be taken out of rows. */
bool has_rows(Py_ssize_t item);

/* Copy elements of a part that are `step` bytes apart, the first one at byte `at` of the chunk, and reverse each `word` bytes; those
 * of rows are not reversed. */
void take_line(const Part *part, Py_ssize_t item, Py_ssize_t word, Py_ssize_t at, Py_ssize_t step, Py_ssize_t count, char *to,
               Py_ssize_t stride);

/* Put elements into rows from the one numbered `first` on, `step` apart there and `stride` bytes where they lie. */
void put_line(uint8_t *const *rows, Py_ssize_t item, Py_ssize_t first, Py_ssize_t step, Py_ssize_t count, const char *from,
              Py_ssize_t stride);

/* ------------------------------------------------------------------ packed.c */

/* How Blosc cuts what it compresses: learned from a buffer that its library has made. */
typedef struct {
    uint32_t nbytes, block;
    bool is_split; /* full blocks into a stream for each byte of an element */
} Form;

typedef int (*PackLz4)(const char *from, char *to, int size, int room, int speed);

/* The form of a buffer; false if others like it cannot be made here. */
bool form_of(const uint8_t *made, Py_ssize_t item, Form *form);

/* Encode a window that has all elements of a chunk, with memory for a block; the bytes, or 0 where the library has to do it. */
Py_ssize_t pack_window(const Form *form, const Window *w, Py_ssize_t item, const char *array, int level, PackLz4 pack, char *work,
                       char *to, Py_ssize_t room);

/* ------------------------------------------------------------------ lists.c */

/* The places of a piece of which some indices are arrays; NULL, without an exception, for one that is left to Python. */
Lists *lists_of(PyObject *piece, const Chunk *chunk, const Py_buffer *array);

/* Copy elements between places, in C order, and reverse each `word` bytes; without offsets of its own, `from` is one element. */
void copy_lists(const Lists *lists, Py_ssize_t item, Py_ssize_t word, char *to, Py_ssize_t *const *to_offsets, const char *from,
                Py_ssize_t *const *from_offsets);

/* Copy those elements that lie in a part to their places in the array. */
void take_lists(const Lists *lists, Py_ssize_t item, Py_ssize_t word, const Part *part, char *array);

/* ------------------------------------------------------------------ codecs.c */

typedef struct Codec Codec;

/* The codec in a capsule made by `blosc`, `zstd`, `deflate` or `chain`, NULL for None; false, with an exception, for anything else. */
bool codec_of(PyObject *object, const Codec **codec);

const Layout *layout_of(const Codec *codec);

/* What one call decodes or encodes chunks with, one after the other. */
typedef struct {
    const Codec *codec;
    Py_ssize_t nbytes;  /* of a chunk */
    Py_ssize_t content; /* of what is compressed: a chunk with the checksums before the compressor */
    Py_ssize_t word;    /* of the layout */
    bool encodes;
    void *context; /* of the library, if it wants one */
    char *scratch; /* once it is needed */
    Py_ssize_t room; /* of it */
} Worker;

/* False if the library has no memory or refuses the configuration; to be closed in any case. */
bool open_worker(Worker *worker, const Codec *codec, Py_ssize_t nbytes, bool encodes);
/* Make a scratch of at least so many bytes; what was in a smaller one is lost. False if there is no memory. */
bool has_scratch(Worker *worker, Py_ssize_t room);
void close_worker(Worker *worker);

/* Whether chunks are stored as they are, apart from checksums behind them. */
bool is_stored(const Worker *worker);

/* Whether bytes can be a chunk: what must be checked before anything is decoded. The size is then without checksums at the end. */
bool is_sound(const Worker *worker, const uint8_t *data, Py_ssize_t *size);

/* Decode all of a chunk; false if the bytes are none. */
bool decode_whole(Worker *worker, const uint8_t *data, Py_ssize_t size, char *to);

/* Whether elements can be taken out of a chunk that stays shuffled. */
bool is_shuffled(const Worker *worker, const uint8_t *data, Py_ssize_t item);

/* The bytes of the parts that can be decoded on their own; those of the chunk if there are none. */
Py_ssize_t part_bytes(const Worker *worker, const uint8_t *data, Py_ssize_t item);

/* The content of a value of unknown size, where that is at most `limit` bytes and told by the value itself; NULL otherwise. `size` is
 * then that of the content, which is in the scratch or the value. */
const uint8_t *decode_any(Worker *worker, const uint8_t *data, Py_ssize_t *size, Py_ssize_t limit);

/* Decode a part of a chunk by way of the scratch, or its rows if the chunk is shuffled; false if the bytes are none. */
bool decode_part(const Worker *worker, const uint8_t *data, Py_ssize_t size, bool shuffled, Part *part);

/* Make room in the scratch for a chunk of so many bytes, to be encoded; false if that cannot be. */
bool set_content(Worker *worker, Py_ssize_t nbytes);

/* The most that encoding makes of a chunk. */
Py_ssize_t encoded_bound(const Worker *worker);

/* Encode all elements of a chunk from where they lie; 0 where they have to be brought together first. */
Py_ssize_t encode_window(Worker *worker, const Window *window, Py_ssize_t item, const char *array, char *to, Py_ssize_t room);

/* Encode a chunk, which may be in place where it is stored as it is; the encoded bytes, or -1 if it failed. */
Py_ssize_t encode_whole(Worker *worker, const char *from, char *to, Py_ssize_t room);

/* ------------------------------------------------------------------ strings.c */

bool has_texts(void); /* whether it was built with numpy's headers */

/* ------------------------------------------------------------------ functions of the module */

/* Append an integer to a list; false, with an exception, if that fails. */
bool add_number(PyObject *list, Py_ssize_t number);

PyObject *kernel_blosc(PyObject *module, PyObject *args);
PyObject *kernel_zstd(PyObject *module, PyObject *args);
PyObject *kernel_deflate(PyObject *module, PyObject *args);
PyObject *kernel_chain(PyObject *module, PyObject *args);
PyObject *kernel_bound(PyObject *module, PyObject *args);
PyObject *kernel_decode(PyObject *module, PyObject *args);
PyObject *kernel_encode(PyObject *module, PyObject *args);
PyObject *kernel_decode_texts(PyObject *module, PyObject *args);
PyObject *kernel_encode_texts(PyObject *module, PyObject *args);
PyObject *kernel_get_files(PyObject *module, PyObject *args);
PyObject *kernel_replace_files(PyObject *module, PyObject *args);

#endif
