/* The session of a rule.
 *
 * Happy path: a delivery becomes a job (funcmgr/rule/rule_job.c). The window of the
 * session is the number of calls that can run and a few, so a slow function makes the
 * broker keep the rest; it is wide when jobs may wait for a retry or for their turn, so
 * that these do not block the others. Failure modes: QoS 0 has no back-pressure: beyond
 * the limits of waiting messages it is dropped and counted. A session that is lost, or
 * refused, is opened again after a pause that doubles up to hub.interval. */
#include "funcmgr/rule/rule.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "funcmgr/rule/rule_job.h"
#include "funcmgr/stats.h"

#define REFUSED 0x80u

static void close_link(struct fm_rule *rule)
{
    struct fm_link *link = bt_steal(rule->link);

    rule->ready = rule->paused = false;
    if (link != NULL)
        link->ops->close(link);
}

/* QoS 0 messages wait at the broker, if the link lets them. Not with strict order: there
 * they may wait for a message whose acknowledgement is not read while the link is paused.
 */
static void pace(struct fm_rule *rule)
{
    bool full =
        rule->n_qos0 > FM_RULE_MAX_JOBS / 2 || rule->n_bytes > FM_RULE_MAX_BYTES / 2;
    bool low =
        rule->n_qos0 <= FM_RULE_MAX_JOBS / 4 && rule->n_bytes <= FM_RULE_MAX_BYTES / 4;

    bool strict = rule->pool->conf->order == FM_ORDER_STRICT;

    if (rule->link == NULL || rule->link->ops->pause == NULL ||
        (rule->paused ? !low && !strict : !full || strict))
        return;
    rule->paused = !rule->paused;
    rule->link->ops->pause(rule->link, rule->paused);
}

void fm_rule_check_drained(struct fm_rule *rule)
{
    pace(rule);
    if (!rule->closing || rule->closed || rule->n_jobs > 0)
        return;
    rule->closed = true;
    close_link(rule);
    bt_timer_stop(rule->loop, &rule->reopen_timer);
    fm_quiet_stop(&rule->dropped);
    fm_quiet_stop(&rule->lost);
    rule->drained(rule->arg);
}

/* ---- Deliveries ---- */

static void say_dropped(void *arg, uint64_t n)
{
    const struct fm_rule *rule = arg;

    bt_log(BT_LOG_WARN, "FUNC-DROPPED", "too many messages wait for a function",
           "function=%s waiting=%zu dropped=%llu", rule->conf->function, rule->n_jobs,
           (unsigned long long)n);
}

static void say_lost(void *arg, uint64_t n)
{
    const struct fm_rule *rule = arg;

    bt_log(BT_LOG_ERROR, "FUNC-RESULT", "a result could not be published",
           "function=%s topic=\"%s\" reason=\"%s\" times=%llu", rule->conf->function,
           rule->lost_topic, rule->lost_why, (unsigned long long)n);
}

static bool is_full(const struct fm_rule *rule, const struct fm_delivery *d)
{
    return d->qos == 0 && (rule->n_qos0 >= FM_RULE_MAX_JOBS ||
                           rule->n_bytes + d->payload.len > FM_RULE_MAX_BYTES);
}

void fm_rule_count_drop(struct fm_rule *rule)
{
    bt_metric_add(&rule->pool->stats->dropped, 1);
    fm_quiet_hit(&rule->dropped);
}

static void on_message(void *arg, const struct fm_delivery *d)
{
    struct fm_rule *rule = arg;

    if (rule->closing) {
        rule->link->ops->ack(rule->link, d, false);
        return;
    }
    if (rule->n_detached > 0 || d->dup) {
        if (fm_jobs_again(rule, d))
            return;
        if (rule->n_detached > 0 && d->qos > 0 && !d->dup && !rule->clean)
            fm_jobs_forget(rule);
    }
    if (is_full(rule, d)) {
        fm_rule_count_drop(rule);
        rule->link->ops->ack(rule->link, d, true);
        return;
    }
    fm_job_begin(rule, d);
    pace(rule);
}

static void on_resent(void *arg)
{
    struct fm_rule *rule = arg;

    if (rule->n_detached > 0 && !rule->clean)
        fm_jobs_forget(rule);
}

static void on_published(void *arg, uint64_t token, unsigned reason)
{
    (void)arg;
    fm_job_published((struct fm_job *)(uintptr_t)token, reason);
}

