/* A job: one message of a rule on its way through the function. Private to the rule's
 * files. The function manager's thread only.
 *
 *   QUEUED --its turn--> CALLING --result--> PUBLISHING --the broker has it--> ended
 *                        ^     | failed                | refused
 *                        +- PAUSED <-------------------+
 *
 * When the session is lost a job goes on, detached from it. With a result it is KEPT
 * until its message is delivered again: the function does not run a second time. */
#ifndef FUNCMGR_RULE_JOB_H
#define FUNCMGR_RULE_JOB_H

#include "funcmgr/rule/message.h"
#include "funcmgr/rule/rule.h"

enum fm_job_state {
    FM_JOB_QUEUED,
    FM_JOB_CALLING,
    FM_JOB_PAUSED,
    FM_JOB_PUBLISHING,
    FM_JOB_KEPT
};

struct fm_job {
    struct fm_call call;
    struct bt_list link; /* in the rule's jobs, in the order of the broker */
    struct bt_list go;   /* in the rule's turns */
    struct fm_turn turn;
    struct fm_rule *rule;
    struct fm_pool *pool;        /* it was sent to last */
    struct fm_delivery delivery; /* holds the message */
    struct fm_delivery again;    /* delivered again; to be acknowledged in its place */
    bool has_again;
    bool attached; /* the present session can acknowledge it */
    bool unwanted; /* nobody wants the result any more */
    bool answered; /* the function is done with it: `answer` */
    bool error;    /* the answer is an error message */
    enum fm_job_state state;
    uint32_t attempts; /* left, behind those that the pool makes */
    uint64_t pause;    /* ms, the last one */
    struct bt_timer timer;
    struct bt_buf answer;
    char uuid[FM_UUID_LEN + 1];
};

/* Takes the delivery; out of memory: it is not acknowledged. */
void fm_job_begin(struct fm_rule *rule, const struct fm_delivery *d);
/* The broker's answer to the publish of this job. */
void fm_job_published(struct fm_job *job, unsigned reason);
/* The session that delivered it is lost. */
void fm_job_detach(struct fm_job *job);
/* It was delivered again, by the present session. Takes d. */
void fm_job_attach(struct fm_job *job, const struct fm_delivery *d);
/* Its result is not wanted any more. */
void fm_job_give_up(struct fm_job *job);
/* Jobs of the rule, in the order of the broker; fn may end its own. */
void fm_jobs_each(struct fm_rule *rule, void (*fn)(struct fm_job *job));
/* There is a session again: publish what was kept and will not be delivered again. */
void fm_jobs_ready(struct fm_rule *rule);
/* The rule closes: what waits for a time or for the broker ends. */
void fm_jobs_close(struct fm_rule *rule);
/* What waits for the broker's answer ends. */
void fm_jobs_abandon(struct fm_rule *rule);

/* rule_again.c */
/* The session is lost. */
void fm_jobs_detach(struct fm_rule *rule);
/* A message that was delivered before: true when a job has it, which takes d. */
bool fm_jobs_again(struct fm_rule *rule, const struct fm_delivery *d);
/* The broker goes on to new messages: what it has not delivered again by now belongs to
 * somebody else. */
void fm_jobs_forget(struct fm_rule *rule);

/* rule.c */
/* A QoS 0 message was not taken. */
void fm_rule_count_drop(struct fm_rule *rule);
/* A job ended. */
void fm_rule_check_drained(struct fm_rule *rule);

#endif
