/* What travels between the workers and the store: operations in batches, queue entries,
 * tickets. Each is built by one thread and released by whichever thread lets go of it
 * last. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/session/quota.h"
#include "hub/store/store.h"

void hub_ticket_done(struct hub_ticket *t, bool ok)
{
    if (!ok)
        atomic_store_explicit(&t->failed, true, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&t->pending, 1, memory_order_acq_rel) != 1)
        return;
    if (bt_mbox_post(t->to, &t->msg) == BT_MBOX_CLOSED && t->on_refused != NULL)
        t->on_refused(t);
}

struct hub_qentry *hub_qentry_new(struct hub_msg *msg, uint64_t qseq)
{
    struct hub_qentry *e = bt_calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    hub_quota_charge((int64_t)sizeof(*e));
    atomic_init(&e->refs, 1);
    atomic_init(&e->state, HUB_Q_NEW);
    e->qseq = qseq;
    e->msg = msg != NULL ? hub_msg_ref(msg) : NULL;
    return e;
}

int hub_qentry_set_subids(struct hub_qentry *e, const uint32_t *ids, uint8_t n)
{
    uint32_t *to = e->subids;

    if (n > 2) {
        to = bt_malloc(n * sizeof(*to));
        if (to == NULL)
            return BT_ENOMEM;
        e->more_subids = to;
    }
    if (n > 0)
        memcpy(to, ids, n * sizeof(*to));
    e->n_subids = n;
    return 0;
}

void hub_qentry_unref(struct hub_qentry *e)
{
    if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
        return;
    hub_quota_charge(-(int64_t)sizeof(*e));
    hub_msg_unref(e->msg);
    if (e->n_subids > 2)
        bt_free(e->more_subids);
    bt_free(e);
}

struct hub_op *hub_op_new(enum hub_op_kind kind, uint64_t sid)
{
    struct hub_op *op = bt_calloc(1, sizeof(*op));

    if (op != NULL) {
        op->kind = kind;
        op->sid = sid;
    }
    return op;
}

void hub_op_free(struct hub_op *op)
{
    if (op == NULL)
        return;
    if (op->entry != NULL)
        hub_qentry_unref(op->entry);
    hub_msg_unref(op->retained);
    hub_store_rows_free(op->rows);
    bt_free(op->text);
    bt_free(op->text2);
    bt_free(op);
}

void hub_store_rows_free(struct hub_store_rows *rows)
{
    if (rows == NULL)
        return;
    while (rows->head != NULL) {
        struct hub_qentry *e = rows->head;

        rows->head = e->next;
        hub_qentry_unref(e);
    }
    bt_free(rows);
}

void hub_batch_init(struct hub_batch *b)
{
    b->head = NULL;
    b->tail = &b->head;
    b->n = 0;
}

void hub_batch_add(struct hub_batch *b, struct hub_op *op)
{
    op->next = NULL;
    *b->tail = op;
    b->tail = &op->next;
    b->n++;
}

void hub_batch_append(struct hub_batch *b, struct hub_batch *from)
{
    if (from->head == NULL)
        return;
    *b->tail = from->head;
    b->tail = from->tail;
    b->n += from->n;
    hub_batch_init(from);
}

void hub_batch_discard(struct hub_batch *b)
{
    while (b->head != NULL) {
        struct hub_op *op = b->head;

        b->head = op->next;
        if (op->ticket != NULL)
            hub_ticket_done(op->ticket, false);
        hub_op_free(op);
    }
    hub_batch_init(b);
}
