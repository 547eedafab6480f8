/* A property block without its length. */
#include "core/buf.h"
#include "core/mqtt.h"
#include "tests/harness.h"

TEST(what_was_written_is_read)
{
    struct bt_mqtt_user users[] = { { bt_slice_of("error"), bt_slice_of("true") } };
    struct bt_mqtt_props in = { .response_topic = bt_slice_of("r/t"),
                                .correlation_data = bt_slice_of("c"),
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
    CHECK(bt_mqtt_props_read(bt_slice_of("\x08"), BT_MQTT_PUBLISH, &out) != 0);
    CHECK(bt_mqtt_props_read(bt_slice_of("\x7f"), BT_MQTT_PUBLISH, &out) != 0);
}
