/* Files of one folder, many at once and without Python's lock. Whatever is not as usual is left to Python, which does it
 * again and says what is wrong. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "kernels.h"

#ifdef __linux__ /* headers may be older than the system */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
enum { BENEATH = 0x08, NO_SYMLINKS = 0x04 }; /* of linux/openat2.h */
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
#endif

#ifdef __APPLE__
#define st_mtim st_mtimespec
#define st_ctim st_ctimespec
#endif

enum { TOGETHER = 64, MAX_NAME = 255, MAX_PATH = 4095, MODE = 0666 }; /* TOGETHER: files that are open at once */

/* The bytes of a path, ASCII, of which no part begins with `reserved`; with letters only if a file cannot be found under
 * other ones. */
static const char *path_of(PyObject *object, const char *reserved, bool letters, Py_ssize_t most) {
    Py_ssize_t length;
    const char *path = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &length) : NULL;
    if (path == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (length == 0 || length > most) return NULL;
    for (Py_ssize_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)path[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (c == 0 || c >= 0x80 || (letter && !letters)) return NULL;
        if (c == reserved[0] && (i == 0 || path[i - 1] == '/') && strncmp(path + i, reserved, strlen(reserved)) == 0)
            return NULL;
    }
    return path;
}

/* Open a file below a folder. Through symbolic links only without O_NOFOLLOW; where the system cannot look out for them
 * in every part of a path, paths of several parts are refused. */
static int open_below(int folder, const char *path, int flags) {
    if (!(flags & O_NOFOLLOW) || strchr(path, '/') == NULL) return openat(folder, path, flags);
#ifdef __linux__
    const struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = (uint64_t)(flags & ~O_NOFOLLOW), .resolve = BENEATH | NO_SYMLINKS};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* ---------------------------------------------------------------- reading */

typedef struct {
    const char *path;
    Py_ssize_t start, stop; /* of the range, as Python slices */
    int fd;
    struct stat status;
    Py_ssize_t length; /* of what is read */
    PyObject *bytes;
    char *to;
    enum { LEFT, MISSING, FOUND } state;
} File;

static bool bound_of(PyObject *object, Py_ssize_t none, Py_ssize_t *bound) {
    *bound = none;
    if (object == Py_None) return true;
    *bound = PyLong_AsSsize_t(object);
    if (*bound != -1 || !PyErr_Occurred()) return true;
    PyErr_Clear();
    return false;
}

static bool request_of(PyObject *request, const char *reserved, bool letters, File *file) {
    if (!PyTuple_Check(request) || PyTuple_Size(request) != 2) return false;
    PyObject *range = PyTuple_GetItem(request, 1);
    file->path = path_of(PyTuple_GetItem(request, 0), reserved, letters, MAX_PATH);
    file->start = 0;
    file->stop = PY_SSIZE_T_MAX;
    if (file->path == NULL) return false;
    if (range == Py_None) return true;
    return PyTuple_Check(range) && PyTuple_Size(range) == 2 &&
           bound_of(PyTuple_GetItem(range, 0), 0, &file->start) &&
           bound_of(PyTuple_GetItem(range, 1), PY_SSIZE_T_MAX, &file->stop);
}

/* Open a file, unless it is the one before, which may be a new file by now: all parts of one are of one version. */
static void open_file(int folder, int flags, const File *before, File *file) {
    if (before->path != NULL && strcmp(before->path, file->path) == 0) {
        file->fd = before->fd;
        file->status = before->status;
        if (file->fd < 0) file->state = before->state;
    } else {
        file->fd = open_below(folder, file->path, flags);
        if (file->fd < 0)
            file->state = errno == ENOENT || errno == ENOTDIR ? MISSING : LEFT;
        else if (fstat(file->fd, &file->status) != 0)
            file->status.st_mode = 0;
    }
    if (file->fd >= 0 && S_ISREG(file->status.st_mode)) {
        file->length = PySlice_AdjustIndices((Py_ssize_t)file->status.st_size, &file->start, &file->stop, 1);
        file->state = FOUND;
    }
}

