/* The way of one message through the function.
 *
 * Happy path: delivery -> its turn -> pool -> result -> publish -> acknowledge the
 * delivery. At QoS 1 and 2 the delivery is acknowledged only when the broker has the
 * result safely; with no result, or one at QoS 0, at once.
 * Failure modes: a call that failed is made again as the rule says, after a pause that
 * blocks nobody but, in strict order, the job's own topic. In the end the error message
 * is published in place of the result, or as a dead letter, so a bad message is not run
 * again. A result that the broker would not take because of its size becomes an error
 * message. One that it refuses is published again, after pauses: the input stays
 * unacknowledged, and the window stops the rule. When the session is lost the job goes on
 * (funcmgr/rule/rule_again.c). */
#include "funcmgr/rule/rule_job.h"

#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "funcmgr/stats.h"

#define REFUSED 0x80u

static void give(struct fm_job *job);

/* ---- Beginning and end ---- */

static const struct fm_delivery *present(const struct fm_job *job)
{
    return job->has_again ? &job->again : &job->delivery;
}

static void call(struct fm_job *job)
{
    job->state = FM_JOB_CALLING;
    job->pool = job->rule->pool;
    fm_pool_call(job->pool, &job->call);
}

/* A loop, because a call may end at once and make it another one's turn. */
static void run_turns(struct fm_rule *rule)
{
    struct bt_list *node;

    if (rule->held)
        return;
    rule->held = true;
    while ((node = bt_list_first(&rule->turns)) != NULL) {
        bt_list_remove(node);
        call(bt_list_entry(node, struct fm_job, go));
    }
    rule->held = false;
}

static void hold_turns(struct fm_rule *rule)
{
    rule->held = true;
}

static void release_turns(struct fm_rule *rule)
{
    rule->held = false;
    run_turns(rule);
}

static void free_delivery(struct fm_job *job, bool ok)
{
    struct fm_rule *rule = job->rule;

    if (job->attached)
        rule->link->ops->ack(rule->link, present(job), ok);
    if (!job->attached || job->has_again)
        rule->link_ops->drop(&job->delivery);
    if (!job->attached && job->delivery.qos > 0)
        rule->n_detached--;
}

static void end(struct fm_job *job, bool ok)
{
    struct fm_rule *rule = job->rule;
    struct fm_turn *next = fm_order_leave(&rule->order, &job->turn);

    if (next != NULL)
        bt_list_push_back(&rule->turns, &bt_container_of(next, struct fm_job, turn)->go);
    free_delivery(job, ok);
    bt_timer_stop(rule->loop, &job->timer);
    bt_list_remove(&job->link);
    bt_list_remove(&job->go);
    rule->n_jobs--;
    if (job->delivery.qos == 0) {
        rule->n_qos0--;
        rule->n_bytes -= job->delivery.payload.len;
    }
    bt_buf_deinit(&job->answer);
    bt_free(job);
    run_turns(rule);
    fm_rule_check_drained(rule);
}

/* A pause that doubles from `first`, up to `most`. */
static void pause_job(struct fm_job *job, int64_t first, int64_t most)
{
    job->pause = job->pause == 0 ? (uint64_t)first : job->pause * 2;
    job->pause = BT_MIN(job->pause, (uint64_t)most);
    job->state = FM_JOB_PAUSED;
    bt_timer_start(job->rule->loop, &job->timer, job->pause, 0);
}

/* ---- Publishing ---- */

static const struct fm_topic_conf *target(const struct fm_job *job)
{
    const struct fm_rule_conf *conf = job->rule->conf;

    return job->error && conf->deadletter.topic != NULL ? &conf->deadletter
                                                        : &conf->publish;
}

static void lost(struct fm_job *job, const char *why)
{
    job->rule->lost_why = why;
    job->rule->lost_topic = target(job)->topic;
    fm_quiet_hit(&job->rule->lost);
}

static void publish_later(struct fm_job *job)
{
    if (job->rule->closing)
        end(job, false);
    else
        pause_job(job, FM_REOPEN_MIN_MS, job->rule->hub_conf->interval);
}

