/* The session of a rule: what it asks for, what it takes, how it comes back. */
#include "funcmgr/rule/rule.c"

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
    rule.n_qos0 = FM_RULE_MAX_JOBS / 2;
    deliver(0, "d");
    CHECK_INT(paused, 1);
    function.order = FM_ORDER_STRICT; /* by a reload */
    CHECK_INT(fm_rule_reconfigure(&rule, &conf, &the_pool), 0);
    CHECK_INT(paused, 0);
    function.order = FM_ORDER_NONE;
    rule.n_qos0 = 2;
    answer(FM_OK, "");
    answer_call(calls[2], FM_OK, "");
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

/* A broker elsewhere delivers what it has before it answers the subscription. */
TEST(messages_before_a_refusal)
{
    configure(1);
    begin_rule();
    opened.on_closed(opened.arg, 0x8e);
    fire(&rule.reopen_timer);
    deliver(1, "hi");
    CHECK(waiting != NULL);
    opened.on_ready(opened.arg, 0x87);
    CHECK_INT(rule.n_detached, 1);
    answer(FM_OK, "x");
    CHECK_INT(hub_saw.acks, 0);
    fire(&rule.reopen_timer);
    opened.on_ready(opened.arg, 0);
    deliver_as(&(struct fm_delivery){ .qos = 1, .pid = 7, .dup = true }, "t", "hi");
    CHECK_INT(hub_saw.publishes, 1);
    published(0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok && hub_saw.owed == 0);
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

/* The results of a rule that closes are given up with its session: nobody opens it again.
 */
TEST(closing_ends_with_the_session)
{
    configure(1);
    begin_rule();
    deliver(1, "published");
    answer(FM_OK, "x");
    deliver(1, "runs");
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 0);
    opened.on_closed(opened.arg, 0x8e);
    CHECK(rule.n_jobs == 1 && n_drained == 0);
    answer(FM_OK, "y");
    CHECK(hub_saw.publishes == 1 && n_drained == 1 && hub_saw.owed == 0);
    CHECK(!bt_timer_active(&rule.reopen_timer));
    fm_rule_deinit(&rule);
}

/* ---- Another configuration ---- */

static struct fm_rule_conf other;

static void reconfigure(void)
{
    CHECK_INT(fm_rule_reconfigure(&rule, &other, &the_pool), 0);
}

TEST(configuration_is_taken_over_in_place)
{
    static char result[] = "elsewhere";

    configure(1);
    begin_rule();
    deliver(1, "hi");
    other = conf;
    other.publish.topic = result;
    reconfigure();
    CHECK(hub_saw.opens == 1 && hub_saw.closes == 0);
    answer(FM_OK, "x");
    CHECK_STR(hub_saw.topic, "elsewhere");
    published(0);
    end_rule();
}

TEST(session_is_opened_again_for_another_subscription)
{
    static char filter[] = "u", user[] = "name";
    static struct fm_hub_conf login;

    for (int i = 0; i < 5; i++) {
        configure(1);
        begin_rule();
        deliver(1, "hi");
        other = conf;
        login = hub_conf;
        if (i == 0)
            other.subscribe.topic = filter;
        if (i == 1)
            other.subscribe.qos = 2;
        if (i == 2)
            other.retry_delay = 5; /* a wider window */
        if (i == 3)
            function.max = 9;
        if (i == 4) {
            login.username = user;
            other.hub = &login;
        }
        reconfigure();
        CHECK(hub_saw.opens == 2 && hub_saw.closes == 1 && hub_saw.owed == 1);
        opened.on_ready(opened.arg, 0);
        if (i == 0)
            CHECK_STR(opened.filter, "u");
        answer(FM_OK, "x");
        CHECK_INT(hub_saw.publishes, 0); /* its message comes again */
        end_rule();
    }
}

TEST(clean_session_is_not_given_up_for_its_window)
{
    configure(1);
    conf.clientid = NULL;
    begin_rule();
    other = conf;
    other.retry_delay = 5;
    reconfigure();
    CHECK(hub_saw.opens == 1 && hub_saw.closes == 0);
    end_rule();
}

TEST(order_is_switched)
{
    const struct fm_delivery like = { .qos = 1, .pid = 1 };

    configure(1);
    begin_rule();
    other = conf;
    deliver_as(&like, "a", "1");
    deliver_as(&like, "a", "2");
    CHECK_INT(n_calls, 2);
    function.order = FM_ORDER_STRICT;
    reconfigure();
    opened.on_ready(opened.arg, 1);
    deliver_as(&like, "a", "3");
    deliver_as(&like, "a", "4");
    CHECK_INT(n_calls, 3);
    function.order = FM_ORDER_NONE;
    reconfigure();
    opened.on_ready(opened.arg, 1);
    deliver_as(&like, "a", "5");
    CHECK_INT(n_calls, 4);
    rule.clean = true;
    for (size_t i = 0; i < 4; i++)
        answer_call(calls[i], FM_OK, "");
    CHECK_INT(n_calls, 5);
    answer_call(calls[4], FM_OK, "");
    end_rule();
}

TEST(pool_that_is_in_use)
{
    static struct fm_pool another;

    configure(1);
    begin_rule();
    another.conf = &function;
    other = conf;
    deliver(1, "hi");
    CHECK(fm_rule_uses(&rule, &the_pool) && !fm_rule_uses(&rule, &another));
    CHECK_INT(fm_rule_reconfigure(&rule, &other, &another), 0);
    CHECK(fm_rule_uses(&rule, &the_pool) && fm_rule_uses(&rule, &another));
    answer(FM_OK, "");
    CHECK(!fm_rule_uses(&rule, &the_pool));
    end_rule();
    CHECK(!fm_rule_uses(&rule, &another));
}
