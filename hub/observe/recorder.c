/* The idea: a hash table from client id to a ring of the last events, and a list of the
 * rings by last use. Rings outlive sessions, because the question is asked afterwards.
 *
 * Three weights: routine facts go into a ring that is there; minor ones also make one
 * while there is room; major ones take the room of the ring that was quiet the longest.
 * So ten thousand clients that come and go do not wipe out the one that lost a message.
 * Failure: out of memory records nothing. */
#include "hub/observe/recorder.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/route/hash.h"
#include "hub/worker.h"

#define BUCKETS 128u /* a power of two */

enum weight { ROUTINE, MINOR, MAJOR };

struct ring {
    struct ring *next;  /* in its bucket */
    struct bt_list lru; /* the first was quiet the longest */
    uint32_t hash;
    uint16_t id_len, cap;
    uint16_t n, at;          /* events held; where the next one goes */
    uint64_t trace_until_ms; /* 0: not traced */
    struct hub_event *events;
    uint8_t id[];
};

struct hub_recorder {
    struct ring *buckets[BUCKETS];
    struct bt_list lru;
    uint32_t n, n_traced;
    uint16_t stranger_n, stranger_at;
    struct hub_event *strangers;
};

static struct hub_recorder *recorder_of(struct hub_worker *w)
{
    struct hub_recorder *r = w->recorder;

    if (r == NULL && w->hub->conf->recorder_clients > 0) {
        r = w->recorder = bt_calloc(1, sizeof(*r));
        if (r != NULL)
            bt_list_init(&r->lru);
    }
    return r;
}

static struct ring *find(const struct hub_recorder *r, struct bt_slice id, uint32_t hash)
{
    struct ring *g = r->buckets[hash % BUCKETS];

    while (g != NULL &&
           (g->hash != hash || g->id_len != id.len || memcmp(g->id, id.ptr, id.len) != 0))
        g = g->next;
    return g;
}

static void drop_ring(struct hub_recorder *r, struct ring *g)
{
    struct ring **at = &r->buckets[g->hash % BUCKETS];

    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    bt_list_remove(&g->lru);
    r->n--;
    r->n_traced -= g->trace_until_ms != 0;
    bt_free(g->events);
    bt_free(g);
}

static struct ring *new_ring(struct hub_recorder *r, struct bt_slice id, uint32_t hash)
{
    struct ring *g = bt_calloc(1, sizeof(*g) + id.len);

    if (g == NULL)
        return NULL;
    g->events = bt_calloc(HUB_RING_EVENTS, sizeof(*g->events));
    if (g->events == NULL) {
        bt_free(g);
        return NULL;
    }
    g->cap = HUB_RING_EVENTS;
    g->hash = hash;
    g->id_len = (uint16_t)id.len;
    memcpy(g->id, id.ptr, id.len);
    g->next = r->buckets[hash % BUCKETS];
    r->buckets[hash % BUCKETS] = g;
    bt_list_push_back(&r->lru, &g->lru);
    r->n++;
    return g;
}

/* The ring to record into, or NULL: not worth it. */
static struct ring *ring_for(struct hub_worker *w, struct bt_slice id, uint32_t hash,
                             enum weight weight)
{
    struct hub_recorder *r = weight == ROUTINE ? w->recorder : recorder_of(w);
    uint32_t room = BT_MAX(w->hub->conf->recorder_clients / w->hub->n_workers, 1);
    struct ring *g;

    if (r == NULL || id.len == 0 || id.len > HUB_MAX_CLIENT_ID)
        return NULL;
    g = find(r, id, hash);
    if (g != NULL || weight == ROUTINE || (weight == MINOR && r->n >= room))
        return g;
    while (r->n >= room)
        drop_ring(r, bt_list_entry(bt_list_first(&r->lru), struct ring, lru));
    return new_ring(r, id, hash);
}

static uint32_t text_hash(struct bt_slice text)
{
    return text.len == 0 ? 0 : (uint32_t)hub_hash(text.ptr, text.len, 0);
}

static void put(struct hub_event *events, uint16_t cap, uint16_t *n, uint16_t *at,
                const struct hub_event *e)
{
    struct hub_event *last = &events[(*at + cap - 1) % cap];

    if (*n > 0 && last->kind == e->kind && last->why == e->why && last->hash == e->hash &&
        last->n == e->n && last->text_len == e->text_len) {
        last->times += last->times < UINT32_MAX;
        last->when_ms = e->when_ms;
        return;
    }
    events[*at] = *e;
    *at = (uint16_t)((*at + 1) % cap);
    *n = (uint16_t)BT_MIN(*n + 1u, cap);
}

static struct hub_event make_event(const struct hub_worker *w, const struct hub_fact *f)
{
    struct hub_event e = {
        .when_ms = bt_loop_ms(w->loop),
        .times = 1,
        .hash = text_hash(f->text),
        .n = f->n,
        .text_len = (uint16_t)BT_MIN(f->text.len, UINT16_MAX),
        .kind = (uint8_t)f->kind,
        .why = f->why,
    };

