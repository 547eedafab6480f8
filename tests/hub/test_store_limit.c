/* Limits of one session's queue, and room in the files. */
#include "hub/store/store_limit.c"

#include "tests/hub/store_util.h"

static struct hub_store_tx tx;

static void open_limited(uint32_t messages, uint64_t bytes, bool drop_oldest)
{
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    tx.limiter.limits =
        (struct hub_store_limits){ messages, bytes, { true, drop_oldest, false } };
}

static struct hub_op *applied(uint64_t sid, uint64_t qseq, uint8_t qos,
                              const char *payload)
{
    struct hub_msg *m = message("t", payload);
    struct hub_op *op = enqueue_op(sid, qseq, m, NULL);

    op->entry->qos = qos;
    hub_msg_unref(m);
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    return op;
}

static void put_qos(uint64_t sid, uint64_t qseq, uint8_t qos, const char *payload)
{
    struct hub_op *op = applied(sid, qseq, qos, payload);

    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
}

static void put(uint64_t sid, uint64_t qseq)
{
    put_qos(sid, qseq, 1, "123456789");
}

static void take(uint64_t sid, uint64_t qseq)
{
    struct hub_op *op = seq_op(HUB_OP_DEQUEUE, sid, qseq);

    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
}

TEST(the_oldest_give_way)
{
    uint64_t i;

    open_limited(5, 0, true);
    for (i = 1; i <= 8; i++)
        put(1, i);
    put(2, 1);
    CHECK_INT(tx.limiter.dropped, 3);
    CHECK_INT(ask_db(tx.db, "SELECT MIN(qseq) FROM queue WHERE sid=1"), 4);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message"), 6);
    take(1, 4);
    put(1, 9);
    CHECK_INT(tx.limiter.dropped, 3);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE sid=1"), 5);
    hub_store_tx_close(&tx);
}

TEST(the_newest_gives_way)
{
    uint64_t i;

    open_limited(5, 0, false);
    for (i = 1; i <= 8; i++)
        put(1, i);
    CHECK_INT(tx.limiter.dropped, 3);
    CHECK_INT(ask_db(tx.db, "SELECT MAX(qseq) FROM queue WHERE sid=1"), 5);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message"), 5);
    hub_store_tx_close(&tx);
}

TEST(bytes_are_counted)
{
    uint64_t i;

    open_limited(0, 35, true); /* 10 each: topic and payload */
    for (i = 1; i <= 5; i++)
        put(1, i);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 3);
    CHECK_INT(ask_db(tx.db, "SELECT MIN(qseq) FROM queue"), 3);
    put_qos(1, 6, 1, "much too long for such a short queue");
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 3);
    hub_store_tx_close(&tx);
}

TEST(each_qos_gives_way_to_its_own)
{
    open_limited(3, 0, true);
    put_qos(1, 1, 2, "a");
    put_qos(1, 2, 1, "b");
    put_qos(1, 3, 1, "c");
    put_qos(1, 4, 1, "d"); /* for the oldest of QoS 1 */
    put_qos(1, 5, 2, "e"); /* QoS 2 is refused */
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE qseq IN (1, 3, 4)"), 3);
    CHECK_INT(tx.limiter.dropped, 2);
    hub_store_tx_close(&tx);
}

TEST(a_rollback_counts_again)
{
    struct hub_op *ops[2];

    open_limited(3, 0, false);
    put(1, 1);
    ops[0] = applied(1, 2, 1, "x");
    ops[1] = applied(1, 3, 1, "x");
    hub_store_tx_rollback(&tx);
    hub_op_free(ops[0]);
    hub_op_free(ops[1]);
    put(1, 2);
    put(1, 3);
    put(1, 4);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 3);
    hub_store_tx_close(&tx);
}

TEST(many_sessions)
{
    uint64_t sid;

    open_limited(1, 0, true);
    for (sid = 1; sid <= 500; sid++) {
        put_qos(sid, 1, 1, "x");
        put_qos(sid, 2, 1, "y");
    }
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 500);
    CHECK_INT(tx.limiter.dropped, 500);
    hub_store_tx_close(&tx);
}

TEST(what_may_be_in_flight_at_qos_2_does_not_give_way)
{
    uint64_t i;

    open_limited(5, 0, true);
    tx.limiter.limits.drop_oldest[2] = true;
    atomic_store(&hub_quota.inflight, 2);
    put(1, 1);
    for (i = 2; i <= 9; i++)
        put_qos(1, i, 2, "x");
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 5);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE qseq IN (1, 2, 3, 8, 9)"),
              5);
    atomic_store(&hub_quota.inflight, 5);
    put_qos(1, 10, 2, "x");
    CHECK_INT(ask_db(tx.db, "SELECT MAX(qseq) FROM queue"), 9);
    atomic_store(&hub_quota.inflight, 0);
    hub_store_tx_close(&tx);
}

TEST(sessions_that_ended_are_forgotten)
{
    uint64_t sid;

    open_limited(2, 0, false);
    for (sid = 1; sid <= 40; sid++)
        put(sid, 1);
    CHECK_INT(tx.limiter.n, 40);
    for (sid = 1; sid <= 40; sid += 2) {
        struct hub_op *op = hub_op_new(HUB_OP_SESSION_DEL, sid);

        CHECK_INT(hub_store_tx_apply(&tx, op), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        hub_op_free(op);
    }
    CHECK_INT(tx.limiter.n, 20);
    for (sid = 2; sid <= 40; sid += 2) {
        CHECK_INT(find(&tx.limiter, sid)->sid, sid);
        CHECK_INT(find(&tx.limiter, sid)->messages, 1);
    }
    for (sid = 1; sid <= 2000; sid++) {
        struct hub_op *op = hub_op_new(HUB_OP_SESSION_DEL, 1000 + sid);

        put(1000 + sid, 1);
        CHECK_INT(hub_store_tx_apply(&tx, op), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        hub_op_free(op);
    }
    CHECK_INT(tx.limiter.cap, FIRST_CAP);
    hub_store_tx_close(&tx);
}
