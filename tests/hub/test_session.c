/* The session's queue: window, order, redelivery, disk backlog. No thread, no socket, no
 * database: the link is a recorder and store operations are read from the worker's batch.
 */
#include "hub/session/session.c"

#include "tests/hub/session_util.h"

/* ---- works ---- */

TEST(qos0_goes_out_at_once_without_an_identifier)
{
    struct hub_session *s = setup(false, 10);

    deliver_as(s, "a", 0, 0, NULL);
    CHECK_INT(n_sent, 1);
    CHECK_INT(sent[0].pid, 0);
    teardown();
}

TEST(window_holds_back_and_an_acknowledgement_lets_the_next_one_go)
{
    struct hub_session *s = setup(false, 2);

    deliver(s, "m1");
    deliver(s, "m2");
    deliver(s, "m3");
    CHECK_INT(n_sent, 2);
    CHECK(hub_session_ack(s, 2)); /* out of order */
    CHECK_INT(n_sent, 3);
    CHECK_STR(sent[2].payload, "m3");
    CHECK(hub_session_ack(s, 1));
    CHECK(hub_session_ack(s, 3));
    CHECK_INT(s->n_queued, 0);
    CHECK(s->head == NULL && s->tail == NULL);
    teardown();
}

TEST(acknowledged_before_the_store_came_is_dropped_not_deleted)
{
    struct hub_session *s = setup(true, 10);
    const struct hub_op *op;

    deliver(s, "m1");
    op = last_op(HUB_OP_ENQUEUE);
    CHECK(op != NULL);
    CHECK(hub_session_ack(s, 1));
    CHECK_INT(atomic_load(&op->entry->state), HUB_Q_DROPPED);
    CHECK_INT(count_ops(HUB_OP_DEQUEUE), 0);
    teardown();
}

TEST(acknowledged_after_it_was_stored_is_deleted)
{
    struct hub_session *s = setup(true, 10);

    deliver(s, "m1");
    atomic_store(&last_op(HUB_OP_ENQUEUE)->entry->state, HUB_Q_STORED);
    CHECK(hub_session_ack(s, 1));
    CHECK_INT(count_ops(HUB_OP_DEQUEUE), 1);
    CHECK_INT(last_op(HUB_OP_DEQUEUE)->qseq, 1);
    teardown();
}

TEST(reconnecting_sends_again_with_dup_and_the_same_identifiers)
{
    struct hub_session *s = setup(true, 2);

    deliver(s, "m1");
    deliver(s, "m2");
    deliver(s, "m3"); /* waits, so it is on disk only while the client is away */
    hub_session_detach(s, false);
    CHECK_INT(s->n_queued, 2);
    CHECK(s->on_disk);
    n_sent = 0;
    hub_session_attach(s, &network, 3);
    hub_session_resume(s);
    CHECK_INT(n_sent, 2);
    CHECK(sent[0].dup && sent[1].dup);
    CHECK_INT(sent[0].pid, 1);
    CHECK_INT(sent[1].pid, 2);
    CHECK_INT(last_op(HUB_OP_READ)->qseq, 3);
    answer_read(s, 3, 3, false);
    CHECK_INT(n_sent, 3);
    CHECK(!sent[2].dup);
    CHECK_STR(sent[2].payload, "m3");
    CHECK(!s->on_disk);
    teardown();
}

TEST(a_full_list_spills_to_disk_and_comes_back_in_order)
{
    struct hub_session *s = setup(true, 2);

    for (int i = 1; i <= 12; i++) {
        char text[16];

        (void)snprintf(text, sizeof(text), "m%d", i);
        deliver(s, text);
    }
    CHECK_INT(s->n_queued, 8);
    CHECK(s->on_disk);
    CHECK_INT(s->disk_from, 9);
    CHECK_INT(count_ops(HUB_OP_ENQUEUE), 12);
    for (uint16_t pid = 1; pid <= 4; pid++)
        CHECK(hub_session_ack(s, pid));
    CHECK_INT(count_ops(HUB_OP_READ), 1); /* at half of the list, once */
    deliver(s, "m13");                    /* newer than the read: stays on disk */
    answer_read(s, 9, 12, false);
    CHECK(s->on_disk);
    CHECK_INT(s->disk_from, 13);
    for (uint16_t pid = 5; pid <= 8; pid++)
        CHECK(hub_session_ack(s, pid));
    answer_read(s, 13, 13, false);
    CHECK(!s->on_disk);
    for (uint16_t pid = 9; pid <= 13; pid++)
        CHECK(hub_session_ack(s, pid));
    CHECK_INT(n_sent, 13);
    for (int i = 0; i < 13; i++) {
        char text[16];

        (void)snprintf(text, sizeof(text), "m%d", i + 1);
        CHECK_STR(sent[i].payload, text);
    }
    teardown();
}

