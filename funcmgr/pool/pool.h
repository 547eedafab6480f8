/* The instances of one function and the calls that wait for them. The function manager's
 * thread only. */
#ifndef FUNCMGR_POOL_H
#define FUNCMGR_POOL_H

#include "funcmgr/funcmgr.h"
#include "funcmgr/process/forkserver.h"
#include "funcmgr/process/instance.h"
#include "funcmgr/sql/sql.h"
#include "funcmgr/stats.h"

/* First pause after a failing start; it doubles up to the function's backoff.max. */
#define FM_BACKOFF_MIN_MS 100u
/* So many instances that broke one after the other, without an answer between them, make
 * the function degraded, and starts pause as if they had failed. */
#define FM_CRASH_LOOP 5u
/* A spare is started so much later than the call that took the one before it: a start
 * holds up the loop, and so the answer. */
#define FM_SPARE_MS 20u
/* Idle instances that are looked at in one round. */
#define FM_EVICT_SCAN 3u
/* Calls that may wait in one pool, and bytes of their payloads. Patient calls are not
 * refused: their number is bounded by the windows of the rules. */
#define FM_POOL_MAX_WAITING ((size_t)8192)
#define FM_POOL_MAX_BYTES   ((size_t)64 * 1024 * 1024)
#define FM_MAX_REASON       256

enum fm_health { FM_HEALTHY, FM_HEALTH_STARTING, FM_DEGRADED };

struct fm_pool {
    const struct fm_function_conf *conf;
    const struct fm_env *env;
    struct fm_interp interp; /* owned */
    struct fm_sql *sql;      /* owned; not NULL: calls are done here, without instances */
    struct bt_slice *extra_env;
    struct fm_stats *stats;
    struct fm_limits *limits; /* a reference; NULL: the environment has no backend */
    struct fm_instance_owner owner;
    struct bt_list idle;    /* most recently used first */
    struct bt_list busy;    /* may get more calls */
    struct bt_list others;  /* starting, retiring, stopping */
    struct bt_list waiting; /* calls, first come first */
    size_t n_waiting;
    size_t waiting_bytes; /* payloads */
    unsigned generation;  /* counts renewals */
    unsigned n_live;      /* of this generation: starting, ready, busy */
    unsigned n_starting;  /* of these */
    unsigned n_idle;      /* of these */
    unsigned n_old;       /* of earlier generations: ready, busy */
    unsigned n_retiring;  /* of these: only end what they run */
    unsigned n_stopping;
    unsigned next_number;
    uint64_t backoff;  /* ms; 0 = the last start worked */
    bool paused;       /* the backoff timer runs */
    bool cannot_start; /* the last start failed */
    unsigned crashes;  /* instances that broke since the last answer */
    bool degraded;
    int64_t degraded_since;     /* wall clock, ms */
    char reason[FM_MAX_REASON]; /* why the last start failed, or why it is degraded */
    bool closing;
    struct bt_timer evict_timer, backoff_timer, spare_timer;
    struct fm_fork fork;
    uint64_t empty_since; /* loop ms; 0 = there is an instance, or nobody has looked */
    void *arg;
    void (*drained)(void *arg); /* once after fm_pool_close, when no instance is left */
};

/* interp is taken, also on failure. 0, or BT_ENOMEM, or BT_ECONF (limits.h); _deinit
 * either way. */
int fm_pool_init(struct fm_pool *p, const struct fm_function_conf *conf,
                 const struct fm_env *env, struct fm_interp *interp) BT_MUST_CHECK;
/* No instance may be left. */
void fm_pool_deinit(struct fm_pool *p);
/* Start the minimum of instances and the timers. */
void fm_pool_start(struct fm_pool *p);
/* Takes the call until its done. done may be called from inside. */
void fm_pool_call(struct fm_pool *p, struct fm_call *call);
/* Nobody wants the result any more: a call that waits is answered with FM_STOPPED now;
 * one that was sent is answered when it is, and not tried again. */
void fm_pool_cancel(struct fm_pool *p, struct fm_call *call);
/* The function's code has changed. New calls go to new instances as soon as one of them
 * is ready; until then, and when none gets ready, the old ones serve on. What runs in
 * them ends there. A pause after failing starts is over. */
void fm_pool_renew(struct fm_pool *p);
/* The same with another configuration, which outlives the pool; interp is taken. A
 * function in SQL stays one, and none becomes one. 0, or BT_ENOMEM, or BT_EINVAL (the
 * statement, which the configuration's check had accepted): nothing has changed. */
int fm_pool_reconfigure(struct fm_pool *p, const struct fm_function_conf *conf,
                        struct fm_interp *interp) BT_MUST_CHECK;
/* reason and degraded_since hold while it is FM_DEGRADED. */
enum fm_health fm_pool_health(const struct fm_pool *p);
/* No more calls, also not those that wait (FM_STOPPED); running ones end first.
 * Idempotent. */
void fm_pool_close(struct fm_pool *p);
/* After fm_pool_close: end running calls, too. */
void fm_pool_kill(struct fm_pool *p);

#endif
