/* A broker in memory for core/mqtt_conn.c: virtual time, a stream without a socket, and
 * packets said and understood with the codec. Include it before the harness's TESTs; it
 * takes the place of the loop and of the network's stream in the link. */
#ifndef TESTS_CONN_SIM_H
#define TESTS_CONN_SIM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/mqtt_conn.h"

#define SIM_TIMERS 16
#define SIM_EVENTS 64

struct sim_event {
    char what;       /* U up, D down, M message, P published, R room */
    unsigned number; /* reason, or session present */
    uint64_t token;  /* P */
    uint32_t retry;  /* D */
    bool refused;    /* D */
    char text[128];  /* D: why; M: topic=payload */
    struct bt_mqtt_message *m;
};

static struct {
    uint64_t now;
    struct sim_timer {
        struct bt_timer *timer;
        uint64_t due;
    } timers[SIM_TIMERS];
    /* The stream. */
    struct bt_stream stream;
    struct bt_stream_conf conf;
    bool is_open, ended; /* ended: the broker has closed */
    unsigned opens, closes, wanted;
    int open_result;
    size_t room; /* that a write takes at once */
    struct bt_buf in, out;
    size_t in_at, out_at;
    /* The application. */
    struct bt_mqtt_conn *c;
    struct sim_event events[SIM_EVENTS];
    unsigned n_events, seen;
    bool keep;       /* messages are not acknowledged at once */
    char close_at;   /* close the client in this callback */
    uint8_t version; /* of what the broker says */
} sim;

/* ---- The loop ---- */

uint64_t bt_loop_ms(const struct bt_loop *l)
{
    (void)l;
    return sim.now;
}
void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t))
{
    t->fn = fn;
}
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    (void)l;
    for (int i = 0; i < SIM_TIMERS; i++) {
        if (sim.timers[i].timer == t)
            sim.timers[i].timer = NULL;
    }
}
void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after, uint64_t rep)
{
    (void)rep;
    bt_timer_stop(l, t);
    for (int i = 0; i < SIM_TIMERS; i++) {
        if (sim.timers[i].timer == NULL) {
            sim.timers[i] = (struct sim_timer){ t, sim.now + after };
            return;
        }
    }
    abort();
}
bool bt_timer_active(const struct bt_timer *t)
{
    for (int i = 0; i < SIM_TIMERS; i++) {
        if (sim.timers[i].timer == t)
            return true;
    }
    return false;
}

/* Let time pass; timers fire in their order. */
static inline void sim_wait(uint64_t ms)
{
    uint64_t until = sim.now + ms;

    for (;;) {
        struct sim_timer *first = NULL;
        struct bt_timer *t;

        for (int i = 0; i < SIM_TIMERS; i++) {
            if (sim.timers[i].timer != NULL &&
                (first == NULL || sim.timers[i].due < first->due))
                first = &sim.timers[i];
        }
        if (first == NULL || first->due > until)
            break;
        sim.now = BT_MAX(sim.now, first->due);
        t = first->timer;
        first->timer = NULL;
        t->fn(t);
    }
    sim.now = until;
}

/* ---- The stream ---- */

static int sim_open(const struct bt_stream_conf *conf, struct bt_stream **out)
{
    if (sim.open_result != 0)
        return sim.open_result;
    if (sim.is_open)
        abort();
    sim.opens++;
    sim.conf = *conf;
    sim.is_open = true;
    sim.ended = false;
    sim.wanted = 0;
    sim.in.len = sim.out.len = sim.in_at = sim.out_at = 0;
    *out = &sim.stream;
    return 0;
}
static ssize_t sim_read(struct bt_stream *s, uint8_t *to, size_t room)
{
    size_t n = BT_MIN(room, sim.in.len - sim.in_at);

    if (n == 0 && sim.ended) {
        snprintf(s->why, sizeof(s->why), "closed by the test");
        return BT_ECLOSED;
    }
    if (n > 0)
        memcpy(to, sim.in.data + sim.in_at, n);
    sim.in_at += n;
    return (ssize_t)n;
}
static ssize_t sim_write(struct bt_stream *s, const uint8_t *p, size_t n)
{
    (void)s;
    n = BT_MIN(n, sim.room);
    sim.room -= n;
    if (sim.ended || bt_buf_append(&sim.out, p, n) != 0)
        return BT_ECLOSED;
    return (ssize_t)n;
}
static void sim_want(struct bt_stream *s, unsigned events)
{
    (void)s;
    sim.wanted = events;
}
static void sim_close(struct bt_stream *s)
{
    (void)s;
    if (!sim.is_open)
        abort();
    sim.is_open = false;
    sim.closes++;
}
const struct bt_stream_ops bt_stream_net = {
    .open = sim_open,
    .read = sim_read,
    .write = sim_write,
    .want = sim_want,
    .close = sim_close,
};

/* ---- The application ---- */

static struct sim_event *sim_note(char what)
{
    struct sim_event *e = &sim.events[sim.n_events++ % SIM_EVENTS];

