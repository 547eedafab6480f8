/* The store's operations on rows, inside the transaction of one group.
 *
 * A queue row is written as its operation comes; the message it points at waits in a
 * table of changes until the end of the group, so that a fan-out to a hundred sessions
 * writes the message once, with its final number of rows, and a message whose rows came
 * and went is not written at all. The transaction begins with the first write: a group
 * whose entries were all acknowledged before the store came to them costs no disk.
 *
 * A failing step leaves the group to its caller, which rolls back, restores the
 * operations and applies them again later: apply changes nothing outside the database but
 * `moved`, `rows` and the message's mid, which keeps its value. */
#include "hub/store/store_tx.h"

#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/mem.h"
#include "hub/route/match.h"

#define FLAG_QOS    3
#define FLAG_RETAIN 4
#define SUBIDS_AT   3  /* bits 3..4 of the flags: how many identifiers */
#define SHARE_AT    32 /* bits 32..63: the shared subscription */

static struct bt_slice text_slice(const char *s)
{
    size_t n = 0;

    while (s != NULL && s[n] != '\0')
        n++;
    return (struct bt_slice){ (const uint8_t *)s, n };
}

int hub_store_tx_begin(struct hub_store_tx *tx)
{
    int r = tx->begun ? 0 : bt_db_begin(tx->db);

    tx->begun = tx->begun || r == 0;
    return r;
}

static uint32_t slot_of(const struct hub_store_tx *tx, uint64_t mid)
{
    uint32_t i = (uint32_t)((mid * 0x9e3779b97f4a7c15u) >> 51);

    while (tx->slots[i] != 0 && tx->deltas[tx->slots[i] - 1].mid != mid)
        i = (i + 1) % HUB_STORE_SLOTS;
    return i;
}

/* Slots are freed by the entries that took them: most groups are much smaller than the
 * table. */
static void forget_deltas(struct hub_store_tx *tx)
{
    uint32_t i;

    if (tx->n_deltas > HUB_STORE_GROUP / 4) {
        for (i = 0; i < HUB_STORE_SLOTS; i++)
            tx->slots[i] = 0;
    } else {
        /* Backwards: the later of two that collide is found only while the earlier is
         * there. */
        for (i = tx->n_deltas; i-- > 0;)
            tx->slots[slot_of(tx, tx->deltas[i].mid)] = 0;
    }
    tx->n_deltas = 0;
}

static int put_message(struct hub_store_tx *tx, const struct hub_store_delta *d)
{
    const struct hub_msg *m = d->msg;
    struct bt_db *db = tx->db;

    bt_db_bind_int(db, HUB_S_MESSAGE_PUT, 1, (int64_t)d->mid);
    bt_db_bind_int(db, HUB_S_MESSAGE_PUT, 2, d->rows);
    bt_db_bind_text(db, HUB_S_MESSAGE_PUT, 3, hub_msg_topic(m));
    bt_db_bind_int(db, HUB_S_MESSAGE_PUT, 4, m->qos);
    bt_db_bind_int(db, HUB_S_MESSAGE_PUT, 5, m->retain);
    bt_db_bind_int(db, HUB_S_MESSAGE_PUT, 6, m->created_ms);
    bt_db_bind_int(db, HUB_S_MESSAGE_PUT, 7, m->expires_ms);
    bt_db_bind_blob(db, HUB_S_MESSAGE_PUT, 8, hub_msg_props(m));
    bt_db_bind_blob(db, HUB_S_MESSAGE_PUT, 9, hub_msg_payload(m));
    tx->written++;
    tx->messages++;
    return bt_db_run(db, HUB_S_MESSAGE_PUT);
}

static int drop_rows(struct hub_store_tx *tx, const struct hub_store_delta *d)
{
    int r;

    bt_db_bind_int(tx->db, HUB_S_MESSAGE_DEL, 1, (int64_t)d->mid);
    bt_db_bind_int(tx->db, HUB_S_MESSAGE_DEL, 2, -d->rows);
    r = bt_db_run(tx->db, HUB_S_MESSAGE_DEL);
    if (r < 0 || bt_db_changes(tx->db) != 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_MESSAGE_LESS, 1, (int64_t)d->mid);
    bt_db_bind_int(tx->db, HUB_S_MESSAGE_LESS, 2, -d->rows);
    return bt_db_run(tx->db, HUB_S_MESSAGE_LESS);
}

