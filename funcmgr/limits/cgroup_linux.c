/* The group of one instance.
 *
 * Happy path: a folder in each tree, the limits written into it; the process joins
 * between fork and exec, so that nothing of it ever runs outside. When it has ended, what
 * it left behind is killed and the folders go. Failure modes: a folder of that name
 * exists (a number is added), a limit that the kernel refuses (the instance does not
 * start: a limit that was asked for is never left out silently), a process that has not
 * ended when its folder should go (tried again). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/limits/cgroup_priv.h"

/* Microseconds. A short period keeps the pauses of the function short, and the bursts in
 * which it takes a processor from others; the kernel wants at least 1 ms of a period, so
 * a small share needs a long one. */
#define CPU_PERIOD_US      20000u
#define CPU_PERIOD_LONG_US 100000u
#define CPU_SMALL_MILLI    50u
#define MAX_SAME_NAME      100
#define MAX_NAME           160u

/* ---- Small files ---- */

static int open_file(const char *folder, const char *file, int flags)
{
    char path[FM_CGROUP_PATH];
    int n = snprintf(path, sizeof(path), "%s/%s", folder, file);

    if (n < 0 || n >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC);
}

int fm_cgroup_put(const char *folder, const char *file, const char *text)
{
    size_t len = strlen(text);
    int fd = open_file(folder, file, O_WRONLY), saved;
    ssize_t n;

    if (fd < 0)
        return -1;
    n = write(fd, text, len);
    saved = errno;
    close(fd);
    errno = saved;
    return n == (ssize_t)len ? 0 : -1;
}

