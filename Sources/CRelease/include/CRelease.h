/* Which Drover this is: 0.1.0, or 0.1.0~git20261126.abc1234 between releases (.ci/version). */
#ifndef CRELEASE_H
#define CRELEASE_H

const char *crelease_version(void);

#endif