    if (f->text.len > 0)
        memcpy(e.text, f->text.ptr, BT_MIN(f->text.len, sizeof(e.text)));
    return e;
}

static enum weight weigh(const struct hub_fact *f)
{
    static const uint8_t weights[HUB_N_EVENTS] = {
        [HUB_EV_LOGIN_REFUSED] = MAJOR, [HUB_EV_SUB_REFUSED] = MAJOR,
        [HUB_EV_PUB_REFUSED] = MAJOR,   [HUB_EV_DROPPED] = MAJOR,
        [HUB_EV_NOBODY] = MINOR,        [HUB_EV_ON_DISK] = MINOR,
        [HUB_EV_NO_LOCAL] = MINOR,      [HUB_EV_DISCONNECTED] = MINOR,
        [HUB_EV_LIMITED] = MAJOR,
    };

    if (f->kind == HUB_EV_DISCONNECTED && f->n != HUB_END_DISCONNECT)
        return MAJOR;
    return (enum weight)weights[f->kind];
}

static void end_trace(struct hub_worker *w, struct ring *g)
{
    struct hub_session *s = hub_worker_find(w, (struct bt_slice){ g->id, g->id_len });

    if (g->trace_until_ms != 0)
        w->recorder->n_traced--;
    g->trace_until_ms = 0;
    if (s != NULL)
        s->traced = false;
}

static void record(struct hub_worker *w, struct bt_slice id, uint32_t hash,
                   const struct hub_fact *f)
{
    struct ring *g = ring_for(w, id, hash, weigh(f));
    struct hub_event e;

    if (g == NULL)
        return;
    e = make_event(w, f);
    if (g->trace_until_ms != 0 && e.when_ms >= g->trace_until_ms)
        end_trace(w, g);
    put(g->events, g->cap, &g->n, &g->at, &e);
    bt_list_remove(&g->lru);
    bt_list_push_back(&w->recorder->lru, &g->lru);
}

static struct bt_slice id_of(const struct hub_session *s)
{
    return (struct bt_slice){ (const uint8_t *)s->id, s->id_len };
}

void hub_record(struct hub_session *s, const struct hub_fact *f)
{
    record(s->worker, id_of(s), s->hash, f);
}

void hub_record_text(struct hub_session *s, enum hub_event_kind kind, uint32_t n,
                     struct bt_slice text)
{
    hub_record(s, &(struct hub_fact){ .kind = kind, .n = n, .text = text });
}

void hub_record_id(struct hub_worker *w, struct bt_slice id, const struct hub_fact *f)
{
    record(w, id, hub_id_hash(id), f);
}

void hub_recorder_free(struct hub_recorder *r)
{
    if (r == NULL)
        return;
    while (bt_list_first(&r->lru) != NULL)
        drop_ring(r, bt_list_entry(bt_list_first(&r->lru), struct ring, lru));
    bt_free(r->strangers);
    bt_free(r);
}

/* ---- Counted and recorded ---- */

void hub_drop(struct hub_session *s, struct bt_slice topic, enum hub_drop why)
{
    const struct hub_fact f = { HUB_EV_DROPPED, (uint8_t)why, 0, topic };

    /* The hub's own values are not messages that anybody misses. */
    if (topic.len > 0 && topic.ptr[0] == '$')
        return;
    hub_count_drop(&s->worker->counts, why, 1);
    hub_record(s, &f);
}

void hub_drop_all(struct hub_worker *w, struct bt_slice topic, enum hub_drop why)
{
    if (topic.len == 0 || topic.ptr[0] != '$')
        hub_count_drop(&w->counts, why, 1);
}

/* The last topic stands for all. */
void hub_drop_rest(struct hub_session *s)
{
    const struct hub_msg *last = NULL;
    uint32_t n = 0;

    for (const struct hub_qentry *e = s->head; e != NULL; e = e->next)
        if (e->phase == HUB_Q_PUBLISH && e->msg != NULL) {
            last = e->msg;
            n++;
        }
    if (last == NULL)
        return;
    hub_drop(s, hub_msg_topic(last), HUB_DROP_SESSION_ENDED);
    hub_count_drop(&s->worker->counts, HUB_DROP_SESSION_ENDED, n - 1);
}

void hub_refused(struct hub_session *s, enum hub_refusal what, struct bt_slice text,
                 uint8_t reason)
{
    const struct hub_fact f = {
        what == HUB_REFUSED_PUBLISH ? HUB_EV_PUB_REFUSED : HUB_EV_SUB_REFUSED,
        reason,
        0,
        text,
    };

    hub_count_refusal(what, reason);
    hub_record(s, &f);
}

/* A client that is known keeps it in its ring; the others share one, so that a flood of
 * made-up identifiers displaces nobody. */
