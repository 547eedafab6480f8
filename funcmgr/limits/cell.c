/* The lock-up of one instance.
 *
 * Happy path: the group is made and its doors are opened before the spawn, the child
 * walks in and closes the rest behind itself, the doors are closed; when the process is
 * gone, so is the group. Failure modes: a group that cannot be made fails the start; a
 * group whose processes take their time to end is removed later, by the backend's timer.
 */
#include "funcmgr/limits/cell.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"
#include "funcmgr/limits/sandbox.h"

#define NICE 10

static void add_rlimit(struct bt_confine *c, int resource, uint64_t value)
{
    c->rlimits[c->n_rlimits++] = (struct bt_confine_rlimit){ resource, value };
}

static void plan(struct fm_cell *cell)
{
    const struct fm_limits *l = cell->limits;
    const struct fm_limits_conf *want = &l->want;
    struct bt_confine *c = &cell->confine;

    c->rules_fd = -1;
    if (l->by[FM_LIMIT_FILES] == FM_BY_RLIMIT)
        add_rlimit(c, RLIMIT_NOFILE, want->files);
    /* Private writable memory: what the program uses, not what it maps or reserves. */
    if (l->by[FM_LIMIT_MEMORY] == FM_BY_RLIMIT)
        add_rlimit(c, RLIMIT_DATA, want->memory);
    if (l->by[FM_LIMIT_PIDS] == FM_BY_RLIMIT)
        add_rlimit(c, RLIMIT_NPROC, want->pids);
    if (l->by[FM_LIMIT_CPU] == FM_BY_NICE)
        c->nice = NICE;
    c->set_user = l->user.set;
    c->uid = l->user.uid;
    c->gid = l->user.gid;
    c->n_groups = l->user.n_groups;
    memcpy(c->groups, l->user.groups, sizeof(c->groups));
}

static bool by_cgroup(const struct fm_limits *l, enum fm_limit limit)
{
    return l->by[limit] == FM_BY_CGROUP1 || l->by[limit] == FM_BY_CGROUP2;
}

static int make_group(struct fm_cell *cell, const char *name)
{
    const struct fm_limits *l = cell->limits;
    const struct fm_limits_conf *want = &l->want;
    struct fm_cgroup_limits held = {
        .memory = by_cgroup(l, FM_LIMIT_MEMORY) ? want->memory : 0,
        .cpu_milli = by_cgroup(l, FM_LIMIT_CPU) ? want->cpu_milli : 0,
        .pids = by_cgroup(l, FM_LIMIT_PIDS) ? want->pids : 0,
    };
    int n, r;

    if (held.memory == 0 && held.cpu_milli == 0 && held.pids == 0)
        return 0;
    r = fm_cgroup_make(&cell->group, &l->backend->cgroups, name, &held);
    if (r != 0)
        return r;
    cell->grouped = true;
    n = fm_cgroup_doors(&cell->group, cell->confine.join_fds);
    if (n < 0)
        return BT_EIO;
    cell->confine.n_joins = (size_t)n;
    return 0;
}

static bool nothing_to_do(const struct fm_cell *cell)
{
    const struct bt_confine *c = &cell->confine;

    return !cell->grouped && c->n_rlimits == 0 && !c->set_user && c->nice == 0 &&
           c->rules_fd < 0 && !fm_cell_tells_by_status(cell);
}

int fm_cell_new(struct fm_limits *limits, const char *name, struct fm_cell **out)
{
    struct fm_cell *cell;
    int r;

    *out = NULL;
    if (limits == NULL)
        return 0;
    cell = bt_calloc(1, sizeof(*cell));
    if (cell == NULL)
        return BT_ENOMEM;
    cell->limits = fm_limits_ref(limits);
    plan(cell);
    r = make_group(cell, name);
    if (r == 0 && limits->sandboxed) {
        cell->confine.rules_fd = fm_sandbox_rules(limits);
        r = cell->confine.rules_fd >= 0 ? 0 : BT_EIO;
    }
    if (r == 0 && !nothing_to_do(cell)) {
        *out = cell;
        return 0;
    }
    fm_cell_free(cell);
    return r;
}

const struct bt_confine *fm_cell_confine(const struct fm_cell *cell)
{
    return cell != NULL ? &cell->confine : NULL;
}

bool fm_cell_is_slow(const struct fm_cell *cell)
{
    return cell != NULL && cell->confine.n_joins > 0;
}

void fm_cell_started(struct fm_cell *cell)
{
    if (cell == NULL)
        return;
    while (cell->confine.n_joins > 0)
        close(cell->confine.join_fds[--cell->confine.n_joins]);
    if (cell->confine.rules_fd >= 0)
        close(cell->confine.rules_fd);
    cell->confine.rules_fd = -1;
}

int fm_cell_adopt(struct fm_cell *cell, pid_t pid)
{
    if (cell == NULL)
        return 0;
    fm_cell_started(cell);
    if (bt_confine_adopt(&cell->confine, pid) != 0)
        return bt_origin(BT_EIO, "the limits of a process cannot be set");
    return cell->grouped ? fm_cgroup_adopt(&cell->group, pid) : 0;
}

bool fm_cell_holds_all(const struct fm_cell *cell)
{
    return cell != NULL && cell->grouped;
}

void fm_cell_kill(const struct fm_cell *cell)
{
    if (cell != NULL && cell->grouped)
        fm_cgroup_kill(&cell->group);
}

/* An interpreter that is out of its own limit aborts. */
bool fm_cell_tells_by_status(const struct fm_cell *cell)
{
    return cell != NULL && cell->limits->by[FM_LIMIT_MEMORY] == FM_BY_RUNTIME;
}

static bool out_of_memory(struct fm_cell *cell, int status)
{
    if (cell == NULL)
        return false;
    if (cell->grouped && fm_cgroup_oom(&cell->group))
        return true;
    return fm_cell_tells_by_status(cell) && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

bool fm_cell_why(struct fm_cell *cell, int status, char *text, size_t size)
{
    static const struct {
        unsigned shift;
        const char *unit;
    } units[] = { { 30, "GiB" }, { 20, "MiB" }, { 10, "KiB" }, { 0, "bytes" } };
    uint64_t bytes;
    size_t i = 0;

    if (!out_of_memory(cell, status))
        return false;
    bytes = cell->limits->want.memory;
    while (bytes % ((uint64_t)1 << units[i].shift) != 0)
        i++;
    (void)snprintf(text, size, "the function was ended: memory limit of %llu %s reached",
                   (unsigned long long)(bytes >> units[i].shift), units[i].unit);
    return true;
}

void fm_cell_free(struct fm_cell *cell)
{
    if (cell == NULL)
        return;
    fm_cell_started(cell);
    fm_limits_bury(cell->limits->backend, cell);
}

void fm_cell_argv(const struct fm_limits *limits, char **argv,
                  char option[FM_CELL_OPTION])
{
    size_t n = 0;

    if (limits == NULL || limits->by[FM_LIMIT_MEMORY] != FM_BY_RUNTIME)
        return;
    (void)snprintf(option, FM_CELL_OPTION, "--max-old-space-size=%llu",
                   (unsigned long long)BT_MAX(limits->want.memory >> 20, 1u));
    while (argv[n] != NULL)
        n++;
    memmove(argv + 2, argv + 1, n * sizeof(*argv));
    argv[1] = option;
}
