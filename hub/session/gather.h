/* The queue entries of one QoS 2 publish of a client whose session persists: they and the
 * packet identifier must reach the disk in one transaction, although several workers make
 * them. Each adds its operations; whoever is done last submits all in one chain. In the
 * same way a message moves from one queue to others (hub/session/move.h). */
#ifndef HUB_GATHER_H
#define HUB_GATHER_H

#include "hub/store/store.h"

struct hub_gather {
    _Atomic uint32_t pending;     /* who still adds */
    _Atomic(struct hub_op *) ops; /* the last one added first */
    struct hub_op *put;           /* the last operation, until it is used */
    struct hub_ticket *ticket;
    _Atomic bool broken; /* part of it got lost: nothing is submitted */
    bool stored;         /* the identifier's row is made; valid once the ticket is done */
};

/* One who adds. The gather must end after ticket, which becomes its. NULL: no memory. */
struct hub_gather *hub_gather_new(struct hub_ticket *ticket, uint64_t sid,
                                  uint16_t pid) BT_MUST_CHECK;
/* The same with any last operation, which it takes unless it fails. */
struct hub_gather *hub_gather_with(struct hub_ticket *ticket,
                                   struct hub_op *last) BT_MUST_CHECK;
void hub_gather_free(struct hub_gather *g); /* NULL is fine */
/* Any thread that holds it. Takes op, whose ticket, if any, is charged. */
void hub_gather_add(struct hub_gather *g, struct hub_op *op);
/* One more who adds. */
static inline void hub_gather_hold(struct hub_gather *g)
{
    atomic_fetch_add_explicit(&g->pending, 1, memory_order_relaxed);
}
/* One is done adding, while it still holds the ticket; the last one puts all into batch.
 * Without any operation there is nothing to store. */
void hub_gather_done(struct hub_gather *g, struct hub_batch *batch);

#endif
