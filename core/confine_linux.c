/* Linux: control groups by writing "0", the writer itself, into cgroup.procs.
 *
 * Order: the user is changed before the rule set, because a rule set does not change what
 * a user may do, and after the limits, which only root may have to raise. A change of the
 * user clears the parent-death signal; core/child.c sets it again. */
#include <errno.h>
#include <grp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/confine.h"
#include "core/landlock.h"

int bt_confine_join(const struct bt_confine *c)
{
    for (size_t i = 0; i < c->n_joins; i++) {
        if (write(c->join_fds[i], "0", 1) != 1)
            return -1;
    }
    return 0;
}

/* One call for each: the parameter is an enum in one C library and an int in another. */
static int set_rlimit(pid_t pid, const struct bt_confine_rlimit *wanted)
{
    struct rlimit limit = { (rlim_t)wanted->value, (rlim_t)wanted->value };

    switch (wanted->resource) {
    case RLIMIT_NOFILE:
        return prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
    case RLIMIT_DATA:
        return prlimit(pid, RLIMIT_DATA, &limit, NULL);
    case RLIMIT_NPROC:
        return prlimit(pid, RLIMIT_NPROC, &limit, NULL);
    case RLIMIT_CORE:
        return prlimit(pid, RLIMIT_CORE, &limit, NULL);
    default:
        errno = EINVAL;
        return -1;
    }
}

/* pid 0: of this process. */
static int set_rlimits(const struct bt_confine *c, pid_t pid)
{
    for (size_t i = 0; i < c->n_rlimits; i++) {
        if (set_rlimit(pid, &c->rlimits[i]) != 0)
            return -1;
    }
    return 0;
}

static int set_user(const struct bt_confine *c)
{
    if (!c->set_user)
        return 0;
    if (setgroups(c->n_groups, c->groups) != 0 || setgid(c->gid) != 0 ||
        setuid(c->uid) != 0)
        return -1;
    return 0;
}

int bt_confine_apply(const struct bt_confine *c, const char **step)
{
    *step = "the limits of the process";
    if (set_rlimits(c, 0) != 0)
        return -1;
    *step = "the user of the process";
    if (set_user(c) != 0)
        return -1;
    *step = "the sandbox of the process";
    if (c->rules_fd >= 0 && bt_landlock_enter(c->rules_fd) != 0)
        return -1;
    if (c->nice != 0)
        (void)!nice(c->nice);
    return 0;
}

int bt_confine_adopt(const struct bt_confine *c, pid_t pid)
{
    if (set_rlimits(c, pid) != 0)
        return -1;
    return c->nice == 0 ? 0 : setpriority(PRIO_PROCESS, (id_t)pid, c->nice);
}
