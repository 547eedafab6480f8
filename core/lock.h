/* One instance per working directory: an exclusive lock on <dir>/.baetyl.lock, which also
 * holds the holder's process id. The kernel drops it however the process ends. Main
 * thread. */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include <sys/types.h>

#include "core/base.h"

struct bt_lock {
    int fd;
    pid_t holder; /* after BT_EBUSY: who has it; 0 = unknown */
};

/* 0; BT_EBUSY: another process holds it (not logged: the caller tells the user); BT_EIO
 * (logged); BT_EINVAL: the path is too long. */
int bt_lock_take(struct bt_lock *lock, const char *dir) BT_MUST_CHECK;
/* The same with a file of the caller's choice. */
int bt_lock_take_file(struct bt_lock *lock, const char *path) BT_MUST_CHECK;
/* Only after a successful take. */
void bt_lock_drop(struct bt_lock *lock);

#endif
