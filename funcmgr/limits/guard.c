/* The guard is a fork of this process at a time when it has one thread; it closes all
 * descriptors but the reading end of a pipe and waits there.
 *
 * Happy path: a line for every instance that begins or ends; then end of file: no group
 * is left, the guard exits. When this process was killed, the kernel kills the instances
 * (their parent-death signal) and closes the pipe, and the guard kills the groups that
 * were not reported as ended, everything in our control groups, and every process that
 * has our mark in its environment, until there is none.
 *
 * Failure modes: a full pipe (a line is lost: a group may be killed that is gone already,
 * which does nothing), a guard that was killed (logged once; nothing else changes). What
 * has left its group, is in no control group and has wiped its environment is not found.
 */
#include "funcmgr/limits/guard.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/sys.h"
#include "funcmgr/limits/cgroup.h"

#define MAX_LINE    1024
#define MAX_GROUPS  4096
#define MAX_ENVIRON 65536
/* At the end: passes until nothing is found, and the time between two. */
#define MAX_PASSES 200
#define PASS_US    5000u

/* All of the guard's memory; it belongs to the guard process alone. */
static struct {
    char run[48]; /* BAETYL_RUN=... */
    pid_t groups[MAX_GROUPS];
    size_t n_groups;
    char folders[FM_CGROUP_MOUNTS][MAX_LINE];
    size_t n_folders;
    char environ[MAX_ENVIRON];
} guard;

/* ---- In the guard ---- */

/* Whether a list of NUL-terminated strings has one. */
static bool list_has(const char *list, size_t len, const char *text)
{
    size_t want = strlen(text) + 1;

    while (len > 0) {
        const char *end = memchr(list, 0, len);
        size_t n = end != NULL ? (size_t)(end - list) + 1 : len;

        if (n == want && memcmp(list, text, n) == 0)
            return true;
        list += n;
        len -= n;
    }
    return false;
}

/* Whether the process has our mark and, when given, that of an instance. */
static bool is_ours(const char *pid, const char *instance)
{
    char path[64];
    size_t len = 0;
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%.20s/environ", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    while (len < MAX_ENVIRON &&
           (n = read(fd, guard.environ + len, MAX_ENVIRON - len)) > 0)
        len += (size_t)n;
    close(fd);
    return list_has(guard.environ, len, guard.run) &&
           (instance == NULL || list_has(guard.environ, len, instance));
}

/* SIGKILL to all processes with the mark; how many there were. */
static unsigned sweep(const char *instance)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    unsigned found = 0;

    while (dir != NULL && (e = readdir(dir)) != NULL) { /* NOLINT: own stream */
        if (isdigit((unsigned char)e->d_name[0]) && is_ours(e->d_name, instance))
            found += kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL) == 0;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static void forget(pid_t pid)
{
    for (size_t i = 0; i < guard.n_groups; i++) {
        if (guard.groups[i] == pid)
            guard.groups[i--] = guard.groups[--guard.n_groups];
    }
}

/* +PID, -PID, -PID NAME or a path. */
static void obey(char *line)
{
    char *rest;
    pid_t pid = (pid_t)strtol(line + (line[0] != '\0'), &rest, 10);
    char instance[MAX_LINE + 32];

    if (line[0] == '+' && pid > 1 && guard.n_groups < MAX_GROUPS) {
        guard.groups[guard.n_groups++] = pid;
    } else if (line[0] == '-') {
        forget(pid);
        (void)snprintf(instance, sizeof(instance), "BAETYL_SERVICE_INSTANCE_NAME=%s",
                       rest + (*rest == ' '));
        if (*rest == ' ')
            (void)sweep(instance);
    } else if (line[0] == '/' && guard.n_folders < FM_CGROUP_MOUNTS) {
        (void)snprintf(guard.folders[guard.n_folders++], MAX_LINE, "%.*s", MAX_LINE - 1,
                       line);
    }
}

