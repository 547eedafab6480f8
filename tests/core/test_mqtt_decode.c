/* The decoder, packet by packet: rows of bytes with the answer. Legal packets are looked
 * at in detail in test_mqtt_encode.c; here is what is refused, and why. */
#include "core/mqtt_decode.c"

#include "tests/core/mqtt_hex.h"

enum { OK = 0, MAL = BT_MQTT_MALFORMED, PRO = BT_MQTT_PROTOCOL_ERROR };

struct row {
    const char *bytes;
    uint8_t version;
    int want;
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct bt_mqtt_packet p;
        size_t len;
        uint8_t *bytes = hex(rows[i].bytes, &len);
        int got = bt_mqtt_decode(bytes, len, rows[i].version, &p);

        free(bytes);
        if (got != rows[i].want)
            TEST_END_(1, "%s (version %d): %#x, expected %#x", rows[i].bytes,
                      rows[i].version, (unsigned)got, (unsigned)rows[i].want);
    }
}
#define CHECK_ROWS(rows) check_rows((rows), BT_ARRAY_LEN(rows))

TEST(frame)
{
    static const struct {
        const char *bytes;
        int want;
        size_t len;
    } rows[] = {
        { "", BT_MQTT_MORE, 0 },
        { "c0", BT_MQTT_MORE, 0 },
        { "c000", 0, 2 },
        { "3080", BT_MQTT_MORE, 0 },
        { "307f", 0, 129 },
        { "308001", 0, 131 },
        { "30ffff7f", 0, 4 + 2097151 },
        { "30ffffff", BT_MQTT_MORE, 0 },
        { "30ffffff7f", 0, 5 + (size_t)BT_MQTT_MAX_REMAINING },
        { "30ffffff80", MAL, 0 },
        { "30ffffffff01", MAL, 0 },
        { "308000", MAL, 0 },
        { "30818000", MAL, 0 },
        { "00", MAL, 0 },
        { "0f00", MAL, 0 },
        { "3600", MAL, 0 },
        { "3e00", MAL, 0 },
        { "3d00", 0, 2 },
        { "1100", MAL, 0 },
        { "2100", MAL, 0 },
        { "4200", MAL, 0 },
        { "5200", MAL, 0 },
        { "6000", MAL, 0 },
        { "6202", 0, 4 },
        { "7100", MAL, 0 },
        { "8000", MAL, 0 },
        { "8205", 0, 7 },
        { "9100", MAL, 0 },
        { "a000", MAL, 0 },
        { "a300", MAL, 0 },
        { "b100", MAL, 0 },
        { "c100", MAL, 0 },
        { "d800", MAL, 0 },
        { "e100", MAL, 0 },
        { "f100", MAL, 0 },
        { "f000", 0, 2 },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        size_t n, len = 0;
        uint8_t *bytes = hex(rows[i].bytes, &n);
        int got = bt_mqtt_frame(bytes, n, &len);

        free(bytes);
        if (got != rows[i].want || (got == 0 && len != rows[i].len))
            TEST_END_(1, "%s: %#x, %zu", rows[i].bytes, (unsigned)got, len);
    }
}

