/* The store's turns, driven by hand where time matters, and its thread. */
#include "hub/store/store.c"

#include "core/db.h"
#include "tests/hub/store_turns.h"

TEST(a_group_is_what_arrived)
{
    struct hub_store *s = open_store(NULL);
    int64_t commits = bt_metric_get(&hub_m_store_commits);
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, 10);
    for (i = 1; i <= 10; i++)
        deliver(s, put(i, &t, NULL));
    CHECK_INT(atomic_load(&t.pending), 10);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK(!t.failed);
    CHECK_INT(bt_metric_get(&hub_m_store_commits) - commits, 1);
    CHECK_INT(bt_metric_get(&hub_m_store_waiting), 0);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.tickets, 1);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(acknowledged_first_costs_no_commit)
{
    struct hub_store *s = open_store(NULL);
    int64_t commits = bt_metric_get(&hub_m_store_commits),
            skipped = bt_metric_get(&hub_m_store_skipped);
    struct hub_qentry *e;
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 1);
    deliver(s, put(1, &t, &e));
    atomic_store(&e->state, HUB_Q_DROPPED);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK(!t.failed);
    CHECK_INT(bt_metric_get(&hub_m_store_commits), commits);
    CHECK_INT(bt_metric_get(&hub_m_store_skipped) - skipped, 1);
    hub_qentry_unref(e);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(groups_have_a_largest_size)
{
    struct hub_store *s = open_store(NULL);
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, HUB_STORE_GROUP + 5);
    for (i = 1; i <= HUB_STORE_GROUP + 5; i++)
        deliver(s, put(i, &t, NULL));
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 5);
    CHECK(s->woken);
    on_msg(s, &s->wake);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(tied_operations_share_a_transaction)
{
    struct hub_store *s = open_store(NULL);
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, HUB_STORE_GROUP + 10);
    for (i = 1; i <= HUB_STORE_GROUP + 10; i++) {
        struct hub_op *op = put(i, &t, NULL);

        op->tied = i >= HUB_STORE_GROUP && i < HUB_STORE_GROUP + 5;
        deliver(s, op);
    }
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 5);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM message"), HUB_STORE_GROUP + 5);
    on_msg(s, &s->wake);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(an_operation_comes_back_after_its_commit)
{
    struct hub_store *s = open_store(NULL);
    struct hub_op *op = put(1, NULL, NULL);
    struct waiter w;

    waiter_init(&w);
    op->reply = w.mbox;
    op->reply_kind = 3;
    deliver(s, op);
    on_turn(s);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.ops, 1);
    deliver(s, op = put(2, NULL, NULL)); /* nobody is there any more */
    op->reply = w.mbox;
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 2);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(full_disk_waits_and_recovers)
{
    struct hub_store *s = open_store(new_dir());
    struct hub_qentry *e;
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, 500);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA max_page_count=11"), 0);
    deliver(s, put(1, &t, &e));
    for (i = 2; i <= 500; i++)
        deliver(s, put(i, &t, NULL));
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 500);
    CHECK_INT(atomic_load(&e->state), HUB_Q_NEW);
    CHECK_INT(bt_metric_get(&hub_m_store_degraded), 1);
    CHECK(bt_timer_active(&s->retry));
    CHECK_INT(s->retry_ms, STORE_RETRY_MIN_MS);
    on_turn(s);
    CHECK_INT(s->retry_ms, STORE_RETRY_MIN_MS);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(s->retry_ms, 2 * STORE_RETRY_MIN_MS);
    CHECK_INT(atomic_load(&t.pending), 500);
    bt_timer_stop(s->loop, &s->retry);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA max_page_count=100000"), 0);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK(!t.failed);
    CHECK_INT(atomic_load(&e->state), HUB_Q_STORED);
    CHECK_INT(bt_metric_get(&hub_m_store_degraded), 0);
    CHECK_INT(s->retry_ms, 0);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 500);
    hub_qentry_unref(e);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.tickets, 1);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

