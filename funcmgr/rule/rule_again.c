/* Messages that are delivered again while their job is still under way: after a session
 * was lost and opened again, or by a broker that does not wait for the acknowledgement.
 * They are known by packet identifier, topic and payload. The function does not run a
 * second time: the job takes the delivery, to acknowledge it when the result is safe.
 *
 * A broker delivers again before anything new, and in order; the jobs are kept in that
 * order. The hub of this process also says when all has come. So what is in front of a
 * message of its topic that came again, or of any that is new, and has not come by then,
 * will not come: its result was safe already, or it is somebody else's. Of such a job
 * nothing is published, and the others of its topic have their turn. Failure mode: of too
 * many detached jobs all are given up. */
#include <string.h>

#include "core/log.h"
#include "funcmgr/rule/rule_job.h"

static bool same(struct bt_slice a, struct bt_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static struct fm_job *find(struct fm_rule *rule, const struct fm_delivery *d)
{
    struct bt_list *it;

    bt_list_for_each (it, &rule->jobs) {
        struct fm_job *job = bt_list_entry(it, struct fm_job, link);

        if (job->delivery.pid == d->pid && job->delivery.qos == d->qos &&
            !job->unwanted && same(job->delivery.topic, d->topic) &&
            same(job->delivery.payload, d->payload))
            return job;
    }
    return NULL;
}

static bool is_left(const struct fm_job *job)
{
    return !job->attached && !job->unwanted && job->delivery.qos > 0;
}

/* Order is promised within a topic and a QoS (MQTT 5.0 §4.6). */
static bool same_order(const struct fm_job *a, const struct fm_job *b)
{
    return a->delivery.qos == b->delivery.qos &&
           same(a->delivery.topic, b->delivery.topic);
}

static void forget_one(struct fm_job *job)
{
    if (job->unwanted)
        fm_job_give_up(job);
}

/* Those in front of `end` that are of its order; all, if NULL. */
static void forget_before(struct fm_rule *rule, const struct fm_job *end)
{
    const struct bt_list *it;
    size_t n = 0;

    bt_list_for_each (it, &rule->jobs) {
        struct fm_job *job = bt_list_entry(it, struct fm_job, link);

        if (job == end)
            break;
        if (is_left(job) && (end == NULL || same_order(job, end))) {
            job->unwanted = true;
            n++;
        }
    }
    if (n == 0)
        return;
    bt_log(BT_LOG_INFO, "FUNC-FORGOTTEN",
           "messages did not come again with their session", "function=%s messages=%zu",
           rule->conf->function, n);
    fm_jobs_each(rule, forget_one);
}

bool fm_jobs_again(struct fm_rule *rule, const struct fm_delivery *d)
{
    struct fm_job *job = d->qos > 0 && d->dup ? find(rule, d) : NULL;

    if (job == NULL)
        return false;
    if (job->attached) {
        rule->link_ops->drop(d); /* one acknowledgement is for both */
        return true;
    }
    if (!rule->clean) {
        forget_before(rule, job);
        job = find(rule, d); /* it may have had its turn, and ended for lack of memory */
    }
    if (job == NULL)
        return false;
    bt_list_remove(&job->link);
    bt_list_push_back(&rule->jobs, &job->link);
    fm_job_attach(job, d);
    return true;
}

void fm_jobs_forget(struct fm_rule *rule)
{
    forget_before(rule, NULL);
}

/* Those that had not come again when the session was lost are behind those that had. */
static void move_left_behind(struct fm_rule *rule)
{
    struct bt_list left, *it, *next;

    bt_list_init(&left);
    bt_list_for_each_safe (it, next, &rule->jobs) {
        if (!is_left(bt_list_entry(it, struct fm_job, link)))
            continue;
        bt_list_remove(it);
        bt_list_push_back(&left, it);
    }
    while ((it = bt_list_first(&left)) != NULL) {
        bt_list_remove(it);
        bt_list_push_back(&rule->jobs, it);
    }
}

void fm_jobs_detach(struct fm_rule *rule)
{
    move_left_behind(rule);
    fm_jobs_each(rule, fm_job_detach);
    if (rule->n_detached > FM_RULE_MAX_WINDOW)
        fm_jobs_forget(rule);
}
