/* Messages that are delivered again while their job is still under way: after a session
 * was lost and opened again, or by a broker that does not wait for the acknowledgement.
 * They are known by packet identifier, topic and payload. The function does not run a
 * second time: the job takes the delivery, to acknowledge it when the result is safe.
 *
 * A broker delivers again in order and before anything new, so with the first new message
 * what is left over is somebody else's: of a job that is detached then nothing is
 * published. Failure mode: of too many detached jobs all are given up. */
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

bool fm_jobs_again(struct fm_rule *rule, const struct fm_delivery *d)
{
    struct fm_job *job = d->qos > 0 && d->dup ? find(rule, d) : NULL;

    if (job == NULL)
        return false;
    if (job->attached)
        rule->link_ops->drop(d); /* one acknowledgement is for both */
    else
        fm_job_attach(job, d);
    return true;
}

static void forget_one(struct fm_job *job)
{
    if (!job->attached && job->delivery.qos > 0)
        fm_job_give_up(job);
}

void fm_jobs_forget(struct fm_rule *rule)
{
    bt_log(BT_LOG_INFO, "FUNC-FORGOTTEN",
           "messages did not come again with their session", "function=%s messages=%zu",
           rule->conf->function, rule->n_detached);
    fm_jobs_each(rule, forget_one);
}

void fm_jobs_detach(struct fm_rule *rule)
{
    fm_jobs_each(rule, fm_job_detach);
    if (rule->n_detached > FM_RULE_MAX_JOBS + FM_RULE_WIDE)
        fm_jobs_forget(rule);
}
