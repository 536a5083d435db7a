#define _GNU_SOURCE
#include "CLinuxMemory.h"
#include "CLinuxTokens.h"
#include <alloca.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, THREAD_STACK = 1 << 20, LEAST_STACK = 256 << 10, USUAL_STACK = 8 << 20 };

char clinux_memory_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return 'v';
    if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return 'd';
    return 0;
}

// Allocates nothing, as nothing can be allocated.
__attribute__((noreturn, cold)) static void end_without(size_t length, const char *what, char limit) {
    // One line, whoever else runs out of it at this moment.
    static atomic_flag is_ending = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&is_ending)) pause();
    clinux_tokens_close();
    char line[160];
    int count = snprintf(line, sizeof line, "drover: memory: no %zu bytes %s: Cannot allocate memory", length, what);
    if (limit) count += snprintf(line + count, sizeof line - count, " (raise the limit: ulimit -%c)", limit);
    line[count++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, count);
    (void)ignored;
    _exit(EX_IOERR);
}

void *clinux_map(size_t length) {
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void clinux_unmap(void *memory, size_t length) { munmap(memory, length); }

// The kernel lengthens the stack of main when it is used, and kills where a limit forbids that: so all of it is used once.
__attribute__((noinline)) static void use_stack(size_t length) {
    volatile char *stack = alloca(length);
    for (size_t offset = length; offset >= PAGE; offset -= PAGE) stack[offset - PAGE] = 0;
}

void clinux_prepare_memory(void) {
    char limit = clinux_memory_limit();
    mallopt(M_ARENA_MAX, limit ? 1 : 2);
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < USUAL_STACK) {
        stack.rlim_cur = stack.rlim_max < USUAL_STACK ? stack.rlim_max : USUAL_STACK;
        setrlimit(RLIMIT_STACK, &stack);
        // Arguments and environment take part of it.
        if (stack.rlim_cur < 2 * LEAST_STACK) end_without(2 * LEAST_STACK, "of stack", 's');
    }
    size_t length = stack.rlim_cur < 2 * THREAD_STACK ? LEAST_STACK : THREAD_STACK;
    void *probe = clinux_map(length + THREAD_STACK);
    if (!probe) end_without(length + THREAD_STACK, "to begin with", limit);
    clinux_unmap(probe, length + THREAD_STACK);
    use_stack(length);
}

int clinux_start_thread(void *(*body)(void *), void *argument) {
    // glibc says EAGAIN for both reasons.
    void *room = clinux_map(THREAD_STACK + 16 * PAGE);
    if (!room) return ENOMEM;
    clinux_unmap(room, THREAD_STACK + 16 * PAGE);
    pthread_attr_t attributes;
    int result = pthread_attr_init(&attributes);
    if (result) return result;
    pthread_t thread;
    result = pthread_attr_setstacksize(&attributes, THREAD_STACK);
    if (!result) result = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    // A thread that has done its work may still be about to end.
    struct timespec moment = {0, 10000000};
    for (int tries = 0; !result; tries++) {
        result = pthread_create(&thread, &attributes, body, argument);
        if (result != EAGAIN || tries == 10) break;
        nanosleep(&moment, NULL);
        result = 0;
    }
    pthread_attr_destroy(&attributes);
    return result;
}

// Allocation for the whole process, Swift's runtime included, which takes a failure for a bug and crashes. The sanitizers have
// an allocation of their own.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#if defined(__GLIBC__) && !defined(HAS_SANITIZER)
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void *checked(void *memory, size_t length) {
    if (__builtin_expect(memory == NULL, 0)) end_without(length, "to be had", clinux_memory_limit());
    return memory;
}

void *malloc(size_t length) { return checked(__libc_malloc(length), length); }

void *calloc(size_t count, size_t length) { return checked(__libc_calloc(count, length), count * length); }

void *realloc(void *memory, size_t length) {
    void *longer = __libc_realloc(memory, length);
    return length == 0 ? longer : checked(longer, length);
}

void *memalign(size_t alignment, size_t length) { return checked(__libc_memalign(alignment, length), length); }

void *aligned_alloc(size_t alignment, size_t length) { return memalign(alignment, length); }

int posix_memalign(void **memory, size_t alignment, size_t length) {
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    *memory = memalign(alignment, length);
    return 0;
}
#endif

// What cachestat(2) says, since Linux 6.5: how many pages of a range are cached, in one call. -1 where it cannot.
static long long cached_pages(int fd, off_t offset, size_t length) {
#ifndef SYS_cachestat
    enum { SYS_cachestat = 451 };
#endif
    uint64_t range[2] = {(uint64_t)offset, length}, found[5];
    return syscall(SYS_cachestat, fd, range, found, 0) == 0 ? (long long)found[0] : -1;
}

int clinux_cached(int fd, off_t offset, size_t length, size_t granule, uint64_t *bits) {
    enum { AT_ONCE = 4096 };
    unsigned char pages[AT_ONCE];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct stat status;
    if (fstat(fd, &status) != 0) return -1;
    long long count = cached_pages(fd, offset, length);
    if (count == 0) return 0;
    off_t end = S_ISREG(status.st_mode) && status.st_size < offset + (off_t)length ? status.st_size : offset + (off_t)length;
    if (count > 0 && end > offset && count * (long long)page >= end - offset) {
        memset(bits, 0xff, length / granule / 8);
        return 0;
    }
    if (count > 0) {
        // Pages that are on their way count, too.
        for (size_t start = 0; start < length; start += granule) {
            long long part = cached_pages(fd, offset + (off_t)start, granule);
            if (part < 0) return -1;
            if (part > 0) bits[start / granule / 64] |= (uint64_t)1 << (start / granule % 64);
        }
        return 0;
    }
    unsigned char *memory = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, offset);
    if (memory == MAP_FAILED) return -1;
    int result = 0;
    for (size_t start = 0; start < length && result == 0; start += AT_ONCE * page) {
        size_t part = length - start < AT_ONCE * page ? length - start : AT_ONCE * page;
        result = mincore(memory + start, part, pages);
        for (size_t i = 0; result == 0 && i < part / page; i++) {
            size_t bit = (start + i * page) / granule;
            if (pages[i] & 1) bits[bit / 64] |= (uint64_t)1 << (bit % 64);
        }
    }
    munmap(memory, length);
    return result;
}

int clinux_is_in_memory(int fd) {
    struct statfs status;
    return fstatfs(fd, &status) == 0 && (status.f_type == 0x01021994 || (unsigned long)status.f_type == 0x858458f6);
}
