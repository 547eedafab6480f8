/* Packets to bytes. Each function adds up the exact size first, reserves once, then
 * writes; a packet is appended whole or not at all.
 *
 * Callers speak version 5: towards a version 3 peer properties are left out and reason
 * codes become what that version knows. A packet that the version cannot say (AUTH, a
 * password without a user name, packet identifier 0) is a caller's mistake and refused
 * with BT_EINVAL. */
#include "core/error.h"
#include "core/mqtt.h"
#include "core/mqtt_wire.h"

size_t bt_mqtt_varint(uint8_t *p, uint32_t v)
{
    size_t n = 0;

    do {
        p[n] = (uint8_t)(v & 0x7f);
        v >>= 7;
        if (v > 0 && n < 3)
            p[n] |= 0x80;
        n++;
    } while (v > 0 && n < 4);
    return n;
}

/* Where a packet is being written. */
struct out {
    struct bt_buf *b;
    uint8_t *p;
};

/* Reserve the packet and write its fixed header. */
static int begin(struct out *out, struct bt_buf *b, unsigned first, uint64_t remaining)
{
    int r;

    if (remaining > BT_MQTT_MAX_REMAINING)
        return BT_ELIMIT;
    r = bt_buf_reserve(b, 5 + (size_t)remaining);
    if (r != 0)
        return r;
    out->b = b;
    out->p = b->data + b->len;
    *out->p++ = (uint8_t)first;
    out->p += bt_mqtt_varint(out->p, (uint32_t)remaining);
    return 0;
}

static int finish(struct out *out)
{
    out->b->len = (size_t)(out->p - out->b->data);
    return 0;
}

/* The property block on the wire: its length's bytes and itself; nothing before
 * version 5. */
static uint64_t block_size(uint8_t version, uint64_t props_size)
{
    return version == BT_MQTT_50 ? bt_mqtt_varint_size(props_size) + props_size : 0;
}

static void put_block(struct out *out, uint8_t version, const struct bt_mqtt_props *props,
                      uint64_t size)
{
    if (version == BT_MQTT_50)
        out->p = bt_mqtt_props_write(out->p, props, (size_t)size);
}

int bt_mqtt_encode_props(struct bt_buf *b, const struct bt_mqtt_props *props)
{
    uint64_t size = bt_mqtt_props_size(props);
    struct out out = { b, NULL };
    int r;

    if (size > BT_MQTT_MAX_REMAINING)
        return BT_ELIMIT;
    r = bt_buf_reserve(b, 4 + (size_t)size);
    if (r != 0)
        return r;
    out.p = bt_mqtt_props_write(b->data + b->len, props, (size_t)size);
    return finish(&out);
}

static uint64_t connect_size(const struct bt_mqtt_connect *c, uint64_t props_size,
                             uint64_t will_size)
{
    uint64_t size = (c->version == BT_MQTT_31 ? 8 : 6) + 4;

    size += block_size(c->version, props_size) + bt_mqtt_bytes_size(c->client_id);
    if (c->will.present)
        size += block_size(c->version, will_size) + bt_mqtt_bytes_size(c->will.topic) +
                bt_mqtt_bytes_size(c->will.payload);
    if (c->has_username)
        size += bt_mqtt_bytes_size(c->username);
    if (c->has_password)
        size += bt_mqtt_bytes_size(c->password);
    return size;
}

static uint8_t connect_flags(const struct bt_mqtt_connect *c)
{
    unsigned flags = (c->clean ? 0x02u : 0) | (c->has_username ? 0x80u : 0) |
                     (c->has_password ? 0x40u : 0);

    if (c->will.present)
        flags |= 0x04u | (unsigned)c->will.qos << 3 | (c->will.retain ? 0x20u : 0);
    return (uint8_t)flags;
}

