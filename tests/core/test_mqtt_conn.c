/* The client's life: login, keeping alive, losing the connection and coming back. */
#include "core/mqtt_conn.c"

#include "tests/core/conn_sim.h"
#include "tests/harness.h"

static struct bt_mqtt_packet p;

static void expect(char what)
{
    const struct sim_event *e = sim_event();

    if (e->what != what)
        TEST_END_(1, "event '%c' (%s), expected '%c'", e->what ? e->what : '-', e->text,
                  what ? what : '-');
}

static void setup(void)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    CHECK_INT(sim_start(&conf), 0);
}

static void setup_up(bool present)
{
    setup();
    sim_login(present);
    expect('U');
}

/* Works. */

TEST(login)
{
    setup();
    CHECK_INT(sim.opens, 1);
    CHECK_STR(sim.conf.address.host, "broker");
    CHECK_STR(sim.conf.address.port, "1883");
    sim.conf.on_open(sim.conf.arg);
    CHECK_INT(sim_take(&p), BT_MQTT_CONNECT);
    CHECK_INT(p.connect.version, 5);
    CHECK(!p.connect.clean);
    CHECK_INT(p.connect.keepalive, 10);
    CHECK_INT(p.props.receive_max, 4);
    CHECK_INT(p.props.max_packet, 4096);
    CHECK_INT(p.props.session_expiry, 3600);
    CHECK_INT(sim_take(&p), 0);
    sim_connack(true, 0, NULL);
    CHECK_INT(sim_take(&p), BT_MQTT_SUBSCRIBE);
    CHECK_INT(p.pid, CONN_SUB_PID);
    expect(0);
    CHECK(!bt_mqtt_conn_is_up(sim.c));
    sim_suback(1);
    CHECK_INT(sim_event()->number, 1);
    CHECK(bt_mqtt_conn_is_up(sim.c));
    bt_mqtt_conn_close(sim.c);
    sim.c = NULL;
    CHECK_INT(sim_take(&p), BT_MQTT_DISCONNECT);
    CHECK_INT(p.reason, 0);
    CHECK_INT(sim.closes, 1);
    sim_end();
}

TEST(older_broker_answers_in_its_version)
{
    setup();
    sim.conf.on_open(sim.conf.arg);
    sim.version = BT_MQTT_311;
    sim_connack(false, BT_MQTT_BAD_VERSION, NULL);
    CHECK_INT(sim.opens, 2);
    expect(0);
    sim.conf.on_open(sim.conf.arg);
    CHECK_INT(sim_take(&p), BT_MQTT_CONNECT);
    CHECK_INT(p.connect.version, 4);
    sim_connack(false, 0, NULL);
    CHECK_INT(sim_take(&p), BT_MQTT_SUBSCRIBE);
    sim_suback(0);
    expect('U');
    CHECK_INT(bt_mqtt_conn_version(sim.c), 4);
    sim_end();
}

TEST(older_broker_closes_without_a_word)
{
    setup();
    sim.conf.on_open(sim.conf.arg);
    sim_cut();
    CHECK_INT(sim.opens, 2);
    expect(0);
    sim.conf.on_open(sim.conf.arg);
    CHECK_INT(sim_take(&p), BT_MQTT_CONNECT);
    CHECK_INT(p.connect.version, 4);
    sim_cut();
    expect('D');
    /* And from the beginning. */
    sim_wait(1000);
    CHECK_INT(sim.opens, 3);
    sim.conf.on_open(sim.conf.arg);
    CHECK_INT(sim_take(&p), BT_MQTT_CONNECT);
    CHECK_INT(p.connect.version, 5);
    sim_end();
}

TEST(a_version_that_was_asked_for_stays)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    conf.connect.version = BT_MQTT_50;
    CHECK_INT(sim_start(&conf), 0);
    sim.conf.on_open(sim.conf.arg);
    sim_connack(false, BT_MQTT_BAD_VERSION, NULL);
    expect('D');
    CHECK_INT(sim.opens, 1);
    sim_end();
}

