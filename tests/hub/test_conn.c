/* Connections through a whole hub: framing, limits, time, slow readers, taking over. */
#include "hub/net/conn.c"

#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

static struct sim_client open_client(const char *id, unsigned version, bool keep)
{
    return sim_client_open(
        &(struct sim_login){ .id = id, .version = version, .keep = keep });
}

static void subscribed(const struct sim_client *cl, const char *filter, unsigned qos)
{
    struct sim_heard h;

    sim_say_subscribe(cl, filter, qos, 1);
    sim_run();
    CHECK(sim_answer(cl, &h) && h.type == BT_MQTT_SUBACK && h.reason == qos);
}

static bool lives(const struct sim_client *cl)
{
    struct sim_heard h;

    sim_say(cl, 0xc0);
    sim_run();
    return sim_answer(cl, &h) && h.type == BT_MQTT_PINGRESP;
}

/* The reason of the DISCONNECT; -1 when there was none. */
static int disconnected(const struct sim_client *cl)
{
    struct sim_heard h;

    while (sim_answer(cl, &h))
        if (h.type == BT_MQTT_DISCONNECT)
            return (int)h.reason;
    return -1;
}

TEST(packets_may_come_byte_by_byte)
{
    struct sim_client c = { NULL, 4 };
    struct sim_heard h;

    sim_begin("workers: 2\n");
    c.peer = sim_connect(1);
    c.peer->most = 1;
    sim_say_connect(c.peer, &(struct sim_login){ .id = "slow" });
    sim_say_subscribe(&c, "a", 1, 3);
    sim_say_publish(&c, "a", "hello", 1, false, 4);
    sim_say(&c, 0xc0);
    for (int i = 0; i < 10; i++)
        sim_run();
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_CONNACK);
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_SUBACK);
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_PUBLISH);
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_PUBACK);
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_PINGRESP);
    sim_end();
}

TEST(all_in_one_read)
{
    struct sim_client c = { NULL, 5 }, to;
    struct sim_heard h;

    sim_begin("workers: 3\n");
    to = open_client("watcher", 5, false);
    subscribed(&to, "a", 1);
    for (uint32_t w = 0; w < 3; w++) {
        c.peer = sim_connect(w);
        sim_say_connect(c.peer, &(struct sim_login){ .id = "quick", .version = 5 });
        sim_say_subscribe(&c, "a", 1, 3);
        sim_say_publish(&c, "a", "hello", 1, false, 4);
        sim_say(&c, 0xe0);
        sim_run();
        CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_CONNACK);
        CHECK(c.peer->gone);
        CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_PUBLISH);
        sim_say_ack(&to, 0x40, h.pid);
        CHECK(!sim_hear(&to, &h));
    }
    sim_end();
}

/* One PUBLISH whose payload has this length, all of it 'x'. */
static void say_long(const struct sim_client *c, const char *topic, size_t len)
{
    uint8_t head[16] = { 0x30 }, *payload = malloc(len);
    size_t rest = 2 + strlen(topic) + len, n = 1;

    sim_need(payload != NULL, "out of memory");
    memset(payload, 'x', len);
    n += bt_mqtt_varint(head + 1, (uint32_t)rest);
    head[n++] = 0;
    head[n++] = (uint8_t)strlen(topic);
    sim_send(c->peer, head, n);
    sim_send(c->peer, topic, strlen(topic));
    sim_send(c->peer, payload, len);
    free(payload);
}

TEST(a_packet_larger_than_the_read_buffer)
{
    struct sim_client c, to;
    struct sim_heard h;

    sim_begin("workers: 2\n");
    c = open_client("a", 4, false);
    to = open_client("b", 4, false);
    subscribed(&to, "t", 0);
    for (size_t len = HUB_SCRATCH / 2 - 8; len < 4 * HUB_SCRATCH; len = len * 3 / 2) {
        c.peer->most = len / 5;
        say_long(&c, "t", len);
        sim_run();
        CHECK(lives(&c));
        CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_PUBLISH);
        CHECK_INT(h.packet.len, len + 2 + 1 + 1 + (len + 3 > 16383 ? 3 : 2));
    }
    sim_end();
}

TEST(a_packet_over_the_limit_closes)
{
    struct sim_client c;

    sim_begin("{workers: 1, message: {length: {max: 1k}}}\n");
    for (unsigned version = 4; version <= 5; version++) {
        c = open_client("a", version, false);
        say_long(&c, "t", 1100);
        sim_run();
        CHECK(c.peer->gone);
        CHECK_INT(disconnected(&c), version == 5 ? BT_MQTT_TOO_LARGE : -1);
    }
    sim_end();
}

TEST(garbage_closes_only_its_own_connection)
{
    static const char garbage[][8] = {
        "\x10\x02zz",
        "\x30\x01",
        "\x00\x00",
        "\xf1\x00",
        "\x82\x00",
        "\x62\x02\x00\x00",
        "\xff\xff\xff\xff\xff\xff",
    };
    struct sim_client c, other;

    sim_begin("workers: 1\n");
    other = open_client("other", 4, false);
    for (size_t i = 0; i < BT_ARRAY_LEN(garbage); i++) {
        c = open_client("a", 5, false);
        sim_send(c.peer, garbage[i], 8);
        sim_run();
        CHECK(c.peer->gone);
        CHECK(disconnected(&c) >= 0x80);
        c.peer = sim_connect(0);
        sim_send(c.peer, garbage[i] + 1, 7); /* before CONNECT: not a word */
        sim_run();
        CHECK(lives(&other));
    }
    sim_end();
}

