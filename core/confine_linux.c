/* Linux: control groups by writing "0", the writer itself, into cgroup.procs.
 *
 * Order: the user is changed before the rule set, because a rule set does not change what
 * a user may do, and after the limits, which only root may have to raise. A change of the
 * user clears the parent-death signal; core/child.c sets it again. */
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

static int set_rlimits(const struct bt_confine *c)
{
    for (size_t i = 0; i < c->n_rlimits; i++) {
        struct rlimit limit = { (rlim_t)c->rlimits[i].value,
                                (rlim_t)c->rlimits[i].value };

        if (setrlimit(c->rlimits[i].resource, &limit) != 0)
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
    if (set_rlimits(c) != 0)
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
    for (size_t i = 0; i < c->n_rlimits; i++) {
        struct rlimit limit = { (rlim_t)c->rlimits[i].value,
                                (rlim_t)c->rlimits[i].value };

        if (prlimit(pid, c->rlimits[i].resource, &limit, NULL) != 0)
            return -1;
    }
    return c->nice == 0 ? 0 : setpriority(PRIO_PROCESS, (id_t)pid, c->nice);
}
