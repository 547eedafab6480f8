/* A published message: one immutable block, counted references, shared by every receiver
 * and by the store. Any thread may hold a reference; the fields marked "store" belong to
 * the store thread. */
#ifndef HUB_MSG_H
#define HUB_MSG_H

#include <stdatomic.h>

#include "core/base.h"

struct hub_addr;

#define HUB_EXPIRY_NOW UINT32_MAX /* an interval of 0: now or never */

/* What a publish looks like before anybody has to keep it: borrowed bytes, valid during
 * the call. */
struct hub_pub {
    struct bt_slice topic, payload;
    struct bt_slice props; /* version 5 properties to forward, encoded, without the
                              length; may be empty */
    uint8_t qos;
    bool retain;
    uint8_t hops;            /* topic rules it came through */
    uint32_t expiry_s;       /* message expiry interval, 0 = none, or HUB_EXPIRY_NOW */
    struct hub_addr *origin; /* publishing session, for no-local; NULL = internal */
    struct hub_msg *msg; /* the block, once somebody needed it; owned by the publish */
};

/* Seconds of an interval that there is. */
static inline int64_t hub_expiry_s(const struct hub_pub *p)
{
    return p->expiry_s == HUB_EXPIRY_NOW ? 0 : p->expiry_s;
}

struct hub_msg {
    _Atomic uint32_t refs;
    uint32_t payload_len;
    uint16_t topic_len;
    uint16_t props_len;
    uint8_t qos;
    bool retain;
    int64_t created_ms;            /* wall clock */
    int64_t expires_ms;            /* wall clock, 0 = never */
    uint64_t mid;                  /* store: row id, 0 = not stored */
    const struct hub_addr *origin; /* compared only, never dereferenced */
    uint8_t data[];                /* topic, properties, payload */
};

static inline struct bt_slice hub_msg_topic(const struct hub_msg *m)
{
    return (struct bt_slice){ m->data, m->topic_len };
}
static inline struct bt_slice hub_msg_props(const struct hub_msg *m)
{
    return (struct bt_slice){ m->data + m->topic_len, m->props_len };
}
static inline struct bt_slice hub_msg_payload(const struct hub_msg *m)
{
    return (struct bt_slice){ m->data + m->topic_len + m->props_len, m->payload_len };
}

/* A block with one reference holding a copy of p's bytes. NULL when out of memory. props
 * longer than 65535 or a topic longer than 65535: NULL. */
struct hub_msg *hub_msg_new(const struct hub_pub *p) BT_MUST_CHECK;
/* The publish's block, made on first use; a new reference for the caller. NULL when out
 * of memory. */
struct hub_msg *hub_pub_msg(struct hub_pub *p) BT_MUST_CHECK;
/* Release what hub_pub_msg made. */
void hub_pub_deinit(struct hub_pub *p);
static inline struct hub_msg *hub_msg_ref(struct hub_msg *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}
void hub_msg_unref(struct hub_msg *m); /* NULL is fine */

#endif
