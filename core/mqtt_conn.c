/* The life of a connection. Packets of messages are in mqtt_conn_in.c and
 * mqtt_conn_out.c.
 *
 *            +------------------- lost, refused, timed out -------------------+
 *            v                                                                |
 *   WAITING --> OPENING --> LOGIN --> SUBSCRIBING --> UP ---------------------+
 *      |  timer    stream      CONNACK      SUBACK
 *      +--> DEAD when there is no reconnect
 *
 * Happy path: the stream opens, CONNECT goes out, CONNACK comes, messages go both ways
 * from then on, SUBSCRIBE is answered, on_up. CONNECT and SUBSCRIBE are encoded once, for
 * both versions, when the client is made: what cannot be said is told then.
 *
 * Failure modes: every failure ends in lose(): the stream is closed, the application is
 * told in on_down, and the timer runs until the next attempt. An answer that does not
 * come, a broker that is silent for the keep-alive time and then does not answer a ping,
 * and bytes that are not MQTT are such failures. A broker that refuses version 5, or
 * closes without a word, is asked in 3.1.1 at once.
 *
 * The application may close the client in any callback: what the loop called runs between
 * enter() and leave(), and leave() frees. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/mqtt_conn_priv.h"
#include "core/sys.h"
#include "core/tls.h"

static void begin(struct bt_mqtt_conn *c);

/* ---- Losing it ---- */

int conn_fail(struct bt_mqtt_conn *c, unsigned reason, const char *fmt, ...)
{
    va_list args;

    if (c->failing)
        return CONN_LOST;
    c->failing = true;
    c->reason = (uint8_t)reason;
    va_start(args, fmt);
    (void)vsnprintf(c->why, sizeof(c->why), fmt, args);
    va_end(args);
    return CONN_LOST;
}

int conn_check(struct bt_mqtt_conn *c, int r)
{
    return r == 0 ? 0 : conn_fail(c, BT_MQTT_UNSPECIFIED, "%s", bt_error_text(r));
}

/* Half of it is certain, half is chance. */
static uint32_t next_pause(struct bt_mqtt_conn *c)
{
    uint32_t max = c->conf.interval_ms, random = 0;
    uint64_t pause = BT_MQTT_CONN_PAUSE_MS;

    for (unsigned i = 0; i < c->n_attempts && pause < max; i++)
        pause *= 2;
    pause = BT_MIN(pause, max);
    c->n_attempts++;
    if (bt_sys_random(&random, sizeof(random)) != 0)
        random = 0;
    return (uint32_t)(pause - pause / 2 + random % (pause / 2 + 1));
}

/* Tell the broker why, if it is to be told. */
static void say_goodbye(struct bt_mqtt_conn *c, unsigned reason)
{
    if (c->stream == NULL || c->ended || c->state < CONN_SUBSCRIBING ||
        c->state > CONN_UP)
        return;
    if (reason >= 0x80 && c->version != BT_MQTT_50)
        return;
    if (bt_mqtt_encode_simple(&c->out, c->version, BT_MQTT_DISCONNECT, (uint8_t)reason,
                              NULL) != 0)
        return;
    while (c->out.len > 0) {
        ssize_t n = c->stream->ops->write(c->stream, c->out.data, c->out.len);

        if (n <= 0)
            break;
        bt_buf_consume(&c->out, (size_t)n);
    }
}

static void drop_stream(struct bt_mqtt_conn *c)
{
    if (c->stream != NULL)
        c->stream->ops->close(c->stream);
    c->stream = NULL;
    bt_timer_stop(c->conf.loop, &c->timer);
    bt_timer_stop(c->conf.loop, &c->alive_timer);
    bt_timer_stop(c->conf.loop, &c->turn_timer);
    bt_buf_deinit(&c->in);
    bt_buf_deinit(&c->out);
    c->pinged = false;
}

