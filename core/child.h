/* Child processes: spawned by any thread, reaped by the main thread only (it owns SIGCHLD).
 * After a successful bt_child_spawn exactly one exit message arrives at the mailbox. */
#ifndef CORE_CHILD_H
#define CORE_CHILD_H

#include <sys/types.h>

#include "core/mbox.h"
#include "core/module.h"

struct bt_child_fd {
    int fd;     /* in this process; stays open here */
    int target; /* number in the child */
};

struct bt_child_opts {
    const char *file;              /* absolute path */
    char *const *argv;             /* NULL-terminated */
    char *const *envp;             /* NULL-terminated, complete: nothing is inherited */
    const char *cwd;               /* or NULL */
    const struct bt_child_fd *fds; /* everything else is closed in the child */
    size_t n_fds;
    bool
        new_group; /* own process group; the child also dies when we die (Linux: PDEATHSIG) and gets no_new_privs */
};

struct bt_child_exit {
    struct bt_msg msg; /* kind is the caller's */
    pid_t pid;
    int status; /* as from waitpid */
};

/* Any thread. `on_exit` is owned by the caller until it is posted to `to`. 0 and *pid, or BT_EIO/BT_ENOMEM (then on_exit
 * stays with the caller and nothing runs). A failing exec is reported here, not as an exit. */
int bt_child_spawn(struct bt_super *super, const struct bt_child_opts *opts,
                   struct bt_mbox *to, struct bt_child_exit *on_exit,
                   pid_t *pid) BT_MUST_CHECK;
/* Signal the child's whole group (if new_group) or the child. Harmless after it ended but before its exit message was handled. */
void bt_child_kill(pid_t pid, bool group, int signum);

#endif
