// Tokens of make's jobserver that this process holds. They are kept here, so that a signal handler can give them back.
#ifndef CLINUX_TOKENS_H
#define CLINUX_TOKENS_H

// The most tokens that are held at once.
enum { CLINUX_MOST_TOKENS = 256 };

// Takes tokens from `reading` and gives them back to `writing` from now on, both non-blocking. Whatever ends the process
// gives back what is held: exit, a signal whose default is to end it, a crash; not SIGKILL. 0, or -1 with errno.
int clinux_tokens_use(int reading, int writing);
// Takes a token without waiting: 1, 0 where none is there, -1 with errno.
int clinux_token_take(void);
// Gives back one of those held: 1, 0 where none is, -1 with errno (it is still held then).
int clinux_token_give(void);
// Gives back all; none is taken any more. May be called by a signal handler.
void clinux_tokens_close(void);
// A descriptor that a write of 8 bytes makes readable until they are read (eventfd), or -1.
int clinux_wakeup(void);
#endif
