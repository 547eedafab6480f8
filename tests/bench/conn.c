/* The client's side of MQTT 3.1.1, as little as the measurements need.
 *
 * A connection opens, logs in, subscribes when it has a filter, then is ready. Output
 * gathers in one buffer and leaves with one write for each turn of the loop, so that the
 * generator costs less than the server it measures. Every failure ends the program: a
 * measurement with a broken connection is worth nothing. */
#include "tests/bench/conn.h"
#include "tests/bench/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEEPALIVE_S 600

uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

_Noreturn void die(const char *what, ...)
{
    va_list args;

    fprintf(stderr, "load: ");
    va_start(args, what);
    vfprintf(stderr, what, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(1);
}

static void watch(struct conn *c, int op)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

    if (c->wants_write)
        ev.events |= EPOLLOUT;
    if (epoll_ctl(c->epoll, op, c->fd, &ev) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void want_write(struct conn *c, bool want)
{
    if (c->wants_write == want)
        return;
    c->wants_write = want;
    watch(c, EPOLL_CTL_MOD);
}

void conn_open(struct conn *c, int epoll, uint16_t port, size_t in_cap)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    int one = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->epoll = epoll;
    c->opened_ns = clock_ns();
    c->state = CONN_OPENING;
    c->wants_write = true;
    c->in_len = c->out_len = 0;
    if (c->in_cap != in_cap) {
        c->in = realloc(c->in, in_cap);
        c->in_cap = in_cap;
        if (c->in == NULL)
            die("out of memory");
    }
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    c->tls = tls_open(c->fd);
    watch(c, EPOLL_CTL_ADD);
}

void conn_close(struct conn *c)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    if (c->state == CONN_CLOSED)
        return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    tls_close(c->tls);
    c->tls = NULL;
    close(c->fd);
    c->state = CONN_CLOSED;
}

uint8_t *conn_reserve(struct conn *c, size_t n)
{
    if (c->out_len + n > c->out_cap) {
        c->out_cap = (c->out_len + n) * 2;
        c->out = realloc(c->out, c->out_cap);
        if (c->out == NULL)
            die("out of memory");
    }
    return c->out + c->out_len;
}

