/* The hub as a module: built on the main thread in the order of its parts, torn down in
 * reverse.
 *
 * Start: access rules, index, retained tree, store (which tells what was on disk),
 * workers, listeners; then the store's thread and the workers' threads. Stop: every
 * worker closes its connections and counts down; free() joins the workers, lets the store
 * commit the rest, and releases all. Failure modes: anything that fails during create is
 * undone by free(), which takes a half-built hub. */
#include "hub/hub.h"

#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/access/limit.h"
#include "hub/access/login.h"
#include "hub/hub_internal.h"
#include "hub/net/listener.h"
#include "hub/observe/query.h"
#include "hub/observe/stats.h"
#include "hub/observe/status.h"
#include "hub/observe/sys.h"
#include "hub/session/quota.h"
#include "hub/session/will.h"
#include "hub/settings.h"
#include "hub/store/store_old.h"
#include "hub/worker.h"

#define MAX_AUTO_WORKERS 4u
#define PUBLISH_HEAD_MAX \
    32u /* fixed header, packet identifier, properties the hub adds */

struct hub_worker *hub_home(const struct hub *hub, uint32_t id_hash)
{
    return hub->workers[id_hash % hub->n_workers];
}

size_t hub_max_payload(const struct hub *hub, size_t topic_len)
{
    size_t head = PUBLISH_HEAD_MAX + topic_len;

    return hub->conf->max_packet > head ? (size_t)hub->conf->max_packet - head : 0;
}

/* ---- What was on disk ---- */

struct loading {
    struct hub *hub;
    struct hub_session *last; /* subscriptions follow their session */
};

static int load_session(void *arg, uint64_t sid, const char *client_id,
                        const char *principal, uint32_t expiry_s, int64_t disconnected_ms,
                        uint64_t first_qseq, uint64_t last_qseq, uint64_t rows)
{
    struct loading *l = arg;
    struct bt_slice id = { (const uint8_t *)client_id, strlen(client_id) };
    struct hub_worker *home = hub_home(l->hub, hub_id_hash(id));
    struct hub_session *s;

    if (hub_worker_find(home, id) != NULL)
        return 0; /* the same client twice: no hub wrote that */
    s = hub_session_new(home, id, sid);
    if (s == NULL)
        return BT_ENOMEM;
    l->last = s;
    s->principal = hub_auth_find(l->hub->settings->auth, principal);
    s->persistent = s->stored = true;
    s->expiry_s = expiry_s;
    s->qseq = last_qseq;
    s->on_disk = rows > 0;
    s->disk_from = first_qseq;
    s->n_unsure = (uint16_t)BT_MIN(rows, l->hub->conf->max_inflight);
    if (expiry_s != UINT32_MAX) {
        int64_t since = disconnected_ms != 0 ? disconnected_ms : bt_clock_wall_ms();

        s->expires_ms = since + (int64_t)expiry_s * 1000;
    }
    return 0;
}

/* Its session, from any worker. */
static struct hub_session *loaded_session(const struct loading *l, uint64_t sid)
{
    struct hub_session *s = l->last;

    for (uint32_t i = 0; (s == NULL || s->sid != sid) && i < l->hub->n_workers; i++)
        s = hub_worker_find_sid(l->hub->workers[i], sid);
    return s;
}

static int load_incoming(void *arg, uint64_t sid, uint16_t pid)
{
    struct hub_session *s = loaded_session(arg, sid);

    return s == NULL || pid == 0 ? 0 : hub_session_incoming_restore(s, pid);
}

static int load_subscription(void *arg, uint64_t sid, const char *filter,
                             uint32_t options, uint32_t subid)
{
    struct loading *l = arg;
    struct bt_slice text = { (const uint8_t *)filter, strlen(filter) };
    struct hub_session *s = loaded_session(l, sid);
    int r;

    if (s == NULL)
        return 0;
    r = hub_session_restore(s, text, (uint8_t)options, subid);
    if (r == BT_ELIMIT)
        return 0; /* more than a session may have: no hub wrote that */
    if (r == 0 && !hub_session_may_subscribe(s, text)) {
        bt_log(BT_LOG_INFO, "HUB-NARROW", "a subscription is no longer permitted",
               "client=" BT_LOG_Q " filter=" BT_LOG_Q, s->id, filter);
        (void)hub_session_unsubscribe(s, text, NULL);
        s->recheck = true;
    }
    return r;
}