int bt_mqtt_encode_connect(struct bt_buf *b, const struct bt_mqtt_connect *c,
                           const struct bt_mqtt_props *props)
{
    uint64_t props_size = bt_mqtt_props_size(props);
    uint64_t will_size = bt_mqtt_props_size(&c->will.props);
    struct bt_slice name = { (const uint8_t *)"MQTT", 4 };
    struct out out;
    int r;

    if (c->version < BT_MQTT_31 || c->version > BT_MQTT_50 || c->will.qos > 2 ||
        (c->version != BT_MQTT_50 && c->has_password && !c->has_username))
        return BT_EINVAL;
    if (c->version == BT_MQTT_31)
        name = (struct bt_slice){ (const uint8_t *)"MQIsdp", 6 };
    r = begin(&out, b, BT_MQTT_CONNECT << 4, connect_size(c, props_size, will_size));
    if (r != 0)
        return r;
    out.p = bt_mqtt_put_bytes(out.p, name);
    *out.p++ = c->version;
    *out.p++ = connect_flags(c);
    out.p = bt_mqtt_put_u16(out.p, c->keepalive);
    put_block(&out, c->version, props, props_size);
    out.p = bt_mqtt_put_bytes(out.p, c->client_id);
    if (c->will.present) {
        put_block(&out, c->version, &c->will.props, will_size);
        out.p = bt_mqtt_put_bytes(out.p, c->will.topic);
        out.p = bt_mqtt_put_bytes(out.p, c->will.payload);
    }
    if (c->has_username)
        out.p = bt_mqtt_put_bytes(out.p, c->username);
    if (c->has_password)
        out.p = bt_mqtt_put_bytes(out.p, c->password);
    return finish(&out);
}

int bt_mqtt_encode_connack(struct bt_buf *b, uint8_t version, bool session_present,
                           uint8_t reason, const struct bt_mqtt_props *props)
{
    uint64_t props_size = bt_mqtt_props_size(props);
    struct out out;
    int r = begin(&out, b, BT_MQTT_CONNACK << 4, 2 + block_size(version, props_size));

    if (r != 0)
        return r;
    if (version != BT_MQTT_50 && reason >= 0x80)
        reason = bt_mqtt_connack_v3(reason);
    *out.p++ = session_present && reason == 0 && version != BT_MQTT_31;
    *out.p++ = reason;
    put_block(&out, version, props, props_size);
    return finish(&out);
}

int bt_mqtt_encode_publish(struct bt_buf *b, uint8_t version,
                           const struct bt_mqtt_publish *p,
                           const struct bt_mqtt_props *props)
{
    uint64_t props_size = version == BT_MQTT_50 ? bt_mqtt_props_size(props) : 0;
    unsigned first = BT_MQTT_PUBLISH << 4 | (p->dup ? 8u : 0) | (unsigned)p->qos << 1 |
                     (p->retain ? 1u : 0);
    struct out out;
    int r;

    if (bt_unlikely(p->qos > 2 || (p->qos > 0 && p->pid == 0)))
        return BT_EINVAL;
    r = begin(&out, b, first,
              bt_mqtt_bytes_size(p->topic) + (p->qos > 0 ? 2 : 0) +
                  block_size(version, props_size) + p->payload.len);
    if (r != 0)
        return r;
    out.p = bt_mqtt_put_bytes(out.p, p->topic);
    if (p->qos > 0)
        out.p = bt_mqtt_put_u16(out.p, p->pid);
    put_block(&out, version, props, props_size);
    out.p = bt_mqtt_put_raw(out.p, p->payload);
    return finish(&out);
}

/* Reason and properties at the end of an acknowledgement, DISCONNECT or AUTH: what is the
 * default is left out (§3.4.2.1, §3.14.2.1). Returns the bytes. */
static uint64_t tail_size(uint8_t version, uint8_t reason, uint64_t props_size)
{
    if (version != BT_MQTT_50 || (reason == 0 && props_size == 0))
        return 0;
    return props_size == 0 ? 1 : 1 + block_size(version, props_size);
}

static void put_tail(struct out *out, uint64_t size, uint8_t reason,
                     const struct bt_mqtt_props *props)
{
    if (size > 0)
        *out->p++ = reason;
    if (size > 1)
        put_block(out, BT_MQTT_50, props, bt_mqtt_props_size(props));
}

int bt_mqtt_encode_ack(struct bt_buf *b, uint8_t version, enum bt_mqtt_type type,
                       uint16_t pid, uint8_t reason, const struct bt_mqtt_props *props)
{
    uint64_t tail = tail_size(version, reason, bt_mqtt_props_size(props));
    struct out out;
    int r;

    if (type < BT_MQTT_PUBACK || type > BT_MQTT_PUBCOMP || pid == 0)
        return BT_EINVAL;
    r = begin(&out, b, (unsigned)type << 4 | (type == BT_MQTT_PUBREL ? 2u : 0), 2 + tail);
    if (r != 0)
        return r;
    out.p = bt_mqtt_put_u16(out.p, pid);
    put_tail(&out, tail, reason, props);
    return finish(&out);
}

