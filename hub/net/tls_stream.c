/* TLS under a connection.
 *
 * Happy path in: one read of the descriptor into the thread's space, all records in it
 * decrypted straight into the caller's room. Happy path out: what the connection gathered
 * in its turn becomes few large records, sent with one call. The handshake happens inside
 * read.
 *
 * Ciphertext that the socket does not take waits in `unsent`; while something waits,
 * nothing more is encrypted, so that it is never more than WRITE_MAX and some. Ciphertext
 * that is not a whole record yet, or whose bytes found no room, waits in `rest`. An idle
 * stream has neither.
 *
 * Failure modes: a handshake that fails is told with the address and the cause and
 * answered with an alert; a broken record ends the connection; time is the connection's
 * affair (connect.timeout). */
#include "hub/net/tls_stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/mem.h"
#include "core/metric.h"

#define WRITE_MAX    65536u
#define READ_MIN     16384u /* also when the caller has less room */
#define ADDRESS_ROOM (INET6_ADDRSTRLEN + 10)

struct tls {
    struct hub_stream base;
    struct bt_tls *session;
    const char *listener;
    struct bt_buf unsent, rest;
    bool told;  /* how the handshake ended */
    bool heard; /* something came */
};

static struct bt_metric m_handshakes =
    BT_METRIC("baetyl_hub_tls_handshakes_total", BT_COUNTER, "TLS handshakes done.");
static struct bt_metric m_resumed = BT_METRIC("baetyl_hub_tls_resumed_total", BT_COUNTER,
                                              "TLS handshakes that resumed a session.");
static struct bt_metric m_failed =
    BT_METRIC("baetyl_hub_tls_failed_total", BT_COUNTER, "TLS handshakes that failed.");

static struct tls *tls_of(struct hub_stream *s)
{
    return bt_container_of(s, struct tls, base);
}

static const struct tls *const_tls_of(const struct hub_stream *s)
{
    return (const struct tls *)(const void *)s;
}

/* ---- What is told ---- */

static void address_of(int fd, char out[ADDRESS_ROOM])
{
    struct sockaddr_storage ss = { 0 };
    const struct sockaddr_in *four = (const void *)&ss;
    const struct sockaddr_in6 *six = (const void *)&ss;
    socklen_t len = sizeof(ss);
    char text[INET6_ADDRSTRLEN] = "?";
    bool is_six;

    (void)getpeername(fd, (struct sockaddr *)&ss, &len);
    is_six = ss.ss_family == AF_INET6;
    (void)inet_ntop(is_six ? AF_INET6 : AF_INET,
                    is_six ? (const void *)&six->sin6_addr
                           : (const void *)&four->sin_addr,
                    text, sizeof(text));
    (void)snprintf(out, ADDRESS_ROOM, is_six ? "[%s]:%u" : "%s:%u", text,
                   (unsigned)ntohs(is_six ? six->sin6_port : four->sin_port));
}

static void tell_failed(struct tls *s, const char *why)
{
    char address[ADDRESS_ROOM];

    if (s->told)
        return;
    s->told = true;
    bt_metric_add(&m_failed, 1);
    address_of(s->base.fd, address);
    bt_log(BT_LOG_WARN, "HUB-TLS", "TLS handshake failed",
           "peer=%s listener=%s error=" BT_LOG_Q, address, s->listener, why);
}

static void tell_why(struct tls *s)
{
    char why[BT_TLS_WHY_LEN];

    bt_tls_why(s->session, why);
    if (bt_tls_ready(s->session))
        bt_log(BT_LOG_INFO, "HUB-TLS", "TLS connection broken", "error=" BT_LOG_Q, why);
    else
        tell_failed(s, why);
}

static void tell_done(struct tls *s)
{
    struct bt_tls_peer peer;

    s->told = true;
    bt_metric_add(&m_handshakes, 1);
    bt_metric_add(&m_resumed, bt_tls_resumed(s->session));
    bt_tls_peer(s->session, &peer);
    bt_log(BT_LOG_DEBUG, "HUB-TLS", "TLS handshake done",
           "version=%s resumed=%d subject=" BT_LOG_Q, bt_tls_version(s->session),
           bt_tls_resumed(s->session), peer.subject);
}

/* ---- Below ---- */

/* Send what waits from before. < 0: the peer is gone. */
static int send_unsent(struct tls *s)
{
    while (s->unsent.len > 0) {
        struct iovec iov = { s->unsent.data, s->unsent.len };
        ssize_t n = hub_stream_write(s->base.lower, s->base.fd, &iov, 1);

        if (n <= 0)
            return (int)n;
        bt_buf_consume(&s->unsent, (size_t)n);
    }
    bt_buf_deinit(&s->unsent);
    return 0;
}

/* Send what a call made, and keep what the socket does not take. Empties out. */
static int send_out(struct tls *s, struct bt_buf *out)
{
    struct iovec iov = { out->data, out->len };
    ssize_t n = 0;
    int r = 0;

    if (out->len > 0 && s->unsent.len == 0)
        n = hub_stream_write(s->base.lower, s->base.fd, &iov, 1);
    if (n < 0)
        r = (int)n;
    else if ((size_t)n < out->len)
        r = bt_buf_append(&s->unsent, out->data + n, out->len - (size_t)n);
    out->len = 0;
    return r;
}

