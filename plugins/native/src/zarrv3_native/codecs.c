/* Chains of codecs, as functions found in the shared libraries that have them: nothing is linked, nothing is brought along.
 *
 * A chain is checksums before a compressor (`inner`), at most one compressor, and checksums behind it (`outer`). What is before all
 * of them, the order of the dimensions and of the bytes, is a matter of where elements lie: windows.c. */

#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

#include "kernels.h"

/* ---------------------------------------------------------------- what the libraries have */

typedef struct {
    const char *(*get_version)(void);
    int (*decompress)(const void *from, void *to, size_t size, int threads);
    int (*compress)(int level, int shuffle, size_t typesize, size_t nbytes, const void *from, void *to, size_t size,
                    const char *name, size_t block, int threads);
    int (*get_items)(const void *from, int start, int count, void *to);
    int (*unpack_lz4)(const char *from, char *to, int size, int room);
    PackLz4 pack_lz4;
} Blosc;

typedef struct {
    unsigned (*version)(void);
    unsigned long long (*content_size)(const void *data, size_t size);
    size_t (*frame_size)(const void *data, size_t size);
    size_t (*bound)(size_t size);
    void *(*new_decoder)(void);
    size_t (*free_decoder)(void *decoder);
    size_t (*decompress)(void *decoder, void *to, size_t room, const void *from, size_t size);
    void *(*new_encoder)(void);
    size_t (*free_encoder)(void *encoder);
    size_t (*set)(void *encoder, int parameter, int value);
    size_t (*reset)(void *encoder, int what);
    size_t (*encoder_bytes)(const void *encoder);
    size_t (*compress)(void *encoder, void *to, size_t room, const void *from, size_t size);
    unsigned (*is_error)(size_t code);
} Zstd;

typedef struct {
    void *(*new_decoder)(void);
    void (*free_decoder)(void *decoder);
    int (*decompress)(void *decoder, const void *from, size_t size, void *to, size_t room, size_t *read, size_t *written);
    void *(*new_encoder)(int level);
    void (*free_encoder)(void *encoder);
    size_t (*bound)(void *encoder, size_t size);
    size_t (*compress)(void *encoder, const void *from, size_t size, void *to, size_t room);
} Deflate;

struct Codec {
    enum { NONE, BLOSC, ZSTD, DEFLATE } kind;
    Blosc blosc;
    Zstd zstd;
    Deflate deflate;
    uint32_t (*crc32c)(uint32_t start, const uint8_t *data, size_t size);
    char name[16];
    int level, shuffle, checksum;
    bool gzip; /* or zlib */
    size_t typesize, block;
    uint64_t form; /* of the last buffer that Blosc has made, 0 before; read and written in one piece by many threads */
    int inner, outer; /* checksums */
    Layout layout;
};

enum { MAX_OVERHEAD = 16 }; /* of a buffer of Blosc */
enum { ZSTD_LEVEL = 100, ZSTD_CHECKSUM = 201, ZSTD_RESET_ALL = 3 }; /* of zstd.h */
enum { CRC = 4 }; /* bytes of a checksum */
static const uint32_t ZSTD_MAGIC = 0xFD2FB528;

static const char *const LABEL = "zarrv3_native.codec";

static void release(PyObject *capsule) {
    free(PyCapsule_GetPointer(capsule, LABEL));
}

bool codec_of(PyObject *object, const Codec **codec) {
    *codec = NULL;
    if (object == Py_None) return true;
    *codec = PyCapsule_GetPointer(object, LABEL);
    return *codec != NULL;
}

typedef struct {
    const char *name;
    void *place; /* of a pointer to a function */
} Symbol;

/* Find functions in a library, which is the one of Python's module where that is imported; it stays loaded, as modules do. */
static bool find_all(const char *path, const Symbol *symbols, size_t count) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library != NULL && i < count; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (found == NULL) return false;
        memcpy(symbols[i].place, &found, sizeof found);
    }
    return library != NULL;
}

