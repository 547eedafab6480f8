/* Gathering: a stack without a lock, and a count of those who still add to it. The
 * chain's operations are tied: the store never ends a transaction between two of them.
 * The identifier comes last, so its ticket is charged while the others still hold it.
 *
 * Failure modes: the memory for the identifier is taken in advance, so a gather that
 * began can always be submitted. When a worker ends before it added its part, nothing is
 * submitted and the ticket fails: the publisher sends again. */
#include "hub/session/gather.h"

#include "core/mem.h"

struct hub_gather *hub_gather_new(struct hub_ticket *ticket, uint64_t sid, uint16_t pid)
{
    struct hub_op *op = hub_op_new(HUB_OP_INCOMING_PUT, sid);
    struct hub_gather *g;

    if (op == NULL)
        return NULL;
    op->u32 = pid;
    g = hub_gather_with(ticket, op);
    if (g == NULL)
        hub_op_free(op);
    return g;
}

struct hub_gather *hub_gather_with(struct hub_ticket *ticket, struct hub_op *last)
{
    struct hub_gather *g = bt_calloc(1, sizeof(*g));

    if (g == NULL)
        return NULL;
    g->put = last;
    atomic_init(&g->pending, 1);
    g->ticket = ticket;
    ticket->gather = g;
    return g;
}

void hub_gather_free(struct hub_gather *g)
{
    if (g == NULL)
        return;
    hub_op_free(g->put);
    bt_free(g);
}

void hub_gather_add(struct hub_gather *g, struct hub_op *op)
{
    op->next = atomic_load_explicit(&g->ops, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &g->ops, &op->next, op, memory_order_release, memory_order_relaxed))
        ;
}

void hub_gather_done(struct hub_gather *g, struct hub_batch *batch)
{
    struct hub_batch chain;
    struct hub_op *op;

    if (atomic_fetch_sub_explicit(&g->pending, 1, memory_order_acq_rel) != 1)
        return;
    op = atomic_load_explicit(&g->ops, memory_order_acquire);
    if (op == NULL)
        return;
    hub_batch_init(&chain);
    while (op != NULL) {
        struct hub_op *next = op->next;

        op->tied = true;
        hub_batch_add(&chain, op);
        op = next;
    }
    if (atomic_load(&g->broken)) {
        hub_batch_discard(&chain);
        return;
    }
    g->stored = true;
    g->put->ticket = g->ticket;
    atomic_fetch_add(&g->ticket->pending, 1);
    hub_batch_add(&chain, bt_steal(g->put));
    hub_batch_append(batch, &chain);
}
