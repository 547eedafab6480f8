/* The instances of one function and the calls that wait for them. The function manager's
 * thread only. */
#ifndef FUNCMGR_POOL_H
#define FUNCMGR_POOL_H

#include "funcmgr/funcmgr.h"
#include "funcmgr/instance.h"

/* First pause after a failing start; it doubles up to the function's backoff.max. */
#define FM_BACKOFF_MIN_MS 100u
/* Idle instances that are looked at in one round. */
#define FM_EVICT_SCAN 3u

struct fm_pool {
    const struct fm_function_conf *conf;
    const struct fm_env *env;
    struct fm_interp interp; /* owned */
    struct bt_slice *extra_env;
    struct fm_instance_owner owner;
    struct bt_list idle;    /* most recently used first */
    struct bt_list others;  /* starting, busy, stopping */
    struct bt_list waiting; /* calls, first come first */
    size_t n_waiting;
    unsigned n_live;     /* starting, ready, busy */
    unsigned n_starting; /* of these */
    unsigned n_stopping;
    unsigned next_number;
    uint64_t backoff; /* ms; 0 = the last start worked */
    bool paused;      /* the backoff timer runs */
    bool closing;
    struct bt_timer evict_timer, backoff_timer;
    void *arg;
    void (*drained)(void *arg); /* once after fm_pool_close, when no instance is left */
};

/* interp is taken, also on failure. 0 or BT_ENOMEM; _deinit either way. */
int fm_pool_init(struct fm_pool *p, const struct fm_function_conf *conf,
                 const struct fm_env *env, struct fm_interp *interp) BT_MUST_CHECK;
/* No instance may be left. */
void fm_pool_deinit(struct fm_pool *p);
/* Start the minimum of instances and the timers. */
void fm_pool_start(struct fm_pool *p);
/* Takes the call until its done. done may be called from inside. */
void fm_pool_call(struct fm_pool *p, struct fm_call *call);
/* Answer a call that still waits with FM_STOPPED. */
void fm_pool_cancel(struct fm_pool *p, struct fm_call *call);
/* No more calls, also not those that wait (FM_STOPPED); running ones end first.
 * Idempotent. */
void fm_pool_close(struct fm_pool *p);
/* After fm_pool_close: end running calls, too. */
void fm_pool_kill(struct fm_pool *p);

#endif
