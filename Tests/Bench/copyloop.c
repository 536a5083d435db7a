/* The yardstick: two threads copy a sparse file by pread and pwrite in 1 MiB blocks, holes skipped (SEEK_DATA).
   What it does not do is what a converter has to: no bitmaps, no zero detection, no digest, no checkpoint, no fsync. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, THREADS = 2 };

static int source, target;
static off_t size;
static atomic_llong next_block;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void copy(char *buffer, off_t from, off_t to) {
    while (from < to) {
        ssize_t count = pread(source, buffer, to - from, from);
        if (count <= 0) fail("pread");
        for (ssize_t done = 0; done < count;) {
            ssize_t written = pwrite(target, buffer + done, count - done, from + done);
            if (written < 0) fail("pwrite");
            done += written;
        }
        from += count;
    }
}

static void *work(void *unused) {
    char *buffer = aligned_alloc(4096, BLOCK);
    for (off_t start; (start = (off_t)atomic_fetch_add(&next_block, 1) * BLOCK) < size;) {
        off_t end = start + BLOCK < size ? start + BLOCK : size;
        for (off_t position = start; position < end;) {
            off_t data = lseek(source, position, SEEK_DATA); /* the shared file position is set, never used */
            if (data < 0 || data >= end) break;
            off_t hole = lseek(source, data, SEEK_HOLE);
            if (hole < 0 || hole > end) hole = end;
            copy(buffer, data, hole);
            position = hole;
        }
    }
    return unused;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: copyloop SOURCE TARGET\n"), 64;
    if ((source = open(argv[1], O_RDONLY)) < 0) fail(argv[1]);
    if ((target = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644)) < 0) fail(argv[2]);
    struct stat status;
    if (fstat(source, &status) < 0) fail(argv[1]);
    size = status.st_size;
    if (ftruncate(target, size) < 0) fail(argv[2]);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, NULL)) fail("pthread_create");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return 0;
}
