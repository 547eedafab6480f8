/* Plain: send and recv. TLS: what is to be sent is encrypted into c->wire first; what
 * comes is decrypted at once and whole, so nothing ever waits unseen in between. */
#include "core/mqtt_link.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/mqtt_connect.h"
#include "core/tls.h"

#define READ_SIZE 65536u
#define SLICE_MS  500u /* how long a signal may wait to be seen */

int bt_client_fail(struct bt_client *c, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(c->error, sizeof(c->error), fmt, args);
    va_end(args);
    return code;
}

int bt_client_lost(struct bt_client *c, int error)
{
    return bt_client_fail(c, BT_ECLOSED, "the connection to %s was lost: %s",
                          c->conf->address,
                          error == 0 ? "the broker closed it" : strerror(error));
}

bool bt_client_stopped(const struct bt_client *c)
{
    return c->conf->stop != NULL && *c->conf->stop;
}

bool bt_client_wait(int fd, short events, uint64_t until)
{
    uint64_t now = bt_clock_ms(), left = until > now ? until - now : 0;
    struct pollfd pfd = { fd, events, 0 };

    return poll(&pfd, 1, (int)BT_MIN(left, SLICE_MS)) > 0;
}

static int tls_failed(struct bt_client *c)
{
    char why[BT_TLS_WHY_LEN];

    bt_tls_why(c->tls, why);
    return bt_client_fail(c, BT_ETLS, "TLS with %s failed: %s", c->conf->address, why);
}

/* ---- Sending ---- */

/* One attempt to send b. */
static int send_some(struct bt_client *c, struct bt_buf *b)
{
    ssize_t n = send(c->fd, b->data, b->len, 0);

    if (n > 0) {
        bt_buf_consume(b, (size_t)n);
        return 1;
    }
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        return bt_client_lost(c, errno);
    return 0;
}

bool bt_link_unsent(const struct bt_client *c)
{
    return c->out.len > 0 || c->wire.len > 0;
}

int bt_link_send(struct bt_client *c)
{
    struct iovec iov = { c->out.data, c->out.len };
    ssize_t n;

    if (c->tls == NULL)
        return send_some(c, &c->out);
    if (c->wire.len == 0 && c->out.len > 0) {
        n = bt_tls_write(c->tls, &iov, 1, READ_SIZE, &c->wire);
        if (n < 0)
            return tls_failed(c);
        bt_buf_consume(&c->out, (size_t)n);
    }
    return send_some(c, &c->wire);
}

/* ---- Receiving ---- */

/* > 0 bytes, 0 none yet, < 0 failed. */
static ssize_t receive_some(struct bt_client *c, uint8_t *to, size_t room)
{
    ssize_t n = recv(c->fd, to, room, 0);

    if (n > 0)
        return n;
    if (n == 0)
        return bt_client_lost(c, 0);
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR
               ? 0
               : bt_client_lost(c, errno);
}

static int decrypt(struct bt_client *c)
{
    struct bt_slice in = { c->cipher.data, c->cipher.len };
    ssize_t n = 0;

    do {
        int r = bt_buf_reserve(&c->in, READ_SIZE);

        if (r != 0)
            return bt_client_fail(c, r, "the packet does not fit in memory");
        n = bt_tls_read(c->tls, &in, c->in.data + c->in.len, READ_SIZE, &c->wire);
        if (n > 0)
            c->in.len += (size_t)n;
    } while (n > 0 && (bt_tls_whole(in) || bt_tls_pending(c->tls)));
    bt_buf_consume(&c->cipher, c->cipher.len - in.len);
    /* Bytes that came with the end are handled first. */
    if (n == BT_ECLOSED)
        return c->in.len > c->taken ? 0 : bt_client_lost(c, 0);
    return n < 0 ? tls_failed(c) : 0;
}

int bt_link_receive(struct bt_client *c)
{
    struct bt_buf *b = c->tls != NULL ? &c->cipher : &c->in;
    int r = bt_buf_reserve(b, READ_SIZE);
    ssize_t n;

    if (r != 0)
        return bt_client_fail(c, r, "the packet does not fit in memory");
    n = receive_some(c, b->data + b->len, READ_SIZE);
    if (n <= 0)
        return (int)n;
    b->len += (size_t)n;
    return c->tls != NULL ? decrypt(c) : 0;
}

/* ---- Beginning and end ---- */

static int make_session(struct bt_client *c)
{
    const struct bt_tls_conf conf = { .insecure = c->conf->insecure,
                                      .ca = c->conf->cafile,
                                      .cert = c->conf->cert,
                                      .key = c->conf->key };
    char host[BT_CLIENT_HOST_LEN], port[8], error[BT_TLS_ERROR_LEN];
    struct bt_tls_ctx *ctx;
    int r = bt_tls_ctx_new(&conf, &ctx, error);

    if (r != 0)
        return bt_client_fail(c, r, "%s", error);
    (void)bt_client_split_tcp(c->conf->address, host, port);
    r = bt_tls_new(ctx, host, &c->tls);
    bt_tls_ctx_unref(ctx);
    return r == 0 ? 0 : bt_client_fail(c, r, "TLS cannot be started for %s", host);
}

/* One step: what we have to say goes out, what has come goes in. */
static int shake(struct bt_client *c, uint64_t until)
{
    int r;

    while (c->wire.len > 0) {
        r = send_some(c, &c->wire);
        if (r < 0)
            return r;
        if (bt_client_stopped(c))
            return BT_CLIENT_STOPPED;
        if (bt_clock_ms() >= until)
            break;
        if (r == 0)
            (void)bt_client_wait(c->fd, POLLOUT, until);
    }
    if (bt_client_stopped(c))
        return BT_CLIENT_STOPPED;
    if (bt_clock_ms() >= until)
        return bt_client_fail(c, BT_ETIMEOUT, "no TLS handshake with %s in time",
                              c->conf->address);
    return bt_client_wait(c->fd, POLLIN, until) ? bt_link_receive(c) : 0;
}

static int handshake(struct bt_client *c)
{
    uint64_t until = bt_clock_ms() + c->conf->timeout_ms;
    struct bt_slice none = { NULL, 0 };
    int r = make_session(c);

    if (r == 0 && bt_tls_handshake(c->tls, &none, &c->wire) != 0)
        r = tls_failed(c);
    while (r == 0 && !bt_tls_ready(c->tls))
        r = shake(c, until);
    if (r == BT_ETLS && c->wire.len > 0) {
        (void)!send(c->fd, c->wire.data, c->wire.len, 0); /* the alert, if it fits */
        c->wire.len = 0;
    }
    return r;
}

int bt_link_open(struct bt_client *c)
{
    int r =
        bt_client_open_socket(c->conf->address, c->conf->timeout_ms, &c->fd, c->error);

    return r == 0 && bt_client_is_tls(c->conf->address) ? handshake(c) : r;
}

void bt_link_close(struct bt_client *c)
{
    if (c->tls != NULL && c->fd >= 0) {
        bt_tls_close(c->tls, &c->wire);
        if (c->wire.len > 0)
            (void)!send(c->fd, c->wire.data, c->wire.len, 0);
    }
    bt_tls_free(c->tls);
    c->tls = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    bt_buf_deinit(&c->wire);
    bt_buf_deinit(&c->cipher);
}