/* A capsule that owns the codec, or None for one that is not complete. */
static PyObject *capsule_of(Codec *codec, bool complete) {
    if (!complete) {
        free(codec);
        Py_RETURN_NONE;
    }
    if (codec->layout.word == 0) codec->layout.word = 1;
    PyObject *capsule = PyCapsule_New(codec, LABEL, release);
    if (capsule == NULL) free(codec);
    return capsule;
}

/* blosc(library, name, level, shuffle, block, typesize): the codec, or None where the library has no blosc 1. */
PyObject *kernel_blosc(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *path, *name;
    int level, shuffle;
    Py_ssize_t typesize, block;
    if (!PyArg_ParseTuple(args, "syiinn", &path, &name, &level, &shuffle, &block, &typesize)) return NULL;
    Codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) return PyErr_NoMemory();
    *codec = (Codec){.kind = BLOSC, .level = level, .shuffle = shuffle, .typesize = (size_t)typesize,
                     .block = (size_t)block};
    const Symbol symbols[] = {
        {"blosc_get_version_string", &codec->blosc.get_version},
        {"blosc_decompress_ctx", &codec->blosc.decompress},
        {"blosc_compress_ctx", &codec->blosc.compress},
        {"blosc_getitem", &codec->blosc.get_items},
    };
    bool complete = strlen(name) < sizeof codec->name && find_all(path, symbols, sizeof symbols / sizeof *symbols) &&
                    strncmp(codec->blosc.get_version(), "1.", 2) == 0;
    if (complete) strcpy(codec->name, name);
    const Symbol lz4 = {"LZ4_decompress_safe", &codec->blosc.unpack_lz4};
    find_all(path, &lz4, 1); /* it may have it for itself alone */
    const Symbol pack = {"LZ4_compress_fast", &codec->blosc.pack_lz4};
    find_all(path, &pack, 1);
    return capsule_of(codec, complete);
}

/* zstd(library, level, checksum): the codec, or None where the library has no zstd 1. */
PyObject *kernel_zstd(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *path;
    int level, checksum;
    if (!PyArg_ParseTuple(args, "sip", &path, &level, &checksum)) return NULL;
    Codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) return PyErr_NoMemory();
    *codec = (Codec){.kind = ZSTD, .level = level, .checksum = checksum};
    Zstd *zstd = &codec->zstd;
    const Symbol symbols[] = {
        {"ZSTD_versionNumber", &zstd->version},      {"ZSTD_getFrameContentSize", &zstd->content_size},
        {"ZSTD_findFrameCompressedSize", &zstd->frame_size}, {"ZSTD_compressBound", &zstd->bound},
        {"ZSTD_createDCtx", &zstd->new_decoder},     {"ZSTD_freeDCtx", &zstd->free_decoder},
        {"ZSTD_decompressDCtx", &zstd->decompress},  {"ZSTD_createCCtx", &zstd->new_encoder},
        {"ZSTD_freeCCtx", &zstd->free_encoder},      {"ZSTD_CCtx_setParameter", &zstd->set},
        {"ZSTD_compress2", &zstd->compress},         {"ZSTD_isError", &zstd->is_error},
        {"ZSTD_CCtx_reset", &zstd->reset},           {"ZSTD_sizeof_CCtx", &zstd->encoder_bytes},
    };
    bool complete = find_all(path, symbols, sizeof symbols / sizeof *symbols) && zstd->version() >= 10400 &&
                    zstd->version() < 20000;
    return capsule_of(codec, complete);
}

