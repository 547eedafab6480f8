/* A WebSocket under a connection.
 *
 *   HANDSHAKE --101 sent--> OPEN --close frame or a broken rule--> ENDED
 *       `--refused, an HTTP answer sent--> ENDED
 *
 * Happy path in: bytes are read from below straight into the caller's room, and payload
 * is unmasked there and moved together over the frames' heads, so nothing is copied twice
 * and nothing is left over. Happy path out: a frame for each packet (hub/ws_pack.h), one
 * write below for many of them.
 *
 * What is only sometimes needed (the request while it is not whole, bytes of our own that
 * the socket did not take, a control frame being read) is in `more`, which an idle
 * connection does not have. A frame of ours that is under way is never interrupted: pong
 * and close wait for its end, and of several pings only the last is answered (section
 * 5.5.3), so a flood of them costs one pong a turn.
 *
 * Failure modes: a broken rule is logged, answered by a close frame if the socket takes
 * it, and ends the stream; so does lack of memory. */
#include "hub/ws_stream.h"

#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "hub/ws_frame.h"
#include "hub/ws_pack.h"

#define SMALL       16384u /* packets that are sent together */
#define MAX_OUT_IOV 65

enum phase { HANDSHAKE, OPEN, ENDED };

struct more {
    const struct hub_ws_rules *rules; /* until the handshake is done */
    struct bt_buf head;               /* a request that is not whole yet */
    struct bt_buf out;                /* bytes of ours that go before everything else */
    uint8_t in[HUB_WS_MAX_SHORT], pong[HUB_WS_MAX_SHORT];
    uint8_t n_in, n_pong;
    bool pong_due;
};

struct ws {
    struct hub_stream base;
    struct hub_ws_decoder in;
    uint32_t left; /* payload bytes to come of our frame under way */
    uint8_t phase;
    struct more *more;
    struct bt_slice rest; /* frames that came with the request; in more->head */
};

static struct ws *ws_of(struct hub_stream *s)
{
    return bt_container_of(s, struct ws, base);
}

static struct more *need_more(struct ws *w)
{
    if (w->more == NULL)
        w->more = bt_calloc(1, sizeof(*w->more));
    return w->more;
}

static void free_more(struct ws *w)
{
    if (w->more == NULL)
        return;
    bt_buf_deinit(&w->more->head);
    bt_buf_deinit(&w->more->out);
    bt_free(w->more);
    w->more = NULL;
}

/* An idle connection has none. */
static void drop_more(struct ws *w)
{
    const struct more *m = w->more;

    if (m != NULL && w->phase != HANDSHAKE && m->out.len == 0 && m->n_in == 0 &&
        !m->pong_due && w->rest.len == 0)
        free_more(w);
}

/* ---- Our own bytes ---- */

/* 0: all of m->out is on its way; 1: would block; < 0. */
static int flush_own(struct ws *w)
{
    struct more *m = w->more;

    while (m != NULL && m->out.len > 0) {
        struct iovec iov = { m->out.data, m->out.len };
        ssize_t n = hub_stream_write(w->base.lower, w->base.fd, &iov, 1);

        if (n <= 0)
            return n == 0 ? 1 : (int)n;
        bt_buf_consume(&m->out, (size_t)n);
    }
    return 0;
}

static int append_frame(struct more *m, enum hub_ws_op op, const uint8_t *p, size_t n)
{
    uint8_t head[HUB_WS_MAX_HEAD];
    size_t len = hub_ws_encode_head(head, op, n);
    int r = bt_buf_append(&m->out, head, len);

    return r != 0 ? r : bt_buf_append(&m->out, p, n);
}

/* Between two frames: what is due. As flush_own. */
static int speak(struct ws *w)
{
    struct more *m = w->more;
    int r;

    if (m == NULL)
        return 0;
    if (m->pong_due && w->left == 0 && m->out.len == 0 && w->phase == OPEN) {
        if (append_frame(m, HUB_WS_PONG, m->pong, m->n_pong) != 0)
            return BT_ENOMEM;
        m->pong_due = false;
    }
    r = flush_own(w);
    drop_more(w);
    return r;
}

/* The last frame, if the one under way is through; what the socket does not take now is
 * lost. */
static void say_close(struct ws *w, unsigned code, const char *reason)
{
    uint8_t text[HUB_WS_MAX_SHORT];
    struct more *m;

    if (w->phase == OPEN && w->left == 0) {
        m = need_more(w);
        if (m != NULL && append_frame(m, HUB_WS_CLOSE, text,
                                      code == HUB_WS_NO_CODE
                                          ? 0
                                          : hub_ws_encode_close(text, code, reason)) == 0)
            (void)!flush_own(w);
    }
    w->phase = ENDED;
}

