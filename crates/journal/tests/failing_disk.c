/* Makes one call of a process fail, to be preloaded: the FAIL_AT-th fsync or write to a database file.
 * FAIL_KIND is "fsync" (EIO) or "full" (ENOSPC on a write). It says on standard error when it struck. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long calls;

static int is_database(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    /* Folders are synced too, when the WAL is new. */
    return strstr(path, "failing-disk-test") != NULL && strstr(path, "-shm") == NULL;
}

static int strikes(int fd, const char *kind) {
    const char *want = getenv("FAIL_KIND"), *at = getenv("FAIL_AT");
    if (!want || !at || strcmp(want, kind) != 0 || !is_database(fd)) return 0;
    if (++calls != atol(at)) return 0;
    dprintf(2, "struck\n");
    return 1;
}

int fsync(int fd) {
    if (strikes(fd, "fsync")) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    if (strikes(fd, "fsync")) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

ssize_t write(int fd, const void *data, size_t len) {
    if (strikes(fd, "full")) { errno = ENOSPC; return -1; }
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, data, len);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) {
    if (strikes(fd, "full")) { errno = ENOSPC; return -1; }
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, data, len, at);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at) {
    return pwrite64(fd, data, len, at);
}
