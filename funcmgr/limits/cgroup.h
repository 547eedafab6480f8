/* Control groups of Linux, version 2, version 1 and both at once: a folder of ours in
 * each tree of the kernel, and in it one per instance. What cannot be had is left out;
 * who calls looks at `controllers`. The function manager's thread only, or before it
 * runs. Darwin has none. */
#ifndef FUNCMGR_CGROUP_H
#define FUNCMGR_CGROUP_H

#include <sys/types.h>

#include "core/buf.h"

enum fm_controller { FM_CTL_MEMORY, FM_CTL_CPU, FM_CTL_PIDS };
#define FM_N_CONTROLLERS 3
#define FM_CTL(c)        (1u << (c))

/* One tree of the kernel's: all of version 2, or one or more controllers of version 1. */
struct fm_cgroup_mount {
    char *ours; /* our folder in it, absolute, or NULL */
    bool v2;
    bool kills;           /* has cgroup.kill */
    unsigned controllers; /* FM_CTL bits that can be used here */
};
#define FM_CGROUP_MOUNTS 4

struct fm_cgroups {
    const char *root; /* "" for the machine's; tests: a folder that looks like it */
    char name[32];    /* of our folder */
    unsigned v1, v2;  /* controllers by the version that has them */
    struct fm_cgroup_mount mounts[FM_CGROUP_MOUNTS];
    size_t n_mounts;
};

/* Which versions may be looked for. */
#define FM_CGROUP_V1 1u
#define FM_CGROUP_V2 2u

/* Look for what there is and make our folders, named by `id`, which no other running
 * process of ours has (a working directory); what an earlier run left in them is ended.
 * May move this process into a folder below its own group, see the .c. `why` says what
 * was missing, for a person. 0 (also when nothing can be used) or BT_ENOMEM. */
int fm_cgroups_open(struct fm_cgroups *cgs, const char *root, const char *id,
                    unsigned versions, struct bt_buf *why) BT_MUST_CHECK;
/* End what runs in our folders, and remove them. Idempotent. */
void fm_cgroups_close(struct fm_cgroups *cgs);

/* End what runs in a folder of ours and remove it; waits up to a second. */
bool fm_cgroup_end_folder(const char *path);

/* The group of one instance: a folder of the same name in every tree it needs. */
struct fm_cgroup {
    const struct fm_cgroups *all;
    char *name;
    unsigned mounts; /* bit i: it has a folder in mounts[i] */
    uint64_t oom;    /* kills counted so far */
};

struct fm_cgroup_limits {
    uint64_t memory;    /* bytes; 0 = none */
    uint32_t cpu_milli; /* thousandths of one processor; 0 = none */
    uint32_t pids;      /* 0 = none */
};

/* Make the group of `name` with the limits that can be had. 0, BT_ENOMEM, or BT_EIO
 * (logged; nothing is left). */
int fm_cgroup_make(struct fm_cgroup *g, const struct fm_cgroups *all, const char *name,
                   const struct fm_cgroup_limits *limits) BT_MUST_CHECK;
/* Open the files a process joins by, close-on-exec, at most FM_CGROUP_MOUNTS; the number
 * of them, or -1 (logged). */
int fm_cgroup_doors(const struct fm_cgroup *g, int fds[FM_CGROUP_MOUNTS]) BT_MUST_CHECK;
/* Put a running process into the group. 0 or BT_EIO, logged. */
int fm_cgroup_adopt(const struct fm_cgroup *g, pid_t pid) BT_MUST_CHECK;
/* SIGKILL to everything in the group. */
void fm_cgroup_kill(const struct fm_cgroup *g);
/* Whether the kernel has killed for lack of memory since this was last asked. */
bool fm_cgroup_oom(struct fm_cgroup *g);
#define FM_CGROUP_BUSY 1 /* a process has not ended yet: call again later */
/* 0: the folders are gone and the struct is empty. */
int fm_cgroup_remove(struct fm_cgroup *g) BT_MUST_CHECK;

#endif
