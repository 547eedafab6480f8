/* Darwin: limits and the user; there are no control groups and no Landlock, and who asks
 * for them is told before a child is made. */
#include <errno.h>
#include <grp.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/confine.h"

int bt_confine_join(const struct bt_confine *c)
{
    if (c->n_joins == 0)
        return 0;
    errno = ENOTSUP;
    return -1;
}

int bt_confine_apply(const struct bt_confine *c, const char **step)
{
    *step = "the limits of the process";
    for (size_t i = 0; i < c->n_rlimits; i++) {
        struct rlimit limit = { (rlim_t)c->rlimits[i].value,
                                (rlim_t)c->rlimits[i].value };

        if (setrlimit(c->rlimits[i].resource, &limit) != 0)
            return -1;
    }
    *step = "the user of the process";
    if (c->set_user && (setgroups((int)c->n_groups, c->groups) != 0 ||
                        setgid(c->gid) != 0 || setuid(c->uid) != 0))
        return -1;
    if (c->nice != 0)
        (void)nice(c->nice);
    return 0;
}

int bt_confine_adopt(const struct bt_confine *c, pid_t pid)
{
    if (c->n_rlimits > 0) {
        errno = ENOTSUP;
        return -1;
    }
    return c->nice == 0 ? 0 : setpriority(PRIO_PROCESS, (id_t)pid, c->nice);
}
