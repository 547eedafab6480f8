/* Bytes to packets. The happy path: the fixed header gives type and length, a row of a
 * table gives the type's reader, the reader takes its fields from a cursor that cannot
 * leave the packet and must end exactly at its end. Nothing is copied: strings and
 * payloads point into the input.
 *
 * Failure is a reason code (> 0) for the peer: malformed when the bytes cannot be read as
 * the standard says, protocol error when they can but say something it forbids. Rules
 * that need more than one packet (second CONNECT with its session, subscription
 * identifiers from a client, alias numbers) are the caller's. PUBLISH has an entry of its
 * own, the hot path. */
#include "core/mqtt.h"
#include "core/mqtt_wire.h"

typedef int (*reader_fn)(struct bt_mqtt_cur *c, uint8_t version,
                         struct bt_mqtt_packet *out);

/* Fixed header flags (§2.1.3). MQTT 3.1 may set DUP (8) where later standards reserve
 * it. */
static const struct fixed {
    uint8_t flags, also_v31;
} fixed[16] = {
    [BT_MQTT_PUBREL] = { 2, 10 },
    [BT_MQTT_SUBSCRIBE] = { 2, 10 },
    [BT_MQTT_UNSUBSCRIBE] = { 2, 10 },
};

static bool first_byte_ok(uint8_t first)
{
    uint8_t type = first >> 4, flags = first & 15;

    if (type == BT_MQTT_PUBLISH)
        return (flags & 6) != 6;
    return type != 0 &&
           (flags == fixed[type].flags || (flags == fixed[type].also_v31 && flags != 0));
}

int bt_mqtt_frame(const uint8_t *p, size_t n, size_t *out)
{
    uint32_t remaining = 0;
    int used;

    if (n == 0)
        return BT_MQTT_MORE;
    if (bt_unlikely(!first_byte_ok(p[0])))
        return BT_MQTT_MALFORMED;
    used = bt_mqtt_varint_read(p + 1, n - 1, &remaining);
    if (bt_unlikely(used <= 0))
        return used == 0 ? BT_MQTT_MORE : BT_MQTT_MALFORMED;
    *out = 1 + (size_t)used + remaining;
    return 0;
}

/* Set the cursor to what follows the fixed header of a packet of exactly n bytes. */
static bool open_packet(const uint8_t *p, size_t n, struct bt_mqtt_cur *c)
{
    size_t len = 0;

    if (bt_mqtt_frame(p, n, &len) != 0 || len != n)
        return false;
    c->p = p + 2;
    while (c->p[-1] >= 0x80)
        c->p++;
    c->end = p + n;
    c->bad = false;
    return true;
}

static int end_of(const struct bt_mqtt_cur *c)
{
    return c->bad || c->p != c->end ? BT_MQTT_MALFORMED : 0;
}

static int text(struct bt_mqtt_cur *c, struct bt_slice *out)
{
    *out = cur_bytes(c);
    return c->bad || !bt_mqtt_utf8_ok(*out) ? BT_MQTT_MALFORMED : 0;
}

/* A topic name: well-formed is not enough, it must not hold wildcards. Empty is the
 * caller's case. */
static int topic_name(struct bt_mqtt_cur *c, struct bt_slice *out)
{
    unsigned found;

    *out = cur_bytes(c);
    found = bt_mqtt_scan(*out);
    if (bt_unlikely(c->bad || (found & BT_MQTT_SCAN_BAD) != 0))
        return BT_MQTT_MALFORMED;
    return bt_unlikely(found != 0) ? BT_MQTT_BAD_TOPIC : 0;
}

static int packet_id(struct bt_mqtt_cur *c, uint16_t *out)
{
    *out = cur_u16(c);
    if (c->bad)
        return BT_MQTT_MALFORMED;
    return *out == 0 ? BT_MQTT_PROTOCOL_ERROR : 0;
}

static bool has(const struct bt_mqtt_props *props, enum bt_mqtt_prop prop)
{
    return (props->present & 1u << prop) != 0;
}

/* Authentication data needs a method (§3.1.2.11.10). */
static int auth_props(struct bt_mqtt_cur *c, unsigned type, struct bt_mqtt_props *out)
{
    int r = bt_mqtt_props_decode(c, type, out);

    if (r == 0 && has(out, BT_MQTT_P_AUTH_DATA) && !has(out, BT_MQTT_P_AUTH_METHOD))
        r = BT_MQTT_PROTOCOL_ERROR;
    return r;
}

/* CONNECT: flag bits of §3.1.2.3. */
enum {
    RESERVED = 0x01,
    CLEAN = 0x02,
    WILL = 0x04,
    WILL_QOS = 0x18,
    WILL_RETAIN = 0x20,
    PASSWORD = 0x40,
    USERNAME = 0x80
};