int bt_mqtt_encode_simple(struct bt_buf *b, uint8_t version, enum bt_mqtt_type type,
                          uint8_t reason, const struct bt_mqtt_props *props)
{
    bool bare = type == BT_MQTT_PINGREQ || type == BT_MQTT_PINGRESP;
    uint64_t tail = bare ? 0 : tail_size(version, reason, bt_mqtt_props_size(props));
    struct out out;
    int r;

    if (!bare && type != BT_MQTT_DISCONNECT &&
        (type != BT_MQTT_AUTH || version != BT_MQTT_50))
        return BT_EINVAL;
    r = begin(&out, b, (unsigned)type << 4, tail);
    if (r != 0)
        return r;
    put_tail(&out, tail, reason, props);
    return finish(&out);
}

static uint8_t sub_options(uint8_t version, const struct bt_mqtt_sub *sub)
{
    unsigned options = sub->qos & 3u;

    if (version == BT_MQTT_50)
        options |= (sub->no_local ? 4u : 0) | (sub->retain_as_published ? 8u : 0) |
                   (sub->retain_handling & 3u) << 4;
    return (uint8_t)options;
}

int bt_mqtt_encode_subscribe(struct bt_buf *b, uint8_t version, uint16_t pid,
                             const struct bt_mqtt_sub *subs, size_t n,
                             const struct bt_mqtt_props *props)
{
    uint64_t props_size = bt_mqtt_props_size(props);
    uint64_t size = 2 + block_size(version, props_size);
    struct out out;
    int r;

    if (pid == 0 || n == 0)
        return BT_EINVAL;
    for (size_t i = 0; i < n; i++)
        size += bt_mqtt_bytes_size(subs[i].filter) + 1;
    r = begin(&out, b, BT_MQTT_SUBSCRIBE << 4 | 2, size);
    if (r != 0)
        return r;
    out.p = bt_mqtt_put_u16(out.p, pid);
    put_block(&out, version, props, props_size);
    for (size_t i = 0; i < n; i++) {
        out.p = bt_mqtt_put_bytes(out.p, subs[i].filter);
        *out.p++ = sub_options(version, &subs[i]);
    }
    return finish(&out);
}

int bt_mqtt_encode_unsubscribe(struct bt_buf *b, uint8_t version, uint16_t pid,
                               const struct bt_slice *filters, size_t n,
                               const struct bt_mqtt_props *props)
{
    uint64_t props_size = bt_mqtt_props_size(props);
    uint64_t size = 2 + block_size(version, props_size);
    struct out out;
    int r;

    if (pid == 0 || n == 0)
        return BT_EINVAL;
    for (size_t i = 0; i < n; i++)
        size += bt_mqtt_bytes_size(filters[i]);
    r = begin(&out, b, BT_MQTT_UNSUBSCRIBE << 4 | 2, size);
    if (r != 0)
        return r;
    out.p = bt_mqtt_put_u16(out.p, pid);
    put_block(&out, version, props, props_size);
    for (size_t i = 0; i < n; i++)
        out.p = bt_mqtt_put_bytes(out.p, filters[i]);
    return finish(&out);
}

int bt_mqtt_encode_suback(struct bt_buf *b, uint8_t version, enum bt_mqtt_type type,
                          uint16_t pid, const uint8_t *reasons, size_t n,
                          const struct bt_mqtt_props *props)
{
    uint64_t props_size = bt_mqtt_props_size(props);
    bool empty = version != BT_MQTT_50 && type == BT_MQTT_UNSUBACK;
    struct out out;
    int r;

    if (pid == 0 || (type != BT_MQTT_SUBACK && type != BT_MQTT_UNSUBACK))
        return BT_EINVAL;
    if (n == 0 && !empty)
        return BT_EINVAL;
    if (empty)
        n = 0;
    r = begin(&out, b, (unsigned)type << 4, 2 + block_size(version, props_size) + n);
    if (r != 0)
        return r;
    out.p = bt_mqtt_put_u16(out.p, pid);
    put_block(&out, version, props, props_size);
    for (size_t i = 0; i < n; i++)
        *out.p++ = version != BT_MQTT_50 && reasons[i] >= 0x80 ? 0x80 : reasons[i];
    return finish(&out);
}
