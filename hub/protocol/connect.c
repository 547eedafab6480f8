/* CONNECT (MQTT 5.0 §3.1): who is it, which session, and where does it live.
 *
 * Happy path: decode, find the home worker of the client id (and move there), log in,
 * take over or make the session, CONNACK, send again what was in flight. Failure modes:
 * every refusal is one call of refuse(): a CONNACK with the reason, then close. */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/access/limit.h"
#include "hub/access/login.h"
#include "hub/net/conn.h"
#include "hub/net/listener.h"
#include "hub/observe/recorder.h"
#include "hub/protocol/props.h"
#include "hub/session/will.h"
#include "hub/worker.h"

#define LOGGED_ID       64 /* bytes of a refused client's identifier */
#define ASSIGNED_ID_LEN 21 /* "auto-" and 16 hexadecimal digits */

struct login {
    struct bt_mqtt_packet packet;
    const struct hub_principal *principal;
    struct bt_slice id;
    char assigned[ASSIGNED_ID_LEN + 1];
};

static bool has(const struct bt_mqtt_props *p, enum bt_mqtt_prop prop)
{
    return (p->present & 1u << prop) != 0;
}

static void log_refusal(struct hub_conn *c, struct bt_slice id, const char *text)
{
    struct hub_worker *w = c->worker;
    char address[HUB_IP_TEXT], name[LOGGED_ID + 1];
    uint32_t hidden;

    if (!hub_quiet(&w->quiet[HUB_QUIET_REFUSED], bt_loop_ms(w->loop), &hidden))
        return;
    (void)snprintf(name, sizeof(name), "%.*s", (int)BT_MIN(id.len, LOGGED_ID),
                   (const char *)id.ptr);
    bt_log(BT_LOG_INFO, "HUB-REFUSE", "connection refused",
           "client=" BT_LOG_Q " address=%s reason=\"%s\" more=%u", name,
           hub_ip_text(hub_conn_ip(c), address), text, hidden);
}

static int refuse(struct hub_conn *c, uint8_t version, struct bt_slice id, uint8_t reason)
{
    const char *text = bt_mqtt_reason_text(reason);
    struct bt_mqtt_props words = {
        .present = 1u << BT_MQTT_P_REASON_STRING,
        .reason_string = { (const uint8_t *)text, strlen(text) },
    };
    struct bt_buf b bt_cleanup(bt_buf_deinit) = { 0 };
    uint8_t code = version == BT_MQTT_50 ? reason : bt_mqtt_connack_v3(reason);
    int r;

    hub_refused_login(c->worker, id, reason);
    log_refusal(c, id, text);
    r = bt_mqtt_encode_connack(&b, version, false, code, &words);
    if (r == 0 && !hub_conn_fits(c, b.len)) {
        b.len = 0;
        r = bt_mqtt_encode_connack(&b, version, false, code, NULL);
    }
    if (r == 0 && hub_conn_fits(c, b.len))
        hub_conn_send(c, &b);
    hub_conn_close(c, BT_MQTT_SUCCESS, false);
    c->close_reason = reason; /* CONNACK has said it to MQTT, not to a layer below */
    return 0;
}

/* Remember what a version 5 client asked for, when it is more than the defaults. */
static uint8_t take_wishes(struct hub_conn *c, const struct bt_mqtt_props *p)
{
    bool no_problem = has(p, BT_MQTT_P_REQUEST_PROBLEM) && p->request_problem == 0;

    if ((p->max_packet == 0 && p->topic_alias_max == 0 && !no_problem) || c->v5 != NULL)
        return 0; /* nothing, or this packet waited for its login */
    c->v5 = bt_calloc(1, sizeof(*c->v5));
    if (c->v5 == NULL)
        return BT_MQTT_UNAVAILABLE;
    c->v5->max_packet = p->max_packet;
    c->v5->max_out = (uint16_t)BT_MIN(p->topic_alias_max, HUB_ALIAS_OUT);
    c->v5->no_problem = no_problem;
    return 0;
}