TEST(a_full_disk_does_not_keep_the_backlog)
{
    struct hub_store *s = open_store(NULL);
    struct hub_op *op;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    for (i = 1; i <= 100; i++)
        deliver(s, put(i, NULL, NULL));
    on_turn(s);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA max_page_count=1"), 0);
    for (i = 101; i <= 1000; i++)
        deliver(s, put(i, NULL, NULL));
    on_turn(s);
    CHECK(bt_timer_active(&s->retry));
    deliver(s, read_op(1, &w));
    deliver(s, read_op(200, &w));
    for (i = 1; i <= 50; i++)
        deliver(s, seq_op(HUB_OP_DEQUEUE, 1, i));
    deliver(s, seq_op(HUB_OP_DEQUEUE, 1, 500));
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 50);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM message"), 50);
    op = bt_container_of(s->tail, struct hub_op, next);
    CHECK_INT(op->kind, HUB_OP_DEQUEUE);
    CHECK_INT(op->qseq, 500);
    CHECK_INT(bt_metric_get(&hub_m_store_waiting), 902);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA max_page_count=1000"), 0);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 50 + 900 - 1);
    CHECK_INT(bt_metric_get(&hub_m_store_waiting), 0);
    bt_mbox_close(w.mbox);
    CHECK_INT(w.rows, 2);
    CHECK_INT(w.rows_n, 10);
    CHECK(w.ordered);
    hub_store_stop(s);
    waiter_deinit(&w);
}

TEST(when_all_was_done_out_of_turn_the_failure_is_over)
{
    struct hub_store *s = open_store(NULL);
    struct hub_qentry *e;

    deliver(s, put(1, NULL, NULL));
    on_turn(s);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA query_only=ON"), 0);
    deliver(s, put(2, NULL, &e));
    on_turn(s);
    CHECK(bt_timer_active(&s->retry));
    s->retry_ms = STORE_RETRY_MAX_MS;
    hub_quota_disk(true);
    hub_qentry_unref(e);
    while (s->head != NULL)
        finish_ops(s, 1, false);
    bt_timer_stop(s->loop, &s->retry);
    on_turn(s);
    CHECK_INT(s->retry_ms, 0);
    CHECK(!hub_quota_pressed());
    CHECK_INT(bt_metric_get(&hub_m_store_degraded), 0);
    hub_store_stop(s);
}

TEST(acknowledged_while_the_disk_was_full)
{
    struct hub_store *s = open_store(new_dir());
    struct hub_qentry *e;
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 2);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA query_only=ON"), 0);
    deliver(s, put(1, &t, &e));
    deliver(s, put(2, &t, NULL));
    on_turn(s);
    CHECK_INT(atomic_load(&e->state), HUB_Q_NEW);
    atomic_store(&e->state, HUB_Q_DROPPED);
    bt_timer_stop(s->loop, &s->retry);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA query_only=OFF"), 0);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 1);
    hub_qentry_unref(e);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

TEST(stopping_with_a_full_disk_fails_the_tickets)
{
    struct hub_store *s = open_store(new_dir());
    struct hub_qentry *e;
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 1);
    CHECK_INT(bt_db_exec(s->tx.db, "PRAGMA query_only=ON"), 0);
    deliver(s, put(1, &t, &e));
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 1);
    on_msg(s, &s->stop);
    on_turn(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK(t.failed);
    bt_metric_set(&hub_m_store_degraded, 0);
    hub_qentry_unref(e);
    bt_mbox_close(w.mbox);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

static void refused(struct hub_ticket *t)
{
    t->msg.kind = 99;
}

TEST(a_ticket_without_receiver_is_given_back)
{
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 2);
    t.on_refused = refused;
    bt_mbox_close(w.mbox);
    hub_ticket_done(&t, true);
    CHECK_INT(t.msg.kind, 1);
    hub_ticket_done(&t, false);
    CHECK_INT(t.msg.kind, 99);
    CHECK(t.failed);
    waiter_deinit(&w);
}

TEST(reaping_goes_on_when_idle)
{
    struct hub_store *s = open_store(NULL);
    uint64_t i;
    int turns = 0;

    for (i = 1; i <= 3 * HUB_STORE_REAP; i++)
        deliver(s, put(i, NULL, NULL));
    on_turn(s);
    deliver(s, hub_op_new(HUB_OP_SESSION_DEL, 1));
    do {
        s->woken = false;
        on_turn(s);
        turns++;
    } while (has_work(s) && turns < 100);
    CHECK_INT(turns, 3);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 0);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM message"), 0);
    hub_store_stop(s);
}

