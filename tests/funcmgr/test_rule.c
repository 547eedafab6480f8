/* A rule between a hub and a pool that are not there: what is published and when a
 * delivery is acknowledged. */
#include "funcmgr/rule.c"

#include "tests/harness.h"

/* ---- The hub ---- */

static struct fm_link_opts opened;
static struct {
    int opens, closes, acks, drops, publishes;
    bool ack_ok;
    uint8_t qos;
    uint64_t token;
    const struct fm_delivery *input;
    char topic[64], payload[4096];
    int result;
} hub_saw;
static size_t hub_limit;

static int fake_open(const struct fm_link_opts *opts, struct fm_link **out)
{
    static struct fm_link the_link = { &fm_link_hub_ops };

    opened = *opts;
    hub_saw.opens++;
    *out = &the_link;
    return 0;
}
static int fake_publish(struct fm_link *l, const struct fm_publish *p)
{
    (void)l;
    hub_saw.publishes++;
    hub_saw.qos = p->qos;
    hub_saw.token = p->token;
    hub_saw.input = p->input;
    snprintf(hub_saw.topic, sizeof(hub_saw.topic), "%s", p->topic);
    snprintf(hub_saw.payload, sizeof(hub_saw.payload), "%.*s", (int)p->payload.len,
             (const char *)p->payload.ptr);
    return hub_saw.result;
}
static void fake_ack(struct fm_link *l, const struct fm_delivery *d, bool ok)
{
    CHECK(l != NULL && d != NULL);
    hub_saw.acks++;
    hub_saw.ack_ok = ok;
}
static void fake_drop(const struct fm_delivery *d)
{
    CHECK(d != NULL);
    hub_saw.drops++;
}
static void fake_close(struct fm_link *l)
{
    CHECK(l != NULL);
    hub_saw.closes++;
}
static size_t fake_max_payload(const struct fm_link *l, size_t topic_len)
{
    (void)l;
    return hub_limit - topic_len;
}
const struct fm_link_ops fm_link_hub_ops = { fake_open, fake_publish, fake_ack,
                                             fake_drop, fake_close,   fake_max_payload };

/* ---- The pool and the loop ---- */

static struct fm_call *waiting;
static struct fm_instance instance;

void fm_pool_call(struct fm_pool *p, struct fm_call *call)
{
    (void)p;
    waiting = call;
}
void fm_pool_cancel(struct fm_pool *p, struct fm_call *call)
{
    struct fm_result r = { .outcome = FM_STOPPED, .message = "", .type = "" };

    (void)p;
    call->cancelled = true;
    if (call->in == NULL)
        call->done(call, &r);
}
void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t))
{
    t->fn = fn;
}
void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after,
                    uint64_t repeat)
{
    (void)l;
    (void)repeat;
    t->priv_[0] = after;
    if (after == 0)
        t->fn(t);
}
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    (void)l;
    t->priv_[0] = 0;
}

/* ---- A rule ---- */

static struct fm_rule rule;
static struct fm_rule_conf conf;
static struct fm_hub_conf hub_conf;
static struct fm_function_conf function;
static struct fm_pool the_pool;
static int n_drained;

static void on_drained(void *arg)
{
    (void)arg;
    n_drained++;
}

static void begin(uint32_t qos)
{
    static char id[] = "c", topic[] = "t", result[] = "r", name[] = "f";

    memset(&hub_saw, 0, sizeof(hub_saw));
    hub_limit = 1000;
    waiting = NULL;
    n_drained = 0;
    function.max = 4;
    function.concurrency = 2;
    the_pool.conf = &function;
    hub_conf = (struct fm_hub_conf){ .interval = 150 };
    conf = (struct fm_rule_conf){ .clientid = id,
                                  .subscribe = { topic, 1 },
                                  .publish = { result, qos },
                                  .function = name,
                                  .retry_max = 3 };
    fm_rule_init(&rule, &conf, &hub_conf, NULL, NULL, &the_pool);
    rule.drained = on_drained;
    fm_rule_open(&rule);
    on_ready(&rule, 0);
}

static void deliver(uint8_t qos, const char *payload)
{
    struct fm_delivery delivery = { .qos = qos, .pid = qos > 0 ? 7 : 0 };

    delivery.topic = (struct bt_slice){ (const uint8_t *)"t", 1 };
    delivery.payload = (struct bt_slice){ (const uint8_t *)payload, strlen(payload) };
    on_message(&rule, &delivery);
}

static void answer(enum fm_outcome outcome, const char *text)
{
    struct fm_result r = { .outcome = outcome, .message = text, .type = FM_STATUS_ERROR };

    r.payload = (struct bt_slice){ (const uint8_t *)text, strlen(text) };
    waiting->done(waiting, &r);
}

static void end(void)
{
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 1);
    CHECK_INT(rule.n_jobs, 0);
    CHECK_INT(rule.n_bytes, 0);
}

TEST(call_carries_the_message)
{
    begin(1);
    CHECK_INT(opened.window, 4 * 2 + FM_RULE_QUEUE);
    CHECK(!opened.clean);
    deliver(1, "hi");
    CHECK_INT(waiting->attempts, 3);
    CHECK_INT(waiting->message.id, 7);
    CHECK_INT(waiting->message.qos, 1);
    CHECK(waiting->message.timestamp > 0);
    CHECK_INT(waiting->message.invoke_id.len, 36);
    CHECK(waiting->message.invoke_id.ptr[14] == '4');
    answer(FM_OK, "");
    end();
}

