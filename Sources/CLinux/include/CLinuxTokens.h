// Tokens of make's jobserver that this process holds. They are kept here, so that a signal handler can give them back.
#ifndef CLINUX_TOKENS_H
#define CLINUX_TOKENS_H

// The most tokens that are held at once.
enum { CLINUX_MOST_TOKENS = 256 };

// Opens the FIFO (a pipe by its name below /proc) or the character device of a jobserver, for taking and giving: a descriptor, or -1 with errno, which is EINVAL
// where `path` is neither.
int clinux_tokens_open(const char *path);
// Takes tokens from what was opened so and gives them back to it from now on. Whatever ends the process gives back what is held:
// exit, a signal that ends it, a crash; not SIGKILL. 0, or -1 with errno.
int clinux_tokens_use(int descriptor);
// Takes a token without waiting: 1, 0 where none is there, -1 with errno.
int clinux_token_take(void);
// Gives back one of those held: 1, 0 where none is, -1 with errno (it is still held then).
int clinux_token_give(void);
// Gives back all; none is taken any more. May be called by a signal handler.
void clinux_tokens_close(void);
// A descriptor that a write of 8 bytes makes readable until they are read (eventfd), or -1.
int clinux_wakeup(void);
#endif
