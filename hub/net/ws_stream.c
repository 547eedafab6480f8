/* A WebSocket under a connection.
 *
 *   HANDSHAKE --101 sent--> OPEN --close frame or a broken rule--> ENDED
 *       `--refused, an HTTP answer sent--> ENDED
 *
 * Happy path in: bytes are read from below straight into the caller's room, and payload
 * is unmasked there and moved together over the frames' heads, so nothing is copied twice
 * and nothing is left over. The way out is hub/net/ws_out.c.
 *
 * What is only sometimes needed (the request while it is not whole, bytes of our own that
 * the socket did not take, a control frame being read) is in `more`, which an idle
 * connection does not have. Of several pings only the last is answered (section 5.5.3),
 * so a flood of them costs one pong a turn.
 *
 * Failure modes: a broken rule is logged, answered by a close frame if the socket takes
 * it, and ends the stream; so does lack of memory. */
#include "hub/net/ws_priv.h"

#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/mem.h"
#include "core/metric.h"
#include "core/mqtt.h"

static struct bt_metric m_opened = BT_METRIC("baetyl_hub_websocket_handshakes_total",
                                             BT_COUNTER, "WebSocket handshakes done.");
static struct bt_metric m_refused =
    BT_METRIC("baetyl_hub_websocket_refused_total", BT_COUNTER,
              "WebSocket handshakes refused, or begun and not finished.");
static struct bt_metric m_broken =
    BT_METRIC("baetyl_hub_websocket_broken_total", BT_COUNTER,
              "WebSockets closed because the client broke the protocol.");

void hub_ws_stream_register(void)
{
    bt_metric_register(&m_opened);
    bt_metric_register(&m_refused);
    bt_metric_register(&m_broken);
}

static ssize_t broken(struct hub_ws *w, unsigned code)
{
    static const struct {
        unsigned code;
        const char *text;
    } rows[] = {
        { HUB_WS_PROTOCOL, "a frame breaks the protocol" },
        { HUB_WS_WRONG_TYPE, "MQTT is sent in binary frames" },
        { HUB_WS_BAD_DATA, "a close reason is not UTF-8" },
        { HUB_WS_TOO_LARGE, "a frame is too large" },
    };
    const char *text = "";

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        if (rows[i].code == code)
            text = rows[i].text;
    bt_metric_add(&m_broken, 1);
    bt_log(BT_LOG_INFO, "HUB-WS", "a WebSocket client broke the rules",
           "code=%u reason=\"%s\"", code, text);
    hub_ws_say_close(w, code, text);
    return BT_EINVAL;
}

/* ---- Handshake ---- */

static ssize_t refused(struct hub_ws *w, unsigned status)
{
    bt_metric_add(&m_refused, 1);
    bt_log(BT_LOG_INFO, "HUB-WS", "a WebSocket handshake was refused",
           "status=%u reason=\"%s\"", status, bt_http_status_text(status));
    (void)!hub_ws_flush_own(w);
    w->phase = HUB_WS_ENDED;
    return BT_EINVAL;
}

/* The request is in more->head. > 0: done; 0: not whole; < 0: refused. */
static ssize_t try_request(struct hub_ws *w)
{
    struct hub_ws_more *m = w->more;
    struct bt_http_request req;
    int status = bt_http_parse(m->head.data, m->head.len, &req);

    if (status == BT_HTTP_MORE)
        return 0;
    if (status != 0) {
        if (hub_ws_refuse((unsigned)status, &m->out) != 0)
            return BT_ENOMEM;
        return refused(w, (unsigned)status);
    }
    status = hub_ws_handshake(m->rules, &req, &m->out);
    if (status < 0)
        return status;
    if (status != 101)
        return refused(w, (unsigned)status);
    bt_metric_add(&m_opened, 1);
    w->phase = HUB_WS_OPEN;
    m->rest =
        (struct bt_slice){ m->head.data + req.head_len, m->head.len - req.head_len };
    return 1;
}