TEST(whole_packet_only)
{
    static const struct row rows[] = {
        { "c000", 4, OK },          { "c0", 4, MAL },
        { "c00000", 4, MAL },       { "", 4, MAL },
        { "c0", 0, MAL },           { "c000", 0, PRO },
        { "3003 0001'a'", 0, PRO }, { "c001 00", 4, MAL },
        { "d001 00", 5, MAL },      { "4003 0001", 4, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(connect_legal)
{
    static const struct row rows[] = {
        { "100d 0004'MQTT' 04 02 003c 0001'a'", 0, OK },
        { "100c 0004'MQTT' 04 02 003c 0000", 0, OK },
        { "100f 0006'MQIsdp' 03 02 003c 0001'a'", 0, OK },
        { "100d 0004'MQTT' 05 02 003c 00 0000", 0, OK },
        { "100d 0004'MQTT' 05 00 003c 00 0000", 0, OK },
        { "1010 0004'MQTT' 05 42 003c 00 0000 0001'p'", 0, OK },
        { "1010 0004'MQTT' 04 82 003c 0001'a' 0001'u'", 0, OK },
        { "1010 0004'MQTT' 04 82 003c 0001'a' 0001'u'", 4, PRO },
        /* MQTT 3.1: the flag says user name, the packet ends before it */
        { "100f 0006'MQIsdp' 03 82 003c 0001'a'", 0, OK },
        { "1015 0004'MQTT' 04 2e 003c 0001'a' 0001't' 0003'bye'", 0, OK },
        { "1019 0004'MQTT' 05 0e 003c 00 0001'a' 05 18 00000005 0001't' 0000", 0, OK },
    };

    CHECK_ROWS(rows);
}

TEST(connect_refused)
{
    static const struct row rows[] = {
        { "1000", 0, MAL },
        { "1002 0004", 0, MAL },
        { "100d 0004'MQTX' 04 02 003c 0001'a'", 0, BT_MQTT_BAD_VERSION },
        { "100d 0004'mqtt' 04 02 003c 0001'a'", 0, BT_MQTT_BAD_VERSION },
        { "100d 0004'MQTT' 03 02 003c 0001'a'", 0, BT_MQTT_BAD_VERSION },
        { "100d 0004'MQTT' 06 02 003c 0001'a'", 0, BT_MQTT_BAD_VERSION },
        { "100d 0004'MQTT' 00 02 003c 0001'a'", 0, BT_MQTT_BAD_VERSION },
        { "100f 0006'MQIsdp' 04 02 003c 0001'a'", 0, BT_MQTT_BAD_VERSION },
        { "100d 0004'MQTT' 04 03 003c 0001'a'", 0, MAL }, /* reserved flag */
        { "100d 0004'MQTT' 04 0a 003c 0001'a'", 0, MAL }, /* will QoS, no will */
        { "100d 0004'MQTT' 04 22 003c 0001'a'", 0, MAL }, /* will retain, no will */
        { "1012 0004'MQTT' 04 1e 003c 0001'a' 0001't' 0000", 0, MAL }, /* will QoS 3 */
        { "1010 0004'MQTT' 04 42 003c 0001'a' 0001'p'", 0, MAL }, /* password alone */
        { "100c 0004'MQTT' 04 00 003c 0000", 0, BT_MQTT_BAD_CLIENT_ID },
        { "100e 0006'MQIsdp' 03 02 003c 0000", 0, BT_MQTT_BAD_CLIENT_ID },
        { "100d 0004'MQTT' 04 02 003c 0002'a'", 0, MAL },
        { "100d 0004'MQTT' 04 02 003c 0001 00", 0, MAL }, /* U+0000 */
        { "100d 0004'MQTT' 04 02 003c 0001 ff", 0, MAL },
        { "100e 0004'MQTT' 04 02 003c 0001'a' 00", 0, MAL }, /* more behind */
        { "100d 0004'MQTT' 04 82 003c 0001'a'", 0, MAL },    /* no user name */
        { "1010 0004'MQTT' 04 82 003c 0001'a' 0001 ff", 0, MAL },
        { "1010 0004'MQTT' 04 c2 003c 0001'a' 0001'u'", 0, MAL }, /* no password */
        { "100d 0004'MQTT' 04 06 003c 0001'a'", 0, MAL },         /* no will */
        { "1012 0004'MQTT' 04 06 003c 0001'a' 0001'#' 0000", 0, BT_MQTT_BAD_TOPIC },
        { "1011 0004'MQTT' 04 06 003c 0001'a' 0000 0000", 0, BT_MQTT_BAD_TOPIC },
        { "1012 0004'MQTT' 04 06 003c 0001'a' 0001't' 0001", 0, MAL },
        { "100c 0004'MQTT' 05 02 003c 0000", 0, OK + MAL },          /* no properties */
        { "1012 0004'MQTT' 05 02 003c 05 0200000001 0000", 0, MAL }, /* not there */
        { "1010 0004'MQTT' 05 02 003c 03 210000 0000", 0, PRO },
        { "1012 0004'MQTT' 05 02 003c 05 2700000000 0000", 0, PRO },
        { "100f 0004'MQTT' 05 02 003c 02 1702 0000", 0, PRO },
        { "1011 0004'MQTT' 05 02 003c 04 160001'd' 0000", 0, PRO }, /* no method */
        { "1011 0004'MQTT' 05 02 003c 04 1700 1700 0000", 0, PRO },
        { "100d 0004'MQTT' 05 02 003c 8000 0000", 0, MAL },
        /* a will property in the packet, a packet property in the will */
        { "1012 0004'MQTT' 05 02 003c 05 1800000001 0000", 0, MAL },
        { "1017 0004'MQTT' 05 06 003c 00 0000 05 1100000001 0001't' 0000", 0, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(bad_version_says_which)
{
    struct bt_mqtt_packet p;
    size_t n;
    uint8_t *bytes = hex("100d 0004'MQTT' 06 02 003c 0001'a'", &n);
    int r = bt_mqtt_decode(bytes, n, 0, &p);

    free(bytes);
    CHECK_INT(r, BT_MQTT_BAD_VERSION);
    CHECK_INT(p.connect.version, 6);
}

TEST(connack)
{
    static const struct row rows[] = {
        { "2002 0000", 4, OK },
        { "2002 0100", 4, OK },
        { "2002 0005", 4, OK },
        { "2002 ff00", 3, OK },
        { "2003 000000", 5, OK },
        { "2003 008700", 5, OK },
        { "2000", 4, MAL },
        { "2001 00", 4, MAL },
        { "2003 000000", 4, MAL },
        { "2002 0200", 4, MAL },
        { "2002 0006", 4, MAL },
        { "2002 0105", 4, PRO },
        { "2002 0000", 5, MAL },
        { "2003 000100", 5, MAL },
        { "2003 018700", 5, PRO },
        { "2005 0000 02 2402", 5, PRO },
        { "2005 0000 02 2401", 5, OK },
        { "2007 0000 04 2401 2401", 5, PRO },
        { "2006 0000 03 230001", 5, MAL },
        { "2004 0000 00 00", 5, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(publish)
{
    static const struct row rows[] = {
        { "3003 0001'a'", 4, OK },
        { "3003 0001'a'", 3, OK },
        { "3006 0001'a' 'xyz'", 4, OK },
        { "3004 0001'a' 00", 5, OK },
        { "3205 0001'a' 0001", 4, OK },
        { "3d05 0001'a' ffff", 4, OK },
        { "3006 0000 03 230001", 5, OK },
        { "300f 0001'a' 0b 0b01 0b02 0b03 0b04 0102 ", 5, MAL },
        { "300a 0001'a' 06 0b01 0b02 0b03", 5, OK },
        { "3000", 4, MAL },
        { "3001 00", 4, MAL },
        { "3002 0001", 4, MAL },
        { "3002 0000", 4, MAL },
        { "3003 0000 00", 5, PRO }, /* no topic, no alias */
        { "3803 0001'a'", 4, MAL }, /* DUP at QoS 0 */
        { "3803 0001'a'", 3, OK },
        { "3605 0001'a' 0001", 4, MAL }, /* QoS 3 */
        { "3205 0001'a' 0000", 4, PRO },
        { "3204 0001'a' 00", 4, MAL },
        { "3203 0001'a'", 4, MAL },
        { "3003 0001'+'", 4, BT_MQTT_BAD_TOPIC },
        { "3003 0001'#'", 4, BT_MQTT_BAD_TOPIC },
        { "300b 0009'a/bbbbb/#'", 4, BT_MQTT_BAD_TOPIC },
        { "3003 0001 00", 4, MAL },
        { "3005 0003 eda080", 4, MAL },
        { "3004 0002 c080", 4, MAL },
        { "3003 0001'a'", 5, MAL }, /* no properties */
        { "3004 0001'a' 01", 5, MAL },
        { "3005 0001'a' 8000", 5, MAL },
        { "3005 0001'a' 0101", 5, MAL },
        { "3006 0001'a' 02 0102", 5, PRO },
        { "3008 0001'a' 04 0101 0100", 5, PRO },
        { "3006 0001'a' 02 0b00", 5, PRO },
        { "3007 0001'a' 03 0b8000", 5, MAL },
        { "3009 0001'a' 05 0bffffffff", 5, MAL },
        { "3007 0001'a' 03 230000", 5, BT_MQTT_BAD_ALIAS },
        { "300a 0001'a' 06 230001 230002", 5, PRO },
        { "3008 0001'a' 04 080001'+'", 5, PRO },
        { "3007 0001'a' 03 080000", 5, PRO },
        { "3008 0001'a' 04 080001 ff", 5, MAL },
        { "3008 0001'a' 04 030001 00", 5, MAL },
        { "3008 0001'a' 04 090001 ff", 5, OK }, /* correlation data is binary */
        { "3008 0001'a' 04 090002 ff", 5, MAL },
        { "3009 0001'a' 05 2600000000", 5, OK },
        { "300a 0001'a' 06 260001 ff0000", 5, MAL },
        { "300a 0001'a' 06 260000 0001 ff", 5, MAL },
        { "3006 0001'a' 02 0000", 5, MAL },
        { "3006 0001'a' 02 7f00", 5, MAL },
        { "3006 0001'a' 02 8100", 5, MAL },
        { "3009 0001'a' 05 1100000001", 5, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(publish_wants_publish)
{
    static const uint8_t ping[] = { 0xc0, 0 };
    struct bt_mqtt_publish p;
    struct bt_mqtt_props props;

    CHECK_INT(bt_mqtt_decode_publish(ping, 2, 5, &p, &props), MAL);
    CHECK_INT(bt_mqtt_decode_publish(ping, 0, 5, &p, &props), MAL);
}

TEST(acknowledgements)
{
    static const struct row rows[] = {
        { "4002 0001", 4, OK },
        { "5002 0001", 4, OK },
        { "6202 0001", 4, OK },
        { "7002 0001", 4, OK },
        { "6a02 0001", 3, OK }, /* DUP, MQTT 3.1 only */
        { "6a02 0001", 4, MAL },
        { "6a02 0001", 5, MAL },
        { "4002 0001", 5, OK },
        { "4003 000110", 5, OK },
        { "4004 000110 00", 5, OK },
        { "5003 000192", 5, MAL }, /* not a reason of PUBREC */
        { "6203 000192", 5, OK },
        { "7003 000180", 5, MAL },
        { "4003 000101", 5, MAL },
        { "4003 0001ff", 5, MAL },
        { "4000", 4, MAL },
        { "4001 00", 4, MAL },
        { "4002 0000", 4, PRO },
        { "5002 0000", 5, PRO },
        { "6202 0000", 4, PRO },
        { "7002 0000", 4, PRO },
        { "4003 000100", 4, MAL },
        { "4005 000100 00 00", 5, MAL },
        { "4005 000100 02 01", 5, MAL },
        { "4006 000100 02 0101", 5, MAL },
        { "4008 000100 04 1f0001'x'", 5, OK },
        { "400c 000100 08 1f0001'x' 1f0001'y'", 5, PRO },
    };

    CHECK_ROWS(rows);
}

TEST(subscribe)
{
    static const struct row rows[] = {
        { "8206 0001 0001'a' 00", 4, OK },
        { "820a 0001 0001'a' 01 0001'b' 02", 4, OK },
        { "8207 0001 00 0001'a' 2e", 5, OK },
        { "8a06 0001 0001'a' 00", 3, OK },
        { "8a06 0001 0001'a' 00", 4, MAL },
        { "8200", 4, MAL },
        { "8202 0001", 4, PRO }, /* empty list */
        { "8203 0001 00", 5, PRO },
        { "8206 0000 0001'a' 00", 4, PRO },
        { "8205 0001 0001'a'", 4, MAL }, /* no options */
        { "8206 0001 0002'a' 00", 4, MAL },
        { "8204 0001 0001", 4, MAL },
        { "8207 0001 0001'a' 00 00", 4, MAL },
        { "8206 0001 0001'a' 03", 4, PRO }, /* QoS 3 */
        { "8206 0001 0001'a' 04", 4, MAL }, /* reserved in version 3 */
        { "8206 0001 0001'a' 80", 4, MAL },
        { "8207 0001 00 0001'a' 03", 5, PRO },
        { "8207 0001 00 0001'a' 40", 5, MAL },
        { "8207 0001 00 0001'a' 80", 5, MAL },
        { "8207 0001 00 0001'a' 30", 5, PRO }, /* retain handling 3 */
        { "8205 0001 0000 00", 4, OK },
        { "8207 0001 0002'a#' 00", 4, OK },
        { "8208 0001 0003'#/a' 00", 4, OK },
        { "8206 0001 0001 00 00", 4, MAL },
        { "8206 0001 0001 ff 00", 4, MAL },
        { "8210 0001 00 000a'$share/g/a' 00", 5, OK },
        { "8210 0001 00 000a'$share/g/a' 04", 5, PRO }, /* shared and no local */
        { "820f 0001 00 0009'$share/g/' 00", 5, OK },
        { "820f 0001 00 0009'$share//a' 00", 5, OK },
        { "8210 0001 00 000a'$share/+/a' 00", 5, OK },
        { "820e 0001 00 0008'$share/g' 00", 5, OK },
        { "8209 0001 02 0b01 0001'a' 00", 5, OK },
        { "8209 0001 02 0b00 0001'a' 00", 5, PRO },
        { "820b 0001 04 0b01 0b02 0001'a' 00", 5, PRO }, /* twice, unlike PUBLISH */
        { "820a 0001 03 230001 0001'a' 00", 5, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(unsubscribe)
{
    static const struct row rows[] = {
        { "a205 0001 0001'a'", 4, OK },    { "a208 0001 0001'a' 0001'b'", 4, OK },
        { "a206 0001 00 0001'a'", 5, OK }, { "aa05 0001 0001'a'", 3, OK },
        { "aa05 0001 0001'a'", 5, MAL },   { "a202 0001", 4, PRO },
        { "a203 0001 00", 5, PRO },        { "a205 0000 0001'a'", 4, PRO },
        { "a204 0001 0001", 4, MAL },      { "a206 0001 0001'a' 00", 4, MAL },
        { "a204 0001 0000", 4, OK },       { "a206 0001 0002'a+'", 4, OK },
        { "a205 0001 0001 ff", 4, MAL },   { "a208 0001 02 0b01 0001'a'", 5, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(suback_and_unsuback)
{
    static const struct row rows[] = {
        { "9003 0001 00", 4, OK },     { "9006 0001 00010280", 4, OK },
        { "9004 0001 00 02", 5, OK },  { "9004 0001 00 9e", 5, OK },
        { "b002 0001", 4, OK },        { "b004 0001 00 11", 5, OK },
        { "9002 0001", 4, PRO },       { "9003 0001 00", 5, PRO },
        { "9003 0000 00", 4, PRO },    { "9003 0001 03", 4, MAL },
        { "9003 0001 81", 4, MAL },    { "9004 0001 00 03", 5, MAL },
        { "9004 0001 00 11", 5, MAL }, { "9000", 4, MAL },
        { "b003 0001 00", 4, MAL },    { "b002 0000", 4, PRO },
        { "b003 0001 00", 5, PRO },    { "b004 0001 00 01", 5, MAL },
        { "b001 00", 4, MAL },
    };

    CHECK_ROWS(rows);
}

TEST(disconnect_and_auth)
{
    static const struct row rows[] = {
        { "e000", 3, OK },
        { "e000", 4, OK },
        { "e000", 5, OK },
        { "e001 04", 5, OK },
        { "e002 8e00", 5, OK },
        { "e007 00 05 1100000001", 5, OK },
        { "e001 00", 4, MAL },
        { "e001 01", 5, MAL },
        { "e001 84", 5, MAL },
        { "e002 0001", 5, MAL },
        { "e003 000000", 5, MAL },
        { "e005 00 03 210001", 5, MAL },
        { "f000", 5, OK },
        { "f006 18 04 150001'm'", 5, OK },
        { "f00a 18 08 150001'm' 160001'd'", 5, OK },
        { "f000", 4, MAL },
        { "f000", 3, MAL },
        { "f001 18", 5, PRO }, /* no method */
        { "f002 1800", 5, PRO },
        { "f006 18 04 160001'd'", 5, PRO },
        { "f006 80 04 150001'm'", 5, MAL },
        { "f00a 18 08 150001'm' 150001'm'", 5, PRO },
        { "f005 18 04 150001", 5, MAL },
    };

    CHECK_ROWS(rows);
}

/* A packet cut short anywhere, with its length made to fit, is refused or read, never
 * overrun. */
TEST(every_truncation)
{
    static const struct row rows[] = {
        { "1025 0004'MQTT' 05 ee 003c 05 1100000001 0001'a' 05 1800000005"
          " 0001't' 0001'm' 0001'u' 0001'p'",
          0, OK },
        { "8212 0001 02 0b01 0001'a' 00 0001'b' 01 0001'#' 02", 5, OK },
        { "3219 0001'a' 0007 12 0101 0200000001 030001'c' 260001'k' 0001'v'", 5, OK },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        size_t n;
        uint8_t *bytes = hex(rows[i].bytes, &n);

        for (size_t cut = 2; cut < n; cut++) {
            struct bt_mqtt_packet p;
            uint8_t *part = malloc(cut);

            if (part == NULL)
                abort();
            memcpy(part, bytes, cut);
            part[1] = (uint8_t)(cut - 2);
            (void)bt_mqtt_decode(part, cut, rows[i].version, &p);
            CHECK_INT(bt_mqtt_decode(part, cut - 1, rows[i].version, &p), MAL);
            free(part);
        }
        free(bytes);
    }
}

TEST(lists_never_overrun)
{
    static const uint8_t broken[] = { 0, 5, 'a' };
    struct bt_slice list = { broken, sizeof(broken) }, filter;
    struct bt_mqtt_sub sub;
    size_t pos = 0;

    CHECK(!bt_mqtt_sub_next(list, 5, &pos, &sub));
    CHECK(!bt_mqtt_filter_next(list, &pos, &filter));
    CHECK(!bt_mqtt_sub_next((struct bt_slice){ NULL, 0 }, 5, &pos, &sub));
    CHECK(!bt_mqtt_filter_next((struct bt_slice){ NULL, 0 }, &pos, &filter));
}
