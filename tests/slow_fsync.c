/* LD_PRELOAD: make a disk slow, or hold it, and note when each fsync and fdatasync began and ended.
 *
 * SLOW_FSYNC_MS    each takes so many milliseconds longer
 * SLOW_FSYNC_HOLD  a path: while something exists there, each waits
 * SLOW_FSYNC_LOG   a file: gets "begin NAME NANOSECONDS" and "end NAME NANOSECONDS", by CLOCK_MONOTONIC; NAME is that
 *                  of the file that is synced
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void note(const char *what, int descriptor) {
    const char *log = getenv("SLOW_FSYNC_LOG");
    if (log == NULL) return;
    char link[64], path[4096], line[4200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    const char *slash = strrchr(path, '/');
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    length = snprintf(line, sizeof line, "%s %s %lld\n", what, slash ? slash + 1 : path,
                      now.tv_sec * 1000000000LL + now.tv_nsec);
    int file = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || write(file, line, length) != length) abort();
    close(file);
}

static int slowly(const char *name, int descriptor) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *hold = getenv("SLOW_FSYNC_HOLD"), *delay = getenv("SLOW_FSYNC_MS");
    note("begin", descriptor);
    if (delay != NULL) usleep(atoi(delay) * 1000);
    while (hold != NULL && access(hold, F_OK) == 0) usleep(1000);
    int result = real(descriptor);
    note("end", descriptor);
    return result;
}

int fsync(int descriptor) { return slowly("fsync", descriptor); }
int fdatasync(int descriptor) { return slowly("fdatasync", descriptor); }
