/* One delivery that its receiver does not complete, and more behind it than there are
 * identifiers: the queue stops before the identifier comes round again. */
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

#define TOTAL 66000u
#define CHUNK 250u

static struct sim_client from, to;
static unsigned qos, published, received;
static bool stuck; /* the first one is not answered */

/* What was read need not be kept. */
static void drop_read(struct sim_bytes *b)
{
    if (b->at == b->len)
        b->at = b->len = 0;
}

/* The publisher says the next ones, and completes them at QoS 2. */
static void publish_some(void)
{
    struct sim_heard h;
    char payload[16];

    for (unsigned i = 0; i < CHUNK; i++) {
        snprintf(payload, sizeof(payload), "%u", ++published);
        sim_say_publish(&from, "a", payload, qos, 0, published % 30000 + 1);
    }
    sim_turn();
    drop_read(&from.peer->in);
    while (sim_hear(&from, &h))
        if (h.type == BT_MQTT_PUBREC)
            sim_say_ack(&from, 0x62, h.pid);
    drop_read(&from.peer->out);
}

/* The receiver takes what has come, in order, and answers it. */
static bool receive(void)
{
    struct sim_heard h;
    bool any = false;

    drop_read(&to.peer->in);
    while (sim_hear(&to, &h)) {
        if (h.type == BT_MQTT_PUBLISH) {
            CHECK_INT(atoi(h.payload), ++received);
            CHECK_INT(h.pid, (received - 1) % 65535 + 1);
            CHECK_INT(h.flags & 8, 0);
            if (received == 1 && stuck)
                continue;
        }
        any = true;
        if (h.type == BT_MQTT_PUBLISH)
            sim_say_ack(&to, qos == 1 ? 0x40 : 0x50, h.pid);
        else if (h.type == BT_MQTT_PUBREL)
            sim_say_ack(&to, 0x70, h.pid);
    }
    drop_read(&to.peer->out);
    return any;
}

static void settle(void)
{
    do {
        sim_run();
    } while (receive());
}

TEST(an_identifier_that_is_not_released)
{
    for (qos = 1; qos <= 2; qos++) {
        struct sim_heard h;

        sim_begin("workers: 1\n");
        published = received = 0;
        stuck = true;
        from = sim_client_open(&(struct sim_login){ .id = "from" });
        to = sim_client_open(&(struct sim_login){ .id = "to", .keep = true });
        sim_say_subscribe(&to, "a", 2, 1);
        sim_run();
        CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_SUBACK);
        while (published < TOTAL) {
            publish_some();
            (void)receive();
        }
        settle();
        CHECK_INT(received, 65535);
        sim_say_ack(&to, qos == 1 ? 0x40 : 0x50, 1);
        settle();
        CHECK_INT(received, TOTAL);
        sim_end();
    }
}
