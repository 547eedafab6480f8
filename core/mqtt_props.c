/* Properties of MQTT 5.0 §2.2.2: one table says identifier, type, where a property may
 * stand, which values are legal and where it is kept in struct bt_mqtt_props; reading,
 * sizing and writing are loops over it.
 *
 * A block is read in one pass. Its user properties stay in the input and are found again
 * by bt_mqtt_user_next. An unknown identifier, or one that does not belong in the packet,
 * is malformed (§2.2.2.2); a property that stands twice, or with a value its section
 * forbids, is a protocol error. */
#include "core/error.h"
#include "core/mqtt.h"
#include "core/mqtt_wire.h"

#define CN BT_MQTT_IN(BT_MQTT_CONNECT)
#define CA BT_MQTT_IN(BT_MQTT_CONNACK)
#define PU BT_MQTT_IN(BT_MQTT_PUBLISH)
#define AK                                                      \
    (BT_MQTT_IN(BT_MQTT_PUBACK) | BT_MQTT_IN(BT_MQTT_PUBREC) |  \
     BT_MQTT_IN(BT_MQTT_PUBREL) | BT_MQTT_IN(BT_MQTT_PUBCOMP) | \
     BT_MQTT_IN(BT_MQTT_SUBACK) | BT_MQTT_IN(BT_MQTT_UNSUBACK))
#define SU BT_MQTT_IN(BT_MQTT_SUBSCRIBE)
#define US BT_MQTT_IN(BT_MQTT_UNSUBSCRIBE)
#define DI BT_MQTT_IN(BT_MQTT_DISCONNECT)
#define AU BT_MQTT_IN(BT_MQTT_AUTH)
#define WI BT_MQTT_IN(BT_MQTT_WILL)

enum kind { U8, U16, U32, VARINT, TEXT, BINARY, PAIR };
enum check { ANY, BOOLEAN, NOT_ZERO, ALIAS, TOPIC };

struct row {
    uint8_t id, kind, check;
    uint16_t packets; /* where it may stand */
    uint16_t many;    /* where it may stand more than once */
    uint16_t member;  /* offset in struct bt_mqtt_props */
    const char *name; /* as on a command line */
};

#define AT(m) offsetof(struct bt_mqtt_props, m)

