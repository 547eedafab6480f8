/* A table of the topics that have a job, found by hash: each entry is the job whose turn
 * it is, and the others of its topic hang behind it. A topic without jobs takes no
 * memory, so the table never grows. */
#include "funcmgr/rule/rule_order.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

/* FNV-1a. */
static uint32_t hash_of(struct bt_slice s)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ s.ptr[i]) * 16777619u;
    return h;
}

static struct bt_list *bucket_of(const struct fm_order *o, uint32_t hash)
{
    return &o->buckets[(hash ^ hash >> 16) % FM_ORDER_BUCKETS];
}

static bool same_topic(const struct fm_turn *a, const struct fm_turn *b)
{
    return a->hash == b->hash && a->topic.len == b->topic.len &&
           memcmp(a->topic.ptr, b->topic.ptr, a->topic.len) == 0;
}

int fm_order_init(struct fm_order *o)
{
    o->off = false;
    o->buckets = bt_calloc(FM_ORDER_BUCKETS, sizeof(*o->buckets));
    if (o->buckets == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < FM_ORDER_BUCKETS; i++)
        bt_list_init(&o->buckets[i]);
    return 0;
}

void fm_order_deinit(struct fm_order *o)
{
    bt_free(o->buckets);
    o->buckets = NULL;
}

bool fm_order_enter(struct fm_order *o, struct fm_turn *t)
{
    struct bt_list *it, *bucket;

    if (o->buckets == NULL || o->off)
        return true;
    t->hash = hash_of(t->topic);
    bt_list_init(&t->behind);
    bucket = bucket_of(o, t->hash);
    bt_list_for_each (it, bucket) {
        struct fm_turn *other = bt_list_entry(it, struct fm_turn, link);

        if (same_topic(t, other)) {
            bt_list_push_back(&other->behind, &t->link);
            return false;
        }
    }
    bt_list_push_back(bucket, &t->link);
    return true;
}

struct fm_turn *fm_order_leave(struct fm_order *o, struct fm_turn *t)
{
    struct bt_list *first;
    struct fm_turn *next;

    if (!bt_list_linked(&t->link))
        return NULL; /* did not enter */
    bt_list_remove(&t->link);
    first = bt_list_first(&t->behind);
    if (first == NULL)
        return NULL;
    next = bt_list_entry(first, struct fm_turn, link);
    bt_list_remove(first);
    if (!bt_list_empty(&t->behind)) {
        /* The head of the list becomes that of its successor. */
        next->behind = t->behind;
        next->behind.next->prev = next->behind.prev->next = &next->behind;
        bt_list_init(&t->behind);
    }
    bt_list_push_back(bucket_of(o, next->hash), &next->link);
    return next;
}
