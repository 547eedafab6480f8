/* Gathering: one chain, whoever is last; and what a session does with entries that reach
 * the store behind later ones. */
#include "hub/session/gather.c"

#include "tests/hub/session_util.h"

static struct hub_batch batch;
static struct hub_ticket ticket;

static struct hub_gather *begin(void)
{
    hub_batch_init(&batch);
    ticket = (struct hub_ticket){ .pending = 1 };
    return hub_gather_new(&ticket, 7, 5);
}

static void add(struct hub_gather *g, uint64_t qseq)
{
    struct hub_op *op = hub_op_new(HUB_OP_ENQUEUE, 8);

    op->qseq = qseq;
    op->ticket = &ticket;
    atomic_fetch_add(&ticket.pending, 1);
    hub_gather_add(g, op);
}

TEST(the_last_one_submits_all_tied)
{
    struct hub_gather *g = begin();
    const struct hub_op *op;

    hub_gather_hold(g);
    add(g, 1);
    hub_gather_done(g, &batch);
    CHECK_INT(batch.n, 0);
    add(g, 2);
    hub_gather_done(g, &batch);
    CHECK_INT(batch.n, 3);
    CHECK_INT(atomic_load(&ticket.pending), 4);
    op = batch.head;
    CHECK(op->tied && op->next->tied && !op->next->next->tied);
    op = op->next->next;
    CHECK_INT(op->kind, HUB_OP_INCOMING_PUT);
    CHECK_INT(op->sid, 7);
    CHECK_INT(op->u32, 5);
    CHECK(op->ticket == &ticket);
    CHECK(g->stored);
    hub_batch_discard(&batch);
    CHECK_INT(atomic_load(&ticket.pending), 1);
    hub_gather_free(g);
}

TEST(without_an_entry_nothing_is_stored)
{
    struct hub_gather *g = begin();

    hub_gather_done(g, &batch);
    CHECK_INT(batch.n, 0);
    CHECK(!g->stored);
    CHECK_INT(atomic_load(&ticket.pending), 1);
    hub_gather_free(g);
}

TEST(a_lost_part_loses_all_of_it)
{
    struct hub_gather *g = begin();

    hub_gather_hold(g);
    add(g, 1);
    atomic_store(&g->broken, true);
    hub_gather_done(g, &batch);
    hub_gather_done(g, &batch);
    CHECK_INT(batch.n, 0);
    CHECK(ticket.failed);
    CHECK_INT(atomic_load(&ticket.pending), 1);
    hub_gather_free(g);
}

TEST(without_memory_there_is_no_gather)
{
    for (unsigned long nth = 1; nth <= 2; nth++) {
        bt_mem_fail_once(nth);
        CHECK(begin() == NULL);
        CHECK(bt_mem_fail_once(0));
        CHECK(ticket.gather == NULL);
    }
}

/* ---- the receiving session ---- */

static void deliver_gathered(struct hub_session *s, struct hub_gather *g)
{
    struct hub_target t = { .addr = s->addr, .qos = 2 };
    struct hub_pub pub = { .topic = { (const uint8_t *)"t", 1 }, .qos = 2 };

    hub_session_deliver(s, &pub, &t, g->ticket);
    hub_pub_deinit(&pub);
}

/* The store had the chain. */
static void store_chain(struct hub_session *s, struct hub_gather *g)
{
    hub_gather_done(g, &batch);
    while (batch.head != NULL) {
        struct hub_op *op = batch.head;

        batch.head = op->next;
        if (op->entry != NULL)
            atomic_store(&op->entry->state, HUB_Q_STORED);
        if (op->reply_kind == HUB_W_DONE)
            hub_session_committed(s, op);
        hub_op_free(op);
    }
    hub_batch_init(&batch);
}

TEST(a_read_does_not_jump_over_what_is_gathered)
{
    struct hub_session *s = setup(true, 9);
    struct hub_gather *g = begin();

    hub_session_detach(s, false);
    deliver(s, "m1");
    deliver_gathered(s, g);
    deliver(s, "m3");
    hub_session_attach(s, &network, 9);
    hub_session_resume(s);
    CHECK_INT(count_ops(HUB_OP_READ), 1);
    answer_read(s, 3, 3, false); /* the first is acknowledged long ago, say */
    CHECK_INT(n_sent, 0);
    CHECK_INT(s->disk_from, 2);
    CHECK_INT(count_ops(HUB_OP_READ), 1); /* there is nothing to read yet */
    store_chain(s, g);
    CHECK(s->held == NULL);
    CHECK_INT(count_ops(HUB_OP_READ), 2);
    answer_read(s, 2, 3, false);
    CHECK_INT(n_sent, 2);
    CHECK_STR(sent[0].payload, "m2");
    CHECK(!s->on_disk);
    hub_gather_free(g);
    teardown();
}

TEST(several_gathers_may_end_in_any_order)
{
    struct hub_session *s = setup(true, 9);
    struct hub_gather *first = begin(), *second = begin();

    first->ticket = second->ticket = &ticket;
    ticket.gather = first;
    deliver_gathered(s, first);
    ticket.gather = second;
    deliver_gathered(s, second);
    CHECK_INT(n_sent, 0);
    store_chain(s, second);
    CHECK_INT(n_sent, 0);
    CHECK(s->held != NULL);
    store_chain(s, first);
    CHECK_INT(n_sent, 2);
    CHECK(s->held == NULL);
    hub_gather_free(first);
    hub_gather_free(second);
    teardown();
}

TEST(a_session_that_ends_leaves_no_row)
{
    struct hub_session *s = setup(true, 9);
    struct hub_gather *g = begin();

    deliver_gathered(s, g);
    deliver_gathered(s, g);
    hub_session_end(s);
    hub_gather_done(g, &batch);
    CHECK_INT(batch.n, 3);
    CHECK_INT(atomic_load(&batch.head->entry->state), HUB_Q_DROPPED);
    CHECK_INT(atomic_load(&batch.head->next->entry->state), HUB_Q_DROPPED);
    hub_batch_discard(&batch);
    hub_gather_free(g);
    teardown();
}

static void join(struct hub_session *s)
{
    struct bt_mqtt_sub sub = { .filter = { (const uint8_t *)"$share/g/t", 10 },
                               .qos = 2 };

    CHECK(hub_session_subscribe(s, &sub, 0, NULL) >= 0);
}

TEST(a_member_that_ends_passes_on_what_is_gathered)
{
    struct hub_session *s = setup(true, 9), *other;
    struct hub_gather *g = begin();
    struct hub_target t = { .addr = s->addr, .qos = 2 };
    struct hub_pub pub = { .topic = { (const uint8_t *)"t", 1 }, .qos = 2 };

    other = hub_session_new(&worker, (struct bt_slice){ (const uint8_t *)"other", 5 }, 8);
    other->persistent = other->stored = s->stored = true;
    join(s);
    join(other);
    hub_session_detach(s, false);
    commit(true);
    t.share = hub_match_share_id((struct bt_slice){ (const uint8_t *)"$share/g/t", 10 });
    hub_session_deliver(s, &pub, &t, g->ticket);
    hub_pub_deinit(&pub);
    hub_session_end(s);
    CHECK_INT(count_ops(HUB_OP_ENQUEUE), 1);
    CHECK_INT(last_op(HUB_OP_ENQUEUE)->sid, 8);
    hub_gather_done(g, &batch);
    CHECK_INT(atomic_load(&batch.head->entry->state), HUB_Q_DROPPED);
    hub_batch_discard(&batch);
    hub_gather_free(g);
    teardown();
}
