/* The store with an interval between commits, and with a device that fails. */
#include "hub/store/store.c"

#include "tests/hub/store_turns.h"

static struct hub_store *open_batched(void)
{
    struct hub_store_opts opts = { .memory = true, .interval_ms = 1000 };
    struct hub_store *s = NULL;

    CHECK_INT(hub_store_open(&opts, &s), 0);
    return s;
}

TEST(batched_acknowledges_first_and_commits_later)
{
    struct hub_store *s = open_batched();
    int64_t commits = bt_metric_get(&hub_m_store_commits);
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, 3);
    for (i = 1; i <= 3; i++)
        deliver(s, put(i, &t, NULL));
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK(!t.failed);
    on_turn(s);
    CHECK_INT(bt_metric_get(&hub_m_store_commits), commits);
    CHECK(bt_timer_active(&s->interval));
    bt_timer_stop(s->loop, &s->interval);
    on_interval(&s->interval);
    on_turn(s);
    CHECK_INT(bt_metric_get(&hub_m_store_commits) - commits, 1);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 3);
    CHECK(!s->due);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.tickets, 1);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(batched_accepts_so_much_and_no_more)
{
    struct hub_store *s = open_batched();
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, STORE_ACCEPT_OPS + 2);
    for (i = 1; i <= STORE_ACCEPT_OPS + 2; i++)
        deliver(s, put(i, &t, NULL));
    CHECK_INT(atomic_load(&t.pending), 2);
    CHECK(s->due);
    while (s->head != NULL)
        on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), STORE_ACCEPT_OPS + 2);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(batched_commits_for_an_exchange_that_waits)
{
    struct hub_store *s = open_batched();
    struct hub_op *op = put(1, NULL, NULL);
    struct waiter w;

    waiter_init(&w);
    op->reply = w.mbox;
    op->reply_kind = 3;
    deliver(s, op);
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 1);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.ops, 1);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(batched_acknowledges_nothing_while_it_fails)
{
    struct hub_store *s = open_batched();
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 2);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA query_only=ON"), 0);
    deliver(s, put(1, &t, NULL));
    CHECK_INT(atomic_load(&t.pending), 1);
    s->due = true;
    on_turn(s);
    CHECK(bt_timer_active(&s->retry));
    deliver(s, put(2, &t, NULL));
    CHECK_INT(atomic_load(&t.pending), 1);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA query_only=OFF"), 0);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 2);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(batched_reads_do_not_wait_for_the_interval)
{
    struct hub_store *s = open_batched();
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    for (i = 1; i <= 20; i++)
        deliver(s, put(i, NULL, NULL));
    deliver(s, read_op(1, &w)); /* nothing is committed yet: this is what commits */
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 20);
    deliver(s, put(21, NULL, NULL));
    deliver(s, read_op(6, &w)); /* can be answered */
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 20);
    CHECK_INT(s->n_waiting, 1);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.rows, 2);
    CHECK_INT(w.rows_n, 10);
    CHECK(w.ordered);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(a_failed_synchronisation_writes_the_group_again)
{
    struct hub_store *s = open_store(new_dir());
    struct bt_db_io before, after;
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 1);
    deliver(s, put(1, &t, NULL));
    bt_db_io_fail(1, 0);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 1);
    CHECK(bt_timer_active(&s->retry));
    bt_timer_stop(s->loop, &s->retry);
    bt_db_io_get(&before);
    on_turn(s);
    bt_db_io_get(&after);
    CHECK_INT(atomic_load(&t.pending), 0);
    /* What a failed synchronisation left in memory may never reach the disk: the pages
     * are written anew, not only synchronised again. */
    CHECK(after.log_bytes - before.log_bytes >= 4096);
    CHECK(after.syncs - before.syncs >= 1);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

TEST(a_failed_write_waits)
{
    struct hub_store *s = open_store(new_dir());
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 1);
    deliver(s, put(1, &t, NULL));
    bt_db_io_fail(0, 3);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 1);
    bt_db_io_fail(0, 0);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

TEST(a_new_store_is_not_as_full_as_the_one_before)
{
    struct hub_store *s;

    hub_quota_disk(true);
    bt_metric_set(&hub_m_store_degraded, 1);
    s = open_store(NULL);
    CHECK(!hub_quota_pressed());
    CHECK_INT(bt_metric_get(&hub_m_store_degraded), 0);
    hub_store_stop(s);
}

/* So full that nothing can be added. */
static void fill_up(struct hub_store *s)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%lld",
             (long long)ask_db(s->tx.db, "PRAGMA page_count"));
    CHECK_INT(bt_db_exec(s->tx.db, sql), 0);
}

static struct hub_op *large(uint64_t qseq, struct hub_ticket *t)
{
    static char payload[60000];
    struct hub_msg *m;
    struct hub_op *op;

    memset(payload, 'x', sizeof(payload) - 1);
    m = message("t", payload);
    op = enqueue_op(1, qseq, m, NULL);
    hub_msg_unref(m);
    op->ticket = t;
    return op;
}

TEST(a_full_store_lets_exchanges_at_qos_2_go_on)
{
    struct hub_store *s = open_store(NULL);
    struct hub_op *op;
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 1);
    deliver(s, large(1, NULL));
    op = hub_op_new(HUB_OP_INCOMING_PUT, 1);
    op->u32 = 5;
    deliver(s, op);
    on_turn(s);
    fill_up(s);
    deliver(s, large(2, &t));
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 1);
    CHECK(bt_timer_active(&s->retry));
    op = seq_op(HUB_OP_RELEASE, 1, 1);
    op->reply = w.mbox;
    op->reply_kind = 3;
    deliver(s, op);
    op = hub_op_new(HUB_OP_INCOMING_DEL, 1);
    op->u32 = 5;
    op->reply = w.mbox;
    op->reply_kind = 3;
    deliver(s, op);
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT mid FROM queue"), -1);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM incoming"), 0);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.ops, 2);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(a_full_store_still_removes_what_is_too_old)
{
    struct hub_store_opts opts = { .memory = true, .retention_ms = 3600000 };
    struct hub_store *s = NULL;
    struct hub_ticket t;
    struct waiter w;

    bt_clock_fake_start(1000, INT64_C(1800000000000));
    CHECK_INT(hub_store_open(&opts, &s), 0);
    waiter_init(&w);
    t = ticket_for(&w, 1);
    deliver(s, large(1, NULL));
    on_turn(s);
    fill_up(s);
    bt_clock_fake_advance(UINT64_C(7200) * 1000000);
    deliver(s, large(2, &t));
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 1);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 0);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
    bt_clock_fake_stop();
}

TEST(a_full_store_does_not_take_what_is_tied_apart)
{
    struct hub_store *s = open_store(NULL);
    struct hub_op *op = large(2, NULL);
    struct waiter w;

    waiter_init(&w);
    deliver(s, large(1, NULL));
    on_turn(s);
    fill_up(s);
    op->tied = true;
    deliver(s, op);
    deliver(s, seq_op(HUB_OP_DEQUEUE, 1, 1));
    on_turn(s);
    CHECK(bt_timer_active(&s->retry));
    CHECK_INT(ask_db(s->tx.db, "SELECT qseq FROM queue"), 1);
    CHECK_INT(s->n_waiting, 2);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA max_page_count=100000"), 0);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT qseq FROM queue"), 2);
    hub_store_stop(s);
    waiter_deinit(&w);
}
