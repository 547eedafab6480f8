/* Topics whose receiver answers by Response Topic. */
#include "hub/access/reply_guard.c"

#include "tests/harness.h"

TEST(what_is_guarded)
{
    struct hub_reply_guards g;

    hub_reply_guards_init(&g);
    CHECK(!hub_reply_guarded(&g, bt_slice_of("f/x/call")));
    CHECK_INT(hub_reply_guard_add(&g, "f/+/call"), 0);
    CHECK_INT(hub_reply_guard_add(&g, "other"), 0);
    CHECK_INT(hub_reply_guard_add(&g, "f/+/call"), 0);
    CHECK(hub_reply_guarded(&g, bt_slice_of("f/x/call")));
    CHECK(hub_reply_guarded(&g, bt_slice_of("other")));
    CHECK(!hub_reply_guarded(&g, bt_slice_of("f/x/y/call")));
    CHECK(g.all.next->next->next == &g.all); /* two entries */
    hub_reply_guards_deinit(&g);
}

TEST(out_of_memory)
{
    struct hub_reply_guards g;

    hub_reply_guards_init(&g);
    bt_mem_fail_from(1);
    CHECK_INT(hub_reply_guard_add(&g, "a"), BT_ENOMEM);
    bt_mem_fail_from(0);
    CHECK(bt_list_empty(&g.all));
    hub_reply_guards_deinit(&g);
}

TEST(most_messages_name_no_response_topic)
{
    struct bt_mqtt_props props = { 0 };

    CHECK(hub_reply_guard_permits(NULL, NULL, bt_slice_of("t"), &props));
}