static int load_will(void *arg, uint64_t sid, struct hub_msg *msg, uint32_t delay_s,
                     uint32_t expiry_s)
{
    struct hub_session *s = loaded_session(arg, sid);

    if (s != NULL)
        return hub_will_restore(s, msg, delay_s, expiry_s);
    hub_msg_unref(msg);
    return 0;
}

static int load_retained(void *arg, struct hub_msg *msg)
{
    struct loading *l = arg;
    int r = hub_retain_put(l->hub->retain, msg);

    hub_msg_unref(msg);
    return r;
}

static int load(struct hub *hub)
{
    struct loading l = { .hub = hub };
    const struct hub_store_visitor v = { .arg = &l,
                                         .session = load_session,
                                         .subscription = load_subscription,
                                         .retained = load_retained,
                                         .will = load_will,
                                         .incoming = load_incoming };
    int r = hub_store_load(hub->store, &v);

    atomic_store(&hub->next_sid, hub_store_max_sid(hub->store));
    return r;
}

/* ---- Life cycle ---- */

static void hub_free(void *self);

static uint32_t worker_count(const struct hub_conf *conf)
{
    unsigned cpus = bt_sys_online_cpus();

    if (conf->workers != 0)
        return conf->workers;
    /* Half of the processors: the others are for the store, the functions and the kernel.
     */
    return BT_MAX(1, BT_MIN(MAX_AUTO_WORKERS, cpus / 2));
}

static int build(struct hub *hub)
{
    const struct hub_conf *conf = hub->conf;
    struct hub_store_opts store = {
        .dir = conf->storage_dir,
        .memory = conf->durability == HUB_DURABILITY_MEMORY,
        .interval_ms = (uint32_t)conf->commit_interval,
        .retention_ms = conf->retention,
        .clean_ms = (uint32_t)conf->cleanup_interval,
        .max_disk = conf->max_disk,
        .limits = { .messages = conf->max_session_messages,
                    .bytes = conf->max_session_bytes,
                    .drop_oldest = { true, conf->overflow_qos1 == HUB_OVERFLOW_OLDEST,
                                     conf->overflow_qos2 == HUB_OVERFLOW_OLDEST } },
        .super = hub->super,
    };
    int r;

    hub_quota_limit(conf->max_memory);
    hub->n_workers = worker_count(conf);
    hub_stats_register(hub->n_workers);
    hub_limits_register();
    r = hub_settings_new(conf, NULL, NULL, &hub->settings);
    if (r != 0)
        return r;
    hub->index = hub_index_new(hub->n_workers);
    hub->retain = hub_retain_new();
    hub->throttle = hub_throttle_new();
    hub->sys = hub_sys_new(hub);
    if (hub->index == NULL || hub->retain == NULL || hub->throttle == NULL ||
        hub->sys == NULL)
        return BT_ENOMEM;
    store.retain = hub->retain;
    hub_store_old_tell(conf->storage_dir);
    r = hub_store_open(&store, &hub->store);
    for (uint32_t i = 0; r == 0 && i < hub->n_workers; i++) {
        hub->workers[i] = hub_worker_new(hub, i);
        r = hub->workers[i] == NULL ? BT_ENOMEM : 0;
    }
    if (r == 0)
        r = load(hub);
    hub->certs = r == 0 ? hub_certs_new(hub->main_loop, conf->storage_dir) : NULL;
    if (r == 0 && hub->certs == NULL)
        return BT_ENOMEM;
    return r == 0 ? hub_listeners_open(hub) : r;
}

