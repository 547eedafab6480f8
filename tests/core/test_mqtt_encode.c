/* The encoder: exact bytes, limits, what version 3 makes of version 5, and round trips of
 * every packet through the decoder. */
#include "core/mqtt_encode.c"

#include "core/mem.h"
#include "tests/core/mqtt_again.h"
#include "tests/core/mqtt_hex.h"

static struct bt_buf buf;

static void same_bytes(const char *want)
{
    size_t n;
    uint8_t *bytes = hex(want, &n);
    bool same = n == buf.len && memcmp(bytes, buf.data, n) == 0;

    free(bytes);
    buf.len = 0;
    if (!same)
        TEST_END_(1, "not %s", want);
}

/* Packets in their shortest form: decoding and encoding gives the same bytes. */
static const struct {
    uint8_t version; /* the connection's; CONNECT is read with 0 */
    const char *bytes;
} round_trips[] = {
    { 0, "100d 0004'MQTT' 04 02 003c 0001'a'" },
    { 0, "1019 0006'MQIsdp' 03 c2 000a 0001'a' 0001'u' 0005'p' 00 ff 00 01" },
    { 0, "1015 0004'MQTT' 04 2e 003c 0001'a' 0001't' 0003'bye'" },
    { 0, "1010 0004'MQTT' 05 42 003c 00 0000 0001'p'" },
    { 0, "1034 0004'MQTT' 05 f4 003c 15 1100000001 150001'm' 160001'd' 1701 210002 220003"
         " 0001'a' 07 0101 1800000005 0001't' 0001'm' 0001'u' 0001'p'" },
    { 3, "2002 0001" },
    { 4, "2002 0100" },
    { 5, "2003 008700" },
    { 5, "2003 010000" },
    { 5, "2018 0000 15 120001'i' 130005 1a0001'r' 1c0001's' 2400 2500 2800" },
    { 3, "3805 0001'a' 'xy'" },
    { 4, "3d05 0001'a' ffff" },
    { 4, "3505 0001'a' 0009" },
    { 5, "321b 0001'a' 0007 1e 0101 0200000001 030001'c' 080001'r' 090000 0b01 0b8001"
         " 260001'k' 0001'v'" },
    { 5, "3006 0000 03 230001" },
    { 4, "4002 0001" },
    { 5, "5003 000110" },
    { 5, "6202 0001" },
    { 5, "7008 0001 92 04 1f0001'x'" },
    { 4, "820a 0001 0001'a' 01 0001'b' 02" },
    { 5, "8209 0001 02 0b05 0001'a' 2e" },
    { 3, "9006 0001 00010280" },
    { 5, "9005 0001 00 02 9e" },
    { 4, "a208 0001 0001'a' 0001'b'" },
    { 5, "a20d 0001 07 260001'k' 0001'v' 0001'a'" },
    { 4, "b002 0001" },
    { 5, "b005 0001 00 00 11" },
    { 4, "c000" },
    { 5, "d000" },
    { 4, "e000" },
    { 5, "e000" },
    { 5, "e001 04" },
    { 5, "e00b 9d 09 1c0006'others'" },
    { 5, "f000" },
    { 5, "f00a 18 08 150001'm' 160001'd'" },
};

TEST(round_trips)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(round_trips); i++) {
        struct bt_mqtt_packet p;
        size_t n;
        uint8_t *bytes = hex(round_trips[i].bytes, &n);
        int r;

        bytes[1] = (uint8_t)(n - 2);
        r = bt_mqtt_decode(bytes, n, round_trips[i].version, &p);
        if (r == 0)
            r = encode_again(&buf, round_trips[i].version, &p);
        if (r != 0 || buf.len != n || memcmp(buf.data, bytes, n) != 0)
            TEST_END_(1, "%s: %#x, %zu bytes", round_trips[i].bytes, (unsigned)r,
                      buf.len);
        buf.len = 0;
        free(bytes);
    }
}

/* Members come out as they went in. */
TEST(connect_members)
{
    struct bt_mqtt_connect c = {
        .version = BT_MQTT_50,
        .has_username = true,
        .has_password = true,
        .keepalive = 300,
        .client_id = S("id"),
        .username = S("user"),
        .password = S("pass"),
        .will = { .present = true,
                  .retain = true,
                  .qos = 2,
                  .topic = S("w/t"),
                  .payload = S("gone"),
                  .props = { .present = 1u << BT_MQTT_P_WILL_DELAY, .will_delay = 9 } },
    };
    struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_MAX_PACKET,
                                   .max_packet = 0x12345678 };
    struct bt_mqtt_packet p;

    CHECK_INT(bt_mqtt_encode_connect(&buf, &c, &props), 0);
    CHECK_INT(bt_mqtt_decode(buf.data, buf.len, 0, &p), 0);
    CHECK_INT(p.type, BT_MQTT_CONNECT);
    CHECK_INT(p.connect.version, 5);
    CHECK(!p.connect.clean && p.connect.has_username && p.connect.has_password);
    CHECK_INT(p.connect.keepalive, 300);
    CHECK(slice_is(p.connect.client_id, "id") && slice_is(p.connect.username, "user"));
    CHECK(slice_is(p.connect.password, "pass"));
    CHECK(p.connect.will.present && p.connect.will.retain);
    CHECK_INT(p.connect.will.qos, 2);
    CHECK(slice_is(p.connect.will.topic, "w/t"));
    CHECK(slice_is(p.connect.will.payload, "gone"));
    CHECK_INT(p.connect.will.props.will_delay, 9);
    CHECK_INT(p.props.max_packet, 0x12345678);
    buf.len = 0;
}

