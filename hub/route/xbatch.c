/* Batches between workers: a chain of chunks, filled from front to back. An item never
 * spans two chunks; the first chunk is small, because most turns carry little. Failure:
 * only memory. */
#include "hub/route/xbatch.h"

#include <string.h>

#include "core/copy.h"
#include "core/mem.h"

#define FIRST_CHUNK ((size_t)4 * 1024 - 64)
#define CHUNK       ((size_t)64 * 1024 - 64)
#define ALIGN       _Alignof(struct hub_xitem)

struct hub_xchunk {
    struct hub_xchunk *next;
    size_t used, cap;
    _Alignas(struct hub_xitem) uint8_t data[];
};

_Static_assert(sizeof(struct hub_xitem) + HUB_XITEM_COPY_MAX < FIRST_CHUNK / 2,
               "an item fits any chunk");

struct hub_xbatch *hub_xbatch_new(void)
{
    return bt_calloc(1, sizeof(struct hub_xbatch));
}

static void *room(struct hub_xbatch *b, size_t n)
{
    struct hub_xchunk *k = b->tail;
    void *at;

    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (k == NULL || k->cap - k->used < n) {
        size_t cap = k == NULL ? FIRST_CHUNK : CHUNK;

        k = bt_malloc(sizeof(*k) + cap);
        if (k == NULL)
            return NULL;
        k->next = NULL;
        k->used = 0;
        k->cap = cap;
        if (b->tail == NULL)
            b->head = k;
        else
            b->tail->next = k;
        b->tail = k;
    }
    at = k->data + k->used;
    k->used += n;
    return at;
}

static uint8_t *put(uint8_t *to, struct bt_slice s)
{
    bt_copy(to, s.ptr, s.len);
    return to + s.len;
}

static size_t bytes_of(const struct hub_xitem *it)
{
    return it->msg != NULL ? 0 : (size_t)it->topic_len + it->props_len + it->payload_len;
}

struct hub_xitem *hub_xbatch_add(struct hub_xbatch *b, struct hub_pub *pub, bool share)
{
    size_t n = pub->topic.len + pub->props.len + pub->payload.len;
    bool copy = pub->msg == NULL && !share && n <= HUB_XITEM_COPY_MAX;
    struct hub_msg *msg = copy ? NULL : hub_pub_msg(pub);
    struct hub_xitem *it;

    if (!copy && msg == NULL)
        return NULL;
    it = room(b, sizeof(*it) + (copy ? n : 0));
    if (it == NULL) {
        hub_msg_unref(msg);
        return NULL;
    }
    b->bytes += sizeof(*it) + n;
    memset(it, 0, sizeof(*it));
    it->msg = msg;
    it->origin = pub->origin;
    if (copy) {
        it->expiry_s = pub->expiry_s;
        it->topic_len = (uint16_t)pub->topic.len;
        it->props_len = (uint16_t)pub->props.len;
        it->payload_len = (uint32_t)pub->payload.len;
        it->qos = pub->qos;
        it->retain = pub->retain;
        put(put(put(it->bytes, pub->topic), pub->props), pub->payload);
    }
    return it;
}

/* The chunk an item lies in is found from the front: a batch has few. */
static struct hub_xchunk *chunk_of(struct hub_xbatch *b, const struct hub_xitem *it)
{
    const uint8_t *at = (const uint8_t *)it;
    struct hub_xchunk *k = b->head;

    while (k != NULL && (at < k->data || at >= k->data + k->used))
        k = k->next;
    return k;
}

struct hub_xitem *hub_xbatch_next(struct hub_xbatch *b, struct hub_xitem *it)
{
    struct hub_xchunk *k = it == NULL ? b->head : chunk_of(b, it);
    size_t at = 0;

    if (it != NULL && k != NULL) {
        at = (size_t)((uint8_t *)it - k->data) + sizeof(*it) + bytes_of(it);
        at = (at + ALIGN - 1) / ALIGN * ALIGN;
        if (at >= k->used) {
            k = k->next;
            at = 0;
        }
    }
    return k == NULL || at >= k->used ? NULL : (struct hub_xitem *)(void *)(k->data + at);
}

void hub_xitem_pub(struct hub_xitem *it, struct hub_pub *out)
{
    struct hub_msg *m = it->msg;

    if (m != NULL) {
        *out = (struct hub_pub){
            .topic = hub_msg_topic(m),
            .payload = hub_msg_payload(m),
            .props = hub_msg_props(m),
            .qos = m->qos,
            .retain = m->retain,
            .msg = m,
        };
    } else {
        *out = (struct hub_pub){
            .topic = { it->bytes, it->topic_len },
            .props = { it->bytes + it->topic_len, it->props_len },
            .payload = { it->bytes + it->topic_len + it->props_len, it->payload_len },
            .qos = it->qos,
            .retain = it->retain,
            .expiry_s = it->expiry_s,
        };
    }
    out->origin = (struct hub_addr *)(uintptr_t)it->origin;
}

void hub_xbatch_free(struct hub_xbatch *b)
{
    while (b->head != NULL) {
        struct hub_xchunk *k = b->head;

        b->head = k->next;
        bt_free(k);
    }
    bt_free(b);
}
