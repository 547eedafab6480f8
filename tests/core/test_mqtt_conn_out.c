/* What goes to the broker: the window, what is sent again, what it does not take. */
#include "core/mqtt_conn_out.c"

#include "tests/core/conn_sim.h"
#include "tests/harness.h"

static struct bt_mqtt_packet p;

static void start(void)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    CHECK_INT(sim_start(&conf), 0);
    sim_login(false);
    CHECK_INT(sim_event()->what, 'U');
}

static int say(uint8_t qos, const char *payload, uint64_t token)
{
    const struct bt_mqtt_publish m = { .qos = qos,
                                       .topic = sim_text("r"),
                                       .payload = sim_text(payload) };
    int r = bt_mqtt_conn_publish(sim.c, &m, NULL, token);

    sim_wait(0);
    return r;
}

/* The next packet is this message; its packet identifier. */
static uint16_t said(const char *payload, bool dup)
{
    CHECK_INT(sim_take(&p), BT_MQTT_PUBLISH);
    CHECK_INT(p.publish.payload.len, strlen(payload));
    CHECK_MEM(p.publish.payload.ptr, payload, strlen(payload));
    CHECK_INT(p.publish.dup, dup);
    return p.publish.pid;
}

static void published(uint64_t token, unsigned reason)
{
    const struct sim_event *e = sim_event();

    CHECK_INT(e->what, 'P');
    CHECK_INT(e->token, token);
    CHECK_INT(e->number, reason);
}

static void again(bool present)
{
    sim_cut();
    CHECK_INT(sim_event()->what, 'D');
    sim_wait(8000);
    sim_login(present);
    CHECK_INT(sim_event()->what, 'U');
}

/* Works. */

TEST(three_qualities)
{
    uint16_t one, two;

    start();
    CHECK_INT(say(0, "a", 1), 0);
    CHECK_INT(say(1, "b", 2), 0);
    CHECK_INT(say(2, "c", 3), 0);
    CHECK_INT(said("a", false), 0);
    one = said("b", false);
    two = said("c", false);
    CHECK(one != two && one != 0 && two != 0);
    CHECK_INT(sim_event()->what, 0);
    sim_ack(BT_MQTT_PUBACK, one, 0);
    published(2, 0);
    sim_ack(BT_MQTT_PUBREC, two, 0);
    CHECK_INT(sim_take(&p), BT_MQTT_PUBREL);
    sim_ack(BT_MQTT_PUBCOMP, two, 0);
    published(3, 0);
    sim_end();
}

TEST(window)
{
    start();
    for (uint64_t i = 1; i <= 5; i++)
        CHECK_INT(say(1, "x", i), 0);
    CHECK_INT(say(0, "y", 0), 0); /* keeps its place */
    for (int i = 0; i < 3; i++)
        (void)said("x", false);
    CHECK_INT(sim_take(&p), 0);
    sim_ack(BT_MQTT_PUBACK, 2, 0);
    published(2, 0);
    (void)said("x", false);
    CHECK_INT(sim_take(&p), 0);
    sim_ack(BT_MQTT_PUBACK, 1, 0);
    (void)said("x", false);
    (void)said("y", false);
    sim_end();
}

TEST(before_the_connection)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    CHECK_INT(sim_start(&conf), 0);
    CHECK_INT(say(0, "a", 1), BT_ECLOSED);
    CHECK_INT(say(1, "b", 2), 0);
    sim_login(false);
    (void)said("b", false);
    sim_end();
}

TEST(sent_again_with_the_session)
{
    uint16_t one, two, three;

    start();
    CHECK_INT(say(1, "a", 1), 0);
    CHECK_INT(say(2, "b", 2), 0);
    CHECK_INT(say(2, "c", 3), 0);
    CHECK_INT(say(1, "d", 4), 0);
    one = said("a", false);
    two = said("b", false);
    three = said("c", false);
    sim_ack(BT_MQTT_PUBREC, two, 0);
    again(true);
    CHECK_INT(said("a", true), one);
    CHECK_INT(sim_take(&p), BT_MQTT_PUBREL);
    CHECK_INT(p.pid, two);
    CHECK_INT(said("c", true), three);
    sim_ack(BT_MQTT_PUBACK, one, 0);
    published(1, 0);
    (void)said("d", false);
    sim_ack(BT_MQTT_PUBCOMP, two, 0);
    published(2, 0);
    sim_end();
}

