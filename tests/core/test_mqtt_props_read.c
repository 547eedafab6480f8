/* A property block without its length. */
#include "core/buf.h"
#include "core/mqtt.h"
#include "tests/harness.h"

static struct bt_slice text(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

TEST(what_was_written_is_read)
{
    struct bt_mqtt_user users[] = { { text("error"), text("true") } };
    struct bt_mqtt_props in = { .response_topic = text("r/t"),
                                .correlation_data = text("c"),
                                .users = users,
                                .n_users = 1 },
                         out = { 0 };
    struct bt_buf b = { 0 };
    struct bt_mqtt_user user;
    size_t pos = 0;

    in.present = 1u << BT_MQTT_P_RESPONSE_TOPIC | 1u << BT_MQTT_P_CORRELATION_DATA;
    CHECK_INT(bt_mqtt_encode_props(&b, &in), 0);
    CHECK(b.data[0] == b.len - 1);
    CHECK_INT(bt_mqtt_props_read((struct bt_slice){ b.data + 1, b.len - 1 },
                                 BT_MQTT_PUBLISH, &out),
              0);
    CHECK_MEM(out.response_topic.ptr, "r/t", 3);
    CHECK_MEM(out.correlation_data.ptr, "c", 1);
    CHECK(bt_mqtt_user_next(out.raw, &pos, &user) && user.value.len == 4);
    bt_buf_deinit(&b);
}

TEST(empty_and_wrong)
{
    struct bt_mqtt_props out = { 0 };

    CHECK_INT(bt_mqtt_props_read((struct bt_slice){ NULL, 0 }, BT_MQTT_PUBLISH, &out), 0);
    CHECK_INT(out.present, 0);
    CHECK(bt_mqtt_props_read(text("\x08"), BT_MQTT_PUBLISH, &out) != 0);
    CHECK(bt_mqtt_props_read(text("\x7f"), BT_MQTT_PUBLISH, &out) != 0);
}
