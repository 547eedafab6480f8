/* Who gets a message. One subscription index for the hub, written under its lock, with a
 * version number; each worker keeps a cache from topic to matched set and asks the index
 * only when the version moved or the topic is new. So the hot path takes no lock. */
#ifndef HUB_MATCH_H
#define HUB_MATCH_H

#include "hub/route/addr.h"

#define HUB_SUB_NO_LOCAL            1u
#define HUB_SUB_RETAIN_AS_PUBLISHED 2u
#define HUB_SUB_PERSISTENT          4u   /* the session outlives its connection */
#define HUB_MAX_TARGET_SUBIDS       128u /* of overlapping filters of one session */

struct hub_sub_opts {
    uint8_t qos;
    uint8_t flags;  /* HUB_SUB_x */
    uint32_t subid; /* subscription identifier, 0 = none */
};

/* One receiver. Overlapping filters of one session are merged: highest QoS, all
 * identifiers (first HUB_MAX_TARGET_SUBIDS), retain-as-published if any has it, no-local
 * if all have it. */
struct hub_target {
    struct hub_addr *addr;
    uint8_t qos, flags, n_subids;
    uint32_t share; /* of a group's member: hub_match_share_id of its filter, else 0 */
    union {
        const uint32_t *subids; /* n_subids of them */
        uint32_t subid_;        /* while the set is built */
    };
};
/* A shared subscription ($share/name/filter): one of its members gets the message. */
struct hub_group {
    _Atomic uint32_t turn; /* round robin */
    uint32_t n, share;
    struct hub_target *members;
};
/* An immutable matched set; holds references on its addresses. Targets are sorted by
 * worker: those of worker w are targets[first[w]] .. targets[first[w + 1] - 1]. */
struct hub_match {
    _Atomic uint32_t refs;
    uint32_t n_targets, n_groups, n_workers;
    struct hub_target *targets;
    struct hub_group *groups;
    uint32_t first[]; /* n_workers + 1 */
};
/* Names a shared subscription: a hash of $share/name/filter, never 0, the same after a
 * restart. */
uint32_t hub_match_share_id(struct bt_slice filter);
bool hub_match_is_share(struct bt_slice filter);
static inline struct hub_match *hub_match_ref(struct hub_match *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}
void hub_match_unref(struct hub_match *m);

struct hub_index;
struct hub_index *hub_index_new(uint32_t n_workers) BT_MUST_CHECK;
void hub_index_free(struct hub_index *ix); /* no cache may be in use; NULL is fine */
#define HUB_INDEX_REPLACED 1
/* Any thread. Adds or replaces; takes a reference on addr. 0 = new, HUB_INDEX_REPLACED,
 * BT_ENOMEM. The filter was validated. */
int hub_index_add(struct hub_index *ix, struct bt_slice filter, struct hub_addr *addr,
                  const struct hub_sub_opts *opts) BT_MUST_CHECK;
/* Any thread. false: there was none. */
bool hub_index_remove(struct hub_index *ix, struct bt_slice filter,
                      struct hub_addr *addr);
uint64_t hub_index_size(const struct hub_index *ix); /* subscriptions */

/* Per worker, its thread only. */
struct hub_cache;
#define HUB_CACHE_SLOTS 4096u /* grows to this many topics, then replaces */
struct hub_cache *hub_cache_new(struct hub_index *ix) BT_MUST_CHECK;
void hub_cache_free(struct hub_cache *c);
/* The matched set, borrowed until the next call on this cache; NULL when out of memory.
 * Never NULL for "nobody": n_targets is 0. hint may be NULL. */
struct hub_match *hub_cache_lookup(struct hub_cache *c, struct bt_slice topic);

#endif