/* deflate(library, gzip, level): the codec that makes gzip, or zlib, by libdeflate; None where the library does not have it. */
PyObject *kernel_deflate(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *path;
    int gzip, level;
    if (!PyArg_ParseTuple(args, "spi", &path, &gzip, &level)) return NULL;
    Codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) return PyErr_NoMemory();
    *codec = (Codec){.kind = DEFLATE, .level = level, .gzip = gzip};
    Deflate *deflate = &codec->deflate;
    const Symbol symbols[] = {
        {"libdeflate_alloc_decompressor", &deflate->new_decoder},
        {"libdeflate_free_decompressor", &deflate->free_decoder},
        {gzip ? "libdeflate_gzip_decompress_ex" : "libdeflate_zlib_decompress_ex", &deflate->decompress},
        {"libdeflate_alloc_compressor", &deflate->new_encoder},
        {"libdeflate_free_compressor", &deflate->free_encoder},
        {gzip ? "libdeflate_gzip_compress_bound" : "libdeflate_zlib_compress_bound", &deflate->bound},
        {gzip ? "libdeflate_gzip_compress" : "libdeflate_zlib_compress", &deflate->compress},
    };
    return capsule_of(codec, level >= 0 && level <= 9 && find_all(path, symbols, sizeof symbols / sizeof *symbols));
}

/* The order of the dimensions from a tuple, or None; false, with an exception, unless it is a permutation. */
static bool order_of(PyObject *order, Layout *layout) {
    if (order == Py_None) return true;
    Py_ssize_t ndim = PyTuple_Size(order);
    bool seen[MAX_NDIM] = {false};
    for (Py_ssize_t i = 0; i < ndim && i < MAX_NDIM; i++) {
        long axis = PyLong_AsLong(PyTuple_GetItem(order, i));
        if (PyErr_Occurred()) return false;
        if (axis < 0 || axis >= ndim || axis >= MAX_NDIM || seen[axis]) break;
        seen[axis] = true;
        layout->order[layout->ndim++] = (int)axis;
    }
    if (ndim >= 0 && layout->ndim != ndim) PyErr_SetString(PyExc_ValueError, "the order is not a permutation");
    return layout->ndim == ndim;
}

/* chain(compressor, inner, outer, library, word, order): a codec with checksums before and behind a compressor, or none; `word`
 * bytes at a time are reversed, and dimensions are in `order`, unless that is None. None where the library has no CRC32C. */
PyObject *kernel_chain(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object, *order;
    const char *path;
    int inner, outer;
    Py_ssize_t word;
    const Codec *compressor;
    if (!PyArg_ParseTuple(args, "OiisnO", &object, &inner, &outer, &path, &word, &order) ||
        !codec_of(object, &compressor))
        return NULL;
    Codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL) return PyErr_NoMemory();
    if (compressor != NULL) *codec = *compressor;
    codec->inner = inner;
    codec->outer = outer;
    codec->layout.word = word;
    if (inner < 0 || outer < 0 || inner > MAX_NDIM || outer > MAX_NDIM || word < 1 || !order_of(order, &codec->layout)) {
        free(codec);
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a chain that makes no sense");
        return NULL;
    }
    const Symbol symbol = {"crc32c_extend", &codec->crc32c};
    return capsule_of(codec, !(inner || outer) || find_all(path, &symbol, 1));
}

const Layout *layout_of(const Codec *codec) {
    static const Layout plain = {.word = 1};
    return codec == NULL ? &plain : &codec->layout;
}

/* ---------------------------------------------------------------- contexts of libraries, used again */

/* Making one takes as long as encoding a small chunk. Those that nobody uses are kept here, for whoever comes next: a slot
 * changes hands in one step, so no lock can be left held by a thread that a fork has not taken along. */
typedef struct {
    Codec codec;
    bool encodes;
    void *context;
} Kept;

enum { SLOTS = 16, MOST_KEPT = 1 << 24 }; /* bytes: what strong compression has taken is given back */
static _Atomic(Kept *) slots[SLOTS];

static void free_context(const Codec *codec, bool encodes, void *context) {
    if (codec->kind == ZSTD)
        (encodes ? codec->zstd.free_encoder : codec->zstd.free_decoder)(context);
    else
        (encodes ? codec->deflate.free_encoder : codec->deflate.free_decoder)(context);
}

/* Put away what is not used; free it where there is no room. */
static void put_away(Kept *kept) {
    for (int i = 0; i < SLOTS; i++) {
        Kept *none = NULL;
        if (atomic_compare_exchange_strong(&slots[i], &none, kept)) return;
    }
    free_context(&kept->codec, kept->encodes, kept->context);
    free(kept);
}

