/* Wills: when they go out, when they do not, what the store is told. */
#include "hub/session/will.c"

#include "core/clock.h"
#include "tests/harness.h"

static struct hub_conf conf;
static struct hub hub;
static struct hub_worker worker;
static struct hub_auth *auth;
static struct hub_session *session;

static void setup(bool persistent)
{
    memset(&hub, 0, sizeof(hub));
    memset(&worker, 0, sizeof(worker));
    conf = (struct hub_conf){ .max_queued = 8, .max_packet = 65536, .anonymous = true };
    hub.conf = &conf;
    hub.n_workers = 1;
    hub.workers[0] = &worker;
    hub.index = hub_index_new(1);
    hub.retain = hub_retain_new();
    CHECK_INT(hub_auth_new(&conf, true, NULL, &auth), 0);
    worker.hub = &hub;
    worker.conf = &conf;
    worker.loop = bt_loop_new("test", false);
    worker.cache = hub_cache_new(hub.index);
    hub_batch_init(&worker.batch);
    session = hub_session_new(&worker, bt_slice_of("client"), 7);
    session->persistent = persistent;
    session->expiry_s = persistent ? 100 : 0;
    session->principal = hub_auth_internal(auth);
}

static void teardown(void)
{
    for (uint32_t i = 0; i < worker.sessions.cap; i++)
        while (worker.sessions.by_id[i] != NULL)
            hub_session_free(worker.sessions.by_id[i]);
    bt_free(worker.sessions.by_id);
    bt_free(worker.sessions.by_sid);
    hub_batch_discard(&worker.batch);
    hub_cache_free(worker.cache);
    hub_index_free(hub.index);
    hub_retain_free(hub.retain);
    hub_auth_free(auth);
    bt_timer_stop(worker.loop, &worker.tick);
    bt_loop_free(worker.loop);
}

static size_t count_ops(enum hub_op_kind kind)
{
    size_t n = 0;

    for (const struct hub_op *op = worker.batch.head; op != NULL; op = op->next)
        n += op->kind == kind;
    return n;
}

/* A retained will shows itself in the retained tree. */
static void set(uint32_t delay_s, uint32_t expiry_s)
{
    struct bt_mqtt_will will = { .present = true, .retain = true };

    will.topic = bt_slice_of("w");
    will.payload = bt_slice_of("gone");
    will.props.will_delay = delay_s;
    will.props.message_expiry = expiry_s;
    if (expiry_s != 0)
        will.props.present |= 1u << BT_MQTT_P_MESSAGE_EXPIRY;
    CHECK_INT(hub_will_set(session, &will), 0);
}

static size_t published(void)
{
    return hub_retain_count(hub.retain);
}

TEST(without_delay_it_goes_at_once)
{
    setup(false);
    set(0, 0);
    CHECK_INT(published(), 0);
    hub_will_lost(session);
    CHECK_INT(published(), 1);
    CHECK(session->will == NULL);
    CHECK_INT(count_ops(HUB_OP_WILL_PUT) + count_ops(HUB_OP_WILL_DEL), 0);
    hub_will_publish(session);
    teardown();
}

TEST(with_delay_it_waits)
{
    uint64_t now;

    setup(true);
    now = bt_loop_ms(worker.loop);
    set(5, 0);
    CHECK_INT(count_ops(HUB_OP_WILL_PUT), 1);
    CHECK(!hub_will_check(session, now + 100000)); /* connected */
    bt_timer_init(&worker.tick, NULL);
    hub_will_lost(session);
    CHECK_INT(published(), 0);
    CHECK(hub_will_check(session, now + 4999));
    CHECK(!hub_will_check(session, now + 5000));
    CHECK_INT(published(), 1);
    CHECK_INT(count_ops(HUB_OP_WILL_DEL), 1);
    CHECK_INT(worker.batch.head->kind, HUB_OP_WILL_PUT);
    teardown();
}

TEST(a_goodbye_or_a_new_connection_takes_it_away)
{
    static const struct bt_mqtt_will none = { .present = false };

    setup(true);
    set(0, 0);
    hub_will_cancel(session);
    CHECK_INT(count_ops(HUB_OP_WILL_DEL), 1);
    set(0, 0);
    CHECK_INT(hub_will_set(session, &none), 0);
    CHECK(session->will == NULL);
    CHECK_INT(count_ops(HUB_OP_WILL_DEL), 2);
    hub_will_lost(session);
    CHECK_INT(published(), 0);
    teardown();
}

TEST(the_end_of_the_session_publishes_it)
{
    setup(true);
    set(1000, 0);
    session->stored = true;
    hub_session_end(session);
    CHECK_INT(published(), 1);
    CHECK_INT(count_ops(HUB_OP_WILL_DEL), 1);
    CHECK_INT(count_ops(HUB_OP_SESSION_DEL), 1);
    teardown();
}

TEST(its_expiry_counts_from_its_publication)
{
    struct hub_retain_set found = { 0 };

    setup(false);
    bt_clock_fake_start(0, 1000000);
    set(0, 10);
    bt_clock_fake_advance(60000000);
    hub_will_lost(session);
    CHECK_INT(hub_retain_match(hub.retain, bt_slice_of("w"), bt_clock_wall_ms(), &found),
              0);
    CHECK_INT(found.n, 1);
    CHECK_INT(found.items[0]->expires_ms, 1000000 + 70000);
    hub_retain_set_deinit(&found);
    bt_clock_fake_stop();
    teardown();
}

TEST(restored_its_delay_begins_again)
{
    struct hub_pub pub = { .topic = bt_slice_of("w"),
                           .payload = bt_slice_of("m"),
                           .retain = 1 };
    uint64_t now;

    setup(true);
    now = bt_loop_ms(worker.loop);
    CHECK_INT(hub_will_restore(session, hub_msg_new(&pub), 3, 0), 0);
    CHECK(hub_will_check(session, now + 2999));
    CHECK(!hub_will_check(session, now + 3001));
    CHECK_INT(published(), 1);
    CHECK_INT(count_ops(HUB_OP_WILL_DEL), 1);
    teardown();
}

TEST(no_memory_for_a_will)
{
    struct bt_mqtt_will will = { .present = true };

    setup(false);
    will.topic = bt_slice_of("w");
    for (unsigned long n = 1; n <= 2; n++) {
        bt_mem_fail_from(n);
        CHECK_INT(hub_will_set(session, &will), BT_ENOMEM);
        bt_mem_fail_from(0);
        CHECK(session->will == NULL);
    }
    teardown();
}
