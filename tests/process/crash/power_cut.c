/* LD_PRELOAD: note what is written to the database's files and what each fsync covered, so that a power cut can be
 * played: tests/process/crash/power.py puts the files back to what was covered.
 *
 * POWER_CUT_LOG      a file: gets a record for each write, truncation, creation, removal and sync of bot.db…
 * POWER_CUT_SYNC_MS  each sync takes so long; the real one is left out: what a SIGKILL leaves is in the page cache
 * POWER_CUT_AT       "s bot.db-wal 3": die at the third such record (w write, s sync, t truncation, u removal), before
 *                    it takes effect; an S, W… dies after it
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    char kind;
    char name[23];
    int64_t offset, length;
};

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))

static int ours(const char *path, char *name) {
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    size_t length = strlen(base);
    if (strncmp(base, "bot.db", 6) != 0 || length > 22) return 0;
    if (strcmp(base + 6, "-shm") == 0 || base[6] == '.') return 0;  /* .lock, and copies: nothing rests on those */
    memset(name, 0, 23);
    memcpy(name, base, length);
    return 1;
}

/* The name of one of the database's files; "" for a folder. */
static int ours_by(int descriptor, char *name) {
    if (getenv("POWER_CUT_LOG") == NULL) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return ours(path, name);
}

static void die_at(char kind, const char *name) {
    static int reached;
    const char *at = getenv("POWER_CUT_AT");
    char wanted, of[64];
    int hit;
    if (at == NULL || sscanf(at, "%c %63s %d", &wanted, of, &hit) != 3) return;
    if (wanted == kind && strcmp(of, name) == 0 && __sync_add_and_fetch(&reached, 1) == hit) {
        kill(getpid(), SIGKILL);
        sleep(60);
    }
}

static void note(char kind, const char *name, int64_t offset, const void *data, size_t length) {
    struct record record = {.kind = kind, .offset = offset, .length = (int64_t)length};
    memcpy(record.name, name, sizeof record.name);
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)data, length}};
    int log = open(getenv("POWER_CUT_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 || writev(log, parts, 2) != (ssize_t)(sizeof record + length)) abort();
    close(log);
}

static ssize_t written(int descriptor, const void *data, size_t length, off_t offset) {
    char name[23];
    int known = ours_by(descriptor, name);
    if (known) die_at('w', name);
    if (known) note('w', name, offset, data, length);
    ssize_t result = REAL(ssize_t (*)(int, const void *, size_t, off_t), "pwrite64")(descriptor, data, length, offset);
    if (known) die_at('W', name);
    return result;
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off_t offset) {
    return written(descriptor, data, length, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) {
    return written(descriptor, data, length, offset);
}

ssize_t write(int descriptor, const void *data, size_t length) {
    char name[23];
    if (ours_by(descriptor, name)) note('w', name, lseek(descriptor, 0, SEEK_CUR), data, length);
    return REAL(ssize_t (*)(int, const void *, size_t), "write")(descriptor, data, length);
}

static int truncated(int descriptor, off_t size) {
    char name[23];
    int known = ours_by(descriptor, name);
    if (known) die_at('t', name);
    if (known) note('t', name, size, NULL, 0);
    int result = REAL(int (*)(int, off_t), "ftruncate64")(descriptor, size);
    if (known) die_at('T', name);
    return result;
}

int ftruncate(int descriptor, off_t size) { return truncated(descriptor, size); }
int ftruncate64(int descriptor, off_t size) { return truncated(descriptor, size); }

static int synced(const char *call, int descriptor) {
    char name[23] = "";
    struct stat what;
    int known = ours_by(descriptor, name);
    int folder = !known && getenv("POWER_CUT_LOG") && fstat(descriptor, &what) == 0 && S_ISDIR(what.st_mode);
    if (!known && !folder) return REAL(int (*)(int), call)(descriptor);
    const char *delay = getenv("POWER_CUT_SYNC_MS");
    die_at('s', folder ? "." : name);
    if (delay != NULL) usleep((useconds_t)(atof(delay) * 1000));
    note(folder ? 'd' : 's', name, 0, NULL, 0);
    die_at('S', folder ? "." : name);
    return 0;
}

int fsync(int descriptor) { return synced("fsync", descriptor); }
int fdatasync(int descriptor) { return synced("fdatasync", descriptor); }

int unlink(const char *path) {
    char name[23];
    int known = getenv("POWER_CUT_LOG") && ours(path, name);
    if (known) die_at('u', name);
    int result = REAL(int (*)(const char *), "unlink")(path);
    if (known && result == 0) note('u', name, 0, NULL, 0);
    if (known) die_at('U', name);
    return result;
}

static int opened(const char *call, const char *path, int flags, mode_t mode) {
    char name[23];
    int may_be_new = (flags & O_CREAT) && getenv("POWER_CUT_LOG") && ours(path, name) && access(path, F_OK) != 0;
    int descriptor = REAL(int (*)(const char *, int, ...), call)(path, flags, mode);
    if (may_be_new && descriptor >= 0) note('c', name, 0, NULL, 0);
    return descriptor;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened("open64", path, flags, mode);
}
