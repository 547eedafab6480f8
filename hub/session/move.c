/* Moving: the removal of the row is the last operation of a gather
 * (hub/session/gather.h), to which whoever takes the message adds its own entry. When
 * nobody had to store it, the row is removed when its ticket comes back.
 *
 * Failure mode: when an entry could not be made the row stays, and the next start finds
 * it. */
#include "hub/session/move.h"

#include "core/mem.h"
#include "hub/session/gather.h"
#include "hub/worker.h"

static void discard(struct hub_ticket *t)
{
    hub_gather_free(t->gather);
    bt_free(t);
}

struct hub_ticket *hub_move_begin(struct hub_session *s, const struct hub_qentry *e)
{
    struct hub_op *op = hub_op_new(HUB_OP_DEQUEUE, s->sid);
    struct hub_ticket *t = op == NULL ? NULL : bt_calloc(1, sizeof(*t));

    if (t == NULL || hub_gather_with(t, op) == NULL) {
        hub_op_free(op);
        bt_free(t);
        return NULL;
    }
    op->qseq = e->qseq;
    t->msg.kind = HUB_W_MOVED;
    t->to = s->worker->mbox;
    t->on_refused = discard;
    atomic_init(&t->pending, 1);
    return t;
}

void hub_move_end(struct hub_worker *w, struct hub_ticket *t, bool routed)
{
    if (t == NULL)
        return;
    if (!routed) {
        discard(t);
        return;
    }
    hub_gather_done(t->gather, &w->batch);
    hub_ticket_done(t, true);
}

void hub_move_done(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_ticket *t = bt_container_of(msg, struct hub_ticket, msg);

    if (!atomic_load(&t->failed) && t->gather->put != NULL)
        hub_batch_add(&w->batch, bt_steal(t->gather->put));
    discard(t);
}
