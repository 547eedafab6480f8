/* The idea: a locked singly linked queue that belongs to a loop. A poster appends and,
 * when the box was empty, wakes the loop; the loop takes the whole queue at once, right
 * after its poll, and hands the messages over unlocked, so a handler may post again (to
 * this box, too: that message is handled in the next turn).
 *
 * The chain being handed over stays in the box, so that a handler may close or even free
 * the box: closing delivers the rest of the chain, freeing drops it.
 *
 * Sending the wake-up under the lock keeps `close` and wake-ups in order.
 * Failure: a closed box gives the message back to the poster. */
#include "core/mbox.h"

#include <pthread.h>

#include "core/loop_priv.h"
#include "core/mem.h"

struct bt_mbox {
    struct bt_inbox inbox;
    struct bt_loop *loop;
    bt_mbox_fn fn;
    void *arg;
    struct bt_msg *taken; /* loop's thread: detached, not yet handed over */
    bool attached; /* the loop knows the inbox; cleared by closing, on its thread */
    pthread_mutex_t lock; /* guards the rest */
    unsigned depth;       /* handlers running */
    bool freed; /* while they were: the outermost hand_over destroys. A box that is freed
                   by another thread was closed, so nothing is taken any more */
    struct bt_msg *head, **tail;
    bool closed;
    _Atomic uint32_t waiting; /* written under the lock, read by anybody */
};

static void destroy(struct bt_mbox *mb)
{
    pthread_mutex_destroy(&mb->lock);
    bt_free(mb);
}

static void hand_over(struct bt_mbox *mb)
{
    bool last;

    while (mb->taken != NULL && !mb->freed) {
        struct bt_msg *msg = mb->taken;

        mb->taken = msg->next;
        msg->next = NULL;
        mb->fn(mb->arg, msg); /* takes ownership */
    }
    pthread_mutex_lock(&mb->lock);
    last = --mb->depth == 0 && mb->freed;
    pthread_mutex_unlock(&mb->lock);
    if (last)
        destroy(mb);
}

/* Append all that is queued to `taken`; hand_over follows. */
static void take(struct bt_mbox *mb, bool close)
{
    struct bt_msg **end = &mb->taken;

    while (*end != NULL)
        end = &(*end)->next;
    pthread_mutex_lock(&mb->lock);
    *end = mb->head;
    mb->head = NULL;
    mb->tail = &mb->head;
    atomic_store_explicit(&mb->waiting, 0, memory_order_relaxed);
    mb->closed |= close;
    mb->depth++;
    atomic_store_explicit(&mb->inbox.full, false, memory_order_relaxed);
    pthread_mutex_unlock(&mb->lock);
}

static void drain(struct bt_inbox *inbox)
{
    struct bt_mbox *mb = bt_container_of(inbox, struct bt_mbox, inbox);

    take(mb, false);
    hand_over(mb);
}

struct bt_mbox *bt_mbox_new(struct bt_loop *l, bt_mbox_fn fn, void *arg)
{
    struct bt_mbox *mb = bt_calloc(1, sizeof(*mb));

    if (mb == NULL)
        return NULL;
    mb->inbox.drain = drain;
    mb->loop = l;
    mb->fn = fn;
    mb->arg = arg;
    mb->tail = &mb->head;
    pthread_mutex_init(&mb->lock, NULL);
    bt_loop_add_inbox(l, &mb->inbox);
    mb->attached = true;
    return mb;
}

int bt_mbox_post(struct bt_mbox *mb, struct bt_msg *msg)
{
    bool was_empty;

    msg->next = NULL;
    pthread_mutex_lock(&mb->lock);
    if (mb->closed) {
        pthread_mutex_unlock(&mb->lock);
        return BT_MBOX_CLOSED;
    }
    was_empty = mb->head == NULL;
    *mb->tail = msg;
    mb->tail = &msg->next;
    atomic_store_explicit(&mb->waiting,
                          atomic_load_explicit(&mb->waiting, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (was_empty) {
        atomic_store_explicit(&mb->inbox.full, true, memory_order_release);
        bt_loop_wake(mb->loop);
    }
    pthread_mutex_unlock(&mb->lock);
    return 0;
}

uint32_t bt_mbox_waiting(const struct bt_mbox *mb)
{
    return atomic_load_explicit(&mb->waiting, memory_order_relaxed);
}

void bt_mbox_close(struct bt_mbox *mb)
{
    if (mb->attached)
        bt_loop_remove_inbox(mb->loop, &mb->inbox);
    mb->attached = false;
    take(mb, true);
    hand_over(mb);
}

void bt_mbox_free(struct bt_mbox *mb)
{
    bool running;

    if (mb == NULL)
        return;
    if (mb->attached)
        bt_loop_remove_inbox(mb->loop, &mb->inbox);
    /* A poster that saw the box open may still be about to release the lock. */
    pthread_mutex_lock(&mb->lock);
    mb->closed = true;
    mb->freed = true;
    running = mb->depth > 0;
    pthread_mutex_unlock(&mb->lock);
    if (!running)
        destroy(mb);
}
