/* The simulated hub itself, and with it the way of a packet through worker, session and
 * store. */
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

TEST(a_client_logs_in_and_out)
{
    struct sim_client c;

    sim_begin("workers: 1\n");
    c = sim_client_open(&(struct sim_login){ .id = "a" });
    sim_say(&c, 0xe0);
    sim_run();
    CHECK(c.peer->gone);
    CHECK_INT(sim.hub->n_conns, 0);
    sim_end();
}

TEST(what_is_published_arrives)
{
    for (unsigned workers = 1; workers <= 3; workers += 2) {
        for (unsigned version = 4; version <= 5; version++) {
            struct sim_client from, to;
            struct sim_heard h;

            sim_begin(workers == 1 ? "workers: 1\n" : "workers: 3\n");
            from =
                sim_client_open(&(struct sim_login){ .id = "from", .version = version });
            to = sim_client_open(
                &(struct sim_login){ .id = "to", .version = version, .keep = true });
            sim_say_subscribe(&to, "a/+", 1, 7);
            sim_run();
            CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_SUBACK && h.reason == 1);
            sim_say_publish(&from, "a/b", "hello", 1, false, 9);
            sim_run();
            CHECK(sim_hear(&to, &h));
            CHECK_STR(h.payload, "hello");
            CHECK_INT(h.qos, 1);
            CHECK(sim_hear(&from, &h) && h.type == BT_MQTT_PUBACK && h.pid == 9);
            CHECK_INT(h.reason, 0);
            sim_end();
        }
    }
}
