/* What a WebSocket sends: a frame for each MQTT packet, and between them its own bytes.
 *
 * Packets that are small are copied together with their heads (hub/net/ws_pack.h) and are
 * on their way at once: what the socket does not take waits in more->out. A large packet
 * is not copied; its frame is under way (`left`) until the connection has offered all of
 * it. Nothing is put into a frame under way: pong and close wait for its end.
 *
 * Failure modes: a blocked socket (the connection calls again when it is writable), a
 * peer that is gone, no memory; the last two end the stream. */
#include "hub/net/ws_priv.h"

#include "core/error.h"
#include "core/loop.h"
#include "core/mem.h"
#include "hub/net/ws_pack.h"

#define SMALL       16384u /* packets that are sent together */
#define MAX_OUT_IOV 65

struct hub_ws_more *hub_ws_need_more(struct hub_ws *w)
{
    if (w->more == NULL)
        w->more = bt_calloc(1, sizeof(*w->more));
    return w->more;
}

void hub_ws_free_more(struct hub_ws *w)
{
    if (w->more == NULL)
        return;
    bt_buf_deinit(&w->more->head);
    bt_buf_deinit(&w->more->out);
    bt_free(w->more);
    w->more = NULL;
}

void hub_ws_drop_more(struct hub_ws *w)
{
    const struct hub_ws_more *m = w->more;

    if (m != NULL && w->phase != HUB_WS_HANDSHAKE && m->out.len == 0 && m->n_in == 0 &&
        !m->pong_due && m->rest.len == 0)
        hub_ws_free_more(w);
}

int hub_ws_flush_own(struct hub_ws *w)
{
    struct hub_ws_more *m = w->more;

    while (m != NULL && m->out.len > 0) {
        struct iovec iov = { m->out.data, m->out.len };
        ssize_t n = hub_stream_write(w->base.lower, w->base.fd, &iov, 1);

        if (n <= 0)
            return n == 0 ? 1 : (int)n;
        bt_buf_consume(&m->out, (size_t)n);
    }
    return 0;
}

static int append_frame(struct hub_ws_more *m, enum hub_ws_op op, const uint8_t *p,
                        size_t n)
{
    uint8_t head[HUB_WS_MAX_HEAD];
    size_t len = hub_ws_encode_head(head, op, n);
    int r = bt_buf_append(&m->out, head, len);

    return r != 0 ? r : bt_buf_append(&m->out, p, n);
}

int hub_ws_speak(struct hub_ws *w)
{
    struct hub_ws_more *m = w->more;
    int r;

    if (m == NULL)
        return 0;
    if (m->pong_due && w->left == 0 && m->out.len == 0 && w->phase == HUB_WS_OPEN) {
        if (append_frame(m, HUB_WS_PONG, m->pong, m->n_pong) != 0)
            return BT_ENOMEM;
        m->pong_due = false;
    }
    r = hub_ws_flush_own(w);
    hub_ws_drop_more(w);
    return r;
}

void hub_ws_say_close(struct hub_ws *w, unsigned code, const char *reason)
{
    uint8_t text[HUB_WS_MAX_SHORT];
    struct hub_ws_more *m;

    if (w->phase == HUB_WS_OPEN && w->left == 0) {
        m = hub_ws_need_more(w);
        if (m != NULL && append_frame(m, HUB_WS_CLOSE, text,
                                      code == HUB_WS_NO_CODE
                                          ? 0
                                          : hub_ws_encode_close(text, code, reason)) == 0)
            (void)!hub_ws_flush_own(w);
    }
    w->phase = HUB_WS_ENDED;
}

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

static int keep(struct hub_ws *w, const uint8_t *p, size_t n)
{
    struct hub_ws_more *m = hub_ws_need_more(w);

    return m == NULL ? BT_ENOMEM : bt_buf_append(&m->out, p, n);
}

/* A packet that is not copied: a frame of its own, which goes on in later calls. */
static ssize_t start_frame(struct hub_ws *w, const struct iovec *iov, int n)
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
static ssize_t send_small(struct hub_ws *w, const struct iovec *iov, int n, bool *none)
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

static ssize_t go_on(struct hub_ws *w, const struct iovec *iov, int n)
{
    struct iovec all[MAX_OUT_IOV];
    int used = take_iov(all, 0, iov, n, w->left);
    ssize_t sent = hub_stream_write(w->base.lower, w->base.fd, all, used);

    if (sent > 0)
        w->left -= (uint32_t)sent;
    return sent;
}

ssize_t hub_ws_write(struct hub_stream *s, const struct iovec *iov, int n)
{
    struct hub_ws *w = hub_ws_of(s);
    bool none = false;
    ssize_t sent;
    int r;

    if ((hub_stream_wants(w->base.lower) & BT_WRITE) != 0) {
        ssize_t below = hub_stream_write(w->base.lower, w->base.fd, NULL, 0);

        if (below < 0)
            return below;
    }
    if (w->phase == HUB_WS_ENDED)
        return BT_ECLOSED;
    r = hub_ws_speak(w);
    if (r != 0 || w->phase != HUB_WS_OPEN || total_of(iov, n) == 0)
        return r < 0 ? r : 0;
    if (w->left > 0)
        return go_on(w, iov, n);
    sent = send_small(w, iov, n, &none);
    return none ? start_frame(w, iov, n) : sent;
}
