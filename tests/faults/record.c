/* What does a program ask of its disk, in which order, and when does it answer whom?
 *
 * Loaded before libc (LD_PRELOAD), writes every change below RECORD_PREFIX, every sync of it and
 * everything sent on a socket to RECORD_TO. One lock around each call and its record keeps their
 * order true. The format is read by recording_disk.py: operation (1 byte), three 64-bit numbers
 * (argument, length of the name, length of the data), name, data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum operation { CREATE = 'c', TRUNCATE = 't', WRITE = 'w', RENAME = 'r', LINK = 'l', UNLINK = 'u',
                 MKDIR = 'm', RMDIR = 'd', SYNC = 's', SYNC_DIRECTORY = 'S', ANSWER = 'a' };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static const char *prefix;
static size_t prefix_bytes;

#define ORIGINAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void attach(void) {
    const char *to = getenv("RECORD_TO");
    prefix = getenv("RECORD_PREFIX");
    if (!to || !prefix)
        return;
    prefix_bytes = strlen(prefix);
    record = ORIGINAL(open)(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int concerns(const char *path) {
    return record >= 0 && strncmp(path, prefix, prefix_bytes) == 0 &&
           (path[prefix_bytes] == '/' || path[prefix_bytes] == 0);
}

/* The name of an open file below the prefix; a renamed one is asked for anew each time. */
static int name_of(int file, char *path) {
    char link[64];
    if (record < 0 || file == record)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return concerns(path);
}

/* The absolute name of a path, which may be relative to a directory. */
static int absolute(int directory, const char *path, char *full) {
    if (record < 0)
        return 0;
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
    } else if (directory == AT_FDCWD) {
        if (!getcwd(full, PATH_MAX / 2))
            return 0;
        size_t length = strlen(full);
        snprintf(full + length, PATH_MAX - length, "/%s", path);
    } else {
        if (!name_of(directory, full))
            return 0;
        size_t length = strlen(full);
        snprintf(full + length, PATH_MAX - length, "/%s", path);
    }
    return concerns(full);
}

static void note(enum operation what, int64_t argument, const char *name, const void *data,
                 size_t bytes) {
    int64_t numbers[3] = {argument, (int64_t)strlen(name), (int64_t)bytes};
    uint8_t kind = (uint8_t)what;
    struct iovec parts[4] = {{&kind, 1},
                             {numbers, sizeof numbers},
                             {(void *)name, strlen(name)},
                             {(void *)data, bytes}};
    if (ORIGINAL(writev)(record, parts, 4) < 0)
        abort();
}

#define LOCKED(...)                                                                                \
    do {                                                                                           \
        int saved;                                                                                 \
        pthread_mutex_lock(&lock);                                                                 \
        __VA_ARGS__;                                                                               \
        saved = errno;                                                                             \
        pthread_mutex_unlock(&lock);                                                               \
        errno = saved;                                                                             \
    } while (0)

/* --- names ------------------------------------------------------------------------------- */

static int opened(int directory, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    int file;
    if (!(flags & (O_CREAT | O_TRUNC)) || !absolute(directory, path, full))
        return ORIGINAL(openat)(directory, path, flags, mode);
    LOCKED({
        struct stat status;
        int is_new = stat(full, &status) != 0;
        file = ORIGINAL(openat)(directory, path, flags, mode);
        if (file >= 0 && is_new)
            note(CREATE, 0, full, NULL, 0);
        else if (file >= 0 && (flags & O_TRUNC))
            note(TRUNCATE, 0, full, NULL, 0);
    });
    return file;
}

#define MODE                                                                                       \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }

static int two_names(enum operation what, int from_at, const char *from, int to_at, const char *to,
                     int result) {
    char old[PATH_MAX], new[PATH_MAX];
    if (result == 0 && absolute(from_at, from, old) && absolute(to_at, to, new))
        note(what, 0, old, new, strlen(new));
    return result;
}

static int one_name(enum operation what, int at, const char *path, int result) {
    char full[PATH_MAX];
    if (result == 0 && absolute(at, path, full))
        note(what, 0, full, NULL, 0);
    return result;
}

#define TWO(what, a, from, b, to, call)                                                            \
    int result;                                                                                    \
    LOCKED(result = two_names(what, a, from, b, to, call));                                        \
    return result;
#define ONE(what, at, path, call)                                                                  \
    int result;                                                                                    \
    LOCKED(result = one_name(what, at, path, call));                                               \
    return result;

