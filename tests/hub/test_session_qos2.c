/* QoS 2 to and from a client: every transition, on one connection and across several. */
#include "hub/session/session_qos2.c"

#include "tests/hub/session_util.h"

static void check_said(size_t i, enum bt_mqtt_type type, uint16_t pid, uint8_t reason)
{
    CHECK(i < n_said);
    CHECK_INT(said[i].type, type);
    CHECK_INT(said[i].pid, pid);
    CHECK_INT(said[i].reason, reason);
}

static void reconnect(struct hub_session *s, uint16_t window)
{
    hub_session_detach(s, false);
    n_sent = n_said = 0;
    hub_session_attach(s, &network, window);
    hub_session_resume(s);
}

/* The client publishes; nobody else is there. */
static void publish(struct hub_session *s, uint8_t qos, uint16_t pid, uint8_t refused)
{
    struct hub_pub pub = { .topic = { (const uint8_t *)"t", 1 }, .qos = qos };

    hub_session_publish(s, &pub, pid, 0, refused);
    hub_pub_deinit(&pub);
}

/* ---- to the client ---- */

TEST(pubrec_lets_go_of_the_message_and_pubcomp_of_the_entry)
{
    struct hub_session *s = setup(false, 2);

    deliver_as(s, "m1", 2, 0, NULL);
    deliver_as(s, "m2", 2, 0, NULL);
    deliver_as(s, "m3", 2, 0, NULL);
    CHECK_INT(n_sent, 2);
    CHECK_INT(sent[0].qos, 2);
    hub_session_pubrec(s, 1, 0);
    check_said(0, BT_MQTT_PUBREL, 1, 0);
    CHECK(s->head->msg == NULL);
    CHECK_INT(n_sent, 2); /* still in flight */
    CHECK(hub_session_pubcomp(s, 1));
    CHECK_INT(n_sent, 3);
    CHECK(!hub_session_pubcomp(s, 1));
    CHECK_INT(n_said, 1);
    teardown();
}

TEST(a_repeated_pubrec_is_answered_again)
{
    struct hub_session *s = setup(false, 2);

    deliver_as(s, "m1", 2, 0, NULL);
    hub_session_pubrec(s, 1, 0);
    hub_session_pubrec(s, 1, 0);
    CHECK_INT(n_said, 2);
    check_said(1, BT_MQTT_PUBREL, 1, 0);
    CHECK(hub_session_pubcomp(s, 1));
    hub_session_pubrec(s, 1, 0);
    check_said(2, BT_MQTT_PUBREL, 1, BT_MQTT_PID_NOT_FOUND);
    teardown();
}

TEST(a_refused_message_is_done)
{
    struct hub_session *s = setup(false, 1);

    deliver_as(s, "m1", 2, 0, NULL);
    deliver_as(s, "m2", 2, 0, NULL);
    hub_session_pubrec(s, 1, BT_MQTT_QUOTA);
    CHECK_INT(n_said, 0);
    CHECK_INT(n_sent, 2);
    CHECK_INT(s->n_queued, 1);
    hub_session_pubrec(s, 77, BT_MQTT_QUOTA); /* of nobody: no answer */
    CHECK_INT(n_said, 0);
    teardown();
}

TEST(acknowledgements_of_the_other_level_do_nothing)
{
    struct hub_session *s = setup(false, 2);

    deliver_as(s, "m1", 2, 0, NULL);
    deliver_as(s, "m2", 1, 0, NULL);
    CHECK(!hub_session_ack(s, 1));
    CHECK(!hub_session_pubcomp(s, 1)); /* before PUBREC */
    CHECK(!hub_session_pubcomp(s, 2));
    hub_session_pubrec(s, 2, 0);
    check_said(0, BT_MQTT_PUBREL, 2, BT_MQTT_PID_NOT_FOUND);
    CHECK_INT(s->n_queued, 2);
    CHECK(hub_session_ack(s, 2));
    teardown();
}

TEST(a_new_connection_gets_publish_or_pubrel_in_order)
{
    struct hub_session *s = setup(true, 3);

    for (int i = 0; i < 3; i++)
        deliver_as(s, "m", 2, 0, NULL);
    commit(true);
    hub_session_pubrec(s, 2, 0);
    commit(true);
    reconnect(s, 3);
    CHECK_INT(n_sent, 2);
    CHECK(sent[0].dup && sent[1].dup);
    CHECK_INT(sent[0].pid, 1);
    CHECK_INT(sent[1].pid, 3);
    CHECK_INT(n_said, 1);
    check_said(0, BT_MQTT_PUBREL, 2, 0);
    CHECK(hub_session_pubcomp(s, 2));
    teardown();
}

/* ---- from the client ---- */

