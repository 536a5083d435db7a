#define _GNU_SOURCE
#include "CLinuxSignals.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int pipe_ends[2] = {-1, -1};

static void pass_on(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe holds enough signals to be read already.
    ssize_t ignored = write(pipe_ends[1], &byte, 1);
    (void)ignored;
    errno = saved;
}

int clinux_watch_signals(void) {
    if (pipe_ends[0] < 0) {
        if (pipe2(pipe_ends, O_CLOEXEC) != 0) return -1;
        fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK);
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = pass_on;
    action.sa_flags = SA_RESTART;
    if (sigaction(SIGINT, &action, NULL) || sigaction(SIGTERM, &action, NULL) || sigaction(SIGUSR1, &action, NULL)) return -1;
    // Under nohup it stays ignored.
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup)) return -1;
    if (hangup.sa_handler != SIG_IGN && sigaction(SIGHUP, &action, NULL)) return -1;
    return pipe_ends[0];
}

void clinux_ignore_write_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}
