/* What a child process does to itself between fork and exec, so that it can do less: join
 * control groups, lower its limits, change its user, close the file system. Stateless.
 * The first two functions are async-signal-safe: no memory, no locks; for core/child.c.
 * Darwin knows the limits and the user only. */
#ifndef CORE_CONFINE_H
#define CORE_CONFINE_H

#include <sys/types.h>

#include "core/base.h"

#define BT_CONFINE_JOINS   4
#define BT_CONFINE_RLIMITS 4
#define BT_CONFINE_GROUPS  32

struct bt_confine_rlimit {
    int resource; /* RLIMIT_NOFILE, _DATA, _NPROC, _CORE; both limits become value */
    uint64_t value;
};

struct bt_confine {
    int join_fds[BT_CONFINE_JOINS]; /* open cgroup.procs files, close-on-exec */
    size_t n_joins;
    struct bt_confine_rlimit rlimits[BT_CONFINE_RLIMITS];
    size_t n_rlimits;
    int nice; /* added to the priority; 0 = as it is */
    bool set_user;
    uid_t uid;
    gid_t gid, groups[BT_CONFINE_GROUPS]; /* all of the user's groups */
    size_t n_groups;
    int rules_fd; /* a Landlock rule set, close-on-exec; -1: none */
};

/* The open files join_fds. 0 or -1 with errno. */
int bt_confine_join(const struct bt_confine *c);
/* All the rest, when descriptors are in their places and no_new_privs is set. 0 or -1
 * with errno and *step, what could not be done. */
int bt_confine_apply(const struct bt_confine *c, const char **step);

/* Set the limits of a running process of ours from outside; not for the child itself. 0
 * or -1 with errno. */
int bt_confine_adopt(const struct bt_confine *c, pid_t pid) BT_MUST_CHECK;

#endif
