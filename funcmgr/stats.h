/* What is counted of each function. One struct for a function's name, kept until the
 * process ends, so that a function that is configured anew, or a module that is started
 * again, goes on counting. Written on the function manager's thread; any thread may read
 * the metrics. */
#ifndef FUNCMGR_STATS_H
#define FUNCMGR_STATS_H

#include "core/metric.h"
#include "funcmgr/pool/call.h"

/* Names with statistics of their own; later ones share one struct. */
#define FM_MAX_STATS 4096u
/* Times in ranges: exact below 2^FM_TIME_BITS us, then so many bits of each; up to 38
 * hours. */
#define FM_TIME_BITS   4u
#define FM_TIME_OCTAVE 37u
#define FM_TIME_RANGES ((FM_TIME_OCTAVE - FM_TIME_BITS + 2) << FM_TIME_BITS)

struct fm_stats {
    struct fm_stats *next;
    char *function, *labels;
    struct bt_metric calls, retries, dropped, start_failures, instances, degraded;
    struct bt_metric latency;
    struct bt_metric errors[FM_N_OUTCOMES]; /* FM_OK has none */
    struct bt_histogram histogram;
    uint64_t times[FM_TIME_RANGES]; /* of calls that were answered */
    uint64_t n_times, max_us;
};

/* Function manager's thread, or before it runs. Never NULL. */
struct fm_stats *fm_stats_of(const char *function);
/* A call goes to the pool; it has ended. now_us: loop time. */
static inline void fm_stats_begin(struct fm_stats *s, struct fm_call *call,
                                  uint64_t now_us)
{
    call->stats = s;
    call->began_us = now_us;
}
/* Count a call that is done within the turn in which it began, and call done: its time is
 * the clock's. */
void fm_stats_done(struct fm_call *call, const struct fm_result *result);
void fm_stats_end(struct fm_stats *s, const struct fm_call *call, enum fm_outcome outcome,
                  uint64_t now_us);
/* So many thousandths of the calls took no longer, in us; 6 % too much at most. */
uint64_t fm_stats_time(const struct fm_stats *s, unsigned thousandths);
/* "failed", "timeout", ...: as in the metrics' label. */
const char *fm_outcome_name(enum fm_outcome outcome);

#endif
