/* The property table: each property in each packet, values set from text. */
#include "core/mqtt_props.c"

#include "tests/core/mqtt_hex.h"

/* A legal block with one property. */
static size_t block_of(unsigned prop, uint8_t *out)
{
    static const uint8_t value[] = {
        [U8] = 1, [U16] = 2, [U32] = 4, [VARINT] = 1, [TEXT] = 3, [BINARY] = 3, [PAIR] = 6
    };
    size_t n = value[rows[prop].kind];

    memset(out, 0, 16);
    out[0] = (uint8_t)(1 + n);
    out[1] = rows[prop].id;
    if (n >= 3 && rows[prop].kind >= TEXT) {
        out[3] = 1;
        out[4] = 'a';
        if (n == 6) {
            out[6] = 1;
            out[7] = 'b';
        }
    } else {
        out[1 + n] = 1;
    }
    return 2 + n;
}

/* MQTT 5.0 table 2-4, row by row, written independently of the table of the code: W is
 * the will, then the packets' types in hex. */
static const struct {
    unsigned prop;
    const char *packets;
} allowed[] = {
    { BT_MQTT_P_PAYLOAD_FORMAT, "3W" },
    { BT_MQTT_P_MESSAGE_EXPIRY, "3W" },
    { BT_MQTT_P_CONTENT_TYPE, "3W" },
    { BT_MQTT_P_RESPONSE_TOPIC, "3W" },
    { BT_MQTT_P_CORRELATION_DATA, "3W" },
    { BT_MQTT_P_SUBSCRIPTION_ID, "38" },
    { BT_MQTT_P_SESSION_EXPIRY, "12e" },
    { BT_MQTT_P_ASSIGNED_CLIENT_ID, "2" },
    { BT_MQTT_P_SERVER_KEEPALIVE, "2" },
    { BT_MQTT_P_AUTH_METHOD, "12f" },
    { BT_MQTT_P_AUTH_DATA, "12f" },
    { BT_MQTT_P_REQUEST_PROBLEM, "1" },
    { BT_MQTT_P_WILL_DELAY, "W" },
    { BT_MQTT_P_REQUEST_RESPONSE, "1" },
    { BT_MQTT_P_RESPONSE_INFO, "2" },
    { BT_MQTT_P_SERVER_REFERENCE, "2e" },
    { BT_MQTT_P_REASON_STRING, "245679bef" },
    { BT_MQTT_P_RECEIVE_MAX, "12" },
    { BT_MQTT_P_TOPIC_ALIAS_MAX, "12" },
    { BT_MQTT_P_TOPIC_ALIAS, "3" },
    { BT_MQTT_P_MAX_QOS, "2" },
    { BT_MQTT_P_RETAIN_AVAILABLE, "2" },
    { BT_MQTT_P_USER, "123W456789abef" },
    { BT_MQTT_P_MAX_PACKET, "12" },
    { BT_MQTT_P_WILDCARDS_AVAILABLE, "2" },
    { BT_MQTT_P_SUBIDS_AVAILABLE, "2" },
    { BT_MQTT_P_SHARED_AVAILABLE, "2" },
};

TEST(where_each_may_stand)
{
    CHECK_INT(BT_ARRAY_LEN(allowed), BT_MQTT_P_COUNT);
    for (size_t i = 0; i < BT_ARRAY_LEN(allowed); i++) {
        for (unsigned where = 0; where <= BT_MQTT_AUTH; where++) {
            uint8_t block[16];
            size_t n = block_of(allowed[i].prop, block);
            struct bt_mqtt_cur c = { block, block + n, false };
            struct bt_mqtt_props props = { 0 };
            char name = "W123456789abcdef"[where];
            bool want = strchr(allowed[i].packets, name) != NULL;
            int r = bt_mqtt_props_decode(&c, where, &props);

            if (where == BT_MQTT_PINGREQ || where == BT_MQTT_PINGRESP)
                continue;
            if (r != (want ? 0 : BT_MQTT_MALFORMED))
                TEST_END_(1, "property %u in %c: %#x", allowed[i].prop, name,
                          (unsigned)r);
            if (want)
                CHECK_INT(props.present, 1u << allowed[i].prop);
        }
    }
}

