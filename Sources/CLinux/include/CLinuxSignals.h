// Signals that ask a move to stop, or how far it is. A handler only remembers them, so that those count, too, that come before
// anybody looks.
#ifndef CLINUX_SIGNALS_H
#define CLINUX_SIGNALS_H

// From now on SIGINT, SIGTERM, SIGHUP (unless it is ignored), SIGUSR2 and SIGXCPU ask to stop, also where whoever started the process
// has blocked them; SIGUSR1 asks for the state. Asked to stop again, half a second later or more, the process ends at once, with
// 75 and without its tokens; SIGXCPU, which the kernel repeats, is never asked again. Where the limit of processor time would
// kill at once, SIGXCPU comes a little before. To be called at the very start, and again after `clinux_release_signals`.
void clinux_catch_signals(void);
// They do again what they do by default; one that came meanwhile does it now.
void clinux_release_signals(void);
// Whether a signal has asked to stop.
int clinux_stop_requested(void);
// Blocks until SIGUSR1 comes; never returns where none does. One caller in a process.
void clinux_wait_for_state_request(void);
// Ignores SIGPIPE and SIGXFSZ, so that EPIPE and EFBIG are returned instead.
void clinux_ignore_write_signals(void);
#endif
