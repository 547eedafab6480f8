/* The guard's own part; the whole is in tests/integration/t_hostile_functions.py. */
#include "funcmgr/limits/guard.c"

#include "tests/harness.h"

/* Runs when this returns. */
static pid_t sleeper(const char *mark)
{
    static char run[64], name[] = "sleep", seconds[] = "100";
    char *env[] = { run, NULL }, *argv[] = { name, seconds, NULL };
    int fds[2];
    char byte;
    pid_t pid;

    (void)snprintf(run, sizeof(run), "%s", mark);
    CHECK_INT(bt_sys_pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        execve("/bin/sleep", argv, env);
        _exit(127);
    }
    close(fds[1]);
    CHECK_INT(read(fds[0], &byte, 1), 0); /* closed by exec */
    close(fds[0]);
    return pid;
}

static int signal_of(pid_t pid)
{
    int status = 0;

    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(a_list_of_strings)
{
    static const char list[] = "A=1\0BAETYL_RUN=x\0C=";

    CHECK(list_has(list, sizeof(list), "BAETYL_RUN=x"));
    CHECK(list_has(list, sizeof(list), "C="));
    CHECK(!list_has(list, sizeof(list), "BAETYL_RUN="));
    CHECK(!list_has(list, sizeof(list), "AETYL_RUN=x"));
    CHECK(!list_has(list, 3, "A=1")); /* cut: without its end */
}

TEST(lines)
{
    char many[MAX_LINE], add[] = "+4711", more[] = "+4712", end[] = "-4711", odd[] = "?",
                         none[] = "", one[] = "+1";

    memset(&guard, 0, sizeof(guard));
    obey(add);
    obey(more);
    obey(one);
    obey(odd);
    obey(none);
    CHECK_INT(guard.n_groups, 2);
    obey(end);
    CHECK_INT(guard.n_groups, 1);
    CHECK_INT(guard.groups[0], 4712);
    for (int i = 0; i < 10; i++) {
        strcpy(many, "/a/folder");
        obey(many);
    }
    CHECK_INT(guard.n_folders, FM_CGROUP_MOUNTS);
}

TEST(groups_that_did_not_end_are_killed)
{
    struct fm_guard g;
    pid_t left, ended;

    CHECK_INT(fm_guard_start(&g), 0);
    left = sleeper("A=1");
    ended = sleeper("A=1");
    fm_guard_add(&g, left);
    fm_guard_add(&g, ended);
    fm_guard_ended(&g, ended, NULL);
    fm_guard_stop(&g);
    CHECK_INT(signal_of(left), SIGKILL);
    CHECK_INT(kill(ended, SIGTERM), 0);
    CHECK_INT(signal_of(ended), SIGTERM);
    fm_guard_stop(&g);
}

TEST(what_has_the_mark_is_killed)
{
    struct fm_guard g;
    char mark[64];
    pid_t left;

    if (access("/proc/self/environ", R_OK) != 0)
        SKIP("this system has no /proc");
    CHECK_INT(fm_guard_start(&g), 0);
    (void)snprintf(mark, sizeof(mark), "%s=%s", FM_GUARD_VARIABLE, g.run);
    left = sleeper(mark);
    fm_guard_ended(&g, 4711, "f.1"); /* not of this instance */
    fm_guard_stop(&g);
    CHECK_INT(signal_of(left), SIGKILL);
}
