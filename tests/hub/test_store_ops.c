/* The store's operations on a database in memory, without its thread. */
#include "hub/store/store_ops.c"

#include "tests/hub/store_util.h"

static struct hub_store_tx tx;

static void open_memory(void)
{
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
}

static void apply_one(struct hub_op *op)
{
    int r = hub_store_tx_apply(&tx, op);

    hub_op_free(op);
    CHECK_INT(r, 0);
}

/* Applies in one transaction, frees, commits. */
static void apply_all(struct hub_op **ops, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        CHECK_INT(hub_store_tx_apply(&tx, ops[i]), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    for (i = 0; i < n; i++)
        hub_op_free(ops[i]);
}
#define APPLY(...)                                \
    apply_all((struct hub_op *[]){ __VA_ARGS__ }, \
              BT_ARRAY_LEN(((struct hub_op *[]){ __VA_ARGS__ })))

static int64_t count(const char *table)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM %s", table);
    return ask_db(tx.db, sql);
}

static struct hub_store_rows *read_from(uint64_t sid, uint64_t qseq, uint32_t most)
{
    struct hub_op *op = seq_op(HUB_OP_READ, sid, qseq);
    struct hub_store_rows *rows;

    op->u32 = most;
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    rows = bt_steal(op->rows);
    hub_op_free(op);
    return rows;
}