static bool is_same(const Codec *codec, const Codec *other, bool encodes) {
    if (codec->kind != other->kind) return false;
    if (codec->kind == ZSTD) return codec->zstd.free_encoder == other->zstd.free_encoder;
    return codec->deflate.free_encoder == other->deflate.free_encoder && (!encodes || codec->level == other->level);
}

static void *take_context(const Codec *codec, bool encodes) {
    for (int i = 0; i < SLOTS; i++) {
        Kept *kept = atomic_exchange(&slots[i], NULL);
        if (kept == NULL) continue;
        if (kept->encodes == encodes && is_same(codec, &kept->codec, encodes)) {
            void *context = kept->context;
            free(kept);
            return context;
        }
        put_away(kept);
    }
    if (codec->kind == ZSTD) return encodes ? codec->zstd.new_encoder() : codec->zstd.new_decoder();
    return encodes ? codec->deflate.new_encoder(codec->level) : codec->deflate.new_decoder();
}

static void give_context(const Codec *codec, bool encodes, void *context) {
    bool large = codec->kind == ZSTD && encodes && codec->zstd.encoder_bytes(context) > MOST_KEPT;
    Kept *kept = large ? NULL : malloc(sizeof *kept);
    if (kept == NULL) {
        free_context(codec, encodes, context);
    } else {
        *kept = (Kept){.codec = *codec, .encodes = encodes, .context = context};
        put_away(kept);
    }
}

/* ---------------------------------------------------------------- memory, used again */

/* Fresh memory costs more than decoding into it, since the system clears each page when it is first touched. It is kept as contexts are. */
typedef struct {
    size_t size;
    _Alignas(max_align_t) char data[];
} Piece;

enum { PIECES = 8, MOST_PIECES = 1 << 25, LEAST_PIECE = 1 << 16 }; /* so many bytes in all; what is small is left to malloc */
static _Atomic(Piece *) pieces[PIECES];
static _Atomic size_t piece_bytes;

static Piece *piece_of(char *memory) {
    return (Piece *)(memory - offsetof(Piece, data));
}

/* Give back what `take_memory` has returned, or NULL. */
static void give_memory(char *memory) {
    if (memory == NULL) return;
    Piece *piece = piece_of(memory);
    bool fits = piece->size >= LEAST_PIECE && (piece_bytes += piece->size) <= MOST_PIECES;
    for (int i = 0; fits && i < PIECES; i++) {
        Piece *none = NULL;
        if (atomic_compare_exchange_strong(&pieces[i], &none, piece)) return;
    }
    if (piece->size >= LEAST_PIECE) piece_bytes -= piece->size;
    free(piece);
}

/* Memory of a size at least; NULL if there is none. */
static char *take_memory(Py_ssize_t size) {
    if (size < 0 || (size_t)size > SIZE_MAX - sizeof(Piece)) return NULL;
    for (int i = 0; size >= LEAST_PIECE && i < PIECES; i++) {
        Piece *piece = atomic_exchange(&pieces[i], NULL);
        if (piece == NULL) continue;
        piece_bytes -= piece->size;
        if (piece->size >= (size_t)size) return piece->data;
        give_memory(piece->data);
    }
    Piece *piece = malloc(sizeof(Piece) + (size_t)size);
    if (piece == NULL) return NULL;
    piece->size = (size_t)size;
    return piece->data;
}

/* ---------------------------------------------------------------- a worker */

bool open_worker(Worker *worker, const Codec *codec, Py_ssize_t nbytes, bool encodes) {
    static const Codec none = {.kind = NONE, .layout = {.word = 1}};
    if (codec == NULL) codec = &none;
    *worker = (Worker){.codec = codec, .nbytes = nbytes, .content = nbytes + CRC * codec->inner, .encodes = encodes,
                       .word = codec->layout.word};
    if (codec->kind != ZSTD && codec->kind != DEFLATE) return true;
    const Zstd *zstd = &codec->zstd;
    worker->context = take_context(codec, encodes);
    if (worker->context == NULL) return false;
    return codec->kind != ZSTD || !encodes ||
           !(zstd->is_error(zstd->reset(worker->context, ZSTD_RESET_ALL)) ||
             zstd->is_error(zstd->set(worker->context, ZSTD_LEVEL, codec->level)) ||
             zstd->is_error(zstd->set(worker->context, ZSTD_CHECKSUM, codec->checksum)));
}

