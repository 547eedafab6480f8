/* Retention counts the time that a message waits in queues, not the time it was retained
 * or kept as a will before. */
#include "hub/session/quota.h"
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

#define DAYS_MS (UINT64_C(3) * 24 * 3600 * 1000)

/* Three days, with the store's cleaning. */
static void pass_days(void)
{
    sim_pass(DAYS_MS);
    atomic_store(&hub_quota.oldest_ms, bt_clock_wall_ms() - sim.conf.retention);
}

/* With a clock that was set. */
static void begin(void)
{
    sim_begin("workers: 1\n");
    bt_clock_fake_advance((uint64_t)HUB_STORE_CLOCK_FLOOR * 1000 / 100);
}

static void end(void)
{
    sim_end();
    atomic_store(&hub_quota.oldest_ms, 0);
}

TEST(an_old_retained_message_is_new_to_who_subscribes_now)
{
    for (unsigned keep = 0; keep <= 1; keep++) {
        for (unsigned qos = 0; qos <= 2; qos++) {
            struct sim_client from, to;
            struct sim_heard h;

            begin();
            from = sim_client_open(&(struct sim_login){ .id = "from" });
            to = sim_client_open(&(struct sim_login){ .id = "to", .keep = keep != 0 });
            sim_say_publish(&from, "a/b", "value", 1, 1, 9);
            sim_run();
            CHECK(sim_hear(&from, &h) && h.type == BT_MQTT_PUBACK);
            pass_days();
            sim_say_subscribe(&to, "a/+", qos, 7);
            sim_run();
            CHECK(sim_hear(&to, &h));
            if (h.type == BT_MQTT_SUBACK)
                CHECK(sim_hear(&to, &h));
            CHECK_STR(h.payload, "value");
            end();
        }
    }
}

TEST(a_will_is_new_when_it_is_published)
{
    struct sim_client from, to;
    struct sim_heard h;

    begin();
    from = sim_client_open(&(struct sim_login){
        .id = "from", .will_topic = "a/will", .will_payload = "gone", .will_qos = 1 });
    to = sim_client_open(&(struct sim_login){ .id = "to", .keep = true });
    sim_say_subscribe(&to, "a/+", 1, 7);
    sim_run();
    CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_SUBACK);
    pass_days();
    sim_client_break(&from);
    CHECK(sim_hear(&to, &h));
    CHECK_STR(h.payload, "gone");
    end();
}

TEST(what_waited_too_long_is_not_delivered)
{
    struct sim_client from, to;
    struct sim_heard h;

    begin();
    from = sim_client_open(&(struct sim_login){ .id = "from" });
    to = sim_client_open(&(struct sim_login){ .id = "to", .keep = true });
    sim_say_subscribe(&to, "a/+", 1, 7);
    sim_run();
    CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_SUBACK);
    sim_client_break(&to);
    sim_say_publish(&from, "a/b", "value", 1, 0, 9);
    sim_run();
    pass_days();
    to = sim_client_open(&(struct sim_login){ .id = "to", .keep = true });
    CHECK(!sim_hear(&to, &h));
    end();
}
