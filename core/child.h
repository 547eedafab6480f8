/* Child processes: spawned by any thread, reaped by the main thread only (it owns
 * SIGCHLD). After a successful bt_child_spawn exactly one exit message arrives at the
 * mailbox. What new_group ties together dies together: when the leader ends, the rest of
 * its group is killed before the exit message is posted. Linux ties a child's life to the
 * *thread* that spawned it: spawn from threads that live as long as the process. Children
 * that still run when the supervisor is freed are killed without a message. */
#ifndef CORE_CHILD_H
#define CORE_CHILD_H

#include <sys/types.h>

#include "core/confine.h"
#include "core/mbox.h"
#include "core/module.h"

struct bt_child_fd {
    int fd;     /* in this process; stays open here */
    int target; /* number in the child */
};

struct bt_child_opts {
    const char *file;  /* absolute path */
    char *const *argv; /* NULL-terminated */
    char *const *envp; /* NULL-terminated, complete: nothing is inherited */
    const char *cwd;   /* or NULL */
    const struct bt_child_fd
        *fds; /* all else is closed in the child; of 0, 1, 2 the absent are /dev/null */
    size_t n_fds;   /* at most 16 */
    bool new_group; /* own process group; the child also dies when we die (Linux:
                       PDEATHSIG) and gets no_new_privs */
    const struct bt_confine *confine; /* or NULL; needs new_group. See no_wait */
    bool no_wait; /* do not wait for exec: when it fails, the child writes why to its
                     standard error and ends with status 127. For children that join
                     control groups, which takes milliseconds */
};

struct bt_child_exit {
    struct bt_msg msg; /* kind is the caller's */
    pid_t pid;
    int status; /* as from waitpid */
    int error;  /* when the program could not be run: why, an errno; 0: it was run */
};

/* Any thread. `on_exit` is owned by the caller until it is posted to `to`. 0 and *pid, or
 * BT_EIO/BT_ENOMEM (then on_exit stays with the caller and nothing runs; of it only
 * `error` is set). A failing exec is reported here, not as an exit (but see no_wait); it
 * is waited for, which takes as long as reading the file's first page. */
int bt_child_spawn(struct bt_super *super, const struct bt_child_opts *opts,
                   struct bt_mbox *to, struct bt_child_exit *on_exit,
                   pid_t *pid) BT_MUST_CHECK;
/* Children that our children start and leave behind become ours instead of init's, from
 * now on; those that nobody adopts are reaped when they end. 0, or BT_CHILD_CANNOT. Any
 * thread. */
#define BT_CHILD_CANNOT 1
int bt_child_adopt_orphans(void) BT_MUST_CHECK;
/* +1 before a child is asked to leave a process behind, -1 when none will come: in
 * between no unknown child is reaped. A successful bt_child_adopt counts as -1. */
void bt_child_expect(int change);
/* Whether pid is such a process: a child of ours that nobody has registered, the leader
 * of its own group in our session. Whoever else says an id may mean anybody's process:
 * ask before doing anything to it. Any thread. */
bool bt_child_is_orphan(pid_t pid) BT_MUST_CHECK;
/* Take such a process for a child that was spawned here: on_exit follows. 0, BT_ENOMEM,
 * or BT_EINVAL: bt_child_is_orphan says no. */
int bt_child_adopt(pid_t pid, struct bt_mbox *to,
                   struct bt_child_exit *on_exit) BT_MUST_CHECK;
/* Signal the child's whole group (if new_group) or the child. Harmless after it ended but
 * before its exit message was handled. */
void bt_child_kill(pid_t pid, bool group, int signum);

#endif
