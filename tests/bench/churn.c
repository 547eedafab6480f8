/* Connections without messages: how much memory each costs (idle, opened at the given
 * rate), how many a second can be made (connect). At most BATCH logins are on their way
 * at a time, so that the backlog never fills. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

#define BATCH     64u
#define IN_SIZE   256u
#define SETTLE_NS 500000000ull

struct churn {
    struct conn *conns;
    unsigned n, n_ready;
    int epoll;
    bool again; /* a connection that is ready makes room for a new one */
    uint16_t port;
    uint64_t logins;
    struct hist *latency; /* from connect to CONNACK */
};

static void on_publish(struct conn *c, const uint8_t *payload, size_t len, uint64_t now)
{
    (void)payload;
    (void)now;
    die("%s: %zu bytes that nobody asked for", c->client_id, len);
}

static void on_ready(struct conn *c)
{
    struct churn *h = c->arg;

    h->n_ready++;
    h->logins++;
    hist_add(h->latency, clock_ns() - c->opened_ns);
    if (h->again)
        conn_close(c);
}

static const struct conn_ops ops = { on_publish, NULL, on_ready };

static void open_one(struct churn *h, unsigned index)
{
    struct conn *c = &h->conns[index];

    c->ops = &ops;
    c->arg = h;
    c->index = index;
    c->clean = true;
    snprintf(c->client_id, sizeof(c->client_id), "c%x-%u", (unsigned)getpid(), index);
    conn_open(c, h->epoll, h->port, IN_SIZE);
}

static void turn(struct churn *h, int wait_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(h->epoll, events, 256, wait_ms);
    uint64_t now = clock_ns();

    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;

        conn_event(c, events[i].events, now);
        if (h->again && c->state == CONN_CLOSED)
            open_one(h, c->index);
    }
}

static void idle(struct churn *h, const struct options *o, struct result *r)
{
    uint64_t start = clock_ns(), end, now;
    unsigned opened = 0;

    proc_read(o->pid, &r->before);
    while (h->n_ready < h->n) {
        now = clock_ns() - start;
        while (opened < h->n && opened - h->n_ready < BATCH &&
               (o->rate == 0 || opened < now / 1000 * o->rate / 1000000))
            open_one(h, opened++);
        turn(h, o->rate == 0 ? 20 : 1);
        if (now > 60 * 1000000000ull)
            die("only %u of %u connections after 60 s", h->n_ready, h->n);
    }
    r->seconds = (double)(clock_ns() - start) / 1e9;
    for (end = clock_ns() + SETTLE_NS; clock_ns() < end;)
        turn(h, 20);
    proc_read(o->pid, &r->after);
}

static void connect_rate(struct churn *h, const struct options *o, struct result *r)
{
    uint64_t start, end;

    h->again = true;
    for (unsigned i = 0; i < h->n; i++)
        open_one(h, i);
    proc_read(o->pid, &r->before);
    h->logins = 0;
    memset(h->latency, 0, sizeof(*h->latency));
    start = clock_ns();
    for (end = start + (uint64_t)(o->seconds * 1e9); clock_ns() < end;)
        turn(h, 20);
    r->seconds = (double)(clock_ns() - start) / 1e9;
    proc_read(o->pid, &r->after);
}

int churn_run(const struct options *o, struct result *r)
{
    struct churn h = { .port = o->port, .latency = &r->latency };
    bool rate = strcmp(o->scenario, "connect") == 0;

    if (!rate && strcmp(o->scenario, "idle") != 0)
        return 1;
    h.n = rate ? BATCH : o->connections;
    h.conns = calloc(h.n, sizeof(*h.conns));
    h.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (h.conns == NULL || h.epoll < 0)
        die("out of memory");
    if (rate)
        connect_rate(&h, o, r);
    else
        idle(&h, o, r);
    r->delivered = h.logins;
    r->connections = h.n;
    for (unsigned i = 0; i < h.n; i++) {
        conn_close(&h.conns[i]);
        free(h.conns[i].in);
        free(h.conns[i].out);
    }
    free(h.conns);
    close(h.epoll);
    return 0;
}