static const struct protocol {
    const char *name;
    uint8_t len, level;
} protocols[] = {
    { "MQTT", 4, BT_MQTT_311 },
    { "MQTT", 4, BT_MQTT_50 },
    { "MQIsdp", 6, BT_MQTT_31 },
};

static int read_protocol(struct bt_mqtt_cur *c, uint8_t *version)
{
    struct bt_slice name = cur_bytes(c);

    *version = cur_u8(c);
    if (c->bad)
        return BT_MQTT_MALFORMED;
    for (size_t i = 0; i < BT_ARRAY_LEN(protocols); i++) {
        const struct protocol *row = &protocols[i];

        if (*version == row->level && name.len == row->len &&
            memcmp(name.ptr, row->name, row->len) == 0)
            return 0;
    }
    return BT_MQTT_BAD_VERSION;
}

static bool connect_flags_ok(uint8_t flags, uint8_t version)
{
    if ((flags & RESERVED) != 0 || (flags & WILL_QOS) == WILL_QOS)
        return false;
    if ((flags & WILL) == 0 && (flags & (WILL_QOS | WILL_RETAIN)) != 0)
        return false;
    return version == BT_MQTT_50 || (flags & (USERNAME | PASSWORD)) != PASSWORD;
}

static int read_client_id(struct bt_mqtt_cur *c, struct bt_mqtt_connect *out)
{
    int r = text(c, &out->client_id);

    if (r != 0 || out->client_id.len > 0 || out->version == BT_MQTT_50)
        return r;
    return out->clean && out->version != BT_MQTT_31 ? 0 : BT_MQTT_BAD_CLIENT_ID;
}

static int read_will(struct bt_mqtt_cur *c, uint8_t flags, struct bt_mqtt_connect *out)
{
    struct bt_mqtt_will *will = &out->will;
    int r;

    if ((flags & WILL) == 0)
        return 0;
    will->present = true;
    will->retain = (flags & WILL_RETAIN) != 0;
    will->qos = (uint8_t)((flags & WILL_QOS) >> 3);
    if (out->version == BT_MQTT_50) {
        r = bt_mqtt_props_decode(c, BT_MQTT_WILL, &will->props);
        if (r != 0)
            return r;
    }
    r = topic_name(c, &will->topic);
    if (r == 0 && will->topic.len == 0)
        r = BT_MQTT_BAD_TOPIC;
    will->payload = cur_bytes(c);
    return r;
}

static int read_login(struct bt_mqtt_cur *c, uint8_t flags, struct bt_mqtt_connect *out)
{
    /* MQTT 3.1: a flag whose field is missing because the packet ends is no error. */
    bool lenient = out->version == BT_MQTT_31;

    if ((flags & USERNAME) != 0 && !(lenient && c->p == c->end)) {
        out->has_username = true;
        if (text(c, &out->username) != 0)
            return BT_MQTT_MALFORMED;
    }
    if ((flags & PASSWORD) != 0 && !(lenient && c->p == c->end)) {
        out->has_password = true;
        out->password = cur_bytes(c);
    }
    return end_of(c);
}

static int read_connect(struct bt_mqtt_cur *c, uint8_t version,
                        struct bt_mqtt_packet *out)
{
    struct bt_mqtt_connect *connect = &out->connect;
    uint8_t flags;
    int r;

    if (version != 0)
        return BT_MQTT_PROTOCOL_ERROR;
    r = read_protocol(c, &connect->version);
    if (r != 0)
        return r;
    flags = cur_u8(c);
    connect->keepalive = cur_u16(c);
    connect->clean = (flags & CLEAN) != 0;
    if (c->bad || !connect_flags_ok(flags, connect->version))
        return BT_MQTT_MALFORMED;
    if (connect->version == BT_MQTT_50)
        r = auth_props(c, BT_MQTT_CONNECT, &out->props);
    if (r == 0)
        r = read_client_id(c, connect);
    if (r == 0)
        r = read_will(c, flags, connect);
    return r != 0 ? r : read_login(c, flags, connect);
}

static int read_connack(struct bt_mqtt_cur *c, uint8_t version,
                        struct bt_mqtt_packet *out)
{
    uint8_t flags = cur_u8(c);
    int r = 0;

    out->reason = cur_u8(c);
    out->session_present = version != BT_MQTT_31 && (flags & 1) != 0;
    if (c->bad || (version != BT_MQTT_31 && flags > 1))
        return BT_MQTT_MALFORMED;
    if (version == BT_MQTT_50) {
        if (!bt_mqtt_reason_ok(BT_MQTT_CONNACK, out->reason))
            return BT_MQTT_MALFORMED;
        r = auth_props(c, BT_MQTT_CONNACK, &out->props);
    } else if (out->reason > 5) {
        return BT_MQTT_MALFORMED;
    }
    if (r == 0)
        r = end_of(c);
    return r == 0 && out->session_present && out->reason != 0 ? BT_MQTT_PROTOCOL_ERROR
                                                              : r;
}

