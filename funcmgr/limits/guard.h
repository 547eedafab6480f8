/* A small process that outlives this one by a moment: it knows the process groups and the
 * control groups of the instances, and ends what is left of them when this process is
 * gone, however it went. While we live it ends what an instance without a control group
 * leaves behind. The function manager's thread only, or before it runs. */
#ifndef FUNCMGR_GUARD_H
#define FUNCMGR_GUARD_H

#include <sys/types.h>

#include "core/base.h"

/* In the environment of every instance; how what it started is known again. */
#define FM_GUARD_VARIABLE "BAETYL_RUN"

struct fm_guard {
    int fd;       /* the writing end; the guard acts when it is closed */
    pid_t pid;    /* 0: there is none */
    char run[20]; /* value of FM_GUARD_VARIABLE */
};

/* Before other threads run: forks. 0, or BT_EIO (logged). _stop either way. */
int fm_guard_start(struct fm_guard *g) BT_MUST_CHECK;
/* Ends what is left, and waits for the guard. Idempotent. */
void fm_guard_stop(struct fm_guard *g);
/* An instance runs: its process, which leads a process group. */
void fm_guard_add(const struct fm_guard *g, pid_t pid);
/* It has ended; name (FUNCTION.NUMBER): end what it started, too. NULL: that is done. */
void fm_guard_ended(const struct fm_guard *g, pid_t pid, const char *name);
/* A folder of control groups that is ours. */
void fm_guard_folder(const struct fm_guard *g, const char *path);

#endif
