/* What nbdkit offers its plugins, as far as Swift needs it: functions with a variable number of
   arguments cannot be called from there. */
#ifndef CNBDKIT_H
#define CNBDKIT_H

#include <stdint.h>

struct nbdkit_extents;
struct nbdkit_exports;

/* A line in nbdkit's log, and the errno that the client is sent. */
void cnbdkit_fail(const char *line, int error);

/* Adds an extent: what lies there is zeros that take no room, or data. -1 where there is no memory. */
int cnbdkit_add_extent(struct nbdkit_extents *extents, uint64_t start, uint64_t length, int is_zero);

/* Adds an export to what a client sees; -1 where there is no memory. */
int cnbdkit_add_export(struct nbdkit_exports *exports, const char *name, const char *description);

/* `text` in memory that nbdkit frees when the connection ends. */
const char *cnbdkit_copy(const char *text);

/* Whether an answer of one extent is enough. */
int cnbdkit_wants_one(uint32_t flags);

#endif
