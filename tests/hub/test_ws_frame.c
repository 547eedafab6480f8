#include "hub/net/ws_frame.c"

#include "tests/harness.h"

static const uint8_t key[4] = { 0x37, 0xfa, 0x21, 0x3d };

/* Appends a masked frame; returns its size. */
static size_t put(uint8_t *to, uint8_t first, const void *payload, size_t n)
{
    uint8_t head[HUB_WS_MAX_HEAD];
    size_t len = hub_ws_encode_head(head, HUB_WS_BINARY, n);

    head[0] = first;
    head[1] |= MASKED;
    memcpy(to, head, len);
    memcpy(to + len, key, 4);
    hub_ws_unmask(to + len + 4, payload, n, key);
    return len + 4 + n;
}

/* Decodes all in steps; payload of data frames to out, control frames to *control. */
static unsigned decode(const uint8_t *p, size_t n, size_t step, uint8_t *out, size_t *len,
                       uint8_t *control)
{
    struct hub_ws_decoder d = { 0 };
    size_t at = 0;

    *len = 0;
    while (at < n) {
        struct hub_ws_part part;
        unsigned code = hub_ws_decode(&d, p + at, BT_MIN(step, n - at), &part);

        if (code != 0)
            return code;
        CHECK(part.used > 0);
        at += part.used;
        if (!part.control) {
            hub_ws_unmask(out + *len, part.payload, part.len, part.mask);
            *len += part.len;
        } else if (part.end) {
            *control = part.op;
        }
    }
    return 0;
}

/* Works. */

TEST(the_example_of_the_standard)
{
    static const uint8_t wire[] = { 0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                    0x7f, 0x9f, 0x4d, 0x51, 0x58 };
    uint8_t out[8], control = 0;
    size_t n;

    CHECK_INT(decode(wire, sizeof(wire), sizeof(wire), out, &n, &control), 0);
    CHECK_INT(n, 5);
    CHECK_MEM(out, "Hello", 5);
}

TEST(unmasks_at_any_place_and_in_place)
{
    uint8_t from[80], want[80], to[80];

    for (size_t at = 0; at < 9; at++) {
        for (size_t n = 0; n < 60; n++) {
            for (size_t i = 0; i < sizeof(from); i++)
                from[i] = (uint8_t)test_random();
            for (size_t i = 0; i < n; i++)
                want[i] = from[at + i] ^ key[i % 4];
            hub_ws_unmask(to, from + at, n, key);
            CHECK_MEM(to, want, n);
            hub_ws_unmask(from, from + at, n, key);
            CHECK_MEM(from, want, n);
        }
    }
}

TEST(fragments_with_pings_between_them_in_any_steps)
{
    static uint8_t wire[70000 + 400], payload[70000], out[70000];
    uint8_t control = 0;
    size_t n = 0, len = 0;

    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)test_random();
    n += put(wire + n, HUB_WS_BINARY, payload, 300);
    n += put(wire + n, FIN | HUB_WS_PING, "abc", 3);
    n += put(wire + n, HUB_WS_MORE_OF, payload + 300, 0);
    n += put(wire + n, HUB_WS_MORE_OF, payload + 300, 66000);
    n += put(wire + n, FIN | HUB_WS_PONG, "", 0);
    n += put(wire + n, FIN | HUB_WS_MORE_OF, payload + 66300, 125);
    n += put(wire + n, FIN | HUB_WS_BINARY, payload + 66425, 126);
    for (size_t step = 1; step < 20; step++) {
        CHECK_INT(decode(wire, n, step, out, &len, &control), 0);
        CHECK_INT(len, 66551);
        CHECK_MEM(out, payload, len);
        CHECK_INT(control, HUB_WS_PONG);
    }
    CHECK_INT(decode(wire, n, n, out, &len, &control), 0);
    CHECK_MEM(out, payload, len);
}

TEST(heads_to_the_client)
{
    static const struct {
        uint64_t len;
        size_t n;
        uint8_t bytes[HUB_WS_MAX_HEAD];
    } rows[] = {
        { 0, 2, { 0x82, 0 } },
        { 125, 2, { 0x82, 125 } },
        { 126, 4, { 0x82, 126, 0, 126 } },
        { 65535, 4, { 0x82, 126, 0xff, 0xff } },
        { 65536, 10, { 0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0 } },
    };
    uint8_t out[HUB_WS_MAX_HEAD];

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        CHECK_INT(hub_ws_encode_head(out, HUB_WS_BINARY, rows[i].len), rows[i].n);
        CHECK_MEM(out, rows[i].bytes, rows[i].n);
    }
}