void conn_flush(struct conn *c)
{
    ssize_t n;

    if (c->out_len == 0 || c->wants_write)
        return;
    n = c->tls != NULL ? tls_send(c->tls, c->out, c->out_len)
                       : send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        die("%s: send: %s", c->client_id, strerror(errno));
    if (n > 0) {
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    if (c->out_len != 0)
        want_write(c, true);
}

/* Header byte and remaining length at p; returns their size. */
static size_t put_header(uint8_t *p, uint8_t first, size_t rest)
{
    size_t n = 0;

    p[n++] = first;
    do {
        p[n] = (uint8_t)(rest & 0x7f);
        rest >>= 7;
        if (rest != 0)
            p[n] |= 0x80;
        n++;
    } while (rest != 0);
    return n;
}

static size_t put_text(uint8_t *p, const char *s)
{
    size_t n = strlen(s);

    p[0] = (uint8_t)(n >> 8);
    p[1] = (uint8_t)n;
    memcpy(p + 2, s, n);
    return n + 2;
}

static void put_connect(struct conn *c)
{
    uint8_t *p = conn_reserve(c, 128);
    size_t n = put_header(p, 0x10, 10 + 2 + strlen(c->client_id));

    n += put_text(p + n, "MQTT");
    p[n++] = 4;
    p[n++] = c->clean ? 2 : 0;
    p[n++] = KEEPALIVE_S >> 8;
    p[n++] = KEEPALIVE_S & 0xff;
    n += put_text(p + n, c->client_id);
    c->out_len += n;
}

static void put_subscribe(struct conn *c)
{
    uint8_t *p = conn_reserve(c, 128);
    size_t n = put_header(p, 0x82, 2 + 2 + strlen(c->filter) + 1);

    p[n++] = 0;
    p[n++] = 1;
    n += put_text(p + n, c->filter);
    p[n++] = c->qos;
    c->out_len += n;
}

void conn_publish(struct conn *c, const char *topic, uint8_t qos, uint16_t pid,
                  const void *payload, size_t len)
{
    size_t rest = 2 + strlen(topic) + (qos ? 2 : 0) + len;
    uint8_t *p = conn_reserve(c, rest + 5);
    size_t n = put_header(p, (uint8_t)(0x30 | qos << 1), rest);

    n += put_text(p + n, topic);
    if (qos) {
        p[n++] = (uint8_t)(pid >> 8);
        p[n++] = (uint8_t)pid;
    }
    memcpy(p + n, payload, len);
    c->out_len += n + len;
}

static void answer(struct conn *c, uint8_t first, const uint8_t *pid)
{
    memcpy(conn_reserve(c, 4), (const uint8_t[]){ first, 2, pid[0], pid[1] }, 4);
    c->out_len += 4;
}

static void got_publish(struct conn *c, const uint8_t *p, size_t len, uint64_t now)
{
    unsigned qos = p[-1] >> 1 & 3; /* set by packets(): the first byte, moved here */
    size_t at = len < 2 ? len : 2u + (size_t)(p[0] << 8 | p[1]);

    if (at + (qos ? 2u : 0u) > len)
        die("%s: a PUBLISH that is cut", c->client_id);
    if (qos) {
        answer(c, qos == 1 ? 0x40 : 0x50, p + at);
        at += 2;
    }
    c->ops->publish(c, p + at, len - at, now);
}

static void become_ready(struct conn *c)
{
    c->state = CONN_READY;
    if (c->ops->ready != NULL)
        c->ops->ready(c);
}

static void packet(struct conn *c, uint8_t first, const uint8_t *p, size_t len,
                   uint64_t now)
{
    switch (first >> 4) {
    case 2:
        if (len != 2 || p[1] != 0)
            die("%s: login refused with %d", c->client_id, len == 2 ? p[1] : -1);
        c->state = CONN_SUBSCRIBING;
        if (c->filter[0] != '\0')
            put_subscribe(c);
        else
            become_ready(c);
        break;
    case 3:
        got_publish(c, p, len, now);
        break;
    case 4:
    case 7:
        if (len == 2 && c->ops->puback != NULL)
            c->ops->puback(c, (uint16_t)(p[0] << 8 | p[1]));
        break;
    case 5:
    case 6:
        if (len != 2)
            die("%s: a packet of type %d with %zu bytes", c->client_id, first >> 4, len);
        answer(c, first >> 4 == 5 ? 0x62 : 0x70, p);
        break;
    case 9:
        if (len != 3 || p[2] != c->qos)
            die("%s: subscription refused with %d", c->client_id, len == 3 ? p[2] : -1);
        become_ready(c);
        break;
    case 13:
        break;
    default:
        die("%s: a packet of type %d", c->client_id, first >> 4);
    }
}

/* Takes whole packets off the input. */
static void packets(struct conn *c, uint64_t now)
{
    size_t at = 0;

    while (c->in_len - at >= 2 && c->state != CONN_CLOSED) {
        uint8_t *p = c->in + at, first = p[0];
        size_t len = 0, head = 1;
        unsigned shift = 0;

        while (at + head < c->in_len && p[head] & 0x80 && head < 4) {
            len |= (size_t)(p[head++] & 0x7f) << shift;
            shift += 7;
        }
        if (at + head >= c->in_len)
            break;
        len |= (size_t)p[head++] << shift;
        if (head + len > c->in_cap)
            die("%s: a packet of %zu bytes", c->client_id, len);
        if (at + head + len > c->in_len)
            break;
        p[head - 1] = first;
        packet(c, first, p + head, len, now);
        at += head + len;
    }
    if (c->state == CONN_CLOSED)
        return;
    c->in_len -= at;
    if (c->in_len != 0 && at != 0)
        memmove(c->in, c->in + at, c->in_len);
}

static void opened(struct conn *c)
{
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0)
        die("%s: connect: %s", c->client_id, strerror(error));
    c->state = CONN_LOGIN;
    put_connect(c);
}

static void receive(struct conn *c, uint64_t now)
{
    size_t room = c->in_cap - c->in_len;
    ssize_t n = c->tls != NULL ? tls_recv(c->tls, c->in + c->in_len, room)
                               : recv(c->fd, c->in + c->in_len, room, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN))
        die("%s: closed by the server: %s", c->client_id,
            n == 0 ? "end" : strerror(errno));
    if (n > 0) {
        c->in_len += (size_t)n;
        packets(c, now);
    }
}

void conn_event(struct conn *c, uint32_t events, uint64_t now)
{
    if (c->tls != NULL && !tls_ready(c->tls)) {
        int r = tls_handshake(c->tls);

        if (r < 0)
            die("%s: TLS handshake failed", c->client_id);
        want_write(c, r == TLS_WANT_WRITE);
        if (r != 0)
            return;
        events |= EPOLLOUT;
    }
    if (events & EPOLLOUT) {
        if (c->state == CONN_OPENING)
            opened(c);
        want_write(c, false);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        do {
            receive(c, now);
        } while (c->state != CONN_CLOSED && c->tls != NULL && tls_pending(c->tls));
    }
    if (c->state != CONN_CLOSED)
        conn_flush(c);
}
