/* A fast keyed hash for topics and levels in memory: eight bytes a step, one 32x32
 * multiplication each, so it is cheap on 32-bit machines too. The seed enters every
 * product, which keeps a client that does not know it from choosing topics that collide.
 * Not for anything stored or sent. Any thread. */
#ifndef HUB_HASH_H
#define HUB_HASH_H

#include <string.h>

#include "core/base.h"

/* A new unpredictable seed. */
uint64_t hub_hash_seed(void);

static inline uint64_t hub_hash_load64_(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}
static inline uint32_t hub_hash_load32_(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}
static inline uint64_t hub_hash_step_(uint64_t h, uint64_t word, uint64_t seed)
{
    uint32_t a = (uint32_t)word + (uint32_t)seed;
    uint32_t b = (uint32_t)(word >> 32) + (uint32_t)(seed >> 32);

    h = (h << 29 | h >> 35) * 0x9e3779b97f4a7c15u;
    return h + (uint64_t)a * b + word;
}
static inline uint64_t hub_hash(const uint8_t *p, size_t n, uint64_t seed)
{
    uint64_t h = seed ^ (uint64_t)n;
    const uint8_t *end = p + n;

    for (; n > 8; n -= 8, p += 8)
        h = hub_hash_step_(h, hub_hash_load64_(p), seed);
    if (n >= 4) /* the last 4..8 bytes, overlapping */
        h = hub_hash_step_(
            h, hub_hash_load32_(p) | (uint64_t)hub_hash_load32_(end - 4) << 32, seed);
    else if (n > 0)
        h = hub_hash_step_(h, p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)end[-1] << 32,
                           seed);
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

#endif
