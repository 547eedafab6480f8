/* Something to do on the function manager's thread, posted from another one. */
#ifndef FUNCMGR_TASK_H
#define FUNCMGR_TASK_H

#include "core/mbox.h"

/* The mailbox's message of kind FM_MSG_TASK. run owns it; it runs also while the manager
 * stops. */
struct fm_task {
    struct bt_msg msg;
    void (*run)(struct fm_task *task);
};

#endif
