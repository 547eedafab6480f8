/* The end of sessions with long queues. Ten million rows in one transaction would stop
 * every publisher for as long as it takes, so the first chunk goes with the session and
 * the rest whenever the store has nothing better to do, a chunk a transaction.
 *
 * What is left is remembered in memory only: after a crash the rows are those of a queue
 * without a session, which loading finds. A rollback brings rows back, so an ended
 * session is forgotten no earlier than the commit that deleted its last row. */
#include "core/mem.h"
#include "hub/store/store_tx.h"

/* Deletes the first rows of a queue; *n how many. */
static int reap_chunk(struct hub_store_tx *tx, uint64_t sid, uint32_t *n)
{
    int64_t last = 0;
    int r = hub_store_tx_begin(tx);

    *n = 0;
    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_HEAD, 1, (int64_t)sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_HEAD, 2, HUB_STORE_REAP);
    while ((r = bt_db_step(tx->db, HUB_S_QUEUE_HEAD)) == BT_DB_ROW) {
        uint64_t mid = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_HEAD, 1);

        last = bt_db_int(tx->db, HUB_S_QUEUE_HEAD, 0);
        ++*n;
        r = hub_store_tx_count(tx, mid, -1, NULL);
        if (r < 0) {
            bt_db_reset(tx->db, HUB_S_QUEUE_HEAD);
            return r;
        }
    }
    if (r < 0 || *n == 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_TRIM, 1, (int64_t)sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_TRIM, 2, last);
    return bt_db_run(tx->db, HUB_S_QUEUE_TRIM);
}

static int reap_all(struct hub_store_tx *tx, uint64_t sid)
{
    uint32_t n = HUB_STORE_REAP;
    int r = 0;

    while (r == 0 && n == HUB_STORE_REAP)
        r = reap_chunk(tx, sid, &n);
    return r;
}

static struct hub_store_reap *reap_find(struct hub_store_tx *tx, uint64_t sid)
{
    struct hub_store_reap *node = tx->reap;

    while (node != NULL && node->sid != sid)
        node = node->next;
    return node;
}

int hub_store_reap_begin(struct hub_store_tx *tx, uint64_t sid)
{
    struct hub_store_reap *node = reap_find(tx, sid);
    uint32_t n;
    int r = reap_chunk(tx, sid, &n);

    if (r < 0 || n < HUB_STORE_REAP)
        return r;
    if (node == NULL) {
        node = bt_calloc(1, sizeof(*node));
        if (node == NULL)
            return reap_all(tx, sid);
        node->sid = sid;
        node->fresh = true;
        node->next = tx->reap;
        tx->reap = node;
    }
    node->done = false;
    return 0;
}

int hub_store_reap_finish(struct hub_store_tx *tx, uint64_t sid)
{
    struct hub_store_reap *node = reap_find(tx, sid);
    int r;

    if (node == NULL || node->done)
        return 0;
    r = reap_all(tx, sid);
    node->done = r == 0;
    return r;
}

int hub_store_reap_step(struct hub_store_tx *tx)
{
    struct hub_store_reap *node = tx->reap;
    uint32_t n;
    int r;

    if (node == NULL || node->done)
        return 0;
    r = reap_chunk(tx, node->sid, &n);
    node->done = r == 0 && n < HUB_STORE_REAP;
    return r;
}

void hub_store_reap_settle(struct hub_store_tx *tx, bool kept)
{
    struct hub_store_reap **at = &tx->reap;

    while (*at != NULL) {
        struct hub_store_reap *node = *at;

        if (kept ? node->done : node->fresh) {
            *at = node->next;
            bt_free(node);
        } else {
            node->fresh = node->done = false;
            at = &node->next;
        }
    }
}