static int publish_body(struct bt_mqtt_cur *c, uint8_t version,
                        struct bt_mqtt_publish *out, struct bt_mqtt_props *props)
{
    int r = topic_name(c, &out->topic);

    if (r == 0 && out->qos > 0)
        r = packet_id(c, &out->pid);
    if (r == 0 && version == BT_MQTT_50)
        r = bt_mqtt_props_decode(c, BT_MQTT_PUBLISH, props);
    if (bt_unlikely(r != 0))
        return r;
    if (bt_unlikely(out->topic.len == 0)) {
        if (version != BT_MQTT_50)
            return BT_MQTT_MALFORMED;
        if (!has(props, BT_MQTT_P_TOPIC_ALIAS))
            return BT_MQTT_PROTOCOL_ERROR;
    }
    out->payload = cur_take(c, cur_left(c));
    return 0;
}

int bt_mqtt_decode_publish(const uint8_t *p, size_t n, uint8_t version,
                           struct bt_mqtt_publish *out, struct bt_mqtt_props *props)
{
    struct bt_mqtt_cur c;

    if (bt_unlikely(!open_packet(p, n, &c) || p[0] >> 4 != BT_MQTT_PUBLISH))
        return BT_MQTT_MALFORMED;
    *out = (struct bt_mqtt_publish){
        .dup = (p[0] & 8) != 0,
        .qos = (p[0] >> 1) & 3,
        .retain = (p[0] & 1) != 0,
    };
    if (version == BT_MQTT_50)
        memset(props, 0, sizeof(*props));
    if (bt_unlikely(out->dup && out->qos == 0 && version != BT_MQTT_31))
        return BT_MQTT_MALFORMED;
    return publish_body(&c, version, out, props);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP: version 5 may leave out the properties, and a reason
 * of 0 too. */
static int read_ack(struct bt_mqtt_cur *c, uint8_t version, struct bt_mqtt_packet *out)
{
    int r = packet_id(c, &out->pid);

    if (r != 0 || version != BT_MQTT_50 || c->p == c->end)
        return r != 0 ? r : end_of(c);
    out->reason = cur_u8(c);
    if (!bt_mqtt_reason_ok(out->type, out->reason))
        return BT_MQTT_MALFORMED;
    if (c->p < c->end)
        r = bt_mqtt_props_decode(c, out->type, &out->props);
    return r != 0 ? r : end_of(c);
}

static int pid_and_props(struct bt_mqtt_cur *c, uint8_t version,
                         struct bt_mqtt_packet *out)
{
    int r = packet_id(c, &out->pid);

    if (r == 0 && version == BT_MQTT_50)
        r = bt_mqtt_props_decode(c, out->type, &out->props);
    if (r == 0)
        out->list = (struct bt_slice){ c->p, cur_left(c) };
    return r;
}

static bool is_shared(struct bt_slice filter)
{
    return filter.len >= 7 && memcmp(filter.ptr, "$share/", 7) == 0;
}

/* Subscription options of §3.8.3.1; version 3 has the QoS only. */
static int check_options(uint8_t options, uint8_t version, struct bt_slice filter)
{
    uint8_t reserved = version == BT_MQTT_50 ? 0xc0 : 0xfc;

    if ((options & reserved) != 0)
        return BT_MQTT_MALFORMED;
    if ((options & 3) == 3 || (options & 0x30) == 0x30)
        return BT_MQTT_PROTOCOL_ERROR;
    return (options & 4) != 0 && is_shared(filter) ? BT_MQTT_PROTOCOL_ERROR : 0;
}

/* Entries of SUBSCRIBE (with a byte of options each) or UNSUBSCRIBE (without). A filter
 * that is well-formed text but no valid filter is answered by itself, so it is not looked
 * at here. */
static int read_filters(struct bt_mqtt_cur *c, uint8_t version,
                        struct bt_mqtt_packet *out)
{
    int r = pid_and_props(c, version, out);