TEST(keeps_alive)
{
    setup_up(false);
    sim_wait(9999);
    CHECK_INT(sim_take(&p), 0);
    sim_wait(1);
    CHECK_INT(sim_take(&p), BT_MQTT_PINGREQ);
    sim_raw("\xd0\x00", 2);
    sim_wait(9999);
    CHECK_INT(sim_take(&p), 0);
    sim_wait(1);
    CHECK_INT(sim_take(&p), BT_MQTT_PINGREQ);
    expect(0);
    sim_end();
}

TEST(pauses_grow_and_start_over)
{
    uint32_t max = 500;

    setup();
    for (int i = 0; i < 8; i++) {
        const struct sim_event *e;

        sim.conf.on_failed(sim.conf.arg, "no route");
        e = sim_event();
        CHECK_INT(e->what, 'D');
        CHECK_STR(e->text, "no route");
        CHECK(e->retry >= max / 2 && e->retry <= max);
        sim_wait(max);
        max = BT_MIN(max * 2, 8000u);
    }
    sim_login(false);
    expect('U');
    sim_wait(BT_MQTT_CONN_STABLE_MS - 1000);
    sim_raw("\xd0\x00", 2);
    sim_wait(1000);
    sim_cut();
    CHECK(sim_event()->retry <= 500);
    sim_end();
}

TEST(a_broker_that_throws_out_at_once_is_not_hammered)
{
    setup();
    for (int i = 0; i < 6; i++) {
        sim_login(false);
        expect('U');
        sim_cut();
        expect('D');
        sim_wait(8000);
    }
    sim_login(false);
    sim_cut();
    expect('U');
    CHECK(sim_event()->retry >= 4000);
    sim_end();
}

TEST(no_reconnect)
{
    struct bt_mqtt_conn_conf conf = sim_conf();
    struct bt_mqtt_publish m = { .qos = 1, .topic = sim_text("t") };

    conf.interval_ms = 0;
    CHECK_INT(sim_start(&conf), 0);
    sim_login(false);
    sim_cut();
    expect('U');
    CHECK_INT(sim_event()->retry, 0);
    sim_wait(100000);
    CHECK_INT(sim.opens, 1);
    CHECK_INT(bt_mqtt_conn_publish(sim.c, &m, NULL, 1), BT_ECLOSED);
    sim_end();
}

TEST(the_server_may_shorten_the_keepalive)
{
    struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_SERVER_KEEPALIVE,
                                   .server_keepalive = 3 };

    setup();
    sim.conf.on_open(sim.conf.arg);
    (void)sim_take(&p);
    sim_connack(false, 0, &props);
    (void)sim_take(&p);
    sim_suback(2);
    sim_wait(3000);
    CHECK_INT(sim_take(&p), BT_MQTT_PINGREQ);
    sim_end();
}

TEST(paused)
{
    setup_up(false);
    bt_mqtt_conn_pause(sim.c, true);
    CHECK_INT(sim.wanted, 0);
    sim_publish(0, 0, false, "x");
    expect(0);
    /* Pings go on, and no answer is missed. */
    for (int i = 0; i < 5; i++) {
        sim_wait(10000);
        CHECK_INT(sim_take(&p), BT_MQTT_PINGREQ);
    }
    expect(0);
    bt_mqtt_conn_pause(sim.c, false);
    sim_wait(0);
    expect('M');
    CHECK_INT(sim.wanted, BT_READ);
    sim_end();
}

TEST(closed_in_each_callback)
{
    static const char when[] = "UMPD";

    for (size_t i = 0; i < 4; i++) {
        struct bt_mqtt_publish m = { .qos = 1, .topic = sim_text("t") };

        setup();
        sim.close_at = when[i];
        sim_login(false);
        if (sim.c != NULL) {
            CHECK_INT(bt_mqtt_conn_publish(sim.c, &m, NULL, 1), 0);
            sim_wait(0);
            sim_publish(0, 0, false, "x");
        }
        if (sim.c != NULL)
            sim_ack(BT_MQTT_PUBACK, 1, 0);
        if (sim.c != NULL)
            sim_cut();
        CHECK(sim.c == NULL);
        CHECK(!sim.is_open);
        sim_wait(100000);
        sim_end();
    }
}