TEST(a_publish_is_known_until_pubrel)
{
    struct hub_session *s = setup(false, 2);

    publish(s, 2, 5, 0);
    check_said(0, BT_MQTT_PUBREC, 5, BT_MQTT_NO_MATCHING_SUBSCRIBERS);
    CHECK(hub_session_repeated(s, 5));
    check_said(1, BT_MQTT_PUBREC, 5, 0);
    CHECK_INT(s->n_owed, 1);
    hub_session_pubrel(s, 5);
    check_said(2, BT_MQTT_PUBCOMP, 5, 0);
    CHECK_INT(s->n_owed, 0);
    hub_session_pubrel(s, 5);
    check_said(3, BT_MQTT_PUBCOMP, 5, BT_MQTT_PID_NOT_FOUND);
    CHECK(!hub_session_repeated(s, 5));
    CHECK_INT(n_said, 4);
    teardown();
}

TEST(a_refused_publish_leaves_no_trace)
{
    struct hub_session *s = setup(false, 2);

    publish(s, 2, 5, BT_MQTT_NOT_AUTHORIZED);
    check_said(0, BT_MQTT_PUBREC, 5, BT_MQTT_NOT_AUTHORIZED);
    CHECK(!hub_session_repeated(s, 5));
    CHECK_INT(s->n_owed, 0);
    teardown();
}

static void subscribe_for_ever(struct hub_session *s)
{
    struct bt_mqtt_sub sub = { .filter = { (const uint8_t *)"t", 1 }, .qos = 2 };

    CHECK_INT(hub_session_subscribe(s, &sub, 0, NULL), 0);
}

TEST(answers_keep_the_order_of_arrival)
{
    struct hub_session *s = setup(true, 9);

    subscribe_for_ever(s);
    publish(s, 2, 5, 0);
    publish(s, 1, 6, BT_MQTT_NOT_AUTHORIZED);
    publish(s, 2, 7, BT_MQTT_NOT_AUTHORIZED);
    CHECK_INT(n_said, 0);
    CHECK_INT(s->n_owed, 3);
    CHECK(hub_session_repeated(s, 5));
    hub_session_pubrel(s, 5); /* before PUBREC left */
    check_said(0, BT_MQTT_PUBCOMP, 5, BT_MQTT_PID_NOT_FOUND);
    commit(true);
    CHECK_INT(n_said, 4);
    check_said(1, BT_MQTT_PUBREC, 5, 0);
    check_said(2, BT_MQTT_PUBACK, 6, BT_MQTT_NOT_AUTHORIZED);
    check_said(3, BT_MQTT_PUBREC, 7, BT_MQTT_NOT_AUTHORIZED);
    CHECK_INT(s->n_owed, 1);
    teardown();
}

TEST(a_new_connection_is_answered_when_it_has_asked)
{
    struct hub_session *s = setup(true, 9);

    subscribe_for_ever(s);
    publish(s, 2, 5, 0);
    publish(s, 2, 6, 0);
    publish(s, 1, 7, 0);
    reconnect(s, 9);
    n_said = 0;
    CHECK_INT(s->n_owed, 0);
    CHECK(hub_session_repeated(s, 5));
    CHECK_INT(s->n_owed, 1);
    commit(true);
    CHECK_INT(n_said, 1); /* 6 and 7 are still to be sent again */
    check_said(0, BT_MQTT_PUBREC, 5, 0);
    CHECK(hub_session_repeated(s, 6));
    check_said(1, BT_MQTT_PUBREC, 6, 0);
    hub_session_pubrel(s, 5);
    commit(true);
    CHECK_INT(s->n_owed, 1);
    reconnect(s, 9);
    hub_session_pubrel(s, 6);
    commit(true);
    check_said(n_said - 1, BT_MQTT_PUBCOMP, 6, 0);
    CHECK_INT(s->n_owed, 0);
    CHECK_INT(hub_incoming_count(s->incoming), 0);
    teardown();
}

TEST(a_commit_that_fails_makes_the_next_one_a_new_message)
{
    struct hub_session *s = setup(true, 9);

    subscribe_for_ever(s);
    publish(s, 2, 5, 0);
    commit(false);
    check_said(0, BT_MQTT_PUBREC, 5, BT_MQTT_QUOTA);
    CHECK(!hub_session_repeated(s, 5));
    CHECK_INT(s->n_owed, 0);
    teardown();
}