/* A broker that did not understand version 5 is asked in 3.1.1. */
static bool fall_back(struct bt_mqtt_conn *c)
{
    bool first = c->version == BT_MQTT_50;

    if (c->conf.connect.version != 0 || c->state != CONN_LOGIN || !c->no_such_version)
        return false;
    c->version = first ? BT_MQTT_311 : BT_MQTT_50;
    return first;
}

static void lose(struct bt_mqtt_conn *c)
{
    struct bt_mqtt_loss loss = { .reason = c->reason,
                                 .refused = c->refused,
                                 .why = c->why };
    bool again = fall_back(c);

    say_goodbye(c, c->reason >= 0x80 ? c->reason : BT_MQTT_UNSPECIFIED);
    drop_stream(c);
    if (c->state == CONN_UP &&
        bt_loop_ms(c->conf.loop) - c->up_ms >= BT_MQTT_CONN_STABLE_MS)
        c->n_attempts = 0;
    c->state = CONN_WAITING;
    c->failing = false;
    conn_in_lost(c);
    if (again) {
        begin(c);
        return;
    }
    if (c->conf.interval_ms == 0) {
        c->state = CONN_DEAD;
    } else {
        loss.retry_ms = next_pause(c);
        bt_timer_start(c->conf.loop, &c->timer, loss.retry_ms, 0);
    }
    if (c->conf.on_down != NULL)
        c->conf.on_down(c->conf.arg, &loss);
}

/* ---- What the loop calls ---- */

static void free_conn(struct bt_mqtt_conn *c)
{
    conn_in_detach(c);
    conn_out_free(c);
    for (int i = 0; i < 2; i++) {
        bt_buf_deinit(&c->connect[i]);
        bt_buf_deinit(&c->subscribe[i]);
    }
    bt_tls_ctx_unref(c->conf.tls);
    bt_free(c->foreign);
    bt_free(c);
}

static void enter(struct bt_mqtt_conn *c)
{
    c->depth++;
}

static void leave(struct bt_mqtt_conn *c)
{
    if (c->failing && !c->closed)
        lose(c);
    if (--c->depth > 0 || !c->closed)
        return;
    say_goodbye(c, BT_MQTT_SUCCESS);
    drop_stream(c);
    free_conn(c);
}

void conn_soon(struct bt_mqtt_conn *c)
{
    if (c->stream != NULL && !bt_timer_active(&c->turn_timer))
        bt_timer_start(c->conf.loop, &c->turn_timer, 0, 0);
}

static void on_turn(struct bt_timer *t)
{
    struct bt_mqtt_conn *c = bt_container_of(t, struct bt_mqtt_conn, turn_timer);

    enter(c);
    if (!c->failing && !c->paused && c->state >= CONN_LOGIN)
        (void)conn_read(c);
    if (!c->failing && !c->closed)
        (void)conn_write(c);
    leave(c);
}

static void on_ready(void *arg, unsigned events)
{
    struct bt_mqtt_conn *c = arg;

    enter(c);
    if ((events & BT_READ) != 0 && !c->paused)
        (void)conn_read(c);
    if (!c->failing && !c->closed)
        (void)conn_write(c);
    leave(c);
}

static void on_stream_failed(void *arg, const char *why)
{
    struct bt_mqtt_conn *c = arg;

    enter(c);
    (void)conn_fail(c, 0, "%s", why);
    leave(c);
}

static void on_stream_open(void *arg)
{
    struct bt_mqtt_conn *c = arg;
    const struct bt_buf *connect = &c->connect[c->version != BT_MQTT_50];

    enter(c);
    c->state = CONN_LOGIN;
    c->sent_ms = c->received_ms = bt_loop_ms(c->conf.loop);
    bt_timer_start(c->conf.loop, &c->timer, c->conf.timeout_ms, 0);
    c->stream->ops->want(c->stream, c->paused ? 0 : BT_READ);
    if (conn_check(c, bt_buf_append(&c->out, connect->data, connect->len)) == 0)
        (void)conn_write(c);
    leave(c);
}

