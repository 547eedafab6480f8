/* Streams over sockets.
 *
 * Happy path: the name is looked up (core/resolve.h), its addresses are tried one after
 * the other, each for its part of the time, then, with TLS, the handshake goes along with
 * the first reads and writes. Ciphertext that the socket does not take waits in `unsent`;
 * while something waits nothing more is encrypted, so it is never more than WRITE_MAX and
 * some. Ciphertext that is not a whole record yet waits in `rest`.
 *
 * Failure modes: a name without an address, addresses that all refuse and a handshake
 * that fails are told as one sentence, with the last cause. A stream that ends says so at
 * the next read or write. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/resolve.h"
#include "core/stream.h"
#include "core/sys.h"
#include "core/tls.h"

#define WRITE_MAX 65536u

enum step {
    FAILED,     /* the timer tells it */
    READY,      /* the timer begins with the first address */
    LOOKING_UP, /* the timer ends these three */
    CONNECTING,
    SHAKING,
    OPEN,
};

struct net {
    struct bt_stream base;
    struct bt_stream_conf conf;
    struct bt_lookup *lookup; /* NULL: none under way */
    struct bt_address addresses[BT_RESOLVE_ADDRESSES];
    size_t n_addresses, at; /* at: the one being tried */
    int fd;                 /* -1: none */
    enum step step;
    unsigned wanted; /* by the user */
    struct bt_io io;
    struct bt_timer timer;
    struct bt_tls *tls;
    struct bt_buf unsent, rest;
};

static struct net *net_of(struct bt_stream *s)
{
    return bt_container_of(s, struct net, base);
}

/* ---- The socket ---- */

static ssize_t gone(struct net *s, int error)
{
    snprintf(s->base.why, sizeof(s->base.why), "%s",
             error == 0 ? "the other side closed the connection" : strerror(error));
    return BT_ECLOSED;
}

static ssize_t fd_read(struct net *s, uint8_t *to, size_t room)
{
    ssize_t n = recv(s->fd, to, room, 0);

    if (n > 0)
        return n;
    if (n == 0)
        return gone(s, 0);
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : gone(s, errno);
}

static ssize_t fd_write(struct net *s, const uint8_t *p, size_t n)
{
    ssize_t done = n > 0 ? send(s->fd, p, n, 0) : 0;

    if (done >= 0)
        return done;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : gone(s, errno);
}

static void watch(struct net *s)
{
    unsigned events = s->wanted;

    /* During a handshake whatever comes moves it on, so that writing becomes possible. */
    if (s->tls != NULL && !bt_tls_ready(s->tls))
        events = BT_READ;
    if (s->unsent.len > 0)
        events |= BT_WRITE;
    bt_io_set(s->conf.loop, &s->io, events);
}

/* ---- TLS ---- */

static ssize_t tls_failed(struct net *s)
{
    char why[BT_TLS_WHY_LEN];

    bt_tls_why(s->tls, why);
    snprintf(s->base.why, sizeof(s->base.why), "TLS failed: %s", why);
    return BT_ETLS;
}

/* < 0: the other side is gone. */
static ssize_t send_unsent(struct net *s)
{
    ssize_t n = fd_write(s, s->unsent.data, s->unsent.len);

    if (n < 0)
        return n;
    bt_buf_consume(&s->unsent, (size_t)n);
    if (s->unsent.len == 0)
        bt_buf_deinit(&s->unsent);
    return 0;
}

/* Send what a call made, keep what the socket does not take. Empties out. */
static ssize_t send_out(struct net *s, struct bt_buf *out)
{
    int r = bt_buf_append(&s->unsent, out->data, out->len);

    out->len = 0;
    if (r != 0) {
        snprintf(s->base.why, sizeof(s->base.why), "%s", bt_error_text(r));
        return r;
    }
    return s->unsent.len > 0 ? send_unsent(s) : 0;
}

/* Ciphertext: what is kept, or what came. > 0, or as fd_read. */
static ssize_t fetch(struct net *s, struct bt_tls_space *space, struct bt_slice *in)
{
    ssize_t n;

    *in = (struct bt_slice){ s->rest.data, s->rest.len };
    if (bt_tls_pending(s->tls) || bt_tls_whole(*in))
        return 1;
    if (in->len > 0)
        memcpy(space->in, in->ptr, in->len); /* less than a record */
    n = fd_read(s, space->in + in->len, BT_TLS_CHUNK);
    if (n > 0) {
        *in = (struct bt_slice){ space->in, in->len + (size_t)n };
        s->rest.len = 0;
    }
    return n;
}

static ssize_t no_memory(struct net *s)
{
    snprintf(s->base.why, sizeof(s->base.why), "out of memory");
    return BT_ENOMEM;
}

static ssize_t tls_read(struct net *s, uint8_t *to, size_t room)
{
    struct bt_tls_space *space = bt_tls_space();
    struct bt_slice in;
    ssize_t n, r;

    if (space == NULL)
        return no_memory(s);
    n = fetch(s, space, &in);
    if (n <= 0)
        return n;
    n = bt_tls_read(s->tls, &in, to, room, &space->out);
    r = send_out(s, &space->out);
    if (n == BT_ETLS)
        return tls_failed(s);
    if (n == BT_ECLOSED)
        return gone(s, 0);
    if (n < 0 || r < 0)
        return n < 0 ? n : r;
    return bt_buf_keep(&s->rest, in) == 0 ? n : no_memory(s);
}

