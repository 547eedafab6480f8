/* One child process that runs one function, one call at a time. The function manager's
 * thread only.
 *
 *   STARTING --hello--> READY --call--> BUSY --reply--> READY
 *   any of these --time-out, end of file, bad frame, stop--> STOPPING --exit--> DEAD
 */
#ifndef FUNCMGR_INSTANCE_H
#define FUNCMGR_INSTANCE_H

#include "core/child.h"
#include "core/loop.h"
#include "funcmgr/call.h"
#include "funcmgr/interp.h"
#include "funcmgr/output.h"

enum fm_state { FM_STARTING, FM_READY, FM_BUSY, FM_STOPPING, FM_DEAD };
#define FM_N_STATES 5

/* Between SIGTERM and SIGKILL. */
#define FM_TERM_MS    2000u
#define FM_READ_CHUNK ((size_t)64 * 1024)

/* What all instances share; outlives them. */
struct fm_env {
    struct bt_loop *loop;
    struct bt_mbox *mbox; /* exit messages, kind FM_MSG_EXIT */
    struct bt_super *super;
    const char *work_dir;
    int null_fd;
    int source_fds[FM_N_LANGUAGES]; /* -1: not needed */
    uint8_t *chunk;                 /* FM_READ_CHUNK bytes to read into */
};

enum fm_msg_kind { FM_MSG_EXIT = 1, FM_MSG_STOP };

struct fm_instance;

/* None of these is called from inside fm_instance_start, _call or _stop, except
 * `answered` from inside _stop of a busy instance. */
struct fm_instance_owner {
    void *arg;
    void (*ready)(void *arg, struct fm_instance *in);
    /* The state is FM_READY when the instance may serve on. */
    void (*answered)(void *arg, struct fm_instance *in, struct fm_call *call,
                     const struct fm_result *result);
    /* It did not get ready; it is stopping. */
    void (*failed)(void *arg, struct fm_instance *in, const char *why);
    /* A ready instance ended by itself; it is stopping. */
    void (*lost)(void *arg, struct fm_instance *in);
    /* The process is reaped: free the instance. */
    void (*gone)(void *arg, struct fm_instance *in);
};

struct fm_instance_opts {
    const struct fm_env *env;
    const struct fm_instance_owner *owner; /* outlives the instance */
    const struct fm_interp *interp;
    unsigned number; /* in the name FUNCTION.NUMBER */
    const char *function, *handler, *codedir;
    const struct bt_slice *extra_env; /* NUL-terminated NAME=value each */
    size_t n_extra_env;
    size_t max_message;
    int64_t timeout; /* ms, for the start */
};

struct fm_instance {
    struct bt_list link; /* the owner's */
    struct fm_instance_opts opts;
    enum fm_state state;
    uint64_t idle_since; /* loop ms; the owner's */
    uint64_t served;     /* calls that were answered */
    pid_t pid;
    struct bt_child_exit exit;
    int call_fd, reply_fd;
    struct bt_io call_io, reply_io;
    struct bt_timer timer; /* start, call or kill, by state */
    struct fm_frame_in in;
    struct bt_buf out;
    size_t out_off;
    struct fm_output output;
    struct fm_call *call; /* while busy */
    uint64_t call_id;
    char *name;
};

/* NULL when out of memory. */
struct fm_instance *fm_instance_new(const struct fm_instance_opts *opts) BT_MUST_CHECK;
/* Only before a successful start, or when gone. NULL is fine. */
void fm_instance_free(struct fm_instance *in);
/* 0: the process runs. Otherwise nothing runs, logged. */
int fm_instance_start(struct fm_instance *in) BT_MUST_CHECK;
/* Only when ready. 0: `answered` follows. BT_ELIMIT (*len is the size the call would
 * have) and BT_ENOMEM: the instance stays ready. */
int fm_instance_call(struct fm_instance *in, struct fm_call *call, uint64_t timeout_ms,
                     size_t *len) BT_MUST_CHECK;
/* Idempotent. `gone` follows. */
void fm_instance_stop(struct fm_instance *in);
/* The mailbox's message of kind FM_MSG_EXIT. */
void fm_instance_exited(struct bt_msg *msg);

#endif