static int flush(struct hub_store_tx *tx)
{
    uint32_t i;
    int r = 0;

    for (i = 0; i < tx->n_deltas && r == 0; i++) {
        const struct hub_store_delta *d = &tx->deltas[i];

        if (d->rows > 0)
            r = put_message(tx, d);
        else if (d->rows < 0)
            r = drop_rows(tx, d);
    }
    forget_deltas(tx);
    return r;
}

int hub_store_tx_flush(struct hub_store_tx *tx)
{
    return tx->n_deltas == 0 ? 0 : flush(tx);
}

int hub_store_tx_count(struct hub_store_tx *tx, uint64_t mid, int rows,
                       struct hub_msg *msg)
{
    struct hub_store_delta *d;
    uint32_t slot;

    if ((int64_t)mid <= 0)
        return 0;
    slot = slot_of(tx, mid);

    if (tx->slots[slot] == 0) {
        if (tx->n_deltas == HUB_STORE_GROUP) {
            int r = flush(tx);

            if (r < 0)
                return r;
            slot = slot_of(tx, mid);
        }
        tx->deltas[tx->n_deltas++] = (struct hub_store_delta){ .mid = mid };
        tx->slots[slot] = (uint16_t)tx->n_deltas;
    }
    d = &tx->deltas[tx->slots[slot] - 1];
    d->rows += rows;
    if (msg != NULL)
        d->msg = msg;
    return 0;
}

/* Up to two subscription identifiers are one number, more a run of them. */
static void bind_subids(struct bt_db *db, const struct hub_qentry *e)
{
    const struct bt_slice all = { (const uint8_t *)hub_qentry_subids(e),
                                  e->n_subids * sizeof(uint32_t) };

    if (e->n_subids > 2)
        bt_db_bind_blob(db, HUB_S_QUEUE_PUT, 5, all);
    else
        bt_db_bind_int(db, HUB_S_QUEUE_PUT, 5,
                       (int64_t)((uint64_t)e->subids[1] << 32 | e->subids[0]));
}

static int row_subids(struct bt_db *db, int flags, struct hub_qentry *e)
{
    uint32_t ids[HUB_MAX_TARGET_SUBIDS];
    uint8_t n = (uint8_t)(flags >> SUBIDS_AT & 3), kept = 0;
    uint64_t two;

    if (n == 3) {
        struct bt_slice all = bt_db_blob(db, HUB_S_QUEUE_READ, 3);

        n = (uint8_t)(BT_MIN(all.len, sizeof(ids)) / sizeof(uint32_t));
        if (n > 0)
            memcpy(ids, all.ptr, n * sizeof(uint32_t));
    } else {
        two = (uint64_t)bt_db_int(db, HUB_S_QUEUE_READ, 3);
        ids[0] = (uint32_t)two;
        ids[1] = (uint32_t)(two >> 32);
    }
    for (uint8_t i = 0; i < n; i++)
        if (hub_store_row_subid(ids[i]) != 0)
            ids[kept++] = ids[i];
    return hub_qentry_set_subids(e, ids, kept);
}

static int enqueue(struct hub_store_tx *tx, struct hub_op *op)
{
    struct hub_qentry *e = op->entry;
    uint32_t fresh = HUB_Q_NEW;
    int64_t flags = (e->qos & FLAG_QOS) | (e->retain ? FLAG_RETAIN : 0) |
                    BT_MIN(e->n_subids, 3) << SUBIDS_AT |
                    (int64_t)((uint64_t)e->share << SHARE_AT);
    int r;

    op->moved = atomic_compare_exchange_strong_explicit(
        &e->state, &fresh, HUB_Q_STORED, memory_order_acq_rel, memory_order_acquire);
    if (!op->moved) {
        tx->skipped++;
        return 0;
    }
    if (e->msg->mid == 0)
        e->msg->mid = tx->next_mid++;
    r = tx->reap != NULL ? hub_store_reap_finish(tx, op->sid) : 0;
    if (r == 0)
        r = hub_store_tx_begin(tx);
    if (r == 0)
        r = hub_store_limit_admit(tx, op->sid, e->qos,
                                  (uint64_t)e->msg->payload_len + e->msg->topic_len);
    op->refused = r == HUB_STORE_REFUSED;
    if (op->refused)
        return 0;
    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_PUT, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_PUT, 2, (int64_t)e->qseq);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_PUT, 3, (int64_t)e->msg->mid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_PUT, 4, flags);
    bind_subids(tx->db, e);
    r = bt_db_run(tx->db, HUB_S_QUEUE_PUT);
    if (r < 0 || bt_db_changes(tx->db) == 0)
        return r;
    tx->written++;
    return hub_store_tx_count(tx, e->msg->mid, 1, e->msg);
}

