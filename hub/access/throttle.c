/* Addresses and what they did. The table is shared by the workers and locked: it is asked
 * once for a connection and once for a login, never on the way of a message.
 *
 * Back-off: an address has a count of failures that leaks. From the third on, each
 * attempt gets a slot in time behind the last one, so that attempts side by side gain
 * nothing. Failure modes: a flood of addresses pushes older ones out; out of memory: no
 * address is slowed. */
#include "hub/access/throttle.h"

#include <pthread.h>
#include <string.h>

#include "core/list.h"
#include "core/mem.h"
#include "hub/route/hash.h"

#define ENTRIES      4096u
#define BUCKETS      4096u
#define FREE_TRIES   3u /* failures that cost nothing */
#define MOST         12u
#define FIRST_MS     250u
#define LONGEST_MS   4000u
#define HORIZON_MS   10000u /* attempts that would wait longer are refused */
#define FORGET_MS    10000u
#define MILLI        1000
#define MAX_OVERDRAW INT64_C(10) /* seconds that one use may cost at most */

struct entry {
    struct bt_list lru;
    struct entry *next;
    struct hub_ip ip;
    uint32_t failures;
    uint64_t failed_ms; /* when one was last added or forgotten */
    uint64_t slot_ms;   /* before this time no further attempt is looked at */
    struct hub_bucket connects;
};

struct hub_throttle {
    pthread_mutex_t lock; /* guards all; held for a lookup, see the head comment */
    uint64_t seed;
    uint32_t n;
    struct bt_list lru; /* oldest first */
    struct entry *buckets[BUCKETS];
};

struct hub_throttle *hub_throttle_new(void)
{
    struct hub_throttle *t = bt_calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    bt_list_init(&t->lru);
    t->seed = hub_hash_seed();
    return t;
}

void hub_throttle_free(struct hub_throttle *t)
{
    struct bt_list *it;

    if (t == NULL)
        return;
    while ((it = bt_list_first(&t->lru)) != NULL) {
        bt_list_remove(it);
        bt_free(bt_list_entry(it, struct entry, lru));
    }
    pthread_mutex_destroy(&t->lock);
    bt_free(t);
}

static struct entry **place(struct hub_throttle *t, const struct hub_ip *ip)
{
    struct entry **at = &t->buckets[hub_hash(ip->b, sizeof(ip->b), t->seed) % BUCKETS];

    while (*at != NULL && memcmp((*at)->ip.b, ip->b, sizeof(ip->b)) != 0)
        at = &(*at)->next;
    return at;
}

static struct entry *oldest(struct hub_throttle *t)
{
    struct entry *e = bt_list_entry(bt_list_first(&t->lru), struct entry, lru);
    struct entry **at = place(t, &e->ip);

    *at = e->next;
    bt_list_remove(&e->lru);
    t->n--;
    memset(e, 0, sizeof(*e));
    return e;
}

/* The entry of an address, made when it must be. NULL: there is none. */
static struct entry *entry_of(struct hub_throttle *t, struct hub_ip ip, bool make)
{
    struct entry **at, *e;

    ip = hub_ip_group(ip);
    e = *place(t, &ip);
    if (e == NULL && make) {
        e = t->n < ENTRIES ? bt_calloc(1, sizeof(*e)) : oldest(t);
        if (e == NULL)
            return NULL;
        at = place(t, &ip);
        e->ip = ip;
        *at = e;
        t->n++;
    } else if (e != NULL) {
        bt_list_remove(&e->lru);
    }
    if (e != NULL)
        bt_list_push_back(&t->lru, &e->lru);
    return e;
}

static void forget(struct entry *e, uint64_t now_ms)
{
    uint64_t gone = (now_ms - e->failed_ms) / FORGET_MS;

    if (gone == 0)
        return;
    e->failures -= (uint32_t)BT_MIN(gone, e->failures);
    e->failed_ms = now_ms;
}

static uint64_t pause_ms(uint32_t failures)
{
    uint64_t ms = FIRST_MS;

    if (failures < FREE_TRIES)
        return 0;
    for (uint32_t i = FREE_TRIES; i < failures && ms < LONGEST_MS; i++)
        ms *= 2;
    return BT_MIN(ms, LONGEST_MS);
}

static int login(struct entry *e, uint64_t now_ms)
{
    uint64_t ms, slot;

    forget(e, now_ms);
    ms = pause_ms(e->failures);
    if (ms == 0)
        return 0;
    slot = BT_MAX(e->slot_ms, now_ms) + ms;
    if (slot - now_ms > HORIZON_MS)
        return HUB_THROTTLE_FULL;
    e->slot_ms = slot;
    return (int)(slot - now_ms);
}

int hub_throttle_login(struct hub_throttle *t, struct hub_ip ip, uint64_t now_ms)
{
    struct entry *e;
    int wait = 0;

    pthread_mutex_lock(&t->lock);
    e = entry_of(t, ip, false);
    if (e != NULL && e->failures > 0)
        wait = login(e, now_ms);
    pthread_mutex_unlock(&t->lock);
    return wait;
}

void hub_throttle_failed(struct hub_throttle *t, struct hub_ip ip, uint64_t now_ms)
{
    struct entry *e;

    pthread_mutex_lock(&t->lock);
    e = entry_of(t, ip, true);
    if (e != NULL) {
        if (e->failures > 0)
            forget(e, now_ms);
        if (e->failures == 0)
            e->failed_ms = now_ms;
        e->failures = BT_MIN(e->failures + 1, MOST);
    }
    pthread_mutex_unlock(&t->lock);
}

bool hub_throttle_connect(struct hub_throttle *t, struct hub_ip ip, uint32_t rate,
                          uint64_t now_ms)
{
    struct entry *e;
    bool ok = true;

    pthread_mutex_lock(&t->lock);
    e = entry_of(t, ip, true);
    if (e != NULL) {
        ok = hub_bucket_left(&e->connects, rate, (uint64_t)rate * 2, now_ms) > 0;
        if (ok)
            hub_bucket_use(&e->connects, 1);
    }
    pthread_mutex_unlock(&t->lock);
    return ok;
}

/* ---- Buckets ---- */

static int64_t whole(int64_t level)
{
    return level >= 0 ? level / MILLI : -((-level + MILLI - 1) / MILLI);
}

int64_t hub_bucket_left(struct hub_bucket *b, uint64_t rate, uint64_t burst,
                        uint64_t now_ms)
{
    uint64_t passed = now_ms - b->at_ms;
    int64_t full = (int64_t)BT_MIN(burst, INT64_MAX / (2 * MILLI)) * MILLI;

    if (!b->begun || passed > 3600000) {
        b->level = full;
    } else {
        /* A use that was larger than all is not paid for ever. */
        b->level = BT_MAX(b->level, -(int64_t)rate * MILLI * MAX_OVERDRAW);
        b->level = BT_MIN(b->level + (int64_t)(passed * rate), full);
    }
    b->begun = true;
    b->at_ms = now_ms;
    return whole(b->level);
}

void hub_bucket_use(struct hub_bucket *b, uint64_t n)
{
    b->level -= (int64_t)n * MILLI;
}

uint64_t hub_bucket_wait(const struct hub_bucket *b, uint64_t rate)
{
    uint64_t owed;

    if (b->level >= MILLI || rate == 0)
        return 0;
    owed = BT_MIN((uint64_t)(MILLI - b->level), rate * MILLI * (uint64_t)MAX_OVERDRAW);
    return BT_MAX((owed + rate - 1) / rate, 1);
}
