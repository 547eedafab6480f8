/* The idea: a table of topics, each with its last value, and a small retained tree of
 * their messages beside the one of the clients (these are never stored). Refreshing fills
 * one array with all numbers, writes each as text, and replaces the message where the
 * text is new. The worker of a new subscription refreshes when the values are older than
 * a second; worker 0 does so by a timer while somebody subscribes, and publishes what
 * changed since it last did.
 *
 * Moving averages need no regular sampling: the time since the last refresh counts as one
 * stretch of its mean rate, which is exact for an exponential average of it. Failure:
 * out of memory leaves a topic at its old value. */
#include "hub/observe/sys.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/version.h"
#include "hub/observe/stats.h"
#include "hub/worker.h"

#define TOPIC_TEXT   128u
#define VALUE_TEXT   48u
#define N_PERIODS    3u
#define FIRST_TOPICS 256u /* the fixed ones are among them */
#define PERIOD_MS    60000.0

/* ---- The numbers ---- */

enum number {
    UPTIME,
    CLIENTS,
    CONNECTED,
    DISCONNECTED,
    MAXIMUM,
    EXPIRED,
    PACKETS_IN,
    PACKETS_OUT,
    STORED,
    STORED_BYTES,
    INFLIGHT,
    RECEIVED,
    SENT,
    DROPPED,
    PAYLOAD_IN,
    PAYLOAD_OUT,
    BYTES_IN,
    BYTES_OUT,
    SUBS,
    SHARED_SUBS,
    RETAINED,
    HEAP,
    HEAP_MAX,
    SOCKETS,
    CONNECTS,
    N_NUMBERS,
};

static const struct {
    const char *topic; /* below $SYS/broker/ */
    enum number number;
} rows[] = {
    { "clients/total", CLIENTS },
    { "clients/connected", CONNECTED },
    { "clients/active", CONNECTED },
    { "clients/disconnected", DISCONNECTED },
    { "clients/inactive", DISCONNECTED },
    { "clients/maximum", MAXIMUM },
    { "clients/expired", EXPIRED },
    { "messages/received", PACKETS_IN },
    { "messages/sent", PACKETS_OUT },
    { "messages/stored", STORED },
    { "messages/inflight", INFLIGHT },
    { "store/messages/count", STORED },
    { "store/messages/bytes", STORED_BYTES },
    { "publish/messages/received", RECEIVED },
    { "publish/messages/sent", SENT },
    { "publish/messages/dropped", DROPPED },
    { "publish/bytes/received", PAYLOAD_IN },
    { "publish/bytes/sent", PAYLOAD_OUT },
    { "bytes/received", BYTES_IN },
    { "bytes/sent", BYTES_OUT },
    { "subscriptions/count", SUBS },
    { "shared_subscriptions/count", SHARED_SUBS },
    { "retained messages/count", RETAINED },
    { "heap/current", HEAP },
    { "heap/maximum", HEAP_MAX },
};

static const struct {
    const char *topic; /* below $SYS/broker/load/ */
    enum number number;
} loads[] = {
    { "messages/received", PACKETS_IN }, { "messages/sent", PACKETS_OUT },
    { "publish/received", RECEIVED },    { "publish/sent", SENT },
    { "publish/dropped", DROPPED },      { "bytes/received", BYTES_IN },
    { "bytes/sent", BYTES_OUT },         { "sockets", SOCKETS },
    { "connections", CONNECTS },
};
static const struct {
    const char *name;
    double minutes;
} periods[N_PERIODS] = { { "1min", 1 }, { "5min", 5 }, { "15min", 15 } };

struct entry {
    const struct bt_metric *metric; /* NULL: of $SYS/broker/ */
    bool fresh;                     /* changed since the timer last published */
    char topic[TOPIC_TEXT], value[VALUE_TEXT];
};

#define N_FIXED (2 + BT_ARRAY_LEN(rows) + BT_ARRAY_LEN(loads) * N_PERIODS)
_Static_assert(N_FIXED <= FIRST_TOPICS, "see fixed()");

struct hub_sys {
    struct hub *hub;
    /* Any worker may refresh. Held while all values are written, which waits for nobody.
     */
    pthread_mutex_t lock;
    struct hub_retain *tree;
    struct entry *entries;
    uint32_t n, cap, next; /* next: where the walk over the metrics stands */
    uint64_t started_ms, refreshed_ms;
    int64_t last[N_NUMBERS]; /* at the last refresh */
    double average[BT_ARRAY_LEN(loads)][N_PERIODS];
    struct bt_timer timer; /* worker 0 */
    struct bt_msg wake;
    _Atomic bool waking;
    _Atomic int64_t n_subs;
};