static ssize_t broken(struct ws *w, unsigned code)
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
    bt_log(BT_LOG_INFO, "HUB-WS", "a WebSocket client broke the rules",
           "code=%u reason=\"%s\"", code, text);
    say_close(w, code, text);
    return BT_EINVAL;
}

/* ---- Handshake ---- */

static ssize_t refused(struct ws *w, unsigned status)
{
    bt_log(BT_LOG_INFO, "HUB-WS", "a WebSocket handshake was refused",
           "status=%u reason=\"%s\"", status, bt_http_status_text(status));
    (void)!flush_own(w);
    w->phase = ENDED;
    return BT_EINVAL;
}

/* The request is in more->head. > 0: done; 0: not whole; < 0: refused. */
static ssize_t try_request(struct ws *w)
{
    struct more *m = w->more;
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
    w->phase = OPEN;
    w->rest =
        (struct bt_slice){ m->head.data + req.head_len, m->head.len - req.head_len };
    return 1;
}

/* Reads at most a request's largest head, so what came behind it is bounded. */
static ssize_t shake_hands(struct ws *w)
{
    struct more *m = w->more;
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
    if (r > 0 && flush_own(w) < 0)
        return BT_EIO;
    return r;
}

/* ---- In ---- */

static int on_close(struct ws *w, const struct more *m)
{
    unsigned said, code = hub_ws_decode_close(m->in, m->n_in, &said);

    if (code != 0)
        return (int)broken(w, code);
    say_close(w, said, "");
    return BT_ECLOSED;
}

