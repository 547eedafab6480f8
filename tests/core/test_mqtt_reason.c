/* Reason codes: texts, the codes of version 3, which packet carries which. */
#include "core/mqtt_reason.c"

#include "tests/harness.h"

TEST(every_row_is_in_order_and_has_text)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        CHECK(i == 0 || rows[i].code > rows[i - 1].code);
        CHECK(rows[i].text[0] != '\0' && rows[i].packets != 0);
        CHECK((rows[i].code < 0x80) == (rows[i].v3 == V3_OK));
    }
    CHECK_STR(bt_mqtt_reason_text(BT_MQTT_QUOTA), "quota exceeded");
    CHECK_STR(bt_mqtt_reason_text(0x7f), "unknown reason");
    CHECK_STR(bt_mqtt_reason_text(70000), "unknown reason");
}

TEST(version_3)
{
    CHECK_INT(bt_mqtt_connack_v3(BT_MQTT_SUCCESS), 0);
    CHECK_INT(bt_mqtt_connack_v3(BT_MQTT_BAD_VERSION), 1);
    CHECK_INT(bt_mqtt_connack_v3(BT_MQTT_BAD_CLIENT_ID), 2);
    CHECK_INT(bt_mqtt_connack_v3(BT_MQTT_BUSY), 3);
    CHECK_INT(bt_mqtt_connack_v3(BT_MQTT_BAD_LOGIN), 4);
    CHECK_INT(bt_mqtt_connack_v3(BT_MQTT_NOT_AUTHORIZED), 5);
    CHECK_INT(bt_mqtt_connack_v3(0xff), 3);
}

TEST(packets)
{
    CHECK(bt_mqtt_reason_ok(BT_MQTT_PUBREL, 0x92));
    CHECK(!bt_mqtt_reason_ok(BT_MQTT_PUBREC, 0x92));
    CHECK(bt_mqtt_reason_ok(BT_MQTT_SUBACK, 2));
    CHECK(!bt_mqtt_reason_ok(BT_MQTT_UNSUBACK, 2));
    CHECK(bt_mqtt_reason_ok(BT_MQTT_DISCONNECT, 4));
    CHECK(!bt_mqtt_reason_ok(BT_MQTT_DISCONNECT, 0x84));
    CHECK(!bt_mqtt_reason_ok(BT_MQTT_CONNACK, 0x03));
    CHECK(!bt_mqtt_reason_ok(BT_MQTT_PUBLISH, 0));
}
