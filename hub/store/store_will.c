/* The store's operations on wills: one row a session that has one, with the columns of a
 * message. Only memory and the disk can fail; then the group is rolled back and tried
 * again. */
#include "hub/store/store_tx.h"

static int put(struct hub_store_tx *tx, const struct hub_op *op)
{
    const struct hub_msg *m = op->retained;

    tx->written++;
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 1, (int64_t)op->sid);
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 2, op->u32);
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 3, op->u32b);
    bt_db_bind_text(tx->db, HUB_S_WILL_PUT, 4, hub_msg_topic(m));
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 5, m->qos);
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 6, m->retain);
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 7, m->created_ms);
    bt_db_bind_int(tx->db, HUB_S_WILL_PUT, 8, m->expires_ms);
    bt_db_bind_blob(tx->db, HUB_S_WILL_PUT, 9, hub_msg_props(m));
    bt_db_bind_blob(tx->db, HUB_S_WILL_PUT, 10, hub_msg_payload(m));
    return bt_db_run(tx->db, HUB_S_WILL_PUT);
}

int hub_store_will(struct hub_store_tx *tx, struct hub_op *op)
{
    int r = hub_store_tx_begin(tx);

    if (r < 0)
        return r;
    if (op->kind == HUB_OP_WILL_PUT)
        return put(tx, op);
    bt_db_bind_int(tx->db, HUB_S_WILL_DEL, 1, (int64_t)op->sid);
    return bt_db_run(tx->db, HUB_S_WILL_DEL);
}
