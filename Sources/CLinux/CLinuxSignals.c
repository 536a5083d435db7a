#define _GNU_SOURCE
#include "CLinuxSignals.h"
#include "CLinuxTokens.h"
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

// A signal that comes so soon after the first is the same request: a batch system signals a process and the script that hands it on.
static const long long same_request = 500000000;

static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2, SIGXCPU};
enum { STOP_COUNT = sizeof stops / sizeof *stops };

// The signal that asked first, and when in nanoseconds.
static atomic_int first;
static atomic_llong first_time;
static sem_t state_requests;
// What they did before, in the order of `stops`, and whether that is known.
static struct sigaction earlier[STOP_COUNT];
static int is_caught;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void ask_to_stop(int number) {
    int saved = errno, none = 0;
    long long time = now(), unset = 0;
    atomic_compare_exchange_strong(&first_time, &unset, time);
    if (!atomic_compare_exchange_strong(&first, &none, number) && number != SIGXCPU && time - atomic_load(&first_time) >= same_request) {
        // Asked again, while a sync or a slow read keeps the work waiting: what is checkpointed is safe.
        clinux_tokens_close();
        _exit(EX_TEMPFAIL);
    }
    errno = saved;
}

static void ask_for_state(int number) {
    (void)number;
    int saved = errno;
    sem_post(&state_requests);
    errno = saved;
}

static void handle(int number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(number, &action, NULL);
}

// Where both limits are one, the kernel kills and asks nobody.
static void be_asked_before_the_end(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_CPU, &limit) || limit.rlim_max == RLIM_INFINITY || limit.rlim_cur < limit.rlim_max || limit.rlim_max < 2) return;
    limit.rlim_cur = limit.rlim_max - (limit.rlim_max < 20 ? 1 : 5);
    setrlimit(RLIMIT_CPU, &limit);
}

void clinux_catch_signals(void) {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (int index = 0; index < STOP_COUNT; index++) {
        if (!is_caught) sigaction(stops[index], NULL, &earlier[index]);
        // Under nohup it stays ignored.
        if (stops[index] == SIGHUP && earlier[index].sa_handler == SIG_IGN) continue;
        handle(stops[index], ask_to_stop);
        sigaddset(&wanted, stops[index]);
    }
    if (!is_caught) sem_init(&state_requests, 0, 0);
    is_caught = 1;
    handle(SIGUSR1, ask_for_state);
    sigaddset(&wanted, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &wanted, NULL);
    be_asked_before_the_end();
}

void clinux_release_signals(void) {
    for (int index = 0; index < STOP_COUNT; index++) sigaction(stops[index], &earlier[index], NULL);
    signal(SIGUSR1, SIG_DFL);
    int number = atomic_exchange(&first, 0);
    if (number) raise(number);
}

int clinux_stop_requested(void) { return atomic_load_explicit(&first, memory_order_relaxed) != 0; }

void clinux_wait_for_state_request(void) {
    while (sem_wait(&state_requests) != 0) {}
}

void clinux_ignore_write_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}
