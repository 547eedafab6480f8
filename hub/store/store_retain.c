/* Retained messages on their way to the disk. A sensor that publishes its value a hundred
 * times while one commit is made needs one row, not a hundred: the changes of a group are
 * gathered by topic and only the last of each is written, just before the commit; all of
 * them are complete with it. Nothing in a group reads these rows, so their order among
 * other operations does not matter. A rollback forgets them: they are applied again.
 *
 * Workers that change one topic at the same time may tell the store in another order than
 * they did it, so what is written is what the tree holds by now: that, or something
 * newer whose operation follows. */
#include <string.h>

#include "hub/route/hash.h"
#include "hub/route/retain.h"
#include "hub/store/store_tx.h"

static struct bt_slice topic_of(const struct hub_op *op)
{
    if (op->kind == HUB_OP_RETAIN_PUT)
        return hub_msg_topic(op->retained);
    return (struct bt_slice){ (const uint8_t *)op->text, strlen(op->text) };
}

static uint32_t slot_of(const struct hub_store_retains *rs, struct bt_slice topic)
{
    uint32_t i = (uint32_t)hub_hash(topic.ptr, topic.len, rs->seed) % HUB_STORE_SLOTS;

    while (rs->slots[i] != 0) {
        struct bt_slice other = topic_of(rs->ops[rs->slots[i] - 1]);

        if (other.len == topic.len && memcmp(other.ptr, topic.ptr, topic.len) == 0)
            break;
        i = (i + 1) % HUB_STORE_SLOTS;
    }
    return i;
}

/* The removal of an expired message, but there is a newer one already. */
static bool is_late(const struct hub_op *op, const struct hub_op *there)
{
    return op->kind == HUB_OP_RETAIN_DEL && op->when != 0 &&
           (there->kind != HUB_OP_RETAIN_PUT || there->retained->expires_ms != op->when);
}

int hub_store_retain(struct hub_store_tx *tx, struct hub_op *op)
{
    struct hub_store_retains *rs = &tx->retains;
    uint32_t slot;
    int r = hub_store_tx_begin(tx);

    if (r == 0 && rs->n == HUB_STORE_GROUP)
        r = hub_store_retain_flush(tx);
    if (r < 0)
        return r;
    slot = slot_of(rs, topic_of(op));
    if (rs->slots[slot] != 0) {
        tx->skipped++;
        if (is_late(op, rs->ops[rs->slots[slot] - 1]))
            return 0;
        /* It removes what will not be written, and so whatever was there before it. */
        if (op->kind == HUB_OP_RETAIN_DEL)
            op->when = 0;
        rs->ops[rs->slots[slot] - 1] = op;
        return 0;
    }
    rs->ops[rs->n++] = op;
    rs->slots[slot] = (uint16_t)rs->n;
    return 0;
}

static int put(struct hub_store_tx *tx, const struct hub_msg *m)
{
    struct bt_db *db = tx->db;

    tx->written++;
    tx->messages++;
    bt_db_bind_text(db, HUB_S_RETAIN_PUT, 1, hub_msg_topic(m));
    bt_db_bind_int(db, HUB_S_RETAIN_PUT, 2, m->qos);
    bt_db_bind_int(db, HUB_S_RETAIN_PUT, 3, m->retain);
    bt_db_bind_int(db, HUB_S_RETAIN_PUT, 4, m->created_ms);
    bt_db_bind_int(db, HUB_S_RETAIN_PUT, 5, m->expires_ms);
    bt_db_bind_blob(db, HUB_S_RETAIN_PUT, 6, hub_msg_props(m));
    bt_db_bind_blob(db, HUB_S_RETAIN_PUT, 7, hub_msg_payload(m));
    return bt_db_run(db, HUB_S_RETAIN_PUT);
}

static int drop(struct hub_store_tx *tx, struct bt_slice topic, int64_t when)
{
    bt_db_bind_text(tx->db, HUB_S_RETAIN_DEL, 1, topic);
    bt_db_bind_int(tx->db, HUB_S_RETAIN_DEL, 2, when);
    return bt_db_run(tx->db, HUB_S_RETAIN_DEL);
}

/* What the tree holds of this topic. */
static int write_current(struct hub_store_tx *tx, struct bt_slice topic)
{
    struct hub_msg *now = hub_retain_get(tx->retain, topic);
    int r = now != NULL ? put(tx, now) : drop(tx, topic, 0);

    hub_msg_unref(now);
    return r;
}

int hub_store_retain_flush(struct hub_store_tx *tx)
{
    struct hub_store_retains *rs = &tx->retains;
    uint32_t i;
    int r = 0;

    for (i = 0; i < rs->n && r == 0; i++) {
        const struct hub_op *op = rs->ops[i];

        if (tx->retain != NULL)
            r = write_current(tx, topic_of(op));
        else if (op->kind == HUB_OP_RETAIN_PUT)
            r = put(tx, op->retained);
        else
            r = drop(tx, topic_of(op), op->when);
    }
    hub_store_retain_forget(tx);
    return r;
}

void hub_store_retain_forget(struct hub_store_tx *tx)
{
    if (tx->retains.n != 0)
        memset(tx->retains.slots, 0, sizeof(tx->retains.slots));
    tx->retains.n = 0;
}
