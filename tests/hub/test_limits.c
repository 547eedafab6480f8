/* Limits of one client in a whole hub: rates, sizes, stalls, connections without CONNECT,
 * and a reload that changes them. */
#include "hub/access/meter.c"

#include "hub/settings.h"
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

static struct sim_client open_client(const char *id, unsigned version)
{
    return sim_client_open(&(struct sim_login){ .id = id, .version = version });
}

/* The hub's end of the newest logged-in client. */
static struct hub_conn *newest(void)
{
    return bt_list_entry(sim.hub->workers[0]->conns.prev, struct hub_conn, all);
}

static unsigned acked(const struct sim_client *c)
{
    struct sim_heard h;
    unsigned n = 0;

    while (sim_hear(c, &h))
        n += h.type == BT_MQTT_PUBACK;
    return n;
}

/* Time goes by for a paused connection as well. */
static void pass(struct hub_conn *c, uint64_t ms)
{
    sim_pass(ms);
    if (c->guard != NULL && bt_timer_active(&c->guard->timer))
        c->guard->timer.fn(&c->guard->timer);
    sim_run();
}

static int64_t limited(enum hub_limit what)
{
    return bt_metric_get(&metrics[what]);
}

TEST(a_fast_publisher_waits)
{
    struct sim_client c;
    struct hub_conn *conn;
    unsigned n;

    sim_begin("{workers: 1, limits: {client: {messages: {rate: 10, burst: 5}}}}\n");
    c = open_client("fast", 4);
    conn = newest();
    for (unsigned i = 1; i <= 30; i++)
        sim_say_publish(&c, "a", "x", 1, false, i);
    sim_run();
    n = acked(&c);
    CHECK_INT(n, 5);
    CHECK_INT(conn->paused, HUB_PAUSE_RATE);
    CHECK(limited(HUB_LIMIT_MESSAGE_RATE) > 0);
    for (int i = 0; i < 10; i++)
        pass(conn, 100);
    n += acked(&c);
    CHECK(n >= 14 && n <= 16);
    for (int i = 0; i < 30; i++)
        pass(conn, 100);
    CHECK_INT(n + acked(&c), 30);
    sim_end();
}

TEST(bytes_are_measured_with_everything_around_them)
{
    static const char text[] = "0123456789012345678901234567890123456789"
                               "0123456789012345678901234567890123456789";
    struct sim_client c;
    struct hub_conn *conn;
    unsigned n;

    sim_begin("{workers: 1, limits: {client: {bytes: {rate: 1000}}}}\n");
    c = open_client("fast", 4);
    conn = newest();
    for (unsigned i = 1; i <= 40; i++)
        sim_say_publish(&c, "a", text, 1, false, i);
    sim_run();
    n = acked(&c);
    CHECK(n >= 10 && n <= 13);
    CHECK(limited(HUB_LIMIT_BYTE_RATE) > 0);
    for (int i = 0; i < 50; i++)
        pass(conn, 100);
    CHECK_INT(n + acked(&c), 40);
    sim_end();
}

TEST(an_unlimited_client_has_no_guard)
{
    sim_begin("workers: 1\n");
    open_client("free", 4);
    CHECK(newest()->guard == NULL);
    sim_end();
}

TEST(a_large_packet_closes)
{
    struct sim_client c;
    struct sim_heard h;
    char text[200];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sim_begin("{workers: 1, limits: {client: {packet: 100}}}\n");
    c = open_client("big", 5);
    sim_say_publish(&c, "a", "small", 1, false, 1);
    sim_run();
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_PUBACK);
    sim_say_publish(&c, "a", text, 1, false, 2);
    sim_run();
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_DISCONNECT &&
          h.reason == BT_MQTT_TOO_LARGE);
    CHECK(c.peer->gone);
    sim_end();
}

TEST(a_packet_that_was_begun_has_to_arrive)
{
    struct sim_client c, idle;

    sim_begin("{workers: 1, limits: {stall: {receive: 5s}}}\n");
    idle = open_client("idle", 4);
    c = open_client("slow", 4);
    sim_send(c.peer, "\x30\xff\x7f\x00", 4);
    sim_run();
    for (int i = 0; i < 10; i++)
        sim_pass(HUB_TICK_MS);
    CHECK(!c.peer->gone);
    for (int i = 0; i < 4; i++)
        sim_pass(HUB_TICK_MS);
    CHECK(c.peer->gone && !idle.peer->gone);
    CHECK_INT(limited(HUB_LIMIT_STALLED_WRITER), 1);
    sim_end();
}

TEST(a_packet_may_come_slowly)
{
    static const char kib[1024];
    struct sim_client c;

    sim_begin("{workers: 1, limits: {stall: {receive: 5s}}}\n");
    c = open_client("slow", 4);
    sim_send(c.peer, "\x30\x80\x80\x02\x00\x01x", 7); /* 32 KiB */
    for (int i = 0; i < 31; i++) {
        sim_send(c.peer, kib, sizeof(kib));
        sim_pass(1000);
    }
    CHECK(!c.peer->gone);
    CHECK_INT(newest()->in.len, 7 + 31 * 1024);
    sim_send(c.peer, kib, 1021);
    sim_run();
    CHECK_INT(newest()->in.len, 0);
    CHECK_INT(newest()->in_ticks, 0);
    sim_end();
}