static int hub_create(const struct bt_module_env *env, void **out)
{
    struct hub *hub = bt_calloc(1, sizeof(*hub));
    int r;

    if (hub == NULL)
        return BT_ENOMEM;
    hub->conf = env->conf;
    hub->super = env->super;
    hub->main_loop = env->main_loop;
    hub->api = env->api;
    hub_reply_guards_init(&hub->reply_guards);
    r = build(hub);
    if (r == 0)
        r = hub_query_add(hub, hub->api);
    if (r != 0) {
        hub_free(hub);
        return r;
    }
    *out = hub;
    return 0;
}

/* Gauges that only somebody who reads them needs. */
static void refresh_gauges(void *arg)
{
    struct hub *hub = arg;

    bt_metric_set(&hub_m_retained, (int64_t)hub_retain_count(hub->retain));
    bt_metric_set(&hub_m_retained_bytes, (int64_t)hub_retain_bytes(hub->retain));
    for (uint32_t i = 0; i < hub->n_workers; i++) {
        const struct hub_worker *w = hub->workers[i];

        hub_stats_worker(i, w->running ? bt_sys_thread_cpu_us(w->thread) : 0,
                         bt_mbox_waiting(w->mbox));
    }
}

static int hub_start(void *self)
{
    struct hub *hub = self;
    int r = hub_store_start(hub->store);

    if (r != 0)
        return r;
    r = hub_settings_ready(hub, hub->settings);
    if (r != 0)
        return r;
    atomic_store(&hub->n_running, hub->n_workers);
    for (uint32_t i = 0; i < hub->n_workers && r == 0; i++) {
        hub_worker_need_tick(hub->workers[i]);
        r = hub_worker_start(hub->workers[i]);
    }
    hub->gauges = (struct bt_metric_source){ .fn = refresh_gauges, .arg = hub };
    bt_metric_source_add(&hub->gauges);
    if (r == 0 && hub->conf->status_logging) {
        hub->status = hub_status_new(hub->main_loop, hub->conf->status_interval);
        r = hub->status == NULL ? BT_ENOMEM : 0;
    }
    return r;
}

/* Clients wait in the backlog until the other modules' sessions are there: what the first
 * device publishes must find the rules that subscribe to it. */
static void hub_open(void *self)
{
    struct hub *hub = self;

    (void)!bt_mbox_post(hub->workers[0]->mbox, &hub->workers[0]->open_msg);
}

static void hub_stop(void *self)
{
    struct hub *hub = self;

    for (uint32_t i = 0; i < hub->n_workers; i++)
        (void)!bt_mbox_post(hub->workers[i]->mbox, &hub->workers[i]->stop_msg);
}

static void hub_free(void *self)
{
    struct hub *hub = self;

    bt_api_remove(hub->api, hub);
    bt_metric_source_remove(&hub->gauges);
    hub_status_free(hub->status);
    for (uint32_t i = 0; i < HUB_MAX_WORKERS; i++)
        if (hub->workers[i] != NULL)
            hub_worker_join(hub->workers[i]);
    hub_checker_stop(hub->checker);
    hub_store_stop(hub->store);
    for (uint32_t i = 0; i < HUB_MAX_WORKERS; i++)
        if (hub->workers[i] != NULL)
            hub_worker_close(hub->workers[i]);
    for (uint32_t i = 0; i < HUB_MAX_WORKERS; i++)
        hub_worker_free(hub->workers[i]);
    hub_listeners_free(hub);
    hub_certs_free(hub->certs);
    hub_index_free(hub->index);
    hub_retain_free(hub->retain);
    hub_sys_free(hub->sys);
    hub_settings_unref(hub->settings);
    hub_reply_guards_deinit(&hub->reply_guards);
    hub_throttle_free(hub->throttle);
    bt_free(hub);
}

const struct bt_module_ops hub_module = {
    .name = "hub",
    .help = "MQTT broker",
    .create = hub_create,
    .start = hub_start,
    .open = hub_open,
    .reload = hub_reload,
    .stop = hub_stop,
    .free = hub_free,
};