/* An id for a client that brought none, one whose home is this worker. */
static int assign_id(struct hub_conn *c, struct login *in)
{
    static const char hex[] = "0123456789abcdef";
    const struct hub *hub = c->worker->hub;

    in->id = (struct bt_slice){ (const uint8_t *)in->assigned, ASSIGNED_ID_LEN };
    do {
        uint8_t random[8];

        if (bt_sys_random(random, sizeof(random)) != 0)
            return bt_origin(BT_EIO, "no random bytes for a client identifier");
        memcpy(in->assigned, "auto-", 5);
        for (size_t i = 0; i < sizeof(random); i++) {
            in->assigned[5 + 2 * i] = hex[random[i] >> 4];
            in->assigned[6 + 2 * i] = hex[random[i] & 15];
        }
    } while (hub_home(hub, hub_id_hash(in->id)) != c->worker);
    return 0;
}

static uint8_t check_will(const struct hub_conn *c, const struct login *in)
{
    const struct bt_mqtt_will *will = &in->packet.connect.will;

    if (!will->present)
        return 0;
    if (!hub_topic_allowed(c->worker->hub, will->topic))
        return BT_MQTT_BAD_TOPIC;
    if (!hub_principal_may_publish(in->principal, in->id, will->topic))
        return BT_MQTT_NOT_AUTHORIZED;
    if (c->worker->conf->check_payload && will->props.payload_format == 1 &&
        !hub_payload_is_text(will->payload))
        return BT_MQTT_BAD_PAYLOAD;
    return 0;
}

static bool id_allowed(const struct hub_conf *conf, struct bt_slice id)
{
    if (id.len > conf->max_client_id)
        return false;
    for (size_t i = 0; conf->plain_client_id && i < id.len; i++) {
        uint8_t ch = id.ptr[i];

        if (!(ch >= '0' && ch <= '9') && !(ch >= 'A' && ch <= 'Z') &&
            !(ch >= 'a' && ch <= 'z') && ch != '_' && ch != '-')
            return false;
    }
    return true;
}

/* 0, the reason to refuse, or HUB_LOGIN_WAITS. */
static int admit(struct hub_conn *c, struct login *in)
{
    int r;

    if (c->over)
        return BT_MQTT_CONN_RATE;
    if (!id_allowed(c->worker->conf, in->id))
        return BT_MQTT_BAD_CLIENT_ID;
    if (has(&in->packet.props, BT_MQTT_P_AUTH_METHOD))
        return BT_MQTT_BAD_AUTH_METHOD;
    r = hub_login(c, &in->packet.connect, &in->principal);
    return r != 0 ? r : check_will(c, in);
}

/* Seconds; UINT32_MAX is for ever. */
static uint32_t session_expiry(const struct hub_conf *conf, const struct login *in)
{
    const struct bt_mqtt_props *p = &in->packet.props;
    uint32_t asked = UINT32_MAX;

    if (in->packet.connect.version == BT_MQTT_50)
        asked = p->session_expiry;
    else if (in->packet.connect.clean)
        asked = 0;
    else if (conf->session_expiry != 0)
        asked = (uint32_t)BT_MIN(conf->session_expiry / 1000, UINT32_MAX - 1);
    return hub_expiry_granted(conf, asked);
}

/* Seconds; 0 is off. Only version 5 can be told of another value than it asked for. */
static uint16_t keepalive(const struct hub_conf *conf, const struct bt_mqtt_connect *m)
{
    uint16_t most = (uint16_t)(conf->max_keepalive / 1000);

    if (m->version != BT_MQTT_50 || most == 0 ||
        (m->keepalive != 0 && m->keepalive <= most))
        return m->keepalive;
    return most;
}

/* The session for this login: the old one with its other connection closed, or a new one.
 */
