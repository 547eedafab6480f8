/* The system's calls and the small files on top of them: notify, lock, metric. */
#include "core/lock.c"
#include "core/notify.c"

#include "core/log.h"
#include "core/metric.h"
#include "tests/harness.h"

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void begin(void)
{
    bt_log_set_level(BT_LOG_ERROR);
    strcpy(dir, "/tmp/baetyl-test-XXXXXX"); /* NOLINT: a pattern */
    CHECK(mkdtemp(dir) != NULL);
}

/* A manager's socket; `name` as in NOTIFY_SOCKET. */
static int manager(const char *name)
{
    struct sockaddr_un addr;
    socklen_t len = address(name, &addr);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    CHECK(len > 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&addr, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void check_received(int fd, const char *want)
{
    char text[128];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    CHECK_STR(text, want);
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}

/* Works. */

TEST(notifies_a_socket_of_a_path)
{
    int fd;

    begin();
    fd = manager(in_dir("s"));
    CHECK_INT(bt_notify("READY=1\nSTATUS=x"), 0);
    check_received(fd, "READY=1\nSTATUS=x");
    (void)unlink(in_dir("s"));
    (void)rmdir(dir);
}

TEST(notifies_an_abstract_socket)
{
    char name[64];
    int fd;

    (void)snprintf(name, sizeof(name), "@baetyl-test-%ld", (long)getpid());
    fd = manager(name);
    CHECK_INT(bt_notify("STOPPING=1"), 0);
    check_received(fd, "STOPPING=1");
}

TEST(the_watchdog_is_for_one_process)
{
    char pid[32];

    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    CHECK_INT(bt_notify_watchdog_ms(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    CHECK_INT(bt_notify_watchdog_ms(), 30000);
    setenv("WATCHDOG_PID", "1", 1);
    CHECK_INT(bt_notify_watchdog_ms(), 0);
    (void)snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    CHECK_INT(bt_notify_watchdog_ms(), 30000);
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
}

TEST(one_lock_per_folder)
{
    struct bt_lock first, second;

    begin();
    CHECK_INT(bt_lock_take(&first, dir), 0);
    CHECK_INT(bt_lock_take(&second, dir), BT_EBUSY);
    CHECK_INT(second.holder, getpid());
    bt_lock_drop(&first);
    CHECK_INT(bt_lock_take(&second, dir), 0);
    bt_lock_drop(&second);
    (void)unlink(in_dir(LOCK_FILE));
    (void)rmdir(dir);
}

static unsigned seen;

static void count_ours(void *arg, const struct bt_metric *m)
{
    seen += m == arg;
}

TEST(metrics_register_once_and_add_up)
{
    static struct bt_metric m = BT_METRIC("test_total", BT_COUNTER, "A test.");

    bt_metric_register(&m);
    bt_metric_register(&m);
    bt_metric_add(&m, 2);
    bt_metric_add(&m, 3);
    CHECK_INT(bt_metric_get(&m), 5);
    bt_metric_set(&m, -1);
    CHECK_INT(bt_metric_get(&m), -1);
    bt_metric_each(count_ours, &m);
    CHECK_INT(seen, 1);
}

TEST(system_values)
{
    uint8_t a[300], b[300];
    int fd = bt_sys_memfd("test");

    CHECK(fd >= 0);
    CHECK(write(fd, "x", 1) == 1);
    CHECK_INT(bt_sys_fdatasync(fd), 0);
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    CHECK(bt_sys_online_cpus() >= 1);
    CHECK(bt_sys_rss_bytes() > 65536);
    CHECK(bt_sys_random(a, sizeof(a)) == 0 && bt_sys_random(b, sizeof(b)) == 0);
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    bt_sys_thread_name("a name that is too long");
}

/* Fails. */

TEST(nobody_to_notify)
{
    unsetenv("NOTIFY_SOCKET");
    CHECK_INT(bt_notify("READY=1"), BT_NOTIFY_NONE);
    bt_log_set_level(BT_LOG_ERROR);
    setenv("NOTIFY_SOCKET", "relative", 1);
    CHECK_INT(bt_notify("READY=1"), BT_EINVAL);
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    CHECK_INT(bt_notify("READY=1"), BT_EIO);
    unsetenv("NOTIFY_SOCKET");
}

TEST(no_folder_to_lock)
{
    static char longest[PATH_MAX + 1];
    struct bt_lock lock;

    CHECK_INT(bt_lock_take(&lock, "/nonexistent"), BT_EIO);
    memset(longest, 'x', PATH_MAX);
    CHECK_INT(bt_lock_take(&lock, longest), BT_EINVAL);
}
