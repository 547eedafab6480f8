/* What core/super.c needs of core/child.c. Main thread. */
#ifndef CORE_CHILD_PRIV_H
#define CORE_CHILD_PRIV_H

#include "core/loop.h"

/* Begin and end reaping on the main loop; before and after all spawning. 0 or BT_ENOMEM.
 */
int bt_child_reaper_start(struct bt_loop *main_loop) BT_MUST_CHECK;
/* Kills the children that are still there, without a message. */
void bt_child_reaper_stop(struct bt_loop *main_loop);
/* SIGKILL to all children: the process is about to leave by force. */
void bt_child_kill_all(void);

#endif