static uint8_t result_qos(const struct fm_job *job)
{
    return (uint8_t)BT_MIN(job->delivery.qos, target(job)->qos);
}

static int publish(struct fm_job *job, struct bt_slice payload)
{
    struct fm_rule *rule = job->rule;
    const struct fm_publish p = {
        .topic = target(job)->topic,
        .payload = payload,
        .qos = result_qos(job),
        .token = (uint64_t)(uintptr_t)job,
        .input = job->attached && job->delivery.qos > 0 ? present(job) : NULL,
    };

    return rule->link->ops->publish(rule->link, &p);
}

/* At QoS 0 there is one attempt. */
static void publish_once(struct fm_job *job, struct bt_slice payload)
{
    int r = job->rule->ready ? publish(job, payload) : BT_ECLOSED;

    if (r != 0)
        lost(job, bt_error_text(r));
    end(job, true);
}

static void publish_safely(struct fm_job *job)
{
    int r = publish(job, (struct bt_slice){ job->answer.data, job->answer.len });

    if (r == 0) {
        job->state = FM_JOB_PUBLISHING;
        return;
    }
    lost(job, bt_error_text(r));
    /* What the broker will never take must not come again. */
    if (r == BT_ELIMIT || r == BT_EINVAL)
        end(job, true);
    else
        publish_later(job);
}

/* Without a session there is nothing to acknowledge; of one that persists the message
 * comes again. */
static bool may_give(const struct fm_job *job)
{
    const struct fm_rule *rule = job->rule;

    return rule->ready && (job->attached || rule->clean);
}

static void give(struct fm_job *job)
{
    if (job->delivery.qos > 0 && !may_give(job)) {
        job->state = FM_JOB_KEPT;
        if (job->rule->closing)
            end(job, false);
    } else if (job->answer.len == 0) {
        end(job, true);
    } else if (result_qos(job) == 0) {
        publish_once(job, (struct bt_slice){ job->answer.data, job->answer.len });
    } else {
        publish_safely(job);
    }
}

void fm_job_published(struct fm_job *job, unsigned reason)
{
    if (reason < REFUSED) {
        end(job, true);
        return;
    }
    if (reason != BT_MQTT_PID_IN_USE)
        lost(job, "refused by the broker");
    publish_later(job);
}

/* ---- Results ---- */

/* Keep the bytes until the broker has them. */
static int keep(struct fm_job *job, struct fm_answer *a)
{
    if (a->error) {
        job->answer = a->json;
        a->json = (struct bt_buf){ 0 };
        return 0;
    }
    return bt_buf_append(&job->answer, a->payload.ptr, a->payload.len);
}

static void finish(struct fm_job *job, const struct fm_result *result)
{
    struct fm_answer a;
    int r = fm_answer_init(&a, result, &job->call.message, job->rule->max_result);

    job->answered = true;
    job->error = a.error;
    job->pause = 0;
    if (r == 0 && job->delivery.qos == 0 && a.payload.len > 0) {
        publish_once(job, a.payload);
    } else if (r == 0 && (r = keep(job, &a)) == 0) {
        give(job);
    } else {
        lost(job, bt_error_text(r));
        end(job, false);
    }
    fm_answer_deinit(&a);
}

static bool may_retry(const struct fm_job *job, enum fm_outcome outcome)
{
    bool any = job->rule->conf->retry_on == FM_RETRY_ANY;

    if (job->attempts == 0)
        return false;
    return outcome == FM_BROKEN ||
           (any &&
            (outcome == FM_FAILED || outcome == FM_TIMEOUT || outcome == FM_NOT_STARTED));
}

static void retry(struct fm_job *job)
{
    const struct fm_rule_conf *conf = job->rule->conf;

    job->attempts--;
    job->call.deadline = job->call.left = 0;
    bt_metric_add(&job->rule->pool->stats->retries, 1);
    if (conf->retry_delay == 0)
        call(job);
    else
        pause_job(job, conf->retry_delay, conf->retry_delay_max);
}

/* QoS 0 only: other calls are patient. */
static void drop(struct fm_job *job)
{
    fm_rule_count_drop(job->rule);
    end(job, true);
}

/* The broker keeps its message, so the attempts that are left can wait for the next
 * start.
 */