static void take_numbers(struct hub_sys *sys, int64_t v[N_NUMBERS])
{
    struct hub_totals t;

    bt_metric_refresh();
    hub_totals(&t);
    v[UPTIME] = (int64_t)((bt_clock_ms() - sys->started_ms) / 1000);
    v[CONNECTED] = bt_metric_get(&hub_m_online);
    v[DISCONNECTED] = bt_metric_get(&hub_m_offline);
    v[CLIENTS] = v[CONNECTED] + v[DISCONNECTED];
    v[MAXIMUM] = bt_metric_get(&hub_m_online_max);
    v[EXPIRED] = bt_metric_get(&hub_m_expired);
    v[PACKETS_IN] = t.packets_in;
    v[PACKETS_OUT] = t.packets_out;
    v[RETAINED] = bt_metric_get(&hub_m_retained);
    v[STORED] = t.queued + v[RETAINED];
    v[STORED_BYTES] = bt_metric_get(&hub_m_retained_bytes);
    v[INFLIGHT] = t.inflight;
    v[RECEIVED] = t.received;
    v[SENT] = t.sent;
    v[DROPPED] = t.dropped;
    v[PAYLOAD_IN] = t.payload_in;
    v[PAYLOAD_OUT] = t.payload_out;
    v[BYTES_IN] = t.bytes_in;
    v[BYTES_OUT] = t.bytes_out;
    v[SUBS] = bt_metric_get(&hub_m_subs);
    v[SHARED_SUBS] = bt_metric_get(&hub_m_shared_subs);
    v[HEAP] = (int64_t)bt_sys_rss_bytes();
    v[HEAP_MAX] = BT_MAX(v[HEAP], sys->last[HEAP_MAX]);
    v[SOCKETS] = bt_metric_get(&hub_m_accepted);
    v[CONNECTS] = t.connects;
}

static void average(struct hub_sys *sys, const int64_t v[N_NUMBERS], uint64_t passed_ms)
{
    double minutes = (double)passed_ms / PERIOD_MS;

    for (size_t i = 0; i < BT_ARRAY_LEN(loads) && passed_ms > 0; i++) {
        enum number k = loads[i].number;
        double rate = (double)(v[k] - sys->last[k]) / minutes;

        for (size_t p = 0; p < N_PERIODS; p++) {
            double *a = &sys->average[i][p];

            *a = rate + exp(-minutes / periods[p].minutes) * (*a - rate);
        }
    }
}

/* ---- The topics ---- */