/* Reads at most a request's largest head, so what came behind it is bounded. */
static ssize_t shake_hands(struct hub_ws *w)
{
    struct hub_ws_more *m = w->more;
    size_t before = m->head.len;
    ssize_t n, r;
    uint8_t *at;

    if (before == 0)
        m->head.max = BT_HTTP_MAX_HEAD;
    if (bt_buf_reserve(&m->head, BT_MIN((size_t)1024, BT_HTTP_MAX_HEAD - before)) != 0)
        return BT_ENOMEM;
    at = m->head.data + before;
    n = hub_stream_read(w->base.lower, w->base.fd, at,
                        BT_MIN(m->head.cap, (size_t)BT_HTTP_MAX_HEAD) - before);
    if (n <= 0)
        return n;
    m->head.len += (size_t)n;
    if (before > 0 && memchr(at, '\n', (size_t)n) == NULL &&
        m->head.len < BT_HTTP_MAX_HEAD)
        return 0; /* no line has ended: the answer cannot have changed */
    r = try_request(w);
    if (r > 0 && hub_ws_flush_own(w) < 0)
        return BT_EIO;
    return r;
}

/* ---- In ---- */

static int on_close(struct hub_ws *w, const struct hub_ws_more *m)
{
    unsigned said, code = hub_ws_decode_close(m->in, m->n_in, &said);

    if (code != 0)
        return (int)broken(w, code);
    hub_ws_say_close(w, said, "");
    return BT_ECLOSED;
}

/* A control frame, or a part of one. 0, or < 0: the stream ends. */
static int on_control(struct hub_ws *w, const struct hub_ws_part *part)
{
    struct hub_ws_more *m = hub_ws_need_more(w);

    if (m == NULL)
        return BT_ENOMEM;
    hub_ws_unmask(m->in + m->n_in, part->payload, part->len, part->mask);
    m->n_in = (uint8_t)(m->n_in + part->len);
    if (!part->end)
        return 0;
    if (part->op == HUB_WS_CLOSE)
        return on_close(w, m);
    if (part->op == HUB_WS_PING) {
        memcpy(m->pong, m->in, m->n_in);
        m->n_pong = m->n_in;
        m->pong_due = true;
    }
    m->n_in = 0;
    return 0;
}

/* The frames in `from`, which may be `to` itself: MQTT bytes to `to`, their number to
 * *n_out. 0, or < 0: the stream ends; what came before that is good. */
static int unpack(struct hub_ws *w, const uint8_t *from, size_t n, uint8_t *to,
                  size_t *n_out)
{
    size_t at = 0;

    while (at < n) {
        struct hub_ws_part part;
        unsigned code = hub_ws_decode(&w->in, from + at, n - at, &part);
        int r = 0;

        if (code != 0)
            return (int)broken(w, code);
        if (part.control) {
            r = on_control(w, &part);
        } else {
            hub_ws_unmask(to + *n_out, part.payload, part.len, part.mask);
            *n_out += part.len;
        }
        if (r != 0)
            return r;
        at += part.used;
    }
    return 0;
}

static ssize_t unpacked(struct hub_ws *w, int r, size_t n)
{
    if (r == 0)
        r = hub_ws_speak(w);
    /* What came before the end is delivered; the end is told by the next call. */
    if (r < 0)
        w->phase = HUB_WS_ENDED;
    return n > 0 ? (ssize_t)n : r < 0 ? r : 0;
}

static ssize_t ws_read(struct hub_stream *s, uint8_t *to, size_t room)
{
    struct hub_ws *w = hub_ws_of(s);
    size_t n = 0;
    ssize_t got;
    int r;

    if (w->phase == HUB_WS_ENDED)
        return BT_ECLOSED;
    if (w->phase == HUB_WS_HANDSHAKE) {
        got = shake_hands(w);
        if (got <= 0)
            return got;
    }
    if (w->more != NULL && w->more->rest.len > 0) {
        struct bt_slice *rest = &w->more->rest;
        size_t take = BT_MIN(rest->len, room);
        const uint8_t *from = rest->ptr;

        *rest = (struct bt_slice){ from + take, rest->len - take };
        r = unpack(w, from, take, to, &n);
        return unpacked(w, r, n);
    }
    if (w->more != NULL) {
        bt_buf_deinit(&w->more->head);
        hub_ws_drop_more(w);
    }
    got = hub_stream_read(w->base.lower, w->base.fd, to, room);
    if (got <= 0)
        return got;
    r = unpack(w, to, (size_t)got, to, &n);
    return unpacked(w, r, n);
}

