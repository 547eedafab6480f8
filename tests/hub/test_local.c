/* In-process clients against a whole hub: the same session as over a socket. */
#include "hub/session/local.c"

#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

static struct bt_loop *loop;
static struct hub_client *client;
static unsigned ready, resent, published, closed, n_messages;
static unsigned ready_reason, published_reason, closed_reason;
static uint64_t published_token;
static struct hub_delivery *held[64];

static void on_ready(void *arg, unsigned reason)
{
    (void)arg;
    ready++;
    ready_reason = reason;
}

static void on_message(void *arg, struct hub_delivery *d)
{
    (void)arg;
    sim_need(n_messages < BT_ARRAY_LEN(held), "too many messages");
    held[n_messages++] = d;
}

/* With how many messages it was told. */
static void on_resent(void *arg)
{
    (void)arg;
    resent = resent * 10 + n_messages;
}

static void on_published(void *arg, uint64_t token, unsigned reason)
{
    (void)arg;
    published++;
    published_token = token;
    published_reason = reason;
}

static void on_closed(void *arg, unsigned reason)
{
    (void)arg;
    closed++;
    closed_reason = reason;
}

static void ask_open(const char *id, bool clean, uint16_t window,
                     const struct hub_sub *subs, size_t n_subs)
{
    const struct hub_client_opts o = {
        .client_id = id,
        .clean = clean,
        .window = window,
        .subs = subs,
        .n_subs = n_subs,
        .loop = loop,
        .on_ready = on_ready,
        .on_message = on_message,
        .on_resent = on_resent,
        .on_published = on_published,
        .on_closed = on_closed,
    };

    ready = resent = published = closed = n_messages = 0;
    CHECK_INT(hub_client_open(sim.hub, &o, &client), 0);
}

static void open_local(const char *id, bool clean, uint16_t window,
                       const struct hub_sub *subs, size_t n_subs)
{
    ask_open(id, clean, window, subs, n_subs);
    sim_run();
}

static void begin(const char *yaml)
{
    sim_begin(yaml);
    loop = bt_loop_new("test", false);
    CHECK(loop != NULL);
    sim_add_loop(loop);
}

static void end(void)
{
    if (client != NULL)
        hub_client_close(client);
    client = NULL;
    sim_run();
    sim_end();
    bt_loop_free(loop);
}

static bool payload_is(const struct hub_delivery *d, const char *text)
{
    return d->payload.len == strlen(text) &&
           memcmp(d->payload.ptr, text, d->payload.len) == 0;
}

TEST(sys_topics_tell_what_holds_now)
{
    const struct hub_sub subs[] = { { "$SYS/broker/version", 1 }, { "#", 0 } };

    for (unsigned workers = 1; workers <= 3; workers += 2) {
        begin(workers == 1 ? "workers: 1\n" : "workers: 3\n");
        open_local("mod", true, 10, subs, 2);
        CHECK_INT(ready_reason, 0);
        CHECK_INT(n_messages, 1);
        CHECK(held[0]->retain && held[0]->qos == 0);
        CHECK(held[0]->payload.len > 15 &&
              memcmp(held[0]->payload.ptr, "baetyl version ", 15) == 0);
        hub_client_ack(client, held[0], true);
        end();
    }
}

TEST(opens_subscribes_receives_and_publishes)
{
    const struct hub_sub subs[] = { { "in/#", 1 }, { "zero", 0 } };

    for (unsigned workers = 1; workers <= 3; workers += 2) {
        struct sim_client net;
        struct sim_heard h;

        begin(workers == 1 ? "workers: 1\n" : "workers: 3\n");
        open_local("mod", false, 10, subs, 2);
        CHECK_INT(ready, 1);
        CHECK_INT(ready_reason, 0);
        net = sim_client_open(&(struct sim_login){ .id = "net" });
        sim_say_subscribe(&net, "out", 1, 1);
        sim_say_publish(&net, "in/x", "hello", 1, false, 5);
        sim_say_publish(&net, "zero", "nought", 1, false, 6);
        sim_run();
        CHECK_INT(n_messages, 2);
        CHECK(payload_is(held[0], "hello") && held[0]->qos == 1);
        CHECK(payload_is(held[1], "nought") && held[1]->qos == 0);
        hub_client_ack(client, held[0], true);
        hub_client_ack(client, held[1], true);
        CHECK_INT(hub_client_publish(client, "out",
                                     (struct bt_slice){ (const uint8_t *)"y", 1 }, 1,
                                     false, 42),
                  0);
        sim_run();
        CHECK_INT(published, 1);
        CHECK_INT(published_token, 42);
        CHECK_INT(published_reason & 0x80, 0);
        while (sim_hear(&net, &h) && h.type != BT_MQTT_PUBLISH)
            ;
        CHECK_STR(h.payload, "y");
        end();
    }
}