TEST(the_thread_commits_and_answers)
{
    struct hub_store *s = open_store(new_dir());
    struct hub_store_visitor v;
    struct hub_ticket t;
    struct hub_batch b;
    struct seen seen;
    struct waiter w;
    struct hub_op *op;
    uint64_t i;

    waiter_init(&w);
    v = visitor_of(&seen);
    CHECK_INT(hub_store_load(s, &v), 0);
    CHECK_INT(hub_store_start(s), 0);
    t = ticket_for(&w, 1001);
    hub_batch_init(&b);
    hub_store_submit(s, &b);
    hub_batch_add(&b, text_op(HUB_OP_SESSION_PUT, 1, "c"));
    for (i = 1; i <= 1000; i++) {
        hub_batch_add(&b, put(i, &t, NULL));
        if (i % 7 == 0)
            hub_store_submit(s, &b);
    }
    op = seq_op(HUB_OP_READ, 1, 1);
    op->u32 = 2000;
    op->reply = w.mbox;
    op->reply_kind = 2;
    hub_batch_add(&b, op);
    hub_store_submit(s, &b);
    hub_ticket_done(&t, true);
    w.wanted = 2;
    bt_loop_run(w.loop);
    CHECK_INT(w.tickets, 1);
    CHECK_INT(w.rows_n, 1000);
    CHECK(w.ordered && !w.failed);
    hub_store_stop(s);

    s = open_store(test_dir);
    v = visitor_of(&seen);
    CHECK_INT(hub_store_load(s, &v), 0);
    CHECK_INT(hub_store_max_sid(s), 1);
    CHECK_INT(seen.last, 1000);
    CHECK_INT(seen.rows, 1000);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

TEST(stop_commits_what_was_submitted)
{
    struct hub_store *s = open_store(new_dir());
    struct hub_batch b;
    struct hub_ticket t;
    struct waiter w;
    uint64_t i;

    waiter_init(&w);
    t = ticket_for(&w, 3 * HUB_STORE_GROUP);
    CHECK_INT(hub_store_start(s), 0);
    hub_batch_init(&b);
    for (i = 1; i <= 3 * HUB_STORE_GROUP; i++)
        hub_batch_add(&b, put(i, &t, NULL));
    hub_store_submit(s, &b);
    hub_store_stop(s);
    CHECK_INT(atomic_load(&t.pending), 0);
    CHECK(!t.failed);
    bt_mbox_close(w.mbox);
    s = open_store(test_dir);
    CHECK_INT(ask_db(s->tx.db, "SELECT COUNT(*) FROM queue"), 3 * HUB_STORE_GROUP);
    hub_store_stop(s);
    waiter_deinit(&w);
    drop_dir();
}

TEST(what_was_never_started_is_released)
{
    struct hub_store *s = open_store(NULL);
    struct hub_batch b;
    struct hub_ticket t;
    struct waiter w;

    waiter_init(&w);
    t = ticket_for(&w, 1);
    hub_batch_init(&b);
    hub_batch_add(&b, put(1, &t, NULL));
    hub_store_submit(s, &b);
    hub_store_stop(s);
    CHECK(t.failed);
    bt_mbox_close(w.mbox);
    waiter_deinit(&w);
}

TEST(folders_are_made)
{
    struct hub_store *s;
    char dir[128];

    snprintf(dir, sizeof(dir), "%s/a/b", new_dir());
    s = open_store(dir);
    hub_store_stop(s);
    snprintf(dir, sizeof(dir), "%s/a/b/hub.db", test_dir);
    CHECK_INT(unlink(dir), 0);
    snprintf(dir, sizeof(dir), "%s/a/b/hub.db.lock", test_dir);
    CHECK_INT(unlink(dir), 0);
    snprintf(dir, sizeof(dir), "%s/a/b", test_dir);
    CHECK_INT(rmdir(dir), 0);
    snprintf(dir, sizeof(dir), "%s/a", test_dir);
    CHECK_INT(rmdir(dir), 0);
    drop_dir();
}