static struct hub_session *take_session(struct hub_conn *c, const struct login *in,
                                        bool *present)
{
    struct hub_worker *w = c->worker;
    struct hub_session *s = hub_worker_find(w, in->id);

    if (s != NULL && s->link != NULL) {
        s->link->ops->close(s->link, BT_MQTT_TAKEN_OVER);
        s = hub_worker_find(w, in->id);
    }
    if (s != NULL && s->expires_ms != 0 && s->expires_ms <= bt_clock_wall_ms()) {
        hub_session_end(s); /* the tick has not come by yet */
        s = NULL;
    }
    if (s != NULL && s->principal != NULL && s->principal != in->principal) {
        hub_session_end(s); /* another user's queue is not handed over */
        s = NULL;
    }
    if (s != NULL && in->packet.connect.clean) {
        hub_session_end(s);
        s = NULL;
    }
    *present = s != NULL;
    if (s == NULL)
        s = hub_session_new(w, in->id, atomic_fetch_add(&w->hub->next_sid, 1) + 1);
    return s;
}

/* What version 5 is told when it is not the standard's default. */
static void fill_connack(const struct hub_conn *c, const struct login *in,
                         struct bt_mqtt_props *p)
{
    const struct hub_conf *conf = c->worker->conf;
    const struct bt_mqtt_connect *m = &in->packet.connect;

    *p = (struct bt_mqtt_props){
        .present = 1u << BT_MQTT_P_RECEIVE_MAX | 1u << BT_MQTT_P_MAX_PACKET,
        .receive_max = HUB_MAX_UNACKED,
        .max_packet = (uint32_t)hub_meter_max_packet(c),
        .topic_alias_max = (uint16_t)conf->max_aliases,
        .session_expiry = c->link.session->expiry_s,
        .server_keepalive = keepalive(c->worker->conf, m),
        .assigned_client_id = in->id,
    };
    if (conf->max_aliases != 0)
        p->present |= 1u << BT_MQTT_P_TOPIC_ALIAS_MAX;
    if (p->session_expiry != in->packet.props.session_expiry)
        p->present |= 1u << BT_MQTT_P_SESSION_EXPIRY;
    if (p->server_keepalive != m->keepalive)
        p->present |= 1u << BT_MQTT_P_SERVER_KEEPALIVE;
    if (in->assigned[0] != '\0')
        p->present |= 1u << BT_MQTT_P_ASSIGNED_CLIENT_ID;
}

/* A topic of its own below the configured one, for a client that asked (§3.2.2.3.14). */
static int add_response_info(const struct hub_conn *c, const struct login *in,
                             struct bt_buf *text, struct bt_mqtt_props *p)
{
    const char *prefix = c->worker->conf->response_topic;

    if (prefix == NULL || in->packet.props.request_response == 0 ||
        !bt_mqtt_topic_ok(in->id))
        return 0;
    if (bt_buf_append(text, prefix, strlen(prefix)) != 0 ||
        bt_buf_append_u8(text, '/') != 0 ||
        bt_buf_append(text, in->id.ptr, in->id.len) != 0)
        return BT_ENOMEM;
    p->present |= 1u << BT_MQTT_P_RESPONSE_INFO;
    p->response_info = (struct bt_slice){ text->data, text->len };
    return 0;
}

static int send_connack(struct hub_conn *c, const struct login *in, bool present)
{
    struct bt_mqtt_props p;
    struct bt_buf b bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_buf info bt_cleanup(bt_buf_deinit) = { 0 };
    int r;

    fill_connack(c, in, &p);
    r = add_response_info(c, in, &info, &p);
    if (r == 0)
        r = bt_mqtt_encode_connack(&b, c->version, present, 0, &p);
    if (r == 0 && !hub_conn_fits(c, b.len)) {
        c->version = 0; /* nothing may be said before CONNACK ([MQTT-3.14.0-1]) */
        hub_conn_close(c, BT_MQTT_TOO_LARGE, false);
    } else if (r == 0) {
        hub_conn_send(c, &b);
    }
    return r;
}

static void start_keepalive(struct hub_conn *c, uint16_t seconds)
{
    c->keepalive_ms = seconds * 1500u;
    c->deadline_ms =
        c->keepalive_ms == 0 ? 0 : bt_loop_ms(c->worker->loop) + c->keepalive_ms;
}

