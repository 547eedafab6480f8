/* The address of a session: how other threads name it. Counted references; `session` is
 * touched only by the home worker and becomes NULL when the session ends. */
#ifndef HUB_ADDR_H
#define HUB_ADDR_H

#include <stdatomic.h>

#include "core/base.h"

struct hub_session;

struct hub_addr {
    _Atomic uint32_t refs;
    uint32_t worker;
    struct hub_session *session;
};

struct hub_addr *hub_addr_new(uint32_t worker,
                              struct hub_session *s) BT_MUST_CHECK; /* one reference */
static inline struct hub_addr *hub_addr_ref(struct hub_addr *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}
void hub_addr_unref(struct hub_addr *a);

#endif
