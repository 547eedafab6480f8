/* What comes from the broker: when it is acknowledged, and what is not given out twice.
 */
#include "core/mqtt_conn_in.c"

#include "tests/core/conn_sim.h"
#include "tests/harness.h"

static struct bt_mqtt_packet p;

static void start(bool keep)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    CHECK_INT(sim_start(&conf), 0);
    sim.keep = keep;
    sim_login(false);
    CHECK_INT(sim_event()->what, 'U');
}

static struct bt_mqtt_message *message(const char *text)
{
    const struct sim_event *e = sim_event();

    CHECK_INT(e->what, 'M');
    CHECK_STR(e->text, text);
    return e->m;
}

static void taken(unsigned type, uint16_t pid)
{
    CHECK_INT(sim_take(&p), type);
    CHECK_INT(p.pid, pid);
}

static void done(struct bt_mqtt_message *m, bool ok)
{
    bt_mqtt_message_ack(m, ok);
    sim_wait(0);
}

/* The connection is lost and comes back. */
static void again(bool present)
{
    sim_cut();
    CHECK_INT(sim_event()->what, 'D');
    sim_wait(8000);
    sim_login(present);
    CHECK_INT(sim_event()->what, 'U');
}

/* Works. */

TEST(acknowledged_at_once)
{
    start(false);
    sim_publish(0, 0, false, "a");
    sim_publish(1, 7, false, "b");
    sim_publish(2, 8, false, "c");
    (void)message("t/1=a");
    (void)message("t/1=b");
    (void)message("t/1=c");
    taken(BT_MQTT_PUBACK, 7);
    taken(BT_MQTT_PUBREC, 8);
    sim_ack(BT_MQTT_PUBREL, 8, 0);
    taken(BT_MQTT_PUBCOMP, 8);
    CHECK_INT(p.reason, 0);
    /* Released: the identifier is free for the next one. */
    sim_publish(2, 8, false, "d");
    (void)message("t/1=d");
    sim_end();
}

TEST(in_the_order_of_arrival)
{
    struct bt_mqtt_message *a, *b, *c;

    start(true);
    sim_publish(1, 1, false, "a");
    sim_publish(2, 2, false, "b");
    sim_publish(1, 3, false, "c");
    a = message("t/1=a");
    b = message("t/1=b");
    c = message("t/1=c");
    done(c, true);
    done(b, true);
    CHECK_INT(sim_take(&p), 0);
    done(a, true);
    taken(BT_MQTT_PUBACK, 1);
    taken(BT_MQTT_PUBREC, 2);
    taken(BT_MQTT_PUBACK, 3);
    sim_end();
}

TEST(properties)
{
    struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_CONTENT_TYPE };
    struct bt_mqtt_publish m = { .topic = sim_text("t") };
    struct bt_mqtt_message *got;

    start(true);
    props.content_type = sim_text("text/plain");
    CHECK_INT(bt_mqtt_encode_publish(&sim.in, 5, &m, &props), 0);
    sim_push();
    got = message("t=");
    memset(&props, 0, sizeof(props));
    bt_mqtt_message_props(got, &props);
    CHECK_INT(props.content_type.len, 10);
    CHECK_MEM(props.content_type.ptr, "text/plain", 10);
    done(got, true);
    sim_end();
}

TEST(sent_again_while_it_is_held)
{
    struct bt_mqtt_message *m;

    start(true);
    sim_publish(1, 5, false, "a");
    m = message("t/1=a");
    sim_publish(1, 5, true, "a");
    CHECK_INT(sim_event()->what, 0);
    done(m, true);
    taken(BT_MQTT_PUBACK, 5);
    CHECK_INT(sim_take(&p), 0);
    sim_end();
}

TEST(held_over_a_reconnect)
{
    struct bt_mqtt_message *a, *b, *c;

    start(true);
    sim_publish(1, 1, false, "a");
    sim_publish(1, 2, false, "b");
    sim_publish(2, 3, false, "c");
    a = message("t/1=a");
    b = message("t/1=b");
    c = message("t/1=c");
    again(true);
    done(a, true); /* before it comes again */
    CHECK_INT(sim_take(&p), 0);
    sim_publish(1, 1, true, "a");
    taken(BT_MQTT_PUBACK, 1);
    sim_publish(1, 2, true, "b");
    sim_publish(2, 3, true, "c");
    CHECK_INT(sim_event()->what, 0);
    done(c, true);
    CHECK_INT(sim_take(&p), 0);
    done(b, true);
    taken(BT_MQTT_PUBACK, 2);
    taken(BT_MQTT_PUBREC, 3);
    sim_end();
}

TEST(identifier_of_another_message_after_a_reconnect)
{
    struct bt_mqtt_message *old, *new;

    start(true);
    sim_publish(1, 1, false, "a");
    old = message("t/1=a");
    again(true);
    sim_publish(1, 1, false, "b");
    new = message("t/1=b");
    done(old, true);
    CHECK_INT(sim_take(&p), 0);
    done(new, true);
    taken(BT_MQTT_PUBACK, 1);
    sim_end();
}

