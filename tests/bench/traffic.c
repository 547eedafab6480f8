/* Publishers and subscribers in a closed loop, and an exact account of every message.
 *
 * A payload carries the run, the publisher, a sequence number and the time it left. A
 * publisher has at most `window` messages that not all receivers (and, at QoS 1 and 2,
 * the server) have answered, so that no server has a reason to drop: what is missing
 * at the end is lost. Numbers count inside the measured interval; loss and duplicates
 * over the whole run. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

#define IN_SIZE     (256u * 1024)
#define OUT_LIMIT   (128u * 1024)
#define MAX_WINDOW  1024u
#define DRAIN_NS    3000000000u
#define MIN_PAYLOAD 32u

struct shape {
    const char *name;
    unsigned publishers, subscribers;
    bool pairs; /* publisher i to subscriber i; else each to all */
    uint8_t qos;
    bool persistent;
    unsigned window;
    const char *topic, *filter; /* NULL: by number */
};

static const struct shape shapes[] = {
    { "fanin", 50, 1, false, 0, false, 16, "b/in", "b/in" },
    { "pairs", 50, 50, true, 0, false, 64, NULL, NULL },
    { "fanout", 1, 100, false, 0, false, 64, "b/out", "b/out" },
    { "q1clean", 50, 50, true, 1, false, 20, NULL, NULL },
    { "q1persist", 50, 50, true, 1, true, 20, NULL, NULL },
    { "q2clean", 50, 50, true, 2, false, 20, NULL, NULL },
    { "latency", 50, 50, true, 0, false, 1024, NULL, NULL },
    { "call", 1, 1, false, 0, false, 1, "t", "t/hello" },
};

struct stamp { /* head of a payload */
    uint32_t run, publisher;
    uint64_t seq, sent_ns;
};

struct flow {
    uint64_t sent, done;
    uint64_t due_ns; /* latency: when the next message leaves */
    char topic[CONN_TOPIC_LEN];
    uint16_t missing[MAX_WINDOW]; /* answers a message still waits for */
    uint64_t sent_ns[MAX_WINDOW]; /* call: when a message left */
};

struct traffic {
    struct shape shape;
    struct result *result;
    struct conn *conns; /* publishers, then subscribers */
    struct flow *flows;
    uint64_t *next; /* [subscriber][publisher]: first number not seen */
    unsigned n_conns, n_ready, answers;
    uint32_t run;
    int epoll;
    uint64_t interval_ns; /* latency: between two messages of a publisher; else 0 */
    bool measuring, sending, call;
    unsigned each; /* call: the last of so many messages has a result, for all of them */
    size_t payload;
};

static struct flow *flow_of(struct traffic *t, unsigned publisher)
{
    return &t->flows[publisher];
}

static void answered(struct traffic *t, struct flow *f, uint64_t seq)
{
    unsigned window = t->shape.window;

    if (seq < f->done || seq >= f->sent || f->missing[seq % window] == 0)
        return;
    f->missing[seq % window]--;
    while (f->done < f->sent && f->missing[f->done % window] == 0)
        f->done++;
}

static void count(struct traffic *t, uint64_t latency)
{
    if (!t->measuring)
        return;
    t->result->delivered++;
    hist_add(&t->result->latency, latency);
}

/* The function gives back the JSON it was called with, perhaps spaced in another way. */
static void on_reply(struct traffic *t, const uint8_t *payload, size_t len)
{
    struct flow *f = flow_of(t, 0);
    unsigned long long seq;
    char text[64];

    snprintf(text, sizeof(text), "%.*s", (int)(len < 63 ? len : 63),
             (const char *)payload);
    if (sscanf(text, "{ \"seq\" : %llu", &seq) != 1 || seq >= f->sent) {
        t->result->foreign++;
        return;
    }
    if (seq < f->done || f->missing[seq % t->shape.window] == 0) {
        t->result->duplicates++;
        return;
    }
    for (unsigned i = 0; i < t->each && i <= seq; i++) {
        count(t, clock_ns() - f->sent_ns[(seq - i) % t->shape.window]);
        answered(t, f, seq - i);
    }
}

