// Signals as bytes of a pipe: a handler may do next to nothing, a thread that reads may do everything.
#ifndef CLINUX_SIGNALS_H
#define CLINUX_SIGNALS_H

// Catches SIGINT, SIGTERM, SIGHUP (unless it is ignored) and SIGUSR1 from now on; returns a descriptor from which each can be read as one byte, or -1.
int clinux_watch_signals(void);
// Ignores SIGPIPE and SIGXFSZ, so that EPIPE and EFBIG are returned instead.
void clinux_ignore_write_signals(void);
#endif
