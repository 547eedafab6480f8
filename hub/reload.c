/* Reload. The new configuration was checked whole before it comes here. The main thread
 * builds the new settings and one message for each worker; only then anything changes,
 * and nothing can fail any more. Each worker swaps its settings between two loop turns
 * and goes through its sessions once; until then it serves by the old ones. The last
 * worker that lets go of the old settings frees them.
 *
 * What cannot change while the hub runs is named in the log with "needs a restart".
 * Failure modes: out of memory before the swap: the old configuration stays, logged. */
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/access/check.h"
#include "hub/access/limit.h"
#include "hub/net/certs.h"
#include "hub/net/conn.h"
#include "hub/net/listener.h"
#include "hub/observe/recorder.h"
#include "hub/session/quota.h"
#include "hub/session/will.h"
#include "hub/settings.h"
#include "hub/worker.h"

struct message {
    struct bt_msg msg;
    struct hub_settings *settings; /* one reference */
};

int hub_settings_new(const struct hub_conf *conf, struct bt_conf_ctx *owner,
                     const struct hub_settings *before, struct hub_settings **out)
{
    struct hub_settings *s = bt_calloc(1, sizeof(*s));
    int r;

    *out = NULL;
    if (s == NULL)
        return BT_ENOMEM;
    r = hub_auth_new(conf, hub_listeners_loopback(conf),
                     before == NULL ? NULL : before->auth, &s->auth);
    if (r != 0) {
        bt_free(s);
        return r;
    }
    atomic_init(&s->refs, 1);
    s->conf = conf;
    s->owner = owner == NULL ? NULL : bt_conf_ref(owner);
    *out = s;
    return 0;
}

struct hub_settings *hub_settings_ref(struct hub_settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void hub_settings_unref(struct hub_settings *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    hub_auth_free(s->auth);
    bt_conf_free(s->owner);
    bt_free(s);
}

/* ---- Main thread ---- */

int hub_settings_ready(struct hub *hub, const struct hub_settings *s)
{
    hub_quota_inflight(s->conf->max_inflight);
    if (hub->checker != NULL || !hub_auth_has_hashes(s->auth))
        return 0;
    return hub_checker_start(&hub->checker);
}

static void tell_change(void *arg, const char *key, const struct bt_conf_row *row)
{
    (void)arg;
    if ((row->flags & BT_CONF_RELOAD) == 0)
        bt_log(BT_LOG_WARN, "HUB-RESTART", "a changed key needs a restart", "key=hub.%s",
               key);
}

static void discard(struct message **messages, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        bt_free(messages[i]);
}

int hub_reload(void *self, const void *new_conf, struct bt_conf_ctx *owner)
{
    const struct bt_conf_diff changes = { .fn = tell_change };
    struct message *messages[HUB_MAX_WORKERS];
    struct hub *hub = self;
    struct hub_settings *s;
    uint32_t n = 0;
    int r = hub_settings_new(new_conf, owner, hub->settings, &s);

    if (r == 0)
        r = hub_settings_ready(hub, s);
    while (r == 0 && n < hub->n_workers) {
        messages[n] = bt_calloc(1, sizeof(*messages[n]));
        if (messages[n] == NULL)
            r = BT_ENOMEM;
        else
            n++;
    }
    if (r != 0) {
        hub_settings_unref(s);
        discard(messages, n);
        return bt_origin(r, "cannot take over the new configuration");
    }
    bt_conf_each_change(&hub_conf_table, hub->conf, new_conf, &changes);
    for (uint32_t i = 0; i < n; i++) {
        messages[i]->msg.kind = HUB_W_SETTINGS;
        messages[i]->settings = hub_settings_ref(s);
        if (bt_mbox_post(hub->workers[i]->mbox, &messages[i]->msg) != 0) {
            hub_settings_unref(s); /* the hub is stopping */
            bt_free(messages[i]);
        }
    }
    hub_settings_unref(hub->settings);
    hub->settings = s;
    if (hub->certs != NULL)
        hub_certs_reload(hub->certs);
    return 0;
}

/* ---- A worker ---- */

/* Subscriptions that the principal may no longer have. */
static void narrow(struct hub_session *s)
{
    struct hub_filter *f = s->filters, *next;

    for (; f != NULL; f = next) {
        struct bt_slice text = { (const uint8_t *)f->text, f->len };

        next = f->next;
        if (hub_session_may_subscribe(s, text))
            continue;
        bt_log(BT_LOG_INFO, "HUB-NARROW", "a subscription is no longer permitted",
               "client=" BT_LOG_Q " filter=" BT_LOG_Q, s->id, f->text);
        hub_record(s, &(struct hub_fact){ HUB_EV_SUB_REFUSED,
                                          .why = BT_MQTT_NOT_AUTHORIZED, .text = text });
        (void)hub_session_unsubscribe(s, text, NULL);
        s->recheck = true; /* what waits was let in by other rules */
    }
}

static bool anonymous_ok(const struct hub_session *s)
{
    struct hub_login in = { .anonymous = HUB_ANONYMOUS_BY_CONF };
    const struct hub_principal *p;
    const struct bt_password *work;

    if (s->link->ops == &hub_conn_link_ops)
        in.anonymous =
            bt_container_of(s->link, struct hub_conn, link)->listener->anonymous;

    return hub_auth_login(s->worker->settings->auth, &in, &p, &work) == 0;
}

static bool still_logged_in(const struct hub_session *s, const struct hub_principal *is)
{
    return hub_principal_same_login(s->principal, is) &&
           (hub_principal_name(is)[0] != '\0' || anonymous_ok(s));
}

/* A will that may not be published any more must not come of the disconnection. */
static void check_will(struct hub_session *s, const struct hub_principal *is)
{
    if (s->will != NULL &&
        !hub_principal_may_publish(is, hub_session_id(s), hub_msg_topic(s->will->msg)))
        hub_will_cancel(s);
}

static void apply(struct hub_worker *w, struct hub_session *s)
{
    const struct hub_principal *is =
        hub_auth_find(w->settings->auth, hub_principal_name(s->principal));
    uint64_t sid = s->sid;
    uint32_t most;

    check_will(s, is);
    if (s->link != NULL && !still_logged_in(s, is)) {
        bt_log(BT_LOG_INFO, "HUB-REVOKED", "the login is no longer valid",
               "client=" BT_LOG_Q, s->id);
        s->link->ops->close(s->link, BT_MQTT_ADMIN);
        s = hub_worker_find_sid(w, sid); /* a clean session ended with its link */
        if (s == NULL)
            return;
    }
    s->principal = is;
    most = hub_principal_limits(is)->inflight;
    if (most != 0)
        s->window = (uint16_t)BT_MIN(s->window, most);
    narrow(s);
}

void hub_worker_settings(struct hub_worker *w, struct bt_msg *msg)
{
    struct message *m = bt_container_of(msg, struct message, msg);
    struct hub_settings *old = w->settings;
    struct bt_list *it, *tmp;

    w->settings = m->settings;
    w->conf = w->settings->conf;
    bt_free(m);
    for (uint32_t i = 0; i < w->sessions.cap; i++) {
        struct hub_session *s = w->sessions.by_id[i], *next;

        for (; s != NULL; s = next) {
            next = s->next_by_id;
            if (s->principal != NULL)
                apply(w, s);
        }
    }
    bt_list_for_each_safe (it, tmp, &w->conns)
        hub_meter_reload(bt_list_entry(it, struct hub_conn, all));
    hub_settings_unref(old);
}