TEST(a_new_session_forgets)
{
    struct bt_mqtt_message *m;

    start(true);
    sim_publish(1, 1, false, "a");
    sim_publish(2, 2, false, "b");
    m = message("t/1=a");
    done(message("t/1=b"), true);
    again(false);
    sim_publish(2, 2, true, "b");
    done(message("t/1=b"), true);
    done(m, true);
    taken(BT_MQTT_PUBREC, 2);
    CHECK_INT(sim_take(&p), 0);
    sim_end();
}

TEST(exactly_once_over_a_reconnect)
{
    start(false);
    sim_publish(2, 9, false, "a");
    (void)message("t/1=a");
    again(true);
    /* The PUBREC was lost. */
    sim_publish(2, 9, true, "a");
    CHECK_INT(sim_event()->what, 0);
    taken(BT_MQTT_PUBREC, 9);
    sim_ack(BT_MQTT_PUBREL, 9, 0);
    taken(BT_MQTT_PUBCOMP, 9);
    /* And when the PUBCOMP was lost. */
    again(true);
    sim_ack(BT_MQTT_PUBREL, 9, 0);
    taken(BT_MQTT_PUBCOMP, 9);
    CHECK_INT(p.reason, BT_MQTT_PID_NOT_FOUND);
    sim_end();
}

TEST(messages_outlive_the_client)
{
    struct bt_mqtt_message *m;

    start(true);
    sim_publish(1, 1, false, "a");
    sim_publish(0, 0, false, "b");
    m = message("t/1=a");
    bt_mqtt_conn_close(sim.c);
    sim.c = NULL;
    CHECK_MEM(m->payload.ptr, "a", 1);
    bt_mqtt_message_ack(m, true);
    bt_mqtt_message_ack(message("t/1=b"), false);
    sim_end();
}

TEST(bytes_in_pieces)
{
    static const char bytes[] = "\x32\x08\x00\x01t\x00\x07\x00hi";

    start(false);
    for (size_t i = 0; i < 10; i++)
        sim_raw(bytes + i, 1);
    (void)message("t=hi");
    taken(BT_MQTT_PUBACK, 7);
    sim_end();
}

/* Fails. */

TEST(not_processed)
{
    struct bt_mqtt_message *m;

    start(true);
    for (uint16_t pid = 1; pid <= 3; pid++)
        sim_publish(1, pid, false, "a");
    done(message("t/1=a"), false);
    m = message("t/1=a");
    done(message("t/1=a"), true);
    /* The refused one holds nobody up. */
    CHECK_INT(sim_take(&p), 0);
    done(m, true);
    taken(BT_MQTT_PUBACK, 2);
    taken(BT_MQTT_PUBACK, 3);
    /* With half of the window gone the broker is asked to deliver again. */
    sim_publish(1, 4, false, "b");
    done(message("t/1=b"), false);
    CHECK_INT(sim_event()->what, 0);
    sim_publish(1, 5, false, "c");
    done(message("t/1=c"), false);
    CHECK_INT(sim_event()->what, 'D');
    sim_wait(500);
    sim_login(true);
    CHECK_INT(sim_event()->what, 'U');
    sim_publish(1, 1, true, "a");
    done(message("t/1=a"), true);
    taken(BT_MQTT_PUBACK, 1);
    sim_end();
}

TEST(more_than_was_asked_for)
{
    start(true);
    for (uint16_t pid = 1; pid <= 4; pid++)
        sim_publish(1, pid, false, "a");
    for (int i = 0; i < 4; i++)
        CHECK_INT(sim_event()->what, 'M');
    sim_publish(1, 5, false, "a");
    CHECK_INT(sim_event()->number, BT_MQTT_RECEIVE_MAX);
    for (int i = 1; i <= 4; i++)
        bt_mqtt_message_ack(sim.events[i].m, true);
    sim_end();
}

TEST(an_older_broker_knows_no_window)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    conf.connect.version = BT_MQTT_311;
    conf.max_in = 100;
    CHECK_INT(sim_start(&conf), 0);
    sim.keep = true;
    sim_login(false);
    CHECK_INT(sim_event()->what, 'U');
    for (uint16_t pid = 1; pid <= 10; pid++)
        sim_publish(1, pid, false, "a");
    for (int i = 0; i < 10; i++)
        CHECK_INT(sim_event()->what, 'M');
    /* 10 bytes each: the room is used up. QoS 0 is dropped then. */
    sim_publish(0, 0, false, "b");
    CHECK_INT(sim_event()->what, 0);
    sim_publish(1, 11, false, "a");
    CHECK_INT(sim_event()->number, BT_MQTT_QUOTA);
    for (int i = 1; i <= 10; i++)
        bt_mqtt_message_ack(sim.events[i].m, true);
    sim_end();
}

TEST(one_message_always_fits)
{
    struct bt_mqtt_conn_conf conf = sim_conf();

    conf.max_in = 1;
    CHECK_INT(sim_start(&conf), 0);
    sim_login(false);
    CHECK_INT(sim_event()->what, 'U');
    sim_publish(1, 1, false, "a");
    (void)message("t/1=a");
    taken(BT_MQTT_PUBACK, 1);
    sim_end();
}

TEST(identifier_in_use)
{
    struct bt_mqtt_message *m;

    start(true);
    sim_publish(1, 1, false, "a");
    m = message("t/1=a");
    sim_publish(1, 1, false, "b");
    CHECK_INT(sim_event()->number, BT_MQTT_PROTOCOL_ERROR);
    bt_mqtt_message_ack(m, true);
    sim_end();
}
