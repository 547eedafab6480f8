/* What goes on while nothing can be stored. Entries wait for space, and only reading the
 * backlog and deleting what was delivered makes space: both must not wait behind them, or
 * a store that filled the disk by itself would never be empty again.
 *
 * A read is answered out of turn when there are rows for it; what waits in front of it
 * can only add entries behind those, so the answer says that more may come. A removal is
 * done out of turn when its row is there, all of them in one transaction; when that fails
 * too, everything stays. So is the release of a QoS 2 delivery, without which its row
 * would never be removed. What is too old, and what ended sessions left, goes as well. */
#include "hub/store/store_tx.h"

#define RELIEF_ROWS 256u /* removed at once: a commit needs room in the log */

struct chain {
    struct hub_op **head, ***tail; /* of what waits */
    struct hub_op **done;          /* end of what was done */
};

/* Moves *at to the done operations. */
static void take(struct chain *c, struct hub_op **at)
{
    struct hub_op *op = *at;

    *at = op->next;
    if (*c->tail == &op->next)
        *c->tail = at;
    op->next = NULL;
    *c->done = op;
    c->done = &op->next;
}

static int answer_reads(struct hub_store_tx *tx, struct chain *c, bool *left)
{
    struct hub_op **at = c->head;

    while (*at != NULL) {
        struct hub_op *op = *at;
        int r = op->kind == HUB_OP_READ ? hub_store_tx_apply(tx, op) : 0;

        if (r == 0 && op->rows != NULL && op->rows->n != 0) {
            op->rows->more = true;
            take(c, at);
            continue;
        }
        hub_store_tx_restore(op);
        *left = *left || op->kind == HUB_OP_READ;
        if (r < 0)
            return r;
        at = &op->next;
    }
    return 0;
}

struct hub_op *hub_store_answer_reads(struct hub_store_tx *tx, struct hub_op **head,
                                      struct hub_op ***tail, bool *left)
{
    struct hub_op *done = NULL;
    struct chain c = { head, tail, &done };

    if (answer_reads(tx, &c, left) < 0)
        *left = true;
    return done;
}

static bool makes_room(const struct hub_op *op)
{
    return op->kind == HUB_OP_DEQUEUE || op->kind == HUB_OP_RELEASE ||
           op->kind == HUB_OP_INCOMING_DEL;
}

static int remove_rows(struct hub_store_tx *tx, struct chain *c)
{
    struct hub_op **at, *op;
    bool tied = false, alone;
    uint32_t n = 0;
    int r = 0;

    for (op = *c->head; op != NULL && r == 0 && n < RELIEF_ROWS; op = op->next) {
        alone = !tied;
        tied = op->tied;
        if (!alone || !makes_room(op))
            continue;
        r = hub_store_tx_apply(tx, op);
        n++;
    }
    if (r == 0)
        r = hub_store_tx_commit(tx);
    if (r < 0)
        hub_store_tx_rollback(tx);
    for (at = c->head; *at != NULL;) {
        if (r == 0 && (*at)->moved) {
            take(c, at);
            continue;
        }
        hub_store_tx_restore(*at);
        at = &(*at)->next;
    }
    return r;
}

/* A step of what is else done when there is time. */
static int clean_up(struct hub_store_tx *tx, int (*step)(struct hub_store_tx *tx))
{
    int r = step(tx);

    if (r == 0)
        r = hub_store_tx_commit(tx);
    if (r < 0) {
        hub_store_tx_rollback(tx);
        tx->clean.running = false;
    }
    return r;
}

struct hub_op *hub_store_relieve(struct hub_store_tx *tx, struct hub_op **head,
                                 struct hub_op ***tail)
{
    struct hub_op *done = NULL;
    struct chain c = { head, tail, &done };
    bool left = false;

    if (answer_reads(tx, &c, &left) == 0 &&
        (remove_rows(tx, &c) < 0 || clean_up(tx, hub_store_clean_begin) < 0 ||
         clean_up(tx, hub_store_clean_step) < 0 || clean_up(tx, hub_store_reap_step) < 0))
        bt_db_checkpoint(tx->db, false);
    return done;
}
