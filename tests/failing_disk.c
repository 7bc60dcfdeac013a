/* LD_PRELOAD: let system calls on chosen files fail as a full, worn or read-only disk does, and note how each sync ended.
 *
 * FAILING_DISK_RULES  a file, looked at before each call; a line is "ID CALL ERRNO ENDING SKIP TIMES":
 *                     ID      a number of its own; the calls that a rule met are counted by it
 *                     CALL    open (for writing), write, truncate, allocate, sync, read
 *                     ENDING  of the name of the files that it is about
 *                     SKIP    so many calls get through first, then TIMES fail (0: all)
 * FAILING_DISK_LOG    a file: gets "CALL NAME RESULT BEGAN ENDED" for each call that a rule let fail and each sync;
 *                     RESULT is 0 or the errno, the times are nanoseconds by CLOCK_MONOTONIC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))
#define RULES 4096

static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static int met[RULES];

static int (*real_open(void))(const char *, int, ...) { return REAL(int (*)(const char *, int, ...), "open"); }

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static const char *last(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *path_of(int descriptor, char path[4096]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, 4095);
    path[length < 0 ? 0 : length] = 0;
    char *deleted = strstr(path, " (deleted)");
    if (deleted) *deleted = 0;
    return path;
}

static void note(const char *call, const char *path, int result, long long began) {
    const char *log = getenv("FAILING_DISK_LOG");
    char line[4300];
    if (log == NULL) return;
    int length = snprintf(line, sizeof line, "%s %s %d %lld %lld\n", call, last(path), result, began, now());
    int file = real_open()(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || REAL(ssize_t (*)(int, const void *, size_t), "write")(file, line, length) != length) abort();
    close(file);
}

static int decided(const char *rules, const char *call, const char *path) {
    char text[8192], rule_call[16], ending[64];
    int id, number, skip, times, verdict = 0, file = real_open()(rules, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = REAL(ssize_t (*)(int, void *, size_t), "read")(file, text, sizeof text - 1);
    close(file);
    text[length < 0 ? 0 : length] = 0;
    pthread_mutex_lock(&counting);
    for (char *line = text; line != NULL && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (sscanf(line, "%d %15s %d %63s %d %d", &id, rule_call, &number, ending, &skip, &times) != 6) continue;
        size_t all = strlen(path), end = strlen(ending);
        if (id >= RULES || strcmp(call, rule_call) || all < end || strcmp(path + all - end, ending)) continue;
        int before = met[id]++;
        if (before >= skip && (times == 0 || before < skip + times)) verdict = number;
    }
    pthread_mutex_unlock(&counting);
    return verdict;
}

/* Say with which errno a call fails, 0: it is let through. */
static int fails(const char *call, const char *path) {
    const char *rules = getenv("FAILING_DISK_RULES");
    int kept = errno, verdict = rules == NULL || *path != '/' ? 0 : decided(rules, call, path);
    if (verdict) note(call, path, verdict, now());
    errno = verdict ? verdict : kept;
    return verdict;
}

static int fails_at(const char *call, int descriptor) {
    char path[4096];
    return fails(call, path_of(descriptor, path));
}

static int synced(const char *name, int descriptor) {
    char path[4096];
    path_of(descriptor, path);
    if (fails("sync", path)) return -1;
    long long began = now();
    int result = REAL(int (*)(int), name)(descriptor);
    note("sync", path, result ? errno : 0, began);
    return result;
}

int fsync(int descriptor) { return synced("fsync", descriptor); }
int fdatasync(int descriptor) { return synced("fdatasync", descriptor); }

#define OPEN(name)                                                                                       \
    int name(const char *path, int flags, ...) {                                                         \
        va_list more;                                                                                    \
        va_start(more, flags);                                                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                          \
        va_end(more);                                                                                    \
        if ((flags & O_ACCMODE) != O_RDONLY && fails("open", path)) return -1;                           \
        return REAL(int (*)(const char *, int, ...), #name)(path, flags, mode);                          \
    }
OPEN(open)
OPEN(open64)

#define MOVE(result, name, call, takes, passes)                                                          \
    result name takes { return fails_at(call, file) ? -1 : REAL(result(*) takes, #name) passes; }
MOVE(ssize_t, write, "write", (int file, const void *from, size_t count), (file, from, count))
MOVE(ssize_t, pwrite, "write", (int file, const void *from, size_t count, off_t at), (file, from, count, at))
MOVE(ssize_t, pwrite64, "write", (int file, const void *from, size_t count, off64_t at), (file, from, count, at))
MOVE(ssize_t, read, "read", (int file, void *to, size_t count), (file, to, count))
MOVE(ssize_t, pread, "read", (int file, void *to, size_t count, off_t at), (file, to, count, at))
MOVE(ssize_t, pread64, "read", (int file, void *to, size_t count, off64_t at), (file, to, count, at))
MOVE(int, ftruncate, "truncate", (int file, off_t length), (file, length))
MOVE(int, ftruncate64, "truncate", (int file, off64_t length), (file, length))
MOVE(int, fallocate, "allocate", (int file, int mode, off_t at, off_t length), (file, mode, at, length))
MOVE(int, fallocate64, "allocate", (int file, int mode, off64_t at, off64_t length), (file, mode, at, length))

/* These two return the errno. */
int posix_fallocate(int file, off_t at, off_t length) {
    int verdict = fails_at("allocate", file);
    return verdict ? verdict : REAL(int (*)(int, off_t, off_t), "posix_fallocate")(file, at, length);
}
int posix_fallocate64(int file, off64_t at, off64_t length) {
    int verdict = fails_at("allocate", file);
    return verdict ? verdict : REAL(int (*)(int, off64_t, off64_t), "posix_fallocate64")(file, at, length);
}
