/* Darwin has no control groups: nothing is found, so nothing is ever made. */
#include "core/error.h"
#include "funcmgr/limits/cgroup.h"

int fm_cgroups_open(struct fm_cgroups *cgs, const char *root, const char *id,
                    unsigned versions, struct bt_buf *why)
{
    (void)id;
    (void)versions;
    *cgs = (struct fm_cgroups){ .root = root };
    return bt_buf_append_str(why, "; this system has no control groups");
}

void fm_cgroups_close(struct fm_cgroups *cgs)
{
    *cgs = (struct fm_cgroups){ 0 };
}

bool fm_cgroup_end_folder(const char *path)
{
    (void)path;
    return true;
}

int fm_cgroup_make(struct fm_cgroup *g, const struct fm_cgroups *all, const char *name,
                   const struct fm_cgroup_limits *limits)
{
    (void)name;
    (void)limits;
    *g = (struct fm_cgroup){ .all = all };
    return 0;
}

int fm_cgroup_doors(const struct fm_cgroup *g, int fds[FM_CGROUP_MOUNTS])
{
    (void)g;
    (void)fds;
    return 0;
}

int fm_cgroup_adopt(const struct fm_cgroup *g, pid_t pid)
{
    (void)g;
    (void)pid;
    return 0;
}

void fm_cgroup_kill(const struct fm_cgroup *g)
{
    (void)g;
}

bool fm_cgroup_oom(struct fm_cgroup *g)
{
    (void)g;
    return false;
}

int fm_cgroup_remove(struct fm_cgroup *g)
{
    *g = (struct fm_cgroup){ 0 };
    return 0;
}