static const struct row rows[BT_MQTT_P_COUNT] = {
    [BT_MQTT_P_PAYLOAD_FORMAT] = { 0x01, U8, BOOLEAN, PU | WI, 0, AT(payload_format),
                                   "payload-format-indicator" },
    [BT_MQTT_P_MESSAGE_EXPIRY] = { 0x02, U32, ANY, PU | WI, 0, AT(message_expiry),
                                   "message-expiry-interval" },
    [BT_MQTT_P_CONTENT_TYPE] = { 0x03, TEXT, ANY, PU | WI, 0, AT(content_type),
                                 "content-type" },
    [BT_MQTT_P_RESPONSE_TOPIC] = { 0x08, TEXT, TOPIC, PU | WI, 0, AT(response_topic),
                                   "response-topic" },
    [BT_MQTT_P_CORRELATION_DATA] = { 0x09, BINARY, ANY, PU | WI, 0, AT(correlation_data),
                                     "correlation-data" },
    [BT_MQTT_P_SUBSCRIPTION_ID] = { 0x0b, VARINT, NOT_ZERO, PU | SU, PU, AT(subids),
                                    "subscription-identifier" },
    [BT_MQTT_P_SESSION_EXPIRY] = { 0x11, U32, ANY, CN | CA | DI, 0, AT(session_expiry),
                                   "session-expiry-interval" },
    [BT_MQTT_P_ASSIGNED_CLIENT_ID] = { 0x12, TEXT, ANY, CA, 0, AT(assigned_client_id),
                                       "assigned-client-identifier" },
    [BT_MQTT_P_SERVER_KEEPALIVE] = { 0x13, U16, ANY, CA, 0, AT(server_keepalive),
                                     "server-keep-alive" },
    [BT_MQTT_P_AUTH_METHOD] = { 0x15, TEXT, ANY, CN | CA | AU, 0, AT(auth_method),
                                "authentication-method" },
    [BT_MQTT_P_AUTH_DATA] = { 0x16, BINARY, ANY, CN | CA | AU, 0, AT(auth_data),
                              "authentication-data" },
    [BT_MQTT_P_REQUEST_PROBLEM] = { 0x17, U8, BOOLEAN, CN, 0, AT(request_problem),
                                    "request-problem-information" },
    [BT_MQTT_P_WILL_DELAY] = { 0x18, U32, ANY, WI, 0, AT(will_delay),
                               "will-delay-interval" },
    [BT_MQTT_P_REQUEST_RESPONSE] = { 0x19, U8, BOOLEAN, CN, 0, AT(request_response),
                                     "request-response-information" },
    [BT_MQTT_P_RESPONSE_INFO] = { 0x1a, TEXT, ANY, CA, 0, AT(response_info),
                                  "response-information" },
    [BT_MQTT_P_SERVER_REFERENCE] = { 0x1c, TEXT, ANY, CA | DI, 0, AT(server_reference),
                                     "server-reference" },
    [BT_MQTT_P_REASON_STRING] = { 0x1f, TEXT, ANY, CA | AK | DI | AU, 0,
                                  AT(reason_string), "reason-string" },
    [BT_MQTT_P_RECEIVE_MAX] = { 0x21, U16, NOT_ZERO, CN | CA, 0, AT(receive_max),
                                "receive-maximum" },
    [BT_MQTT_P_TOPIC_ALIAS_MAX] = { 0x22, U16, ANY, CN | CA, 0, AT(topic_alias_max),
                                    "topic-alias-maximum" },
    [BT_MQTT_P_TOPIC_ALIAS] = { 0x23, U16, ALIAS, PU, 0, AT(topic_alias), "topic-alias" },
    [BT_MQTT_P_MAX_QOS] = { 0x24, U8, BOOLEAN, CA, 0, AT(max_qos), "maximum-qos" },
    [BT_MQTT_P_RETAIN_AVAILABLE] = { 0x25, U8, BOOLEAN, CA, 0, AT(retain_available),
                                     "retain-available" },
    [BT_MQTT_P_USER] = { 0x26, PAIR, ANY, 0xffff, 0xffff, 0, "user-property" },
    [BT_MQTT_P_MAX_PACKET] = { 0x27, U32, NOT_ZERO, CN | CA, 0, AT(max_packet),
                               "maximum-packet-size" },
    [BT_MQTT_P_WILDCARDS_AVAILABLE] = { 0x28, U8, BOOLEAN, CA, 0, AT(wildcards_available),
                                        "wildcard-subscription-available" },
    [BT_MQTT_P_SUBIDS_AVAILABLE] = { 0x29, U8, BOOLEAN, CA, 0, AT(subids_available),
                                     "subscription-identifier-available" },
    [BT_MQTT_P_SHARED_AVAILABLE] = { 0x2a, U8, BOOLEAN, CA, 0, AT(shared_available),
                                     "shared-subscription-available" },
};
_Static_assert(BT_MQTT_P_COUNT <= 32, "present has a bit for each property");
_Static_assert(sizeof(struct bt_mqtt_props) <= UINT16_MAX, "member fits its offset");

/* One property as it stands in the block. */
struct item {
    unsigned prop;
    uint32_t number;
    struct bt_slice a, b; /* text or data; name and value of a pair */
};

static unsigned find(uint8_t id)
{
    unsigned i = 0;

    while (i < BT_MQTT_P_COUNT && rows[i].id != id)
        i++;
    return i;
}

/* The next property; false when it cannot be read. */
static bool item_next(struct bt_mqtt_cur *c, struct item *out)
{
    out->prop = find(cur_u8(c));
    if (out->prop == BT_MQTT_P_COUNT)
        return false;
    switch (rows[out->prop].kind) {
    case U8:
        out->number = cur_u8(c);
        break;
    case U16:
        out->number = cur_u16(c);
        break;
    case U32:
        out->number = cur_u32(c);
        break;
    case VARINT:
        out->number = cur_varint(c);
        break;
    case PAIR:
        out->a = cur_bytes(c);
        out->b = cur_bytes(c);
        break;
    default:
        out->a = cur_bytes(c);
        break;
    }
    return !c->bad;
}

