/* The end of sessions with long queues, bit by bit. */
#include "hub/store/store_reap.c"

#include "tests/hub/store_util.h"

#define LONG_QUEUE (HUB_STORE_REAP * 3 + 10)

static struct hub_store_tx tx;

/* Session 1 with LONG_QUEUE rows, session 2 sharing the first message. */
static void open_with_queue(void)
{
    uint64_t i;

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    for (i = 1; i <= LONG_QUEUE; i++) {
        struct hub_msg *m = message("t", "x");
        struct hub_op *op = enqueue_op(1, i, m, NULL);
        struct hub_op *other = enqueue_op(2, i, m, NULL);

        CHECK_INT(hub_store_tx_apply(&tx, op), 0);
        if (i == 1)
            CHECK_INT(hub_store_tx_apply(&tx, other), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        hub_op_free(op);
        hub_op_free(other);
        hub_msg_unref(m);
    }
}

static int64_t rows_of_1(void)
{
    return ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE sid=1");
}

static void end_session_1(void)
{
    struct hub_op *op = hub_op_new(HUB_OP_SESSION_DEL, 1);

    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    hub_op_free(op);
}

TEST(long_queue_goes_in_chunks)
{
    int steps = 0;

    open_with_queue();
    end_session_1();
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    CHECK_INT(rows_of_1(), LONG_QUEUE - HUB_STORE_REAP);
    while (tx.reap != NULL) {
        CHECK_INT(hub_store_reap_step(&tx), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        steps++;
    }
    CHECK_INT(steps, 3);
    CHECK_INT(rows_of_1(), 0);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    hub_store_tx_close(&tx);
}

TEST(rollback_forgets_the_end)
{
    open_with_queue();
    end_session_1();
    CHECK(tx.reap != NULL);
    hub_store_tx_rollback(&tx);
    CHECK(tx.reap == NULL);
    CHECK_INT(rows_of_1(), LONG_QUEUE);
    hub_store_tx_close(&tx);
}

TEST(rollback_of_the_last_chunk_keeps_the_work)
{
    open_with_queue();
    end_session_1();
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    CHECK_INT(hub_store_reap_finish(&tx, 1), 0);
    CHECK_INT(rows_of_1(), 0);
    hub_store_tx_rollback(&tx);
    CHECK(tx.reap != NULL && !tx.reap->done);
    CHECK_INT(rows_of_1(), LONG_QUEUE - HUB_STORE_REAP);
    hub_store_tx_close(&tx);
}

TEST(a_number_used_again_meets_no_old_rows)
{
    struct hub_msg *m = message("t", "new");
    struct hub_op *op;

    open_with_queue();
    end_session_1();
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    op = enqueue_op(1, 1, m, NULL);
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
    CHECK(tx.reap == NULL);
    CHECK_INT(rows_of_1(), 1);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(without_memory_all_goes_at_once)
{
    struct hub_op *op = hub_op_new(HUB_OP_SESSION_DEL, 1);
    int r;

    open_with_queue();
    bt_mem_fail_from(1);
    r = hub_store_tx_apply(&tx, op);
    bt_mem_fail_from(0);
    CHECK_INT(r, 0);
    hub_op_free(op);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    CHECK(tx.reap == NULL);
    CHECK_INT(rows_of_1(), 0);
    hub_store_tx_close(&tx);
}