static ssize_t tls_write(struct net *s, const uint8_t *p, size_t n)
{
    struct bt_tls_space *space = bt_tls_space();
    struct iovec iov = { (void *)(uintptr_t)p, n };
    ssize_t done, r;

    if (space == NULL)
        return no_memory(s);
    r = s->unsent.len > 0 ? send_unsent(s) : 0;
    if (r < 0 || s->unsent.len > 0 || n == 0)
        return r;
    done = bt_tls_write(s->tls, &iov, 1, WRITE_MAX, &space->out);
    r = send_out(s, &space->out);
    if (done < 0)
        return tls_failed(s);
    return r < 0 ? r : done;
}

/* ---- Opening ---- */

static void fail(struct net *s, const char *why)
{
    s->conf.on_failed(s->conf.arg, why);
}

static void opened(struct net *s)
{
    s->step = OPEN;
    bt_timer_stop(s->conf.loop, &s->timer);
    watch(s);
    s->conf.on_open(s->conf.arg);
}

/* One step of the handshake. 1: go on; 0: nothing has come; < 0: it failed. */
static ssize_t shake_once(struct net *s, struct bt_tls_space *space)
{
    struct bt_slice in;
    ssize_t n = fetch(s, space, &in);
    int r;

    if (n <= 0)
        return n;
    r = bt_tls_handshake(s->tls, &in, &space->out);
    n = send_out(s, &space->out);
    if (r != 0)
        return tls_failed(s);
    if (n < 0)
        return n;
    return bt_buf_keep(&s->rest, in) == 0 ? 1 : no_memory(s);
}

/* A server that speaks before it is spoken to waits: what came with the end of the
 * handshake is given out by the first read. */
static void shake(struct net *s)
{
    struct bt_tls_space *space = bt_tls_space();
    ssize_t n = space == NULL ? no_memory(s) : s->unsent.len > 0 ? send_unsent(s) : 0;

    if (n == 0)
        n = 1;
    while (n > 0 && !bt_tls_ready(s->tls))
        n = shake_once(s, space);
    if (n < 0)
        fail(s, s->base.why);
    else if (bt_tls_ready(s->tls))
        opened(s);
    else
        watch(s);
}

static void connected(struct net *s)
{
    struct bt_tls_space *space;
    struct bt_slice none = { NULL, 0 };
    int on = 1;

    if (!s->conf.address.local)
        (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!s->conf.address.tls) {
        opened(s);
        return;
    }
    s->step = SHAKING;
    bt_timer_start(s->conf.loop, &s->timer, s->conf.timeout_ms, 0);
    space = bt_tls_space();
    if (space == NULL || bt_tls_new(s->conf.tls, s->conf.address.host, &s->tls) != 0)
        (void)no_memory(s);
    else if (bt_tls_handshake(s->tls, &none, &space->out) != 0)
        (void)tls_failed(s);
    else if (send_out(s, &space->out) == 0) {
        watch(s);
        return;
    }
    fail(s, s->base.why);
}

static void close_fd(struct net *s)
{
    if (s->fd >= 0)
        bt_io_close(s->conf.loop, &s->io);
    s->fd = -1;
}

static void on_io(struct bt_io *io, unsigned events);

/* 0, EINPROGRESS or another errno. */
static int connect_to(struct net *s, const struct sockaddr *sa, socklen_t len)
{
    int fd = bt_sys_socket(sa->sa_family, SOCK_STREAM);

    if (fd < 0)
        return errno;
    if (connect(fd, sa, len) != 0 && errno != EINPROGRESS) {
        int error = errno;

        close(fd);
        return error;
    }
    s->fd = fd;
    bt_io_init(&s->io, fd, on_io);
    bt_io_start(s->conf.loop, &s->io, BT_WRITE);
    return 0;
}

/* The addresses from s->at on; a connection that succeeds at once is told by the socket
 * becoming writable, too. */
static void try_next(struct net *s, int error)
{
    for (; s->at < s->n_addresses; s->at++) {
        const struct bt_address *a = &s->addresses[s->at];

        error = connect_to(s, (const struct sockaddr *)&a->sa, a->len);
        if (error == 0) {
            s->step = CONNECTING;
            bt_timer_start(s->conf.loop, &s->timer,
                           s->conf.timeout_ms / s->n_addresses + 1, 0);
            return;
        }
    }
    snprintf(s->base.why, sizeof(s->base.why), "cannot connect: %s", strerror(error));
    fail(s, s->base.why);
}

static void give_up_address(struct net *s, int error)
{
    close_fd(s);
    s->at++;
    try_next(s, error);
}

/* A failure of the layer's own writing is found by the user's next read. */
static void on_open_io(struct net *s, unsigned events)
{
    if (s->unsent.len > 0 && (events & BT_WRITE) != 0 && send_unsent(s) < 0)
        events |= BT_READ;
    watch(s);
    events &= s->wanted;
    if (events != 0)
        s->conf.on_ready(s->conf.arg, events);
}