/* No bytes are expected to be there before the login, so paused clients connect, too. */
static void begin(struct bt_mqtt_conn *c)
{
    const struct bt_stream_conf conf = {
        .address = c->address,
        .tls = c->conf.tls,
        .loop = c->conf.loop,
        .resolver = c->conf.resolver,
        .timeout_ms = c->conf.timeout_ms,
        .arg = c,
        .on_open = on_stream_open,
        .on_ready = on_ready,
        .on_failed = on_stream_failed,
    };
    int r;

    c->state = CONN_OPENING;
    c->refused = c->ended = c->no_such_version = false;
    c->reason = 0;
    r = c->conf.stream->open(&conf, &c->stream);
    if (r != 0) {
        (void)conn_check(c, r);
        bt_timer_start(c->conf.loop, &c->timer, 0, 0);
    }
}

static void on_timer(struct bt_timer *t)
{
    struct bt_mqtt_conn *c = bt_container_of(t, struct bt_mqtt_conn, timer);

    enter(c);
    if (c->state == CONN_WAITING)
        begin(c);
    else if (c->state == CONN_LOGIN)
        (void)conn_fail(c, 0, "no answer to the login in time");
    else if (c->state == CONN_SUBSCRIBING)
        (void)conn_fail(c, 0, "no answer to the subscription in time");
    leave(c);
}

/* ---- Keeping alive ---- */

static void on_alive(struct bt_timer *t)
{
    struct bt_mqtt_conn *c = bt_container_of(t, struct bt_mqtt_conn, alive_timer);
    uint64_t now = bt_loop_ms(c->conf.loop), due;
    uint64_t answer = BT_MIN(c->keepalive_ms, c->conf.timeout_ms);

    enter(c);
    due = c->pinged && !c->paused ? c->pinged_ms + answer
                                  : BT_MIN(c->sent_ms, c->received_ms) + c->keepalive_ms;
    if (c->paused)
        due = c->sent_ms + c->keepalive_ms;
    if (now >= due && c->pinged && !c->paused) {
        c->ended = true;
        (void)conn_fail(c, BT_MQTT_KEEPALIVE_TIMEOUT,
                        "the broker has not answered for %llu ms",
                        (unsigned long long)(now - c->received_ms));
    } else if (now >= due) {
        c->pinged = true;
        c->pinged_ms = now;
        due = now + answer;
        if (conn_check(c, bt_mqtt_encode_simple(&c->out, c->version, BT_MQTT_PINGREQ, 0,
                                                NULL)) == 0)
            (void)conn_write(c);
    }
    if (!c->failing)
        bt_timer_start(c->conf.loop, &c->alive_timer, due > now ? due - now : 1, 0);
    leave(c);
}

/* ---- Login ---- */

static int refuse(struct bt_mqtt_conn *c, const char *what,
                  const struct bt_mqtt_packet *p, unsigned reason)
{
    const struct bt_slice *text = &p->props.reason_string;

    c->refused = true;
    return conn_fail(c, reason, "the broker refused the %s: %s%s%.*s", what,
                     bt_mqtt_reason_text(reason), text->len > 0 ? ": " : "",
                     (int)BT_MIN(text->len, (size_t)200),
                     text->len > 0 ? (const char *)text->ptr : "");
}

