/* Jobs whose session was lost: their messages come again and the function does not run a
 * second time. */
#include "funcmgr/rule/rule_again.c"

#include "tests/funcmgr/fake_rule.h"
#include "tests/harness.h"

static void lose_session(void)
{
    opened.on_closed(opened.arg, 0x8e);
}

static void come_back(void)
{
    fire(&rule.reopen_timer);
    opened.on_ready(opened.arg, 0);
}

static void deliver_again(uint8_t qos, const char *payload)
{
    const struct fm_delivery like = { .qos = qos, .pid = 7, .dup = true };

    deliver_as(&like, "t", payload);
}

TEST(message_comes_again_while_its_call_runs)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        configure(qos);
        begin_rule();
        deliver(qos, "hi");
        lose_session();
        CHECK(hub_saw.acks == 0 && hub_saw.drops == 0);
        come_back();
        deliver_again(qos, "hi");
        CHECK_INT(n_calls, 1);
        answer(FM_OK, "x");
        CHECK_INT(hub_saw.publishes, 1);
        CHECK(hub_saw.input != NULL && hub_saw.input->dup);
        published(0);
        CHECK(hub_saw.acks == 1 && hub_saw.ack_ok && hub_saw.drops == 1);
        end_rule();
    }
}

TEST(message_comes_again_after_its_call)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    lose_session();
    answer(FM_OK, "x");
    CHECK_INT(hub_saw.publishes, 0);
    come_back();
    CHECK_INT(hub_saw.publishes, 0);
    deliver_again(1, "hi");
    CHECK(n_calls == 1 && hub_saw.publishes == 1);
    CHECK_STR(hub_saw.payload, "x");
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.drops == 1);
    end_rule();
}

TEST(session_is_lost_while_the_result_is_on_its_way)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    answer(FM_OK, "x");
    lose_session();
    come_back();
    deliver_again(1, "hi");
    CHECK(n_calls == 1 && hub_saw.publishes == 2);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.drops == 1);
    end_rule();
}

TEST(empty_result_waits_for_its_message)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    lose_session();
    answer(FM_OK, "");
    come_back();
    deliver_again(1, "hi");
    CHECK(n_calls == 1 && hub_saw.acks == 1 && hub_saw.ack_ok);
    end_rule();
}

TEST(session_is_lost_twice)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    lose_session();
    come_back();
    deliver_again(1, "hi");
    lose_session();
    CHECK_INT(hub_saw.drops, 1);
    come_back();
    deliver_again(1, "hi");
    CHECK_INT(n_calls, 1);
    answer(FM_OK, "x");
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.drops == 2);
    end_rule();
}

TEST(another_message_with_the_same_identifier_is_called)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    lose_session();
    come_back();
    deliver_again(1, "other");
    CHECK_INT(n_calls, 2);
    answer_call(calls[1], FM_OK, "");
    answer_call(calls[0], FM_OK, "x");
    CHECK_INT(hub_saw.publishes, 0);
    end_rule();
}

TEST(what_does_not_come_again_is_given_up)
{
    const struct fm_delivery fresh = { .qos = 1, .pid = 8 };

    configure(1);
    conf.retry_delay = 10;
    begin_rule();
    deliver(1, "runs");
    deliver(1, "done");
    deliver(1, "pauses");
    answer_call(calls[1], FM_OK, "x");
    answer_call(calls[2], FM_BROKEN, "x");
    calls[0]->in = &instance;
    lose_session();
    come_back();
    deliver_as(&fresh, "t", "new");
    CHECK_INT(rule.n_jobs, 2); /* the one that runs, and the new one */
    CHECK_INT(hub_saw.drops, 2);
    CHECK(calls[0]->cancelled);
    answer_call(calls[0], FM_OK, "x");
    CHECK(hub_saw.publishes == 1 && hub_saw.drops == 3);
    answer_call(calls[3], FM_OK, "");
    end_rule();
}

static void deliver_numbered(uint16_t pid, bool dup, const char *payload)
{
    const struct fm_delivery like = { .qos = 1, .pid = pid, .dup = dup };

    deliver_as(&like, "t", payload);
}

/* The hub had the result before the session was closed, so its message does not come
 * again; nothing new comes either, and those behind it must have their turn. */
TEST(those_behind_a_message_that_does_not_come_again_have_their_turn)
{
    configure(1);
    function.order = FM_ORDER_STRICT;
    begin_rule();
    deliver_numbered(1, false, "one");
    deliver_numbered(2, false, "two");
    deliver_numbered(3, false, "three");
    answer(FM_OK, "x"); /* and it is published */
    lose_session();
    come_back();
    CHECK_INT(n_calls, 1);
    deliver_numbered(2, true, "two");
    CHECK_INT(n_calls, 2);
    CHECK_INT(rule.n_jobs, 2);
    deliver_numbered(3, true, "three");
    CHECK_INT(n_calls, 2);
    answer(FM_OK, "");
    CHECK_INT(n_calls, 3);
    answer(FM_OK, "");
    CHECK_INT(hub_saw.acks, 2);
    end_rule();
}

