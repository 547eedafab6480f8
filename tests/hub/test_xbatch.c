#include "hub/route/xbatch.c"

#include "tests/harness.h"

static struct bt_slice slice(const void *p, size_t n)
{
    return (struct bt_slice){ p, n };
}

static bool same(struct bt_slice a, struct bt_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

TEST(small_ones_are_copied_and_come_out_in_order)
{
    struct hub_xbatch *b = hub_xbatch_new();
    struct hub_xitem *it = NULL;
    uint8_t payload[700];
    struct hub_pub out;

    CHECK(b != NULL);
    memset(payload, 'x', sizeof(payload));
    /* Enough for several chunks; every length, so that the alignment matters. */
    for (size_t n = 0; n < sizeof(payload); n++) {
        struct hub_pub pub = { .topic = slice("a/b", 3),
                               .props = slice("pp", 2),
                               .payload = slice(payload, n),
                               .qos = 1,
                               .retain = n % 2 == 1,
                               .expiry_s = (uint32_t)n };

        it = hub_xbatch_add(b, &pub, false);
        CHECK(it != NULL && it->msg == NULL);
        CHECK(pub.msg == NULL);
        it->group = -1;
    }
    it = NULL;
    for (size_t n = 0; n < sizeof(payload); n++) {
        it = hub_xbatch_next(b, it);
        CHECK(it != NULL && it->group == -1 && it->ticket == NULL);
        hub_xitem_pub(it, &out);
        CHECK(same(out.topic, slice("a/b", 3)) && same(out.props, slice("pp", 2)));
        CHECK(same(out.payload, slice(payload, n)));
        CHECK(out.qos == 1 && out.retain == (n % 2 == 1) && out.expiry_s == n);
    }
    CHECK(hub_xbatch_next(b, it) == NULL);
    hub_xbatch_free(b);
}

TEST(what_must_be_shared_travels_as_a_reference)
{
    struct hub_xbatch *b = hub_xbatch_new();
    uint8_t large[HUB_XITEM_COPY_MAX + 1] = { 0 };
    struct hub_pub big = { .topic = slice("t", 1),
                           .payload = slice(large, sizeof(large)) };
    struct hub_pub kept = { .topic = slice("t", 1), .qos = 1 };
    struct hub_xitem *it;
    struct hub_pub out;

    it = hub_xbatch_add(b, &big, false);
    CHECK(it != NULL && it->msg == big.msg && it->msg != NULL);
    CHECK_INT(atomic_load(&big.msg->refs), 2);
    it = hub_xbatch_add(b, &kept, true);
    CHECK(it != NULL && it->msg == kept.msg && it->msg != NULL);
    hub_xitem_pub(it, &out);
    CHECK(out.msg == kept.msg && out.qos == 1);
    it = NULL;
    while ((it = hub_xbatch_next(b, it)) != NULL)
        hub_msg_unref(it->msg);
    hub_pub_deinit(&big);
    hub_pub_deinit(&kept);
    hub_xbatch_free(b);
}

TEST(no_memory_leaves_the_batch_as_it_was)
{
    struct hub_xbatch *b = hub_xbatch_new();
    struct hub_pub pub = { .topic = slice("t", 1) };

    bt_mem_fail_from(1);
    CHECK(hub_xbatch_add(b, &pub, false) == NULL);
    bt_mem_fail_from(1);
    CHECK(hub_xbatch_add(b, &pub, true) == NULL);
    bt_mem_fail_from(0);
    CHECK(hub_xbatch_next(b, NULL) == NULL);
    CHECK(hub_xbatch_add(b, &pub, false) != NULL);
    CHECK(hub_xbatch_next(b, NULL) != NULL);
    hub_xbatch_free(b);
}