/* ---- The rest ---- */

static unsigned ws_wants(const struct hub_stream *s)
{
    const struct hub_ws *w = bt_container_of(s, const struct hub_ws, base);
    const struct hub_ws_more *m = w->more;
    bool own = m != NULL && (m->out.len > 0 || (m->pong_due && w->left == 0));

    return hub_stream_wants(s->lower) | (own && w->phase != HUB_WS_ENDED ? BT_WRITE : 0);
}

static bool ws_pending(const struct hub_stream *s)
{
    const struct hub_ws *w = bt_container_of(s, const struct hub_ws, base);

    return w->phase == HUB_WS_ENDED || (w->more != NULL && w->more->rest.len > 0) ||
           hub_stream_pending(s->lower);
}

/* The close code that says best why MQTT ends. */
static unsigned code_of(uint8_t reason)
{
    static const struct {
        uint8_t reason;
        uint16_t code;
    } rows[] = {
        { BT_MQTT_UNSPECIFIED, HUB_WS_INTERNAL },
        { BT_MQTT_MALFORMED, HUB_WS_PROTOCOL },
        { BT_MQTT_PROTOCOL_ERROR, HUB_WS_PROTOCOL },
        { BT_MQTT_IMPLEMENTATION, HUB_WS_INTERNAL },
        { BT_MQTT_BAD_VERSION, HUB_WS_PROTOCOL },
        { BT_MQTT_UNAVAILABLE, HUB_WS_TRY_LATER },
        { BT_MQTT_BUSY, HUB_WS_TRY_LATER },
        { BT_MQTT_SHUTTING_DOWN, HUB_WS_GOING_AWAY },
        { BT_MQTT_TOO_LARGE, HUB_WS_TOO_LARGE },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        if (rows[i].reason == reason)
            return rows[i].code;
    return reason < 0x80 ? HUB_WS_NORMAL : HUB_WS_POLICY;
}

/* In the handshake: only to one that has begun to ask. */
static void refuse_late(struct hub_ws *w, uint8_t reason)
{
    unsigned status = reason == BT_MQTT_SHUTTING_DOWN ? 503 : 408;
    struct hub_ws_more *m = w->more;

    if (m->head.len > 0 && m->out.len == 0 && hub_ws_refuse(status, &m->out) == 0)
        (void)refused(w, status);
}

static void ws_goodbye(struct hub_stream *s, uint8_t reason)
{
    struct hub_ws *w = hub_ws_of(s);

    if (w->phase == HUB_WS_HANDSHAKE)
        refuse_late(w, reason);
    hub_ws_say_close(w, code_of(reason),
                     reason < 0x80 ? "" : bt_mqtt_reason_text(reason));
    hub_stream_goodbye(s->lower, reason);
}

static void ws_peer(const struct hub_stream *s, struct hub_peer *out)
{
    hub_stream_peer(s->lower, out);
}

static void ws_free(struct hub_stream *s)
{
    struct hub_ws *w = hub_ws_of(s);

    hub_ws_free_more(w);
    hub_stream_free(s->lower);
    bt_free(w);
}

static const struct hub_stream_ops ws_ops = {
    .read = ws_read,
    .write = hub_ws_write,
    .wants = ws_wants,
    .pending = ws_pending,
    .goodbye = ws_goodbye,
    .peer = ws_peer,
    .free = ws_free,
};

int hub_ws_stream_new(const struct hub_ws_rules *rules, struct hub_stream *lower, int fd,
                      struct hub_stream **out)
{
    struct hub_ws *w = bt_calloc(1, sizeof(*w));

    if (w == NULL || hub_ws_need_more(w) == NULL) {
        bt_free(w);
        return BT_ENOMEM;
    }
    w->more->rules = rules;
    w->base = (struct hub_stream){ .ops = &ws_ops, .lower = lower, .fd = fd };
    *out = &w->base;
    return 0;
}
