#include "hub/access/throttle.c"

#include "hub/net/ip.c"
#include "tests/harness.h"

static struct hub_ip v4(uint32_t n)
{
    struct hub_ip ip = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } };

    for (int i = 0; i < 4; i++)
        ip.b[15 - i] = (uint8_t)(n >> 8 * i);
    return ip;
}

static struct hub_ip v6(uint8_t net, uint8_t host)
{
    return (struct hub_ip){ { 0x20, 1, 0, 0, 0, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, host } };
}

/* Works. */

TEST(texts)
{
    char text[HUB_IP_TEXT];

    CHECK_STR(hub_ip_text(v4(0x0a000001), text), "10.0.0.1");
    CHECK_STR(hub_ip_text(v6(3, 9), text), "2001:0:0:3::9");
    CHECK_STR(hub_ip_text((struct hub_ip){ { 0 } }, text), "local");
    CHECK_STR(hub_ip_text(hub_ip_of(-1), text), "local");
}

TEST(the_pause_grows_and_is_bounded)
{
    static const int want[] = { 0, 0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000 };
    struct hub_throttle *t = hub_throttle_new();
    uint64_t now = 1000000;

    for (size_t i = 0; i < BT_ARRAY_LEN(want); i++) {
        CHECK_INT(hub_throttle_login(t, v4(1), now), want[i]);
        now += (uint64_t)want[i];
        hub_throttle_failed(t, v4(1), now);
    }
    CHECK_INT(hub_throttle_login(t, v4(2), now), 0);
    hub_throttle_free(t);
    hub_throttle_free(NULL);
}

TEST(attempts_side_by_side_gain_nothing)
{
    struct hub_throttle *t = hub_throttle_new();
    int seen = 0, refused = 0;

    for (int i = 0; i < 20; i++)
        hub_throttle_failed(t, v4(1), 5000);
    for (int i = 0; i < 1000; i++) {
        int wait = hub_throttle_login(t, v4(1), 5000);

        if (wait == HUB_THROTTLE_FULL)
            refused++;
        else
            CHECK_INT(wait, ++seen * 4000);
    }
    CHECK_INT(seen, 2);
    CHECK_INT(refused, 998);
    hub_throttle_free(t);
}

TEST(failures_are_forgotten)
{
    struct hub_throttle *t = hub_throttle_new();

    for (int i = 0; i < 4; i++)
        hub_throttle_failed(t, v4(1), 1000);
    CHECK_INT(hub_throttle_login(t, v4(1), 1000), 500);
    CHECK_INT(hub_throttle_login(t, v4(1), 11000), 250);
    CHECK_INT(hub_throttle_login(t, v4(1), 21000), 0);
    CHECK_INT(hub_throttle_login(t, v4(1), 3600000), 0);
    hub_throttle_free(t);
}

TEST(an_ipv6_host_is_its_network)
{
    struct hub_throttle *t = hub_throttle_new();

    for (uint8_t i = 0; i < 10; i++)
        hub_throttle_failed(t, v6(1, i), 1000);
    CHECK(hub_throttle_login(t, v6(1, 200), 1000) != 0);
    CHECK_INT(hub_throttle_login(t, v6(2, 1), 1000), 0);
    hub_throttle_free(t);
}

TEST(the_table_is_bounded_and_keeps_the_newest)
{
    struct hub_throttle *t = hub_throttle_new();

    for (int i = 0; i < 9; i++)
        hub_throttle_failed(t, v4(7), 1000);
    for (uint32_t i = 100; i < 100 + ENTRIES - 1; i++)
        hub_throttle_failed(t, v4(i), 1000);
    CHECK_INT(t->n, ENTRIES);
    CHECK(hub_throttle_login(t, v4(7), 1000) != 0);
    for (uint32_t i = 0; i < 3 * ENTRIES; i++)
        hub_throttle_failed(t, v4(1000000 + i), 1000);
    CHECK_INT(t->n, ENTRIES);
    CHECK_INT(hub_throttle_login(t, v4(7), 1000), 0);
    hub_throttle_free(t);
}

TEST(connections_of_one_address)
{
    struct hub_throttle *t = hub_throttle_new();
    int ok = 0;

    for (int i = 0; i < 100; i++)
        ok += hub_throttle_connect(t, v4(1), 10, 1000);
    CHECK_INT(ok, 20);
    CHECK(hub_throttle_connect(t, v4(2), 10, 1000));
    for (uint64_t ms = 1100; ms <= 11000; ms += 100)
        ok += hub_throttle_connect(t, v4(1), 10, ms);
    CHECK_INT(ok, 120);
    hub_throttle_free(t);
}

TEST(a_bucket_over_time)
{
    struct hub_bucket b = { 0 };

    CHECK_INT(hub_bucket_left(&b, 100, 50, 0), 50);
    hub_bucket_use(&b, 60);
    CHECK_INT(hub_bucket_left(&b, 100, 50, 0), -10);
    CHECK_INT(hub_bucket_wait(&b, 100), 110);
    CHECK_INT(hub_bucket_left(&b, 100, 50, 110), 1);
    CHECK_INT(hub_bucket_wait(&b, 100), 0);
    CHECK_INT(hub_bucket_left(&b, 100, 50, 10000), 50);
    /* One use, however large, is paid for 10 s. */
    hub_bucket_use(&b, 1000000);
    CHECK_INT(hub_bucket_wait(&b, 100), 10000);
    CHECK(hub_bucket_left(&b, 100, 50, 20010) >= 0);
}

/* Fails. */

TEST(without_memory_nobody_is_slowed)
{
    struct hub_throttle *t = hub_throttle_new();

    bt_mem_fail_from(1);
    for (int i = 0; i < 10; i++)
        hub_throttle_failed(t, v4(1), 1000);
    CHECK(hub_throttle_connect(t, v4(1), 1, 1000));
    CHECK(hub_throttle_new() == NULL);
    bt_mem_fail_from(0);
    CHECK_INT(hub_throttle_login(t, v4(1), 1000), 0);
    hub_throttle_free(t);
}