static void read_file(File *file) {
    Py_ssize_t done = 0;
    while (done < file->length) {
        ssize_t more = pread(file->fd, file->to + done, (size_t)(file->length - done), file->start + done);
        if (more <= 0) { /* an error, or it has become shorter */
            file->state = LEFT;
            break;
        }
        done += more;
    }
}

/* `held` is the last file of those before, still open, and then the last of these. */
static void read_together(int folder, int flags, File *files, Py_ssize_t count, File *held) {
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        if (files[i].path != NULL) open_file(folder, flags, i == 0 ? held : &files[i - 1], &files[i]);
    if (held->fd >= 0 && held->fd != files[0].fd) close(held->fd);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        File *file = &files[i];
        if (file->state != FOUND) continue;
        file->bytes = PyBytes_FromStringAndSize(NULL, file->length);
        file->to = file->bytes == NULL ? NULL : PyBytes_AsString(file->bytes);
        if (file->to == NULL) {
            PyErr_Clear();
            file->state = LEFT;
        }
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        if (files[i].state == FOUND) read_file(&files[i]);
        if (i + 1 < count && files[i].fd >= 0 && files[i].fd != files[i + 1].fd) close(files[i].fd);
    }
    Py_END_ALLOW_THREADS
    *held = files[count - 1];
}

static long long nanoseconds(struct timespec time) { return (long long)time.tv_sec * 1000000000 + time.tv_nsec; }

/* What was read, None where there is no file, and with `versions` also the version, as the driver of the store makes it.
 * NULL if it is left to Python, with or without an error. */
static PyObject *answer_of(File *file, bool versions) {
    PyObject *bytes = file->bytes;
    file->bytes = NULL;
    if (file->state == LEFT || (file->state == FOUND && versions && file->status.st_mtim.tv_nsec % 1000 == 0)) {
        Py_XDECREF(bytes);
        return NULL;
    }
    if (file->state == MISSING) return versions ? Py_BuildValue("(OO)", Py_None, Py_None) : Py_NewRef(Py_None);
    if (!versions) return bytes;
    return Py_BuildValue("(N(KLLL))", bytes, (unsigned long long)file->status.st_ino, (long long)file->status.st_size,
                         nanoseconds(file->status.st_mtim), nanoseconds(file->status.st_ctim));
}

/* get_files(root, requests, reserved, flags, letters, versions): the answers, and the numbers of the requests that are
 * left to Python. Requests for one file that follow each other are answered from one version of it. */
PyObject *kernel_get_files(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *requests;
    const char *root, *reserved;
    int flags, letters, versions;
    if (!PyArg_ParseTuple(args, "sO!sipp", &root, &PyList_Type, &requests, &reserved, &flags, &letters, &versions))
        return NULL;
    Py_ssize_t total = PyList_Size(requests);
    int folder = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* if that fails, Python says what is wrong */
    PyObject *answers = PyList_New(total), *left = PyList_New(0);
    bool failed = answers == NULL || left == NULL;
    File held = {.fd = -1};
    for (Py_ssize_t first = 0; first < total && !failed; first += TOGETHER) {
        File files[TOGETHER];
        Py_ssize_t count = total - first < TOGETHER ? total - first : TOGETHER;
        for (Py_ssize_t i = 0; i < count; i++) {
            files[i] = (File){.fd = -1, .state = LEFT};
            if (folder < 0 || !request_of(PyList_GetItem(requests, first + i), reserved, letters, &files[i]))
                files[i].path = NULL;
        }
        read_together(folder, flags, files, count, &held);
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *answer = answer_of(&files[i], versions);
            if (answer == NULL && (PyErr_Occurred() || !add_number(left, first + i))) failed = true;
            PyList_SetItem(answers, first + i, answer == NULL ? Py_NewRef(Py_None) : answer);
        }
    }
    if (held.fd >= 0) close(held.fd);
    if (folder >= 0) close(folder);
    PyObject *result = failed ? NULL : PyTuple_Pack(2, answers, left);
    Py_XDECREF(answers);
    Py_XDECREF(left);
    return result;
}