static void read_lines(int fd)
{
    char buf[4 * MAX_LINE];
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, buf + len, sizeof(buf) - len)) != 0) {
        char *end, *from = buf;

        if (n < 0) {
            if (errno != EINTR)
                return;
            continue;
        }
        len += (size_t)n;
        while ((end = memchr(from, '\n', len)) != NULL) {
            *end = '\0';
            len -= (size_t)(end + 1 - from);
            obey(from);
            from = end + 1;
        }
        memmove(buf, from, len);
        if (len == sizeof(buf)) /* cannot be: no line is that long */
            len = 0;
    }
}

static void end_all(void)
{
    unsigned quiet = 0;

    for (int i = 0; i < MAX_PASSES && quiet < 2; i++) {
        unsigned found = 0;

        for (size_t g = 0; g < guard.n_groups; g++)
            found += kill(-guard.groups[g], SIGKILL) == 0;
        for (size_t f = 0; f < guard.n_folders; f++)
            (void)fm_cgroup_end_folder(guard.folders[f]);
        found += sweep(NULL);
        quiet = found == 0 ? quiet + 1 : 0;
        if (found > 0)
            usleep(PASS_US);
    }
}

/* No signal of a terminal or of a service manager ends it before us. */
static _Noreturn void run_guard(int fd)
{
    static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < BT_ARRAY_LEN(ignored); i++)
        (void)sigaction(ignored[i], &action, NULL);
    (void)setsid();
    (void)!chdir("/");
    bt_sys_thread_name("baetyl-guard");
    (void)dup2(fd, 0);
    bt_sys_close_from(1);
    read_lines(0);
    end_all();
    _exit(0);
}

/* ---- In the function manager ---- */

int fm_guard_start(struct fm_guard *g)
{
    uint64_t random = 0;
    int fds[2];

    *g = (struct fm_guard){ .fd = -1 };
    if (bt_sys_random(&random, sizeof(random)) != 0 || bt_sys_pipe(fds) != 0)
        return bt_origin(BT_EIO, "the guard of the functions has no pipe");
    (void)snprintf(g->run, sizeof(g->run), "%016llx", (unsigned long long)random);
    (void)snprintf(guard.run, sizeof(guard.run), FM_GUARD_VARIABLE "=%s", g->run);
    g->pid = fork();
    if (g->pid == 0)
        run_guard(fds[0]);
    close(fds[0]);
    if (g->pid < 0 || fcntl(fds[1], F_SETFL, O_NONBLOCK) != 0) {
        g->pid = 0;
        close(fds[1]);
        return bt_origin(BT_EIO, "the guard of the functions cannot be started");
    }
    g->fd = fds[1];
    return 0;
}

void fm_guard_stop(struct fm_guard *g)
{
    if (g->pid == 0)
        return;
    close(g->fd);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *g = (struct fm_guard){ .fd = -1 };
}

static void tell(const struct fm_guard *g, const char *line, int len)
{
    if (g->pid == 0 || len <= 0 || len >= MAX_LINE)
        return;
    if (write(g->fd, line, (size_t)len) < 0 && errno == EPIPE)
        bt_log(BT_LOG_WARN, "FUNC-GUARD",
               "the guard is gone: what functions start may outlive us", "pid=%ld",
               (long)g->pid);
}

void fm_guard_add(const struct fm_guard *g, pid_t pid)
{
    char line[MAX_LINE];

    tell(g, line, snprintf(line, sizeof(line), "+%ld\n", (long)pid));
}

void fm_guard_ended(const struct fm_guard *g, pid_t pid, const char *name)
{
    char line[MAX_LINE];

    tell(g, line,
         snprintf(line, sizeof(line), "-%ld%s%s\n", (long)pid, name != NULL ? " " : "",
                  name != NULL ? name : ""));
}

void fm_guard_folder(const struct fm_guard *g, const char *path)
{
    char line[MAX_LINE];

    tell(g, line, snprintf(line, sizeof(line), "%s\n", path));
}