/* Take what the broker says of itself. */
static void take_limits(struct bt_mqtt_conn *c, const struct bt_mqtt_props *props)
{
    uint32_t there = props->present;
    uint32_t seconds = c->conf.connect.keepalive;

    c->peer_window = c->conf.window_out;
    if ((there & 1u << BT_MQTT_P_RECEIVE_MAX) != 0)
        c->peer_window = BT_MIN(c->peer_window, props->receive_max);
    c->peer_max_packet =
        (there & 1u << BT_MQTT_P_MAX_PACKET) != 0 ? props->max_packet : 0;
    c->peer_max_qos = (there & 1u << BT_MQTT_P_MAX_QOS) != 0 ? props->max_qos : 2;
    c->peer_retain =
        (there & 1u << BT_MQTT_P_RETAIN_AVAILABLE) == 0 || props->retain_available != 0;
    if ((there & 1u << BT_MQTT_P_SERVER_KEEPALIVE) != 0)
        seconds = props->server_keepalive;
    c->keepalive_ms = seconds * 1000u;
    if (c->keepalive_ms > 0)
        bt_timer_start(c->conf.loop, &c->alive_timer, c->keepalive_ms, 0);
}

static void come_up(struct bt_mqtt_conn *c, bool session_present)
{
    bt_timer_stop(c->conf.loop, &c->timer);
    c->state = CONN_UP;
    c->up_ms = bt_loop_ms(c->conf.loop);
    if (c->conf.on_up != NULL)
        c->conf.on_up(c->conf.arg, session_present);
}

int conn_on_connack(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    const struct bt_buf *subscribe = &c->subscribe[c->version != BT_MQTT_50];
    unsigned reason = p->reason;

    if (c->state != CONN_LOGIN)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR, "a second answer to the login");
    if (c->version != BT_MQTT_50)
        reason = bt_mqtt_connack_v5(reason);
    c->no_such_version = reason == BT_MQTT_BAD_VERSION;
    if (reason != 0)
        return refuse(c, "login", p, reason);
    if (p->session_present && c->conf.connect.clean)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR,
                         "the broker has a session where none was asked for");
    take_limits(c, &p->props);
    c->state = CONN_SUBSCRIBING;
    c->session_present = p->session_present;
    conn_in_login(c, p->session_present);
    if (conn_out_login(c, p->session_present) != 0)
        return CONN_LOST;
    c->was_up = true;
    if (c->closed)
        return 0;
    if (subscribe->len == 0) {
        come_up(c, p->session_present);
        return 0;
    }
    bt_timer_start(c->conf.loop, &c->timer, c->conf.timeout_ms, 0);
    return conn_check(c, bt_buf_append(&c->out, subscribe->data, subscribe->len));
}

int conn_on_suback(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    if (c->state != CONN_SUBSCRIBING || p->pid != CONN_SUB_PID ||
        p->list.len != c->conf.n_subs)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR,
                         "an answer to a subscription that was not made");
    for (size_t i = 0; i < p->list.len; i++) {
        if (p->list.ptr[i] >= 0x80)
            return refuse(c, "subscription", p, p->list.ptr[i]);
    }
    come_up(c, c->session_present);
    return 0;
}

/* ---- Beginning and end ---- */

/* One version's CONNECT and SUBSCRIBE. */
static int encode_login(struct bt_mqtt_conn *c, const struct bt_mqtt_conn_conf *conf,
                        uint8_t version)
{
    int i = version != BT_MQTT_50, r;
    struct bt_mqtt_connect connect = conf->connect;
    struct bt_mqtt_props props = {
        .present = 1u << BT_MQTT_P_RECEIVE_MAX | 1u << BT_MQTT_P_MAX_PACKET,
        .receive_max = conf->window_in,
        .max_packet = conf->max_packet,
        .session_expiry = conf->session_expiry,
    };

    connect.version = version;
    if (!connect.clean)
        props.present |= 1u << BT_MQTT_P_SESSION_EXPIRY;
    r = bt_mqtt_encode_connect(&c->connect[i], &connect, &props);
    if (r == 0 && conf->n_subs > 0)
        r = bt_mqtt_encode_subscribe(&c->subscribe[i], version, CONN_SUB_PID, conf->subs,
                                     conf->n_subs, NULL);
    return r;
}

