/* Messages of one subscription through one function.
 *
 * Happy path: delivery -> job -> pool -> result -> publish -> acknowledge the delivery.
 * At QoS 1 the delivery is acknowledged only when the hub has the result safely
 * (on_published); with no result, or one at QoS 0, at once. The window of the session is
 * the number of instances and a few, so a slow function makes the hub keep the rest.
 * Failure modes: a failed call publishes the error message in place of the result, so a
 * bad message is never run again. A result that the hub would not take, because of its
 * size, becomes an error message. A result that the hub refuses leaves the delivery
 * unacknowledged. QoS 0 has no back-pressure: beyond the limits of waiting messages it is
 * dropped and counted. When the session is lost the jobs that run are orphans: they end,
 * and nothing of them is published; the hub delivers their messages again. */
#include "funcmgr/rule.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/message.h"
#include "funcmgr/stats.h"

#define REFUSED 0x80u

struct job {
    struct fm_call call;
    struct bt_list link; /* in the rule's jobs */
    struct fm_rule *rule;
    struct fm_delivery delivery; /* held: ours to acknowledge; otherwise an orphan */
    bool held;
    size_t n_bytes;
    bool publishing; /* waits for on_published */
    char uuid[FM_UUID_LEN + 1];
};

/* ---- The end of a job ---- */

static void close_link(struct fm_rule *rule)
{
    struct fm_link *link = bt_steal(rule->link);

    if (link != NULL)
        link->ops->close(link);
}

static void ack(struct fm_rule *rule, const struct fm_delivery *d, bool ok)
{
    rule->link->ops->ack(rule->link, d, ok);
}

static void check_drained(struct fm_rule *rule)
{
    if (!rule->closing || rule->closed || rule->n_jobs > 0)
        return;
    close_link(rule);
    rule->closed = true;
    bt_timer_stop(rule->loop, &rule->reopen_timer);
    rule->drained(rule->arg);
}

static void end_job(struct job *job, bool ok)
{
    struct fm_rule *rule = job->rule;

    if (job->held)
        ack(rule, &job->delivery, ok);
    bt_list_remove(&job->link);
    rule->n_jobs--;
    rule->n_bytes -= job->n_bytes;
    bt_free(job);
    check_drained(rule);
}

/* ---- Results ---- */

static void log_lost(const struct job *job, const char *reason)
{
    bt_log(BT_LOG_ERROR, "FUNC-RESULT", "a result could not be published",
           "function=%s topic=\"%s\" reason=\"%s\"", job->rule->conf->function,
           job->rule->conf->publish.topic, reason);
}

static void publish(struct job *job, struct bt_slice payload)
{
    struct fm_rule *rule = job->rule;
    uint8_t qos = (uint8_t)BT_MIN(job->delivery.qos, rule->conf->publish.qos);
    const struct fm_publish p = { .topic = rule->conf->publish.topic,
                                  .payload = payload,
                                  .qos = qos,
                                  .token = (uint64_t)(uintptr_t)job,
                                  .input =
                                      job->delivery.qos > 0 ? &job->delivery : NULL };
    int r;

    job->publishing = qos > 0;
    r = rule->link->ops->publish(rule->link, &p);
    if (r == 0 && qos > 0)
        return;
    job->publishing = false;
    if (r != 0)
        log_lost(job, bt_error_text(r));
    /* What the hub will never take must not come again; what it cannot take now must. */
    end_job(job, r == 0 || r == BT_ELIMIT || r == BT_EINVAL);
}

static size_t max_result(const struct fm_rule *rule)
{
    return rule->link->ops->max_payload(rule->link, strlen(rule->conf->publish.topic));
}

/* The result, or the error message in its place. */
static void publish_answer(struct job *job, const struct fm_result *result)
{
    struct fm_answer answer;
    int r = fm_answer_init(&answer, result, &job->call.message, max_result(job->rule));

    if (answer.error)
        bt_metric_add(&fm_stat_errors, 1);
    if (r != 0) {
        log_lost(job, bt_error_text(r));
        end_job(job, false);
    } else if (answer.payload.len == 0) {
        end_job(job, true);
    } else {
        publish(job, answer.payload);
    }
    fm_answer_deinit(&answer);
}

/* At QoS 0; it is not published what has become of it. */
static void count_dropped(const struct fm_rule *rule)
{
    bt_metric_add(&fm_stat_dropped, 1);
    bt_log(BT_LOG_WARN, "FUNC-DROPPED", "too many messages wait for a function",
           "function=%s waiting=%zu", rule->conf->function, rule->n_jobs);
}

static void on_done(struct fm_call *call, const struct fm_result *result)
{
    struct job *job = bt_container_of(call, struct job, call);

    bt_metric_add(&fm_stat_calls, 1);
    if (!job->held || result->outcome == FM_STOPPED) {
        end_job(job, false);
    } else if (result->outcome == FM_OVERLOADED) {
        count_dropped(job->rule);
        end_job(job, true);
    } else {
        publish_answer(job, result);
    }
}

static void on_published(void *arg, uint64_t token, unsigned reason)
{
    struct job *job = (struct job *)(uintptr_t)token;

    (void)arg;
    job->publishing = false;
    if (reason >= REFUSED)
        log_lost(job, "refused by the hub");
    end_job(job, reason < REFUSED);
}

/* ---- Deliveries ---- */

