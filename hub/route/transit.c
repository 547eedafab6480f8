/* Room between workers: a counter for each receiver, a flag for each sender.
 *
 * A sender adds before it posts and raises its flag at the limit; a receiver subtracts
 * when it is done and, below half, tells every worker whose flag is up. Both order flag
 * and counter the same way (sequentially consistent), so one of the two always sees the
 * other. Failure modes: none; a closed mailbox belongs to a hub that is ending. */
#include "hub/route/transit.h"

#include "hub/net/conn.h"
#include "hub/worker.h"

static void tell(struct hub_worker *w)
{
    if (!atomic_exchange(&w->transit.room_told, true))
        (void)!bt_mbox_post(w->mbox, &w->transit.room);
}

void hub_transit_add(struct hub_worker *from, struct hub_worker *to, size_t bytes)
{
    size_t now = atomic_fetch_add(&to->transit.to_here, bytes) + bytes;

    if (now < HUB_TRANSIT_MAX)
        return;
    atomic_store(&from->transit.congested, true);
    /* What was taken before the flag was up has told nobody. */
    if (atomic_load(&to->transit.to_here) < HUB_TRANSIT_MAX / 2)
        tell(from);
}

void hub_transit_done(struct hub_worker *to, size_t bytes)
{
    size_t left = atomic_fetch_sub(&to->transit.to_here, bytes) - bytes;
    struct hub *hub = to->hub;

    if (left >= HUB_TRANSIT_MAX / 2)
        return;
    for (uint32_t i = 0; i < hub->n_workers; i++)
        if (atomic_load(&hub->workers[i]->transit.congested))
            tell(hub->workers[i]);
}

void hub_transit_room(struct hub_worker *w)
{
    struct bt_list *it, *tmp;

    /* Before the look: who makes room after it tells again. */
    atomic_store(&w->transit.room_told, false);
    for (uint32_t i = 0; i < w->hub->n_workers; i++)
        if (atomic_load(&w->hub->workers[i]->transit.to_here) >= HUB_TRANSIT_MAX)
            return;
    atomic_store(&w->transit.congested, false);
    bt_list_for_each_safe (it, tmp, &w->conns)
        hub_conn_unpause(bt_list_entry(it, struct hub_conn, all), HUB_PAUSE_TRANSIT);
}
