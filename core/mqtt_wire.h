/* What the files of the MQTT codec share and nobody else includes: a cursor that cannot
 * run past its end, the property block, the reason table, the topic scan. Any thread. */
#ifndef CORE_MQTT_WIRE_H
#define CORE_MQTT_WIRE_H

#include "core/mqtt.h"

#include <string.h>

/* Reads forward. A read past the end sets `bad` and yields zeros, so that a parser looks
 * once. */
struct bt_mqtt_cur {
    const uint8_t *p, *end;
    bool bad;
};

static inline size_t cur_left(const struct bt_mqtt_cur *c)
{
    return (size_t)(c->end - c->p);
}

static inline bool cur_has(struct bt_mqtt_cur *c, size_t n)
{
    if (bt_likely(cur_left(c) >= n))
        return true;
    c->bad = true;
    c->p = c->end;
    return false;
}

static inline uint8_t cur_u8(struct bt_mqtt_cur *c)
{
    return cur_has(c, 1) ? *c->p++ : 0;
}

static inline uint16_t cur_u16(struct bt_mqtt_cur *c)
{
    if (!cur_has(c, 2))
        return 0;
    c->p += 2;
    return (uint16_t)(c->p[-2] << 8 | c->p[-1]);
}

static inline uint32_t cur_u32(struct bt_mqtt_cur *c)
{
    uint32_t high = cur_u16(c);

    return high << 16 | cur_u16(c);
}

static inline struct bt_slice cur_take(struct bt_mqtt_cur *c, size_t n)
{
    struct bt_slice s = { c->p, n };

    if (!cur_has(c, n))
        return (struct bt_slice){ c->end, 0 };
    c->p += n;
    return s;
}

/* Two bytes of length and that many bytes: binary data, or a string before its UTF-8
 * check. */
static inline struct bt_slice cur_bytes(struct bt_mqtt_cur *c)
{
    size_t n = cur_u16(c);

    return cur_take(c, n);
}

/* MQTT 5.0 §1.5.5. Returns bytes used, 0 when more are needed, -1 when it is not the
 * shortest form or longer than four bytes. */
static inline int bt_mqtt_varint_read(const uint8_t *p, size_t n, uint32_t *out)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        if ((size_t)i == n)
            return 0;
        v |= (uint32_t)(p[i] & 0x7f) << (7 * i);
        if (p[i] < 0x80) {
            *out = v;
            return i > 0 && p[i] == 0 ? -1 : i + 1;
        }
    }
    return -1;
}

static inline uint32_t cur_varint(struct bt_mqtt_cur *c)
{
    uint32_t v = 0;
    int used = bt_mqtt_varint_read(c->p, cur_left(c), &v);

    if (used <= 0) {
        c->bad = true;
        c->p = c->end;
        return 0;
    }
    c->p += used;
    return v;
}

static inline size_t bt_mqtt_varint_size(uint64_t v)
{
    return v < 0x80 ? 1 : v < 0x4000 ? 2 : v < 0x200000 ? 3 : 4;
}

/* Which packets a row of a table is for: one bit a type; bit 0 is the will inside
 * CONNECT. */
#define BT_MQTT_IN(type) (1u << (type))
#define BT_MQTT_WILL     0

/* The property block with its length in front. `where` is the packet's type or
 * BT_MQTT_WILL. 0 or a reason code. */
int bt_mqtt_props_decode(struct bt_mqtt_cur *c, unsigned where,
                         struct bt_mqtt_props *out) BT_MUST_CHECK;
/* Bytes of the block without its length; above BT_MQTT_MAX_REMAINING when a member is too
 * long. NULL is the empty block. */
uint64_t bt_mqtt_props_size(const struct bt_mqtt_props *props);
/* Length and block at p, which has room; returns the end. `size` is
 * bt_mqtt_props_size(props). */
uint8_t *bt_mqtt_props_write(uint8_t *p, const struct bt_mqtt_props *props, size_t size);

/* May a packet of this type carry this reason code (MQTT 5.0 §2.4)? */
bool bt_mqtt_reason_ok(unsigned type, unsigned reason);

/* One pass over a string: is it bad UTF-8 (or holds U+0000), does it hold + or #? */
#define BT_MQTT_SCAN_BAD  1u
#define BT_MQTT_SCAN_WILD 2u
unsigned bt_mqtt_scan(struct bt_slice s);

static inline uint8_t *bt_mqtt_put_u16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

static inline uint8_t *bt_mqtt_put_raw(uint8_t *p, struct bt_slice s)
{
    if (s.len > 0)
        memcpy(p, s.ptr, s.len);
    return p + s.len;
}

static inline uint8_t *bt_mqtt_put_bytes(uint8_t *p, struct bt_slice s)
{
    return bt_mqtt_put_raw(bt_mqtt_put_u16(p, (unsigned)s.len), s);
}

/* Size on the wire; a length that two bytes cannot say makes the packet too large. */
static inline uint64_t bt_mqtt_bytes_size(struct bt_slice s)
{
    return s.len > 0xffff ? (uint64_t)BT_MQTT_MAX_REMAINING + 1 : 2 + s.len;
}

#endif
