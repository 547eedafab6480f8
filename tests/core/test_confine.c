/* What a child does to itself, tried in real children of the test. */
#include "core/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/landlock.h"
#include "core/sys.h"
#include "tests/harness.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

/* Confine a child, then run fn in it: its exit status, or -1. */
static int in_child(const struct bt_confine *c, int (*fn)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        const char *step;

        (void)bt_sys_no_new_privs();
        _exit(bt_confine_join(c) != 0 || bt_confine_apply(c, &step) != 0 ? 99 : fn());
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int open_many(void)
{
    int n = 0;

    while (n < 100 && open("/dev/null", O_RDONLY) >= 0)
        n++;
    return n;
}

static int who(void)
{
    gid_t groups[8];

    return getuid() == 4711 && geteuid() == 4711 && getgid() == 4712 &&
                   getgroups(8, groups) == 1 && groups[0] == 4713
               ? 0
               : 1;
}

/* Bits: 1 the open folder can be written to, 2 a closed file be read, 4 /proc/self be
 * read. */
static int look_around(void)
{
    return (open(in_dir("open/new"), O_CREAT | O_WRONLY, 0600) >= 0 ? 1 : 0) |
           (open(in_dir("closed"), O_RDONLY) >= 0 ? 2 : 0) |
           (open("/proc/self/status", O_RDONLY) >= 0 ? 4 : 0);
}

TEST(limits_of_the_process)
{
    struct bt_confine c = { .n_rlimits = 1, .rules_fd = -1 };

    c.rlimits[0] = (struct bt_confine_rlimit){ RLIMIT_NOFILE, 20 };
    CHECK(in_child(&c, open_many) < 20);
    c.n_rlimits = 0;
    CHECK_INT(in_child(&c, open_many), 100);
}

TEST(another_user)
{
    struct bt_confine c = { .set_user = true, .uid = 4711, .gid = 4712, .rules_fd = -1 };

    if (geteuid() != 0)
        SKIP("only root can change the user");
    c.groups[0] = 4713;
    c.n_groups = 1;
    CHECK_INT(in_child(&c, who), 0);
}

TEST(a_group_that_cannot_be_joined)
{
    struct bt_confine c = { .n_joins = 1, .rules_fd = -1 };

    c.join_fds[0] = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (c.join_fds[0] < 0)
        SKIP("no /dev/full here");
    CHECK_INT(in_child(&c, open_many), 99);
    close(c.join_fds[0]);
}

TEST(a_closed_file_system)
{
    struct bt_confine c = { 0 };
    int fd;

    if (bt_landlock_abi() == 0) {
        CHECK_INT(bt_landlock_new(), -1);
        SKIP("no Landlock here");
    }
    strcpy(dir, "/tmp/baetyl-test-XXXXXX"); /* NOLINT: a pattern */
    CHECK(mkdtemp(dir) != NULL && mkdir(in_dir("open"), 0700) == 0);
    fd = open(in_dir("closed"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    c.rules_fd = bt_landlock_new();
    CHECK(c.rules_fd >= 0);
    CHECK_INT(bt_landlock_allow(c.rules_fd, in_dir("open"), BT_LANDLOCK_WRITE), 0);
    CHECK_INT(bt_landlock_allow(c.rules_fd, "/dev/null", BT_LANDLOCK_USE), 0);
    CHECK_INT(bt_landlock_allow(c.rules_fd, in_dir("none"), BT_LANDLOCK_READ), -1);
    CHECK_INT(in_child(&c, look_around), 5);
    CHECK_INT(look_around(), 7); /* only the child is shut in */
    close(c.rules_fd);
    (void)unlink(in_dir("open/new"));
    (void)unlink(in_dir("closed"));
    (void)rmdir(in_dir("open"));
    (void)rmdir(dir);
}

TEST(limits_of_another_process)
{
    struct bt_confine c = { .n_rlimits = 1, .rules_fd = -1 };
    struct rlimit limit = { 0 };

    c.rlimits[0] = (struct bt_confine_rlimit){ RLIMIT_CORE, 0 };
    if (bt_confine_adopt(&c, getpid()) != 0 && errno == ENOTSUP)
        SKIP("this system has no prlimit");
    CHECK_INT(getrlimit(RLIMIT_CORE, &limit), 0);
    CHECK_INT(limit.rlim_max, 0);
}
