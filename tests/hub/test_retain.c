/* Retained messages: replacing, removing, wildcards, the $ rule, expiry, memory failures.
 */
#include "tests/harness.h"

#include "core/clock.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "hub/route/retain.c"

static struct hub_msg *message(const char *topic, int64_t expires_ms)
{
    struct hub_pub pub = { .topic = bt_slice_of(topic),
                           .payload = bt_slice_of("x"),
                           .retain = true };
    struct hub_msg *m = hub_msg_new(&pub);

    if (m != NULL)
        m->expires_ms = expires_ms;
    return m;
}

static void put(struct hub_retain *r, const char *topic, int64_t expires_ms)
{
    struct hub_msg *m = message(topic, expires_ms);

    CHECK(m != NULL);
    CHECK_INT(hub_retain_put(r, m), 0);
    hub_msg_unref(m);
}

static size_t found(struct hub_retain *r, const char *filter, int64_t now_ms)
{
    struct hub_retain_set set;
    size_t n;

    CHECK_INT(hub_retain_match(r, bt_slice_of(filter), now_ms, &set), 0);
    n = set.n;
    for (size_t i = 0; i < n; i++)
        CHECK(bt_mqtt_match(bt_slice_of(filter), hub_msg_topic(set.items[i])));
    hub_retain_set_deinit(&set);
    hub_retain_set_deinit(&set);
    return n;
}

static const char *const topics[] = { "a",    "a/",   "a/b", "a/b/c", "/",
                                      "/a",   "//",   "b",   "$SYS",  "$SYS/x",
                                      "a//b", "b/$x", " ",   "a/c/c", "$SYS/x/y" };

TEST(wildcards)
{
    static const char *const filters[] = { "#",     "+",    "a",     "a/#",     "a/+",
                                           "+/+",   "/#",   "/+",    "$SYS/#",  "$SYS/+",
                                           "a/+/c", "+/#",  "a/b/#", "a/b/c/#", "nothing",
                                           "b/#",   "$SYS", "+/+/c", "a/+/#" };
    struct hub_retain *r = hub_retain_new();

    for (size_t i = 0; i < BT_ARRAY_LEN(topics); i++)
        put(r, topics[i], 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(filters); i++) {
        size_t want = 0;

        for (size_t k = 0; k < BT_ARRAY_LEN(topics); k++)
            want += bt_mqtt_match(bt_slice_of(filters[i]), bt_slice_of(topics[k]));
        if (found(r, filters[i], 0) != want)
            printf("filter %s\n", filters[i]);
        CHECK_INT(found(r, filters[i], 0), want);
    }
    CHECK_INT(hub_retain_count(r), BT_ARRAY_LEN(topics));
    for (size_t i = 0; i < BT_ARRAY_LEN(topics); i++)
        CHECK(hub_retain_del(r, bt_slice_of(topics[i])));
    CHECK_INT(hub_retain_count(r), 0);
    CHECK_INT(r->trie.n, 0);
    hub_retain_free(r);
}

TEST(newest_replaces)
{
    struct hub_retain *r = hub_retain_new();
    struct hub_msg *m = message("a/b", 0);
    struct hub_retain_set set;

    put(r, "a/b", 0);
    CHECK_INT(hub_retain_put(r, m), 0);
    CHECK_INT(hub_retain_count(r), 1);
    CHECK_INT(hub_retain_match(r, bt_slice_of("a/b"), 0, &set), 0);
    CHECK_INT(set.n, 1);
    CHECK(set.items[0] == m);
    hub_retain_set_deinit(&set);
    CHECK(!hub_retain_del(r, bt_slice_of("a")));
    CHECK(!hub_retain_del(r, bt_slice_of("a/b/c")));
    CHECK(hub_retain_del(r, bt_slice_of("a/b")));
    CHECK(!hub_retain_del(r, bt_slice_of("a/b")));
    CHECK_INT(atomic_load(&m->refs), 1);
    hub_msg_unref(m);
    hub_retain_free(r);
}