TEST(close_frames)
{
    uint8_t out[HUB_WS_MAX_SHORT];
    char text[200];
    unsigned code;

    CHECK_INT(hub_ws_encode_close(out, 1009, "big"), 5);
    CHECK_INT(hub_ws_decode_close(out, 5, &code), 0);
    CHECK_INT(code, 1009);
    CHECK_INT(hub_ws_decode_close(out, 0, &code), 0);
    CHECK_INT(code, HUB_WS_NO_CODE);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK_INT(hub_ws_encode_close(out, 1000, text), HUB_WS_MAX_SHORT);
}

/* Fails. */

TEST(broken_rules)
{
    static const struct {
        uint8_t bytes[16];
        size_t n;
        unsigned code;
    } rows[] = {
        { { 0xc2 }, 1, HUB_WS_PROTOCOL }, /* reserved bits */
        { { 0xa2 }, 1, HUB_WS_PROTOCOL },
        { { 0x92 }, 1, HUB_WS_PROTOCOL },
        { { 0x83 }, 1, HUB_WS_PROTOCOL }, /* reserved opcodes */
        { { 0x87 }, 1, HUB_WS_PROTOCOL },
        { { 0x8b }, 1, HUB_WS_PROTOCOL },
        { { 0x8f }, 1, HUB_WS_PROTOCOL },
        { { 0x81 }, 1, HUB_WS_WRONG_TYPE }, /* text */
        { { 0x01 }, 1, HUB_WS_WRONG_TYPE },
        { { 0x80 }, 1, HUB_WS_PROTOCOL }, /* continuation of nothing */
        { { 0x09 }, 1, HUB_WS_PROTOCOL }, /* a fragmented ping */
        { { 0x08 }, 1, HUB_WS_PROTOCOL },
        { { 0x82, 0x05 }, 2, HUB_WS_PROTOCOL }, /* not masked */
        { { 0x89, 0xfe }, 2, HUB_WS_PROTOCOL }, /* a long ping */
        { { 0x88, 0xff }, 2, HUB_WS_PROTOCOL },
        { { 0x82, 0xfe, 0, 125, 1, 2, 3, 4 }, 8, HUB_WS_PROTOCOL }, /* not the shortest */
        { { 0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4 }, 14, HUB_WS_PROTOCOL },
        { { 0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4 }, 14, HUB_WS_PROTOCOL },
        { { 0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 5, 1, 2, 3, 4 }, 14, HUB_WS_TOO_LARGE },
        { { 0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 4, 1, 2, 3, 4 }, 14, 0 },
        { { 0x02, 0x80, 1, 2, 3, 4, 0x82 }, 7, HUB_WS_PROTOCOL }, /* a second message */
        { { 0x02, 0x80, 1, 2, 3, 4, 0x81 }, 7, HUB_WS_PROTOCOL },
        { { 0x82, 0x80, 1, 2, 3, 4, 0x80 }, 7, HUB_WS_PROTOCOL },
    };
    uint8_t out[16], control;
    size_t len;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        for (size_t step = 1; step < 16; step++)
            CHECK_INT(decode(rows[i].bytes, rows[i].n, step, out, &len, &control),
                      rows[i].code);
}

TEST(bad_close_payloads)
{
    static const unsigned wrong[] = { 0,    999,  1004, 1005, 1006, 1015,
                                      1016, 2000, 2999, 5000, 65535 };
    static const unsigned right[] = { 1000, 1003, 1007, 1014, 3000, 4999 };
    uint8_t p[4] = { 0 };
    unsigned code;

    CHECK_INT(hub_ws_decode_close(p, 1, &code), HUB_WS_PROTOCOL);
    for (size_t i = 0; i < BT_ARRAY_LEN(wrong); i++) {
        p[0] = (uint8_t)(wrong[i] >> 8);
        p[1] = (uint8_t)wrong[i];
        CHECK_INT(hub_ws_decode_close(p, 2, &code), HUB_WS_PROTOCOL);
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(right); i++) {
        p[0] = (uint8_t)(right[i] >> 8);
        p[1] = (uint8_t)right[i];
        CHECK_INT(hub_ws_decode_close(p, 2, &code), 0);
        CHECK_INT(code, right[i]);
    }
    memcpy(p, "\x03\xe8\xc3", 3);
    CHECK_INT(hub_ws_decode_close(p, 3, &code), HUB_WS_BAD_DATA);
}
