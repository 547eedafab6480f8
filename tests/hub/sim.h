/* A whole hub on one thread: real workers and a real store in memory, no thread, no
 * socket, no waiting. Connections are peers in memory, behind the stream seam; their
 * descriptor is /dev/null, which never blocks. sim_run() gives every loop turns until
 * all is still. The clock stands; sim_pass moves it. One hub at a time. */
#ifndef TESTS_HUB_SIM_H
#define TESTS_HUB_SIM_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/net/conn.h"
#include "hub/net/listener.h"
#include "hub/worker.h"

#define SIM_ROUNDS 8

/* Bytes that the test owns: not from core/mem, which a test makes fail. */
struct sim_bytes {
    uint8_t *data;
    size_t len, at, cap;
};

/* The client's end of a connection. */
struct sim_peer {
    struct hub_stream stream;
    struct sim_peer *next;
    struct sim_bytes in, out; /* to the hub, from the hub */
    size_t room;              /* bytes the hub can write before it would block */
    size_t most;              /* bytes the hub gets from one read */
    bool eof, gone;           /* ended by this side; freed by the hub */
};

struct sim {
    struct bt_conf_ctx *ctx;
    struct hub_conf conf;
    struct hub *hub;
    struct sim_peer *peers;
    struct bt_mbox *stops[HUB_MAX_WORKERS + 2];
    struct bt_loop *loops[HUB_MAX_WORKERS + 2]; /* workers, store, the test's own */
    struct bt_msg stop;
    uint32_t n_loops;
};
static struct sim sim;

__attribute__((unused)) static void sim_need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "sim: %s\n", what);
    abort();
}

__attribute__((unused)) static void sim_add(struct sim_bytes *b, const void *p, size_t n)
{
    if (b->len + n >= b->cap) {
        b->cap = (b->len + n + 64) * 2;
        b->data = realloc(b->data, b->cap);
        sim_need(b->data != NULL, "out of memory");
    }
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
}

/* ---- The stream of a peer ---- */

static struct sim_peer *sim_peer_of(const struct hub_stream *s)
{
    return (struct sim_peer *)(uintptr_t)s; /* first member */
}

static ssize_t sim_read(struct hub_stream *s, uint8_t *to, size_t room)
{
    struct sim_peer *p = sim_peer_of(s);
    size_t n = BT_MIN(BT_MIN(room, p->most), p->in.len - p->in.at);

    if (n == 0)
        return p->eof ? BT_ECLOSED : 0;
    memcpy(to, p->in.data + p->in.at, n);
    p->in.at += n;
    return (ssize_t)n;
}

static ssize_t sim_write(struct hub_stream *s, const struct iovec *iov, int n)
{
    struct sim_peer *p = sim_peer_of(s);
    ssize_t total = 0;

    if (p->eof)
        return BT_ECLOSED;
    for (int i = 0; i < n; i++) {
        size_t len = BT_MIN(iov[i].iov_len, p->room);

        sim_add(&p->out, iov[i].iov_base, len);
        p->room -= p->room == SIZE_MAX ? 0 : len;
        total += (ssize_t)len;
        if (len < iov[i].iov_len)
            break;
    }
    return total;
}

static unsigned sim_wants(const struct hub_stream *s)
{
    (void)s;
    return 0;
}

static bool sim_pending(const struct hub_stream *s)
{
    (void)s;
    return false;
}

static void sim_goodbye(struct hub_stream *s, uint8_t reason)
{
    (void)s;
    (void)reason;
}

static void sim_who(const struct hub_stream *s, struct hub_peer *out)
{
    (void)s;
    *out = (struct hub_peer){ .common_name = "", .subject = "", .fingerprint = "" };
}

static void sim_free(struct hub_stream *s)
{
    sim_peer_of(s)->gone = true;
}

static const struct hub_stream_ops sim_ops = {
    .read = sim_read,
    .write = sim_write,
    .wants = sim_wants,
    .pending = sim_pending,
    .goodbye = sim_goodbye,
    .peer = sim_who,
    .free = sim_free,
};

/* ---- Turns ---- */

static void sim_stop_loop(void *arg, struct bt_msg *msg)
{
    (void)msg;
    bt_loop_stop(arg);
}

/* One turn of every loop. */
__attribute__((unused)) static void sim_turn(void)
{
    for (uint32_t i = 0; i < sim.n_loops; i++) {
        sim_need(bt_mbox_post(sim.stops[i], &sim.stop) == 0, "a loop has no mailbox");
        bt_loop_run(sim.loops[i]);
    }
}

__attribute__((unused)) static void sim_run(void)
{
    for (int i = 0; i < SIM_ROUNDS; i++)
        sim_turn();
}

/* Time goes by; every worker gets a tick. */
__attribute__((unused)) static void sim_pass(uint64_t ms)
{
    bt_clock_fake_advance(ms * 1000);
    sim_turn();
    for (uint32_t i = 0; i < sim.hub->n_workers; i++) {
        struct bt_timer *tick = &sim.hub->workers[i]->tick;

        if (bt_timer_active(tick))
            tick->fn(tick);
    }
    sim_run();
}

