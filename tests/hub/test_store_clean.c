/* Retention, with a clock that the test turns. */
#include "hub/store/store_clean.c"

#include "tests/hub/store_util.h"

#define HOUR_MS INT64_C(3600000)
#define START   INT64_C(1800000000000)

static struct hub_store_tx tx;

static void open_at(int64_t wall_ms)
{
    bt_clock_fake_start(1000, wall_ms);
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    tx.clean.retention_ms = 48 * HOUR_MS;
}

static void close_it(void)
{
    hub_store_tx_close(&tx);
    bt_clock_fake_stop();
}

static void put_qos(uint64_t sid, uint64_t qseq, uint8_t qos)
{
    struct hub_msg *m = message("t", "x");
    struct hub_op *op = enqueue_op(sid, qseq, m, NULL);

    op->entry->qos = qos;
    hub_msg_unref(m);
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
}

static void put(uint64_t sid, uint64_t qseq)
{
    put_qos(sid, qseq, 1);
}

/* Steps until the round is over; how many it took. */
static int round_of_steps(void)
{
    int n = 0;

    tx.clean.removed = 0;
    CHECK_INT(hub_store_clean_begin(&tx), 0);
    while (tx.clean.running) {
        CHECK_INT(hub_store_clean_step(&tx), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        n++;
    }
    return n;
}

TEST(what_is_older_goes)
{
    open_at(START);
    put(1, 1);
    put(2, 1);
    put(2, 2);
    bt_clock_fake_advance((uint64_t)(47 * HOUR_MS) * 1000);
    put(1, 2);
    put(2, 3);
    CHECK_INT(round_of_steps(), 0);
    bt_clock_fake_advance((uint64_t)(2 * HOUR_MS) * 1000);
    CHECK(round_of_steps() > 0);
    CHECK_INT(tx.clean.removed, 3);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 2);
    CHECK_INT(ask_db(tx.db, "SELECT MIN(qseq) FROM queue WHERE sid=2"), 3);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message"), 2);
    close_it();
}

TEST(long_queues_go_in_chunks)
{
    uint64_t i;

    open_at(START);
    for (i = 1; i <= 3 * CLEAN_ROWS; i++)
        put(5, i);
    bt_clock_fake_advance((uint64_t)(49 * HOUR_MS) * 1000);
    put(5, i);
    CHECK(round_of_steps() >= 3);
    CHECK_INT(tx.clean.removed, 3 * CLEAN_ROWS);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 1);
    close_it();
}

TEST(a_clock_that_was_not_set)
{
    open_at(60000); /* one minute after midnight, 1970 */
    put(1, 1);
    bt_clock_fake_stop();
    bt_clock_fake_start(2000, START);
    put(1, 2);
    CHECK_INT(round_of_steps(), 1);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 2);
    bt_clock_fake_advance((uint64_t)(49 * HOUR_MS) * 1000);
    CHECK(round_of_steps() > 0);
    CHECK_INT(tx.clean.removed, 1);
    CHECK_INT(ask_db(tx.db, "SELECT qseq FROM queue"), 1);
    close_it();
}

TEST(zero_is_for_ever)
{
    open_at(START);
    tx.clean.retention_ms = 0;
    put(1, 1);
    bt_clock_fake_advance((uint64_t)(4900 * HOUR_MS) * 1000);
    CHECK_INT(round_of_steps(), 0);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 1);
    close_it();
}

TEST(what_may_be_in_flight_at_qos_2_stays)
{
    struct hub_op *op = seq_op(HUB_OP_RELEASE, 1, 1);
    uint64_t i;

    open_at(START);
    atomic_store(&hub_quota.inflight, 600);
    for (i = 1; i <= 1500; i++)
        put_qos(1, i, 2);
    put(1, i++);
    put_qos(1, i, 2);
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
    put(2, 1);
    bt_clock_fake_advance((uint64_t)(49 * HOUR_MS) * 1000);
    put_qos(1, i + 1, 2);
    put_qos(2, 2, 2);
    round_of_steps();
    /* Those that may be in flight, the released one, the young one. */
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE sid=1"), 602);
    CHECK_INT(ask_db(tx.db, "SELECT MAX(qseq) FROM queue WHERE sid=1 AND qseq<1500"),
              601);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE sid=2"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message"), 602);
    atomic_store(&hub_quota.inflight, 0);
    close_it();
}