/* Fails. */

TEST(no_answer)
{
    setup();
    sim.conf.on_open(sim.conf.arg);
    sim_wait(5000);
    CHECK_STR(sim_event()->text, "no answer to the login in time");
    sim_wait(500);
    sim.conf.on_open(sim.conf.arg);
    sim_connack(false, 0, NULL);
    sim_wait(5000);
    CHECK_STR(sim_event()->text, "no answer to the subscription in time");
    sim_end();
}

TEST(silent_broker)
{
    setup_up(false);
    sim_wait(14999);
    expect(0);
    sim_wait(1);
    CHECK_STR(sim_event()->text, "the broker has not answered for 15000 ms");
    sim_end();
}

TEST(a_broker_that_takes_nothing)
{
    setup_up(false);
    sim.room = 1;
    sim_wait(15000);
    expect('D');
    sim_end();
}

TEST(refusals)
{
    const struct sim_event *e;

    setup();
    sim.conf.on_open(sim.conf.arg);
    sim_connack(false, BT_MQTT_BAD_LOGIN, NULL);
    e = sim_event();
    CHECK_STR(e->text, "the broker refused the login: bad user name or password");
    CHECK(e->refused);
    CHECK_INT(e->number, BT_MQTT_BAD_LOGIN);
    sim_wait(500);
    sim.conf.on_open(sim.conf.arg);
    sim_connack(false, 0, NULL);
    sim_suback(BT_MQTT_NO_SHARED);
    e = sim_event();
    CHECK_STR(e->text, "the broker refused the subscription: shared subscriptions not "
                       "supported");
    CHECK(e->refused);
    sim_end();
}

TEST(refusals_of_an_older_broker)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    conf.connect.version = BT_MQTT_311;
    CHECK_INT(sim_start(&conf), 0);
    sim.conf.on_open(sim.conf.arg);
    sim_connack(false, BT_MQTT_BAD_LOGIN, NULL);
    CHECK_INT(sim_event()->number, BT_MQTT_BAD_LOGIN);
    sim_wait(500);
    sim.conf.on_open(sim.conf.arg);
    sim_connack(false, 0, NULL);
    sim_suback(0x80);
    CHECK(sim_event()->refused);
    sim_end();
}

TEST(told_by_the_broker)
{
    setup_up(false);
    if (bt_mqtt_encode_simple(&sim.in, 5, BT_MQTT_DISCONNECT, BT_MQTT_TAKEN_OVER, NULL))
        CHECK(false);
    sim_push();
    CHECK_INT(sim_event()->number, BT_MQTT_TAKEN_OVER);
    sim_end();
}

TEST(not_mqtt)
{
    static const struct {
        const char *bytes;
        size_t n;
        unsigned reason;
    } rows[] = {
        { "\x00\x00", 2, BT_MQTT_MALFORMED },
        { "\x30\xff\xff\xff\xff", 5, BT_MQTT_MALFORMED },
        { "\x30\xff\x7f", 3, BT_MQTT_TOO_LARGE },
        { "\x30\x02\x00\x05", 4, BT_MQTT_MALFORMED },
        { "\x10\x00", 2, BT_MQTT_PROTOCOL_ERROR },
        { "\xc0\x00", 2, BT_MQTT_PROTOCOL_ERROR },
        { "\x20\x03\x00\x00\x00", 5, BT_MQTT_PROTOCOL_ERROR },
        { "\x90\x04\xff\xff\x00\x00", 6, BT_MQTT_PROTOCOL_ERROR },
        { "\x40\x02\x00\x00", 4, BT_MQTT_MALFORMED },
        /* A topic alias, and none were offered. */
        { "\x30\x07\x00\x00\x03\x23\x00\x01x", 9, BT_MQTT_BAD_ALIAS },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct sim_event *e;

        setup_up(false);
        sim_raw(rows[i].bytes, rows[i].n);
        e = sim_event();
        if (e->what != 'D' ||
            (e->number != rows[i].reason && e->number != BT_MQTT_PROTOCOL_ERROR))
            TEST_END_(1, "row %zu: '%c' reason 0x%02x %s", i, e->what, e->number,
                      e->text);
        CHECK_INT(sim_take(&p), BT_MQTT_DISCONNECT);
        CHECK_INT(p.reason, e->number);
        sim_end();
    }
}

