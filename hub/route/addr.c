/* The address of a session: a small counted block that outlives the session it names, so
 * that the index, matched sets and messages on their way can hold it without asking
 * whether the session is still there. Only memory can fail. */
#include "hub/route/addr.h"

#include "core/mem.h"

struct hub_addr *hub_addr_new(uint32_t worker, struct hub_session *s)
{
    struct hub_addr *a = bt_malloc(sizeof(*a));

    if (a == NULL)
        return NULL;
    atomic_init(&a->refs, 1);
    a->worker = (uint16_t)worker;
    atomic_init(&a->state, HUB_ADDR_OFFLINE);
    a->session = s;
    return a;
}

void hub_addr_unref(struct hub_addr *a)
{
    if (a != NULL && atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
        bt_free(a);
}