void hub_refused_login(struct hub_worker *w, struct bt_slice id, uint8_t reason)
{
    const struct hub_fact f = { HUB_EV_LOGIN_REFUSED, reason, 0, id };
    struct hub_recorder *r = recorder_of(w);
    struct hub_event e;

    hub_count_refusal(HUB_REFUSED_CONNECT, reason);
    if (r == NULL)
        return;
    if (id.len > 0 &&
        (find(r, id, hub_id_hash(id)) != NULL || hub_worker_find(w, id) != NULL)) {
        hub_record_id(w, id, &f);
        return;
    }
    if (r->strangers == NULL)
        r->strangers = bt_calloc(HUB_RING_STRANGERS, sizeof(*r->strangers));
    if (r->strangers == NULL)
        return;
    e = make_event(w, &f);
    put(r->strangers, HUB_RING_STRANGERS, &r->stranger_n, &r->stranger_at, &e);
}

/* ---- Tracing ---- */

/* The same events in a larger ring. */
static int widen(struct ring *g)
{
    struct hub_event *events;
    uint16_t first = (uint16_t)((g->at + g->cap - g->n) % g->cap);

    if (g->cap == HUB_RING_TRACED)
        return 0;
    events = bt_calloc(HUB_RING_TRACED, sizeof(*events));
    if (events == NULL)
        return BT_ENOMEM;
    for (uint16_t i = 0; i < g->n; i++)
        events[i] = g->events[(first + i) % g->cap];
    bt_free(g->events);
    g->events = events;
    g->cap = HUB_RING_TRACED;
    g->at = g->n;
    return 0;
}

int hub_recorder_trace(struct hub_session *s, uint32_t seconds)
{
    struct hub_worker *w = s->worker;
    struct ring *g = ring_for(w, id_of(s), s->hash, MAJOR);

    if (g == NULL)
        return w->hub->conf->recorder_clients == 0 ? BT_ELIMIT : BT_ENOMEM;
    if (seconds == 0) {
        end_trace(w, g);
        return 0;
    }
    if (g->trace_until_ms == 0 && w->recorder->n_traced >= HUB_MAX_TRACED)
        return BT_ELIMIT;
    if (widen(g) != 0)
        return BT_ENOMEM;
    w->recorder->n_traced += g->trace_until_ms == 0;
    g->trace_until_ms =
        bt_loop_ms(w->loop) + (uint64_t)BT_MIN(seconds, HUB_MAX_TRACE_S) * 1000;
    s->traced = true;
    return 0;
}

void hub_recorder_attach(struct hub_session *s)
{
    const struct ring *g;

    if (s->worker->recorder == NULL || s->worker->recorder->n_traced == 0)
        return;
    g = find(s->worker->recorder, id_of(s), s->hash);
    s->traced = g != NULL && g->trace_until_ms > bt_loop_ms(s->worker->loop);
}

/* ---- Reading ---- */

static bool about(const struct hub_event *e, struct bt_slice text, uint32_t hash)
{
    return e->text_len == text.len && e->hash == hash &&
           memcmp(e->text, text.ptr, BT_MIN(text.len, sizeof(e->text))) == 0;
}

void hub_recorder_each(struct hub_worker *w, struct bt_slice id, struct bt_slice topic,
                       void (*fn)(void *arg, const struct hub_event *e), void *arg)
{
    const struct hub_recorder *r = w->recorder;
    const struct ring *g;
    uint32_t hash = text_hash(topic), id_hash = text_hash(id);

    if (r == NULL || id.len == 0)
        return;
    for (uint16_t i = 0; i < r->stranger_n; i++) {
        const struct hub_event *e =
            &r->strangers[(r->stranger_at + HUB_RING_STRANGERS - r->stranger_n + i) %
                          HUB_RING_STRANGERS];

        if (about(e, id, id_hash))
            fn(arg, e);
    }
    g = find(r, id, hub_id_hash(id));
    for (uint16_t i = 0; g != NULL && i < g->n; i++) {
        const struct hub_event *e = &g->events[(g->at + g->cap - g->n + i) % g->cap];

        if (topic.len == 0 || e->text_len == 0 || about(e, topic, hash) ||
            e->kind == HUB_EV_LOGIN_REFUSED)
            fn(arg, e);
    }
}

void hub_recorder_each_topic(struct hub_worker *w, struct bt_slice topic,
                             void (*fn)(void *arg, struct bt_slice id,
                                        const struct hub_event *e),
                             void *arg)
{
    const struct hub_recorder *r = w->recorder;
    uint32_t hash = text_hash(topic);
    struct bt_list *it;

    if (r == NULL || topic.len == 0)
        return;
    bt_list_for_each (it, &r->lru) {
        const struct ring *g = bt_list_entry(it, struct ring, lru);

        for (uint16_t i = 0; i < g->n; i++) {
            const struct hub_event *e = &g->events[(g->at + g->cap - g->n + i) % g->cap];

            if (about(e, topic, hash))
                fn(arg, (struct bt_slice){ g->id, g->id_len }, e);
        }
    }
}