/* ---- QoS 2 ---- */

static uint64_t rows_of_m, rows_of_o;

static int on_session(void *arg, uint64_t sid, const char *id, const char *principal,
                      uint32_t expiry_s, int64_t disconnected_ms, uint64_t first,
                      uint64_t last, uint64_t rows)
{
    (void)arg, (void)sid, (void)principal, (void)expiry_s, (void)disconnected_ms;
    (void)first, (void)last;
    *(id[0] == 'm' ? &rows_of_m : &rows_of_o) = rows;
    return 0;
}

static int on_sub(void *arg, uint64_t sid, const char *filter, uint32_t options,
                  uint32_t subid)
{
    (void)arg, (void)sid, (void)filter, (void)options, (void)subid;
    return 0;
}

static int on_retained(void *arg, struct hub_msg *msg)
{
    (void)arg;
    hub_msg_unref(msg);
    return 0;
}

/* Rows of the queues of "mod" and of "other". */
static void count_rows(void)
{
    const struct hub_store_visitor v = { .session = on_session,
                                         .subscription = on_sub,
                                         .retained = on_retained };

    rows_of_m = rows_of_o = 0;
    CHECK_INT(hub_store_load(sim.hub->store, &v), 0);
}

static const struct hub_sub in2 = { "in", 2 };

/* A session of "other", away, that waits for results. */
static void begin_with_other(const char *yaml, uint8_t qos)
{
    struct sim_client other;

    begin(yaml);
    other = sim_client_open(&(struct sim_login){ .id = "other", .keep = true });
    sim_say_subscribe(&other, "out", qos, 1);
    sim_run();
    sim_client_break(&other);
}

/* The same, and one of "mod" that was given a message at QoS 2. */
static struct sim_client begin_qos2(const char *yaml, bool clean)
{
    struct sim_client net;

    begin_with_other(yaml, 2);
    open_local("mod", clean, 10, &in2, 1);
    net = sim_client_open(&(struct sim_login){ .id = "net" });
    sim_say_publish(&net, "in", "two", 2, false, 5);
    sim_run();
    CHECK_INT(n_messages, 1);
    CHECK(payload_is(held[0], "two") && held[0]->qos == 2 && held[0]->pid != 0);
    return net;
}

static void answer(unsigned held_at, uint8_t qos)
{
    CHECK_INT(hub_client_answer(client, held[held_at], "out",
                                (struct bt_slice){ (const uint8_t *)"y", 1 }, qos, 42),
              0);
}

TEST(qos_2_is_delivered_and_completed)
{
    for (int clean = 0; clean <= 1; clean++) {
        begin_qos2("workers: 2\n", clean != 0);
        count_rows();
        CHECK_INT(rows_of_m, clean ? 0 : 1);
        hub_client_ack(client, held[0], true);
        sim_run();
        count_rows();
        CHECK_INT(rows_of_m, 0);
        hub_client_close(client);
        sim_run();
        open_local("mod", clean != 0, 10, &in2, 1);
        CHECK_INT(n_messages, 0);
        end();
    }
}

TEST(qos_2_publish_is_answered_when_it_is_safe)
{
    begin_qos2("workers: 2\n", false);
    for (unsigned i = 1; i <= 3; i++) {
        CHECK_INT(hub_client_publish(client, "out",
                                     (struct bt_slice){ (const uint8_t *)"y", 1 }, 2,
                                     false, i),
                  0);
        CHECK_INT(published, i - 1);
        sim_run();
        CHECK_INT(published, i);
        CHECK_INT(published_reason, 0);
        count_rows();
        CHECK_INT(rows_of_o, i);
    }
    hub_client_ack(client, held[0], true);
    end();
}

