/* The session of a rule: what it asks for, what it takes, how it comes back. */
#include "funcmgr/rule.c"

#include "tests/funcmgr/fake_rule.h"
#include "tests/harness.h"

TEST(session_is_that_of_the_configuration)
{
    configure(2);
    begin_rule();
    CHECK_INT(opened.window, 4 * 2 + FM_RULE_QUEUE);
    CHECK_STR(opened.filter, "t");
    CHECK_INT(opened.qos, 2);
    CHECK(!opened.clean);
    end_rule();
    conf.retry_delay = 1;
    begin_rule();
    CHECK_INT(opened.window, 4 * 2 + FM_RULE_WIDE);
    end_rule();
    conf.clientid = NULL;
    begin_rule();
    CHECK(opened.clean);
    end_rule();
}

TEST(qos_0_is_bounded)
{
    configure(0);
    begin_rule();
    rule.n_bytes = FM_RULE_MAX_BYTES;
    deliver(0, "hi");
    CHECK(waiting == NULL && hub_saw.acks == 1);
    deliver(1, "hi");
    CHECK(waiting != NULL);
    answer(FM_OK, "");
    rule.n_bytes = 0;
    rule.n_qos0 = FM_RULE_MAX_JOBS;
    deliver(0, "hi");
    CHECK(waiting == NULL && hub_saw.acks == 3);
    rule.n_qos0 = 0;
    end_rule();
}

static int paused = -1;

static void pause_link(struct fm_link *l, bool on)
{
    CHECK(l == rule.link);
    paused = on;
}

/* A link that can wait loses nothing. */
TEST(qos_0_stops_the_link)
{
    struct fm_link_ops ops = fm_link_hub_ops;

    configure(0);
    begin_rule();
    ops.pause = pause_link;
    rule.link->ops = &ops;
    rule.n_qos0 = FM_RULE_MAX_JOBS / 2 - 1;
    deliver(0, "a");
    CHECK_INT(paused, -1);
    deliver(0, "b");
    CHECK_INT(paused, 1);
    answer(FM_OK, "");
    CHECK_INT(paused, 1);
    rule.n_qos0 = FM_RULE_MAX_JOBS / 4 + 1;
    answer_call(calls[0], FM_OK, "");
    CHECK_INT(paused, 0);
    /* In strict order one of them may wait for what is not read then. */
    paused = -1;
    function.order = FM_ORDER_STRICT;
    rule.n_qos0 = FM_RULE_MAX_JOBS / 2;
    deliver(0, "c");
    CHECK_INT(paused, -1);
    function.order = FM_ORDER_NONE;
    rule.n_qos0 = 1;
    answer(FM_OK, "");
    rule.link->ops = &fm_link_hub_ops;
    end_rule();
}

TEST(session_is_opened_again)
{
    configure(1);
    begin_rule();
    opened.on_closed(opened.arg, 0x8e);
    CHECK_INT(hub_saw.closes, 1);
    CHECK_INT(rule.reopen_timer.priv_[0], FM_REOPEN_MIN_MS);
    fire(&rule.reopen_timer);
    CHECK_INT(hub_saw.opens, 2);
    opened.on_ready(opened.arg, 0x87);
    CHECK_INT(rule.reopen_timer.priv_[0], 150);
    CHECK_INT(hub_saw.closes, 2);
    fire(&rule.reopen_timer);
    opened.on_ready(opened.arg, 0);
    opened.on_closed(opened.arg, 0x8e);
    CHECK_INT(rule.reopen_timer.priv_[0], FM_REOPEN_MIN_MS);
    end_rule();
}

TEST(closing_takes_no_more)
{
    configure(1);
    begin_rule();
    deliver(1, "hi");
    fm_rule_close(&rule);
    deliver(1, "ho");
    CHECK(hub_saw.acks == 1 && !hub_saw.ack_ok);
    answer(FM_OK, "x");
    published(0);
    CHECK(hub_saw.acks == 2 && hub_saw.ack_ok && n_drained == 1);
    fm_rule_deinit(&rule);
}
