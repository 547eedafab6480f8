/* Messages: what is copied, who frees. */
#include "hub/route/msg.c"

#include "core/clock.h"
#include "tests/harness.h"

TEST(copies_what_it_is_given)
{
    struct hub_pub p = { .topic = bt_slice_of("a/b"),
                         .props = bt_slice_of("pp"),
                         .payload = bt_slice_of("payload"),
                         .qos = 2,
                         .retain = true };
    struct hub_msg *m = hub_msg_new(&p);

    CHECK(m != NULL);
    CHECK_INT(m->topic_len, 3);
    CHECK_MEM(hub_msg_topic(m).ptr, "a/b", 3);
    CHECK_MEM(hub_msg_props(m).ptr, "pp", 2);
    CHECK_INT(hub_msg_payload(m).len, 7);
    CHECK_MEM(hub_msg_payload(m).ptr, "payload", 7);
    CHECK_INT(m->qos, 2);
    CHECK(m->retain);
    CHECK_INT(m->expires_ms, 0);
    CHECK_INT(m->mid, 0);
    hub_msg_unref(m);
}

TEST(expiry_counts_from_creation)
{
    struct hub_pub p = { .topic = bt_slice_of("t"), .expiry_s = UINT32_MAX - 1 };
    struct hub_msg *m;

    bt_clock_fake_start(0, 1000);
    m = hub_msg_new(&p);
    bt_clock_fake_stop();
    CHECK_INT(m->created_ms, 1000);
    CHECK_INT(m->expires_ms, 1000 + (int64_t)(UINT32_MAX - 1) * 1000);
    hub_msg_unref(m);
    bt_clock_fake_start(0, 1000);
    p.expiry_s = HUB_EXPIRY_NOW;
    m = hub_msg_new(&p);
    bt_clock_fake_stop();
    CHECK_INT(m->expires_ms, 1000);
    hub_msg_unref(m);
}

TEST(one_block_for_a_publish)
{
    struct hub_pub p = { .topic = bt_slice_of("t"), .payload = bt_slice_of("x") };
    struct hub_msg *a = hub_pub_msg(&p), *b = hub_pub_msg(&p);

    CHECK(a != NULL && a == b);
    CHECK_INT(atomic_load(&a->refs), 3);
    hub_pub_deinit(&p);
    hub_pub_deinit(&p);
    CHECK_INT(atomic_load(&a->refs), 2);
    hub_msg_unref(a);
    hub_msg_unref(b);
}

TEST(too_long_is_refused)
{
    static uint8_t big[UINT16_MAX + 1];
    struct hub_pub topic = { .topic = { big, sizeof(big) } };
    struct hub_pub props = { .topic = bt_slice_of("t"), .props = { big, sizeof(big) } };
    struct hub_pub payload = { .topic = bt_slice_of("t"),
                               .payload = { big, UINT32_MAX } };
    struct hub_pub longest = { .topic = { big, UINT16_MAX } };
    struct hub_msg *m = hub_msg_new(&longest);

    CHECK(hub_msg_new(&topic) == NULL);
    CHECK(hub_msg_new(&props) == NULL);
    CHECK(hub_msg_new(&payload) == NULL);
    CHECK(m != NULL);
    hub_msg_unref(m);
}

TEST(out_of_memory_is_told)
{
    struct hub_pub p = { .topic = bt_slice_of("t") };
    struct hub_msg *m;

    bt_mem_fail_from(1);
    m = hub_pub_msg(&p);
    bt_mem_fail_from(0);
    CHECK(m == NULL && p.msg == NULL);
    hub_pub_deinit(&p);
    hub_msg_unref(NULL);
}
