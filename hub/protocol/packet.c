/* Packets after CONNECT, one small function a type, found in a table. Each returns 0 or
 * the reason to close the connection with (MQTT 5.0 §4.13). */
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/access/reply_guard.h"
#include "hub/net/conn.h"
#include "hub/observe/recorder.h"
#include "hub/protocol/props.h"
#include "hub/session/quota.h"
#include "hub/worker.h"

static uint8_t check_publish(const struct hub_conn *c, const struct bt_mqtt_publish *m)
{
    if (!hub_topic_allowed(c->worker->hub, m->topic))
        return m->topic.len > 0 && m->topic.ptr[0] == '$' ? BT_MQTT_NOT_AUTHORIZED
                                                          : BT_MQTT_BAD_TOPIC;
    if (!hub_session_may_publish(c->link.session, m->topic))
        return BT_MQTT_NOT_AUTHORIZED;
    return 0;
}

/* Only version 5 can be told; others wait for their acknowledgement. */
static uint8_t check_budget(const struct hub_conn *c, const struct hub_pub *pub)
{
    if (c->version != BT_MQTT_50 || !hub_quota_refuses(c->link.session, pub))
        return 0;
    hub_refused(c->link.session, HUB_REFUSED_PUBLISH, pub->topic, BT_MQTT_QUOTA);
    return BT_MQTT_QUOTA;
}

/* Properties that mean something to the hub. 0 or the reason to close. */
static int check_props(struct hub_conn *c, struct bt_mqtt_publish *m,
                       const struct bt_mqtt_props *props)
{
    const struct hub_conf *conf = c->worker->conf;

    if (bt_unlikely(props->n_subids > 0))
        return BT_MQTT_PROTOCOL_ERROR; /* §3.3.4: only the hub sends them */
    if ((props->present & (1u << BT_MQTT_P_TOPIC_ALIAS)) == 0)
        return 0;
    return hub_alias_resolve(&c->v5, (uint16_t)conf->max_aliases, props->topic_alias,
                             &m->topic);
}

/* Before its acknowledgement, or the close at QoS 0 or in version 3. */
static uint8_t check_payload(const struct hub_conn *c, const struct bt_mqtt_publish *m,
                             const struct bt_mqtt_props *props)
{
    bool text = (props->present & (1u << BT_MQTT_P_PAYLOAD_FORMAT)) != 0 &&
                props->payload_format == 1;

    return text && c->worker->conf->check_payload && !hub_payload_is_text(m->payload)
               ? BT_MQTT_BAD_PAYLOAD
               : 0;
}

static int on_publish(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct hub_session *s = c->link.session;
    struct bt_mqtt_publish m;
    struct bt_mqtt_props props;
    struct bt_buf filtered = { 0 };
    struct hub_pub pub = { 0 };
    uint8_t refused;
    int r = bt_mqtt_decode_publish(p, n, c->version, &m, &props);

    if (r != 0)
        return r;
    if (c->version == BT_MQTT_50) {
        r = check_props(c, &m, &props);
        if (r != 0)
            return r;
        if (hub_session_over_quota(s, m.qos, m.pid)) {
            hub_refused(s, HUB_REFUSED_PUBLISH, m.topic, BT_MQTT_RECEIVE_MAX);
            return BT_MQTT_RECEIVE_MAX;
        }
    }
    refused = check_publish(c, &m);
    if (refused == 0 && c->version == BT_MQTT_50 &&
        bt_unlikely(!hub_reply_guard_permits(c->worker->hub, s, m.topic, &props)))
        refused = BT_MQTT_NOT_AUTHORIZED;
    if (bt_unlikely(refused != 0))
        hub_refused(s, HUB_REFUSED_PUBLISH, m.topic, refused);
    if (refused != 0 && c->version != BT_MQTT_50)
        return refused;
    c->worker->counts.received++;
    c->worker->counts.payload_in += m.payload.len;
    pub.topic = m.topic;
    pub.payload = m.payload;
    pub.qos = m.qos;
    pub.retain = m.retain;
    pub.origin = s->addr;
    if (c->version == BT_MQTT_50) {
        pub.expiry_s = hub_props_expiry(&props);
        if (hub_props_forward(&props, &filtered, &pub.props) != 0)
            refused = BT_MQTT_QUOTA;
        if (refused == 0)
            refused = check_payload(c, &m, &props);
        if (refused == BT_MQTT_BAD_PAYLOAD && m.qos == 0) {
            bt_buf_deinit(&filtered);
            return refused;
        }
    }
    if (bt_unlikely(hub_quota_pressed()) && refused == 0)
        refused = check_budget(c, &pub);
    hub_session_publish(s, &pub, m.pid, 0, refused);
    hub_pub_deinit(&pub);
    bt_buf_deinit(&filtered);
    if (s == c->link.session &&
        (s->n_unacked >= HUB_MAX_UNACKED || bt_unlikely(hub_quota_pauses(s))))
        hub_conn_pause(c, HUB_PAUSE_UNACKED);
    if (bt_unlikely(
            atomic_load_explicit(&c->worker->transit.congested, memory_order_relaxed)))
        hub_conn_pause(c, HUB_PAUSE_TRANSIT);
    return 0;
}

static int on_pingreq(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct bt_mqtt_packet m;
    struct bt_buf b = { 0 };
    int r = bt_mqtt_decode(p, n, c->version, &m);

    if (r == 0)
        r = bt_mqtt_encode_simple(&b, c->version, BT_MQTT_PINGRESP, 0, NULL);
    if (r == 0)
        hub_conn_send(c, &b);
    bt_buf_deinit(&b);
    return r;
}

static int on_disconnect(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct bt_mqtt_packet m;
    struct hub_session *s = c->link.session;
    int r = bt_mqtt_decode(p, n, c->version, &m);

    if (r != 0)
        return r;
    if ((m.props.present & (1u << BT_MQTT_P_SESSION_EXPIRY)) != 0) {
        if (s->expiry_s == 0 && m.props.session_expiry != 0)
            return BT_MQTT_PROTOCOL_ERROR; /* §3.14.2.2.2 */
        s->expiry_s = hub_expiry_granted(c->worker->conf, m.props.session_expiry);
    }
    hub_conn_close(c, m.reason < 0x80 ? m.reason : 0,
                   m.reason == BT_MQTT_DISCONNECT_WITH_WILL);
    return 0;
}

static int (*const handlers[16])(struct hub_conn *c, const uint8_t *p, size_t n) = {
    [BT_MQTT_PUBLISH] = on_publish,
    [BT_MQTT_PUBACK] = hub_on_puback,
    [BT_MQTT_PUBREC] = hub_on_pubrec,
    [BT_MQTT_PUBREL] = hub_on_pubrel,
    [BT_MQTT_PUBCOMP] = hub_on_pubcomp,
    [BT_MQTT_SUBSCRIBE] = hub_on_subscribe,
    [BT_MQTT_UNSUBSCRIBE] = hub_on_unsubscribe,
    [BT_MQTT_PINGREQ] = on_pingreq,
    [BT_MQTT_DISCONNECT] = on_disconnect,
};

int hub_packet(struct hub_conn *c, const uint8_t *p, size_t n)
{
    unsigned type = p[0] >> 4;

    if (type != BT_MQTT_PUBLISH)
        hub_count_in(&c->worker->counts, type);
    if (handlers[type] == NULL)
        return BT_MQTT_PROTOCOL_ERROR;
    return handlers[type](c, p, n);
}