TEST(anew_without_the_session)
{
    start();
    CHECK_INT(say(1, "a", 1), 0);
    CHECK_INT(say(2, "b", 2), 0);
    CHECK_INT(say(1, "c", 3), 0);
    CHECK_INT(say(1, "d", 4), 0);
    sim_ack(BT_MQTT_PUBREC, 2, 0);
    sim_cut();
    CHECK_INT(sim_event()->what, 'D');
    sim_wait(500);
    sim_login(false);
    /* Released: the broker has taken it over. */
    published(2, 0);
    CHECK_INT(sim_event()->what, 'U');
    (void)said("a", false);
    (void)said("c", false);
    (void)said("d", false);
    sim_end();
}

TEST(a_smaller_window_after_a_reconnect)
{
    struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_RECEIVE_MAX,
                                   .receive_max = 1 };
    uint16_t one;

    start();
    CHECK_INT(say(1, "a", 1), 0);
    CHECK_INT(say(1, "b", 2), 0);
    one = said("a", false);
    (void)said("b", false);
    sim_cut();
    (void)sim_event();
    sim_wait(500);
    sim.conf.on_open(sim.conf.arg);
    (void)sim_take(&p);
    sim_connack(true, 0, &props);
    CHECK_INT(sim_take(&p), BT_MQTT_SUBSCRIBE);
    CHECK_INT(said("a", true), one);
    CHECK_INT(sim_take(&p), 0);
    /* Of an identifier that was not sent yet nothing is known. */
    sim_ack(BT_MQTT_PUBACK, 2, 0);
    CHECK_INT(sim_event()->what, 0);
    sim_ack(BT_MQTT_PUBACK, one, 0);
    published(1, 0);
    (void)said("b", true);
    sim_end();
}

TEST(another_version_after_a_reconnect)
{
    const struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_MESSAGE_EXPIRY,
                                         .message_expiry = 60 };
    const struct bt_mqtt_publish m = { .qos = 1,
                                       .topic = sim_text("r"),
                                       .payload = sim_text("a") };

    start();
    CHECK_INT(bt_mqtt_conn_publish(sim.c, &m, &props, 1), 0);
    sim_wait(0);
    (void)said("a", false);
    CHECK_INT(p.props.message_expiry, 60);
    sim_cut();
    (void)sim_event();
    sim_wait(500);
    sim.conf.on_open(sim.conf.arg);
    sim.version = BT_MQTT_311;
    sim_connack(false, BT_MQTT_BAD_VERSION, NULL);
    sim_login(true);
    (void)said("a", true);
    /* Encoded in 3.1.1, and understood as that. */
    sim_ack(BT_MQTT_PUBACK, p.publish.pid, 0);
    CHECK_INT(sim_event()->what, 'U');
    published(1, 0);
    sim_end();
}

TEST(identifiers_of_a_process_before_this_one)
{
    struct bt_mqtt_conn_conf conf = sim_conf();
    uint16_t pid;

    CHECK_INT(sim_start(&conf), 0);
    sim_login(true);
    CHECK_INT(sim_event()->what, 'U');
    CHECK_INT(say(2, "a", 1), 0);
    CHECK_INT(sim_take(&p), BT_MQTT_PUBREL);
    pid = p.pid;
    CHECK_INT(said("a", false), pid);
    sim_ack(BT_MQTT_PUBCOMP, pid, BT_MQTT_PID_NOT_FOUND);
    CHECK_INT(sim_event()->what, 0);
    sim_ack(BT_MQTT_PUBREC, pid, 0);
    CHECK_INT(sim_take(&p), BT_MQTT_PUBREL);
    sim_ack(BT_MQTT_PUBCOMP, pid, 0);
    published(1, 0);
    /* At QoS 1 there is nothing to release. */
    CHECK_INT(say(1, "b", 2), 0);
    (void)said("b", false);
    sim_end();
}

TEST(bounded)
{
    struct bt_mqtt_conn_conf conf = sim_conf();
    unsigned n = 0;

    conf.max_out = 4096;
    CHECK_INT(sim_start(&conf), 0);
    while (say(1, "x", 1) == 0)
        n++;
    CHECK(n > 5 && n < 200);
    CHECK_INT(say(1, "x", 1), BT_EBUSY);
    sim_login(false);
    CHECK_INT(sim_event()->what, 'U');
    while (sim_take(&p) == BT_MQTT_PUBLISH)
        sim_ack(BT_MQTT_PUBACK, p.publish.pid, 0);
    for (unsigned i = 0; i < n; i++) {
        const struct sim_event *e = sim_event();

        if (e->what == 'R')
            break;
        CHECK(i + 1 < n);
    }
    CHECK_INT(say(1, "x", 1), 0);
    sim_end();
}