static bool is_full(const struct fm_rule *rule, const struct fm_delivery *d)
{
    return d->qos == 0 && (rule->n_jobs >= FM_RULE_MAX_JOBS ||
                           rule->n_bytes + d->payload.len > FM_RULE_MAX_BYTES);
}

static struct job *new_job(struct fm_rule *rule, const struct fm_delivery *d)
{
    struct job *job = bt_calloc(1, sizeof(*job));

    if (job == NULL)
        return NULL;
    job->rule = rule;
    job->delivery = *d;
    job->held = true;
    job->n_bytes = d->payload.len;
    fm_uuid(job->uuid);
    job->call.attempts = rule->conf->retry_max;
    job->call.done = on_done;
    job->call.patient = d->qos > 0;
    fm_message_of(&job->call.message, d, rule->conf->function, job->uuid);
    bt_list_push_back(&rule->jobs, &job->link);
    rule->n_jobs++;
    rule->n_bytes += job->n_bytes;
    return job;
}

static void on_message(void *arg, const struct fm_delivery *d)
{
    struct fm_rule *rule = arg;
    struct job *job;

    if (rule->closing) {
        ack(rule, d, false);
        return;
    }
    if (is_full(rule, d)) {
        count_dropped(rule);
        ack(rule, d, true);
        return;
    }
    job = new_job(rule, d);
    if (job == NULL)
        ack(rule, d, false);
    else
        fm_pool_call(rule->pool, &job->call);
}

/* ---- The session ---- */

static void reopen_later(struct fm_rule *rule)
{
    uint64_t max = (uint64_t)rule->hub_conf->interval;

    if (rule->closing)
        return;
    rule->pause = rule->pause == 0 ? FM_REOPEN_MIN_MS : rule->pause * 2;
    rule->pause = BT_MIN(rule->pause, max);
    bt_timer_start(rule->loop, &rule->reopen_timer, rule->pause, 0);
}

/* The payload goes with the delivery, so a job that goes on must not look at it. */
static void make_orphan(struct job *job)
{
    ack(job->rule, &job->delivery, false);
    job->held = false;
    job->call.message.topic = job->call.message.payload = (struct bt_slice){ NULL, 0 };
    fm_pool_cancel(job->rule->pool, &job->call);
}

static void close_session(struct fm_rule *rule)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &rule->jobs) {
        struct job *job = bt_list_entry(it, struct job, link);

        if (job->publishing)
            end_job(job, false);
        else if (job->held && job->call.in == NULL)
            fm_pool_cancel(rule->pool, &job->call);
        else if (job->held)
            make_orphan(job);
    }
    rule->ready = false;
    close_link(rule);
}

static void on_closed(void *arg, unsigned reason)
{
    struct fm_rule *rule = arg;

    bt_log(BT_LOG_WARN, "FUNC-SESSION", "a rule's session was closed",
           "function=%s client=\"%s\" reason=0x%02x", rule->conf->function,
           rule->conf->clientid != NULL ? rule->conf->clientid : "", reason);
    close_session(rule);
    reopen_later(rule);
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
        rule->pause = 0;
        bt_log(BT_LOG_INFO, "FUNC-RULE", "rule ready", "function=%s filter=\"%s\"",
               rule->conf->function, rule->conf->subscribe.topic);
        return;
    }
    bt_log(BT_LOG_ERROR, "FUNC-REFUSED", "the hub refused a rule's login or subscription",
           "function=%s filter=\"%s\" reason=0x%02x", rule->conf->function,
           rule->conf->subscribe.topic, reason);
    close_session(rule);
    reopen_later(rule);
}

static uint16_t window_of(const struct fm_function_conf *c)
{
    return (uint16_t)BT_MIN(c->max * c->concurrency + FM_RULE_QUEUE, FM_RULE_MAX_WINDOW);
}

static int open_session(struct fm_rule *rule)
{
    const char *id = rule->conf->clientid;
    struct fm_link_opts opts = { .hub = rule->hub, .conf = rule->hub_conf };
    char own[FM_UUID_LEN + 32];

    opts.clean = rule->hub_conf->cleansession;
    if (id == NULL || id[0] == '\0') {
        char uuid[FM_UUID_LEN + 1];

        fm_uuid(uuid);
        snprintf(own, sizeof(own), "rule-%u-%s", rule->number, uuid);
        id = own;
        opts.clean = true;
    }
    opts.client_id = id;
    opts.filter = rule->conf->subscribe.topic;
    opts.qos = (uint8_t)rule->conf->subscribe.qos;
    opts.window = window_of(rule->pool->conf);
    opts.loop = rule->loop;
    opts.arg = rule;
    opts.on_ready = on_ready;
    opts.on_message = on_message;
    opts.on_published = on_published;
    opts.on_closed = on_closed;
    return rule->link_ops->open(&opts, &rule->link);
}

void fm_rule_open(struct fm_rule *rule)
{
    int r = open_session(rule);

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

void fm_rule_init(struct fm_rule *rule, const struct fm_rule_conf *conf,
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
    bt_timer_init(&rule->reopen_timer, on_reopen);
}

void fm_rule_close(struct fm_rule *rule)
{
    rule->closing = true;
    bt_timer_stop(rule->loop, &rule->reopen_timer);
    check_drained(rule);
}

void fm_rule_abandon(struct fm_rule *rule)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &rule->jobs) {
        struct job *job = bt_list_entry(it, struct job, link);

        if (job->publishing)
            end_job(job, false);
    }
}