int rename(const char *a, const char *b) {
    TWO(RENAME, AT_FDCWD, a, AT_FDCWD, b, ORIGINAL(rename)(a, b))
}
int renameat(int x, const char *a, int y, const char *b) {
    TWO(RENAME, x, a, y, b, ORIGINAL(renameat)(x, a, y, b))
}
int renameat2(int x, const char *a, int y, const char *b, unsigned int flags) {
    TWO(RENAME, x, a, y, b, ORIGINAL(renameat2)(x, a, y, b, flags))
}
int link(const char *a, const char *b) {
    TWO(LINK, AT_FDCWD, a, AT_FDCWD, b, ORIGINAL(link)(a, b))
}
int linkat(int x, const char *a, int y, const char *b, int flags) {
    TWO(LINK, x, a, y, b, ORIGINAL(linkat)(x, a, y, b, flags))
}
int unlink(const char *a) { ONE(UNLINK, AT_FDCWD, a, ORIGINAL(unlink)(a)) }
int remove(const char *a) { ONE(UNLINK, AT_FDCWD, a, ORIGINAL(remove)(a)) }
int unlinkat(int x, const char *a, int flags) {
    ONE(flags & AT_REMOVEDIR ? RMDIR : UNLINK, x, a, ORIGINAL(unlinkat)(x, a, flags))
}
int mkdir(const char *a, mode_t mode) { ONE(MKDIR, AT_FDCWD, a, ORIGINAL(mkdir)(a, mode)) }
int mkdirat(int x, const char *a, mode_t mode) { ONE(MKDIR, x, a, ORIGINAL(mkdirat)(x, a, mode)) }
int rmdir(const char *a) { ONE(RMDIR, AT_FDCWD, a, ORIGINAL(rmdir)(a)) }

/* --- bytes ------------------------------------------------------------------------------- */

static void note_written(int file, const char *path, int64_t at, const struct iovec *parts,
                         int count, ssize_t written) {
    for (int part = 0; part < count && written > 0; part++) {
        size_t bytes = parts[part].iov_len < (size_t)written ? parts[part].iov_len : (size_t)written;
        note(WRITE, at, path, parts[part].iov_base, bytes);
        at += (int64_t)bytes;
        written -= (ssize_t)bytes;
    }
    (void)file;
}

static int is_socket(int file) {
    struct stat status;
    return record >= 0 && fstat(file, &status) == 0 && S_ISSOCK(status.st_mode);
}

ssize_t write(int file, const void *bytes, size_t count) {
    char path[PATH_MAX];
    ssize_t written;
    if (!name_of(file, path))
        return ORIGINAL(write)(file, bytes, count);
    LOCKED({
        written = ORIGINAL(write)(file, bytes, count);
        struct iovec part = {(void *)bytes, count};
        note_written(file, path, lseek(file, 0, SEEK_CUR) - written, &part, 1, written);
    });
    return written;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    char path[PATH_MAX];
    ssize_t written;
    if (!name_of(file, path))
        return ORIGINAL(writev)(file, parts, count);
    LOCKED({
        written = ORIGINAL(writev)(file, parts, count);
        note_written(file, path, lseek(file, 0, SEEK_CUR) - written, parts, count, written);
    });
    return written;
}

static ssize_t written_at(int file, const void *bytes, size_t count, off64_t at) {
    char path[PATH_MAX];
    ssize_t written;
    if (!name_of(file, path))
        return ORIGINAL(pwrite64)(file, bytes, count, at);
    LOCKED({
        written = ORIGINAL(pwrite64)(file, bytes, count, at);
        struct iovec part = {(void *)bytes, count};
        note_written(file, path, at, &part, 1, written);
    });
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    return written_at(file, bytes, count, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return written_at(file, bytes, count, at);
}

static int truncated(int file, off64_t bytes) {
    char path[PATH_MAX];
    int result;
    if (!name_of(file, path))
        return ORIGINAL(ftruncate64)(file, bytes);
    LOCKED({
        result = ORIGINAL(ftruncate64)(file, bytes);
        if (result == 0)
            note(TRUNCATE, bytes, path, NULL, 0);
    });
    return result;
}

int ftruncate(int file, off_t bytes) { return truncated(file, bytes); }
int ftruncate64(int file, off64_t bytes) { return truncated(file, bytes); }

/* Not recorded, so not allowed: a record with holes would prove nothing. */
ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned int f) {
    char path[PATH_MAX];
    if (name_of(c, path)) {
        errno = EXDEV;
        return -1;
    }
    return ORIGINAL(copy_file_range)(a, b, c, d, e, f);
}

static int synced(int file, int result) {
    char path[PATH_MAX];
    struct stat status;
    if (result == 0 && name_of(file, path) && fstat(file, &status) == 0)
        note(S_ISDIR(status.st_mode) ? SYNC_DIRECTORY : SYNC, 0, path, NULL, 0);
    return result;
}

int fsync(int file) {
    int result;
    LOCKED(result = synced(file, ORIGINAL(fsync)(file)));
    return result;
}
int fdatasync(int file) {
    int result;
    LOCKED(result = synced(file, ORIGINAL(fdatasync)(file)));
    return result;
}

/* --- answers ----------------------------------------------------------------------------- */

ssize_t send(int file, const void *bytes, size_t count, int flags) {
    ssize_t sent;
    if (!is_socket(file))
        return ORIGINAL(send)(file, bytes, count, flags);
    LOCKED({
        /* Before it is sent: what the peer has seen must not stand behind a cut. */
        note(ANSWER, 0, "", bytes, count);
        sent = ORIGINAL(send)(file, bytes, count, flags);
    });
    return sent;
}
