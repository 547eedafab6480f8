#include "core/child.c"

#include <stdlib.h>

#include "tests/harness.h"

static struct bt_loop *loop;
static struct bt_mbox *box;
static struct bt_child_exit done;
static unsigned exits;
static char *no_env[] = { NULL };

static void on_exit_msg(void *arg, struct bt_msg *msg)
{
    (void)arg;
    exits += bt_container_of(msg, struct bt_child_exit, msg) == &done;
    bt_loop_stop(loop);
}

static void begin(void)
{
    bt_log_set_level(BT_LOG_ERROR);
    exits = 0;
    memset(&done, 0, sizeof(done));
    loop = bt_loop_new("main", true);
    CHECK(loop != NULL);
    CHECK_INT(bt_child_reaper_start(loop), 0);
    box = bt_mbox_new(loop, on_exit_msg, NULL);
    CHECK(box != NULL);
}

static void end(void)
{
    bt_child_reaper_stop(loop);
    bt_mbox_free(box);
    bt_loop_free(loop);
}

/* Start /bin/sh -c script; descriptor 1 is `out` when not -1. */
static int shell(const char *script, int out, bool group, pid_t *pid)
{
    static char sh[] = "sh", flag[] = "-c";
    char *copy = bt_strdup(script);
    char *argv[] = { sh, flag, copy, NULL };
    struct bt_child_fd fd = { out, 1 };
    struct bt_child_opts o = { .file = "/bin/sh",
                               .argv = argv,
                               .envp = no_env,
                               .cwd = "/",
                               .fds = &fd,
                               .n_fds = out >= 0 ? 1 : 0,
                               .new_group = group };
    int r = bt_child_spawn(NULL, &o, box, &done, pid);

    bt_free(copy);
    return r;
}