/* The rows of the result and the end of the input are tied in the batch. */
static bool is_tied(const struct hub_batch *b)
{
    const struct hub_op *op = b->head;

    while (op != NULL && op->kind != HUB_OP_ENQUEUE)
        op = op->next;
    return op != NULL && op->tied && op->next->kind == HUB_OP_DEQUEUE;
}

TEST(result_and_input_are_one_transaction_at_qos_2)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        struct hub_session *s;
        struct hub_pub pub = { .topic = { (const uint8_t *)"out", 3 }, .qos = qos };

        begin_qos2("workers: 1\n", false);
        s = client->link.session;
        hub_session_publish_local(s, &pub, held[0]->token, 42, 0);
        CHECK(is_tied(&s->worker->batch));
        hub_pub_deinit(&pub);
        sim_run();
        CHECK_INT(published, 1);
        CHECK_INT(published_reason, 0);
        count_rows();
        CHECK(rows_of_m == 0 && rows_of_o == 1);
        CHECK_INT(s->n_inflight, 0);
        held[0]->answered = true;
        hub_client_ack(client, held[0], true);
        end();
    }
}

TEST(a_result_is_published_once)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        begin_qos2("workers: 2\n", false);
        answer(0, qos);
        answer(0, qos);
        sim_run();
        CHECK_INT(published, 2);
        answer(0, qos);
        sim_run();
        CHECK_INT(published, 3);
        CHECK_INT(published_reason, 0);
        count_rows();
        CHECK(rows_of_m == 0 && rows_of_o == 1);
        hub_client_ack(client, held[0], true);
        end();
    }
}

TEST(a_client_that_goes_before_its_result_is_safe)
{
    begin_qos2("workers: 2\n", false);
    answer(0, 2);
    hub_client_close(client);
    hub_delivery_free(held[0]);
    sim_run();
    open_local("mod", false, 10, &in2, 1);
    sim_run();
    CHECK_INT(n_messages, 0);
    count_rows();
    CHECK(rows_of_m == 0 && rows_of_o == 1);
    end();
}

TEST(result_that_nobody_keeps_completes_its_input)
{
    begin_qos2("workers: 2\n", false);
    CHECK_INT(hub_client_answer(client, held[0], "nobody",
                                (struct bt_slice){ (const uint8_t *)"y", 1 }, 2, 42),
              0);
    sim_run();
    CHECK_INT(published_reason & 0x80, 0);
    count_rows();
    CHECK_INT(rows_of_m, 0);
    hub_client_ack(client, held[0], true);
    end();
}

TEST(what_a_network_client_had_taken_is_completed)
{
    struct sim_client net, mod;
    struct sim_heard h;

    begin("workers: 1\n");
    mod = sim_client_open(&(struct sim_login){ .id = "mod", .keep = true });
    sim_say_subscribe(&mod, "in", 2, 1);
    net = sim_client_open(&(struct sim_login){ .id = "net" });
    sim_say_publish(&net, "in", "two", 2, false, 5);
    sim_run();
    while (sim_hear(&mod, &h) && h.type != BT_MQTT_PUBLISH)
        ;
    sim_say_ack(&mod, 0x50, h.pid);
    sim_run();
    sim_client_break(&mod);
    open_local("mod", false, 10, &in2, 1);
    CHECK_INT(n_messages, 0);
    CHECK_INT(client->link.session->n_queued, 0);
    end();
}

TEST(the_window_bounds_what_waits)
{
    const struct hub_sub sub = { "in", 1 };
    struct sim_client net;

    begin("workers: 2\n");
    open_local("mod", true, 3, &sub, 1);
    net = sim_client_open(&(struct sim_login){ .id = "net" });
    for (unsigned i = 1; i <= 10; i++)
        sim_say_publish(&net, "in", "x", 1, false, i);
    sim_run();
    CHECK_INT(n_messages, 3);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(n_messages > i);
        hub_client_ack(client, held[i], true);
        sim_run();
    }
    CHECK_INT(n_messages, 10);
    end();
}

