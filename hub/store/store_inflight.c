/* What the store knows of QoS 2 exchanges under way. To a client: a delivery whose
 * receiver said PUBREC needs its message no more, only its place in the queue; its row's
 * mid becomes negative, which no message has. From a client: one row of `incoming` for
 * each packet identifier between PUBLISH and PUBREL. */
#include "core/error.h"
#include "hub/store/store_tx.h"

int hub_store_release(struct hub_store_tx *tx, struct hub_op *op)
{
    uint64_t mid;
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_RELEASE, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_RELEASE, 2, (int64_t)op->qseq);
    r = bt_db_step(tx->db, HUB_S_QUEUE_RELEASE);
    if (r != BT_DB_ROW)
        return r;
    mid = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_RELEASE, 0);
    bt_db_reset(tx->db, HUB_S_QUEUE_RELEASE);
    op->moved = true;
    tx->written++;
    r = hub_store_limit_left(tx, op->sid, mid, 0);
    return r < 0 ? r : hub_store_tx_count(tx, mid, -1, NULL);
}

int hub_store_incoming(struct hub_store_tx *tx, struct hub_op *op)
{
    bool put = op->kind == HUB_OP_INCOMING_PUT;
    unsigned stmt = put ? HUB_S_INCOMING_PUT : HUB_S_INCOMING_DEL;
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, stmt, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, stmt, 2, op->u32);
    tx->written += put;
    r = bt_db_run(tx->db, stmt);
    op->moved = r == 0 && bt_db_changes(tx->db) != 0;
    return r;
}

int hub_store_incoming_end(struct hub_store_tx *tx, uint64_t sid)
{
    bt_db_bind_int(tx->db, HUB_S_INCOMINGS_DEL, 1, (int64_t)sid);
    return bt_db_run(tx->db, HUB_S_INCOMINGS_DEL);
}

int hub_store_load_incoming(struct hub_store_tx *tx, const struct hub_store_visitor *v)
{
    if (v->incoming == NULL)
        return 0;
    return v->incoming(v->arg, (uint64_t)bt_db_int(tx->db, HUB_S_LOAD_INCOMING, 0),
                       (uint16_t)bt_db_int(tx->db, HUB_S_LOAD_INCOMING, 1));
}
