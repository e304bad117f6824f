/* What does a program see on an ill disk or with a clock that jumps?
 *
 * Loaded before libc (LD_PRELOAD), steered by a small shared file whose layout is `Control` in
 * interposed.py. Only files below the prefix are touched. CLOCK_MONOTONIC is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t sync_delay_us;
    _Atomic int64_t syncs_to_fail;
    _Atomic int64_t writes_to_fail;
    _Atomic int64_t error;
    _Atomic int64_t clock_shift_s;
    _Atomic int64_t failed;
    char prefix[256];
};

static struct control *control;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("FAULT_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED)
        control = memory;
}

static int concerns(int file) {
    char link[64], path[4096];
    if (!control || !control->prefix[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t prefix = strlen(control->prefix);
    return length >= (ssize_t)prefix && memcmp(path, control->prefix, prefix) == 0;
}

/* Whether one of the failures that were asked for is due; sets errno then. */
static int fails(_Atomic int64_t *left) {
    int64_t count = *left;
    while (count > 0)
        if (__atomic_compare_exchange_n((int64_t *)left, &count, count - 1, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            control->failed++;
            errno = (int)control->error;
            return 1;
        }
    return 0;
}

static int synchronise(int file, const char *name) {
    int (*original)(int) = dlsym(RTLD_NEXT, name);
    if (concerns(file)) {
        if (control->sync_delay_us > 0)
            usleep((useconds_t)control->sync_delay_us);
        if (fails(&control->syncs_to_fail))
            return -1;
    }
    return original(file);
}

int fsync(int file) { return synchronise(file, "fsync"); }
int fdatasync(int file) { return synchronise(file, "fdatasync"); }

ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*original)(int, const void *, size_t);
    if (!original)
        original = dlsym(RTLD_NEXT, "write");
    if (control && control->writes_to_fail > 0 && concerns(file) && fails(&control->writes_to_fail))
        return -1;
    return original(file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*original)(int, const void *, size_t, off64_t);
    if (!original)
        original = dlsym(RTLD_NEXT, "pwrite64");
    if (control && control->writes_to_fail > 0 && concerns(file) && fails(&control->writes_to_fail))
        return -1;
    return original(file, bytes, count, at);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*original)(clockid_t, struct timespec *);
    if (!original)
        original = dlsym(RTLD_NEXT, "clock_gettime");
    int result = original(clock, now);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += control->clock_shift_s;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*original)(struct timeval *restrict, void *restrict);
    if (!original)
        original = dlsym(RTLD_NEXT, "gettimeofday");
    int result = original(now, zone);
    if (result == 0 && control)
        now->tv_sec += control->clock_shift_s;
    return result;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
