/* A queue that drops its oldest at QoS 2: what the session holds in memory keeps its row,
 * or a crash would leave the client with an identifier that nobody releases. */
#include "hub/session/quota.h"
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

static const char limited[] = "workers: 1\n"
                              "limits: {session: {messages: 12, qos2: drop-oldest}}\n"
                              "message: {egress: {qos1: {buffer: {size: 4}}}}\n";

static int count_rows(void *arg, uint64_t sid, const char *client, const char *principal,
                      uint32_t expiry_s, int64_t disconnected_ms, uint64_t first,
                      uint64_t last, uint64_t rows)
{
    (void)sid, (void)client, (void)principal, (void)expiry_s, (void)disconnected_ms;
    (void)first, (void)last;
    *(uint64_t *)arg = rows;
    return 0;
}

static int no_sub(void *arg, uint64_t sid, const char *filter, uint32_t options,
                  uint32_t subid)
{
    (void)arg, (void)sid, (void)filter, (void)options, (void)subid;
    return 0;
}

static int no_retained(void *arg, struct hub_msg *msg)
{
    (void)arg;
    hub_msg_unref(msg);
    return 0;
}

/* Of the only session. */
static uint64_t rows_on_disk(void)
{
    uint64_t rows = 0;
    const struct hub_store_visitor v = { .arg = &rows,
                                         .session = count_rows,
                                         .subscription = no_sub,
                                         .retained = no_retained };

    CHECK_INT(hub_store_load(sim.hub->store, &v), 0);
    return rows;
}

TEST(nothing_is_sent_whose_row_is_gone)
{
    struct sim_client from, to;
    struct hub_session *s;
    struct sim_heard h;
    char payload[8];
    unsigned i, n = 0, last = 0;

    sim_begin(limited);
    hub_quota_inflight(sim.conf.max_inflight);
    from = sim_client_open(&(struct sim_login){ .id = "from" });
    to = sim_client_open(&(struct sim_login){ .id = "to", .keep = true });
    sim_say_subscribe(&to, "a", 2, 7);
    sim_run();
    CHECK(sim_hear(&to, &h) && h.type == BT_MQTT_SUBACK);
    for (i = 1; i <= 40; i++) {
        snprintf(payload, sizeof(payload), "%u", i);
        sim_say_publish(&from, "a", payload, 2, 0, i);
        sim_run();
    }
    s = hub_worker_find(sim.hub->workers[0],
                        (struct bt_slice){ (const uint8_t *)"to", 2 });
    CHECK(s != NULL && s->n_queued <= 4);
    CHECK_INT(rows_on_disk(), 12);
    while (sim_hear(&to, &h)) {
        if (h.type == BT_MQTT_PUBLISH) {
            CHECK((unsigned)atoi(h.payload) > last);
            last = (unsigned)atoi(h.payload);
            n++;
        }
        sim_say_ack(&to, h.type == BT_MQTT_PUBLISH ? 0x50 : 0x70, h.pid);
        sim_run();
        CHECK(rows_on_disk() >= s->n_queued);
    }
    CHECK_INT(n, 12);
    CHECK_INT(last, 40);
    CHECK_INT(rows_on_disk(), 0);
    sim_end();
}