TEST(a_client_that_takes_nothing_is_closed)
{
    struct sim_client from, to;
    struct sim_heard h;

    sim_begin("{workers: 1, limits: {stall: {send: 4s}}}\n");
    from = open_client("from", 4);
    to = open_client("to", 4);
    sim_say_subscribe(&to, "a", 0, 1);
    sim_run();
    CHECK(sim_answer(&to, &h));
    to.peer->room = 20; /* takes a little now and then */
    for (int i = 0; i < 20; i++) {
        sim_say_publish(&from, "a", "0123456789", 0, false, 0);
        sim_pass(HUB_TICK_MS);
        if (i % 4 == 0) {
            struct hub_conn *c = newest();

            to.peer->room = 5;
            c->blocked = false;
            hub_conn_flush(c);
        }
    }
    CHECK(!to.peer->gone);
    for (int i = 0; i < 12; i++)
        sim_pass(HUB_TICK_MS);
    CHECK(to.peer->gone && !from.peer->gone);
    CHECK_INT(limited(HUB_LIMIT_STALLED_READER), 1);
    sim_end();
}

TEST(the_oldest_without_connect_gives_way)
{
    struct sim_peer *silent[5];
    struct sim_client live, late;

    sim_begin("{workers: 1, limits: {connect: {pending: 2}}}\n");
    live = open_client("live", 4);
    for (size_t i = 0; i < 5; i++) {
        silent[i] = sim_connect(0);
        sim_run();
    }
    CHECK(silent[0]->gone && silent[1]->gone && silent[2]->gone);
    CHECK(!silent[3]->gone && !silent[4]->gone);
    CHECK_INT(sim.hub->workers[0]->n_fresh, 2);
    late = open_client("late", 4);
    CHECK(!live.peer->gone && !late.peer->gone);
    CHECK_INT(sim.hub->workers[0]->n_fresh, 1);
    sim_end();
}

TEST(a_subscription_too_many)
{
    struct sim_client c;
    struct sim_heard h;
    static const char *const filters[] = { "a", "b", "c", "a" };
    static const unsigned want[] = { 0, 0, BT_MQTT_QUOTA, 0 };

    sim_begin("{workers: 1, limits: {client: {subscriptions: 2}}}\n");
    c = open_client("many", 5);
    for (unsigned i = 0; i < 4; i++) {
        sim_say_subscribe(&c, filters[i], 0, i + 1);
        sim_run();
        CHECK(sim_answer(&c, &h) && h.type == BT_MQTT_SUBACK);
        CHECK_INT(h.reason, want[i]);
    }
    CHECK_INT(limited(HUB_LIMIT_SUBSCRIPTIONS), 1);
    sim_end();
}

/* The reload's main-thread half and the workers' half, on one thread. */
static int reload(const char *yaml)
{
    static struct hub_conf conf;
    struct bt_conf_ctx *ctx = bt_conf_new();
    int r;

    CHECK_INT(bt_conf_load_text(ctx, "new", yaml, strlen(yaml), &hub_conf_table, &conf),
              0);
    conf.listen.n = 0;
    r = hub_reload(sim.hub, &conf, ctx);
    bt_conf_free(ctx);
    sim_run();
    return r;
}

TEST(a_reload_limits_and_frees_who_is_there)
{
    struct sim_client c;
    struct hub_conn *conn;
    unsigned n;

    sim_begin("workers: 1\n");
    c = open_client("c", 4);
    conn = newest();
    CHECK_INT(reload("{workers: 1, limits: {client: {messages: {rate: 1}}}}\n"), 0);
    CHECK(conn->guard != NULL);
    for (unsigned i = 1; i <= 10; i++)
        sim_say_publish(&c, "a", "x", 1, false, i);
    sim_run();
    n = acked(&c);
    CHECK(n < 3);
    CHECK_INT(conn->paused, HUB_PAUSE_RATE);
    CHECK_INT(reload("workers: 1\n"), 0);
    CHECK_INT(n + acked(&c), 10);
    CHECK(conn->guard == NULL && conn->paused == 0);
    sim_end();
}

TEST(a_reload_without_memory_changes_nothing)
{
    struct hub_settings *before;
    struct sim_client c;
    static struct hub_conf conf;
    struct bt_conf_ctx *ctx = bt_conf_new();
    static const char yaml[] = "{anonymous: false, principals: [{username: a, password: "
                               "b, permissions: [{action: pub, permit: [a]}]}]}\n";
    unsigned long nth = 1;

    sim_begin("{workers: 2, anonymous: true}\n");
    c = open_client("c", 5);
    before = sim.hub->settings;
    CHECK_INT(
        bt_conf_load_text(ctx, "new", yaml, sizeof(yaml) - 1, &hub_conf_table, &conf), 0);
    conf.listen.n = 0;
    for (;; nth++) {
        int r;

        bt_mem_fail_from(nth);
        r = hub_reload(sim.hub, &conf, ctx);
        bt_mem_fail_from(0);
        if (r == 0)
            break;
        CHECK_INT(r, BT_ENOMEM);
        CHECK(sim.hub->settings == before);
        sim_run();
        CHECK(sim.hub->workers[0]->settings == before && !c.peer->gone);
    }
    CHECK(nth > 5);
    bt_conf_free(ctx);
    sim_run();
    CHECK(sim.hub->workers[0]->settings != before);
    CHECK(c.peer->gone); /* anonymous no more */
    sim_end();
}