TEST(the_receive_maximum_counts_what_this_connection_began)
{
    struct hub_session *s = setup(true, 9);

    for (uint32_t i = 1; i <= HUB_MAX_UNACKED; i++) {
        CHECK(!hub_session_over_quota(s, 2, (uint16_t)i));
        publish(s, 2, (uint16_t)i, 0);
    }
    CHECK(hub_session_over_quota(s, 2, 2000));
    CHECK(hub_session_over_quota(s, 1, 2000));
    CHECK(!hub_session_over_quota(s, 0, 0));
    CHECK(!hub_session_over_quota(s, 2, 7)); /* a repetition */
    hub_session_pubrel(s, 7);
    CHECK(!hub_session_over_quota(s, 2, 2000));
    reconnect(s, 9);
    CHECK_INT(s->n_owed, 0);
    for (uint32_t i = 2000; i < 2000 + HUB_MAX_UNACKED; i++)
        publish(s, 2, (uint16_t)i, 0);
    CHECK(hub_session_over_quota(s, 2, 8)); /* from before: not yet counted */
    teardown();
}

/* ---- what must be on disk first ---- */

TEST(a_message_leaves_after_its_commit)
{
    struct hub_session *s = setup(true, 9);

    deliver_as(s, "m1", 2, 0, NULL);
    deliver_as(s, "m2", 1, 0, NULL); /* keeps its place */
    CHECK_INT(n_sent, 0);
    hub_session_pump(s);
    CHECK_INT(n_sent, 0);
    commit(true);
    CHECK_INT(n_sent, 2);
    CHECK_STR(sent[0].payload, "m1");
    CHECK(!sent[0].dup);
    teardown();
}

TEST(nothing_leaves_when_the_commit_cannot_be_made)
{
    struct hub_session *s = setup(true, 9);

    deliver_as(s, "m1", 2, 0, NULL);
    commit(false);
    hub_session_pump(s);
    CHECK_INT(n_sent, 0);
    teardown();
}

TEST(pubrel_leaves_after_the_commit)
{
    struct hub_session *s = setup(true, 9);

    deliver_as(s, "m1", 2, 0, NULL);
    commit(true);
    hub_session_pubrec(s, 1, 0);
    hub_session_pubrec(s, 1, 0);
    CHECK_INT(n_said, 0);
    CHECK_INT(count_ops(HUB_OP_RELEASE), 1);
    CHECK(!hub_session_pubcomp(s, 1));
    commit(true);
    CHECK_INT(n_said, 1);
    check_said(0, BT_MQTT_PUBREL, 1, 0);
    CHECK(hub_session_pubcomp(s, 1));
    CHECK_INT(count_ops(HUB_OP_DEQUEUE), 1);
    teardown();
}

TEST(a_commit_for_a_client_that_left_is_told_the_next_one)
{
    struct hub_session *s = setup(true, 9);

    deliver_as(s, "m1", 2, 0, NULL);
    deliver_as(s, "m2", 2, 0, NULL);
    commit(true);
    hub_session_pubrec(s, 1, 0);
    hub_session_pubrec(s, 2, 0);
    reconnect(s, 1);
    CHECK_INT(n_sent + n_said, 0);
    commit(true);
    CHECK_INT(n_said, 1); /* the window is one */
    check_said(0, BT_MQTT_PUBREL, 1, 0);
    CHECK(hub_session_pubcomp(s, 1));
    check_said(1, BT_MQTT_PUBREL, 2, 0);
    CHECK(hub_session_pubcomp(s, 2));
    CHECK_INT(n_sent, 0);
    teardown();
}

TEST(pubcomp_waits_for_the_end_of_the_row)
{
    struct hub_session *s = setup(true, 9);

    subscribe_for_ever(s);
    publish(s, 2, 5, 0);
    CHECK_INT(count_ops(HUB_OP_INCOMING_PUT), 1);
    CHECK_INT(count_ops(HUB_OP_ENQUEUE), 1);
    CHECK(last_op(HUB_OP_ENQUEUE)->tied);
    CHECK(last_op(HUB_OP_ENQUEUE)->next == last_op(HUB_OP_INCOMING_PUT));
    commit(true);
    check_said(0, BT_MQTT_PUBREC, 5, 0);
    hub_session_pubrel(s, 5);
    hub_session_pubrel(s, 5);
    CHECK_INT(n_said, 1);
    CHECK(hub_session_repeated(s, 5));
    commit(true);
    CHECK_INT(n_said, 4);
    check_said(2, BT_MQTT_PUBCOMP, 5, 0);
    check_said(3, BT_MQTT_PUBCOMP, 5, 0);
    CHECK(!hub_session_repeated(s, 5));
    CHECK_INT(s->n_owed, 0);
    teardown();
}