static struct entry *new_entry(struct hub_sys *sys)
{
    if (sys->n == sys->cap) {
        uint32_t cap = sys->cap == 0 ? FIRST_TOPICS : sys->cap * 2;
        struct entry *grown;

        if (cap > HUB_SYS_MAX_TOPICS)
            return NULL;
        grown = bt_realloc(sys->entries, cap * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        memset(grown + sys->cap, 0, (cap - sys->cap) * sizeof(*grown));
        sys->entries = grown;
        sys->cap = cap;
    }
    return &sys->entries[sys->n++];
}

/* The entry for the next topic of the walk, made when it is not there yet. */
static struct entry *entry_for(struct hub_sys *sys, const struct bt_metric *m)
{
    for (uint32_t i = 0; i < sys->n; i++) {
        uint32_t at = (sys->next + i) % sys->n;

        if (sys->entries[at].metric == m && m != NULL) {
            sys->next = at + 1;
            return &sys->entries[at];
        }
    }
    return new_entry(sys);
}

static void set_value(struct hub_sys *sys, struct entry *e, const char *value)
{
    const struct hub_pub pub = {
        .topic = { (const uint8_t *)e->topic, strlen(e->topic) },
        .payload = { (const uint8_t *)value, strlen(value) },
    };
    struct hub_msg *msg;

    if (strcmp(e->value, value) == 0)
        return;
    msg = hub_msg_new(&pub);
    if (msg != NULL && hub_retain_put(sys->tree, msg) == 0) {
        (void)snprintf(e->value, sizeof(e->value), "%s", value);
        e->fresh = true;
    }
    hub_msg_unref(msg);
}

/* baetyl_hub_messages_dropped_total{reason="expired"} becomes
 * $SYS/baetyl/hub/messages_dropped_total/expired. */
static bool metric_topic(const struct bt_metric *m, char out[TOPIC_TEXT])
{
    static const char prefix[] = "baetyl_";
    const char *name = m->name, *rest;
    size_t n;

    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return false;
    name += sizeof(prefix) - 1;
    rest = strchr(name, '_');
    if (rest == NULL)
        return false;
    n = (size_t)snprintf(out, TOPIC_TEXT, "$SYS/baetyl/%.*s/%s", (int)(rest - name), name,
                         rest + 1);
    for (const char *at = m->labels; at != NULL && n < TOPIC_TEXT;) {
        const char *from = strchr(at, '"'), *to;

        if (from == NULL)
            break;
        to = strchr(from + 1, '"');
        if (to == NULL)
            break;
        n += (size_t)snprintf(out + n, TOPIC_TEXT - n, "/%.*s", (int)(to - from - 1),
                              from + 1);
        at = to + 1;
    }
    return n < TOPIC_TEXT;
}

static void on_metric(void *arg, const struct bt_metric *m)
{
    struct hub_sys *sys = arg;
    struct entry *e;
    char value[BT_METRIC_VALUE_MAX];
    char topic[TOPIC_TEXT];

    if (m->kind == BT_HISTOGRAM || !metric_topic(m, topic))
        return;
    e = entry_for(sys, m);
    if (e == NULL)
        return;
    e->metric = m;
    memcpy(e->topic, topic, sizeof(topic));
    bt_metric_format(m, bt_metric_get(m), value);
    set_value(sys, e, value);
}

/* The fixed topics lie at the start of the table, in the order in which they are made;
 * there is room for all of them once there is for one. */
static struct entry *fixed(struct hub_sys *sys, uint32_t i, const char *below,
                           const char *name, const char *period)
{
    struct entry *e = i < sys->n ? &sys->entries[i] : new_entry(sys);

    if (e != NULL && e->topic[0] == '\0')
        (void)snprintf(e->topic, sizeof(e->topic), "$SYS/broker/%s%s%s", below, name,
                       period);
    return e;
}

static void set_broker(struct hub_sys *sys, const int64_t v[N_NUMBERS])
{
    char value[VALUE_TEXT], period[16];
    uint32_t i = 0;
    struct entry *e = fixed(sys, i++, "", "version", "");

    if (e != NULL)
        set_value(sys, e, "baetyl version " BT_VERSION);
    e = fixed(sys, i++, "", "uptime", "");
    (void)snprintf(value, sizeof(value), "%" PRId64 " seconds", v[UPTIME]);
    if (e != NULL)
        set_value(sys, e, value);
    for (size_t k = 0; k < BT_ARRAY_LEN(rows); k++) {
        e = fixed(sys, i++, "", rows[k].topic, "");
        (void)snprintf(value, sizeof(value), "%" PRId64, v[rows[k].number]);
        if (e != NULL)
            set_value(sys, e, value);
    }
    for (size_t k = 0; k < BT_ARRAY_LEN(loads) * N_PERIODS; k++) {
        size_t p = k % N_PERIODS, load = k / N_PERIODS;

        (void)snprintf(period, sizeof(period), "/%s", periods[p].name);
        e = fixed(sys, i++, "load/", loads[load].topic, period);
        (void)snprintf(value, sizeof(value), "%.2f", sys->average[load][p]);
        if (e != NULL)
            set_value(sys, e, value);
    }
}

/* With the lock. */
static void refresh(struct hub_sys *sys)
{
    int64_t v[N_NUMBERS] = { 0 };
    uint64_t now = bt_clock_ms();

    take_numbers(sys, v);
    average(sys, v, now - sys->refreshed_ms);
    sys->refreshed_ms = now;
    memcpy(sys->last, v, sizeof(v));
    set_broker(sys, v);
    sys->next = 0;
    bt_metric_each(on_metric, sys);
}

struct hub_retain *hub_sys_tree(struct hub_sys *sys)
{
    pthread_mutex_lock(&sys->lock);
    if (sys->n == 0 || bt_clock_ms() - sys->refreshed_ms >= HUB_SYS_FRESH_MS)
        refresh(sys);
    pthread_mutex_unlock(&sys->lock);
    return sys->tree;
}

/* ---- Updates ---- */

static void publish_one(struct hub_worker *w, const char *topic, const char *value)
{
    struct hub_pub pub = {
        .topic = { (const uint8_t *)topic, strlen(topic) },
        .payload = { (const uint8_t *)value, strlen(value) },
    };

    (void)hub_route(w, &pub, NULL);
    hub_pub_deinit(&pub);
}

/* Copies the next entry that changed; the lock is not held while it is routed, because
 * routing may end a session and so come back here. */
static bool next_changed(struct hub_sys *sys, uint32_t *at, struct entry *out)
{
    bool found = false;

    pthread_mutex_lock(&sys->lock);
    while (!found && *at < sys->n) {
        struct entry *e = &sys->entries[(*at)++];

        found = e->fresh;
        e->fresh = false;
        if (found)
            *out = *e;
    }
    pthread_mutex_unlock(&sys->lock);
    return found;
}

static void on_timer(struct bt_timer *t)
{
    struct hub_sys *sys = bt_container_of(t, struct hub_sys, timer);
    struct hub_worker *w = sys->hub->workers[0];
    struct entry e;
    uint32_t at = 0;

    if (atomic_load(&sys->n_subs) <= 0) {
        bt_timer_stop(w->loop, &sys->timer);
        return;
    }
    pthread_mutex_lock(&sys->lock);
    refresh(sys);
    pthread_mutex_unlock(&sys->lock);
    while (next_changed(sys, &at, &e))
        publish_one(w, e.topic, e.value);
}

void hub_sys_start(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_sys *sys = bt_container_of(msg, struct hub_sys, wake);
    uint64_t every = (uint64_t)sys->hub->conf->sys_interval;

    atomic_store(&sys->waking, false);
    if (every > 0 && !w->stopping && !bt_timer_active(&sys->timer))
        bt_timer_start(w->loop, &sys->timer, every, every);
}

void hub_sys_stop(struct hub_sys *sys, struct bt_loop *loop)
{
    if (sys != NULL)
        bt_timer_stop(loop, &sys->timer);
}

bool hub_sys_is(struct bt_slice filter)
{
    static const char share[] = "$share/", name[] = "$SYS";
    size_t n = sizeof(name) - 1;

    if (filter.len < n || filter.ptr[0] != '$')
        return false;
    if (filter.len > sizeof(share) - 1 &&
        memcmp(filter.ptr, share, sizeof(share) - 1) == 0) {
        const uint8_t *group = filter.ptr + sizeof(share) - 1;
        const uint8_t *end = memchr(group, '/', filter.len - (sizeof(share) - 1));

        if (end == NULL)
            return false;
        filter.len -= (size_t)(end + 1 - filter.ptr);
        filter.ptr = end + 1;
    }
    return filter.len >= n && memcmp(filter.ptr, name, n) == 0 &&
           (filter.len == n || filter.ptr[n] == '/');
}

void hub_sys_subscribed(struct hub_sys *sys, struct bt_slice filter, int n)
{
    if (sys == NULL || !hub_sys_is(filter))
        return;
    if (atomic_fetch_add(&sys->n_subs, n) + n > 0 && n > 0 &&
        !atomic_exchange(&sys->waking, true) &&
        bt_mbox_post(sys->hub->workers[0]->mbox, &sys->wake) != 0)
        atomic_store(&sys->waking, false);
}

struct hub_sys *hub_sys_new(struct hub *hub)
{
    struct hub_sys *sys = bt_calloc(1, sizeof(*sys));

    if (sys == NULL)
        return NULL;
    sys->tree = hub_retain_new();
    if (sys->tree == NULL || pthread_mutex_init(&sys->lock, NULL) != 0) {
        hub_retain_free(sys->tree);
        bt_free(sys);
        return NULL;
    }
    sys->hub = hub;
    sys->started_ms = sys->refreshed_ms = bt_clock_ms();
    sys->wake.kind = HUB_W_SYS;
    bt_timer_init(&sys->timer, on_timer);
    return sys;
}

void hub_sys_free(struct hub_sys *sys)
{
    if (sys == NULL)
        return;
    pthread_mutex_destroy(&sys->lock);
    hub_retain_free(sys->tree);
    bt_free(sys->entries);
    bt_free(sys);
}