static int check_value(const struct row *row, const struct item *item)
{
    if (row->kind == TEXT && !bt_mqtt_utf8_ok(item->a))
        return BT_MQTT_MALFORMED;
    if (row->kind == PAIR && (!bt_mqtt_utf8_ok(item->a) || !bt_mqtt_utf8_ok(item->b)))
        return BT_MQTT_MALFORMED;
    switch (row->check) {
    case BOOLEAN:
        return item->number > 1 ? BT_MQTT_PROTOCOL_ERROR : 0;
    case NOT_ZERO:
        return item->number == 0 ? BT_MQTT_PROTOCOL_ERROR : 0;
    case ALIAS:
        return item->number == 0 ? BT_MQTT_BAD_ALIAS : 0;
    case TOPIC:
        return bt_mqtt_topic_ok(item->a) ? 0 : BT_MQTT_PROTOCOL_ERROR;
    default:
        return 0;
    }
}

static void store(struct bt_mqtt_props *out, const struct item *item)
{
    const struct row *row = &rows[item->prop];
    char *member = (char *)out + row->member;

    out->present |= 1u << item->prop;
    switch (row->kind) {
    case U8:
        *(uint8_t *)member = (uint8_t)item->number;
        break;
    case U16:
        *(uint16_t *)(void *)member = (uint16_t)item->number;
        break;
    case U32:
        *(uint32_t *)(void *)member = item->number;
        break;
    case VARINT:
        if (out->n_subids < BT_MQTT_MAX_SUBIDS)
            out->subids[out->n_subids++] = item->number;
        break;
    case PAIR:
        break;
    default:
        *(struct bt_slice *)(void *)member = item->a;
        break;
    }
}

int bt_mqtt_props_decode(struct bt_mqtt_cur *c, unsigned where, struct bt_mqtt_props *out)
{
    uint32_t len = cur_varint(c);
    struct bt_slice raw = cur_take(c, len);

    return c->bad ? BT_MQTT_MALFORMED : bt_mqtt_props_read(raw, where, out);
}

int bt_mqtt_props_read(struct bt_slice raw, unsigned where, struct bt_mqtt_props *out)
{
    struct bt_mqtt_cur block = { .p = raw.ptr, .end = raw.ptr + raw.len };
    struct item item = { 0 };

    out->raw = raw;
    while (block.p < block.end) {
        const struct row *row;
        int r;

        if (!item_next(&block, &item))
            return BT_MQTT_MALFORMED;
        row = &rows[item.prop];
        if ((row->packets & BT_MQTT_IN(where)) == 0)
            return BT_MQTT_MALFORMED;
        if ((out->present & 1u << item.prop) != 0 && (row->many & BT_MQTT_IN(where)) == 0)
            return BT_MQTT_PROTOCOL_ERROR;
        r = check_value(row, &item);
        if (r != 0)
            return r;
        store(out, &item);
    }
    return 0;
}

bool bt_mqtt_user_next(struct bt_slice raw, size_t *pos, struct bt_mqtt_user *out)
{
    struct bt_mqtt_cur c = { 0 };
    struct item item = { 0 };

    if (*pos >= raw.len)
        return false;
    c.p = raw.ptr + *pos;
    c.end = raw.ptr + raw.len;
    while (c.p < c.end && item_next(&c, &item)) {
        if (item.prop != BT_MQTT_P_USER)
            continue;
        *out = (struct bt_mqtt_user){ item.a, item.b };
        *pos = (size_t)(c.p - raw.ptr);
        return true;
    }
    *pos = raw.len;
    return false;
}