bool has_scratch(Worker *worker, Py_ssize_t room) {
    if (worker->scratch == NULL || worker->room < room) {
        give_memory(worker->scratch);
        worker->scratch = take_memory(room);
        worker->room = worker->scratch == NULL ? 0 : room;
    }
    return worker->scratch != NULL;
}

bool is_stored(const Worker *worker) {
    return worker->codec->kind == NONE;
}

void close_worker(Worker *worker) {
    if (worker->context != NULL) give_context(worker->codec, worker->encodes, worker->context);
    give_memory(worker->scratch);
}

/* ---------------------------------------------------------------- checksums */

static void add_checksum(const Codec *codec, char *data, Py_ssize_t size) {
    uint32_t sum = codec->crc32c(0, (const uint8_t *)data, (size_t)size);
    for (int i = 0; i < CRC; i++) data[size + i] = (char)(sum >> 8 * i);
}

/* Whether bytes end in `count` right checksums, each of all before it; the size is then without them. */
static bool take_checksums(const Codec *codec, int count, const uint8_t *data, Py_ssize_t *size) {
    for (; count > 0; count--) {
        *size -= CRC;
        if (*size < 0 || codec->crc32c(0, data, (size_t)*size) != read_word(data + *size)) return false;
    }
    return true;
}

/* ---------------------------------------------------------------- decoding and encoding */

/* Whether each byte of all elements of a block is a stream of its own; a last block that is shorter is one stream in any case. */
static bool is_split(const uint8_t *data) {
    return !(data[2] & UNSPLIT) && data[3] <= MAX_STREAMS && read_word(data + 8) / data[3] >= MIN_STREAM;
}

/* Blosc decodes each block from where its offset points: blocks that share bytes would take time as the square of the size. */
static bool are_apart(const uint8_t *data, uint64_t size, uint64_t nbytes) {
    uint64_t block = read_word(data + 8), full = nbytes / block, count = full + (nbytes % block > 0), left = size;
    bool split = is_split(data);
    if (HEADER + 4 * count > size) return false;
    for (uint64_t number = 0; number < count; number++) {
        uint64_t position = read_word(data + HEADER + 4 * number);
        for (int streams = split && number < full ? data[3] : 1; streams > 0; streams--) {
            if (position + 4 > size) return false;
            uint64_t length = 4 + (uint64_t)read_word(data + position);
            if (length > left) return false;
            left -= length;
            position += length;
        }
    }
    return true;
}

/* Blosc believes the header of a buffer: sizes of the data, of a block and of the whole buffer. Its functions differ in what
 * they make of a format or a flag from the future. */
static bool is_sound_blosc(const uint8_t *data, Py_ssize_t size, Py_ssize_t nbytes) {
    return size >= HEADER && nbytes <= INT32_MAX && data[0] == FORMAT && !(data[2] & FUTURE) && data[3] != 0 &&
           read_word(data + 4) == (uint64_t)nbytes && read_word(data + 8) > 0 && read_word(data + 8) <= (uint64_t)nbytes &&
           read_word(data + 12) == (uint64_t)size &&
           (data[2] & STORED || are_apart(data, (uint64_t)size, (uint64_t)nbytes));
}

enum { GZIP_FLAGS = 3, LEAST_GZIP = 18 };

/* All members, or streams, of a buffer, one after the other. Python decodes those with flags, among which is a checksum of the header. */
static bool inflate_all(const Worker *worker, const uint8_t *data, Py_ssize_t size, char *to) {
    const Codec *codec = worker->codec;
    size_t done = 0, left = (size_t)size, content = (size_t)worker->content;
    do {
        size_t read = 0, written = 0;
        if (codec->gzip && (left < LEAST_GZIP || data[GZIP_FLAGS] != 0)) return false;
        if (codec->deflate.decompress(worker->context, data, left, to + done, content - done, &read, &written) != 0)
            return false;
        done += written;
        data += read;
        left -= read;
    } while (left > 0);
    return done == content;
}