static void on_publish(struct conn *c, const uint8_t *payload, size_t len, uint64_t now)
{
    struct traffic *t = c->arg;
    unsigned subscriber = c->index - t->shape.publishers;
    struct stamp s;
    uint64_t *next;

    if (t->call) {
        on_reply(t, payload, len);
        return;
    }
    if (len < sizeof(s)) {
        t->result->foreign++;
        return;
    }
    memcpy(&s, payload, sizeof(s));
    if (s.run != t->run || s.publisher >= t->shape.publishers) {
        t->result->foreign++;
        return;
    }
    next = &t->next[subscriber * t->shape.publishers + s.publisher];
    if (s.seq < *next) {
        t->result->duplicates++;
        return;
    }
    t->result->lost += s.seq - *next;
    *next = s.seq + 1;
    count(t, now > s.sent_ns ? now - s.sent_ns : 0);
    answered(t, flow_of(t, s.publisher), s.seq);
}

static void on_puback(struct conn *c, uint16_t pid)
{
    struct traffic *t = c->arg;
    struct flow *f = flow_of(t, c->index);
    uint64_t ahead = ((uint64_t)(pid - 1) + 65535 - f->done % 65535) % 65535;

    if (t->measuring)
        t->result->acked++;
    if (!t->call)
        answered(t, f, f->done + ahead);
}

static void on_ready(struct conn *c)
{
    ((struct traffic *)c->arg)->n_ready++;
}

static const struct conn_ops ops = { on_publish, on_puback, on_ready };

/* As long as the payload shall be, the text at the end filling it up. */
static size_t fill_json(const struct traffic *t, uint64_t seq, char *out)
{
    size_t n = (size_t)snprintf(out, t->payload + 1, "{\"seq\":%llu,\"text\":\"",
                                (unsigned long long)seq);

    if (n + 2 < t->payload) {
        memset(out + n, 'x', t->payload - n - 2);
        n = t->payload - 2;
    }
    memcpy(out + n, "\"}", 2);
    return n + 2;
}

static size_t fill(struct traffic *t, struct flow *f, unsigned publisher, uint8_t *out)
{
    struct stamp s = { t->run, publisher, f->sent, clock_ns() };

    if (t->call) {
        f->sent_ns[f->sent % t->shape.window] = s.sent_ns;
        return fill_json(t, f->sent, (char *)out);
    }
    memcpy(out, &s, sizeof(s));
    memset(out + sizeof(s), 'x', t->payload - sizeof(s));
    return t->payload;
}

static bool may_send(struct traffic *t, struct flow *f, uint64_t now)
{
    if (f->sent - f->done >= t->shape.window || now < f->due_ns)
        return false;
    f->due_ns += t->interval_ns;
    return true;
}

/* Publish as much as the window, and the pace, allow. */
static void pump(struct traffic *t, unsigned publisher, uint64_t now)
{
    struct flow *f = flow_of(t, publisher);
    struct conn *c = &t->conns[publisher];
    uint8_t payload[4096];

    while (c->out_len < OUT_LIMIT && may_send(t, f, now)) {
        size_t n = fill(t, f, publisher, payload);

        f->missing[f->sent % t->shape.window] = (uint16_t)t->answers;
        conn_publish(c, f->topic, t->shape.qos, (uint16_t)(f->sent % 65535 + 1), payload,
                     n);
        f->sent++;
        if (t->measuring)
            t->result->sent++;
    }
    conn_flush(c);
}

static void turn(struct traffic *t, int wait_ms)
{
    struct epoll_event events[256];
    /* Sleeping would add the generator's own wake-ups to the latency. */
    int n = epoll_wait(t->epoll, events, 256, t->interval_ns != 0 ? 0 : wait_ms);
    uint64_t now = clock_ns();

    if (n < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++)
        conn_event(events[i].data.ptr, events[i].events, now);
    for (unsigned i = 0; t->sending && i < t->shape.publishers; i++)
        pump(t, i, now);
}

static void run_for(struct traffic *t, double seconds)
{
    uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);

    while (clock_ns() < end)
        turn(t, 5);
}

static uint64_t outstanding(const struct traffic *t)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < t->shape.publishers; i++)
        n += t->flows[i].sent - t->flows[i].done;
    return n;
}

/* What was sent and has not arrived, once nothing moves any more. */
static void drain(struct traffic *t)
{
    uint64_t left = outstanding(t), since = clock_ns();
    struct result *r = t->result;

    while (left >= t->each && clock_ns() - since < DRAIN_NS) {
        turn(t, 20);
        if (outstanding(t) != left)
            since = clock_ns();
        left = outstanding(t);
    }
    if (t->call) {
        r->lost = left < t->each ? 0 : left;
        return;
    }
    for (unsigned s = 0; s < t->shape.subscribers; s++)
        for (unsigned p = 0; p < t->shape.publishers; p++)
            if (!t->shape.pairs || s == p)
                r->lost += t->flows[p].sent - t->next[s * t->shape.publishers + p];
}