static void sim_add_loop(struct bt_loop *l)
{
    sim.loops[sim.n_loops] = l;
    sim.stops[sim.n_loops] = bt_mbox_new(l, sim_stop_loop, l);
    sim_need(sim.stops[sim.n_loops] != NULL, "out of memory");
    sim.n_loops++;
}

/* ---- Begin and end ---- */

/* yaml: the hub's section. There are no listeners, so anonymous clients are allowed. dir:
 * of the store, NULL in memory. false: the hub refuses to start; call nothing else. */
__attribute__((unused)) static bool sim_begin_in(const char *yaml, char *dir)
{
    struct bt_module_env env = { .conf = &sim.conf };
    void *self = NULL;

    memset(&sim, 0, sizeof(sim));
    bt_log_set_level(BT_LOG_ERROR);
    bt_clock_fake_start(1000000, 1700000000000);
    sim.ctx = bt_conf_new();
    sim_need(sim.ctx != NULL && bt_conf_load_text(sim.ctx, "sim", yaml, strlen(yaml),
                                                  &hub_conf_table, &sim.conf) == 0,
             "wrong configuration");
    sim.conf.listen.n = 0;
    if (dir == NULL)
        sim.conf.durability = HUB_DURABILITY_MEMORY;
    else
        sim.conf.storage_dir = dir;
    if (hub_module.create(&env, &self) != 0)
        return false;
    sim.hub = self;
    for (uint32_t i = 0; i < sim.hub->n_workers; i++)
        sim_add_loop(sim.hub->workers[i]->loop);
    sim_add_loop(hub_store_loop(sim.hub->store));
    return true;
}

__attribute__((unused)) static void sim_begin(const char *yaml)
{
    sim_need(sim_begin_in(yaml, NULL), "no hub");
}

/* The peers end, the hub goes. */
__attribute__((unused)) static void sim_end(void)
{
    for (struct sim_peer *p = sim.peers; p != NULL; p = p->next)
        p->eof = true;
    sim_run();
    /* A connection that is made to wait has not seen its end: the workers close it. */
    for (uint32_t i = 0; i < sim.hub->n_workers; i++)
        sim_need(
            bt_mbox_post(sim.hub->workers[i]->mbox, &sim.hub->workers[i]->quit_msg) == 0,
            "a worker has no mailbox");
    sim_run();
    for (uint32_t i = 0; i < sim.n_loops; i++)
        bt_mbox_free(sim.stops[i]);
    hub_module.free(sim.hub);
    while (sim.peers != NULL) {
        struct sim_peer *p = sim.peers;

        sim_need(p->gone, "a connection was not freed");
        sim.peers = p->next;
        free(p->in.data);
        free(p->out.data);
        free(p);
    }
    bt_conf_free(sim.ctx);
    bt_clock_fake_stop();
}

/* ---- Peers ---- */

/* A fresh connection that this worker has accepted; NULL when the hub did not take it. */
__attribute__((unused)) static struct sim_peer *sim_connect(uint32_t worker)
{
    static _Atomic uint32_t n_conns;
    static struct hub_listener_opts opts = { .local = true, .n_conns = &n_conns };
    struct hub_worker *w = sim.hub->workers[worker];
    struct bt_list *last = w->fresh.prev;
    struct sim_peer *p = calloc(1, sizeof(*p));
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    sim_need(p != NULL && fd >= 0, "out of memory");
    opts.max_packet = sim.hub->conf->max_packet;
    atomic_fetch_add(&sim.hub->n_conns, 1);
    atomic_fetch_add(&n_conns, 1);
    hub_conn_accept(w, fd, &opts, false);
    if (w->fresh.prev == last) {
        free(p);
        return NULL;
    }
    p->stream.ops = &sim_ops;
    p->stream.fd = fd;
    p->room = p->most = SIZE_MAX;
    bt_list_entry(w->fresh.prev, struct hub_conn, all)->stream = &p->stream;
    p->next = sim.peers;
    sim.peers = p;
    return p;
}

__attribute__((unused)) static void sim_send(struct sim_peer *p, const void *bytes,
                                             size_t n)
{
    sim_add(&p->in, bytes, n);
}

/* The next whole packet the hub sent; ptr NULL when there is none. */
__attribute__((unused)) static struct bt_slice sim_next(struct sim_peer *p)
{
    struct bt_slice s = { NULL, 0 };
    size_t len = 0;

    if (p->out.at < p->out.len &&
        bt_mqtt_frame(p->out.data + p->out.at, p->out.len - p->out.at, &len) == 0 &&
        len <= p->out.len - p->out.at) {
        s = (struct bt_slice){ p->out.data + p->out.at, len };
        p->out.at += len;
    }
    return s;
}

#endif