TEST(silence_ends_before_and_after_the_login)
{
    struct sim_client c = { NULL, 5 }, silent = { NULL, 5 };
    struct sim_heard h;

    sim_begin("{workers: 1, connect: {timeout: 2s}}\n");
    silent.peer = sim_connect(0);
    c.peer = sim_connect(0);
    sim_send(c.peer, "\x10\x0d\0\4MQTT\5\2\0\12\0\0\0", 15); /* keep alive 10 s */
    sim_run();
    CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_CONNACK);
    sim_pass(1900);
    CHECK(!silent.peer->gone);
    sim_pass(200);
    CHECK(silent.peer->gone);
    sim_pass(12700);
    CHECK(!c.peer->gone);
    sim_pass(200);
    CHECK(c.peer->gone);
    CHECK_INT(disconnected(&c), BT_MQTT_KEEPALIVE_TIMEOUT);
    sim_end();
}

TEST(a_slow_reader_loses_qos_0_and_keeps_qos_1)
{
    struct sim_client c, to;
    struct sim_heard h;
    unsigned kept = 0, n = 0;

    sim_begin("{workers: 1, limits: {queue: {bytes: 4k, messages: 2000}}}\n");
    c = open_client("a", 4, false);
    to = open_client("b", 4, false);
    subscribed(&to, "#", 1);
    to.peer->room = 0;
    for (unsigned i = 0; i < 500; i++) {
        sim_say_publish(&c, "zero", "0123456789012345678901234567890123456789", 0, false,
                        0);
        sim_say_publish(&c, "one", "0123456789012345678901234567890123456789", 1, false,
                        i + 1);
        sim_run();
    }
    CHECK(!to.peer->gone);
    to.peer->room = SIZE_MAX;
    for (unsigned i = 0; i < 100; i++) {
        sim_run();
        while (sim_hear(&to, &h)) {
            if (h.type == BT_MQTT_PUBLISH && h.qos == 1) {
                kept++;
                sim_say_ack(&to, 0x40, h.pid);
            }
            n++;
        }
    }
    CHECK_INT(kept, 500);
    CHECK(n < 600);
    sim_end();
}

TEST(every_worker_passes_a_connection_to_its_home)
{
    static const char *const ids[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    struct sim_client c = { NULL, 4 };
    struct sim_heard h;

    sim_begin("workers: 4\n");
    for (size_t i = 0; i < BT_ARRAY_LEN(ids); i++) {
        c.peer = sim_connect((uint32_t)i % 4);
        sim_say_connect(c.peer, &(struct sim_login){ .id = ids[i] });
        sim_run();
        CHECK(sim_hear(&c, &h) && h.type == BT_MQTT_CONNACK);
        CHECK(lives(&c));
    }
    CHECK_INT(sim.hub->n_conns, BT_ARRAY_LEN(ids));
    sim_end();
    CHECK_INT(bt_metric_get(&hub_m_conns), 0);
}

TEST(the_newer_connection_takes_over)
{
    struct sim_client old, now;

    sim_begin("workers: 2\n");
    old = open_client("same", 5, true);
    now = open_client("same", 5, true);
    CHECK(old.peer->gone);
    CHECK_INT(disconnected(&old), BT_MQTT_TAKEN_OVER);
    CHECK(lives(&now));
    sim_end();
}

/* More publishes than may wait for their commit: the hub stops reading, then goes on. */
TEST(a_publisher_waits_for_the_store)
{
    struct sim_client c, to;
    struct sim_heard h;
    unsigned n = 0;

    sim_begin("workers: 1\n");
    c = open_client("a", 4, false);
    to = open_client("b", 4, true);
    subscribed(&to, "t", 1);
    sim_client_break(&to);
    for (unsigned i = 0; i < HUB_MAX_UNACKED * 3; i++)
        sim_say_publish(&c, "t", "x", 1, false, i + 1);
    sim.n_loops--; /* the store gets no turn */
    sim_run();
    CHECK(!sim_hear(&c, &h));
    sim.n_loops++;
    for (int i = 0; i < 10; i++)
        sim_run();
    while (sim_hear(&c, &h)) {
        CHECK_INT(h.type, BT_MQTT_PUBACK);
        CHECK_INT(h.pid, ++n);
    }
    CHECK_INT(n, HUB_MAX_UNACKED * 3);
    sim_end();
}

TEST(wills_are_published_unless_the_client_says_goodbye)
{
    struct sim_client c, watcher;
    struct sim_heard h;

    sim_begin("workers: 2\n");
    watcher = open_client("watcher", 4, false);
    subscribed(&watcher, "will", 0);
    for (int goodbye = 0; goodbye <= 1; goodbye++) {
        c = sim_client_open(&(struct sim_login){
            .id = "a", .will_topic = "will", .will_payload = "gone" });
        if (goodbye)
            sim_say(&c, 0xe0);
        sim_run();
        sim_client_break(&c);
        sim_run();
        CHECK_INT(sim_hear(&watcher, &h), !goodbye);
    }
    sim_end();
}