TEST(pubcomp_is_for_the_connection_that_said_pubrel)
{
    struct hub_session *s = setup(true, 9);

    subscribe_for_ever(s);
    publish(s, 2, 5, 0);
    publish(s, 2, 6, 0);
    commit(true);
    hub_session_pubrel(s, 5);
    hub_session_pubrel(s, 6);
    reconnect(s, 9);
    n_said = 0;
    hub_session_pubrel(s, 5);
    commit(true);
    CHECK_INT(n_said, 1);
    check_said(0, BT_MQTT_PUBCOMP, 5, 0);
    hub_session_pubrel(s, 6);
    check_said(1, BT_MQTT_PUBCOMP, 6, BT_MQTT_PID_NOT_FOUND);
    teardown();
}

TEST(what_nobody_stores_needs_no_row)
{
    struct hub_session *s = setup(true, 9);

    publish(s, 2, 5, 0);
    hub_session_pubrel(s, 5);
    CHECK_INT(n_said, 2);
    CHECK(worker.batch.head == NULL);
    teardown();
}

TEST(an_identifier_read_from_the_store_is_known)
{
    struct hub_session *s = setup(true, 9);

    CHECK_INT(hub_session_incoming_restore(s, 9), 0);
    CHECK_INT(hub_session_incoming_restore(s, 9), 0);
    publish(s, 2, 9, 0);
    check_said(0, BT_MQTT_PUBREC, 9, 0);
    CHECK_INT(s->n_owed, 1);
    hub_session_pubrel(s, 9);
    CHECK_INT(count_ops(HUB_OP_INCOMING_DEL), 1);
    commit(true);
    check_said(1, BT_MQTT_PUBCOMP, 9, 0);
    teardown();
}

TEST(what_the_store_refused_is_not_delivered)
{
    struct hub_session *s = setup(true, 9);

    deliver_as(s, "m1", 2, 0, NULL);
    last_op(HUB_OP_ENQUEUE)->refused = true;
    deliver_as(s, "m2", 2, 0, NULL);
    commit(true);
    CHECK_INT(n_sent, 1);
    CHECK_STR(sent[0].payload, "m2");
    CHECK_INT(s->n_queued, 1);
    teardown();
}

/* ---- after a start ---- */

/* One row is read, of a message that may have been sent by the process before. */
static void read_unsure(struct hub_session *s, uint8_t qos, bool expired)
{
    struct hub_store_rows *rows = bt_calloc(1, sizeof(*rows));
    struct hub_pub pub = { .topic = { (const uint8_t *)"t", 1 }, .qos = qos };
    struct hub_msg *m = hub_msg_new(&pub);

    m->expires_ms = expired ? 1 : 0;
    rows->head = hub_qentry_new(m, 1);
    rows->head->qos = qos;
    rows->head->committed = true;
    atomic_store(&rows->head->state, HUB_Q_STORED);
    hub_msg_unref(m);
    s->qseq = s->disk_from = s->read_upto = 1;
    s->on_disk = s->reading = true;
    s->n_unsure = 1;
    hub_session_rows(s, rows);
}

TEST(what_may_have_been_sent_has_dup)
{
    struct hub_session *s = setup(true, 9);

    read_unsure(s, 1, false);
    CHECK_INT(n_sent, 1);
    CHECK(sent[0].dup);
    CHECK_INT(s->n_unsure, 0);
    teardown();
}

TEST(what_has_expired_meanwhile_is_released_at_qos_2)
{
    struct hub_session *s = setup(true, 9);

    read_unsure(s, 2, true);
    CHECK_INT(n_sent + n_said, 0);
    CHECK_INT(count_ops(HUB_OP_RELEASE), 1);
    commit(true);
    check_said(0, BT_MQTT_PUBREL, 1, 0);
    CHECK(hub_session_pubcomp(s, 1));
    CHECK_INT(count_ops(HUB_OP_DEQUEUE), 1);
    teardown();
    s = setup(true, 9);
    read_unsure(s, 1, true);
    CHECK_INT(n_sent + n_said, 0);
    CHECK_INT(count_ops(HUB_OP_DEQUEUE), 1);
    teardown();
}

TEST(a_publish_that_failed_leaves_no_identifier_on_disk)
{
    struct hub_session *s = setup(true, 2);

    CHECK_INT(hub_incoming_add(&s->incoming, 5, 0), 0);
    s->n_owed = 1;
    hub_session_incoming_done(s, 5, BT_MQTT_QUOTA, true);
    check_said(0, BT_MQTT_PUBREC, 5, BT_MQTT_QUOTA);
    CHECK_INT(count_ops(HUB_OP_INCOMING_DEL), 1);
    CHECK_INT(hub_incoming_add(&s->incoming, 6, 0), 0);
    s->n_owed = 1;
    hub_session_incoming_done(s, 6, BT_MQTT_QUOTA, false);
    CHECK_INT(count_ops(HUB_OP_INCOMING_DEL), 1);
    teardown();
}