TEST(what_may_stand_twice)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(allowed); i++) {
        uint8_t block[32];
        size_t n = block_of(allowed[i].prop, block);
        struct bt_mqtt_cur c = { block, block + 2 * n - 1, false };
        struct bt_mqtt_props props = { 0 };
        unsigned prop = allowed[i].prop, where = 0;
        bool many = prop == BT_MQTT_P_USER || prop == BT_MQTT_P_SUBSCRIPTION_ID;

        memcpy(block + n, block + 1, n - 1);
        block[0] = (uint8_t)(2 * (n - 1));
        if (allowed[i].packets[0] != 'W')
            where = (unsigned)(allowed[i].packets[0] - '0');
        CHECK_INT(bt_mqtt_props_decode(&c, where, &props),
                  many ? 0 : BT_MQTT_PROTOCOL_ERROR);
    }
}

TEST(more_subscription_ids_than_kept)
{
    uint8_t block[1 + 2 * 20];
    struct bt_mqtt_cur c = { block, block + sizeof(block), false };
    struct bt_mqtt_props props = { 0 };

    block[0] = 40;
    for (size_t i = 0; i < 20; i++) {
        block[1 + 2 * i] = 0x0b;
        block[2 + 2 * i] = (uint8_t)(i + 1);
    }
    CHECK_INT(bt_mqtt_props_decode(&c, BT_MQTT_PUBLISH, &props), 0);
    CHECK_INT(props.n_subids, BT_MQTT_MAX_SUBIDS);
    CHECK_INT(props.subids[BT_MQTT_MAX_SUBIDS - 1], BT_MQTT_MAX_SUBIDS);
    CHECK_INT(props.raw.len, 40);
}

TEST(user_properties_of_any_bytes)
{
    size_t n, pos = 0;
    uint8_t *raw = hex("0101 260001'k' 0001'v' 030001'x' 260001", &n);
    struct bt_mqtt_user user;

    CHECK(bt_mqtt_user_next((struct bt_slice){ raw, n }, &pos, &user));
    CHECK(slice_is(user.name, "k") && slice_is(user.value, "v"));
    CHECK(!bt_mqtt_user_next((struct bt_slice){ raw, n }, &pos, &user));
    CHECK(!bt_mqtt_user_next((struct bt_slice){ raw, n }, &pos, &user));
    pos = 0;
    CHECK(!bt_mqtt_user_next((struct bt_slice){ NULL, 0 }, &pos, &user));
    free(raw);
}

TEST(set_from_text)
{
    static const struct {
        unsigned where;
        const char *name, *value;
        int want;
    } set_rows[] = {
        { BT_MQTT_PUBLISH, "content-type", "text/plain", 0 },
        { BT_MQTT_PUBLISH, "topic-alias", "65535", 0 },
        { BT_MQTT_PUBLISH, "topic-alias", "65536", BT_EINVAL },
        { BT_MQTT_PUBLISH, "topic-alias", "0", BT_EINVAL },
        { BT_MQTT_PUBLISH, "topic-alias", "-1", BT_EINVAL },
        { BT_MQTT_PUBLISH, "topic-alias", "", BT_EINVAL },
        { BT_MQTT_PUBLISH, "topic-alias", "1x", BT_EINVAL },
        { BT_MQTT_PUBLISH, "message-expiry-interval", "4294967295", 0 },
        { BT_MQTT_PUBLISH, "message-expiry-interval", "4294967296", BT_EINVAL },
        { BT_MQTT_PUBLISH, "message-expiry-interval", "99999999999", BT_EINVAL },
        { BT_MQTT_PUBLISH, "payload-format-indicator", "2", BT_EINVAL },
        { BT_MQTT_PUBLISH, "response-topic", "a/#", BT_EINVAL },
        { BT_MQTT_PUBLISH, "content-type", "\xff", BT_EINVAL },
        { BT_MQTT_PUBLISH, "session-expiry-interval", "1", BT_EINVAL },
        { BT_MQTT_CONNECT, "session-expiry-interval", "1", 0 },
        { BT_MQTT_WILL, "will-delay-interval", "1", 0 },
        { BT_MQTT_SUBSCRIBE, "subscription-identifier", "268435456", BT_EINVAL },
        { BT_MQTT_PUBLISH, "user-property", "x", BT_EINVAL },
        { BT_MQTT_PUBLISH, "nonsense", "x", BT_EINVAL },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(set_rows); i++) {
        struct bt_mqtt_props props = { 0 };
        int r = bt_mqtt_prop_set_text(&props, set_rows[i].where, set_rows[i].name,
                                      set_rows[i].value);

        if (r != set_rows[i].want || (r == 0) != (props.present != 0))
            TEST_END_(1, "%s %s: %d", set_rows[i].name, set_rows[i].value, r);
    }
}