/* Whether the user may have one connection more, beside that which this one replaces. */
static bool enter(struct hub_conn *c, const struct login *in)
{
    const struct hub_session *s = hub_worker_find(c->worker, in->id);
    uint32_t room = s != NULL && s->link != NULL && s->principal == in->principal;

    if (hub_principal_enter(in->principal, room))
        return true;
    hub_limited(c, HUB_LIMIT_PRINCIPAL);
    return false;
}

static int open_session(struct hub_conn *c, const struct login *in)
{
    const struct bt_mqtt_connect *m = &in->packet.connect;
    const struct bt_mqtt_props *p = &in->packet.props;
    uint16_t window = (uint16_t)c->worker->conf->max_inflight;
    uint32_t most = hub_principal_limits(in->principal)->inflight;
    bool present = false;
    char address[HUB_IP_TEXT];
    struct hub_session *s;

    if (!enter(c, in))
        return refuse(c, m->version, in->id, BT_MQTT_QUOTA);
    s = take_session(c, in, &present);
    if (s == NULL) {
        hub_principal_leave(in->principal);
        return refuse(c, m->version, in->id, BT_MQTT_UNAVAILABLE);
    }
    if (most != 0)
        window = (uint16_t)BT_MIN(window, most);
    if (has(p, BT_MQTT_P_RECEIVE_MAX))
        window = BT_MIN(window, p->receive_max);
    c->version = m->version;
    start_keepalive(c, keepalive(c->worker->conf, m));
    s->principal = in->principal;
    s->expiry_s = session_expiry(c->worker->conf, in);
    /* What already waits on disk stays there in its order until the session ends. */
    s->persistent = s->expiry_s > 0 || s->stored;
    hub_session_attach(s, &c->link, window);
    hub_record(s, &(struct hub_fact){ HUB_EV_CONNECTED, .n = m->version });
    if (s->persistent)
        hub_session_store(s, 0);
    if (hub_meter_init(c) != 0 || hub_will_set(s, &m->will) != 0 ||
        send_connack(c, in, present) != 0)
        return BT_MQTT_UNSPECIFIED;
    if (c->closed)
        return 0; /* the client cannot even take the CONNACK */
    bt_log(BT_LOG_DEBUG, "HUB-CONNECT", "client connected",
           "client=" BT_LOG_Q " user=" BT_LOG_Q
           " address=%s version=%u persistent=%d present=%d",
           s->id, hub_principal_name(s->principal), hub_ip_text(hub_conn_ip(c), address),
           m->version, s->persistent, present);
    hub_session_resume(s);
    return 0;
}

int hub_connect(struct hub_conn *c, const uint8_t *p, size_t n, struct bt_slice rest)
{
    struct login in = { .assigned = "" };
    struct hub_worker *home;
    int r;

    if (p[0] >> 4 != BT_MQTT_CONNECT)
        return BT_MQTT_PROTOCOL_ERROR;
    r = bt_mqtt_decode(p, n, 0, &in.packet);
    if (r == BT_MQTT_BAD_VERSION || r == BT_MQTT_BAD_CLIENT_ID)
        return refuse(c, BT_MQTT_311, in.id, (uint8_t)r);
    if (r != 0)
        return r;
    in.id = in.packet.connect.client_id;
    if (in.id.len == 0 && assign_id(c, &in) != 0)
        return refuse(c, in.packet.connect.version, in.id, BT_MQTT_UNAVAILABLE);
    home = hub_home(c->worker->hub, hub_id_hash(in.id));
    if (home != c->worker) {
        hub_conn_move(c, home, (struct bt_slice){ p, (size_t)(rest.ptr - p) + rest.len });
        return HUB_CONN_MOVED;
    }
    hub_conn_settle(c);
    r = take_wishes(c, &in.packet.props);
    if (r == 0)
        r = admit(c, &in);
    if (r == HUB_LOGIN_WAITS)
        return HUB_CONN_WAITS;
    hub_count_in(&c->worker->counts, BT_MQTT_CONNECT);
    if (r != 0)
        return refuse(c, in.packet.connect.version, in.id, (uint8_t)r);
    return open_session(c, &in);
}