/* Two statements: DELETE ... RETURNING makes a table of its own each time. */
static int dequeue(struct hub_store_tx *tx, struct hub_op *op)
{
    uint64_t mid;
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_MID, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_MID, 2, (int64_t)op->qseq);
    r = bt_db_step(tx->db, HUB_S_QUEUE_MID);
    if (r != BT_DB_ROW)
        return r;
    mid = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_MID, 0);
    bt_db_reset(tx->db, HUB_S_QUEUE_MID);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_DEL, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_DEL, 2, (int64_t)op->qseq);
    r = bt_db_run(tx->db, HUB_S_QUEUE_DEL);
    if (r < 0)
        return r;
    op->moved = true;
    r = hub_store_limit_left(tx, op->sid, mid, 1);
    return r < 0 ? r : hub_store_tx_count(tx, mid, -1, NULL);
}

static int session_put(struct hub_store_tx *tx, struct hub_op *op)
{
    int r = hub_store_reap_finish(tx, op->sid);

    if (r == 0)
        r = hub_store_tx_begin(tx);
    if (r < 0)
        return r;
    tx->written++;
    bt_db_bind_int(tx->db, HUB_S_SESSION_PUT, 1, (int64_t)op->sid);
    bt_db_bind_text(tx->db, HUB_S_SESSION_PUT, 2, text_slice(op->text));
    bt_db_bind_text(tx->db, HUB_S_SESSION_PUT, 3, text_slice(op->text2));
    bt_db_bind_int(tx->db, HUB_S_SESSION_PUT, 4, op->u32);
    bt_db_bind_int(tx->db, HUB_S_SESSION_PUT, 5, op->when);
    return bt_db_run(tx->db, HUB_S_SESSION_PUT);
}

static int session_del(struct hub_store_tx *tx, struct hub_op *op)
{
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_SESSION_DEL, 1, (int64_t)op->sid);
    r = bt_db_run(tx->db, HUB_S_SESSION_DEL);
    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_SUBS_DEL, 1, (int64_t)op->sid);
    r = bt_db_run(tx->db, HUB_S_SUBS_DEL);
    if (r == 0)
        r = hub_store_incoming_end(tx, op->sid);
    hub_store_limit_forget(tx, op->sid);
    return r < 0 ? r : hub_store_reap_begin(tx, op->sid);
}

static int sub_put(struct hub_store_tx *tx, struct hub_op *op)
{
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    tx->written++;
    bt_db_bind_int(tx->db, HUB_S_SUB_PUT, 1, (int64_t)op->sid);
    bt_db_bind_text(tx->db, HUB_S_SUB_PUT, 2, text_slice(op->text));
    bt_db_bind_int(tx->db, HUB_S_SUB_PUT, 3, op->u32);
    bt_db_bind_int(tx->db, HUB_S_SUB_PUT, 4, op->u32b);
    return bt_db_run(tx->db, HUB_S_SUB_PUT);
}

static int sub_del(struct hub_store_tx *tx, struct hub_op *op)
{
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_SUB_DEL, 1, (int64_t)op->sid);
    bt_db_bind_text(tx->db, HUB_S_SUB_DEL, 2, text_slice(op->text));
    return bt_db_run(tx->db, HUB_S_SUB_DEL);
}

/* The entry of the row the read stands on. NULL when out of memory. */
static struct hub_qentry *row_entry(struct hub_store_tx *tx)
{
    int64_t mid = bt_db_int(tx->db, HUB_S_QUEUE_READ, 1);
    bool released = mid < 0;
    struct hub_msg *msg = NULL;
    struct hub_qentry *e = NULL;
    int flags;