static int encode_logins(struct bt_mqtt_conn *c, const struct bt_mqtt_conn_conf *conf)
{
    uint8_t version = conf->connect.version;
    int r = 0;

    for (size_t i = 0; i < conf->n_subs; i++) {
        if (!bt_mqtt_filter_ok(conf->subs[i].filter))
            return BT_EINVAL;
    }
    if (conf->window_in == 0 || conf->window_out == 0 || conf->max_packet == 0)
        return BT_EINVAL;
    if (version == 0 || version == BT_MQTT_50)
        r = encode_login(c, conf, BT_MQTT_50);
    if (r == 0 && version != BT_MQTT_50)
        r = encode_login(c, conf, BT_MQTT_311);
    return r;
}

/* What the configuration says, without what it only lends. */
static void keep_conf(struct bt_mqtt_conn *c, const struct bt_mqtt_conn_conf *conf)
{
    c->conf = *conf;
    c->conf.connect = (struct bt_mqtt_connect){ .version = conf->connect.version,
                                                .clean = conf->connect.clean,
                                                .keepalive = conf->connect.keepalive };
    c->conf.address = NULL;
    c->conf.subs = NULL;
    c->conf.tls = conf->tls != NULL ? bt_tls_ctx_ref(conf->tls) : NULL;
    c->conf.window_out = (uint16_t)BT_MIN(conf->window_out, CONN_OUT_MAX);
    if (conf->stream == NULL)
        c->conf.stream = &bt_stream_net;
    c->version = conf->connect.version == 0 ? BT_MQTT_50 : conf->connect.version;
}

int bt_mqtt_conn_new(const struct bt_mqtt_conn_conf *conf, struct bt_mqtt_conn **out)
{
    struct bt_mqtt_conn *c = bt_calloc(1, sizeof(*c));
    int r;

    *out = NULL;
    if (c == NULL)
        return BT_ENOMEM;
    keep_conf(c, conf);
    bt_list_init(&c->held);
    bt_list_init(&c->old);
    bt_list_init(&c->loose);
    bt_list_init(&c->queued);
    bt_list_init(&c->sent);
    c->again = &c->sent;
    bt_timer_init(&c->timer, on_timer);
    bt_timer_init(&c->alive_timer, on_alive);
    bt_timer_init(&c->turn_timer, on_turn);
    r = bt_stream_parse(conf->address, &c->address);
    if (r == 0 && c->address.tls && conf->tls == NULL)
        r = BT_EINVAL;
    if (r == 0)
        r = encode_logins(c, conf);
    if (r != 0) {
        free_conn(c);
        return r;
    }
    begin(c);
    *out = c;
    return 0;
}

void bt_mqtt_conn_close(struct bt_mqtt_conn *c)
{
    if (c == NULL || c->closed)
        return;
    c->closed = true;
    enter(c);
    leave(c);
}

void bt_mqtt_conn_pause(struct bt_mqtt_conn *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    c->received_ms = bt_loop_ms(c->conf.loop);
    c->pinged = false;
    if (c->stream == NULL || c->state < CONN_LOGIN)
        return;
    c->stream->ops->want(c->stream,
                         (paused ? 0 : BT_READ) | (c->out.len > 0 ? BT_WRITE : 0));
    conn_soon(c);
}

bool bt_mqtt_conn_is_up(const struct bt_mqtt_conn *c)
{
    return c->state == CONN_UP;
}

uint8_t bt_mqtt_conn_version(const struct bt_mqtt_conn *c)
{
    return c->version;
}

size_t bt_mqtt_conn_max_payload(const struct bt_mqtt_conn *c, size_t topic_len)
{
    /* Fixed header, length of the topic, packet identifier, no properties. */
    const size_t head = 5 + 2 + 2 + 1;
    size_t max = BT_MQTT_MAX_REMAINING;

    if (c->peer_max_packet > 0)
        max = BT_MIN(max, (size_t)c->peer_max_packet);
    return max > head + topic_len ? max - head - topic_len : 0;
}
