/* The start of an instance's process: pipes, descriptors, arguments, environment; in the
 * ordinary way, or forked by the function's template (forkserver.h). What the process
 * says is instance.c's. The function manager's thread only. */
#ifndef FUNCMGR_LAUNCH_H
#define FUNCMGR_LAUNCH_H

#include "core/child.h"
#include "core/list.h"
#include "funcmgr/limits/cell.h"

struct fm_instance_opts;

/* Descriptors of a runtime, see docs/frames.md. */
#define FM_CALL_FD  3
#define FM_REPLY_FD 4

/* What was started. The descriptors are ours, do not block, and are owned. */
struct fm_process {
    pid_t pid; /* leads its own process group; 0: launched later */
    int call_fd, reply_fd;
    int output_fd;        /* the child's standard output and error */
    struct fm_cell *cell; /* what it is locked into, owned; may be NULL */
};

/* A launch under way. Zero-initialise; keep it until `launched`. */
struct fm_launch {
    struct bt_list link; /* the template's queue */
    const struct fm_instance_opts *opts;
    const char *name; /* FUNCTION.NUMBER */
    struct bt_child_exit *on_exit;
    int call_fd, reply_fd, output_fd; /* the child's ends, while it is not started */
    struct fm_cell *cell;             /* of what was started; the owner takes it */
    bool pending;                     /* `launched` follows */
    bool cancelled;
    char why[96]; /* for fm_launch_why */
    /* Once, only after fm_launch left pid 0: 0 and the process id, or a fatal code and
     * why (nothing runs then). From the loop, never from inside a call of ours. */
    void (*launched)(struct fm_launch *l, int r, pid_t pid, const char *why);
};

/* Start a process; opts, name, on_exit and launched are set. 0: it runs, or with pid 0
 * its start has begun; *out is filled, and on_exit, whose kind is set, follows at the
 * mailbox of the environment once it has ended. Otherwise nothing runs and nothing is
 * open, logged. */
int fm_launch(struct fm_launch *l, struct fm_process *out) BT_MUST_CHECK;
/* Why it failed with r, as a user should read it. Valid as long as l. */
const char *fm_launch_why(struct fm_launch *l, int r);
/* The process is not wanted any more; `launched` still follows when it is pending. */
void fm_launch_cancel(struct fm_launch *l);

/* For the template's side: */
/* Start it in the ordinary way with the descriptors it has, and tell. */
void fm_launch_spawn(struct fm_launch *l);
/* The template has made the process: register it, lock it in, and tell. */
void fm_launch_adopt(struct fm_launch *l, pid_t pid);
/* It comes to nothing. */
void fm_launch_fail(struct fm_launch *l, int r, const char *why);
/* Start the interpreter with these descriptors as 3, 4 and 1 with 2; sets the cell. */
int fm_launch_program(struct fm_launch *l, pid_t *pid) BT_MUST_CHECK;

#endif
