/* Retention: rows of queues whose message is older than the configured time go, whether
 * the session's client is there or not. A queue is in order of arrival, so a round visits
 * the sessions one after the other and looks at the start of each queue only, a chunk a
 * transaction, between other work.
 *
 * The first QoS 2 rows of a queue, as many as can be in flight, stay: after a crash
 * nobody would release their identifiers otherwise. Their messages are too old to be sent
 * by then if they were not yet.
 *
 * A message from before CLOCK_FLOOR was stored while the clock of the device was not set;
 * its age is not known and it stays. A rollback starts the round again. */
#include "hub/store/store_tx.h"

#include "core/clock.h"
#include "hub/session/quota.h"

#define CLOCK_FLOOR  HUB_STORE_CLOCK_FLOOR
#define CLEAN_ROWS   512u /* looked at in one step */
#define CLEAN_QUEUES 64u  /* sessions visited in one step */

struct old_row {
    uint64_t qseq, mid;
};

static bool is_old(const struct hub_store_clean *c, int64_t created)
{
    return created >= CLOCK_FLOOR && created < c->before_ms;
}

int hub_store_clean_begin(struct hub_store_tx *tx)
{
    struct hub_store_clean *c = &tx->clean;
    int64_t oldest;
    int r;

    if (c->retention_ms == 0 || c->running)
        return 0;
    c->before_ms = bt_clock_wall_ms() - c->retention_ms;
    /* What is removed is not sent any more, also by who has it in memory. */
    atomic_store_explicit(&hub_quota.oldest_ms, c->before_ms, memory_order_relaxed);
    r = bt_db_query_int(tx->db,
                        "SELECT MIN(created) FROM (SELECT created FROM message"
                        " ORDER BY mid LIMIT 16)",
                        &oldest);
    c->running = r == 0 && oldest != 0 && oldest < c->before_ms;
    c->sid = c->from = 0;
    c->kept = 0;
    return r;
}

/* Whether the row is one of those that may be in flight at QoS 2. */
static bool may_fly(struct hub_store_tx *tx, int64_t mid)
{
    if (mid < 0)
        return true;
    if (bt_db_int(tx->db, HUB_S_QUEUE_AGE, 3) != 2)
        return false;
    return ++tx->clean.kept <= atomic_load(&hub_quota.inflight);
}

/* The next old rows of a queue; *more: there may be others behind them. */
static int find_old(struct hub_store_tx *tx, uint64_t sid, struct old_row *rows,
                    uint32_t *n, bool *more)
{
    struct hub_store_clean *c = &tx->clean;
    uint32_t seen = 0, flying = 0;
    int r;

    *n = 0;
    bt_db_bind_int(tx->db, HUB_S_QUEUE_AGE, 1, (int64_t)sid);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_AGE, 2, (int64_t)c->from);
    bt_db_bind_int(tx->db, HUB_S_QUEUE_AGE, 3, CLEAN_ROWS);
    while ((r = bt_db_step(tx->db, HUB_S_QUEUE_AGE)) == BT_DB_ROW) {
        int64_t mid = bt_db_int(tx->db, HUB_S_QUEUE_AGE, 1);
        int64_t created = bt_db_int(tx->db, HUB_S_QUEUE_AGE, 2);

        seen++;
        c->from = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_AGE, 0);
        if (may_fly(tx, mid))
            flying++;
        else if (is_old(c, created))
            rows[(*n)++] = (struct old_row){ .qseq = c->from, .mid = (uint64_t)mid };
        else if (created >= CLOCK_FLOOR)
            break; /* those behind it are younger still */
    }
    if (r != 0)
        bt_db_reset(tx->db, HUB_S_QUEUE_AGE);
    *more = r == 0 && seen == CLEAN_ROWS && *n + flying > 0;
    return r < 0 ? r : 0;
}

static int remove_rows(struct hub_store_tx *tx, uint64_t sid, const struct old_row *rows,
                       uint32_t n)
{
    uint32_t i;
    int r = n > 0 ? hub_store_tx_begin(tx) : 0;

    for (i = 0; i < n && r == 0; i++) {
        bt_db_bind_int(tx->db, HUB_S_QUEUE_DEL, 1, (int64_t)sid);
        bt_db_bind_int(tx->db, HUB_S_QUEUE_DEL, 2, (int64_t)rows[i].qseq);
        r = bt_db_run(tx->db, HUB_S_QUEUE_DEL);
        if (r == 0)
            r = hub_store_limit_left(tx, sid, rows[i].mid, 1);
        if (r == 0)
            r = hub_store_tx_count(tx, rows[i].mid, -1, NULL);
    }
    tx->clean.removed += n;
    return r;
}

/* The next queue after sid; 0 when that was the last one. */
static int next_queue(struct hub_store_tx *tx, uint64_t *sid)
{
    int r;

    bt_db_bind_int(tx->db, HUB_S_QUEUE_NEXT_SID, 1, (int64_t)*sid);
    r = bt_db_step(tx->db, HUB_S_QUEUE_NEXT_SID);
    *sid = r == BT_DB_ROW ? (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_NEXT_SID, 0) : 0;
    if (r == BT_DB_ROW)
        bt_db_reset(tx->db, HUB_S_QUEUE_NEXT_SID);
    return r < 0 ? r : 0;
}

int hub_store_clean_step(struct hub_store_tx *tx)
{
    struct hub_store_clean *c = &tx->clean;
    struct old_row rows[CLEAN_ROWS];
    uint32_t queues, n;
    int r = 0;

    for (queues = 0; c->running && r == 0 && queues < CLEAN_QUEUES; queues++) {
        uint64_t sid = c->sid;
        bool more = false;

        r = next_queue(tx, &sid);
        if (r == 0 && sid == 0) {
            c->running = false;
            break;
        }
        if (r == 0)
            r = find_old(tx, sid, rows, &n, &more);
        if (r == 0)
            r = remove_rows(tx, sid, rows, n);
        if (more)
            break;
        c->sid = sid;
        c->from = 0;
        c->kept = 0;
    }
    return r;
}
