#include "CRelease.h"

/* A file of its own: another commit has this one compiled again, and nothing else. */
const char *crelease_version(void) { return DROVER_VERSION; }