/* A control frame, or a part of one. 0, or < 0: the stream ends. */
static int on_control(struct ws *w, const struct hub_ws_part *part)
{
    struct more *m = need_more(w);

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
static int unpack(struct ws *w, const uint8_t *from, size_t n, uint8_t *to, size_t *n_out)
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

static ssize_t unpacked(struct ws *w, int r, size_t n)
{
    if (r == 0)
        r = speak(w);
    /* What came before the end is delivered; the end is told by the next call. */
    if (r < 0)
        w->phase = ENDED;
    return n > 0 ? (ssize_t)n : r < 0 ? r : 0;
}

static ssize_t ws_read(struct hub_stream *s, uint8_t *to, size_t room)
{
    struct ws *w = ws_of(s);
    size_t n = 0;
    ssize_t got;
    int r;

    if (w->phase == ENDED)
        return BT_ECLOSED;
    if (w->phase == HANDSHAKE) {
        got = shake_hands(w);
        if (got <= 0)
            return got;
    }
    if (w->rest.len > 0) {
        size_t take = BT_MIN(w->rest.len, room);
        const uint8_t *from = w->rest.ptr;

        w->rest = (struct bt_slice){ from + take, w->rest.len - take };
        r = unpack(w, from, take, to, &n);
        return unpacked(w, r, n);
    }
    if (w->more != NULL) {
        bt_buf_deinit(&w->more->head);
        drop_more(w);
    }
    got = hub_stream_read(w->base.lower, w->base.fd, to, room);
    if (got <= 0)
        return got;
    r = unpack(w, to, (size_t)got, to, &n);
    return unpacked(w, r, n);
}

/* ---- Out ---- */

static size_t total_of(const struct iovec *iov, int n)
{
    size_t total = 0;

    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

/* At most `limit` bytes of iov behind `used` entries of `out`; the new number of them. */
static int take_iov(struct iovec *out, int used, const struct iovec *iov, int n,
                    size_t limit)
{
    for (int i = 0; i < n && limit > 0 && used < MAX_OUT_IOV; i++) {
        out[used] = iov[i];
        if (out[used].iov_len > limit)
            out[used].iov_len = limit;
        limit -= out[used++].iov_len;
    }
    return used;
}

static int keep(struct ws *w, const uint8_t *p, size_t n)
{
    struct more *m = need_more(w);

    return m == NULL ? BT_ENOMEM : bt_buf_append(&m->out, p, n);
}

/* A packet that is not copied: a frame of its own, which goes on in later calls. */
static ssize_t start_frame(struct ws *w, const struct iovec *iov, int n)
{
    uint8_t head[HUB_WS_MAX_HEAD];
    struct iovec all[MAX_OUT_IOV];
    size_t len = hub_ws_packet_len(iov, n);
    size_t n_head = hub_ws_encode_head(head, HUB_WS_BINARY, len);
    ssize_t sent;
    int used;

    all[0] = (struct iovec){ head, n_head };
    used = take_iov(all, 1, iov, n, len);
    sent = hub_stream_write(w->base.lower, w->base.fd, all, used);
    if (sent <= 0)
        return sent; /* not a byte of it is out: it was never begun */
    w->left = (uint32_t)len;
    if ((size_t)sent < n_head)
        return keep(w, head + sent, n_head - (size_t)sent); /* 0: none of iov */
    w->left -= (uint32_t)((size_t)sent - n_head);
    return sent - (ssize_t)n_head;
}

/* The packets that fit one piece. 0 also when none does. */
static ssize_t send_small(struct ws *w, const struct iovec *iov, int n, bool *none)
{
    uint8_t piece[SMALL];
    size_t taken, len = hub_ws_pack(iov, n, piece, sizeof(piece), &taken);
    struct iovec one = { piece, len };
    ssize_t sent;

    *none = len == 0;
    if (len == 0)
        return 0;
    sent = hub_stream_write(w->base.lower, w->base.fd, &one, 1);
    if (sent <= 0)
        return sent;
    if ((size_t)sent < len && keep(w, piece + sent, len - (size_t)sent) != 0)
        return BT_ENOMEM;
    return (ssize_t)taken;
}

static ssize_t go_on(struct ws *w, const struct iovec *iov, int n)
{
    struct iovec all[MAX_OUT_IOV];
    int used = take_iov(all, 0, iov, n, w->left);
    ssize_t sent = hub_stream_write(w->base.lower, w->base.fd, all, used);

    if (sent > 0)
        w->left -= (uint32_t)sent;
    return sent;
}

static ssize_t ws_write(struct hub_stream *s, const struct iovec *iov, int n)
{
    struct ws *w = ws_of(s);
    bool none = false;
    ssize_t sent;
    int r;

    if ((hub_stream_wants(w->base.lower) & BT_WRITE) != 0) {
        ssize_t below = hub_stream_write(w->base.lower, w->base.fd, NULL, 0);

        if (below < 0)
            return below;
    }
    if (w->phase == ENDED)
        return BT_ECLOSED;
    r = speak(w);
    if (r != 0 || w->phase != OPEN || total_of(iov, n) == 0)
        return r < 0 ? r : 0;
    if (w->left > 0)
        return go_on(w, iov, n);
    sent = send_small(w, iov, n, &none);
    return none ? start_frame(w, iov, n) : sent;
}

/* ---- The rest ---- */

static unsigned ws_wants(const struct hub_stream *s)
{
    const struct ws *w = bt_container_of(s, const struct ws, base);
    const struct more *m = w->more;
    bool own = m != NULL && (m->out.len > 0 || (m->pong_due && w->left == 0));

    return hub_stream_wants(s->lower) | (own && w->phase != ENDED ? BT_WRITE : 0);
}

static bool ws_pending(const struct hub_stream *s)
{
    const struct ws *w = bt_container_of(s, const struct ws, base);

    return w->phase == ENDED || w->rest.len > 0 || hub_stream_pending(s->lower);
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

static void ws_goodbye(struct hub_stream *s, uint8_t reason)
{
    struct ws *w = ws_of(s);

    if (w->phase == HANDSHAKE && w->more->head.len > 0 && w->more->out.len == 0) {
        unsigned status = reason == BT_MQTT_SHUTTING_DOWN ? 503 : 408;

        if (hub_ws_refuse(status, &w->more->out) == 0)
            (void)refused(w, status);
    }
    say_close(w, code_of(reason), reason < 0x80 ? "" : bt_mqtt_reason_text(reason));
    hub_stream_goodbye(s->lower, reason);
}

static void ws_peer(const struct hub_stream *s, struct hub_peer *out)
{
    hub_stream_peer(s->lower, out);
}

static void ws_free(struct hub_stream *s)
{
    struct ws *w = ws_of(s);

    free_more(w);
    hub_stream_free(s->lower);
    bt_free(w);
}

static const struct hub_stream_ops ws_ops = {
    .read = ws_read,
    .write = ws_write,
    .wants = ws_wants,
    .pending = ws_pending,
    .goodbye = ws_goodbye,
    .peer = ws_peer,
    .free = ws_free,
};

int hub_ws_stream_new(const struct hub_ws_rules *rules, struct hub_stream *lower, int fd,
                      struct hub_stream **out)
{
    struct ws *w = bt_calloc(1, sizeof(*w));

    if (w == NULL || need_more(w) == NULL) {
        bt_free(w);
        return BT_ENOMEM;
    }
    w->more->rules = rules;
    w->base = (struct hub_stream){ .ops = &ws_ops, .lower = lower, .fd = fd };
    *out = &w->base;
    return 0;
}