TEST(what_was_not_processed_comes_again)
{
    const struct hub_sub sub = { "in", 1 };
    struct sim_client net;

    begin("workers: 2\n");
    open_local("mod", false, 3, &sub, 1);
    net = sim_client_open(&(struct sim_login){ .id = "net" });
    sim_say_publish(&net, "in", "x", 1, false, 1);
    sim_run();
    CHECK_INT(n_messages, 1);
    hub_client_ack(client, held[0], false);
    hub_client_close(client);
    sim_run();
    open_local("mod", false, 3, &sub, 1);
    CHECK_INT(n_messages, 1);
    CHECK(held[0]->dup);
    hub_client_ack(client, held[0], true);
    end();
}

static void hold_three(void)
{
    const struct hub_sub sub = { "in", 1 };
    struct sim_client net;

    begin_with_other("workers: 1\n", 1);
    open_local("mod", false, 3, &sub, 1);
    net = sim_client_open(&(struct sim_login){ .id = "net" });
    for (uint16_t pid = 1; pid <= 3; pid++)
        sim_say_publish(&net, "in", "x", 1, false, pid);
    sim_run();
    CHECK_INT(n_messages, 3);
}

/* And what was sent before has been sent again only when the window allowed it. */
TEST(it_is_told_when_all_has_come_again)
{
    const struct hub_sub sub = { "in", 1 };

    hold_three();
    for (size_t i = 0; i < 3; i++)
        hub_delivery_free(held[i]);
    hub_client_close(client);
    sim_run();
    open_local("mod", false, 2, &sub, 1);
    CHECK(n_messages == 2 && resent == 0);
    hub_client_ack(client, held[0], true);
    sim_run();
    CHECK(n_messages == 3 && resent == 3);
    hub_client_ack(client, held[1], true);
    hub_client_ack(client, held[2], true);
    sim_run();
    CHECK(client->link.session->n_queued == 0 && resent == 3);
    end();
}

TEST(a_result_becomes_safe_before_its_input_is_sent_again)
{
    const struct hub_sub sub = { "in", 1 };

    hold_three();
    answer(2, 1);
    for (size_t i = 0; i < 3; i++)
        hub_delivery_free(held[i]);
    hub_client_close(client);
    open_local("mod", false, 1, &sub, 1);
    CHECK_INT(client->link.session->n_queued, 2);
    CHECK_INT(client->link.session->n_inflight, 1);
    hub_client_ack(client, held[0], true);
    sim_run();
    hub_client_ack(client, held[1], true);
    sim_run();
    CHECK(n_messages == 2 && resent == 2);
    CHECK_INT(client->link.session->n_queued, 0);
    CHECK_INT(client->link.session->n_inflight, 0);
    end();
}

TEST(results_become_safe_while_the_session_is_away)
{
    const struct hub_sub sub = { "in", 1 };
    struct hub_totals before, after;

    hold_three();
    hub_totals(&before);
    answer(1, 1);
    answer(2, 1);
    for (size_t i = 0; i < 3; i++)
        hub_delivery_free(held[i]);
    hub_client_close(client);
    ask_open("mod", false, 1, &sub,
             1); /* the first is in flight again, the others wait */
    hub_client_close(client);
    sim_run();
    open_local("mod", false, 3, &sub, 1);
    CHECK(n_messages == 1 && resent == 1);
    CHECK_INT(client->link.session->n_inflight, 1);
    hub_totals(&after);
    CHECK_INT(before.inflight - after.inflight, 2);
    hub_client_ack(client, held[0], true);
    end();
}

TEST(a_network_client_takes_over)
{
    struct sim_client net;

    begin("workers: 2\n");
    open_local("mod", true, 3, NULL, 0);
    net = sim_client_open(&(struct sim_login){ .id = "mod" });
    sim_run();
    CHECK_INT(closed, 1);
    CHECK_INT(closed_reason, BT_MQTT_TAKEN_OVER);
    CHECK(!net.peer->gone);
    CHECK_INT(hub_client_publish(client, "a", (struct bt_slice){ NULL, 0 }, 1, false, 7),
              0);
    sim_run();
    CHECK_INT(published, 1);
    CHECK(published_reason >= 0x80);
    end();
}