/* ---------------------------------------------------------------- writing */

typedef struct {
    const char *name;
    Py_buffer value;
    enum { ANYTHING, NO_FILE, ONE_FILE } expected; /* what has to be there, or the value is refused */
    unsigned long long inode; /* of that file, and what else makes its version: see the driver of the store */
    long long size, modified, changed;
    enum { UNDONE, DONE, REFUSED } state;
} Value;

/* What has to be there for a version; false if it is left to Python. */
static bool expect(PyObject *version, Value *value) {
    value->expected = version == Py_None ? NO_FILE : ONE_FILE;
    if (value->expected == NO_FILE) return true;
    if (!PyTuple_Check(version) || PyTuple_Size(version) != 4) return false;
    value->inode = PyLong_AsUnsignedLongLong(PyTuple_GetItem(version, 0));
    value->size = PyLong_AsLongLong(PyTuple_GetItem(version, 1));
    value->modified = PyLong_AsLongLong(PyTuple_GetItem(version, 2));
    value->changed = PyLong_AsLongLong(PyTuple_GetItem(version, 3));
    if (!PyErr_Occurred()) return true;
    PyErr_Clear();
    return false;
}

/* Whether that is there: a file, or NULL for none. */
static bool is_expected(const Value *value, const struct stat *there) {
    if (value->expected == ANYTHING) return true;
    if (value->expected == NO_FILE || there == NULL) return value->expected == NO_FILE && there == NULL;
    return (unsigned long long)there->st_ino == value->inode && (long long)there->st_size == value->size &&
           nanoseconds(there->st_mtim) == value->modified && nanoseconds(there->st_ctim) == value->changed;
}

static bool write_all(int fd, const char *data, Py_ssize_t size) {
    while (size > 0) {
        ssize_t written = write(fd, data, (size_t)size);
        if (written <= 0) return false;
        data += written;
        size -= written;
    }
    return true;
}

/* Set the time of a file to now, to the nanosecond and never to a whole microsecond: what the driver of the store tells
 * the versions of a file by. */
static bool stamp(int fd) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    clock_gettime(CLOCK_REALTIME, &times[1]);
    if (times[1].tv_nsec % 1000 == 0) times[1].tv_nsec++;
    return futimens(fd, times) == 0;
}

static bool same_rights(const struct stat *one, const struct stat *other) {
    return one->st_mode == other->st_mode && one->st_uid == other->st_uid && one->st_gid == other->st_gid;
}

/* Move a file to where nothing is: 1 if it was moved, 0 if something is there, -1 if that cannot be asked for. */
static int move_to_nothing(int folder, const char *from, const char *to) {
#ifdef SYS_renameat2
    if (syscall(SYS_renameat2, folder, from, folder, to, RENAME_NOREPLACE) == 0) return 1;
    return errno == EEXIST ? 0 : -1;
#else
    (void)folder, (void)from, (void)to;
    return -1;
#endif
}

typedef enum { SOMETHING, NOTHING, ASK } Guess; /* ASK where the file system only answers when it is asked before */

/* Write a file beside the place and move it there: whoever looks finds all of the old value or all of the new one. Left to Python
 * where something else than a file is there, where its time is not enough to tell its version, and where the new file would
 * have another owner, group or permissions. `guess` is what the file before leads to expect: where nothing is probably, the new one
 * is moved there without a look before. */