/* A number no larger than its kind on the wire allows. */
static bool parse_number(const char *text, unsigned kind, uint32_t *out)
{
    static const uint32_t most[] = { [U8] = UINT8_MAX,
                                     [U16] = UINT16_MAX,
                                     [U32] = UINT32_MAX,
                                     [VARINT] = BT_MQTT_MAX_REMAINING };
    uint64_t n = 0;

    if (*text == '\0' || strlen(text) > 10)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = n * 10 + (uint64_t)(*text - '0');
    }
    *out = (uint32_t)n;
    return n <= most[kind];
}

int bt_mqtt_prop_set_text(struct bt_mqtt_props *props, unsigned where, const char *name,
                          const char *value)
{
    struct item item = { .a = { (const uint8_t *)value, strlen(value) } };
    const struct row *row;

    while (item.prop < BT_MQTT_P_COUNT && strcmp(rows[item.prop].name, name) != 0)
        item.prop++;
    if (item.prop == BT_MQTT_P_COUNT || item.prop == BT_MQTT_P_USER)
        return BT_EINVAL;
    row = &rows[item.prop];
    if ((row->packets & BT_MQTT_IN(where)) == 0)
        return BT_EINVAL;
    if (row->kind <= VARINT && !parse_number(value, row->kind, &item.number))
        return BT_EINVAL;
    if (check_value(row, &item) != 0)
        return BT_EINVAL;
    store(props, &item);
    return 0;
}

static uint64_t size_one(const struct bt_mqtt_props *props, unsigned prop)
{
    const char *member = (const char *)props + rows[prop].member;

    switch (rows[prop].kind) {
    case U8:
        return 2;
    case U16:
        return 3;
    case U32:
        return 5;
    case VARINT:
    case PAIR:
        return 0;
    default:
        return 1 + bt_mqtt_bytes_size(*(const struct bt_slice *)(const void *)member);
    }
}

uint64_t bt_mqtt_props_size(const struct bt_mqtt_props *props)
{
    uint64_t size = 0;

    if (props == NULL)
        return 0;
    for (unsigned i = 0; i < BT_MQTT_P_COUNT && props->present >> i != 0; i++) {
        if ((props->present & 1u << i) != 0)
            size += size_one(props, i);
    }
    for (unsigned i = 0; i < props->n_subids; i++)
        size += 1 + bt_mqtt_varint_size(props->subids[i]);
    for (unsigned i = 0; i < props->n_users; i++)
        size += 1 + bt_mqtt_bytes_size(props->users[i].name) +
                bt_mqtt_bytes_size(props->users[i].value);
    return size;
}

static uint8_t *write_one(uint8_t *p, const struct bt_mqtt_props *props, unsigned prop)
{
    const void *member = (const char *)props + rows[prop].member;
    uint32_t number;

    if (rows[prop].kind == VARINT || rows[prop].kind == PAIR)
        return p;
    *p++ = rows[prop].id;
    switch (rows[prop].kind) {
    case U8:
        *p++ = *(const uint8_t *)member;
        return p;
    case U16:
        return bt_mqtt_put_u16(p, *(const uint16_t *)member);
    case U32:
        number = *(const uint32_t *)member;
        return bt_mqtt_put_u16(bt_mqtt_put_u16(p, number >> 16), number & 0xffff);
    default:
        return bt_mqtt_put_bytes(p, *(const struct bt_slice *)member);
    }
}

uint8_t *bt_mqtt_props_write(uint8_t *p, const struct bt_mqtt_props *props, size_t size)
{
    p += bt_mqtt_varint(p, (uint32_t)size);
    if (props == NULL)
        return p;
    for (unsigned i = 0; i < BT_MQTT_P_COUNT && props->present >> i != 0; i++) {
        if ((props->present & 1u << i) != 0)
            p = write_one(p, props, i);
    }
    for (unsigned i = 0; i < props->n_subids; i++) {
        *p++ = rows[BT_MQTT_P_SUBSCRIPTION_ID].id;
        p += bt_mqtt_varint(p, props->subids[i]);
    }
    for (unsigned i = 0; i < props->n_users; i++) {
        *p++ = rows[BT_MQTT_P_USER].id;
        p = bt_mqtt_put_bytes(p, props->users[i].name);
        p = bt_mqtt_put_bytes(p, props->users[i].value);
    }
    return p;
}
