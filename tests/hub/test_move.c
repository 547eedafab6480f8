/* Messages that move from one queue to another: with the row they had, in one
 * transaction. */
#include "hub/session/move.c"

#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

static struct hub_session *session(const char *id)
{
    return hub_worker_find(sim.hub->workers[0],
                           (struct bt_slice){ (const uint8_t *)id, strlen(id) });
}

static struct hub_qentry *entry(uint64_t qseq)
{
    const struct hub_pub pub = { .topic = { (const uint8_t *)"t", 1 }, .qos = 1 };
    struct hub_msg *m = hub_msg_new(&pub);
    struct hub_qentry *e = hub_qentry_new(m, qseq);

    hub_msg_unref(m);
    return e;
}

static const char one_in_flight[] = "workers: 1\n"
                                    "message: {egress: {qos1: {buffer: {size: 1}}}}\n";

TEST(the_row_goes_with_what_it_became)
{
    struct hub_worker *w;
    struct hub_qentry *e = entry(7);
    struct hub_ticket *t;
    struct hub_op *op;

    sim_begin(one_in_flight);
    w = sim.hub->workers[0];
    (void)sim_client_open(&(struct sim_login){ .id = "a", .keep = true });
    t = hub_move_begin(session("a"), e);
    op = hub_op_new(HUB_OP_ENQUEUE, 99);
    op->entry = entry(1);
    op->ticket = t;
    atomic_fetch_add(&t->pending, 1);
    hub_gather_add(t->gather, op);
    CHECK_INT(w->batch.n, 0);
    hub_move_end(w, t, true);
    CHECK_INT(w->batch.n, 2);
    op = w->batch.head;
    CHECK(op->kind == HUB_OP_ENQUEUE && op->tied);
    CHECK(op->next->kind == HUB_OP_DEQUEUE && !op->next->tied);
    CHECK_INT(op->next->qseq, 7);
    sim_run();
    CHECK_INT(w->batch.n, 0);
    hub_qentry_unref(e);
    sim_end();
}

TEST(without_a_new_row_it_goes_afterwards)
{
    struct hub_worker *w;
    struct hub_qentry *e = entry(7);

    sim_begin(one_in_flight);
    w = sim.hub->workers[0];
    (void)sim_client_open(&(struct sim_login){ .id = "a", .keep = true });
    hub_move_end(w, hub_move_begin(session("a"), e), false);
    hub_move_end(w, hub_move_begin(session("a"), e), true);
    CHECK_INT(w->batch.n, 0);
    sim_run();
    hub_qentry_unref(e);
    sim_end();
}

static uint64_t rows_of[8];

static int on_session(void *arg, uint64_t sid, const char *client, const char *principal,
                      uint32_t expiry_s, int64_t disconnected_ms, uint64_t first,
                      uint64_t last, uint64_t rows)
{
    (void)arg, (void)sid, (void)principal, (void)expiry_s, (void)disconnected_ms;
    (void)first, (void)last;
    rows_of[client[0] & 7] = rows;
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

TEST(who_leaves_a_group_gives_what_waits_to_the_others)
{
    const struct hub_store_visitor v = { .session = on_session,
                                         .subscription = on_sub,
                                         .retained = on_retained };

    for (unsigned qos = 1; qos <= 2; qos++) {
        struct sim_client from, a, b;
        struct sim_heard h;

        sim_begin(one_in_flight);
        from = sim_client_open(&(struct sim_login){ .id = "from" });
        a = sim_client_open(&(struct sim_login){ .id = "a", .keep = true });
        b = sim_client_open(&(struct sim_login){ .id = "b", .keep = true });
        sim_say_subscribe(&a, "$share/g/t", qos, 7);
        sim_say_subscribe(&b, "$share/g/t", qos, 7);
        sim_run();
        sim_client_break(&b);
        for (unsigned i = 1; i <= 5; i++)
            sim_say_publish(&from, "t", "x", qos, 0, i);
        sim_run();
        CHECK(sim_hear(&a, &h) && h.type == BT_MQTT_SUBACK);
        CHECK(sim_hear(&a, &h) && h.type == BT_MQTT_PUBLISH && !sim_hear(&a, &h));
        sim_say_unsubscribe(&a, "$share/g/t", 8);
        sim_run();
        CHECK(sim_hear(&a, &h) && h.type == BT_MQTT_UNSUBACK);
        CHECK_INT(hub_store_load(sim.hub->store, &v), 0);
        CHECK_INT(rows_of['a' & 7], 1);
        CHECK_INT(rows_of['b' & 7], 4);
        sim_end();
    }
}