TEST(identifiers_follow_the_queue_and_wrap_behind_the_largest)
{
    struct hub_session *s = setup(false, 3);

    s->qseq = HUB_PIDS - 2;
    deliver(s, "m1");
    deliver(s, "m2");
    deliver(s, "m3");
    CHECK_INT(sent[0].pid, 65534);
    CHECK_INT(sent[1].pid, 65535);
    CHECK_INT(sent[2].pid, 1);
    teardown();
}

TEST(an_identifier_in_use_stops_the_queue_until_it_is_free)
{
    struct hub_session *s = setup(false, 3);

    deliver(s, "old");
    s->qseq = HUB_PIDS;
    deliver(s, "m1");
    deliver(s, "m2");
    CHECK_INT(n_sent, 1);
    CHECK(hub_session_ack(s, 1));
    CHECK_INT(n_sent, 3);
    CHECK_INT(sent[1].pid, 1);
    CHECK_INT(sent[2].pid, 2);
    teardown();
}

TEST(a_smaller_window_holds_for_what_is_sent_again)
{
    struct hub_session *s = setup(true, 3);

    deliver(s, "m1");
    deliver(s, "m2");
    deliver(s, "m3");
    hub_session_detach(s, false);
    n_sent = 0;
    hub_session_attach(s, &network, 1);
    hub_session_resume(s);
    CHECK_INT(n_sent, 1);
    CHECK(!hub_session_ack(s, 2)); /* not sent by this connection */
    CHECK(hub_session_ack(s, 1));
    CHECK(hub_session_ack(s, 2));
    CHECK_INT(n_sent, 3);
    CHECK(sent[1].dup && sent[2].dup);
    CHECK_STR(sent[2].payload, "m3");
    teardown();
}

TEST(no_local_keeps_a_client_from_hearing_itself)
{
    struct hub_session *s = setup(false, 3);

    deliver_as(s, "m1", 1, HUB_SUB_NO_LOCAL, s->addr);
    CHECK_INT(n_sent, 0);
    deliver_as(s, "m1", 1, 0, s->addr);
    CHECK_INT(n_sent, 1);
    teardown();
}

/* ---- fails ---- */

TEST(unknown_identifier_is_reported)
{
    struct hub_session *s = setup(false, 3);

    CHECK(!hub_session_ack(s, 1));
    deliver(s, "m1");
    CHECK(!hub_session_ack(s, 2));
    teardown();
}

TEST(a_clean_session_that_does_not_keep_up_loses_the_newest_and_it_is_counted)
{
    struct hub_session *s = setup(false, 1);

    for (int i = 0; i < 10; i++)
        deliver(s, "m");
    CHECK_INT(s->n_queued, 8);
    CHECK_INT(worker.counts.dropped[HUB_DROP_QUEUE_FULL], 2);
    teardown();
}

TEST(an_answer_for_an_earlier_connection_is_not_used)
{
    struct hub_session *s = setup(true, 1);

    hub_session_detach(s, false);
    deliver(s, "m1");
    deliver(s, "m2");
    hub_session_attach(s, &network, 5);
    hub_session_resume(s);
    CHECK_INT(count_ops(HUB_OP_READ), 1);
    hub_session_detach(s, false);
    hub_session_attach(s, &network, 5);
    hub_session_resume(s);
    CHECK_INT(count_ops(HUB_OP_READ), 1);
    answer_read(s, 1, 2, false);
    CHECK_INT(n_sent, 0);
    CHECK_INT(count_ops(HUB_OP_READ), 2);
    answer_read(s, 1, 2, false);
    CHECK_INT(n_sent, 2);
    teardown();
}
