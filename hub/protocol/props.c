/* Forwarded properties and topic limits. Most publishes carry only properties that travel
 * on, so their bytes are passed as they came; otherwise the block is written anew without
 * expiry and alias, which the hub computes for each receiver. */
#include "hub/protocol/props.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/hub_internal.h"
#include "hub/observe/sys.h"

#define TRAVELLING                                                       \
    (1u << BT_MQTT_P_PAYLOAD_FORMAT | 1u << BT_MQTT_P_CONTENT_TYPE |     \
     1u << BT_MQTT_P_RESPONSE_TOPIC | 1u << BT_MQTT_P_CORRELATION_DATA | \
     1u << BT_MQTT_P_USER)

static size_t count_users(struct bt_slice raw)
{
    struct bt_mqtt_user user;
    size_t pos = 0, n = 0;

    while (bt_mqtt_user_next(raw, &pos, &user))
        n++;
    return n;
}

static int encode_travelling(const struct bt_mqtt_props *p, struct bt_mqtt_user *users,
                             size_t n_users, struct bt_buf *b, struct bt_slice *out)
{
    struct bt_mqtt_props kept = *p;
    size_t pos = 0, prefix = 0;
    int r;

    for (size_t i = 0; i < n_users; i++)
        (void)bt_mqtt_user_next(p->raw, &pos, &users[i]);
    kept.present &= TRAVELLING;
    kept.n_subids = 0;
    kept.raw = (struct bt_slice){ NULL, 0 };
    kept.users = users;
    kept.n_users = (uint16_t)n_users;
    r = bt_mqtt_encode_props(b, &kept);
    if (r != 0)
        return r;
    while ((b->data[prefix++] & 0x80) != 0)
        ; /* skip the length */
    *out = (struct bt_slice){ b->data + prefix, b->len - prefix };
    return 0;
}

int hub_props_forward(const struct bt_mqtt_props *p, struct bt_buf *b,
                      struct bt_slice *out)
{
    struct bt_mqtt_user *users;
    size_t n;
    int r;

    *out = p->raw;
    if (p->raw.len > UINT16_MAX)
        return BT_ELIMIT;
    if (p->raw.len == 0 || (p->present & ~(uint32_t)TRAVELLING) == 0)
        return 0;
    *out = (struct bt_slice){ NULL, 0 };
    if ((p->present & TRAVELLING) == 0)
        return 0;
    n = count_users(p->raw);
    if (n > UINT16_MAX)
        return BT_ELIMIT;
    users = bt_calloc(n + 1, sizeof(*users));
    if (users == NULL)
        return BT_ENOMEM;
    r = encode_travelling(p, users, n, b, out);
    bt_free(users);
    return r;
}

uint32_t hub_props_expiry(const struct bt_mqtt_props *p)
{
    if ((p->present & (1u << BT_MQTT_P_MESSAGE_EXPIRY)) == 0)
        return 0;
    return p->message_expiry == 0 ? HUB_EXPIRY_NOW
                                  : BT_MIN(p->message_expiry, HUB_EXPIRY_NOW - 1);
}

bool hub_payload_is_text(struct bt_slice payload)
{
    while (payload.len > 0) {
        const uint8_t *nul = memchr(payload.ptr, 0, payload.len);
        size_t n = nul == NULL ? payload.len : (size_t)(nul - payload.ptr);

        if (!bt_mqtt_utf8_ok((struct bt_slice){ payload.ptr, n }))
            return false;
        n = BT_MIN(n + 1, payload.len);
        payload.ptr += n;
        payload.len -= n;
    }
    return true;
}

static bool within(const struct hub *hub, struct bt_slice t)
{
    uint32_t levels = 1;

    if (t.len > hub->conf->max_topic)
        return false;
    for (size_t i = 0; i < t.len; i++)
        levels += t.ptr[i] == '/';
    return levels <= hub->conf->max_levels;
}

bool hub_topic_allowed(const struct hub *hub, struct bt_slice topic)
{
    return topic.len > 0 && topic.ptr[0] != '$' && within(hub, topic);
}

bool hub_filter_allowed(const struct hub *hub, struct bt_slice filter)
{
    static const char share[] = "$share/";

    if (filter.len > sizeof(share) - 1 &&
        memcmp(filter.ptr, share, sizeof(share) - 1) == 0) {
        const uint8_t *name = filter.ptr + sizeof(share) - 1;
        const uint8_t *end = memchr(name, '/', filter.len - (sizeof(share) - 1));

        if (end == NULL)
            return false;
        filter.len -= (size_t)(end + 1 - filter.ptr);
        filter.ptr = end + 1;
    }
    if (filter.len == 0 || !within(hub, filter))
        return false;
    return filter.ptr[0] != '$' || (hub->conf->sys_interval > 0 && hub_sys_is(filter));
}
