// The state of a digest lies on the stack.
#define XXH_STATIC_LINKING_ONLY
// On x86-64 libxxhash chooses the widest vector unit at run time; that is four times the plain build's speed.
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

static inline XXH128_hash_t drover_xxh3_128(const void *bytes, size_t length) {
    return XXH3_128bits(bytes, length);
}

// The digest of two stretches, one behind the other.
static inline XXH128_hash_t drover_xxh3_128_pair(const void *first, size_t first_length, const void *second,
                                                 size_t second_length) {
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, first, first_length);
    XXH3_128bits_update(&state, second, second_length);
    return XXH3_128bits_digest(&state);
}

static inline uint64_t drover_xxh3_64(const void *bytes, size_t length) {
    return XXH3_64bits(bytes, length);
}