TEST(qos1_is_acknowledged_when_the_result_is_safe)
{
    begin(1);
    deliver(1, "hi");
    answer(FM_OK, "result");
    CHECK_STR(hub_saw.payload, "result");
    CHECK_INT(hub_saw.qos, 1);
    CHECK_INT(hub_saw.acks, 0);
    on_published(&rule, hub_saw.token, 0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end();
}

TEST(result_at_qos0_is_acknowledged_at_once)
{
    begin(0);
    deliver(1, "hi");
    answer(FM_OK, "result");
    CHECK_INT(hub_saw.qos, 0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    deliver(0, "hi");
    answer(FM_OK, "result");
    CHECK_INT(hub_saw.acks, 2);
    end();
}

TEST(empty_result_is_not_published)
{
    begin(1);
    deliver(1, "hi");
    answer(FM_OK, "");
    CHECK_INT(hub_saw.publishes, 0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end();
}

TEST(failure_is_published_and_acknowledged)
{
    begin(1);
    deliver(1, "hi");
    answer(FM_FAILED, "boom");
    CHECK(strncmp(hub_saw.payload, "{\"errorMessage\":\"boom\",", 23) == 0);
    CHECK(strstr(hub_saw.payload,
                 "\"ID\":7,\"QOS\":1,\"Topic\":\"t\",\"Payload\":\"aGk=\"") != NULL);
    on_published(&rule, hub_saw.token, 0);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end();
}

TEST(too_large_for_the_hub)
{
    begin(0);
    hub_limit = 301;
    deliver(1, "hi");
    hub_limit = 401;
    {
        char big[500];

        memset(big, 'x', sizeof(big) - 1);
        big[sizeof(big) - 1] = '\0';
        answer(FM_OK, big);
    }
    CHECK(strstr(hub_saw.payload, "(499 vs. 400)") != NULL);
    CHECK(strstr(hub_saw.payload, "functionMessage") != NULL);
    CHECK(hub_saw.acks == 1 && hub_saw.ack_ok);
    end();
}

TEST(input_is_left_out_of_an_error_that_would_be_too_large)
{
    static char big[600];

    begin(0);
    memset(big, 'x', sizeof(big) - 1);
    hub_limit = 700;
    deliver(1, big);
    answer(FM_TIMEOUT, "late");
    CHECK(strstr(hub_saw.payload, "late") != NULL);
    CHECK(strstr(hub_saw.payload, "Payload") == NULL);
    end();
}

TEST(refused_result_leaves_the_delivery)
{
    begin(1);
    deliver(1, "hi");
    answer(FM_OK, "x");
    on_published(&rule, hub_saw.token, 0x97);
    CHECK(hub_saw.acks == 1 && !hub_saw.ack_ok);
    end();
}

TEST(stopping_leaves_the_delivery)
{
    begin(1);
    deliver(1, "hi");
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 0);
    answer(FM_STOPPED, "");
    CHECK(hub_saw.acks == 1 && !hub_saw.ack_ok && hub_saw.publishes == 0);
    CHECK(n_drained == 1 && hub_saw.closes == 1);
}

TEST(abandoned_results)
{
    begin(1);
    deliver(1, "hi");
    answer(FM_OK, "x");
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 0);
    fm_rule_abandon(&rule);
    CHECK(n_drained == 1 && !hub_saw.ack_ok);
}

TEST(qos0_is_bounded)
{
    begin(0);
    rule.n_bytes = FM_RULE_MAX_BYTES;
    deliver(0, "hi");
    CHECK(waiting == NULL && hub_saw.acks == 1);
    deliver(1, "hi");
    CHECK(waiting != NULL);
    answer(FM_OK, "");
    rule.n_bytes = 0;
    end();
}

TEST(refused_because_too_many_wait)
{
    begin(1);
    deliver(0, "hi");
    CHECK(!waiting->patient);
    answer(FM_OVERLOADED, "");
    CHECK(hub_saw.publishes == 0 && hub_saw.acks == 1);
    deliver(1, "hi");
    CHECK(waiting->patient);
    answer(FM_OK, "");
    end();
}

TEST(lost_session_makes_orphans_and_is_opened_again)
{
    begin(1);
    deliver(1, "hi");
    waiting->in = &instance;
    on_closed(&rule, 0x8e);
    CHECK(hub_saw.acks == 1 && !hub_saw.ack_ok && hub_saw.closes == 1);
    CHECK(waiting->cancelled);
    CHECK_INT(rule.reopen_timer.priv_[0], 100);
    CHECK_INT(waiting->message.payload.len, 0);
    answer(FM_OK, "x");
    CHECK(hub_saw.publishes == 0 && hub_saw.acks == 1);
    on_reopen(&rule.reopen_timer);
    CHECK_INT(hub_saw.opens, 2);
    on_ready(&rule, 0x87);
    CHECK_INT(rule.reopen_timer.priv_[0], 150);
    CHECK_INT(hub_saw.closes, 2);
    end();
}

TEST(rule_without_a_client_id_has_a_clean_session)
{
    begin(1);
    end();
    conf.clientid = NULL;
    rule.closing = rule.closed = false;
    fm_rule_open(&rule);
    CHECK(opened.clean);
}