/* The same when the one behind was delivered to nobody before. */
TEST(one_that_comes_first_as_a_repetition_has_its_turn)
{
    configure(1);
    function.order = FM_ORDER_STRICT;
    begin_rule();
    deliver_numbered(1, false, "one");
    answer(FM_OK, "x");
    lose_session();
    come_back();
    deliver_numbered(2, true, "two");
    CHECK_INT(n_calls, 1);
    opened.on_resent(opened.arg);
    CHECK_INT(n_calls, 2);
    answer(FM_OK, "");
    CHECK_INT(rule.n_jobs, 0);
    end_rule();
}

TEST(another_topic_may_come_again_later)
{
    const struct fm_delivery like = { .qos = 1, .pid = 1 };
    const struct fm_delivery again = { .qos = 1, .pid = 1, .dup = true };

    configure(1);
    begin_rule();
    deliver_as(&like, "a", "a");
    deliver_as(&like, "b", "b");
    lose_session();
    come_back();
    deliver_as(&again, "b", "b");
    deliver_as(&again, "a", "a");
    CHECK_INT(n_calls, 2);
    answer_call(calls[0], FM_OK, "");
    answer_call(calls[1], FM_OK, "");
    CHECK_INT(hub_saw.acks, 2);
    end_rule();
}

TEST(those_that_come_again_later_are_not_given_up)
{
    configure(1);
    begin_rule();
    deliver_numbered(1, false, "one");
    deliver_numbered(2, false, "two");
    lose_session();
    come_back();
    deliver_numbered(1, true, "one");
    lose_session();
    come_back();
    /* "zero" came before them, but its delivery was lost with a session. */
    deliver_numbered(9, true, "zero");
    deliver_numbered(1, true, "one");
    deliver_numbered(2, true, "two");
    lose_session();
    come_back();
    deliver_numbered(9, true, "zero");
    deliver_numbered(1, true, "one");
    deliver_numbered(2, true, "two");
    CHECK_INT(n_calls, 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK(!calls[i]->cancelled);
        answer_call(calls[i], FM_OK, "");
    }
    CHECK_INT(hub_saw.acks, 3);
    end_rule();
}

/* Nobody else has the message, so its result must not get lost. */
TEST(result_of_a_clean_session_is_published_by_the_next)
{
    configure(1);
    hub_conf.cleansession = true;
    begin_rule();
    deliver(1, "runs");
    deliver(1, "done");
    lose_session();
    answer_call(calls[1], FM_OK, "x");
    CHECK_INT(hub_saw.publishes, 0);
    come_back();
    CHECK_INT(hub_saw.publishes, 1);
    CHECK(hub_saw.input == NULL);
    published(0);
    CHECK_INT(hub_saw.drops, 1);
    answer_call(calls[0], FM_OK, "y");
    CHECK_INT(hub_saw.publishes, 2);
    published(0);
    CHECK(hub_saw.drops == 2 && hub_saw.acks == 0);
    end_rule();
}

TEST(result_of_a_clean_session_is_published_until_one_takes_it)
{
    configure(1);
    conf.clientid = NULL;
    begin_rule();
    deliver(1, "hi");
    lose_session();
    come_back();
    opened.on_resent(opened.arg);
    answer(FM_OK, "x");
    CHECK_INT(hub_saw.publishes, 1);
    lose_session();
    come_back();
    CHECK_INT(hub_saw.publishes, 2);
    published(0);
    CHECK_INT(rule.n_jobs, 0);
    end_rule();
}

TEST(qos_0_goes_on)
{
    configure(0);
    begin_rule();
    deliver(0, "a");
    deliver(0, "b");
    lose_session();
    answer_call(calls[0], FM_OK, "x");
    CHECK(hub_saw.publishes == 0 && rule.n_jobs == 1);
    come_back();
    answer_call(calls[1], FM_OK, "y");
    CHECK_INT(hub_saw.publishes, 1);
    end_rule();
}

/* A broker that sends again what is not acknowledged in time. */
TEST(repetition_within_a_session)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    deliver_again(1, "hi");
    deliver_again(1, "hi");
    CHECK(n_calls == 1 && hub_saw.drops == 2);
    answer(FM_OK, "x");
    deliver_again(1, "hi");
    CHECK(n_calls == 1 && hub_saw.drops == 3);
    published(0);
    CHECK_INT(hub_saw.acks, 1);
    end_rule();
}

TEST(closing_without_a_session)
{
    configure(1);
    begin_rule();
    deliver(1, "runs");
    deliver(1, "done");
    answer_call(calls[1], FM_OK, "x");
    lose_session();
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 0);
    answer_call(calls[0], FM_OK, "x");
    CHECK(n_drained == 1 && hub_saw.drops == 2 && hub_saw.owed == 0);
    fm_rule_deinit(&rule);
}
