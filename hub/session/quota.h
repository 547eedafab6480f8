/* Budgets of the whole process: memory of messages, queues and output, and room in the
 * store. Counting is a number per thread that is added to the total when it has grown, so
 * it costs next to nothing; the total is behind by at most HUB_QUOTA_STEP a thread. What
 * is under pressure is one word that anybody may read at any time. Any thread. */
#ifndef HUB_QUOTA_H
#define HUB_QUOTA_H

#include <stdatomic.h>

#include "core/base.h"

struct hub_conn;
struct hub_msg;
struct hub_pub;
struct hub_qentry;
struct hub_session;

#define HUB_QUOTA_STEP ((int64_t)32 * 1024)
/* The budget of memory is never exceeded by more: what threads have not told yet, and
 * what a turn of each takes in before it sees the pressure. */
#define HUB_QUOTA_SLACK ((int64_t)8 * 1024 * 1024)

enum hub_quota_memory {
    HUB_MEMORY_FREE,
    HUB_MEMORY_TIGHT, /* three quarters used */
    HUB_MEMORY_FULL
};
struct hub_quota {
    _Atomic uint32_t pressed; /* anything below is not as it should be */
    _Atomic uint32_t memory;  /* enum hub_quota_memory */
    _Atomic bool disk_full;   /* nothing can be stored */
    _Atomic int64_t used, limit;
    _Atomic int64_t oldest_ms; /* messages from before are too old; 0 = none is */
    _Atomic uint32_t inflight; /* most deliveries of one session ever in flight */
};
extern struct hub_quota hub_quota;
extern _Thread_local int64_t hub_quota_untold;

/* Before anything is counted against it; 0 = no limit. */
void hub_quota_limit(uint64_t bytes);
/* Tell what this thread has not told. */
void hub_quota_tell(void);
static inline void hub_quota_charge(int64_t bytes)
{
    hub_quota_untold += bytes;
    if (bt_unlikely(hub_quota_untold > HUB_QUOTA_STEP ||
                    hub_quota_untold < -HUB_QUOTA_STEP))
        hub_quota_tell();
}
/* One session may have n deliveries in flight: so many QoS 2 rows at the start of a queue
 * must stay. A smaller n changes nothing. */
void hub_quota_inflight(uint32_t n);
/* The store can or cannot take more. */
void hub_quota_disk(bool full);

static inline bool hub_quota_pressed(void)
{
    return atomic_load_explicit(&hub_quota.pressed, memory_order_relaxed) != 0;
}
/* A limit of one connection or session, smaller while memory is tight. */
static inline uint64_t hub_quota_scaled(uint64_t limit)
{
    return limit >> 4 * atomic_load_explicit(&hub_quota.memory, memory_order_relaxed);
}
/* Under pressure: whether a QoS 1 or 2 publish of this session is to be refused. Its
 * worker's thread. */
bool hub_quota_refuses(struct hub_session *s, const struct hub_pub *pub);
/* The same for a client that cannot be told: whether it must wait until what it has
 * published is safe. Its worker's thread. */
bool hub_quota_pauses_(const struct hub_session *s);
static inline bool hub_quota_pauses(const struct hub_session *s)
{
    return bt_unlikely(hub_quota_pressed()) && hub_quota_pauses_(s);
}
/* The message waited longer than the retention time. */
bool hub_quota_too_old(const struct hub_qentry *e);
/* A message that has been kept for another reason, retained or as a will, begins to wait:
 * m itself, or a copy when retention would count the time before. A new reference; NULL
 * when out of memory. */
struct hub_msg *hub_quota_renewed(struct hub_msg *m) BT_MUST_CHECK;

#endif