TEST(publish_members)
{
    const struct bt_mqtt_user users[] = { { S("a"), S("1") }, { S("a"), S("") } };
    struct bt_mqtt_publish in = { .dup = true,
                                  .retain = true,
                                  .qos = 2,
                                  .pid = 0xabcd,
                                  .topic = S("t/\xc3\xa4"),
                                  .payload = S("body") };
    struct bt_mqtt_props props = {
        .present = 1u << BT_MQTT_P_RESPONSE_TOPIC | 1u << BT_MQTT_P_CORRELATION_DATA,
        .response_topic = S("r"),
        .correlation_data = S("c\0d"),
        .subids = { 1, 268435455 },
        .n_subids = 2,
        .users = users,
        .n_users = 2,
    };
    struct bt_mqtt_publish out;
    struct bt_mqtt_props back;
    struct bt_mqtt_user user;
    size_t pos = 0;

    CHECK_INT(bt_mqtt_encode_publish(&buf, 5, &in, &props), 0);
    CHECK_INT(bt_mqtt_decode_publish(buf.data, buf.len, 5, &out, &back), 0);
    CHECK(out.dup && out.retain && out.qos == 2 && out.pid == 0xabcd);
    CHECK(slice_is(out.topic, "t/\xc3\xa4") && slice_is(out.payload, "body"));
    CHECK(slice_is(back.response_topic, "r"));
    CHECK_INT(back.correlation_data.len, 3);
    CHECK_INT(back.n_subids, 2);
    CHECK_INT(back.subids[1], 268435455);
    CHECK(bt_mqtt_user_next(back.raw, &pos, &user) && slice_is(user.value, "1"));
    CHECK(bt_mqtt_user_next(back.raw, &pos, &user) && slice_is(user.value, ""));
    CHECK(!bt_mqtt_user_next(back.raw, &pos, &user));
    /* The payload is a slice of the input: nothing was copied. */
    CHECK(out.payload.ptr + 4 == buf.data + buf.len);
    buf.len = 0;
}

TEST(subscribe_members)
{
    const struct bt_mqtt_sub subs[] = {
        { .filter = S("a/+"), .qos = 1, .no_local = true, .retain_handling = 2 },
        { .filter = S("#"), .qos = 2, .retain_as_published = true },
    };
    struct bt_mqtt_packet p;
    struct bt_mqtt_sub sub;
    size_t pos = 0;

    CHECK_INT(bt_mqtt_encode_subscribe(&buf, 5, 7, subs, 2, NULL), 0);
    CHECK_INT(bt_mqtt_decode(buf.data, buf.len, 5, &p), 0);
    CHECK_INT(p.pid, 7);
    CHECK(bt_mqtt_sub_next(p.list, 5, &pos, &sub));
    CHECK(slice_is(sub.filter, "a/+") && sub.qos == 1 && sub.no_local);
    CHECK(!sub.retain_as_published && sub.retain_handling == 2);
    CHECK(bt_mqtt_sub_next(p.list, 5, &pos, &sub));
    CHECK(slice_is(sub.filter, "#") && sub.qos == 2 && sub.retain_as_published);
    CHECK(!bt_mqtt_sub_next(p.list, 5, &pos, &sub));
    buf.len = 0;
}

/* Version 3 gets what it knows: no properties, its own codes, no reasons. */
TEST(version_3)
{
    const struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_REASON_STRING,
                                         .reason_string = S("why") };
    const struct bt_mqtt_sub sub = { .filter = S("a"), .qos = 1, .no_local = true };
    const uint8_t reasons[] = { 1, BT_MQTT_NOT_AUTHORIZED };

    CHECK_INT(bt_mqtt_encode_connack(&buf, 4, true, 0, &props), 0);
    same_bytes("2002 0100");
    CHECK_INT(bt_mqtt_encode_connack(&buf, 3, true, 0, &props), 0);
    same_bytes("2002 0000");
    CHECK_INT(bt_mqtt_encode_connack(&buf, 4, true, BT_MQTT_BAD_LOGIN, &props), 0);
    same_bytes("2002 0004");
    CHECK_INT(bt_mqtt_encode_ack(&buf, 4, BT_MQTT_PUBREL, 1, 0x92, &props), 0);
    same_bytes("6202 0001");
    CHECK_INT(bt_mqtt_encode_suback(&buf, 4, BT_MQTT_SUBACK, 1, reasons, 2, &props), 0);
    same_bytes("9004 0001 0180");
    CHECK_INT(bt_mqtt_encode_suback(&buf, 4, BT_MQTT_UNSUBACK, 1, reasons, 2, &props), 0);
    same_bytes("b002 0001");
    CHECK_INT(bt_mqtt_encode_subscribe(&buf, 4, 1, &sub, 1, &props), 0);
    same_bytes("8206 0001 0001'a' 01");
    CHECK_INT(bt_mqtt_encode_simple(&buf, 4, BT_MQTT_DISCONNECT, 0x8e, &props), 0);
    same_bytes("e000");
}

