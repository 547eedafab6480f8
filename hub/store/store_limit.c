/* Queues with a limit. The store knows how long the queues are that it writes to: counted
 * from the rows when it first meets one, kept up to date from then on, and forgotten by a
 * rollback. Without limits nothing is counted and nothing costs anything.
 *
 * A queue is ordered by arrival, so the oldest row of the QoS that may be dropped is
 * found at its start. An entry that the session already holds in memory may still be
 * delivered after its row is gone; its acknowledgement then finds no row, which is fine.
 * At QoS 2 it is not: after a crash nobody would release the identifier, and the client
 * would take a later message for this one. So the first rows of QoS 2, as many as can be
 * in flight, stay; the session holds no more than those in memory when they could go.
 */
#include "hub/store/store_limit.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/session/quota.h"
#include "hub/store/store_tx.h"

#define FIRST_CAP 64u

static bool is_limited(const struct hub_store_limiter *l)
{
    return l->limits.messages != 0 || l->limits.bytes != 0;
}

static uint32_t home_of(const struct hub_store_limiter *l, uint64_t sid)
{
    return (uint32_t)(sid * 0x9e3779b97f4a7c15u >> 32) & (l->cap - 1);
}

static struct hub_store_queue *find(const struct hub_store_limiter *l, uint64_t sid)
{
    uint32_t i = home_of(l, sid);

    while (l->queues[i].sid != 0 && l->queues[i].sid != sid)
        i = (i + 1) & (l->cap - 1);
    return &l->queues[i];
}

static int grow(struct hub_store_limiter *l)
{
    struct hub_store_queue *old = l->queues;
    uint32_t i, n = l->cap;

    if (old != NULL && l->n * 4 < l->cap * 3)
        return 0;
    l->queues = bt_calloc(n == 0 ? FIRST_CAP : 2 * n, sizeof(*old));
    if (l->queues == NULL) {
        l->queues = old;
        return BT_ENOMEM;
    }
    l->cap = n == 0 ? FIRST_CAP : 2 * n;
    for (i = 0; i < n; i++)
        if (old[i].sid != 0)
            *find(l, old[i].sid) = old[i];
    bt_free(old);
    return 0;
}

/* Counts the rows of a queue that was not met before. */
static int measure(struct hub_store_tx *tx, struct hub_store_queue *q, uint64_t sid)
{
    int r;

    bt_db_bind_int(tx->db, HUB_S_QUEUE_SIZE, 1, (int64_t)sid);
    r = bt_db_step(tx->db, HUB_S_QUEUE_SIZE);
    if (r != BT_DB_ROW)
        return r;
    q->sid = sid;
    q->messages = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_SIZE, 0);
    q->bytes = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_SIZE, 1);
    bt_db_reset(tx->db, HUB_S_QUEUE_SIZE);
    tx->limiter.n++;
    return 0;
}

static int queue_of(struct hub_store_tx *tx, uint64_t sid, struct hub_store_queue **out)
{
    int r = grow(&tx->limiter);

    if (r < 0)
        return r;
    *out = find(&tx->limiter, sid);
    if ((*out)->sid != 0)
        return 0;
    /* Rows of this group whose messages are not written yet must count, too. */
    r = hub_store_tx_flush(tx);
    return r == 0 ? measure(tx, *out, sid) : r;
}

static void less(uint64_t *from, uint64_t n)
{
    *from -= BT_MIN(*from, n);
}

static int message_bytes(struct hub_store_tx *tx, uint64_t mid, uint64_t *out)
{
    int r;

    *out = 0;
    if (tx->limiter.limits.bytes == 0 || (int64_t)mid <= 0)
        return 0;
    r = hub_store_tx_flush(tx);
    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_MESSAGE_SIZE, 1, (int64_t)mid);
    r = bt_db_step(tx->db, HUB_S_MESSAGE_SIZE);
    if (r != BT_DB_ROW)
        return r;
    *out = (uint64_t)bt_db_int(tx->db, HUB_S_MESSAGE_SIZE, 0);
    bt_db_reset(tx->db, HUB_S_MESSAGE_SIZE);
    return 0;
}