TEST(fan_out_writes_the_message_once)
{
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    APPLY(enqueue_op(1, 1, m, NULL), enqueue_op(2, 1, m, NULL),
          enqueue_op(3, 1, m, NULL));
    CHECK_INT(count("queue"), 3);
    CHECK_INT(count("message"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 3);
    CHECK_INT(tx.written, 4);
    CHECK(m->mid != 0);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(fan_out_over_several_transactions_adds_up)
{
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    APPLY(enqueue_op(1, 1, m, NULL));
    APPLY(enqueue_op(2, 1, m, NULL), enqueue_op(3, 1, m, NULL));
    CHECK_INT(count("message"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 3);
    APPLY(seq_op(HUB_OP_DEQUEUE, 1, 1), seq_op(HUB_OP_DEQUEUE, 2, 1),
          seq_op(HUB_OP_DEQUEUE, 3, 1));
    CHECK_INT(count("message"), 0);
    APPLY(enqueue_op(4, 1, m, NULL));
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(dropped_before_the_store_writes_nothing)
{
    struct hub_msg *m = message("a/b", "hello");
    struct hub_qentry *e;
    struct hub_op *op;

    open_memory();
    op = enqueue_op(1, 1, m, &e);
    atomic_store(&e->state, HUB_Q_DROPPED);
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK(!tx.begun);
    CHECK_INT(tx.skipped, 1);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    CHECK_INT(atomic_load(&e->state), HUB_Q_DROPPED);
    CHECK_INT(count("queue"), 0);
    CHECK_INT(m->mid, 0);
    hub_op_free(op);
    hub_qentry_unref(e);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(message_leaves_with_its_last_row)
{
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    APPLY(enqueue_op(1, 1, m, NULL), enqueue_op(2, 1, m, NULL));
    APPLY(seq_op(HUB_OP_DEQUEUE, 1, 1));
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    APPLY(seq_op(HUB_OP_DEQUEUE, 1, 1));
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    APPLY(seq_op(HUB_OP_DEQUEUE, 2, 1));
    CHECK_INT(count("message"), 0);
    CHECK_INT(count("queue"), 0);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(a_row_that_comes_and_goes_in_one_group_writes_no_message)
{
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    APPLY(enqueue_op(1, 1, m, NULL), seq_op(HUB_OP_DEQUEUE, 1, 1));
    CHECK_INT(tx.written, 1);
    CHECK_INT(count("message"), 0);
    CHECK_INT(count("queue"), 0);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(a_row_stored_twice_counts_once)
{
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    APPLY(enqueue_op(1, 1, m, NULL), enqueue_op(1, 1, m, NULL));
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(read_gives_what_was_stored_in_order)
{
    struct hub_msg *m = message("a/b", "hello");
    struct hub_store_rows *rows;
    struct hub_op *op = enqueue_op(7, 2, m, NULL);
    struct hub_qentry *e;

    open_memory();
    op->entry->qos = 2;
    op->entry->retain = true;
    op->entry->n_subids = 2;
    op->entry->subids[0] = 268435455;
    op->entry->subids[1] = 5;
    APPLY(enqueue_op(7, 3, m, NULL), op, enqueue_op(7, 1, m, NULL));
    rows = read_from(7, 2, 10);
    CHECK_INT(rows->n, 2);
    CHECK(!rows->more && !rows->failed);
    CHECK_INT(rows->sid, 7);
    e = rows->head;
    CHECK_INT(e->qseq, 2);
    CHECK_INT(e->qos, 2);
    CHECK(e->retain);
    CHECK_INT(e->n_subids, 2);
    CHECK_INT(e->subids[0], 268435455);
    CHECK_INT(e->subids[1], 5);
    CHECK_INT(atomic_load(&e->state), HUB_Q_STORED);
    CHECK_INT(e->msg->mid, m->mid);
    CHECK_INT(e->msg->created_ms, m->created_ms);
    CHECK_INT(e->msg->expires_ms, m->expires_ms);
    CHECK_INT(hub_msg_topic(e->msg).len, 3);
    CHECK_MEM(e->msg->data, m->data, 3 + 2 + 5);
    CHECK_INT(e->next->qseq, 3);
    CHECK(e->next->next == NULL);
    hub_store_rows_free(rows);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(read_sees_the_group_it_is_in)
{
    struct hub_msg *m = message("a/b", "hello");
    struct hub_op *put = enqueue_op(1, 1, m, NULL);
    struct hub_store_rows *rows;

    open_memory();
    CHECK_INT(hub_store_tx_apply(&tx, put), 0);
    rows = read_from(1, 1, 10);
    CHECK_INT(rows->n, 1);
    hub_store_rows_free(rows);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(put);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(read_by_pages)
{
    uint64_t i, next = 1;
    uint32_t pages = 0;
    bool more = true;

    open_memory();
    for (i = 1; i <= 25; i++) {
        struct hub_msg *m = message("t", "x");

        APPLY(enqueue_op(1, i, m, NULL), enqueue_op(2, i, m, NULL));
        hub_msg_unref(m);
    }
    while (more) {
        struct hub_store_rows *rows = read_from(1, next, 10);
        struct hub_qentry *e;

        for (e = rows->head; e != NULL; e = e->next)
            CHECK_INT(e->qseq, next++);
        more = rows->more;
        pages++;
        hub_store_rows_free(rows);
    }
    CHECK_INT(pages, 3);
    CHECK_INT(next, 26);
    hub_store_tx_close(&tx);
}

TEST(read_is_cut_by_bytes)
{
    size_t big = HUB_STORE_READ_BYTES / 2 + 1;
    char *payload = bt_malloc(big + 1);
    struct hub_store_rows *rows;
    struct hub_msg *m;

    memset(payload, 'x', big);
    payload[big] = '\0';
    m = message("t", payload);
    open_memory();
    APPLY(enqueue_op(1, 1, m, NULL), enqueue_op(1, 2, m, NULL),
          enqueue_op(1, 3, m, NULL));
    rows = read_from(1, 1, 100);
    CHECK_INT(rows->n, 2);
    CHECK(rows->more);
    hub_store_rows_free(rows);
    hub_msg_unref(m);
    bt_free(payload);
    hub_store_tx_close(&tx);
}

TEST(rollback_and_restore_allow_a_second_try)
{
    struct hub_msg *m = message("a/b", "hello");
    struct hub_qentry *e;
    struct hub_op *op = enqueue_op(1, 1, m, &e);

    open_memory();
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(atomic_load(&e->state), HUB_Q_STORED);
    hub_store_tx_rollback(&tx);
    hub_store_tx_restore(op);
    CHECK_INT(atomic_load(&e->state), HUB_Q_NEW);
    CHECK_INT(count("queue"), 0);
    APPLY(op);
    CHECK_INT(atomic_load(&e->state), HUB_Q_STORED);
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    hub_qentry_unref(e);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(a_group_of_the_largest_size)
{
    struct hub_op *ops[HUB_STORE_GROUP];
    uint32_t i;

    open_memory();
    for (i = 0; i < HUB_STORE_GROUP; i++) {
        struct hub_msg *m = message("t", "x");

        ops[i] = enqueue_op(1, i + 1, m, NULL);
        hub_msg_unref(m);
    }
    apply_all(ops, HUB_STORE_GROUP);
    CHECK_INT(count("message"), HUB_STORE_GROUP);
    CHECK_INT(tx.n_deltas, 0);
    for (i = 0; i < HUB_STORE_SLOTS; i++)
        CHECK_INT(tx.slots[i], 0);
    for (i = 0; i < HUB_STORE_GROUP; i++)
        ops[i] = seq_op(HUB_OP_DEQUEUE, 1, i + 1);
    apply_all(ops, HUB_STORE_GROUP);
    CHECK_INT(count("message"), 0);
    hub_store_tx_close(&tx);
}

TEST(small_groups_leave_no_slot_behind)
{
    uint32_t i, n;

    open_memory();
    for (n = 0; n < 500; n++) {
        tx.n_deltas = 0;
        for (i = 0; i < 300; i++)
            CHECK_INT(hub_store_tx_count(&tx, test_random(), 0, NULL), 0);
        forget_deltas(&tx);
        for (i = 0; i < HUB_STORE_SLOTS; i++)
            CHECK_INT(tx.slots[i], 0);
    }
    hub_store_tx_close(&tx);
}

TEST(session_and_its_subscriptions)
{
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    APPLY(text_op(HUB_OP_SESSION_PUT, 1, "c1"), text_op(HUB_OP_SESSION_PUT, 2, "c2"),
          text_op(HUB_OP_SUB_PUT, 1, "a/#"), text_op(HUB_OP_SUB_PUT, 1, "a/#"),
          text_op(HUB_OP_SUB_PUT, 1, "b"), text_op(HUB_OP_SUB_PUT, 2, "b"),
          enqueue_op(1, 1, m, NULL), enqueue_op(2, 1, m, NULL));
    CHECK_INT(count("subscription"), 3);
    APPLY(text_op(HUB_OP_SUB_DEL, 1, "b"));
    CHECK_INT(count("subscription"), 2);
    APPLY(hub_op_new(HUB_OP_SESSION_DEL, 1));
    CHECK_INT(count("session"), 1);
    CHECK_INT(count("subscription"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    APPLY(hub_op_new(HUB_OP_SESSION_DEL, 2));
    CHECK_INT(count("queue"), 0);
    CHECK_INT(count("message"), 0);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(retained_messages_replace_each_other)
{
    struct hub_op *first = hub_op_new(HUB_OP_RETAIN_PUT, 0);
    struct hub_op *second = hub_op_new(HUB_OP_RETAIN_PUT, 0);

    open_memory();
    first->retained = message("a/b", "one");
    second->retained = message("a/b", "two");
    APPLY(first, second);
    CHECK_INT(count("retained"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT payload=X'74776f' FROM retained"), 1);
    APPLY(text_op(HUB_OP_RETAIN_DEL, 0, "a/b"));
    CHECK_INT(count("retained"), 0);
    hub_store_tx_close(&tx);
}

TEST(full_database_fails_and_recovers)
{
    struct hub_msg *m;
    uint64_t i;
    int r = 0;

    open_memory();
    CHECK_INT(bt_db_exec(tx.db, "PRAGMA max_page_count=12"), 0);
    for (i = 1; r == 0 && i < 10000; i++) {
        struct hub_op *op;

        m = message("t", "some payload that fills pages");
        op = enqueue_op(1, i, m, NULL);
        r = hub_store_tx_apply(&tx, op);
        if (r == 0)
            r = hub_store_tx_commit(&tx);
        hub_op_free(op);
        hub_msg_unref(m);
    }
    CHECK_INT(r, BT_EDB);
    CHECK(!bt_db_damaged(tx.db));
    hub_store_tx_rollback(&tx);
    CHECK_INT(count("queue"), (int64_t)i - 2);
    CHECK_INT(bt_db_exec(tx.db, "PRAGMA max_page_count=1000"), 0);
    m = message("t", "x");
    apply_one(enqueue_op(1, i, m, NULL));
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(any_number_of_subscription_identifiers)
{
    static uint32_t ids[128];
    struct hub_msg *m = message("a/b", "hello");

    open_memory();
    for (uint32_t i = 0; i < BT_ARRAY_LEN(ids); i++)
        ids[i] = i * 2000000u + 1;
    for (uint8_t n = 0; n <= BT_ARRAY_LEN(ids); n = n < 4 ? (uint8_t)(n + 1) : 128) {
        struct hub_op *op = enqueue_op(7, 1u + n, m, NULL);
        struct hub_store_rows *rows;

        CHECK_INT(hub_qentry_set_subids(op->entry, ids, n), 0);
        op->entry->share = 0xfffffffeu;
        APPLY(op);
        rows = read_from(7, 1u + n, 1);
        CHECK_INT(rows->n, 1);
        CHECK_INT(rows->head->n_subids, n);
        CHECK_INT(rows->head->share, 0xfffffffeu);
        CHECK_MEM(hub_qentry_subids(rows->head), ids, n * sizeof(ids[0]));
        hub_store_rows_free(rows);
        if (n == 128)
            break;
    }
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}
