// On x86-64 libxxhash chooses the widest vector unit at run time; that is four times the plain build's speed.
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

static inline XXH128_hash_t drover_xxh3_128(const void *bytes, size_t length) {
    return XXH3_128bits(bytes, length);
}