/* ---- The operations ---- */

/* Ciphertext that came: what is kept, or else new. > 0: some, or the session has
 * something to say without; otherwise as hub_stream_read. */
static ssize_t fetch(struct tls *s, struct bt_tls_space *space, size_t room,
                     struct bt_slice *in)
{
    ssize_t n;

    *in = (struct bt_slice){ s->rest.data, s->rest.len };
    if (bt_tls_pending(s->session) || bt_tls_whole(*in))
        return 1;
    if (in->len > 0)
        memcpy(space->in, in->ptr, in->len); /* less than a record */
    n = hub_stream_read(s->base.lower, s->base.fd, space->in + in->len,
                        BT_MIN(BT_MAX(room, READ_MIN), BT_TLS_CHUNK));
    if (n > 0) {
        *in = (struct bt_slice){ space->in, in->len + (size_t)n };
        s->rest.len = 0;
    }
    s->heard |= n > 0;
    if (n < 0 && !bt_tls_ready(s->session) && s->heard)
        tell_failed(s, "the client closed the connection during the handshake");
    s->told |= n < 0;
    return n;
}

static ssize_t tls_read(struct hub_stream *base, uint8_t *to, size_t room)
{
    struct tls *s = tls_of(base);
    struct bt_tls_space *space = bt_tls_space();
    struct bt_slice in;
    ssize_t n;
    int r;

    if (space == NULL)
        return BT_ENOMEM;
    n = fetch(s, space, room, &in);
    if (n <= 0)
        return n;
    n = bt_tls_read(s->session, &in, to, room, &space->out);
    r = send_out(s, &space->out);
    if (!s->told && bt_tls_ready(s->session))
        tell_done(s);
    if (n == BT_ETLS)
        tell_why(s);
    if (n < 0 || r < 0)
        return n < 0 ? n : r;
    r = bt_buf_keep(&s->rest, in);
    return r != 0 ? r : n;
}

static ssize_t tls_write(struct hub_stream *base, const struct iovec *iov, int n)
{
    struct tls *s = tls_of(base);
    struct bt_tls_space *space;
    ssize_t done;
    int r = send_unsent(s);

    if (r < 0 || s->unsent.len > 0 || n == 0)
        return r;
    space = bt_tls_space();
    if (space == NULL)
        return BT_ENOMEM;
    done = bt_tls_write(s->session, iov, n, WRITE_MAX, &space->out);
    r = send_out(s, &space->out);
    if (done < 0)
        tell_why(s);
    return done < 0 ? done : r < 0 ? r : done;
}

static unsigned tls_wants(const struct hub_stream *base)
{
    return const_tls_of(base)->unsent.len > 0 ? BT_WRITE : 0;
}

static bool tls_pending(const struct hub_stream *base)
{
    const struct tls *s = const_tls_of(base);

    return bt_tls_pending(s->session) ||
           bt_tls_whole((struct bt_slice){ s->rest.data, s->rest.len });
}

static void tls_goodbye(struct hub_stream *base, uint8_t reason)
{
    struct tls *s = tls_of(base);
    struct bt_tls_space *space = bt_tls_space();

    (void)reason;
    if (space == NULL || send_unsent(s) < 0 || s->unsent.len > 0)
        return;
    bt_tls_close(s->session, &space->out);
    (void)send_out(s, &space->out);
}

static void tls_peer(const struct hub_stream *base, struct hub_peer *out)
{
    struct bt_tls_peer p;

    bt_tls_peer(const_tls_of(base)->session, &p);
    *out = (struct hub_peer){ .tls = true,
                              .certificate = p.verified,
                              .common_name = p.common_name,
                              .subject = p.subject,
                              .fingerprint = p.fingerprint };
}

static void tls_free(struct hub_stream *base)
{
    struct tls *s = tls_of(base);

    if (!bt_tls_ready(s->session) && s->heard)
        tell_failed(s, "the handshake was not finished in time");
    bt_tls_free(s->session);
    bt_buf_deinit(&s->unsent);
    bt_buf_deinit(&s->rest);
    hub_stream_free(base->lower);
    bt_free(s);
}

static const struct hub_stream_ops tls_ops = {
    .read = tls_read,
    .write = tls_write,
    .wants = tls_wants,
    .pending = tls_pending,
    .goodbye = tls_goodbye,
    .peer = tls_peer,
    .free = tls_free,
};

void hub_tls_stream_register(void)
{
    bt_metric_register(&m_handshakes);
    bt_metric_register(&m_resumed);
    bt_metric_register(&m_failed);
}

int hub_tls_stream_new(struct bt_tls_ctx *ctx, int fd, const char *listener,
                       struct hub_stream **out)
{
    struct tls *s = bt_calloc(1, sizeof(*s));
    int r;

    *out = NULL;
    if (s == NULL)
        return BT_ENOMEM;
    r = bt_tls_new(ctx, NULL, &s->session);
    if (r != 0) {
        bt_free(s);
        return r;
    }
    s->base = (struct hub_stream){ .ops = &tls_ops, .fd = fd };
    s->listener = listener;
    *out = &s->base;
    return 0;
}
