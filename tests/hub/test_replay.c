/* Retained messages for a new subscription, more than a connection takes at once. */
#include "hub/session/replay.c"

#include "tests/harness.h"
#include "tests/hub/sim_balance.h"
#include "tests/hub/sim_mqtt.h"

#define MANY 600u

static struct sim_client from, to;
static unsigned seen[MANY];

static void begin(bool keep, unsigned qos)
{
    sim_begin("{workers: 2, limits: {queue: {messages: 20, bytes: 4k}}}\n");
    from = sim_client_open(&(struct sim_login){ .id = "from" });
    to = sim_client_open(&(struct sim_login){ .id = "to", .version = 5, .keep = keep });
    memset(seen, 0, sizeof(seen));
    for (unsigned i = 0; i < MANY; i++) {
        char topic[16];

        snprintf(topic, sizeof(topic), "r/%u", i);
        sim_say_publish(&from, topic, "0123456789012345678901234567890123456789", qos, 1,
                        i + 1);
        if (qos == 2)
            sim_say_ack(&from, 0x62, i + 1);
    }
    sim_run();
}

/* Takes and answers what comes, this many times; returns the number of messages. */
static unsigned take(unsigned rounds)
{
    struct sim_heard h;
    unsigned n = 0;

    while (rounds-- > 0) {
        while (sim_hear(&to, &h)) {
            if (h.type == BT_MQTT_PUBREL)
                sim_say_ack(&to, 0x70, h.pid);
            if (h.type != BT_MQTT_PUBLISH)
                continue;
            seen[atoi(h.topic + 2)]++;
            n++;
            if (h.qos > 0)
                sim_say_ack(&to, h.qos == 1 ? 0x40 : 0x50, h.pid);
        }
        sim_run();
    }
    return n;
}

TEST(all_of_them_arrive_once)
{
    for (unsigned i = 0; i < 6; i++) {
        begin(i & 1, i / 2);
        sim_say_subscribe(&to, "r/#", i / 2, 1);
        CHECK_INT(take(100), MANY);
        for (unsigned k = 0; k < MANY; k++)
            CHECK_INT(seen[k], 1);
        sim_balance();
        sim_end();
    }
}

TEST(a_slow_reader_gets_them_bit_by_bit)
{
    begin(false, 0);
    to.peer->room = 0;
    sim_say_subscribe(&to, "r/#", 0, 1);
    sim_run();
    CHECK_INT(take(1), 0);
    for (unsigned n = 0; n < MANY;) {
        unsigned before = n;

        to.peer->room = 3000;
        n += take(2);
        CHECK(n > before);
    }
    sim_end();
}

TEST(what_was_replaced_or_cleared_meanwhile_does_not_come_late)
{
    struct sim_heard h;
    bool newer = false;
    unsigned old = 0;

    begin(false, 0);
    to.peer->room = 100;
    sim_say_subscribe(&to, "r/#", 0, 1);
    sim_run();
    for (unsigned i = 0; i < MANY; i++) {
        char topic[16];

        snprintf(topic, sizeof(topic), "r/%u", i);
        sim_say_publish(&from, topic, i % 2 ? "" : "new", 0, 1, 0);
    }
    sim_run();
    to.peer->room = SIZE_MAX;
    for (int i = 0; i < 20; i++) {
        while (sim_hear(&to, &h)) {
            newer |= strcmp(h.payload, "new") == 0;
            old += h.type == BT_MQTT_PUBLISH && strlen(h.payload) == 40;
        }
        sim_run();
    }
    CHECK(newer);
    CHECK(old < 120); /* what was on its way before */
    sim_end();
}

TEST(a_subscriber_that_leaves_forgets_the_rest)
{
    begin(false, 0);
    to.peer->room = 0;
    sim_say_subscribe(&to, "r/#", 0, 1);
    sim_run();
    sim_client_break(&to);
    sim_end();
}
