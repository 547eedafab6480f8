/* A rule: a session at the hub whose messages go through a function and whose results are
 * published. The function manager's thread only. */
#ifndef FUNCMGR_RULE_H
#define FUNCMGR_RULE_H

#include "funcmgr/link.h"
#include "funcmgr/pool.h"

/* Unacknowledged QoS 1 messages beyond those that can run at once; enough to keep a fast
 * function busy. */
#define FM_RULE_QUEUE      64u
#define FM_RULE_MAX_WINDOW 4096u
/* Messages that may be under way in one rule before QoS 0 messages are dropped. */
#define FM_RULE_MAX_JOBS  1024u
#define FM_RULE_MAX_BYTES ((size_t)16 * 1024 * 1024)
/* First pause before a session is opened again; it doubles up to hub.interval. */
#define FM_REOPEN_MIN_MS 100u

struct fm_rule {
    const struct fm_rule_conf *conf;
    const struct fm_hub_conf *hub_conf;
    struct hub *hub;
    struct bt_loop *loop;
    struct fm_pool *pool;
    const struct fm_link_ops *link_ops;
    struct fm_link *link; /* NULL while the session is closed */
    bool ready;
    unsigned number; /* of the rule, for a client id when none is given */
    struct bt_list jobs;
    size_t n_jobs;
    size_t n_bytes; /* payloads of jobs */
    uint64_t pause; /* ms before the session is opened again */
    struct bt_timer reopen_timer;
    bool closing, closed, told;
    void *arg;
    /* Once: the hub has answered the first opening, or could not be asked. */
    void (*answered)(void *arg);
    void (*drained)(void *arg); /* once after fm_rule_close, when no job is left */
};

void fm_rule_init(struct fm_rule *rule, const struct fm_rule_conf *conf,
                  const struct fm_hub_conf *hub_conf, struct hub *hub,
                  struct bt_loop *loop, struct fm_pool *pool);
/* Open the session. A failure is logged and tried again later. */
void fm_rule_open(struct fm_rule *rule);
/* Take no more messages; jobs that run end first, then the session is closed. Idempotent.
 */
void fm_rule_close(struct fm_rule *rule);
/* After fm_rule_close: give up the results that the hub has not taken yet. No call may be
 * running. */
void fm_rule_abandon(struct fm_rule *rule);

#endif
