/* The address of a session: how other threads name it. Counted references; `session` is
 * touched only by the home worker and becomes NULL when the session ends. */
#ifndef HUB_ADDR_H
#define HUB_ADDR_H

#include <stdatomic.h>

#include "core/base.h"

struct hub_session;

/* What a shared subscription asks of its members, better ones higher. Written by the home
 * worker, read by all: a hint, not a promise. */
enum hub_addr_state {
    HUB_ADDR_GONE,    /* the session has ended */
    HUB_ADDR_OFFLINE, /* it waits for its client */
    HUB_ADDR_BUSY,    /* its window or its socket is full */
    HUB_ADDR_READY,
};
struct hub_addr {
    _Atomic uint32_t refs;
    uint16_t worker;
    _Atomic uint8_t state;
    struct hub_session *session;
};

struct hub_addr *hub_addr_new(uint32_t worker,
                              struct hub_session *s) BT_MUST_CHECK; /* one reference */
static inline struct hub_addr *hub_addr_ref(struct hub_addr *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}
static inline uint32_t hub_addr_state(const struct hub_addr *a)
{
    return atomic_load_explicit(&a->state, memory_order_relaxed);
}
void hub_addr_unref(struct hub_addr *a);

#endif
