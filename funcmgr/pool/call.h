/* A call and its result, as rule, pool and instance hand them to each other. The function
 * manager's thread only. */
#ifndef FUNCMGR_CALL_H
#define FUNCMGR_CALL_H

#include "core/list.h"
#include "funcmgr/process/frame.h"

enum fm_outcome {
    FM_OK,          /* payload; empty means that there is nothing to publish */
    FM_FAILED,      /* the handler failed; the instance lives on */
    FM_TIMEOUT,     /* no answer in time; the instance is ended */
    FM_BROKEN,      /* the instance ended, or broke the protocol */
    FM_TOO_LARGE,   /* call or reply beyond the function's message limit */
    FM_NOT_STARTED, /* no instance could be started */
    FM_STOPPED,     /* the function manager stops; the call is not done */
    FM_OVERLOADED,  /* too many calls wait; the call is not done */
};
#define FM_N_OUTCOMES   8

#define FM_STATUS_ERROR "*status.statusError"
#define FM_START_ERROR  "*errors.errorString"

struct fm_result {
    enum fm_outcome outcome;
    struct bt_slice payload; /* FM_OK; borrowed for the callback */
    const char *message;     /* otherwise; borrowed for the callback, never NULL */
    const char *type;
};

struct fm_instance;
struct fm_stats;

/* Owned by who made it, until done is called, exactly once. Zero-initialise, then set
 * message, attempts and done. */
struct fm_call {
    struct bt_list link; /* the pool's queue or its instance's calls; else unlinked */
    struct fm_message message; /* slices stay valid until done */
    uint32_t attempts;         /* left, with this one */
    uint64_t deadline;         /* loop ms; 0 while it does not run */
    bool patient; /* waits while no instance can be started, instead of an error */
    void (*done)(struct fm_call *call, const struct fm_result *result);
    /* The pool's and the instance's. */
    struct fm_instance *in; /* it was sent to; NULL while it waits in the pool */
    uint64_t began_us;      /* loop time at which the pool got it */
    struct fm_stats *stats; /* where the pool counts it */
    size_t charged;         /* bytes in the pool's queue */
    bool begun;             /* it counts as running: its time passes */
    bool alone;             /* its last attempt: nothing runs beside it */
    bool cancelled;         /* nobody wants the result any more */
    uint64_t left;          /* ms of its time after an attempt; 0 = all */
    uint64_t id, end;       /* of its frame: the id, and where in the stream it ends */
};

#endif
