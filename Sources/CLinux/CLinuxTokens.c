#define _GNU_SOURCE
#include "CLinuxTokens.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int store = -1;
static unsigned char held[CLINUX_MOST_TOKENS];
static int held_count, is_closed;
static atomic_flag is_busy = ATOMIC_FLAG_INIT;

// All signals are blocked in between: a handler that enters never interrupts one who is inside, and waits for other threads only.
static void enter(sigset_t *before) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, before);
    while (atomic_flag_test_and_set_explicit(&is_busy, memory_order_acquire)) sched_yield();
}

static void leave(const sigset_t *before) {
    atomic_flag_clear_explicit(&is_busy, memory_order_release);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

int clinux_token_take(void) {
    sigset_t before;
    enter(&before);
    int result = 0;
    if (!is_closed && held_count < CLINUX_MOST_TOKENS) {
        // Asked first: a device may wait although it is opened so as not to.
        struct pollfd file = {store, POLLIN, 0};
        ssize_t count = -1;
        errno = EAGAIN;
        if (poll(&file, 1, 0) == 1) {
            do count = read(store, &held[held_count], 1);
            while (count < 0 && errno == EINTR);
        }
        if (count == 1) {
            held_count++;
            result = 1;
        } else if (count == 0 || errno != EAGAIN) {
            result = -1;
        }
    }
    leave(&before);
    return result;
}

// Only between enter and leave. A token has its own value, which must be given back.
static int give_last(void) {
    ssize_t count;
    do count = write(store, &held[held_count - 1], 1);
    while (count < 0 && errno == EINTR);
    if (count != 1) return -1;
    held_count--;
    return 1;
}

int clinux_token_give(void) {
    sigset_t before;
    enter(&before);
    int result = held_count > 0 ? give_last() : 0;
    leave(&before);
    return result;
}

void clinux_tokens_close(void) {
    int saved = errno;
    sigset_t before;
    enter(&before);
    is_closed = 1;
    while (held_count > 0 && give_last() == 1) {}
    leave(&before);
    errno = saved;
}

// Signals that end a process and that nobody else here catches. The first five are crashes, which Swift may have a handler for.
static const int ends[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGABRT, SIGQUIT, SIGSYS, SIGALRM, SIGVTALRM, SIGPROF};
enum { CRASH_COUNT = 5, END_COUNT = sizeof ends / sizeof *ends };
static struct sigaction earlier[END_COUNT];

static void give_back_and_end(int number, siginfo_t *info, void *context) {
    (void)context;
    clinux_tokens_close();
    // A crash happens again when this returns.
    for (int index = 0; index < CRASH_COUNT && info->si_code > 0; index++)
        if (ends[index] == number) {
            sigaction(number, &earlier[index], NULL);
            return;
        }
    // One that was sent comes when this returns.
    signal(number, SIG_DFL);
    raise(number);
}

int clinux_tokens_use(int descriptor) {
    store = descriptor;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = give_back_and_end;
    action.sa_flags = SA_SIGINFO;
    for (int index = 0; index < END_COUNT; index++) {
        if (sigaction(ends[index], NULL, &earlier[index])) return -1;
        if (earlier[index].sa_handler != SIG_IGN && sigaction(ends[index], &action, NULL)) return -1;
    }
    if (atexit(clinux_tokens_close)) {
        errno = ENOMEM;
        return -1;
    }
    return 0;
}

int clinux_tokens_open(const char *path) {
    // Once, and for both ways: a device counts what each description has taken. Opened for writing, a FIFO has no end.
    int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat status;
    if (fd < 0) return -1;
    if (fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode))) return fd;
    close(fd);
    errno = EINVAL;
    return -1;
}

int clinux_wakeup(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