int fm_cgroup_get(const char *folder, const char *file, char text[FM_CGROUP_TEXT])
{
    int fd = open_file(folder, file, O_RDONLY);
    size_t len = 0;
    ssize_t n = 0;

    text[0] = '\0';
    if (fd < 0)
        return -1;
    while (len < FM_CGROUP_TEXT - 1 &&
           (n = read(fd, text + len, FM_CGROUP_TEXT - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(fd);
    return n < 0 ? -1 : 0;
}

bool fm_cgroup_has(const char *folder, const char *file)
{
    int fd = open_file(folder, file, O_WRONLY);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void fm_cgroup_kill_folder(const char *folder, bool kills)
{
    char text[FM_CGROUP_TEXT];
    char *p = text, *end;

    if (kills && fm_cgroup_put(folder, "cgroup.kill", "1") == 0)
        return;
    if (fm_cgroup_get(folder, "cgroup.procs", text) != 0)
        return;
    for (long pid; (pid = strtol(p, &end, 10)) > 0 && end != p; p = end)
        if (pid != (long)getpid())
            (void)kill((pid_t)pid, SIGKILL);
}

/* ---- The group ---- */

static int folder_of(const struct fm_cgroup *g, size_t i, char path[FM_CGROUP_PATH])
{
    int n = snprintf(path, FM_CGROUP_PATH, "%s/%s", g->all->mounts[i].ours, g->name);

    return n > 0 && n < FM_CGROUP_PATH ? 0 : -1;
}

static bool has(const struct fm_cgroup *g, size_t i)
{
    return (g->mounts & 1u << i) != 0;
}

/* A name that a folder can have: FUNCTION.NUMBER, other bytes as %XX; names that are too
 * long end with a hash. */
static char *folder_name(const char *name, unsigned same)
{
    struct bt_buf out bt_cleanup(bt_buf_deinit) = { 0 };
    uint32_t hash = 2166136261u;
    int r = 0;

    for (const char *p = name; *p != '\0' && r == 0; p++) {
        unsigned char c = (unsigned char)*p;
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                     c == '_' || c == '-' || (c == '.' && p != name);

        hash = (hash ^ c) * 16777619u;
        if (out.len < MAX_NAME)
            r = bt_buf_printf(&out, plain ? "%c" : "%%%02X", c);
    }
    if (r == 0 && out.len >= MAX_NAME)
        r = bt_buf_printf(&out, "~%08x", (unsigned)hash);
    if (r == 0 && same > 0)
        r = bt_buf_printf(&out, "~%u", same);
    return r == 0 ? bt_buf_steal_str(&out) : NULL;
}

static int put_number(const char *folder, const char *file, uint64_t n)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    return fm_cgroup_put(folder, file, text);
}

static int limit_memory(const char *folder, bool v2, uint64_t bytes)
{
    if (put_number(folder, v2 ? "memory.max" : "memory.limit_in_bytes", bytes) != 0)
        return -1;
    /* Without swap accounting these files do not exist. */
    if (v2) {
        (void)fm_cgroup_put(folder, "memory.swap.max", "0");
        (void)fm_cgroup_put(folder, "memory.oom.group", "1");
    } else {
        (void)put_number(folder, "memory.memsw.limit_in_bytes", bytes);
    }
    return 0;
}

static int limit_cpu(const char *folder, bool v2, uint32_t milli)
{
    uint32_t period = milli < CPU_SMALL_MILLI ? CPU_PERIOD_LONG_US : CPU_PERIOD_US;
    uint64_t quota = (uint64_t)milli * (period / 1000);
    char text[48];

    if (!v2)
        return put_number(folder, "cpu.cfs_period_us", period) == 0 &&
                       put_number(folder, "cpu.cfs_quota_us", quota) == 0
                   ? 0
                   : -1;
    (void)snprintf(text, sizeof(text), "%llu %u", (unsigned long long)quota,
                   (unsigned)period);
    return fm_cgroup_put(folder, "cpu.max", text);
}

static int set_limits(const struct fm_cgroup *g, const struct fm_cgroup_limits *l)
{
    char folder[FM_CGROUP_PATH];

    for (size_t i = 0; i < g->all->n_mounts; i++) {
        const struct fm_cgroup_mount *m = &g->all->mounts[i];

        if (!has(g, i) || folder_of(g, i, folder) != 0)
            continue;
        if ((m->controllers & FM_CTL(FM_CTL_MEMORY)) != 0 && l->memory > 0 &&
            limit_memory(folder, m->v2, l->memory) != 0)
            return bt_origin(BT_EIO, "a memory limit cannot be set");
        if ((m->controllers & FM_CTL(FM_CTL_CPU)) != 0 && l->cpu_milli > 0 &&
            limit_cpu(folder, m->v2, l->cpu_milli) != 0)
            return bt_origin(BT_EIO, "a processor limit cannot be set");
        if ((m->controllers & FM_CTL(FM_CTL_PIDS)) != 0 && l->pids > 0 &&
            put_number(folder, "pids.max", l->pids) != 0)
            return bt_origin(BT_EIO, "a limit of processes cannot be set");
    }
    return 0;
}

static unsigned wanted(const struct fm_cgroup_limits *l)
{
    return (l->memory > 0 ? FM_CTL(FM_CTL_MEMORY) : 0) |
           (l->cpu_milli > 0 ? FM_CTL(FM_CTL_CPU) : 0) |
           (l->pids > 0 ? FM_CTL(FM_CTL_PIDS) : 0);
}

static void remove_folders(struct fm_cgroup *g)
{
    char folder[FM_CGROUP_PATH];

    for (size_t i = 0; i < g->all->n_mounts; i++) {
        if (has(g, i) && folder_of(g, i, folder) == 0 &&
            (rmdir(folder) == 0 || errno == ENOENT))
            g->mounts &= ~(1u << i);
    }
}

/* 0, or -1 with errno and no folder left. */
static int make_folders(struct fm_cgroup *g, unsigned controllers)
{
    char folder[FM_CGROUP_PATH];
    int saved;

    for (size_t i = 0; i < g->all->n_mounts; i++) {
        const struct fm_cgroup_mount *m = &g->all->mounts[i];

        if (!m->kills && (m->controllers & controllers) == 0)
            continue;
        if (folder_of(g, i, folder) != 0 || mkdir(folder, 0755) != 0) {
            saved = errno;
            remove_folders(g);
            errno = saved;
            return -1;
        }
        g->mounts |= 1u << i;
    }
    return 0;
}

int fm_cgroup_make(struct fm_cgroup *g, const struct fm_cgroups *all, const char *name,
                   const struct fm_cgroup_limits *limits)
{
    int r = -1;

    *g = (struct fm_cgroup){ .all = all };
    for (unsigned same = 0; r != 0 && same < MAX_SAME_NAME; same++) {
        bt_free(g->name);
        g->name = folder_name(name, same);
        if (g->name == NULL)
            return BT_ENOMEM;
        r = make_folders(g, wanted(limits));
        if (r != 0 && errno != EEXIST)
            break;
    }
    if (r != 0)
        r = bt_origin(BT_EIO, "the control group of an instance cannot be made");
    else
        r = set_limits(g, limits);
    if (r != 0 && fm_cgroup_remove(g) != 0)
        bt_free(bt_steal(g->name));
    return r;
}

int fm_cgroup_doors(const struct fm_cgroup *g, int fds[FM_CGROUP_MOUNTS])
{
    char folder[FM_CGROUP_PATH];
    int n = 0;

    for (size_t i = 0; i < g->all->n_mounts; i++) {
        if (!has(g, i) || folder_of(g, i, folder) != 0)
            continue;
        fds[n] = open_file(folder, "cgroup.procs", O_WRONLY);
        if (fds[n] >= 0) {
            n++;
            continue;
        }
        (void)bt_origin(BT_EIO, "the control group of an instance cannot be opened");
        while (n > 0)
            close(fds[--n]);
        return -1;
    }
    return n;
}

int fm_cgroup_adopt(const struct fm_cgroup *g, pid_t pid)
{
    char folder[FM_CGROUP_PATH];

    for (size_t i = 0; i < g->all->n_mounts; i++) {
        if (has(g, i) && folder_of(g, i, folder) == 0 &&
            put_number(folder, "cgroup.procs", (uint64_t)pid) != 0)
            return bt_origin(BT_EIO, "a process cannot be put into its control group");
    }
    return 0;
}

/* One tree that can kill is enough: all processes are in all trees. */
void fm_cgroup_kill(const struct fm_cgroup *g)
{
    char folder[FM_CGROUP_PATH];
    size_t n = g->all != NULL ? g->all->n_mounts : 0;

    for (size_t i = 0; i < n; i++) {
        if (has(g, i) && g->all->mounts[i].kills && folder_of(g, i, folder) == 0) {
            fm_cgroup_kill_folder(folder, true);
            return;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (has(g, i) && folder_of(g, i, folder) == 0)
            fm_cgroup_kill_folder(folder, false);
    }
}

bool fm_cgroup_oom(struct fm_cgroup *g)
{
    char folder[FM_CGROUP_PATH], text[FM_CGROUP_TEXT];
    uint64_t before = g->oom;
    const char *p;

    for (size_t i = 0; g->all != NULL && i < g->all->n_mounts; i++) {
        const struct fm_cgroup_mount *m = &g->all->mounts[i];

        if (!has(g, i) || (m->controllers & FM_CTL(FM_CTL_MEMORY)) == 0 ||
            folder_of(g, i, folder) != 0 ||
            fm_cgroup_get(folder, m->v2 ? "memory.events" : "memory.oom_control", text) !=
                0)
            continue;
        p = strstr(text, "oom_kill ");
        if (p != NULL)
            g->oom = strtoull(p + strlen("oom_kill "), NULL, 10);
    }
    return g->oom > before;
}

int fm_cgroup_remove(struct fm_cgroup *g)
{
    if (g->all == NULL)
        return 0;
    fm_cgroup_kill(g);
    remove_folders(g);
    if (g->mounts != 0)
        return FM_CGROUP_BUSY;
    bt_free(g->name);
    *g = (struct fm_cgroup){ 0 };
    return 0;
}