static void replace_file(int folder, const char *prefix, int flags, Value *value, Guess *guess) {
    struct stat old = {0}, new;
    bool blind = *guess == NOTHING && value->expected != ONE_FILE, replaces = false;
    if (!blind) {
        replaces = fstatat(folder, value->name, &old, AT_SYMLINK_NOFOLLOW) == 0;
        if (*guess != ASK) *guess = replaces ? SOMETHING : NOTHING;
        if (replaces ? !S_ISREG(old.st_mode) : errno != ENOENT) return;
        if (value->expected == ONE_FILE && replaces && old.st_mtim.tv_nsec % 1000 == 0) return;
        if (!is_expected(value, replaces ? &old : NULL)) {
            value->state = REFUSED;
            return;
        }
    }
    char temporary[2 * MAX_NAME + 1];
    size_t length = strlen(value->name);
    const char *tail = length > 200 ? value->name + length - 200 : value->name; /* as in the driver of the store */
    snprintf(temporary, sizeof temporary, "%s%s", prefix, tail);
    int fd = openat(folder, temporary, flags, MODE);
    if (fd < 0) return;
    bool written = (!replaces || (fstat(fd, &new) == 0 && same_rights(&old, &new))) &&
                   write_all(fd, value->value.buf, value->value.len) && stamp(fd);
    written = close(fd) == 0 && written;
    int moved = written && blind ? move_to_nothing(folder, temporary, value->name) : -1;
    if (moved == 1 || (written && !blind && renameat(folder, temporary, folder, value->name) == 0)) {
        value->state = DONE;
        return;
    }
    unlinkat(folder, temporary, 0);
    if (blind && written) {
        *guess = moved == 0 ? SOMETHING : ASK;
        replace_file(folder, prefix, flags, value, guess);
    }
}

/* Take hold of a value; false if it is left to Python. */
static bool hold(PyObject *name, PyObject *content, PyObject *version, const char *prefix, bool letters, Value *value) {
    *value = (Value){.name = path_of(name, prefix, letters, MAX_NAME)};
    if (value->name == NULL || strchr(value->name, '/') != NULL) return false;
    if (version != NULL && !expect(version, value)) return false;
    if (PyObject_GetBuffer(content, &value->value, PyBUF_SIMPLE) == 0) return true;
    PyErr_Clear();
    return false;
}

/* replace_files(folder, names, values, versions or None, prefix of temporary files, flags, letters): the numbers of the files that
 * are left to Python, and of those that are refused since they have other versions. */
PyObject *kernel_replace_files(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *names, *contents, *versions;
    const char *prefix;
    int folder, flags, letters;
    if (!PyArg_ParseTuple(args, "iO!O!Osip", &folder, &PyList_Type, &names, &PyList_Type, &contents, &versions, &prefix,
                          &flags, &letters))
        return NULL;
    Py_ssize_t total = PyList_Size(names);
    bool swaps = versions != Py_None;
    if (PyList_Size(contents) != total || (swaps && (!PyList_Check(versions) || PyList_Size(versions) != total)) ||
        strlen(prefix) > MAX_NAME) {
        PyErr_SetString(PyExc_ValueError, "as many values as names, and versions if any, and a short prefix");
        return NULL;
    }
    Value *values = malloc((size_t)(total ? total : 1) * sizeof *values);
    if (values == NULL) return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < total; i++)
        if (!hold(PyList_GetItem(names, i), PyList_GetItem(contents, i), swaps ? PyList_GetItem(versions, i) : NULL, prefix,
                  letters, &values[i]))
            values[i].name = NULL;
    Guess guess = SOMETHING;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < total; i++)
        if (values[i].name != NULL) replace_file(folder, prefix, flags, &values[i], &guess);
    Py_END_ALLOW_THREADS
    PyObject *left = PyList_New(0), *refused = PyList_New(0);
    bool failed = left == NULL || refused == NULL;
    for (Py_ssize_t i = 0; i < total; i++) {
        if (values[i].name != NULL) PyBuffer_Release(&values[i].value);
        if (!failed && values[i].state != DONE) failed = !add_number(values[i].state == REFUSED ? refused : left, i);
    }
    free(values);
    PyObject *result = failed ? NULL : PyTuple_Pack(2, left, refused);
    Py_XDECREF(left);
    Py_XDECREF(refused);
    return result;
}