static void on_io(struct bt_io *io, unsigned events)
{
    struct net *s = bt_container_of(io, struct net, io);
    socklen_t len = sizeof(int);
    int error = 0;

    switch (s->step) {
    case CONNECTING:
        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
            error = errno;
        if (error != 0)
            give_up_address(s, error);
        else
            connected(s);
        break;
    case SHAKING:
        shake(s);
        break;
    default:
        on_open_io(s, events);
    }
}

static void on_timer(struct bt_timer *t)
{
    struct net *s = bt_container_of(t, struct net, timer);

    switch (s->step) {
    case READY:
        try_next(s, 0);
        break;
    case CONNECTING:
        give_up_address(s, ETIMEDOUT);
        break;
    case LOOKING_UP:
        fail(s, "the name was not looked up in time");
        break;
    case SHAKING:
        fail(s, "no TLS handshake in time");
        break;
    default:
        fail(s, s->base.why);
    }
}

static void on_addresses(void *arg, const struct bt_address *addresses, size_t n,
                         const char *why)
{
    struct net *s = arg;

    s->lookup = NULL;
    if (n == 0) {
        snprintf(s->base.why, sizeof(s->base.why), "the host %s cannot be found: %s",
                 s->conf.address.host, why);
        fail(s, s->base.why);
        return;
    }
    memcpy(s->addresses, addresses, n * sizeof(*addresses));
    s->n_addresses = n;
    try_next(s, 0);
}

static int open_local(struct net *s)
{
    struct sockaddr_un *sa = (struct sockaddr_un *)&s->addresses[0].sa;
    const char *path = s->conf.address.host;

    if (strlen(path) >= sizeof(sa->sun_path))
        return BT_EINVAL;
    sa->sun_family = AF_UNIX;
    memcpy(sa->sun_path, path, strlen(path) + 1);
    s->addresses[0].len = (socklen_t)sizeof(*sa);
    s->n_addresses = 1;
    s->step = READY;
    return 0;
}

/* Failures of the system are told later, like those of the network. */
static int begin(struct net *s)
{
    int r;

    if (s->conf.address.local)
        return open_local(s);
    r = bt_resolve(s->conf.resolver, s->conf.address.host, s->conf.address.port,
                   on_addresses, s, &s->lookup);
    s->step = r == 0 ? LOOKING_UP : FAILED;
    if (r == 0 || r == BT_ENOMEM)
        return r;
    snprintf(s->base.why, sizeof(s->base.why), "the host %s cannot be looked up: %s",
             s->conf.address.host, bt_error_text(r));
    return 0;
}

/* ---- The operations ---- */

static ssize_t net_read(struct bt_stream *base, uint8_t *to, size_t room)
{
    struct net *s = net_of(base);
    ssize_t n = s->tls != NULL ? tls_read(s, to, room) : fd_read(s, to, room);

    if (n >= 0)
        watch(s);
    return n;
}

static ssize_t net_write(struct bt_stream *base, const uint8_t *p, size_t n)
{
    struct net *s = net_of(base);
    ssize_t done = s->tls != NULL ? tls_write(s, p, n) : fd_write(s, p, n);

    if (done >= 0)
        watch(s);
    return done;
}

static void net_want(struct bt_stream *base, unsigned events)
{
    struct net *s = net_of(base);

    s->wanted = events;
    watch(s);
}

static void net_close(struct bt_stream *base)
{
    struct net *s = net_of(base);

    if (s->lookup != NULL)
        bt_resolve_cancel(s->lookup);
    bt_timer_stop(s->conf.loop, &s->timer);
    if (s->tls != NULL && s->fd >= 0) {
        struct bt_tls_space *space = bt_tls_space();

        if (space != NULL) {
            bt_tls_close(s->tls, &space->out);
            (void)send_out(s, &space->out);
        }
    }
    close_fd(s);
    bt_tls_free(s->tls);
    bt_tls_ctx_unref(s->conf.tls);
    bt_buf_deinit(&s->unsent);
    bt_buf_deinit(&s->rest);
    bt_free(s);
}

static int net_open(const struct bt_stream_conf *conf, struct bt_stream **out)
{
    struct net *s = bt_calloc(1, sizeof(*s));
    int r;

    *out = NULL;
    if (s == NULL)
        return BT_ENOMEM;
    s->base.ops = &bt_stream_net;
    s->conf = *conf;
    s->conf.tls = conf->tls != NULL ? bt_tls_ctx_ref(conf->tls) : NULL;
    s->fd = -1;
    bt_timer_init(&s->timer, on_timer);
    r = begin(s);
    if (r != 0) {
        net_close(&s->base);
        return r;
    }
    bt_timer_start(s->conf.loop, &s->timer, s->step == LOOKING_UP ? conf->timeout_ms : 0,
                   0);
    *out = &s->base;
    return 0;
}

const struct bt_stream_ops bt_stream_net = {
    .open = net_open,
    .read = net_read,
    .write = net_write,
    .want = net_want,
    .close = net_close,
};