    if (r == 0 && c->p == c->end)
        return BT_MQTT_PROTOCOL_ERROR;
    while (r == 0 && c->p < c->end) {
        struct bt_slice filter;
        uint8_t options;

        r = text(c, &filter);
        options = out->type == BT_MQTT_SUBSCRIBE ? cur_u8(c) : 0;
        if (r != 0 || c->bad)
            return BT_MQTT_MALFORMED;
        r = check_options(options, version, filter);
    }
    return r;
}

static int read_suback(struct bt_mqtt_cur *c, uint8_t version, struct bt_mqtt_packet *out)
{
    int r = pid_and_props(c, version, out);

    if (r != 0)
        return r;
    if (version != BT_MQTT_50 && out->type == BT_MQTT_UNSUBACK)
        return end_of(c);
    if (out->list.len == 0)
        return BT_MQTT_PROTOCOL_ERROR;
    for (size_t i = 0; i < out->list.len; i++) {
        uint8_t reason = out->list.ptr[i];

        if (version == BT_MQTT_50 ? !bt_mqtt_reason_ok(out->type, reason)
                                  : reason > 2 && reason != BT_MQTT_UNSPECIFIED)
            return BT_MQTT_MALFORMED;
    }
    return 0;
}

static int read_ping(struct bt_mqtt_cur *c, uint8_t version, struct bt_mqtt_packet *out)
{
    (void)version;
    (void)out;
    return end_of(c);
}

/* DISCONNECT and AUTH: reason and properties may both be left out. */
static int read_disconnect(struct bt_mqtt_cur *c, uint8_t version,
                           struct bt_mqtt_packet *out)
{
    int r = 0;

    if (version != BT_MQTT_50 || c->p == c->end)
        return end_of(c);
    out->reason = cur_u8(c);
    if (!bt_mqtt_reason_ok(out->type, out->reason))
        return BT_MQTT_MALFORMED;
    if (c->p < c->end)
        r = auth_props(c, out->type, &out->props);
    return r != 0 ? r : end_of(c);
}

static int read_auth(struct bt_mqtt_cur *c, uint8_t version, struct bt_mqtt_packet *out)
{
    bool bare = c->p == c->end;
    int r;

    if (version != BT_MQTT_50)
        return BT_MQTT_MALFORMED;
    r = read_disconnect(c, version, out);
    if (r == 0 && !bare && !has(&out->props, BT_MQTT_P_AUTH_METHOD))
        r = BT_MQTT_PROTOCOL_ERROR;
    return r;
}

static const reader_fn readers[16] = {
    [BT_MQTT_CONNECT] = read_connect,
    [BT_MQTT_CONNACK] = read_connack,
    [BT_MQTT_PUBACK] = read_ack,
    [BT_MQTT_PUBREC] = read_ack,
    [BT_MQTT_PUBREL] = read_ack,
    [BT_MQTT_PUBCOMP] = read_ack,
    [BT_MQTT_SUBSCRIBE] = read_filters,
    [BT_MQTT_SUBACK] = read_suback,
    [BT_MQTT_UNSUBSCRIBE] = read_filters,
    [BT_MQTT_UNSUBACK] = read_suback,
    [BT_MQTT_PINGREQ] = read_ping,
    [BT_MQTT_PINGRESP] = read_ping,
    [BT_MQTT_DISCONNECT] = read_disconnect,
    [BT_MQTT_AUTH] = read_auth,
};

int bt_mqtt_decode(const uint8_t *p, size_t n, uint8_t version,
                   struct bt_mqtt_packet *out)
{
    struct bt_mqtt_cur c;

    memset(out, 0, sizeof(*out));
    if (!open_packet(p, n, &c))
        return BT_MQTT_MALFORMED;
    out->type = p[0] >> 4;
    out->flags = p[0] & 15;
    if (version == 0 && out->type != BT_MQTT_CONNECT)
        return BT_MQTT_PROTOCOL_ERROR;
    if (out->type == BT_MQTT_PUBLISH) {
        int r = bt_mqtt_decode_publish(p, n, version, &out->publish, &out->props);

        out->pid = out->publish.pid;
        return r;
    }
    if (out->flags != fixed[out->type].flags && version != BT_MQTT_31)
        return BT_MQTT_MALFORMED;
    return readers[out->type](&c, version, out);
}

bool bt_mqtt_sub_next(struct bt_slice list, uint8_t version, size_t *pos,
                      struct bt_mqtt_sub *out)
{
    struct bt_mqtt_cur c = { 0 };
    uint8_t options;

    if (*pos >= list.len)
        return false;
    c.p = list.ptr + *pos;
    c.end = list.ptr + list.len;
    *out = (struct bt_mqtt_sub){ .filter = cur_bytes(&c) };
    options = cur_u8(&c);
    if (c.bad)
        return false;
    out->qos = options & 3;
    if (version == BT_MQTT_50) {
        out->no_local = (options & 4) != 0;
        out->retain_as_published = (options & 8) != 0;
        out->retain_handling = (options >> 4) & 3;
    }
    *pos = (size_t)(c.p - list.ptr);
    return true;
}

bool bt_mqtt_filter_next(struct bt_slice list, size_t *pos, struct bt_slice *filter)
{
    struct bt_mqtt_cur c = { 0 };

    if (*pos >= list.len)
        return false;
    c.p = list.ptr + *pos;
    c.end = list.ptr + list.len;
    *filter = cur_bytes(&c);
    if (c.bad)
        return false;
    *pos = (size_t)(c.p - list.ptr);
    return true;
}
