/* What is published for a message, when it is acknowledged, and what is tried again. */
#include "funcmgr/rule/rule_job.c"

#include "tests/funcmgr/fake_rule.h"
#include "tests/harness.h"

TEST(call_carries_the_message)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    CHECK_INT(waiting->attempts, 3);
    CHECK_INT(waiting->message.id, 7);
    CHECK_INT(waiting->message.qos, 1);
    CHECK(waiting->message.timestamp > 0);
    CHECK_INT(waiting->message.invoke_id.len, 36);
    CHECK(waiting->message.invoke_id.ptr[14] == '4');
    answer(FM_OK, "");
    end_rule();
}

TEST(input_is_acknowledged_when_the_result_is_safe)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        configure(qos);
        begin_rule();
        deliver(qos, "hi");
        answer(FM_OK, "result");
        CHECK_STR(hub_saw.payload, "result");
        CHECK_STR(hub_saw.topic, "r");
        CHECK_INT(hub_saw.qos, qos);
        CHECK(hub_saw.input != NULL && hub_saw.input->pid == 7);
        CHECK_INT(hub_saw.acks, 0);
        published(0);
        CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
        end_rule();
    }
}

TEST(result_has_the_lower_qos)
{
    configure(2);
    begin_rule();
    deliver(1, "hi");
    answer(FM_OK, "result");
    CHECK_INT(hub_saw.qos, 1);
    published(0);
    conf.publish.qos = 1;
    deliver(2, "hi");
    answer(FM_OK, "result");
    CHECK_INT(hub_saw.qos, 1);
    published(0);
    CHECK_INT(hub_saw.acks, 2);
    end_rule();
}

TEST(result_at_qos_0_is_acknowledged_at_once)
{
    for (uint8_t qos = 0; qos <= 2; qos++) {
        configure(0);
        begin_rule();
        deliver(qos, "hi");
        answer(FM_OK, "result");
        CHECK_INT(hub_saw.qos, 0);
        CHECK_STR(hub_saw.payload, "result");
        CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
        end_rule();
    }
}

TEST(empty_result_is_not_published)
{
    for (uint8_t qos = 0; qos <= 2; qos++) {
        configure(qos);
        begin_rule();
        deliver(qos, "hi");
        answer(FM_OK, "");
        CHECK_INT(hub_saw.publishes, 0);
        CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
        end_rule();
    }
}

TEST(failure_is_published_and_acknowledged)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    answer(FM_FAILED, "boom");
    CHECK(strncmp(hub_saw.payload, "{\"errorMessage\":\"boom\",", 23) == 0);
    CHECK(strstr(hub_saw.payload,
                 "\"ID\":7,\"QOS\":1,\"Topic\":\"t\",\"Payload\":\"aGk=\"") != NULL);
    CHECK_INT(hub_saw.acks, 0);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end_rule();
}

TEST(too_large_for_the_hub)
{
    for (uint8_t qos = 0; qos <= 2; qos++) {
        char big[500];

        memset(big, 'x', sizeof(big) - 1);
        big[sizeof(big) - 1] = '\0';
        configure(qos);
        begin_rule();
        rule.max_result = 400;
        deliver(qos, "hi");
        answer(FM_OK, big);
        CHECK(strstr(hub_saw.payload, "(499 vs. 400)") != NULL);
        CHECK(strstr(hub_saw.payload, "functionMessage") != NULL);
        if (qos > 0)
            published(0);
        CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
        end_rule();
    }
}

TEST(input_is_left_out_of_an_error_that_would_be_too_large)
{
    static char big[600];

    configure(0);
    begin_rule();
    memset(big, 'x', sizeof(big) - 1);
    rule.max_result = 700;
    deliver(1, big);
    answer(FM_TIMEOUT, "late");
    CHECK(strstr(hub_saw.payload, "late") != NULL);
    CHECK(strstr(hub_saw.payload, "Payload") == NULL);
    end_rule();
}

/* ---- Results that are not taken ---- */

TEST(refused_result_is_published_again)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    answer(FM_OK, "x");
    published(0x97);
    CHECK_INT(hub_saw.acks, 0);
    CHECK_INT(first_job()->timer.priv_[0], FM_REOPEN_MIN_MS);
    fire(&first_job()->timer);
    CHECK_INT(hub_saw.publishes, 2);
    CHECK_STR(hub_saw.payload, "x");
    published(0x97);
    CHECK_INT(first_job()->timer.priv_[0], 150);
    fire(&first_job()->timer);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok && hub_saw.publishes == 3);
    CHECK_INT(n_calls, 1);
    end_rule();
}

