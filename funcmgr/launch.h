/* The start of an instance's process: pipes, descriptors, arguments, environment. What
 * the process says is instance.c's. The function manager's thread only. */
#ifndef FUNCMGR_LAUNCH_H
#define FUNCMGR_LAUNCH_H

#include "funcmgr/cell.h"
#include "funcmgr/instance.h"

/* Descriptors of a runtime, see docs/frames.md. */
#define FM_CALL_FD  3
#define FM_REPLY_FD 4

/* What was started. The descriptors are ours, do not block, and are owned. */
struct fm_process {
    pid_t pid; /* leads its own process group */
    int call_fd, reply_fd;
    int output_fd;        /* the child's standard output and error */
    struct fm_cell *cell; /* what it is locked into, owned; may be NULL */
};

/* Start the process of the instance `name` (FUNCTION.NUMBER). 0: it runs, *out is filled,
 * and on_exit, whose kind is set, follows at the mailbox of the environment once it has
 * ended. Otherwise nothing runs and nothing is open, logged. */
int fm_launch(const struct fm_instance_opts *opts, const char *name,
              struct bt_child_exit *on_exit, struct fm_process *out) BT_MUST_CHECK;

#endif
