/* A rule between a broker and a pool that are not there. */
#ifndef TESTS_FUNCMGR_FAKE_RULE_H
#define TESTS_FUNCMGR_FAKE_RULE_H

#include <stdio.h>
#include <string.h>

#include "funcmgr/rule/rule_job.h"
#include "tests/harness.h"

/* ---- The hub ---- */

static struct fm_link_opts opened;
static struct {
    int opens, closes, acks, drops, publishes;
    int owed; /* deliveries that are held */
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
    hub_saw.owed--;
    hub_saw.ack_ok = ok;
}
static void fake_drop(const struct fm_delivery *d)
{
    CHECK(d != NULL);
    hub_saw.drops++;
    hub_saw.owed--;
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
                                             fake_drop, fake_close,   fake_max_payload,
                                             NULL };

/* ---- The pool and the loop ---- */

/* The last call, and all in order. */
static struct fm_call *waiting, *calls[64];
static size_t n_calls;
__attribute__((unused)) static struct fm_instance instance;

void fm_pool_call(struct fm_pool *p, struct fm_call *call)
{
    (void)p;
    waiting = call;
    calls[n_calls++ % BT_ARRAY_LEN(calls)] = call;
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
    t->priv_[1] = after > 0;
}
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    (void)l;
    t->priv_[0] = t->priv_[1] = 0;
}
bool bt_timer_active(const struct bt_timer *t)
{
    return t->priv_[1] != 0;
}
__attribute__((unused)) static void fire(struct bt_timer *t)
{
    CHECK(bt_timer_active(t));
    t->priv_[0] = t->priv_[1] = 0;
    t->fn(t);
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

/* As configured so far: change conf and function before. */
__attribute__((unused)) static void begin_rule(void)
{
    memset(&hub_saw, 0, sizeof(hub_saw));
    hub_limit = 1000;
    waiting = NULL;
    n_calls = 0;
    n_drained = 0;
    the_pool.conf = &function;
    the_pool.stats = fm_stats_of("f");
    CHECK_INT(fm_rule_init(&rule, &conf, &hub_conf, NULL, NULL, &the_pool), 0);
    rule.drained = on_drained;
    fm_rule_open(&rule);
    opened.on_ready(opened.arg, 0);
}

__attribute__((unused)) static void configure(uint32_t qos)
{
    static char id[] = "c", topic[] = "t", result[] = "r", name[] = "f";

    function = (struct fm_function_conf){ .max = 4, .concurrency = 2 };
    hub_conf = (struct fm_hub_conf){ .interval = 150 };
    conf = (struct fm_rule_conf){ .clientid = id,
                                  .subscribe = { topic, qos },
                                  .publish = { result, qos },
                                  .function = name,
                                  .hub = &hub_conf,
                                  .retry_max = 3,
                                  .retry_delay_max = 1000 };
}

__attribute__((unused)) static void deliver_as(const struct fm_delivery *like,
                                               const char *topic, const char *payload)
{
    struct fm_delivery d = *like;

    d.topic = (struct bt_slice){ (const uint8_t *)topic, strlen(topic) };
    d.payload = (struct bt_slice){ (const uint8_t *)payload, strlen(payload) };
    hub_saw.owed++;
    opened.on_message(opened.arg, &d);
}

__attribute__((unused)) static void deliver(uint8_t qos, const char *payload)
{
    const struct fm_delivery like = { .qos = qos, .pid = qos > 0 ? 7 : 0 };

    deliver_as(&like, "t", payload);
}

__attribute__((unused)) static void answer_call(struct fm_call *call,
                                                enum fm_outcome outcome, const char *text)
{
    struct fm_result r = { .outcome = outcome, .message = text, .type = FM_STATUS_ERROR };

    r.payload = (struct bt_slice){ (const uint8_t *)text, strlen(text) };
    call->done(call, &r);
}

__attribute__((unused)) static void answer(enum fm_outcome outcome, const char *text)
{
    answer_call(bt_steal(waiting), outcome, text);
}

__attribute__((unused)) static void published(unsigned reason)
{
    opened.on_published(opened.arg, hub_saw.token, reason);
}

__attribute__((unused)) static struct fm_job *first_job(void)
{
    return bt_list_entry(bt_list_first(&rule.jobs), struct fm_job, link);
}

__attribute__((unused)) static void end_rule(void)
{
    fm_rule_close(&rule);
    CHECK_INT(n_drained, 1);
    CHECK_INT(rule.n_jobs, 0);
    CHECK_INT(rule.n_bytes, 0);
    CHECK_INT(rule.n_qos0, 0);
    CHECK_INT(rule.n_detached, 0);
    CHECK_INT(hub_saw.owed, 0);
    fm_rule_deinit(&rule);
}

#endif
