/* The idea: flock, because it belongs to the open file and not to the process: it does
 * not vanish when some other code opens and closes the same file, and a leftover file
 * locks nothing. The file is never removed: removing it would let two processes lock two
 * files of one name.
 *
 * A process that was killed while it started a child leaves the lock to that child, which
 * ends with it, but a moment later: so the lock of a holder that is gone is waited for.
 */
#include "core/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"

#define WAIT_TURNS 100
#define WAIT_US    20000u
#define LOCK_FILE  ".baetyl.lock"

static pid_t read_holder(int fd)
{
    char text[32] = "";
    long pid;

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
        return 0;
    pid = strtol(text, NULL, 10);
    return pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}

static int try_lock(struct bt_lock *lock)
{
    for (int i = 0;; i++) {
        if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK)
            return BT_EIO;
        lock->holder = read_holder(lock->fd);
        if (i == WAIT_TURNS || lock->holder == 0 || kill(lock->holder, 0) == 0 ||
            errno != ESRCH)
            return BT_EBUSY;
        usleep(WAIT_US);
    }
}

static int write_holder(int fd)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len)
        return bt_origin(BT_EIO, "cannot write a lock file");
    return 0;
}

int bt_lock_take_file(struct bt_lock *lock, const char *path)
{
    int r;

    lock->holder = 0;
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock->fd < 0) {
        bt_log(BT_LOG_ERROR, "CORE-LOCK", "cannot open a lock file",
               "path=%s error=" BT_LOG_Q, path, strerror(errno));
        return BT_EIO;
    }
    r = try_lock(lock);
    if (r == 0)
        r = write_holder(lock->fd);
    else if (r == BT_EIO)
        r = bt_origin(BT_EIO, "cannot take the lock of a file");
    if (r != 0)
        bt_lock_drop(lock);
    return r;
}

int bt_lock_take(struct bt_lock *lock, const char *dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/" LOCK_FILE, dir);

    lock->fd = -1;
    lock->holder = 0;
    if (n < 0 || (size_t)n >= sizeof(path))
        return bt_origin(BT_EINVAL, "the path of the working directory is too long");
    return bt_lock_take_file(lock, path);
}

void bt_lock_drop(struct bt_lock *lock)
{
    if (lock->fd >= 0)
        close(lock->fd);
    lock->fd = -1;
}