TEST(before_the_login_is_answered)
{
    setup();
    sim.conf.on_open(sim.conf.arg);
    sim_publish(0, 0, false, "x");
    CHECK_INT(sim_event()->number, BT_MQTT_PROTOCOL_ERROR);
    sim_end();
}

TEST(what_cannot_be_said)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    conf.address = "http://x";
    CHECK_INT(sim_start(&conf), BT_EINVAL);
    conf = sim_conf();
    conf.address = "ssl://x";
    CHECK_INT(sim_start(&conf), BT_EINVAL);
    conf = sim_conf();
    sim_sub.filter = sim_text("$share/g");
    CHECK_INT(sim_start(&conf), BT_EINVAL);
    conf = sim_conf();
    conf.window_in = 0;
    CHECK_INT(sim_start(&conf), BT_EINVAL);
    conf = sim_conf();
    conf.connect.client_id = (struct bt_slice){ (const uint8_t *)"x", 70000 };
    CHECK_INT(sim_start(&conf), BT_ELIMIT);
    CHECK(sim.c == NULL);
}

/* A conversation with each quality both ways while memory is short. The broker's own
 * buffers are there already. */
static void converse(void)
{
    struct bt_mqtt_publish m = { .topic = sim_text("t") };

    sim.conf.on_open(sim.conf.arg);
    sim_raw("\x20\x03\x00\x00\x00", 5);
    sim_raw("\x90\x04\xff\xff\x00\x01", 6);
    for (m.qos = 0; m.qos <= 2; m.qos++) {
        if (bt_mqtt_conn_publish(sim.c, &m, NULL, 1) == 0)
            sim_wait(0);
    }
    sim_raw("\x32\x08\x00\x01t\x00\x07\x00hi", 10);
    sim_raw("\x34\x08\x00\x01t\x00\x08\x00hi", 10);
    sim_raw("\x62\x02\x00\x08", 4);
    sim_raw("\x40\x02\x00\x01", 4);
    sim_raw("\x50\x02\x00\x02", 4);
    sim_wait(20000);
}

/* How it ends when the nth allocation fails, alone or with all later ones: nothing
 * crashes or leaks, and with memory again the client comes back. */
static bool with_failure(unsigned long n, bool (*fail)(unsigned long nth))
{
    struct bt_mqtt_conn_conf conf = sim_conf();
    bool failed;
    int r;

    (void)fail(n);
    r = sim_start(&conf);
    if (r == 0)
        converse();
    failed = fail(0);
    if (r != 0) {
        CHECK_INT(r, BT_ENOMEM);
    } else {
        for (int i = 0; i < 20 && !bt_mqtt_conn_is_up(sim.c); i++) {
            if (sim.is_open)
                sim_login(true);
            sim_wait(8000);
        }
        CHECK(bt_mqtt_conn_is_up(sim.c));
    }
    sim_end();
    return failed;
}

TEST(no_memory)
{
    unsigned long n = 1;

    while (with_failure(n, bt_mem_fail_once))
        n++;
    CHECK(n > 10);
    for (unsigned long i = 1; i <= n; i++)
        (void)with_failure(i, bt_mem_fail_from);
}