TEST(an_in_process_client_takes_over)
{
    struct sim_client net;

    begin("workers: 2\n");
    net = sim_client_open(&(struct sim_login){ .id = "mod" });
    open_local("mod", true, 3, NULL, 0);
    CHECK(net.peer->gone);
    CHECK_INT(ready, 1);
    CHECK_INT(closed, 0);
    end();
}

/* A subscription that is no longer configured must not go on feeding the session. */
TEST(stale_subscriptions_go)
{
    const struct hub_sub old = { "old", 1 }, now = { "now", 1 };
    struct sim_client net;

    begin("workers: 2\n");
    open_local("mod", false, 3, &old, 1);
    hub_client_close(client);
    sim_run();
    open_local("mod", false, 3, &now, 1);
    net = sim_client_open(&(struct sim_login){ .id = "net" });
    sim_say_publish(&net, "old", "x", 1, false, 1);
    sim_say_publish(&net, "now", "y", 1, false, 2);
    sim_run();
    CHECK_INT(n_messages, 1);
    CHECK(payload_is(held[0], "y"));
    hub_client_ack(client, held[0], true);
    end();
}

TEST(wrong_arguments_are_refused)
{
    struct hub_client_opts o = { .client_id = "", .window = 1, .loop = NULL };
    struct hub_client *c = NULL;

    begin("{workers: 1, message: {length: {max: 1k}}}\n");
    CHECK_INT(hub_client_open(sim.hub, &o, &c), BT_EINVAL);
    o.client_id = "x";
    o.window = 0;
    CHECK_INT(hub_client_open(sim.hub, &o, &c), BT_EINVAL);
    open_local("mod", true, 3, NULL, 0);
    CHECK_INT(
        hub_client_publish(client, "a/#", (struct bt_slice){ NULL, 0 }, 0, false, 0),
        BT_EINVAL);
    CHECK_INT(hub_client_publish(client, "a",
                                 (struct bt_slice){ (const uint8_t *)"", 2000 }, 0, false,
                                 0),
              BT_ELIMIT);
    end();
}

/* Whatever allocation fails: opened or not, nothing leaks, the hub goes on. */
TEST(out_of_memory)
{
    const struct hub_sub sub = { "in/#", 1 };
    const struct hub_client_opts o = {
        .client_id = "mod",
        .window = 4,
        .subs = &sub,
        .n_subs = 1,
        .on_ready = on_ready,
        .on_message = on_message,
        .on_resent = on_resent,
        .on_published = on_published,
        .on_closed = on_closed,
    };
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        struct hub_client_opts opts = o;
        struct sim_client net;

        begin("workers: 2\n");
        opts.loop = loop;
        net = sim_client_open(&(struct sim_login){ .id = "net" });
        ready = resent = published = closed = n_messages = 0;
        client = NULL;
        (void)bt_mem_fail_once(nth);
        if (hub_client_open(sim.hub, &opts, &client) == 0) {
            sim_run();
            sim_say_publish(&net, "in/x", "hello", 1, false, 5);
            sim_run();
            (void)!hub_client_publish(client, "out", (struct bt_slice){ NULL, 0 }, 1,
                                      false, 42);
            sim_run();
        }
        while (n_messages > 0)
            hub_client_ack(client, held[--n_messages], true);
        failed = bt_mem_fail_once(0);
        end();
        CHECK(nth < 1000);
    }
}

TEST(whether_the_session_is_new)
{
    const struct hub_sub sub = { "in", 1 };

    begin("workers: 2\n");
    open_local("mod", false, 3, &sub, 1);
    CHECK(hub_client_is_new(client));
    hub_client_close(client);
    sim_run();
    open_local("mod", false, 3, &sub, 1);
    CHECK(!hub_client_is_new(client));
    /* Another user's session is not handed over, but ended. */
    (void)sim_client_open(&(struct sim_login){ .id = "mod", .keep = true });
    sim_run();
    CHECK_INT(closed, 1);
    hub_client_close(client);
    client = NULL;
    end();
}
