/* A latency histogram: 32 buckets for each power of two, so an answer is at most 3 % off.
 * Values are nanoseconds. One owner. */
#ifndef TESTS_BENCH_HIST_H
#define TESTS_BENCH_HIST_H

#include <stdint.h>

#define HIST_BITS 5
#define HIST_SIZE (64 << HIST_BITS)

struct hist {
    uint64_t count, bucket[HIST_SIZE];
};

static inline void hist_add(struct hist *h, uint64_t v)
{
    uint64_t index = v;

    if (v >> HIST_BITS != 0) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(v) - HIST_BITS;

        index = ((uint64_t)(shift + 1) << HIST_BITS) + ((v >> shift) - (1u << HIST_BITS));
    }
    h->bucket[index]++;
    h->count++;
}

/* The smallest value that at least `part` (0 to 1) of the values do not exceed; 0 when
 * empty. */
static inline uint64_t hist_quantile(const struct hist *h, double part)
{
    uint64_t want = (uint64_t)(part * (double)h->count), seen = 0;

    for (uint64_t i = 0; i < HIST_SIZE; i++) {
        seen += h->bucket[i];
        if (h->bucket[i] == 0 || seen < want)
            continue;
        if (i >> HIST_BITS == 0)
            return i;
        return ((i & ((1u << HIST_BITS) - 1)) + (1u << HIST_BITS))
               << ((i >> HIST_BITS) - 1);
    }
    return 0;
}

#endif
