/* Bytes from a hostile broker: to a client that logs in, publishes at each quality, holds
 * some messages and loses others. The first byte chooses the version, the second the size
 * of the pieces. */
#include "tests/core/conn_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bt_mqtt_message *held[8];
static unsigned n_held, n_messages;

static void on_message(void *arg, struct bt_mqtt_message *m)
{
    struct bt_mqtt_props props;

    (void)arg;
    bt_mqtt_message_props(m, &props);
    if (++n_messages % 3 == 0 && n_held < BT_ARRAY_LEN(held))
        held[n_held++] = m;
    else
        bt_mqtt_message_ack(m, n_messages % 5 != 0);
    if (n_held == BT_ARRAY_LEN(held))
        bt_mqtt_message_ack(held[--n_held], true);
}

static void publish(void)
{
    for (uint8_t qos = 0; sim.c != NULL && qos <= 2; qos++) {
        const struct bt_mqtt_publish m = { .qos = qos, .topic = sim_text("r") };

        (void)!bt_mqtt_conn_publish(sim.c, &m, NULL, qos);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t versions[] = { 0, BT_MQTT_311, BT_MQTT_50, BT_MQTT_31 };
    struct bt_mqtt_conn_conf conf = sim_conf();
    size_t step = size > 1 ? (size_t)data[1] + 1 : 1;

    if (size < 2)
        return 0;
    n_held = n_messages = 0;
    conf.connect.version = versions[data[0] & 3];
    conf.on_message = on_message;
    if (sim_start(&conf) != 0)
        return 0;
    for (size_t at = 2; at < size; at += step) {
        if (!sim.is_open)
            sim_wait(8000);
        if (sim.wanted == 0)
            sim.conf.on_open(sim.conf.arg);
        sim_raw(data + at, BT_MIN(step, size - at));
        if ((data[0] & 4) != 0 || at == 2)
            publish();
    }
    sim_wait(20000);
    sim_end();
    while (n_held > 0)
        bt_mqtt_message_ack(held[--n_held], true);
    return 0;
}