TEST(what_the_hub_cannot_take_now_is_published_again)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    hub_saw.result = BT_ENOMEM;
    answer(FM_OK, "x");
    CHECK_INT(hub_saw.acks, 0);
    hub_saw.result = 0;
    fire(&first_job()->timer);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end_rule();
}

TEST(what_the_hub_never_takes_does_not_come_again)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    hub_saw.result = BT_EINVAL;
    answer(FM_OK, "x");
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end_rule();
}

/* ---- Retries ---- */

TEST(pool_makes_the_attempts_when_there_is_no_pause)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    CHECK_INT(waiting->attempts, 3);
    answer(FM_BROKEN, "broken");
    CHECK_INT(n_calls, 1);
    published(0);
    end_rule();
}

TEST(attempts_with_pauses_that_double)
{
    configure(1);
    conf.retry_max = 5;
    conf.retry_delay = 300;
    begin_rule();
    deliver(1, "hi");
    for (int i = 0; i < 4; i++) {
        static const uint64_t pauses[] = { 300, 600, 1000, 1000 };

        CHECK_INT(waiting->attempts, 1);
        answer(FM_BROKEN, "broken");
        CHECK_INT(hub_saw.publishes, 0);
        CHECK_INT(first_job()->timer.priv_[0], pauses[i]);
        CHECK(waiting == NULL);
        fire(&first_job()->timer);
        CHECK_STR((const char *)waiting->message.topic.ptr, "t");
        CHECK_INT(waiting->deadline, 0);
    }
    answer(FM_BROKEN, "broken");
    CHECK_INT(n_calls, 5);
    CHECK_INT(hub_saw.publishes, 1);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end_rule();
}

TEST(what_is_tried_again)
{
    static const struct {
        enum fm_retry on;
        enum fm_outcome outcome;
        bool again;
    } rows[] = {
        { FM_RETRY_INSTANCE, FM_BROKEN, true },
        { FM_RETRY_INSTANCE, FM_FAILED, false },
        { FM_RETRY_INSTANCE, FM_TIMEOUT, false },
        { FM_RETRY_INSTANCE, FM_NOT_STARTED, false },
        { FM_RETRY_ANY, FM_BROKEN, true },
        { FM_RETRY_ANY, FM_FAILED, true },
        { FM_RETRY_ANY, FM_TIMEOUT, true },
        { FM_RETRY_ANY, FM_NOT_STARTED, true },
        { FM_RETRY_ANY, FM_TOO_LARGE, false },
        { FM_RETRY_ANY, FM_OK, false },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        configure(1);
        conf.retry_on = rows[i].on;
        conf.retry_delay = 1;
        begin_rule();
        deliver(1, "hi");
        answer(rows[i].outcome, "x");
        CHECK_INT(bt_timer_active(&first_job()->timer), rows[i].again);
        if (rows[i].again) {
            fire(&first_job()->timer);
            answer(FM_OK, "good");
            CHECK_STR(hub_saw.payload, "good");
        }
        published(0);
        CHECK_INT(hub_saw.acks, 1);
        end_rule();
    }
}

TEST(any_failure_without_a_pause)
{
    configure(1);
    conf.retry_on = FM_RETRY_ANY;
    begin_rule();
    deliver(1, "hi");
    answer(FM_FAILED, "1");
    answer(FM_TIMEOUT, "2");
    CHECK_INT(n_calls, 3);
    answer(FM_FAILED, "3");
    CHECK(strstr(hub_saw.payload, "\"3\"") != NULL);
    published(0);
    end_rule();
}

TEST(others_go_on_while_one_waits_for_its_retry)
{
    configure(1);
    conf.retry_delay = 500;
    begin_rule();
    deliver(1, "bad");
    answer(FM_BROKEN, "x");
    deliver(1, "good");
    answer(FM_OK, "y");
    published(0);
    CHECK_INT(hub_saw.acks, 1);
    CHECK_INT(rule.n_jobs, 1);
    fire(&first_job()->timer);
    answer(FM_OK, "");
    end_rule();
}

/* ---- Dead letters ---- */

TEST(final_failure_goes_to_the_dead_letters)
{
    static char dead[] = "dead";

    configure(2);
    conf.deadletter = (struct fm_topic_conf){ dead, 1 };
    conf.retry_delay = 1;
    conf.retry_max = 2;
    begin_rule();
    deliver(2, "hi");
    answer(FM_BROKEN, "x");
    CHECK_INT(hub_saw.publishes, 0);
    fire(&first_job()->timer);
    answer(FM_BROKEN, "x");
    CHECK_STR(hub_saw.topic, "dead");
    CHECK_INT(hub_saw.qos, 1);
    CHECK_INT(hub_saw.acks, 0);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    deliver(2, "hi");
    answer(FM_OK, "good");
    CHECK_STR(hub_saw.topic, "r");
    published(0);
    deliver(0, "hi");
    answer(FM_FAILED, "x");
    CHECK_STR(hub_saw.topic, "dead");
    CHECK_INT(hub_saw.qos, 0);
    end_rule();
}