/* ---- The session ---- */

/* Half of it is chance: many that lost the same broker do not come back together. */
static uint64_t spread(uint64_t pause)
{
    uint32_t random = 0;

    if (bt_sys_random(&random, sizeof(random)) != 0)
        random = 0;
    return pause - pause / 2 + random % (pause / 2 + 1);
}

static void reopen_later(struct fm_rule *rule)
{
    uint64_t max = (uint64_t)rule->hub_conf->interval;

    if (rule->closing)
        return;
    rule->pause = rule->pause == 0 ? FM_REOPEN_MIN_MS : rule->pause * 2;
    rule->pause = BT_MIN(rule->pause, max);
    bt_timer_start(rule->loop, &rule->reopen_timer,
                   rule->remote != NULL ? spread(rule->pause) : rule->pause, 0);
}

static void on_closed(void *arg, unsigned reason)
{
    struct fm_rule *rule = arg;

    if ((reason & FM_LINK_LOGGED) == 0)
        bt_log(BT_LOG_WARN, "FUNC-SESSION", "a rule's session was closed",
               "function=%s client=\"%s\" reason=0x%02x", rule->conf->function,
               rule->conf->clientid != NULL ? rule->conf->clientid : "", reason);
    if (bt_clock_ms() - rule->ready_ms >= FM_REOPEN_STABLE_MS)
        rule->pause = 0;
    close_link(rule);
    fm_jobs_detach(rule);
    if (rule->closing)
        fm_jobs_close(rule); /* no session will take the results that wait for one */
    reopen_later(rule);
}

static void ask_limits(struct fm_rule *rule)
{
    const struct fm_rule_conf *c = rule->conf;
    size_t topic = strlen(c->publish.topic);

    if (c->deadletter.topic != NULL)
        topic = BT_MAX(topic, strlen(c->deadletter.topic));
    rule->max_result = rule->link->ops->max_payload(rule->link, topic);
}

static void tell_answered(struct fm_rule *rule)
{
    if (!rule->told && rule->answered != NULL)
        rule->answered(rule->arg);
    rule->told = true;
}

static void on_ready(void *arg, unsigned reason)
{
    struct fm_rule *rule = arg;

    tell_answered(rule);
    if (reason < REFUSED) {
        rule->ready = true;
        rule->ready_ms = bt_clock_ms();
        if (rule->remote == NULL)
            rule->pause = 0;
        rule->clean |= reason == FM_LINK_NEW_SESSION;
        ask_limits(rule); /* a broker elsewhere says them now */
        bt_log(BT_LOG_INFO, "FUNC-RULE", "rule ready", "function=%s filter=\"%s\"",
               rule->conf->function, rule->conf->subscribe.topic);
        fm_jobs_ready(rule);
        return;
    }
    if ((reason & FM_LINK_LOGGED) == 0)
        bt_log(BT_LOG_ERROR, "FUNC-REFUSED",
               "the hub refused a rule's login or subscription",
               "function=%s filter=\"%s\" reason=0x%02x", rule->conf->function,
               rule->conf->subscribe.topic, reason);
    close_link(rule);
    fm_jobs_detach(rule); /* a broker elsewhere may deliver before it answers */
    reopen_later(rule);
}

static uint16_t window(const struct fm_rule *rule)
{
    const struct fm_function_conf *f = rule->pool->conf;
    bool wide = f->order == FM_ORDER_STRICT || rule->conf->retry_delay > 0;

    return (uint16_t)BT_MIN(f->max * f->concurrency +
                                (wide ? FM_RULE_WIDE : FM_RULE_QUEUE),
                            FM_RULE_MAX_WINDOW);
}

static bool is_clean(const struct fm_rule *rule)
{
    const char *id = rule->conf->clientid;

    return rule->hub_conf->cleansession || id == NULL || id[0] == '\0';
}

