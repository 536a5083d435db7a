// What a process does about limits on its memory: a failed allocation, a small stack, and threads.
#ifndef CLINUX_MEMORY_H
#define CLINUX_MEMORY_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// To be called first in main. Makes sure of the stack that main needs, and keeps the heaps few, because each reserves 64 MiB of
// addresses. Where there is no room it says so in a line and ends the process with 74, as any later allocation does that fails:
// Swift's runtime would crash.
void clinux_prepare_memory(void);
// `length` bytes of zeros on a page boundary, or NULL with errno. Unlike an allocation it may fail.
void *clinux_map(size_t length);
void clinux_unmap(void *memory, size_t length);
// Sets a bit for every `granule` bytes of the file from `offset` on, `length` bytes in all, of which the page cache has some; both
// are whole pages, and bits a multiple of 8. 0, or -1 where the kernel does not say.
int clinux_cached(int fd, off_t offset, size_t length, size_t granule, uint64_t *bits);
// Whether the file system has no other place for its files than memory: tmpfs or ramfs.
int clinux_is_in_memory(int fd);
// Starts a detached thread with a stack of 1 MiB: 0, EAGAIN where the system allows no more threads, ENOMEM where there is no
// room for its stack.
int clinux_start_thread(void *(*body)(void *), void *argument);
// Whether a limit of this process (ulimit -v, -d) may be why memory is short, and which: 'v', 'd', or 0.
char clinux_memory_limit(void);
#endif