    *e = (struct sim_event){ .what = what };
    if (sim.close_at == what) {
        sim.close_at = 0;
        bt_mqtt_conn_close(sim.c);
        sim.c = NULL;
    }
    return e;
}
static void sim_on_up(void *arg, bool present)
{
    (void)arg;
    sim_note('U')->number = present;
}
static void sim_on_down(void *arg, const struct bt_mqtt_loss *loss)
{
    struct sim_event *e;
    char why[sizeof(e->text)];
    struct bt_mqtt_loss l = *loss;

    (void)arg;
    snprintf(why, sizeof(why), "%s", loss->why);
    e = sim_note('D');
    e->number = l.reason;
    e->retry = l.retry_ms;
    e->refused = l.refused;
    memcpy(e->text, why, sizeof(why));
}
static void sim_on_message(void *arg, struct bt_mqtt_message *m)
{
    struct sim_event *e = sim_note('M');

    (void)arg;
    snprintf(e->text, sizeof(e->text), "%.*s=%.*s", (int)BT_MIN(m->topic.len, 50u),
             (const char *)m->topic.ptr, (int)BT_MIN(m->payload.len, 50u),
             m->payload.len > 0 ? (const char *)m->payload.ptr : "");
    if (sim.keep)
        e->m = m;
    else
        bt_mqtt_message_ack(m, true);
}
static void sim_on_published(void *arg, uint64_t token, unsigned reason)
{
    struct sim_event *e = sim_note('P');

    (void)arg;
    e->token = token;
    e->number = reason;
}
static void sim_on_room(void *arg)
{
    (void)arg;
    (void)sim_note('R');
}

static inline struct bt_slice sim_text(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

static struct bt_mqtt_sub sim_sub;

static inline struct bt_mqtt_conn_conf sim_conf(void)
{
    struct bt_mqtt_conn_conf conf = {
        .address = "tcp://broker",
        .connect = { .client_id = sim_text("me"), .keepalive = 10 },
        .session_expiry = 3600,
        .subs = &sim_sub,
        .n_subs = 1,
        .window_in = 4,
        .window_out = 3,
        .max_packet = 4096,
        .max_in = 65536,
        .max_out = 65536,
        .timeout_ms = 5000,
        .interval_ms = 8000,
        .on_up = sim_on_up,
        .on_down = sim_on_down,
        .on_message = sim_on_message,
        .on_published = sim_on_published,
        .on_room = sim_on_room,
    };

    /* The broker's side never runs out of memory. */
    if (bt_buf_reserve(&sim.in, 65536) != 0 || bt_buf_reserve(&sim.out, 65536) != 0)
        abort();
    sim_sub = (struct bt_mqtt_sub){ .filter = sim_text("$share/g/t/#"), .qos = 2 };
    return conf;
}

static inline int sim_start(const struct bt_mqtt_conn_conf *conf)
{
    sim.n_events = sim.seen = sim.opens = sim.closes = 0;
    memset(sim.timers, 0, sizeof(sim.timers));
    sim.keep = sim.is_open = false;
    sim.close_at = 0;
    sim.open_result = 0;
    sim.room = SIZE_MAX;
    sim.now = 1000;
    sim.stream.ops = &bt_stream_net;
    sim.version = conf->connect.version == 0 ? BT_MQTT_50 : conf->connect.version;
    return bt_mqtt_conn_new(conf, &sim.c);
}

static inline void sim_end(void)
{
    bt_mqtt_conn_close(sim.c);
    sim.c = NULL;
    bt_buf_deinit(&sim.in);
    bt_buf_deinit(&sim.out);
}

/* ---- The broker ---- */

/* What was added to sim.in arrives. */
static inline void sim_push(void)
{
    if (sim.is_open && (sim.wanted & BT_READ) != 0)
        sim.conf.on_ready(sim.conf.arg, BT_READ);
    sim_wait(0);
}
static inline void sim_raw(const void *p, size_t n)
{
    if (bt_buf_append(&sim.in, p, n) != 0)
        abort();
    sim_push();
}
static inline void sim_cut(void)
{
    sim.ended = true;
    sim_push();
}
static inline void sim_connack(bool present, uint8_t reason,
                               const struct bt_mqtt_props *props)
{
    if (bt_mqtt_encode_connack(&sim.in, sim.version, present, reason, props) != 0)
        abort();
    sim_push();
}
static inline void sim_suback(uint8_t reason)
{
    if (bt_mqtt_encode_suback(&sim.in, sim.version, BT_MQTT_SUBACK, 65535, &reason, 1,
                              NULL) != 0)
        abort();
    sim_push();
}
static inline void sim_ack(enum bt_mqtt_type type, uint16_t pid, uint8_t reason)
{
    if (bt_mqtt_encode_ack(&sim.in, sim.version, type, pid, reason, NULL) != 0)
        abort();
    sim_push();
}
static inline void sim_publish(uint8_t qos, uint16_t pid, bool dup, const char *payload)
{
    struct bt_mqtt_publish p = { .dup = dup, .qos = qos, .pid = pid };

    p.topic = sim_text("t/1");
    p.payload = sim_text(payload);
    if (bt_mqtt_encode_publish(&sim.in, sim.version, &p, NULL) != 0)
        abort();
    sim_push();
}
/* The next packet the client has sent; its type, 0 when there is none. */
static inline unsigned sim_take(struct bt_mqtt_packet *p)
{
    size_t left = sim.out.len - sim.out_at, len = 0;
    const uint8_t *at = sim.out.data + sim.out_at;
    unsigned type;

    if (left == 0 || bt_mqtt_frame(at, left, &len) != 0 || len > left)
        return 0;
    type = at[0] >> 4;
    memset(p, 0, sizeof(*p));
    if (bt_mqtt_decode(at, len, type == BT_MQTT_CONNECT ? 0 : sim.version, p) != 0)
        return 100 + type;
    sim.out_at += len;
    return type;
}
/* The stream opens and the login works; what the client says meanwhile is taken. */
static inline void sim_login(bool present)
{
    struct bt_mqtt_packet p;

    sim.conf.on_open(sim.conf.arg);
    (void)sim_take(&p);
    sim_connack(present, 0, NULL);
    (void)sim_take(&p);
    sim_suback(1);
}
/* The next event, or one whose `what` is 0. */
static inline const struct sim_event *sim_event(void)
{
    static const struct sim_event none;

    return sim.seen < sim.n_events ? &sim.events[sim.seen++ % SIM_EVENTS] : &none;
}

#endif
