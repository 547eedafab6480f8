/* A socket's bytes, as they are or with TLS around them.
 *
 * With TLS one read of the socket is decrypted as far as it goes; ciphertext that is no
 * whole record yet waits in `raw`. What is sent is encrypted only when nothing encrypted
 * waits, so `sealed` holds one step of output and what the handshake says. Failure modes:
 * everything that breaks ends the connection; a failed handshake is told with its cause.
 */
#include <errno.h>
#include <sys/socket.h>

#include "core/api_priv.h"
#include "core/error.h"
#include "core/log.h"

#define STEP     16384u
#define MAX_RAW  (2 * BT_TLS_RECORD + STEP)
#define MAX_SEAL ((size_t)128 * 1024)

int api_link_init(struct api_link *l, int fd, struct bt_tls_ctx *tls)
{
    *l = (struct api_link){ .fd = fd };
    l->raw.max = MAX_RAW;
    l->sealed.max = MAX_SEAL;
    return tls == NULL ? 0 : bt_tls_new(tls, NULL, &l->tls);
}

void api_link_deinit(struct api_link *l)
{
    bt_tls_free(l->tls);
    bt_buf_deinit(&l->raw);
    bt_buf_deinit(&l->sealed);
}

static bool only_later(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static ssize_t receive(int fd, uint8_t *to, size_t room)
{
    ssize_t n = recv(fd, to, room, 0);

    if (n < 0 && only_later())
        return 0;
    return n <= 0 ? -1 : n;
}

/* What the socket takes of out, off its front. */
static int send_some(int fd, struct bt_slice *out)
{
    while (out->len > 0) {
        ssize_t n = send(fd, out->ptr, out->len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && only_later())
            return 0;
        if (n <= 0)
            return -1;
        out->ptr += n;
        out->len -= (size_t)n;
    }
    return 0;
}

static int send_sealed(struct api_link *l)
{
    struct bt_slice rest = { l->sealed.data, l->sealed.len };
    int r = send_some(l->fd, &rest);

    bt_buf_consume(&l->sealed, l->sealed.len - rest.len);
    return r;
}

static void tell_why(const struct api_link *l)
{
    char why[BT_TLS_WHY_LEN];

    bt_tls_why(l->tls, why);
    bt_log(bt_tls_ready(l->tls) ? BT_LOG_DEBUG : BT_LOG_WARN, "CORE-API-TLS",
           "an HTTP connection's TLS failed", "error=" BT_LOG_Q, why);
}

ssize_t api_link_read(struct api_link *l, uint8_t *to, size_t room)
{
    struct bt_slice in;
    ssize_t n;

    if (l->tls == NULL)
        return receive(l->fd, to, room);
    if (!api_link_pending(l)) {
        if (bt_buf_reserve(&l->raw, STEP) != 0)
            return -1;
        n = receive(l->fd, l->raw.data + l->raw.len, STEP);
        if (n <= 0)
            return n;
        l->raw.len += (size_t)n;
    }
    in = (struct bt_slice){ l->raw.data, l->raw.len };
    n = bt_tls_read(l->tls, &in, to, room, &l->sealed);
    bt_buf_consume(&l->raw, l->raw.len - in.len);
    if (n == BT_ETLS)
        tell_why(l);
    if (send_sealed(l) != 0)
        return -1;
    return n;
}

bool api_link_pending(const struct api_link *l)
{
    return l->tls != NULL && (bt_tls_pending(l->tls) ||
                              bt_tls_whole((struct bt_slice){ l->raw.data, l->raw.len }));
}

int api_link_write(struct api_link *l, struct bt_slice *out)
{
    if (l->tls == NULL)
        return send_some(l->fd, out);
    for (;;) {
        struct iovec iov = { (void *)(uintptr_t)out->ptr, out->len };
        ssize_t n;

        if (send_sealed(l) != 0)
            return -1;
        if (l->sealed.len > 0 || out->len == 0)
            return 0;
        n = bt_tls_write(l->tls, &iov, 1, STEP, &l->sealed);
        if (n < 0)
            return -1;
        if (n == 0 && l->sealed.len == 0)
            return 0;
        out->ptr += n;
        out->len -= (size_t)n;
    }
}

bool api_link_unsent(const struct api_link *l)
{
    return l->sealed.len > 0;
}

void api_link_shutdown(struct api_link *l)
{
    if (l->tls != NULL) {
        bt_tls_close(l->tls, &l->sealed);
        (void)send_sealed(l);
    }
    (void)shutdown(l->fd, SHUT_WR);
}
