/* Shared subscriptions: whose turn it is. */
#include "hub/session/share.c"

#include "tests/harness.h"

#define MEMBERS 4

static struct hub_addr *addrs[MEMBERS];
static struct hub_target members[MEMBERS];
static struct hub_group group = { .n = MEMBERS, .members = members };

static void setup(const uint8_t states[MEMBERS])
{
    for (uint32_t i = 0; i < MEMBERS; i++) {
        addrs[i] = hub_addr_new(0, NULL);
        atomic_store(&addrs[i]->state, states[i]);
        members[i] = (struct hub_target){ .addr = addrs[i] };
    }
}

static void teardown(void)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        hub_addr_unref(addrs[i]);
}

TEST(only_the_best_take_turns)
{
    static const struct {
        uint8_t states[MEMBERS];
        int32_t turns[4];
    } rows[] = {
        { { 3, 3, 3, 3 }, { 0, 1, 2, 3 } },     { { 3, 2, 3, 1 }, { 0, 2, 0, 2 } },
        { { 1, 2, 0, 1 }, { 1, 1, 1, 1 } },     { { 1, 0, 1, 1 }, { 0, 2, 3, 0 } },
        { { 0, 0, 0, 0 }, { -1, -1, -1, -1 } },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        setup(rows[i].states);
        for (uint32_t turn = 0; turn < 4; turn++)
            CHECK_INT(hub_share_pick(&group, turn), rows[i].turns[turn]);
        teardown();
    }
}

TEST(room)
{
    static const uint8_t busy[MEMBERS] = { 2, 2, 1, 0 }, gone[MEMBERS] = { 0 };

    setup(busy);
    CHECK(!hub_share_has_room(&group));
    members[3].flags = HUB_SUB_PERSISTENT; /* gone all the same */
    CHECK(!hub_share_has_room(&group));
    members[2].flags = HUB_SUB_PERSISTENT;
    CHECK(hub_share_has_room(&group));
    members[2].flags = 0;
    atomic_store(&addrs[0]->state, HUB_ADDR_READY);
    CHECK(hub_share_has_room(&group));
    teardown();
    setup(gone);
    CHECK(hub_share_has_room(&group));
    teardown();
}

TEST(a_filter_names_its_group)
{
    struct bt_slice a = { (const uint8_t *)"$share/g/a", 10 };
    struct bt_slice b = { (const uint8_t *)"$share/h/a", 10 };
    struct bt_slice plain = { (const uint8_t *)"$shared/a", 9 };

    CHECK(hub_match_is_share(a));
    CHECK(!hub_match_is_share(plain));
    CHECK(hub_match_share_id(a) != hub_match_share_id(b));
    CHECK(hub_match_share_id(a) == hub_match_share_id(a));
}