static void prepare(struct traffic *t, const struct options *o, unsigned index)
{
    const struct shape *s = &t->shape;
    bool publisher = index < s->publishers;
    unsigned number = publisher ? index : index - s->publishers;
    struct conn *c = &t->conns[index];

    c->ops = &ops;
    c->arg = t;
    c->index = index;
    c->clean = !s->persistent;
    c->qos = s->qos;
    snprintf(c->client_id, sizeof(c->client_id), "b%x-%c%u", t->run,
             publisher ? 'p' : 's', number);
    if (publisher && s->topic != NULL)
        snprintf(t->flows[number].topic, CONN_TOPIC_LEN, "%s", s->topic);
    else if (publisher)
        snprintf(t->flows[number].topic, CONN_TOPIC_LEN, "%.16s/p/%u", o->prefix, number);
    else if (s->filter != NULL)
        snprintf(c->filter, sizeof(c->filter), "%s", s->filter);
    else
        snprintf(c->filter, sizeof(c->filter), "%.16s/p/%u", o->prefix, number);
    conn_open(c, t->epoll, o->port, IN_SIZE);
}

static void *need(size_t n, size_t size)
{
    void *p = calloc(n, size);

    if (p == NULL)
        die("out of memory");
    return p;
}

static void setup(struct traffic *t, const struct options *o)
{
    struct shape *s = &t->shape;
    uint64_t start = clock_ns();

    if (o->window != 0)
        s->window = o->window < MAX_WINDOW ? o->window : MAX_WINDOW;
    t->call = strcmp(s->name, "call") == 0;
    t->each = t->call && o->each > 1 ? o->each : 1;
    if (o->qos_given)
        s->qos = o->qos;
    t->payload = o->payload < MIN_PAYLOAD ? MIN_PAYLOAD : o->payload;
    if (t->payload > 4095)
        t->payload = 4095;
    t->answers = t->call ? 1 : (s->pairs ? 1 : s->subscribers) + (s->qos ? 1 : 0);
    t->run = (uint32_t)(start ^ (uint64_t)getpid() << 16);
    t->n_conns = s->publishers + s->subscribers;
    t->conns = need(t->n_conns, sizeof(*t->conns));
    t->flows = need(s->publishers, sizeof(*t->flows));
    t->next = need((size_t)s->publishers * s->subscribers, sizeof(*t->next));
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < t->n_conns; i++)
        prepare(t, o, i);
    while (t->n_ready < t->n_conns) {
        turn(t, 100);
        if (clock_ns() - start > 10 * 1000000000ull)
            die("only %u of %u connections are ready after 10 s", t->n_ready, t->n_conns);
    }
}

/* Publishers of the latency scenario take turns. */
static void set_pace(struct traffic *t, const struct options *o)
{
    unsigned rate = o->rate != 0 ? o->rate : 100, n = t->shape.publishers;

    if (strcmp(t->shape.name, "latency") != 0)
        return;
    t->interval_ns = 1000000000u / rate;
    for (unsigned i = 0; i < n; i++)
        t->flows[i].due_ns = clock_ns() + t->interval_ns * i / n;
}

int traffic_run(const struct options *o, struct result *r)
{
    struct traffic t = { .result = r };
    uint64_t start;
    size_t i;

    for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (strcmp(shapes[i].name, o->scenario) == 0)
            break;
    if (i == sizeof(shapes) / sizeof(shapes[0]))
        return 1;
    t.shape = shapes[i];
    setup(&t, o);
    set_pace(&t, o);
    t.sending = true;
    run_for(&t, o->warmup);
    proc_read(o->pid, &r->before);
    t.measuring = true;
    start = clock_ns();
    run_for(&t, o->seconds);
    t.measuring = false;
    r->seconds = (double)(clock_ns() - start) / 1e9;
    proc_read(o->pid, &r->after);
    t.sending = false;
    drain(&t);
    r->connections = t.n_conns;
    for (i = 0; i < t.n_conns; i++) {
        conn_close(&t.conns[i]);
        free(t.conns[i].in);
        free(t.conns[i].out);
    }
    free(t.conns);
    free(t.flows);
    free(t.next);
    close(t.epoll);
    return 0;
}