bool is_sound(const Worker *worker, const uint8_t *data, Py_ssize_t *size) {
    const Codec *codec = worker->codec;
    if (!take_checksums(codec, codec->outer, data, size)) return false;
    if (codec->kind == NONE) return *size == worker->nbytes;
    if (codec->kind == BLOSC) return is_sound_blosc(data, *size, worker->content);
    if (codec->kind == DEFLATE) return true;
    return *size >= 4 && read_word(data) == ZSTD_MAGIC && /* a library may know older formats, which Python does not */
           codec->zstd.content_size(data, (size_t)*size) == (unsigned long long)worker->content &&
           codec->zstd.frame_size(data, (size_t)*size) == (size_t)*size;
}

static bool decompress(const Worker *worker, const uint8_t *data, Py_ssize_t size, char *to) {
    const Codec *codec = worker->codec;
    size_t content = (size_t)worker->content;
    if (codec->kind == BLOSC) return codec->blosc.decompress(data, to, content, 1) == worker->content;
    if (codec->kind == DEFLATE) return inflate_all(worker, data, size, to);
    return codec->zstd.decompress(worker->context, to, content, data, (size_t)size) == content;
}

bool decode_whole(Worker *worker, const uint8_t *data, Py_ssize_t size, char *to) {
    const Codec *codec = worker->codec;
    if (codec->kind == NONE) {
        memcpy(to, data, (size_t)worker->nbytes);
        return true;
    }
    if (codec->inner == 0) return decompress(worker, data, size, to);
    Py_ssize_t content = worker->content;
    if (!has_scratch(worker, worker->content) || !decompress(worker, data, size, worker->scratch) ||
        !take_checksums(codec, codec->inner, (const uint8_t *)worker->scratch, &content))
        return false;
    if (to != worker->scratch) memcpy(to, worker->scratch, (size_t)content);
    return true;
}

/* What bytes without checksums claim to hold, -1 where they do not say it. */
static int64_t claimed(const Codec *codec, const uint8_t *data, Py_ssize_t size) {
    if (codec->kind == NONE) return size;
    if (codec->kind == BLOSC) return size < HEADER ? -1 : (int64_t)read_word(data + 4);
    if (codec->kind == DEFLATE) return codec->gzip && size >= LEAST_GZIP ? (int64_t)read_word(data + size - 4) : -1;
    unsigned long long content = codec->zstd.content_size(data, (size_t)size);
    return content > INT64_MAX ? -1 : (int64_t)content; /* its errors are large numbers */
}

enum { MOST_RATIO = 1024, FEW = 1 << 20 }; /* claims beyond which Python looks closer before it allocates */

const uint8_t *decode_any(Worker *worker, const uint8_t *data, Py_ssize_t *size, Py_ssize_t limit) {
    const Codec *codec = worker->codec;
    Py_ssize_t inside = *size - CRC * codec->outer;
    int64_t content = inside < 0 ? -1 : claimed(codec, data, inside);
    if (content <= 0 || content > limit || (content > FEW && content / MOST_RATIO > inside)) return NULL;
    worker->nbytes = worker->content = (Py_ssize_t)content;
    if (!is_sound(worker, data, size)) return NULL;
    *size = (Py_ssize_t)content;
    if (codec->kind == NONE) return data;
    if (!has_scratch(worker, *size) || !decompress(worker, data, inside, worker->scratch)) return NULL;
    const uint8_t *found = (const uint8_t *)worker->scratch;
    return take_checksums(codec, codec->inner, found, size) ? found : NULL;
}