static void read_all(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len + 1 < size && (n = read(fd, text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

/* Works. */

TEST(an_exit_status_arrives_once)
{
    pid_t pid;

    begin();
    CHECK_INT(shell("exit 7", -1, true, &pid), 0);
    bt_loop_run(loop);
    CHECK_INT(exits, 1);
    CHECK_INT(done.pid, pid);
    CHECK(WIFEXITED(done.status) && WEXITSTATUS(done.status) == 7);
    /* Reaped: the id may be another process's by now, nothing must be sent. */
    bt_child_kill(pid, true, SIGKILL);
    bt_child_kill(1, false, 0);
    end();
}

TEST(only_what_is_given_is_open)
{
    char text[512];
    int fds[2], leak = open("/dev/null", O_RDONLY);
    pid_t pid;

    begin();
    CHECK(leak >= 0);
    CHECK_INT(bt_sys_pipe(fds), 0);
    CHECK_INT(shell("cd /proc/self/fd && echo *; pwd -P >/dev/null; echo end", fds[1],
                    true, &pid),
              0);
    close(fds[1]);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    close(leak);
    bt_loop_run(loop);
    CHECK_INT(exits, 1);
    if (access("/proc/self/fd", F_OK) == 0)
        CHECK_STR(text, "0 1 2 3\nend\n"); /* 3 is the shell's own, of the folder */
    end();
}

TEST(environment_and_folder)
{
    char text[512];
    int fds[2];
    pid_t pid;

    begin();
    setenv("BAETYL_TEST_SECRET", "x", 1);
    CHECK_INT(bt_sys_pipe(fds), 0);
    CHECK_INT(shell("echo \"[$BAETYL_TEST_SECRET]\"; pwd", fds[1], false, &pid), 0);
    close(fds[1]);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    bt_loop_run(loop);
    CHECK_STR(text, "[]\n/\n");
    end();
}

/* The pipe's writing end is held by the grandchild: its end shows that the grandchild is
 * gone. */
TEST(the_group_dies_with_its_leader)
{
    char text[64];
    int fds[2];
    pid_t pid;

    begin();
    CHECK_INT(bt_sys_pipe(fds), 0);
    CHECK_INT(shell("sleep 1000 & exit 0", fds[1], true, &pid), 0);
    close(fds[1]);
    bt_loop_run(loop);
    read_all(fds[0], text, sizeof(text));
    close(fds[0]);
    CHECK_INT(exits, 1);
    end();
}

TEST(killing_a_child)
{
    pid_t pid;

    begin();
    CHECK_INT(shell("while :; do sleep 1000; done", -1, true, &pid), 0);
    bt_child_kill(pid, true, SIGTERM);
    bt_loop_run(loop);
    CHECK(WIFSIGNALED(done.status) && WTERMSIG(done.status) == SIGTERM);
    end();
}

TEST(signals_are_as_after_boot)
{
    pid_t pid;

    begin();
    signal(SIGPIPE, SIG_IGN);
    CHECK_INT(shell("kill -PIPE $$; exit 3", -1, true, &pid), 0);
    signal(SIGPIPE, SIG_DFL);
    bt_loop_run(loop);
    CHECK(WIFSIGNALED(done.status) && WTERMSIG(done.status) == SIGPIPE);
    end();
}

TEST(descriptors_may_swap_places)
{
    static char sh[] = "sh", flag[] = "-c", script[80];
    char *argv[] = { sh, flag, script, NULL };
    int a[2], b[2];
    struct bt_child_fd fds[2];
    struct bt_child_opts o = {
        .file = "/bin/sh", .argv = argv, .envp = no_env, .fds = fds, .n_fds = 2
    };
    pid_t pid;

    begin();
    CHECK_INT(bt_sys_pipe(a), 0);
    CHECK_INT(bt_sys_pipe(b), 0);
    CHECK(write(a[1], "A\n", 2) == 2 && write(b[1], "B\n", 2) == 2);
    CHECK(a[0] < 10 && b[0] < 10); /* what a shell can name */
    fds[0] = (struct bt_child_fd){ a[0], b[0] };
    fds[1] = (struct bt_child_fd){ b[0], a[0] };
    (void)snprintf(script, sizeof(script), "read x <&%d; read y <&%d; [ $x$y = BA ]",
                   a[0], b[0]);
    CHECK_INT(bt_child_spawn(NULL, &o, box, &done, &pid), 0);
    bt_loop_run(loop);
    CHECK(WIFEXITED(done.status) && WEXITSTATUS(done.status) == 0);
    close(a[0]);
    close(a[1]);
    close(b[0]);
    close(b[1]);
    end();
}

TEST(stopping_the_reaper_leaves_no_child)
{
    pid_t pid;

    begin();
    CHECK_INT(shell("sleep 1000", -1, true, &pid), 0);
    end();
    CHECK_INT(kill(pid, 0), -1);
    CHECK_INT(exits, 0);
}

/* A process in its own group whose parent has ended; it waits for the other end of `fd`
 * to be closed, then ends with status 9. */
static pid_t orphan(int fds[2])
{
    int told[2];
    pid_t middle, pid = 0;

    CHECK(pipe(fds) == 0 && pipe(told) == 0);
    middle = fork();
    if (middle == 0) {
        char c;

        pid = fork();
        if (pid == 0) {
            close(fds[1]);
            _exit(read(fds[0], &c, 1) == 0 ? 9 : 8);
        }
        if (setpgid(pid, pid) != 0 || write(told[1], &pid, sizeof(pid)) < 0)
            _exit(1);
        _exit(0);
    }
    CHECK(read(told[0], &pid, sizeof(pid)) == sizeof(pid));
    CHECK(waitpid(middle, NULL, 0) == middle);
    close(told[0]);
    close(told[1]);
    close(fds[0]);
    return pid;
}

TEST(an_orphan_is_adopted)
{
    int fds[2];
    pid_t pid;

    begin();
    if (bt_child_adopt_orphans() == 0) {
        bt_child_expect(1);
        pid = orphan(fds);
        CHECK_INT(bt_child_adopt(pid, box, &done), 0);
        close(fds[1]);
        bt_loop_run(loop);
        CHECK_INT(exits, 1);
        CHECK_INT(done.pid, pid);
        CHECK(WIFEXITED(done.status) && WEXITSTATUS(done.status) == 9);
        bt_child_expect(1);
        pid = orphan(fds);
        CHECK_INT(bt_child_adopt(pid, box, &done), 0);
        bt_child_kill(pid, true, SIGTERM);
        bt_loop_run(loop);
        CHECK(WIFSIGNALED(done.status) && WTERMSIG(done.status) == SIGTERM);
        close(fds[1]);
    }
    end();
}

TEST(orphans_of_nobody_are_reaped)
{
    int fds[2];
    pid_t pid, other;

    begin();
    if (bt_child_adopt_orphans() == 0) {
        pid = orphan(fds);
        bt_child_expect(1);
        close(fds[1]);
        CHECK_INT(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
        CHECK_INT(shell("exit 0", -1, true, &other), 0);
        bt_loop_run(loop);
        CHECK_INT(kill(pid, 0), 0); /* not while a child is expected */
        bt_child_expect(-1);
        CHECK_INT(shell("exit 0", -1, true, &other), 0);
        bt_loop_run(loop);
        CHECK_INT(kill(pid, 0), -1);
    }
    end();
}

/* Fails. */

TEST(only_own_orphans_are_adopted)
{
    pid_t pid;

    begin();
    bt_child_expect(1);
    CHECK_INT(bt_child_adopt(1, box, &done), BT_EINVAL);
    CHECK_INT(bt_child_adopt(0, box, &done), BT_EINVAL);
    CHECK_INT(bt_child_adopt(-1, box, &done), BT_EINVAL);
    CHECK_INT(bt_child_adopt(getpid(), box, &done), BT_EINVAL);
    CHECK_INT(shell("exec sleep 1000", -1, true, &pid), 0);
    CHECK_INT(bt_child_adopt(pid, box, &done), BT_EINVAL);
    bt_child_kill(pid, true, SIGKILL);
    bt_loop_run(loop);
    CHECK_INT(exits, 1);
    bt_child_expect(-1);
    end();
}

TEST(a_failing_exec_is_reported_by_spawn)
{
    static char name[] = "none";
    char *argv[] = { name, NULL };
    struct bt_child_opts o = { .file = "/nonexistent", .argv = argv, .envp = no_env };
    pid_t pid;

    begin();
    CHECK_INT(bt_child_spawn(NULL, &o, box, &done, &pid), BT_EIO);
    CHECK_INT(done.error, ENOENT);
    o.file = "/bin/sh";
    o.cwd = "/nonexistent";
    CHECK_INT(bt_child_spawn(NULL, &o, box, &done, &pid), BT_EIO);
    CHECK(bt_list_empty(&reaper.children));
    CHECK_INT(waitpid(-1, NULL, WNOHANG), -1);
    end();
}

TEST(no_memory_starts_nothing)
{
    pid_t pid;
    int r;

    begin();
    bt_mem_fail_from(2); /* the first is the test's own */
    r = shell("exit 0", -1, true, &pid);
    bt_mem_fail_from(0);
    CHECK_INT(r, BT_ENOMEM);
    end();
}
