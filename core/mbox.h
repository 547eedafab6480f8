/* The one door between threads: an intrusive queue owned by a loop. Posting allocates
 * nothing and passes ownership of the message. */
#ifndef CORE_MBOX_H
#define CORE_MBOX_H

#include "core/base.h"
#include "core/loop.h"

/* First member of every message; bt_container_of gives the message. */
struct bt_msg {
    struct bt_msg *next;
    uint32_t kind; /* meaning is the receiver's */
};

typedef void (*bt_mbox_fn)(void *arg, struct bt_msg *msg);

struct bt_mbox;
#define BT_MBOX_CLOSED 1

/* On the loop's thread, or before its thread runs. fn runs on the loop for each message
 * and takes ownership. NULL when out of memory. */
struct bt_mbox *bt_mbox_new(struct bt_loop *l, bt_mbox_fn fn, void *arg) BT_MUST_CHECK;
/* Any thread. 0, or BT_MBOX_CLOSED: the caller keeps the message. The loop is woken only
 * when the box was empty. */
int bt_mbox_post(struct bt_mbox *mb, struct bt_msg *msg) BT_MUST_CHECK;
/* Any thread: how many messages the loop has not taken yet. */
uint32_t bt_mbox_waiting(const struct bt_mbox *mb);
/* Loop's thread: hand over what is queued now, refuse posts from now on. Idempotent. */
void bt_mbox_close(struct bt_mbox *mb);
/* After the last possible poster is gone. Never delivers. On the loop's thread, or on any
 * once the box was closed there, also while a handler runs. NULL is fine. */
void bt_mbox_free(struct bt_mbox *mb);

#endif