bool set_content(Worker *worker, Py_ssize_t nbytes) {
    worker->nbytes = nbytes;
    worker->content = nbytes + CRC * worker->codec->inner;
    if (worker->codec->kind == BLOSC && worker->content > INT32_MAX - MAX_OVERHEAD) return false;
    return has_scratch(worker, worker->content);
}

enum { BYTES_PER_STEP = 16 }; /* copied in the time of a step from block to block */

bool is_shuffled(const Worker *worker, const uint8_t *data, Py_ssize_t item) {
    const Codec *codec = worker->codec;
    if (codec->kind != BLOSC || codec->blosc.unpack_lz4 == NULL || codec->inner || worker->word > 1) return false;
    int flags = data[2] & (SHUFFLED | STORED | BITS | KINDS);
    return flags == (SHUFFLED | LZ4) && data[1] == LZ4_FORMAT && data[3] == item && has_rows(item) &&
           read_word(data + 8) % (uint32_t)item == 0 && worker->nbytes % item == 0;
}

Py_ssize_t part_bytes(const Worker *worker, const uint8_t *data, Py_ssize_t item) {
    Py_ssize_t nbytes = worker->nbytes;
    if (worker->codec->kind != BLOSC || worker->codec->inner) return nbytes;
    Py_ssize_t block = read_word(data + 8);
    if (is_shuffled(worker, data, item)) return block;
    bool fits = block % item == 0 && block % data[3] == 0 && nbytes % data[3] == 0;
    /* Blosc walks over all blocks for each part: that must cost less than decoding, however small they are */
    return fits && nbytes / block <= block / BYTES_PER_STEP ? block : nbytes;
}

/* The rows of a block: where they lie if they are stored as they are, otherwise in the scratch. */
static bool decode_rows(const Worker *worker, const uint8_t *data, Py_ssize_t size, Part *part) {
    Py_ssize_t bytes = part->stop - part->start, block = read_word(data + 8), item = data[3];
    Py_ssize_t streams = is_split(data) && bytes == block ? item : 1, length = bytes / streams;
    Py_ssize_t position = read_word(data + HEADER + 4 * (part->start / block));
    char *to = worker->scratch;
    for (Py_ssize_t stream = 0; stream < streams; stream++) {
        if (size - position < LENGTH) return false;
        Py_ssize_t packed = read_word(data + position);
        position += LENGTH;
        if (packed == 0 || packed > size - position) return false;
        const uint8_t *found = data + position;
        if (packed != length) {
            if (worker->codec->blosc.unpack_lz4((const char *)found, to, (int)packed, (int)length) != length) return false;
            found = (const uint8_t *)to;
            to += length;
        }
        position += packed;
        part->rows[stream] = found;
    }
    for (Py_ssize_t row = streams; row < item; row++) part->rows[row] = part->rows[0] + row * (bytes / item);
    return true;
}

bool decode_part(const Worker *worker, const uint8_t *data, Py_ssize_t size, bool shuffled, Part *part) {
    part->bytes = shuffled ? NULL : worker->scratch;
    if (shuffled) return decode_rows(worker, data, size, part);
    int typesize = data[3];
    Py_ssize_t bytes = part->stop - part->start;
    return worker->codec->blosc.get_items(data, (int)(part->start / typesize), (int)(bytes / typesize), worker->scratch) == bytes;
}

Py_ssize_t encoded_bound(const Worker *worker) {
    const Codec *codec = worker->codec;
    Py_ssize_t checksums = CRC * codec->outer;
    size_t content = (size_t)worker->content;
    if (codec->kind == NONE) return worker->content + checksums;
    if (codec->kind == BLOSC) return worker->content + MAX_OVERHEAD + checksums;
    if (codec->kind == DEFLATE) return (Py_ssize_t)codec->deflate.bound(NULL, content) + checksums;
    return (Py_ssize_t)codec->zstd.bound(content) + checksums;
}

/* bound(codec, nbytes): how much memory a chunk needs to be encoded, and the most that it becomes. */
PyObject *kernel_bound(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object;
    const Codec *codec;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "On", &object, &nbytes) || !codec_of(object, &codec)) return NULL;
    Worker worker = {0};
    PyObject *answer = NULL;
    if (open_worker(&worker, codec, nbytes, true))
        answer = Py_BuildValue("nn", worker.content, encoded_bound(&worker));
    else
        PyErr_NoMemory();
    close_worker(&worker);
    return answer;
}

