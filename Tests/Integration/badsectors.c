// An LD_PRELOAD library: reads of the file BAD_FILE fail with EIO where they touch one of the sectors BAD_SECTORS ("8-15,100-100").
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_bad(int fd, off_t offset, size_t length) {
    const char *file = getenv("BAD_FILE"), *sectors = getenv("BAD_SECTORS");
    char link[64], path[PATH_MAX];
    if (!file || !sectors || length == 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof path - 1);
    if (count < 0) return 0;
    path[count] = 0;
    if (strcmp(path, file) != 0) return 0;
    for (const char *next = sectors; next; next = strchr(next, ',') ? strchr(next, ',') + 1 : NULL) {
        long long first, last;
        if (sscanf(next, "%lld-%lld", &first, &last) != 2) return 0;
        if (offset < (last + 1) * 512 && (long long)(offset + length) > first * 512) return 1;
    }
    return 0;
}

ssize_t pread(int fd, void *buffer, size_t count, off_t offset) {
    static ssize_t (*real)(int, void *, size_t, off_t);
    if (!real) real = (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    if (is_bad(fd, offset, count)) return errno = EIO, -1;
    return real(fd, buffer, count, offset);
}
ssize_t pread64(int fd, void *buffer, size_t count, off_t offset) { return pread(fd, buffer, count, offset); }

ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t offset) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real) real = (ssize_t(*)(int, const struct iovec *, int, off_t))dlsym(RTLD_NEXT, "preadv");
    size_t length = 0;
    for (int i = 0; i < count; i++) length += pieces[i].iov_len;
    if (is_bad(fd, offset, length)) return errno = EIO, -1;
    return real(fd, pieces, count, offset);
}
ssize_t preadv64(int fd, const struct iovec *pieces, int count, off_t offset) { return preadv(fd, pieces, count, offset); }