/* ---- Order ---- */

TEST(strict_order_by_topic)
{
    const struct fm_delivery like = { .qos = 1, .pid = 1 };
    struct fm_call *a1, *b1, *a2;

    configure(1);
    function.order = FM_ORDER_STRICT;
    conf.retry_delay = 10;
    begin_rule();
    CHECK_INT(opened.window, 4 * 2 + FM_RULE_WIDE);
    deliver_as(&like, "a", "a1");
    deliver_as(&like, "b", "b1");
    deliver_as(&like, "a", "a2");
    deliver_as(&like, "a", "a3");
    CHECK_INT(n_calls, 2);
    a1 = calls[0];
    b1 = calls[1];
    answer_call(a1, FM_BROKEN, "x"); /* its retry is waited for, too */
    CHECK_INT(n_calls, 2);
    answer_call(b1, FM_OK, "y");
    published(0);
    CHECK_INT(n_calls, 2);
    fire(&first_job()->timer);
    CHECK_INT(n_calls, 3);
    answer_call(a1, FM_OK, "r1"); /* not before its result is safe */
    CHECK_INT(n_calls, 3);
    published(0);
    CHECK_INT(n_calls, 4);
    a2 = calls[3];
    CHECK(memcmp(a2->message.payload.ptr, "a2", 2) == 0);
    answer_call(a2, FM_OK, "");
    CHECK_INT(n_calls, 5);
    CHECK(memcmp(calls[4]->message.payload.ptr, "a3", 2) == 0);
    answer_call(calls[4], FM_FAILED, "x");
    published(0);
    CHECK_INT(hub_saw.acks, 4);
    end_rule();
}

/* ---- Too many ---- */

TEST(refused_because_too_many_wait)
{
    configure(1);
    begin_rule();
    deliver(0, "hi");
    CHECK(!waiting->patient);
    answer(FM_OVERLOADED, "");
    CHECK(hub_saw.publishes == 0 && hub_saw.acks == 1);
    deliver(1, "hi");
    CHECK(waiting->patient);
    answer(FM_OK, "");
    end_rule();
}

/* ---- Stopping ---- */

TEST(stopping_leaves_the_delivery)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 0);
    answer(FM_STOPPED, "");
    CHECK(hub_saw.acks == 1 && !hub_saw.ack_ok && hub_saw.publishes == 0);
    CHECK(n_drained == 1 && hub_saw.closes == 1);
    fm_rule_deinit(&rule);
}

TEST(stopping_does_not_use_up_the_attempts)
{
    for (int clean = 0; clean < 2; clean++) {
        configure(1);
        conf.retry_on = FM_RETRY_ANY;
        begin_rule();
        rule.clean = clean;
        deliver(1, "hi");
        fm_rule_close(&rule);
        answer(FM_FAILED, "x");
        CHECK_INT(n_calls, 1);
        CHECK_INT(hub_saw.publishes, clean); /* it comes again, or never */
        if (clean)
            published(0);
        CHECK(hub_saw.acks == 1 && hub_saw.ack_ok == clean && n_drained == 1);
        fm_rule_deinit(&rule);
    }
}

TEST(stopping_does_not_wait_for_pauses)
{
    configure(1);
    conf.retry_delay = 500;
    begin_rule();
    deliver(1, "hi");
    answer(FM_BROKEN, "x");
    deliver(1, "ho");
    answer(FM_OK, "x");
    published(0x97);
    fm_rule_close(&rule);
    CHECK(n_drained == 1 && hub_saw.acks == 2 && !hub_saw.ack_ok);
    fm_rule_deinit(&rule);
}

TEST(no_retry_while_stopping)
{
    configure(1);
    conf.retry_delay = 500;
    begin_rule();
    deliver(1, "hi");
    fm_rule_close(&rule);
    answer(FM_BROKEN, "x");
    CHECK_INT(hub_saw.publishes, 0);
    CHECK(n_drained == 1 && hub_saw.acks == 1 && !hub_saw.ack_ok);
    fm_rule_deinit(&rule);
}

TEST(abandoned_results)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    answer(FM_OK, "x");
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 0);
    fm_rule_abandon(&rule);
    CHECK(n_drained == 1 && !hub_saw.ack_ok);
    fm_rule_deinit(&rule);
}