TEST(a_stream_that_takes_little)
{
    start();
    sim.room = 3;
    CHECK_INT(say(0, "hello", 0), 0);
    CHECK_INT(sim.out.len - sim.out_at, 3);
    CHECK_INT(sim.wanted, BT_READ | BT_WRITE);
    sim.room = SIZE_MAX;
    sim.conf.on_ready(sim.conf.arg, BT_WRITE);
    (void)said("hello", false);
    CHECK_INT(sim.wanted, BT_READ);
    sim_end();
}

/* Fails. */

TEST(refused_by_the_broker)
{
    start();
    CHECK_INT(say(1, "a", 1), 0);
    CHECK_INT(say(2, "b", 2), 0);
    (void)said("a", false);
    (void)said("b", false);
    sim_ack(BT_MQTT_PUBACK, 1, BT_MQTT_QUOTA);
    published(1, BT_MQTT_QUOTA);
    sim_ack(BT_MQTT_PUBREC, 2, BT_MQTT_NOT_AUTHORIZED);
    published(2, BT_MQTT_NOT_AUTHORIZED);
    CHECK_INT(sim_take(&p), 0);
    sim_end();
}

TEST(what_the_broker_does_not_take)
{
    struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_MAX_QOS |
                                              1u << BT_MQTT_P_RETAIN_AVAILABLE |
                                              1u << BT_MQTT_P_MAX_PACKET,
                                   .max_qos = 1,
                                   .max_packet = 30 };
    const struct bt_mqtt_publish kept = { .qos = 1,
                                          .retain = true,
                                          .topic = sim_text("r") };
    struct bt_mqtt_conn_conf conf = sim_conf();

    CHECK_INT(sim_start(&conf), 0);
    CHECK_INT(say(1, "far more than the thirty bytes that it takes", 1), 0);
    sim.conf.on_open(sim.conf.arg);
    (void)sim_take(&p);
    sim_connack(false, 0, &props);
    published(1, BT_MQTT_TOO_LARGE);
    CHECK(bt_mqtt_conn_max_payload(sim.c, 1) < 30);
    CHECK_INT(say(1, "far more than the thirty bytes that it takes", 2), BT_ELIMIT);
    CHECK_INT(say(2, "a", 3), 0);
    published(3, BT_MQTT_NO_QOS);
    CHECK_INT(bt_mqtt_conn_publish(sim.c, &kept, NULL, 4), 0);
    sim_wait(0);
    published(4, BT_MQTT_NO_RETAIN);
    sim_end();
}

TEST(what_cannot_be_said)
{
    struct bt_mqtt_publish m = { .qos = 3, .topic = sim_text("r") };

    start();
    CHECK_INT(bt_mqtt_conn_publish(sim.c, &m, NULL, 1), BT_EINVAL);
    m.qos = 1;
    m.topic = sim_text("a/+");
    CHECK_INT(bt_mqtt_conn_publish(sim.c, &m, NULL, 1), BT_EINVAL);
    m.topic = (struct bt_slice){ NULL, 0 };
    CHECK_INT(bt_mqtt_conn_publish(sim.c, &m, NULL, 1), BT_EINVAL);
    sim_end();
}

TEST(wrong_answers)
{
    start();
    CHECK_INT(say(1, "a", 1), 0);
    sim_ack(BT_MQTT_PUBACK, 77, 0);
    sim_ack(BT_MQTT_PUBCOMP, 77, 0);
    CHECK_INT(sim_event()->what, 0);
    sim_ack(BT_MQTT_PUBREC, 1, 0);
    CHECK_INT(sim_event()->number, BT_MQTT_PROTOCOL_ERROR);
    sim_end();
    start();
    CHECK_INT(say(2, "a", 1), 0);
    sim_ack(BT_MQTT_PUBREC, 99, 0);
    (void)said("a", false);
    CHECK_INT(sim_take(&p), BT_MQTT_PUBREL);
    CHECK_INT(p.reason, BT_MQTT_PID_NOT_FOUND);
    sim_ack(BT_MQTT_PUBACK, 1, 0);
    CHECK_INT(sim_event()->number, BT_MQTT_PROTOCOL_ERROR);
    sim_end();
}
