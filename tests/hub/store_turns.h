/* The store's turns, driven by hand: who waits for tickets and rows, operations as if the
 * mailbox had delivered them. Include after hub/store/store.c. */
#ifndef TESTS_HUB_STORE_TURNS_H
#define TESTS_HUB_STORE_TURNS_H

#include "tests/hub/store_util.h"

struct waiter {
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    unsigned tickets, rows, rows_n, ops, wanted;
    bool failed, ordered;
    uint64_t last_qseq;
};

__attribute__((unused)) static void on_answer(void *arg, struct bt_msg *msg)
{
    struct waiter *w = arg;

    if (msg->kind == 1) {
        struct hub_ticket *t = bt_container_of(msg, struct hub_ticket, msg);

        w->tickets++;
        w->failed = w->failed || atomic_load(&t->failed);
    } else if (msg->kind == 3) {
        w->ops++;
        hub_op_free(bt_container_of(msg, struct hub_op, link));
    } else {
        struct hub_store_rows *rows = bt_container_of(msg, struct hub_store_rows, msg);
        struct hub_qentry *e;

        w->rows++;
        w->rows_n += rows->n;
        w->failed = w->failed || rows->failed;
        for (e = rows->head; e != NULL; e = e->next) {
            w->ordered = w->ordered && e->qseq > w->last_qseq;
            w->last_qseq = e->qseq;
        }
        hub_store_rows_free(rows);
    }
    if (w->tickets + w->rows == w->wanted)
        bt_loop_stop(w->loop);
}

__attribute__((unused)) static void waiter_init(struct waiter *w)
{
    memset(w, 0, sizeof(*w));
    w->ordered = true;
    w->loop = bt_loop_new("test", false);
    w->mbox = bt_mbox_new(w->loop, on_answer, w);
}

__attribute__((unused)) static void waiter_deinit(struct waiter *w)
{
    bt_mbox_free(w->mbox);
    bt_loop_free(w->loop);
}

__attribute__((unused)) static struct hub_ticket ticket_for(struct waiter *w,
                                                            uint32_t pending)
{
    struct hub_ticket t = { .msg = { .kind = 1 }, .to = w->mbox, .pending = pending };

    return t;
}

__attribute__((unused)) static struct hub_store *open_store(const char *dir)
{
    struct hub_store_opts opts = { .dir = dir, .memory = dir == NULL };
    struct hub_store *s = NULL;

    CHECK_INT(hub_store_open(&opts, &s), 0);
    return s;
}

/* As if the mailbox had delivered a batch of one. */
__attribute__((unused)) static void deliver(struct hub_store *s, struct hub_op *op)
{
    op->link.kind = STORE_OPS;
    op->batch_end = &op->next;
    op->batch_n = 1;
    on_msg(s, &op->link);
}

__attribute__((unused)) static struct hub_op *put(uint64_t qseq, struct hub_ticket *t,
                                                  struct hub_qentry **keep)
{
    struct hub_msg *m = message("t", "a payload of some length, so that pages fill up");
    struct hub_op *op = enqueue_op(1, qseq, m, keep);

    hub_msg_unref(m);
    op->ticket = t;
    return op;
}

__attribute__((unused)) static struct hub_op *read_op(uint64_t qseq, struct waiter *w)
{
    struct hub_op *op = seq_op(HUB_OP_READ, 1, qseq);

    op->u32 = 5;
    op->reply = w->mbox;
    op->reply_kind = 2;
    return op;
}

#endif
