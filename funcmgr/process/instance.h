/* One child process that runs one function. The function manager's thread only.
 *
 *   STARTING --hello--> READY --call--> BUSY --last reply--> READY
 *   any of these --time-out, end of file, bad frame, stop--> STOPPING --exit--> DEAD
 *
 * A busy instance has calls in a list, oldest first. The first `concurrency` of them run
 * (call.begun); the others were sent ahead and wait in the pipe or in the runtime. */
#ifndef FUNCMGR_INSTANCE_H
#define FUNCMGR_INSTANCE_H

#include "core/child.h"
#include "core/loop.h"
#include "funcmgr/limits/cell.h"
#include "funcmgr/pool/call.h"
#include "funcmgr/process/interp.h"
#include "funcmgr/process/launch.h"
#include "funcmgr/process/output.h"

enum fm_state { FM_STARTING, FM_READY, FM_BUSY, FM_STOPPING, FM_DEAD };
#define FM_N_STATES 5

/* A process may take this long to be ready, or the time-out of a call if that is longer:
 * imports are not the call's. */
#define FM_START_MS 10000u
/* Between SIGTERM and SIGKILL. */
#define FM_TERM_MS    2000u
#define FM_READ_CHUNK ((size_t)64 * 1024)

/* Calls sent ahead of those that run, while they are short: when the average call takes
 * less than FM_AHEAD_CALL_US and all that is ahead less than FM_AHEAD_US. */
#define FM_AHEAD_CALLS   64u
#define FM_AHEAD_BYTES   ((uint64_t)64 * 1024)
#define FM_AHEAD_CALL_US 1000u
#define FM_AHEAD_US      5000u
/* Bytes not yet written to an instance beyond which it gets no further call. */
#define FM_UNSENT_BYTES ((size_t)256 * 1024)

/* What all instances share; outlives them. */
struct fm_env {
    struct bt_loop *loop;
    struct bt_mbox *mbox; /* exit messages, kind FM_MSG_EXIT */
    struct bt_super *super;
    const char *work_dir;
    int null_fd;
    int source_fds[FM_N_LANGUAGES]; /* -1: not needed */
    uint8_t *chunk;                 /* FM_READ_CHUNK bytes to read into */
    struct bt_list *unsent;         /* instances with frames to write in this turn */
    struct fm_backend *backend;     /* what limits are enforced with; NULL: none are */
};

enum fm_msg_kind { FM_MSG_EXIT = 1, FM_MSG_STOP, FM_MSG_TASK, FM_MSG_TEMPLATE_EXIT };

struct fm_instance;
struct fm_fork;

/* None of these is called from inside fm_instance_start, _call or _stop. */
struct fm_instance_owner {
    void *arg;
    void (*ready)(void *arg, struct fm_instance *in);
    /* One call is done; it is off the instance's list, and the instance serves on. */
    void (*answered)(void *arg, struct fm_instance *in, struct fm_call *call,
                     const struct fm_result *result);
    /* There is room for calls again after FM_UNSENT_BYTES. */
    void (*room)(void *arg, struct fm_instance *in);
    /* It did not get ready; it is stopping. */
    void (*failed)(void *arg, struct fm_instance *in, const char *why);
    /* A ready instance ended; it is stopping. The owner takes the calls off its list:
     * `result` is for those that have begun; at FM_TIMEOUT only for those whose deadline
     * is over, the others are FM_BROKEN. */
    void (*lost)(void *arg, struct fm_instance *in, const struct fm_result *result);
    /* The process is reaped: free the instance. */
    void (*gone)(void *arg, struct fm_instance *in);
};

struct fm_instance_opts {
    const struct fm_env *env;
    const struct fm_instance_owner *owner; /* outlives the instance */
    const struct fm_interp *interp;
    unsigned number;     /* in the name FUNCTION.NUMBER */
    const char *service; /* in front of that name; NULL: none */
    const char *function, *handler, *codedir;
    const char *workdir;              /* NULL: env->work_dir */
    const struct bt_slice *extra_env; /* NUL-terminated NAME=value each */
    size_t n_extra_env;
    size_t max_message;
    int64_t timeout;          /* ms, of a call; see fm_start_ms */
    uint32_t concurrency;     /* calls that run at once, 1 or more */
    struct fm_limits *limits; /* for the start; NULL: none */
    struct fm_fork *fork;     /* where it may be forked, or NULL */
};

/* ms until an instance, or a template, must be ready. */
static inline uint64_t fm_start_ms(const struct fm_instance_opts *o)
{
    return BT_MAX((uint64_t)o->timeout, FM_START_MS);
}

struct fm_instance {
    struct bt_list link; /* the owner's */
    struct fm_instance_opts opts;
    enum fm_state state;
    uint64_t idle_since; /* loop ms; the owner's */
    unsigned generation; /* the owner's */
    unsigned place;      /* the owner's: which of its lists */
    bool exclusive;      /* the owner's: it runs a call that is alone */
    uint64_t served;     /* calls that were answered */
    pid_t pid;           /* 0 while the launch is pending */
    struct fm_launch launch;
    struct bt_child_exit exit;
    int call_fd, reply_fd;
    struct bt_io call_io, reply_io;
    struct bt_timer timer; /* start, call or kill, by state */
    uint64_t wake_at;      /* loop ms at which the timer looks for late calls; 0 = not */
    struct fm_frame_in in;
    struct bt_buf out; /* frames; the first out_off bytes are written */
    size_t out_off;
    struct bt_list unsent;  /* in fm_env's list while there is something to write */
    uint64_t queued, wrote; /* bytes of the whole stream */
    struct fm_output output;
    struct bt_list calls;        /* struct fm_call.link */
    struct bt_list *first_ahead; /* of calls: the first that has not begun, or the head */
    unsigned n_calls, n_begun;   /* the first n_begun of the calls run */
    uint64_t begun_end;          /* in the stream: where the last begun call ends */
    uint64_t call_id;
    uint64_t progress_us; /* loop time of the last reply, or of the first call */
    uint64_t service_us;  /* smoothed time between replies; UINT64_MAX = unknown */
    char *name;
    struct fm_cell *cell; /* or NULL */
    bool exited;          /* exit.status is known */
};

/* NULL when out of memory. */
struct fm_instance *fm_instance_new(const struct fm_instance_opts *opts) BT_MUST_CHECK;
/* Only before a successful start, or when gone. NULL is fine. */
void fm_instance_free(struct fm_instance *in);
/* 0: the process runs. Otherwise nothing runs, logged. */
int fm_instance_start(struct fm_instance *in) BT_MUST_CHECK;
/* Only when ready or busy. 0: it is in the list; `answered` or `lost` follows. BT_ELIMIT
 * (*len is the size the call would have) and BT_ENOMEM: nothing has changed. */
int fm_instance_call(struct fm_instance *in, struct fm_call *call,
                     size_t *len) BT_MUST_CHECK;
/* Ready or busy, and a call would run at once. */
bool fm_instance_free_slot(const struct fm_instance *in);
/* Busy with short calls, and one more may be sent ahead. */
bool fm_instance_may_queue(const struct fm_instance *in);
/* Idempotent. `gone` follows; the caller takes the calls off the list. */
void fm_instance_stop(struct fm_instance *in);
/* Write what was queued in this turn: the loop's last act before it waits. */
void fm_instances_flush(const struct fm_env *env);
/* The mailbox's message of kind FM_MSG_EXIT. */
void fm_instance_exited(struct bt_msg *msg);

#endif