/* Drops the oldest row of this QoS. HUB_STORE_REFUSED when there is none. */
static int drop_oldest(struct hub_store_tx *tx, struct hub_store_queue *q, uint8_t qos)
{
    uint64_t qseq, mid, bytes;
    int r;

    bt_db_bind_int(tx->db, HUB_S_QUEUE_OLDEST, 1, (int64_t)q->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_OLDEST, 2, qos);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_OLDEST, 3,
                   qos == 2 ? atomic_load(&hub_quota.inflight) : 0);
    r = bt_db_step(tx->db, HUB_S_QUEUE_OLDEST);
    if (r != BT_DB_ROW)
        return r == 0 ? HUB_STORE_REFUSED : r;
    qseq = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_OLDEST, 0);
    mid = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_OLDEST, 1);
    bt_db_reset(tx->db, HUB_S_QUEUE_OLDEST);
    r = message_bytes(tx, mid, &bytes);
    if (r < 0)
        return r;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_DEL, 1, (int64_t)q->sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_DEL, 2, (int64_t)qseq);
    r = bt_db_run(tx->db, HUB_S_QUEUE_DEL);
    if (r < 0)
        return r;
    less(&q->messages, 1);
    less(&q->bytes, bytes);
    tx->limiter.dropped++;
    return hub_store_tx_count(tx, mid, -1, NULL);
}

int hub_store_limit_admit(struct hub_store_tx *tx, uint64_t sid, uint8_t qos,
                          uint64_t bytes)
{
    const struct hub_store_limits *l = &tx->limiter.limits;
    struct hub_store_queue *q = NULL;
    int r;

    if (!is_limited(&tx->limiter))
        return 0;
    if (l->bytes != 0 && bytes > l->bytes) {
        tx->limiter.dropped++;
        return HUB_STORE_REFUSED; /* it would not fit an empty queue */
    }
    r = queue_of(tx, sid, &q);
    while (r == 0 && ((l->messages != 0 && q->messages >= l->messages) ||
                      (l->bytes != 0 && q->bytes + bytes > l->bytes)))
        r = l->drop_oldest[BT_MIN(qos, 2u)] ? drop_oldest(tx, q, qos) : HUB_STORE_REFUSED;
    if (r == HUB_STORE_REFUSED)
        tx->limiter.dropped++;
    if (r != 0)
        return r;
    q->messages++;
    q->bytes += bytes;
    return 0;
}

int hub_store_limit_left(struct hub_store_tx *tx, uint64_t sid, uint64_t mid,
                         uint32_t rows)
{
    struct hub_store_queue *q;
    uint64_t bytes;
    int r;

    if (tx->limiter.queues == NULL)
        return 0;
    q = find(&tx->limiter, sid);
    if (q->sid == 0)
        return 0;
    r = message_bytes(tx, mid, &bytes);
    less(&q->messages, rows);
    less(&q->bytes, bytes);
    return r;
}

/* Those behind the hole that would not be found any more move into it. */
static void remove_queue(struct hub_store_limiter *l, struct hub_store_queue *q)
{
    uint32_t hole = (uint32_t)(q - l->queues), i = hole, mask = l->cap - 1;

    if (q->sid == 0)
        return;
    while (l->queues[i = (i + 1) & mask].sid != 0) {
        uint32_t home = home_of(l, l->queues[i].sid);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            l->queues[hole] = l->queues[i];
            hole = i;
        }
    }
    l->queues[hole].sid = 0;
    l->n--;
}

void hub_store_limit_forget(struct hub_store_tx *tx, uint64_t sid)
{
    struct hub_store_limiter *l = &tx->limiter;

    if (l->queues == NULL)
        return;
    if (sid != 0) {
        remove_queue(l, find(l, sid));
        return;
    }
    memset(l->queues, 0, l->cap * sizeof(*l->queues));
    l->n = 0;
}

void hub_store_limit_deinit(struct hub_store_tx *tx)
{
    bt_free(tx->limiter.queues);
    tx->limiter.queues = NULL;
    tx->limiter.n = tx->limiter.cap = 0;
}
