/* A worker's memory of who gets which topic: an open-addressing table by the topic's
 * bytes. A hit costs one load of the index's version, one hash and one compare, and takes
 * no lock. A set of an older version is made again on its next use. The table doubles up
 * to HUB_CACHE_SLOTS topics; from then on, or when the sets take more than
 * CACHE_MAX_BYTES, a hand goes round and removes what was stale or not used since it last
 * came by.
 *
 * When there is no memory to remember a set, it is still handed out and dropped at the
 * next call. */
#include <string.h>

#include "core/mem.h"
#include "hub/route/hash.h"
#include "hub/route/match_set.h"

#define CACHE_MIN_TOPICS 64u
#define CACHE_MAX_BYTES  ((size_t)16 * 1024 * 1024)

struct entry {
    struct hub_match *set;
    uint64_t version;
    size_t cost; /* bytes of the entry and its set */
    uint32_t hash;
    uint32_t len;
    bool used; /* since the hand came by */
    uint8_t topic[];
};

struct slot {
    struct entry *entry; /* NULL: free */
    uint32_t hash;
};

struct hub_cache {
    struct hub_index *index;
    const _Atomic uint64_t *version;
    struct slot *slots; /* twice as many as topics, a power of two */
    size_t mask;        /* slots - 1 */
    size_t n;
    size_t hand;
    size_t bytes; /* cost of all entries */
    uint64_t seed;
    struct hub_match *loose; /* handed out without being remembered */
};

struct hub_cache *hub_cache_new(struct hub_index *ix)
{
    struct hub_cache *c = bt_calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->slots = bt_calloc(CACHE_MIN_TOPICS * 2, sizeof(*c->slots));
    if (c->slots == NULL) {
        bt_free(c);
        return NULL;
    }
    c->mask = CACHE_MIN_TOPICS * 2 - 1;
    c->index = ix;
    c->version = hub_index_version(ix);
    c->seed = hub_hash_seed();
    return c;
}

void hub_cache_free(struct hub_cache *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i <= c->mask; i++)
        if (c->slots[i].entry != NULL) {
            hub_match_unref(c->slots[i].entry->set);
            bt_free(c->slots[i].entry);
        }
    hub_match_unref(c->loose);
    bt_free(c->slots);
    bt_free(c);
}

static void put_slot(struct slot *slots, size_t mask, struct entry *e)
{
    size_t i = e->hash & mask;

    while (slots[i].entry != NULL)
        i = (i + 1) & mask;
    slots[i] = (struct slot){ e, e->hash };
}

/* Empty a slot and move later entries of its run up. */
static void remove_slot(struct hub_cache *c, size_t gap)
{
    struct entry *e = c->slots[gap].entry;

    c->bytes -= e->cost;
    c->n--;
    hub_match_unref(e->set);
    bt_free(e);
    for (size_t i = (gap + 1) & c->mask; c->slots[i].entry != NULL;
         i = (i + 1) & c->mask) {
        size_t home = c->slots[i].hash & c->mask;

        if (((i - home) & c->mask) >= ((i - gap) & c->mask)) {
            c->slots[gap] = c->slots[i];
            gap = i;
        }
    }
    c->slots[gap] = (struct slot){ NULL, 0 };
}

/* Remove one entry other than keep. There is one. */
static void evict(struct hub_cache *c, const struct entry *keep, uint64_t version)
{
    for (;; c->hand = (c->hand + 1) & c->mask) {
        struct entry *e = c->slots[c->hand].entry;

        if (e == NULL || e == keep)
            continue;
        if (e->used && e->version == version) {
            e->used = false;
            continue;
        }
        remove_slot(c, c->hand);
        return;
    }
}

static bool grow(struct hub_cache *c)
{
    size_t n = (c->mask + 1) * 2;
    struct slot *slots;

    if (n > (size_t)HUB_CACHE_SLOTS * 2)
        return false;
    slots = bt_calloc(n, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (size_t i = 0; i <= c->mask; i++)
        if (c->slots[i].entry != NULL)
            put_slot(slots, n - 1, c->slots[i].entry);
    bt_free(c->slots);
    c->slots = slots;
    c->mask = n - 1;
    c->hand = 0;
    return true;
}

static struct entry *insert(struct hub_cache *c, struct bt_slice topic, uint32_t hash,
                            uint64_t version)
{
    struct entry *e = bt_calloc(1, sizeof(*e) + topic.len);

    if (e == NULL)
        return NULL;
    e->hash = hash;
    e->len = (uint32_t)topic.len;
    memcpy(e->topic, topic.ptr, topic.len);
    if (c->n >= (c->mask + 1) / 2 && !grow(c))
        evict(c, NULL, version);
    put_slot(c->slots, c->mask, e);
    c->n++;
    return e;
}

static struct hub_match *refresh(struct hub_cache *c, struct entry *e,
                                 struct bt_slice topic, uint32_t hash)
{
    uint64_t version;
    size_t size;
    struct hub_match *m = hub_index_match(c->index, topic, &version, &size);

    if (m == NULL)
        return NULL;
    if (e == NULL)
        e = insert(c, topic, hash, version);
    if (e == NULL) {
        c->loose = m;
        return m;
    }
    hub_match_unref(e->set);
    c->bytes -= e->cost;
    e->cost = sizeof(*e) + topic.len + size;
    c->bytes += e->cost;
    e->set = m;
    e->version = version;
    e->used = true;
    while (c->bytes > CACHE_MAX_BYTES && c->n > 1)
        evict(c, e, version);
    return m;
}

struct hub_match *hub_cache_lookup(struct hub_cache *c, struct bt_slice topic)
{
    uint64_t version = atomic_load_explicit(c->version, memory_order_acquire);
    uint32_t hash = (uint32_t)hub_hash(topic.ptr, topic.len, c->seed);
    size_t i = hash & c->mask;
    struct entry *e;

    if (bt_unlikely(c->loose != NULL)) {
        hub_match_unref(c->loose);
        c->loose = NULL;
    }
    for (; (e = c->slots[i].entry) != NULL; i = (i + 1) & c->mask)
        if (c->slots[i].hash == hash && e->len == topic.len &&
            memcmp(e->topic, topic.ptr, topic.len) == 0)
            break;
    if (bt_unlikely(e == NULL || e->version != version))
        return refresh(c, e, topic, hash);
    if (!e->used)
        e->used = true;
    return e->set;
}
