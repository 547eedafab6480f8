/* The set of identifiers against a plain array, in the order of clients and at random. */
#include "hub/session/incoming.c"

#include "tests/harness.h"

static bool expect[65536];

static void check_all(struct hub_incoming *in)
{
    uint32_t n = 0;

    for (uint32_t pid = 1; pid < 65536; pid++) {
        CHECK((hub_incoming_find(in, (uint16_t)pid) != NULL) == expect[pid]);
        n += expect[pid];
    }
    CHECK_INT(hub_incoming_count(in), n);
}

static void change(struct hub_incoming **in, uint16_t pid)
{
    if (expect[pid])
        hub_incoming_remove(in, pid);
    else
        CHECK_INT(hub_incoming_add(in, pid, 0), 0);
    expect[pid] = !expect[pid];
}

TEST(all_identifiers_at_once)
{
    struct hub_incoming *in = NULL;

    memset(expect, 0, sizeof(expect));
    for (uint32_t pid = 1; pid < 65536; pid++)
        change(&in, (uint16_t)pid);
    check_all(in);
    for (uint32_t pid = 1; pid < 65536; pid++)
        change(&in, (uint16_t)pid);
    CHECK(in == NULL);
}

TEST(at_random_from_a_few_that_collide)
{
    struct hub_incoming *in = NULL;

    memset(expect, 0, sizeof(expect));
    for (int i = 0; i < 100000; i++) {
        uint64_t r = test_random();

        change(&in, (uint16_t)(1 + (r % 13) + (r >> 32) % 60 * 1024));
        if (i % 1000 == 0)
            check_all(in);
    }
    check_all(in);
    bt_free(in);
}

TEST(flags_stay_with_their_identifier)
{
    struct hub_incoming *in = NULL;

    CHECK(hub_incoming_find(in, 7) == NULL);
    CHECK_INT(hub_incoming_add(&in, 7, HUB_IN_ANSWERED), 0);
    CHECK_INT(hub_incoming_add(&in, 23, 0), 0); /* the same slot */
    hub_incoming_mark(&in, HUB_IN_OLD);
    hub_incoming_remove(&in, 7);
    CHECK_INT(*hub_incoming_find(in, 23), HUB_IN_OLD);
    CHECK(hub_incoming_find(in, 7) == NULL);
    hub_incoming_remove(&in, 23);
    CHECK(in != NULL);
    hub_incoming_mark(&in, HUB_IN_OLD);
    CHECK(in == NULL);
}