static bool stays(const struct fm_job *job)
{
    return job->delivery.qos > 0 && !job->rule->clean;
}

static void on_done(struct fm_call *c, const struct fm_result *result)
{
    struct fm_job *job = bt_container_of(c, struct fm_job, call);

    bool again = may_retry(job, result->outcome);

    if (again && !job->unwanted && !job->rule->closing)
        retry(job);
    else if (result->outcome == FM_STOPPED || job->unwanted || (again && stays(job)))
        end(job, false);
    else if (result->outcome == FM_OVERLOADED)
        drop(job);
    else
        finish(job, result);
}

static void on_timer(struct bt_timer *t)
{
    struct fm_job *job = bt_container_of(t, struct fm_job, timer);

    if (job->answered)
        give(job);
    else
        call(job);
}

/* The pool makes attempts at once and on any instance that broke; pauses and other
 * reasons are the rule's. */
static void set_attempts(struct fm_job *job)
{
    const struct fm_rule_conf *conf = job->rule->conf;
    bool ours = conf->retry_delay > 0 || conf->retry_on == FM_RETRY_ANY;

    job->call.attempts = ours ? 1 : conf->retry_max;
    job->attempts = ours ? conf->retry_max - 1 : 0;
}

void fm_job_begin(struct fm_rule *rule, const struct fm_delivery *d)
{
    struct fm_job *job = bt_calloc(1, sizeof(*job));

    if (job == NULL) {
        rule->link->ops->ack(rule->link, d, false);
        return;
    }
    job->rule = rule;
    job->delivery = *d;
    job->attached = true;
    fm_uuid(job->uuid);
    fm_message_of(&job->call.message, d, rule->conf->function, job->uuid);
    job->call.done = on_done;
    job->call.patient = d->qos > 0;
    set_attempts(job);
    bt_timer_init(&job->timer, on_timer);
    bt_list_push_back(&rule->jobs, &job->link);
    rule->n_jobs++;
    if (d->qos == 0) {
        rule->n_qos0++;
        rule->n_bytes += d->payload.len;
    }
    job->turn.topic = d->topic;
    if (fm_order_enter(&rule->order, &job->turn))
        call(job);
}

/* ---- Sessions come and go ---- */

void fm_job_detach(struct fm_job *job)
{
    if (job->state == FM_JOB_PUBLISHING)
        job->state = FM_JOB_KEPT;
    if (!job->attached)
        return;
    if (job->has_again)
        job->rule->link_ops->drop(&job->again);
    job->has_again = job->attached = false;
    job->rule->n_detached += job->delivery.qos > 0;
}

void fm_job_attach(struct fm_job *job, const struct fm_delivery *d)
{
    job->again = *d;
    job->has_again = job->attached = true;
    job->rule->n_detached--;
    if (job->state == FM_JOB_KEPT)
        give(job);
}

void fm_job_give_up(struct fm_job *job)
{
    job->unwanted = true;
    if (job->state != FM_JOB_CALLING)
        end(job, false);
    else
        fm_pool_cancel(job->pool, &job->call);
}

void fm_jobs_each(struct fm_rule *rule, void (*fn)(struct fm_job *job))
{
    struct bt_list *it, *next;

    hold_turns(rule);
    bt_list_for_each_safe (it, next, &rule->jobs)
        fn(bt_list_entry(it, struct fm_job, link));
    release_turns(rule);
}

static void ready_one(struct fm_job *job)
{
    if (job->state == FM_JOB_KEPT)
        give(job);
}

void fm_jobs_ready(struct fm_rule *rule)
{
    fm_jobs_each(rule, ready_one);
}

static void close_one(struct fm_job *job)
{
    if (job->state == FM_JOB_PAUSED || job->state == FM_JOB_KEPT)
        end(job, false);
}

void fm_jobs_close(struct fm_rule *rule)
{
    fm_jobs_each(rule, close_one);
}

static void abandon_one(struct fm_job *job)
{
    if (job->state == FM_JOB_PUBLISHING)
        end(job, false);
}

void fm_jobs_abandon(struct fm_rule *rule)
{
    fm_jobs_each(rule, abandon_one);
}