TEST(expired_are_passed_over)
{
    struct hub_retain *r = hub_retain_new();

    put(r, "a/1", 1000);
    put(r, "a/2", 0);
    CHECK_INT(found(r, "a/+", 999), 2);
    CHECK_INT(found(r, "a/+", 1000), 1);
    CHECK_INT(found(r, "a/1", 1001), 0);
    hub_retain_free(r);
    hub_retain_free(NULL);
}

TEST(no_memory)
{
    struct hub_msg *m[40];
    char topic[32];
    bool done = false;

    for (size_t i = 0; i < 40; i++) {
        snprintf(topic, sizeof(topic), "a/%zu/x", i);
        m[i] = message(topic, 0);
    }
    for (unsigned long nth = 1; !done; nth++) {
        struct hub_retain_set set = { 0 };
        struct hub_retain *r;
        size_t kept = 0;
        int rc = BT_ENOMEM;

        bt_mem_fail_from(nth);
        r = hub_retain_new();
        for (size_t i = 0; r != NULL && i < 40; i++)
            kept += hub_retain_put(r, m[i]) == 0;
        if (r != NULL)
            rc = hub_retain_match(r, bt_slice_of("a/+/x"), 0, &set);
        bt_mem_fail_from(0);
        if (r != NULL)
            CHECK_INT(found(r, "#", 0), kept);
        CHECK_INT(set.n, rc == 0 ? kept : 0);
        done = rc == 0 && kept == 40;
        hub_retain_set_deinit(&set);
        hub_retain_free(r);
        for (size_t i = 0; i < 40; i++)
            CHECK_INT(atomic_load(&m[i]->refs), 1);
    }
    for (size_t i = 0; i < 40; i++)
        hub_msg_unref(m[i]);
}

static struct hub_msg *expiring(const char *topic, uint32_t expiry_s)
{
    struct hub_pub pub = { .topic = { (const uint8_t *)topic, strlen(topic) },
                           .payload = { (const uint8_t *)"m", 1 },
                           .retain = true,
                           .expiry_s = expiry_s };

    return hub_msg_new(&pub);
}

TEST(the_sweep_finds_all_that_expired)
{
    struct hub_retain *r = hub_retain_new();
    struct hub_retain_set gone;
    char topic[32];
    int64_t now;
    size_t n = 0, rounds = 0;

    bt_clock_fake_start(0, 1000000);
    for (unsigned i = 0; i < 3000; i++) {
        struct hub_msg *m;

        snprintf(topic, sizeof(topic), "s/%u/x", i);
        m = expiring(topic, i % 3 == 0 ? 0 : i % 3 == 1 ? 10 : 1000);
        CHECK_INT(hub_retain_put(r, m), 0);
        hub_msg_unref(m);
    }
    now = 1000000 + 20000;
    for (; n < 1000 && rounds < 10000; rounds++) {
        CHECK(hub_retain_sweep(r, now, 64, &gone));
        for (size_t i = 0; i < gone.n; i++)
            CHECK_INT(gone.items[i]->expires_ms, 1000000 + 10000);
        n += gone.n;
        hub_retain_set_deinit(&gone);
    }
    CHECK_INT(n, 1000);
    CHECK(rounds < 400);
    CHECK_INT(hub_retain_count(r), 2000);
    while (hub_retain_sweep(r, INT64_MAX, 1000, &gone)) {
        n += gone.n;
        hub_retain_set_deinit(&gone);
    }
    n += gone.n;
    hub_retain_set_deinit(&gone);
    CHECK_INT(n, 2000);
    CHECK_INT(hub_retain_count(r), 1000);
    hub_retain_free(r);
    bt_clock_fake_stop();
}

TEST(a_replaced_message_does_not_expire)
{
    struct hub_retain *r = hub_retain_new();
    struct hub_retain_set gone;
    struct hub_msg *a = expiring("t", 10), *b = expiring("t", 0);

    CHECK_INT(hub_retain_put(r, a), 0);
    CHECK_INT(hub_retain_put(r, b), 0);
    CHECK(!hub_retain_sweep(r, INT64_MAX, 1000, &gone));
    CHECK_INT(gone.n, 0);
    CHECK_INT(hub_retain_count(r), 1);
    hub_msg_unref(a);
    hub_msg_unref(b);
    hub_retain_free(r);
}
