#include "hub/route/transit.c"

#include "tests/harness.h"

TEST(a_worker_that_falls_behind_makes_the_others_stop_reading)
{
    struct hub hub = { .n_workers = 2 };
    struct hub_worker a = { .hub = &hub }, b = { .hub = &hub };

    bt_list_init(&a.conns);
    a.transit.room_told = b.transit.room_told = true; /* no mailboxes here */
    hub.workers[0] = &a;
    hub.workers[1] = &b;
    hub_transit_add(&a, &b, HUB_TRANSIT_MAX - 1);
    CHECK(!atomic_load(&a.transit.congested));
    hub_transit_add(&a, &b, 1);
    CHECK(atomic_load(&a.transit.congested) && !atomic_load(&b.transit.congested));
    /* Still too much: the message that comes now changes nothing. */
    hub_transit_room(&a);
    CHECK(atomic_load(&a.transit.congested) && !atomic_load(&a.transit.room_told));
    a.transit.room_told = true;
    hub_transit_done(&b, 1);
    hub_transit_done(&b, HUB_TRANSIT_MAX - 1);
    CHECK_INT(atomic_load(&b.transit.to_here), 0);
    hub_transit_room(&a);
    CHECK(!atomic_load(&a.transit.congested));
}
