/* The MQTT codec and the topic functions on any bytes. The first byte chooses the
 * version, the rest is one packet. What is decoded and encoded again must decode, and
 * encode to the same bytes. */
#include "core/mqtt.h"

#include "tests/core/mqtt_again.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void try_packet(const uint8_t *data, size_t size, uint8_t version)
{
    struct bt_buf first = { 0 }, second = { 0 };
    struct bt_mqtt_packet p;
    size_t len = 0;

    if (bt_mqtt_frame(data, size, &len) == 0)
        require(len >= 2);
    if (bt_mqtt_decode(data, size, version, &p) != 0)
        return;
    require(len == size);
    require(encode_again(&first, version, &p) == 0);
    require(bt_mqtt_frame(first.data, first.len, &len) == 0 && len == first.len);
    require(bt_mqtt_decode(first.data, first.len, version, &p) == 0);
    require(encode_again(&second, version, &p) == 0);
    require(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    bt_buf_deinit(&first);
    bt_buf_deinit(&second);
}

static void try_topics(const uint8_t *data, size_t size)
{
    size_t half = size / 2;
    struct bt_slice a = { data, half }, b = { data + half, size - half };

    if (bt_mqtt_topic_ok(b))
        require(bt_mqtt_filter_ok(b) || b.len >= 7);
    if (bt_mqtt_filter_ok(a) && bt_mqtt_topic_ok(b) && b.ptr[0] != '$')
        require(bt_mqtt_match(a, b) == bt_mqtt_covers(a, b) || a.ptr[0] == '$');
    (void)bt_mqtt_match(a, b);
    (void)bt_mqtt_covers(a, b);
    (void)bt_mqtt_covers(b, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t versions[] = { 0, BT_MQTT_31, BT_MQTT_311, BT_MQTT_50 };

    if (size == 0)
        return 0;
    try_packet(data + 1, size - 1, versions[data[0] & 3]);
    try_topics(data + 1, size - 1);
    return 0;
}
