/* Compressors, as functions found in the shared library that has them: nothing is linked, nothing is brought along. */

#include <dlfcn.h>

#include "kernels.h"

/* ---------------------------------------------------------------- what the libraries have */

typedef struct {
    const char *(*get_version)(void);
    int (*decompress)(const void *from, void *to, size_t size, int threads);
    int (*compress)(int level, int shuffle, size_t typesize, size_t nbytes, const void *from, void *to, size_t size,
                    const char *name, size_t block, int threads);
    int (*get_items)(const void *from, int start, int count, void *to);
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
    size_t (*compress)(void *encoder, void *to, size_t room, const void *from, size_t size);
    unsigned (*is_error)(size_t code);
} Zstd;

struct Codec {
    enum { BLOSC, ZSTD } kind;
    Blosc blosc;
    Zstd zstd;
    char name[16];
    int level, shuffle, checksum;
    size_t typesize, block;
};

enum { HEADER = 16, MAX_OVERHEAD = 16, FORMAT = 2, MAX_STREAMS = 16, MIN_STREAM = 128 }; /* of a blosc buffer */
enum { STORED = 0x02, FUTURE = 0x08, UNSPLIT = 0x10 }; /* flags of its header */
enum { ZSTD_LEVEL = 100, ZSTD_CHECKSUM = 201 };        /* of zstd.h */
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

/* Find functions in a library that Python has loaded; it stays loaded, as its modules do. */
static bool find_all(const char *path, const Symbol *symbols, size_t count) {
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
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
    };
    bool complete = find_all(path, symbols, sizeof symbols / sizeof *symbols) && zstd->version() >= 10400 &&
                    zstd->version() < 20000;
    return capsule_of(codec, complete);
}

/* ---------------------------------------------------------------- a worker */

bool open_worker(Worker *worker, const Codec *codec, Py_ssize_t nbytes, bool encodes, char *scratch) {
    *worker = (Worker){.codec = codec, .nbytes = nbytes, .encodes = encodes, .scratch = scratch};
    if (codec == NULL || codec->kind != ZSTD) return true;
    const Zstd *zstd = &codec->zstd;
    worker->context = encodes ? zstd->new_encoder() : zstd->new_decoder();
    if (worker->context == NULL) return false;
    return !encodes || !(zstd->is_error(zstd->set(worker->context, ZSTD_LEVEL, codec->level)) ||
                         zstd->is_error(zstd->set(worker->context, ZSTD_CHECKSUM, codec->checksum)));
}

bool has_scratch(Worker *worker) {
    if (worker->scratch == NULL) worker->scratch = worker->own = malloc((size_t)worker->nbytes);
    return worker->scratch != NULL;
}

void close_worker(Worker *worker) {
    if (worker->context != NULL) {
        const Zstd *zstd = &worker->codec->zstd;
        if (worker->encodes)
            zstd->free_encoder(worker->context);
        else
            zstd->free_decoder(worker->context);
    }
    free(worker->own);
}

static uint32_t word(const uint8_t *data) {
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

/* Blosc decodes each block from where its offset points: blocks that share bytes would take time as the square of the size. */
static bool are_apart(const uint8_t *data, uint64_t size, uint64_t nbytes) {
    uint64_t block = word(data + 8), full = nbytes / block, count = full + (nbytes % block > 0), left = size;
    bool split = !(data[2] & UNSPLIT) && data[3] <= MAX_STREAMS && block / data[3] >= MIN_STREAM;
    if (HEADER + 4 * count > size) return false;
    for (uint64_t number = 0; number < count; number++) {
        uint64_t position = word(data + HEADER + 4 * number);
        for (int streams = split && number < full ? data[3] : 1; streams > 0; streams--) {
            if (position + 4 > size) return false;
            uint64_t length = 4 + (uint64_t)word(data + position);
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
           word(data + 4) == (uint64_t)nbytes && word(data + 8) > 0 && word(data + 8) <= (uint64_t)nbytes &&
           word(data + 12) == (uint64_t)size &&
           (data[2] & STORED || are_apart(data, (uint64_t)size, (uint64_t)nbytes));
}

bool is_sound(const Worker *worker, const uint8_t *data, Py_ssize_t size) {
    const Codec *codec = worker->codec;
    if (codec == NULL) return size == worker->nbytes;
    if (codec->kind == BLOSC) return is_sound_blosc(data, size, worker->nbytes);
    return size >= 4 && word(data) == ZSTD_MAGIC && /* a library may know older formats, which Python does not */
           codec->zstd.content_size(data, (size_t)size) == (unsigned long long)worker->nbytes &&
           codec->zstd.frame_size(data, (size_t)size) == (size_t)size;
}

bool decode_whole(const Worker *worker, const uint8_t *data, Py_ssize_t size, char *to) {
    const Codec *codec = worker->codec;
    size_t nbytes = (size_t)worker->nbytes;
    if (codec == NULL) {
        memcpy(to, data, nbytes);
        return true;
    }
    if (codec->kind == BLOSC) return codec->blosc.decompress(data, to, nbytes, 1) == worker->nbytes;
    return codec->zstd.decompress(worker->context, to, nbytes, data, (size_t)size) == nbytes;
}

enum { BYTES_PER_STEP = 16 }; /* copied in the time of a step from block to block */

Py_ssize_t part_bytes(const Worker *worker, const uint8_t *data, Py_ssize_t item) {
    Py_ssize_t nbytes = worker->nbytes;
    if (worker->codec == NULL || worker->codec->kind != BLOSC) return nbytes;
    Py_ssize_t block = word(data + 8);
    bool fits = block % item == 0 && block % data[3] == 0 && nbytes % data[3] == 0;
    /* Blosc walks over all blocks for each part: that must cost less than decoding, however small they are */
    return fits && nbytes / block <= block / BYTES_PER_STEP ? block : nbytes;
}

bool decode_part(const Worker *worker, const uint8_t *data, Py_ssize_t start, Py_ssize_t stop) {
    int typesize = data[3];
    int found = worker->codec->blosc.get_items(data, (int)(start / typesize), (int)((stop - start) / typesize),
                                               worker->scratch);
    return found == stop - start;
}

Py_ssize_t encoded_bound(const Worker *worker) {
    const Codec *codec = worker->codec;
    if (codec == NULL) return worker->nbytes;
    if (codec->kind == BLOSC) return worker->nbytes + MAX_OVERHEAD;
    return (Py_ssize_t)codec->zstd.bound((size_t)worker->nbytes);
}

/* bound(codec, nbytes): the same for Python. */
PyObject *kernel_bound(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object;
    Worker worker = {0};
    if (!PyArg_ParseTuple(args, "On", &object, &worker.nbytes) || !codec_of(object, &worker.codec)) return NULL;
    return PyLong_FromSsize_t(encoded_bound(&worker));
}

Py_ssize_t encode_whole(const Worker *worker, const char *from, char *to, Py_ssize_t room) {
    const Codec *codec = worker->codec;
    size_t nbytes = (size_t)worker->nbytes;
    if (codec == NULL) {
        memcpy(to, from, nbytes);
        return worker->nbytes;
    }
    if (codec->kind == ZSTD) {
        size_t made = codec->zstd.compress(worker->context, to, (size_t)room, from, nbytes);
        return codec->zstd.is_error(made) ? -1 : (Py_ssize_t)made;
    }
    int made = codec->blosc.compress(codec->level, codec->shuffle, codec->typesize, nbytes, from, to, (size_t)room,
                                     codec->name, codec->block, 1);
    return made > 0 ? made : -1;
}
