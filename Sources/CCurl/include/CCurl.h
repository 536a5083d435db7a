/* Ranged reads over HTTP by libcurl, which is loaded when it is first asked for: most commands never do, and it would be half of the
   time that they take to start. Its functions have a variable number of arguments, which Swift cannot call. */
#ifndef CCURL_H
#define CCURL_H

#include <stddef.h>
#include <stdint.h>

/* What a server answered; texts are empty, numbers negative where it did not say. */
struct ccurl_answer {
    long status;
    /* Content-Range: first and last byte, and the length of the whole. */
    int64_t first, last, total;
    /* Bytes in the buffer, and whether there were more than fit. */
    size_t received;
    int has_more;
    char etag[256];
    char modified[64];
    char encoding[32];
    char location[1024];
};

/* Loads libcurl; 0 where there is none. May be called again and by any thread. */
int ccurl_load(void);

/* A connection, for one thread at a time; NULL where there is no memory. */
void *ccurl_open(void);
void ccurl_close(void *connection);

/* Asks for `count` bytes of `url` from `offset` on, on the condition that its strong ETag is `etag` (NULL: none). The bytes go to
   `buffer`, which has room for `count`, and only where the answer is that range. 0, or what went wrong in `problem`, 256 bytes. */
int ccurl_get(void *connection, const char *url, uint64_t offset, size_t count, const char *etag, void *buffer, struct ccurl_answer *answer,
              char *problem);

/* The seconds since 1970 of a date in a header; -1 where it is none. */
int64_t ccurl_seconds(const char *date);

#endif
