/* What core/mbox.c needs of core/loop.c. For these two files only. */
#ifndef CORE_LOOP_PRIV_H
#define CORE_LOOP_PRIV_H

#include <stdatomic.h>

#include "core/list.h"
#include "core/loop.h"

/* A queue the loop empties once per turn, right after polling. Loop's thread, but `full`.
 */
struct bt_inbox {
    struct bt_list link;
    _Atomic bool full; /* any thread: something is queued */
    void (*drain)(struct bt_inbox *box);
};

/* Loop's thread. */
void bt_loop_add_inbox(struct bt_loop *l, struct bt_inbox *box);
/* Loop's thread; also from inside a drain. */
void bt_loop_remove_inbox(struct bt_loop *l, struct bt_inbox *box);
/* Any thread: have the loop make one more turn. */
void bt_loop_wake(struct bt_loop *l);

#endif