/* Remember the form of a buffer; sizes are less than 2³¹. */
static void learn(const Codec *codec, const char *made) {
    Form form;
    if (!form_of((const uint8_t *)made, (Py_ssize_t)codec->typesize, &form)) return;
    uint64_t packed = (uint64_t)form.nbytes << 32 | (uint64_t)form.block << 1 | form.is_split;
    __atomic_store_n(&((Codec *)codec)->form, packed, __ATOMIC_RELAXED);
}

/* Whether a chunk can be made by `pack_window`: after the library has made one of the same size. */
static bool has_form(const Worker *worker, Py_ssize_t item, Form *form) {
    const Codec *codec = worker->codec;
    bool fits = codec->kind == BLOSC && codec->blosc.pack_lz4 != NULL && strcmp(codec->name, "lz4") == 0 && codec->level > 0 &&
                codec->shuffle == SHUFFLED && !codec->inner && worker->word == 1 && codec->typesize == (size_t)item;
    uint64_t packed = fits ? __atomic_load_n(&codec->form, __ATOMIC_RELAXED) : 0;
    *form = (Form){.nbytes = (uint32_t)(packed >> 32), .block = (uint32_t)packed >> 1, .is_split = packed & 1};
    return packed != 0 && (Py_ssize_t)form->nbytes == worker->nbytes;
}

Py_ssize_t encode_window(Worker *worker, const Window *window, Py_ssize_t item, const char *array, char *to, Py_ssize_t room) {
    Form form;
    for (int axis = 0; axis < window->ndim; axis++)
        if (window->chunk_stride[axis] <= 0) return 0;
    if (window->lists != NULL || !has_form(worker, item, &form) || !has_scratch(worker, form.block)) return 0;
    const Codec *codec = worker->codec;
    Py_ssize_t made = pack_window(&form, window, item, array, codec->level, codec->blosc.pack_lz4, worker->scratch, to,
                                  room - CRC * codec->outer);
    for (int i = 0; made > 0 && i < codec->outer; i++, made += CRC) add_checksum(codec, to, made);
    return made;
}

static Py_ssize_t compress(const Worker *worker, const char *from, char *to, Py_ssize_t room) {
    const Codec *codec = worker->codec;
    size_t content = (size_t)worker->content;
    if (codec->kind == NONE) {
        if (to != from) memcpy(to, from, content);
        return worker->content;
    }
    if (codec->kind == ZSTD) {
        size_t made = codec->zstd.compress(worker->context, to, (size_t)room, from, content);
        return codec->zstd.is_error(made) ? -1 : (Py_ssize_t)made;
    }
    if (codec->kind == DEFLATE) {
        size_t made = codec->deflate.compress(worker->context, from, content, to, (size_t)room);
        return made > 0 ? (Py_ssize_t)made : -1;
    }
    int made = codec->blosc.compress(codec->level, codec->shuffle, codec->typesize, content, from, to, (size_t)room,
                                     codec->name, codec->block, 1);
    if (made > 0) learn(codec, to);
    return made > 0 ? made : -1;
}

Py_ssize_t encode_whole(Worker *worker, const char *from, char *to, Py_ssize_t room) {
    const Codec *codec = worker->codec;
    if (codec->inner) {
        if (!has_scratch(worker, worker->content)) return -1;
        if (from != worker->scratch) memcpy(worker->scratch, from, (size_t)worker->nbytes);
        for (int i = 0; i < codec->inner; i++) add_checksum(codec, worker->scratch, worker->nbytes + CRC * i);
        from = worker->scratch;
    }
    Py_ssize_t made = compress(worker, from, to, room - CRC * codec->outer);
    for (int i = 0; made >= 0 && i < codec->outer; i++, made += CRC) add_checksum(codec, to, made);
    return made;
}
