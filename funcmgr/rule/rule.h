/* A rule: a session at a broker whose messages go through a function and whose results
 * are published. The function manager's thread only. */
#ifndef FUNCMGR_RULE_H
#define FUNCMGR_RULE_H

#include "funcmgr/pool/pool.h"
#include "funcmgr/quiet.h"
#include "funcmgr/rule/link.h"
#include "funcmgr/rule/rule_order.h"

/* Unacknowledged QoS 1 and 2 messages beyond those that can run at once: enough to keep a
 * fast function busy, and more when some may wait for a retry or for their turn. */
#define FM_RULE_QUEUE      64u
#define FM_RULE_WIDE       1024u
#define FM_RULE_MAX_WINDOW 4096u
/* QoS 0 messages that may be under way in one rule, and bytes of their payloads, before
 * more are dropped. */
#define FM_RULE_MAX_JOBS  1024u
#define FM_RULE_MAX_BYTES ((size_t)16 * 1024 * 1024)
/* First pause before a session is opened again, or a refused result is published again;
 * it doubles up to hub.interval. */
#define FM_REOPEN_MIN_MS 100u
/* At a broker elsewhere a session that lasted so long makes the next pause the first one
 * again: one that throws the rule out at once is not asked ten times a second. */
#define FM_REOPEN_STABLE_MS 10000u

struct fm_rule {
    const struct fm_rule_conf *conf;
    const struct fm_hub_conf *hub_conf;
    struct hub *hub;
    struct bt_loop *loop;
    struct fm_pool *pool;
    const struct fm_link_ops *link_ops;
    const struct fm_remote *remote; /* with fm_link_remote_ops */
    struct fm_link *link;           /* NULL while the session is closed */
    bool ready;
    uint16_t window; /* of the session */
    bool clean;      /* the session does not outlive its link */
    unsigned number; /* of the rule, for a client id when none is given */
    size_t
        max_result; /* bytes that the broker takes as a result, also as a dead letter */
    struct bt_list jobs;
    size_t n_jobs;
    bool paused;            /* the link is: QoS 0 messages fill half of the room */
    size_t n_qos0, n_bytes; /* of these at QoS 0, and their payloads */
    size_t n_detached;      /* at QoS 1 or 2, delivered by an earlier session */
    struct fm_order order;
    struct bt_list turns; /* jobs whose turn has come */
    bool held;            /* they wait a moment */
    uint64_t pause;       /* ms before the session is opened again */
    uint64_t ready_ms;    /* of the clock, when it was last opened */
    struct bt_timer reopen_timer;
    struct fm_quiet dropped, lost; /* messages; results */
    const char *lost_why, *lost_topic;
    bool closing, closed, told;
    void *arg;
    /* Once: the broker has answered the first opening, or could not be asked. */
    void (*answered)(void *arg);
    /* Once after fm_rule_close, when no job is left. The rule must live until the loop's
     * next turn. */
    void (*drained)(void *arg);
};

/* 0 or BT_ENOMEM; _deinit either way. */
int fm_rule_init(struct fm_rule *rule, const struct fm_rule_conf *conf,
                 const struct fm_hub_conf *hub_conf, struct hub *hub,
                 struct bt_loop *loop, struct fm_pool *pool) BT_MUST_CHECK;
/* It is drained, or was never opened. */
void fm_rule_deinit(struct fm_rule *rule);
/* Open the session. A failure is logged and tried again later. */
void fm_rule_open(struct fm_rule *rule);
/* Take over another configuration for the same session, or another function; both outlive
 * the rule's jobs. The session is opened again when it must be another one. Jobs go on. 0
 * or BT_ENOMEM: nothing has changed. */
int fm_rule_reconfigure(struct fm_rule *rule, const struct fm_rule_conf *conf,
                        struct fm_pool *pool) BT_MUST_CHECK;
/* It sends calls to this pool, or has one there. */
bool fm_rule_uses(const struct fm_rule *rule, const struct fm_pool *pool);
/* Take no more messages; jobs that run end first, then the session is closed. Idempotent.
 */
void fm_rule_close(struct fm_rule *rule);
/* After fm_rule_close: give up the results that the broker has not taken yet. No call may
 * be running. */
void fm_rule_abandon(struct fm_rule *rule);

#endif
