/* QoS 2 through a whole hub: the order in which receiver and store come to it. */
#include "tests/harness.h"
#include "tests/hub/sim_balance.h"
#include "tests/hub/sim_mqtt.h"

static struct sim_client from, to;

static void begin(const char *yaml)
{
    struct sim_heard h;

    sim_begin(yaml);
    from =
        sim_client_open(&(struct sim_login){ .id = "from", .version = 5, .keep = true });
    to = sim_client_open(&(struct sim_login){ .id = "to", .version = 5, .keep = true });
    sim_say_subscribe(&to, "a", 2, 1);
    sim_run();
    CHECK(sim_answer(&to, &h) && h.type == BT_MQTT_SUBACK && h.reason == 2);
}

/* Turns of the workers only: the store does not come to what it was given. */
static void run_workers(void)
{
    uint32_t all = sim.n_loops;

    sim.n_loops--;
    sim_run();
    sim.n_loops = all;
}

/* The receiver answers whatever it hears, this many times; returns the messages. */
static unsigned answer(void (*run)(void), int rounds)
{
    struct sim_heard h;
    unsigned n = 0;

    for (int i = 0; i < rounds; i++) {
        while (sim_hear(&to, &h)) {
            n += h.type == BT_MQTT_PUBLISH;
            if (h.type == BT_MQTT_PUBLISH)
                sim_say_ack(&to, 0x50, h.pid);
            if (h.type == BT_MQTT_PUBREL)
                sim_say_ack(&to, 0x70, h.pid);
        }
        run();
    }
    return n;
}

TEST(a_receiver_that_is_faster_than_the_store)
{
    struct sim_heard h;

    for (unsigned workers = 1; workers <= 3; workers++) {
        char yaml[32];

        snprintf(yaml, sizeof(yaml), "workers: %u\n", workers);
        begin(yaml);
        for (unsigned i = 1; i <= 5; i++)
            sim_say_publish(&from, "a", "x", 2, 0, i);
        sim_run();
        CHECK_INT(answer(run_workers, 1), 5);
        sim_run();
        (void)answer(sim_run, 4);
        for (unsigned i = 1; i <= 5; i++) {
            CHECK(sim_hear(&from, &h) && h.type == BT_MQTT_PUBREC && h.reason == 0);
            sim_say_ack(&from, 0x62, i);
        }
        sim_run();
        CHECK(sim_hear(&from, &h) && h.type == BT_MQTT_PUBCOMP);
        sim_client_break(&to);
        to = sim_client_open(
            &(struct sim_login){ .id = "to", .version = 5, .keep = true });
        CHECK_INT(answer(sim_run, 4), 0);
        sim_balance();
        sim_end();
    }
}

TEST(the_receiver_leaves_between_pubrec_and_the_commit)
{
    begin("workers: 1\n");
    sim_say_publish(&from, "a", "x", 2, 0, 1);
    sim_run();
    CHECK_INT(answer(run_workers, 1), 1);
    to.peer->eof = true;
    run_workers();
    sim_run();
    to = sim_client_open(&(struct sim_login){ .id = "to", .version = 5, .keep = true });
    CHECK_INT(answer(sim_run, 4), 0);
    sim_end();
}

TEST(the_session_ends_between_pubrec_and_the_commit)
{
    begin("workers: 1\n");
    sim_say_publish(&from, "a", "x", 2, 0, 1);
    sim_run();
    CHECK_INT(answer(run_workers, 1), 1);
    to.peer->eof = true;
    run_workers();
    to.peer = sim_connect(0);
    sim_say_connect(to.peer, &(struct sim_login){ .id = "to", .version = 5 });
    run_workers();
    sim_run();
    sim_balance();
    sim_end();
}
