/* Routing through a whole hub: workers, groups, retained messages, rules, and that an
 * acknowledgement waits for the store. */
#include "hub/route/route.c"

#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

#define RECEIVERS 12

static struct sim_client from, to[RECEIVERS];

static struct sim_client open_client(const char *id, bool keep)
{
    return sim_client_open(&(struct sim_login){ .id = id, .version = 5, .keep = keep });
}

static void subscribed(const struct sim_client *cl, const char *filter, unsigned options)
{
    struct sim_heard h;

    sim_say_subscribe(cl, filter, options, 1);
    sim_run();
    CHECK(sim_answer(cl, &h) && h.type == BT_MQTT_SUBACK && h.reason == (options & 3));
}

/* Clients r0, r1, ... on all workers with this filter. */
static void begin(const char *yaml, unsigned n, const char *filter, unsigned options)
{
    sim_begin(yaml);
    from = open_client("from", false);
    for (unsigned i = 0; i < n; i++) {
        char id[16];

        snprintf(id, sizeof(id), "r%u", i);
        to[i] = open_client(id, true);
        subscribed(&to[i], filter, options);
    }
}

static unsigned count(const struct sim_client *cl, const char *payload)
{
    struct sim_heard h;
    unsigned n = 0;

    while (sim_hear(cl, &h)) {
        n += h.type == BT_MQTT_PUBLISH && strcmp(h.payload, payload) == 0;
        if (h.type == BT_MQTT_PUBLISH && h.qos == 1)
            sim_say_ack(cl, 0x40, h.pid);
    }
    return n;
}

static int acknowledged(const struct sim_client *cl)
{
    struct sim_heard h;

    return sim_answer(cl, &h) && h.type == BT_MQTT_PUBACK ? (int)h.reason : -1;
}

TEST(everybody_on_every_worker_gets_one)
{
    for (unsigned qos = 0; qos <= 1; qos++) {
        begin("workers: 4\n", RECEIVERS, "a/#", 1);
        sim_say_publish(&from, "a/b/c", "x", qos, false, 5);
        sim_run();
        for (unsigned i = 0; i < RECEIVERS; i++)
            CHECK_INT(count(&to[i], "x"), 1);
        if (qos == 1)
            CHECK_INT(acknowledged(&from), 0);
        sim_end();
    }
}

TEST(a_message_for_nobody_is_acknowledged)
{
    begin("workers: 2\n", 1, "a", 1);
    sim_say_publish(&from, "b", "x", 1, false, 5);
    sim_run();
    CHECK_INT(acknowledged(&from) & 0x80, 0);
    CHECK_INT(count(&to[0], "x"), 0);
    sim_end();
}

TEST(overlapping_filters_deliver_once_with_the_highest_qos)
{
    struct sim_heard h;

    begin("workers: 2\n", 1, "a/#", 0);
    subscribed(&to[0], "a/+", 1);
    sim_say_publish(&from, "a/b", "x", 1, false, 5);
    sim_run();
    CHECK(sim_hear(&to[0], &h));
    CHECK_INT(h.qos, 1);
    CHECK(!sim_hear(&to[0], &h));
    sim_end();
}

TEST(the_lower_qos_wins)
{
    struct sim_heard h;

    begin("workers: 2\n", 2, "a", 0);
    subscribed(&to[1], "a", 1);
    sim_say_publish(&from, "a", "x", 0, false, 0);
    sim_say_publish(&from, "a", "y", 1, false, 5);
    sim_run();
    CHECK(sim_hear(&to[0], &h) && h.qos == 0);
    CHECK(sim_hear(&to[0], &h) && h.qos == 0);
    CHECK(sim_hear(&to[1], &h) && h.qos == 0);
    CHECK(sim_hear(&to[1], &h) && h.qos == 1);
    sim_end();
}

TEST(no_local_keeps_ones_own_away)
{
    begin("workers: 3\n", 2, "a", 1 | 4);
    sim_say_publish(&to[0], "a", "mine", 1, false, 5);
    sim_run();
    CHECK_INT(count(&to[0], "mine"), 0);
    CHECK_INT(count(&to[1], "mine"), 1);
    sim_end();
}

TEST(a_group_gets_each_message_once_and_shares_fairly)
{
    unsigned total = 0;

    begin("workers: 3\n", 4, "$share/g/a/#", 1);
    for (unsigned i = 0; i < 40; i++)
        sim_say_publish(&from, "a/b", "x", 1, false, i + 1);
    sim_run();
    for (unsigned i = 0; i < 4; i++) {
        unsigned n = count(&to[i], "x");

        CHECK(n >= 9 && n <= 11);
        total += n;
    }
    CHECK_INT(total, 40);
    sim_end();
}

TEST(a_group_and_a_plain_filter_both_get_it)
{
    begin("workers: 2\n", 2, "a/b", 1);
    subscribed(&to[1], "$share/g/a/+", 1);
    sim_say_publish(&from, "a/b", "x", 1, false, 1);
    sim_run();
    CHECK_INT(count(&to[0], "x"), 1);
    CHECK_INT(count(&to[1], "x"), 2);
    sim_end();
}

TEST(retained_messages_come_with_the_subscription)
{
    struct sim_heard h;

    begin("workers: 2\n", 1, "other", 1);
    sim_say_publish(&from, "a/b", "old", 1, true, 5);
    sim_say_publish(&from, "a/b", "new", 1, true, 6);
    sim_run();
    subscribed(&to[0], "a/+", 1);
    CHECK(sim_hear(&to[0], &h));
    CHECK_STR(h.payload, "new");
    CHECK_INT(h.flags & 1, 1);
    CHECK(!sim_hear(&to[0], &h));
    sim_say_publish(&from, "a/b", "live", 1, true, 7);
    sim_run();
    CHECK(sim_hear(&to[0], &h));
    CHECK_INT(h.flags & 1, 0);
    sim_say_publish(&from, "a/b", "", 1, true, 8);
    sim_run();
    (void)count(&to[0], "");
    subscribed(&to[0], "a/+", 1);
    CHECK_INT(count(&to[0], "live"), 0);
    CHECK_INT(hub_retain_count(sim.hub->retain), 0);
    sim_end();
}

/* Turns of the workers only: the store does not come to commit. */
static void run_workers(void)
{
    uint32_t store = --sim.n_loops;

    sim_run();
    sim.n_loops = store + 1;
}

TEST(the_acknowledgement_waits_for_the_commit)
{
    struct sim_heard h;

    for (unsigned workers = 1; workers <= 4; workers++) {
        char yaml[32];

        snprintf(yaml, sizeof(yaml), "workers: %u\n", workers);
        begin(yaml, 4, "a", 1);
        for (unsigned i = 0; i < 4; i++)
            sim_client_break(&to[i]);
        sim_say_publish(&from, "a", "x", 1, false, 5);
        run_workers();
        CHECK(!sim_hear(&from, &h));
        sim_run();
        CHECK_INT(acknowledged(&from), 0);
        sim_end();
    }
}

TEST(rules_copy_to_their_target)
{
    begin("workers: 2\n"
          "subscriptions:\n"
          "- {source: {topic: in/+, qos: 1}, target: {topic: out, qos: 1}}\n",
          1, "out", 1);
    sim_say_publish(&from, "in/1", "x", 1, false, 5);
    sim_run();
    CHECK_INT(count(&to[0], "x"), 1);
    CHECK_INT(acknowledged(&from), 0);
    sim_end();
}