static int open_session(struct fm_rule *rule)
{
    const char *id = rule->conf->clientid;
    struct fm_link_opts opts = { .hub = rule->hub,
                                 .remote = rule->remote,
                                 .conf = rule->hub_conf };
    char own[FM_UUID_LEN + 32];
    int r;

    rule->clean = is_clean(rule);
    if (id == NULL || id[0] == '\0') {
        char uuid[FM_UUID_LEN + 1];

        fm_uuid(uuid);
        snprintf(own, sizeof(own), "rule-%u-%s", rule->number, uuid);
        id = own;
    }
    opts.client_id = id;
    opts.clean = rule->clean;
    opts.filter = rule->conf->subscribe.topic;
    opts.qos = (uint8_t)rule->conf->subscribe.qos;
    opts.window = rule->window = window(rule);
    opts.loop = rule->loop;
    opts.arg = rule;
    opts.on_ready = on_ready;
    opts.on_message = on_message;
    opts.on_resent = on_resent;
    opts.on_published = on_published;
    opts.on_closed = on_closed;
    r = rule->link_ops->open(&opts, &rule->link);
    if (r == 0)
        ask_limits(rule);
    return r;
}

void fm_rule_open(struct fm_rule *rule)
{
    int r = open_session(rule);

    /* A broker elsewhere may be away for days: the start does not wait for it. */
    if (rule->remote != NULL)
        tell_answered(rule);
    if (r == 0)
        return;
    rule->link = NULL;
    bt_log(BT_LOG_ERROR, "FUNC-OPEN", "a rule's session could not be opened",
           "function=%s reason=\"%s\"", rule->conf->function, bt_error_text(r));
    tell_answered(rule);
    reopen_later(rule);
}

static void on_reopen(struct bt_timer *t)
{
    fm_rule_open(bt_container_of(t, struct fm_rule, reopen_timer));
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* A clean session is given up for nothing but another subscription or login: what waits
 * in it would be lost. */
static bool must_reopen(const struct fm_rule *rule, const struct fm_rule_conf *old)
{
    const struct fm_rule_conf *now = rule->conf;

    if (!same_text(old->subscribe.topic, now->subscribe.topic) ||
        old->subscribe.qos != now->subscribe.qos ||
        !same_text(old->hub->username, now->hub->username) ||
        !same_text(old->hub->password, now->hub->password) ||
        old->hub->cleansession != now->hub->cleansession)
        return true;
    return !is_clean(rule) && window(rule) != rule->window;
}

int fm_rule_reconfigure(struct fm_rule *rule, const struct fm_rule_conf *conf,
                        struct fm_pool *pool)
{
    const struct fm_rule_conf *old = rule->conf;
    bool strict = pool->conf->order == FM_ORDER_STRICT;
    int r = strict && rule->order.buckets == NULL ? fm_order_init(&rule->order) : 0;

    if (r != 0)
        return r;
    rule->order.off = !strict;
    rule->conf = conf;
    rule->hub_conf = conf->hub;
    rule->pool = pool;
    if (rule->link == NULL)
        return 0; /* it is opened later */
    pace(rule);
    ask_limits(rule);
    if (must_reopen(rule, old)) {
        close_link(rule);
        fm_jobs_detach(rule);
        fm_rule_open(rule);
    }
    return 0;
}

bool fm_rule_uses(const struct fm_rule *rule, const struct fm_pool *pool)
{
    const struct bt_list *it;

    if (rule->pool == pool && !rule->closed)
        return true;
    bt_list_for_each (it, &rule->jobs) {
        if (bt_list_entry(it, struct fm_job, link)->pool == pool)
            return true;
    }
    return false;
}

int fm_rule_init(struct fm_rule *rule, const struct fm_rule_conf *conf,
                 const struct fm_hub_conf *hub_conf, struct hub *hub,
                 struct bt_loop *loop, struct fm_pool *pool)
{
    *rule = (struct fm_rule){ .conf = conf,
                              .hub_conf = hub_conf,
                              .hub = hub,
                              .loop = loop,
                              .pool = pool,
                              .link_ops = &fm_link_hub_ops };
    bt_list_init(&rule->jobs);
    bt_list_init(&rule->turns);
    bt_timer_init(&rule->reopen_timer, on_reopen);
    fm_quiet_init(&rule->dropped, loop, say_dropped, rule);
    fm_quiet_init(&rule->lost, loop, say_lost, rule);
    return pool->conf->order == FM_ORDER_STRICT ? fm_order_init(&rule->order) : 0;
}

void fm_rule_deinit(struct fm_rule *rule)
{
    fm_order_deinit(&rule->order);
}

void fm_rule_close(struct fm_rule *rule)
{
    rule->closing = true;
    bt_timer_stop(rule->loop, &rule->reopen_timer);
    fm_jobs_close(rule);
    fm_rule_check_drained(rule);
}

void fm_rule_abandon(struct fm_rule *rule)
{
    fm_jobs_abandon(rule);
}