    if (!released) {
        msg = hub_store_row_msg(tx->db, HUB_S_QUEUE_READ, 4);
        if (msg == NULL)
            return NULL;
        msg->mid = (uint64_t)mid;
    }
    e = hub_qentry_new(msg, (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_READ, 0));
    hub_msg_unref(msg);
    if (e == NULL)
        return NULL;
    flags = (int)(bt_db_int(tx->db, HUB_S_QUEUE_READ, 2) & INT32_MAX);
    e->share = (uint32_t)((uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_READ, 2) >> SHARE_AT);
    atomic_init(&e->state, HUB_Q_STORED);
    e->committed = true;
    e->phase = released ? HUB_Q_RELEASED : HUB_Q_PUBLISH;
    e->qos = (uint8_t)BT_MIN(BT_MAX(flags & FLAG_QOS, 1), 2);
    e->retain = (flags & FLAG_RETAIN) != 0;
    if (row_subids(tx->db, flags, e) == 0)
        return e;
    hub_qentry_unref(e);
    return NULL;
}

static int read_rows(struct hub_store_tx *tx, struct hub_store_rows *rows, uint32_t most)
{
    struct hub_qentry **tail = &rows->head;
    size_t bytes = 0;
    int r;

    while ((r = bt_db_step(tx->db, HUB_S_QUEUE_READ)) == BT_DB_ROW) {
        if (rows->n == most || bytes >= HUB_STORE_READ_BYTES) {
            rows->more = true;
            break;
        }
        *tail = row_entry(tx);
        if (*tail == NULL) {
            rows->failed = true;
            break;
        }
        bytes += (*tail)->msg != NULL ? (*tail)->msg->payload_len : 0;
        tail = &(*tail)->next;
        rows->n++;
    }
    if (r != 0)
        bt_db_reset(tx->db, HUB_S_QUEUE_READ);
    return r < 0 ? r : 0;
}

static int read_queue(struct hub_store_tx *tx, struct hub_op *op)
{
    uint32_t most = BT_MAX(op->u32, 1u);
    int r = flush(tx);

    if (r < 0)
        return r;
    op->rows = bt_calloc(1, sizeof(*op->rows));
    if (op->rows == NULL)
        return BT_ENOMEM;
    op->rows->sid = op->sid;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_READ, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_READ, 2, (int64_t)op->qseq);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_READ, 3, (int64_t)most + 1);
    return read_rows(tx, op->rows, most);
}

int hub_store_tx_apply(struct hub_store_tx *tx, struct hub_op *op)
{
    static int (*const apply[])(struct hub_store_tx *, struct hub_op *) = {
        [HUB_OP_ENQUEUE] = enqueue,
        [HUB_OP_DEQUEUE] = dequeue,
        [HUB_OP_SESSION_PUT] = session_put,
        [HUB_OP_SESSION_DEL] = session_del,
        [HUB_OP_SUB_PUT] = sub_put,
        [HUB_OP_SUB_DEL] = sub_del,
        [HUB_OP_RETAIN_PUT] = hub_store_retain,
        [HUB_OP_RETAIN_DEL] = hub_store_retain,
        [HUB_OP_WILL_PUT] = hub_store_will,
        [HUB_OP_WILL_DEL] = hub_store_will,
        [HUB_OP_RELEASE] = hub_store_release,
        [HUB_OP_INCOMING_PUT] = hub_store_incoming,
        [HUB_OP_INCOMING_DEL] = hub_store_incoming,
        [HUB_OP_READ] = read_queue,
    };

    return apply[op->kind](tx, op);
}

int hub_store_tx_commit(struct hub_store_tx *tx)
{
    int r = flush(tx);

    if (r == 0)
        r = hub_store_retain_flush(tx);
    if (r == 0 && tx->begun)
        r = bt_db_commit(tx->db);
    if (r < 0)
        return r;
    tx->begun = false;
    hub_store_reap_settle(tx, true);
    return 0;
}

void hub_store_tx_rollback(struct hub_store_tx *tx)
{
    forget_deltas(tx);
    hub_store_retain_forget(tx);
    hub_store_limit_forget(tx, 0);
    bt_db_rollback(tx->db);
    tx->begun = false;
    hub_store_reap_settle(tx, false);
}

void hub_store_tx_restore(struct hub_op *op)
{
    if (op->moved && op->kind == HUB_OP_ENQUEUE)
        atomic_store_explicit(&op->entry->state, HUB_Q_NEW, memory_order_release);
    op->moved = false;
    hub_store_rows_free(op->rows);
    op->rows = NULL;
}