TEST(property_block_alone)
{
    const struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_TOPIC_ALIAS,
                                         .topic_alias = 258 };

    CHECK_INT(bt_mqtt_encode_props(&buf, NULL), 0);
    same_bytes("00");
    CHECK_INT(bt_mqtt_encode_props(&buf, &props), 0);
    same_bytes("03 230102");
}

TEST(varint)
{
    static const struct {
        uint32_t v;
        const char *bytes;
    } rows[] = { { 0, "00" },
                 { 127, "7f" },
                 { 128, "8001" },
                 { 16383, "ff7f" },
                 { 16384, "808001" },
                 { 2097151, "ffff7f" },
                 { 2097152, "80808001" },
                 { 268435455, "ffffff7f" } };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        CHECK_INT(bt_buf_reserve(&buf, 4), 0);
        buf.len = bt_mqtt_varint(buf.data, rows[i].v);
        same_bytes(rows[i].bytes);
    }
    /* Too large a number stays in its four bytes. */
    CHECK_INT(bt_buf_reserve(&buf, 4), 0);
    CHECK_INT(bt_mqtt_varint(buf.data, UINT32_MAX), 4);
}

TEST(what_cannot_be_said)
{
    const struct bt_mqtt_sub sub = { .filter = S("a") };
    const struct bt_slice filter = S("a");
    const struct bt_mqtt_publish qos3 = { .qos = 3, .pid = 1, .topic = S("a") };
    const struct bt_mqtt_publish no_pid = { .qos = 1, .topic = S("a") };
    const struct bt_mqtt_connect alone = { .version = 4, .has_password = true };
    const struct bt_mqtt_connect version = { .version = 6 };
    const uint8_t reason = 0;

    CHECK_INT(bt_mqtt_encode_publish(&buf, 4, &qos3, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_publish(&buf, 4, &no_pid, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_connect(&buf, &alone, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_connect(&buf, &version, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_ack(&buf, 4, BT_MQTT_PUBACK, 0, 0, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_ack(&buf, 4, BT_MQTT_SUBACK, 1, 0, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_subscribe(&buf, 4, 0, &sub, 1, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_subscribe(&buf, 4, 1, &sub, 0, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_unsubscribe(&buf, 4, 0, &filter, 1, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_unsubscribe(&buf, 4, 1, &filter, 0, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_suback(&buf, 5, BT_MQTT_SUBACK, 0, &reason, 1, NULL),
              BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_suback(&buf, 5, BT_MQTT_UNSUBACK, 1, &reason, 0, NULL),
              BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_simple(&buf, 4, BT_MQTT_AUTH, 0, NULL), BT_EINVAL);
    CHECK_INT(bt_mqtt_encode_simple(&buf, 5, BT_MQTT_PUBLISH, 0, NULL), BT_EINVAL);
    CHECK_INT(buf.len, 0);
}

TEST(limits)
{
    static uint8_t large[65536];
    struct bt_mqtt_publish p = { .topic = { large, 65536 } };
    struct bt_mqtt_props props = { .present = 1u << BT_MQTT_P_CONTENT_TYPE,
                                   .content_type = { large, 65536 } };
    struct bt_buf small = { .max = 16 };

    CHECK_INT(bt_mqtt_encode_publish(&buf, 4, &p, NULL), BT_ELIMIT);
    p.topic = S("a");
    CHECK_INT(bt_mqtt_encode_publish(&buf, 5, &p, &props), BT_ELIMIT);
    CHECK_INT(bt_mqtt_encode_props(&buf, &props), BT_ELIMIT);
    /* Never read: the size alone is refused. */
    p.payload = (struct bt_slice){ large, BT_MQTT_MAX_REMAINING };
    CHECK_INT(bt_mqtt_encode_publish(&buf, 4, &p, NULL), BT_ELIMIT);
    p.payload.len = 100;
    CHECK_INT(bt_mqtt_encode_publish(&small, 4, &p, NULL), BT_ELIMIT);
    CHECK_INT(small.len, 0);
    CHECK_INT(buf.len, 0);
    bt_buf_deinit(&small);
}

TEST(out_of_memory)
{
    const struct bt_mqtt_publish p = { .topic = S("a") };
    struct bt_buf fresh = { 0 };
    int r;

    bt_mem_fail_from(1);
    r = bt_mqtt_encode_publish(&fresh, 4, &p, NULL);
    bt_mem_fail_from(0);
    CHECK_INT(r, BT_ENOMEM);
    CHECK_INT(fresh.len, 0);
    bt_buf_deinit(&fresh);
    bt_buf_deinit(&buf);
}
