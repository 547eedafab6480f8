/* What the session's tests share: a session whose link is a recorder, on a worker without
 * a thread; store operations are read from the worker's batch. */
#ifndef TESTS_HUB_SESSION_UTIL_H
#define TESTS_HUB_SESSION_UTIL_H

#include <string.h>

#include "core/mem.h"
#include "hub/net/conn.h"
#include "hub/worker.h"
#include "tests/harness.h"

#define MAX_SENT 4096

struct sent {
    uint16_t pid;
    uint8_t qos;
    bool dup, retain;
    char payload[16];
};
#define UNUSED __attribute__((unused))

static struct sent sent[MAX_SENT];
static size_t n_sent;
static bool link_is_ready = true;

static struct hub_conf conf;
static struct hub hub;
static struct hub_worker worker;
static struct hub_link network;

UNUSED static bool fake_ready(struct hub_link *l)
{
    (void)l;
    return link_is_ready;
}
UNUSED static void fake_publish(struct hub_link *l, const struct hub_out *o)
{
    struct sent *s = &sent[n_sent++ % MAX_SENT];

    (void)l;
    *s =
        (struct sent){ .pid = o->pid, .qos = o->qos, .dup = o->dup, .retain = o->retain };
    memcpy(s->payload, o->pub->payload.ptr, BT_MIN(o->pub->payload.len, 15u));
}
struct said {
    enum bt_mqtt_type type;
    uint16_t pid;
    uint8_t reason;
};
static struct said said[64];
static size_t n_said;

UNUSED static void fake_acked(struct hub_link *l, enum bt_mqtt_type type, uint16_t pid,
                              uint64_t token, uint8_t reason)
{
    (void)l;
    (void)token;
    said[n_said++ % 64] = (struct said){ .type = type, .pid = pid, .reason = reason };
}
static void fake_resume(struct hub_link *l)
{
    (void)l;
}
static const struct hub_link_ops fake_ops = { .ready = fake_ready,
                                              .publish = fake_publish,
                                              .acked = fake_acked,
                                              .resume = fake_resume };

UNUSED static struct hub_session *setup(bool persistent, uint16_t window)
{
    static const char id[] = "client";
    struct hub_session *s;

    memset(&hub, 0, sizeof(hub));
    memset(&worker, 0, sizeof(worker));
    conf = (struct hub_conf){ .max_queued = 8, .max_packet = 65536 };
    hub.conf = &conf;
    hub.n_workers = 1;
    hub.workers[0] = &worker;
    hub.index = hub_index_new(1);
    worker.hub = &hub;
    worker.conf = &conf;
    worker.loop = bt_loop_new("test", false);
    worker.cache = hub_cache_new(hub.index);
    hub_batch_init(&worker.batch);
    bt_list_init(&worker.conns);
    network = (struct hub_link){ .ops = &fake_ops };
    n_sent = n_said = 0;
    link_is_ready = true;
    s = hub_session_new(&worker, (struct bt_slice){ (const uint8_t *)id, 6 }, 7);
    s->persistent = persistent;
    s->expiry_s = persistent ? UINT32_MAX : 0;
    hub_session_attach(s, &network, window);
    return s;
}

UNUSED static void teardown(void)
{
    for (uint32_t i = 0; i < worker.sessions.cap; i++)
        while (worker.sessions.by_id[i] != NULL)
            hub_session_free(worker.sessions.by_id[i]);
    bt_free(worker.sessions.by_id);
    bt_free(worker.sessions.by_sid);
    for (struct hub_op *op = worker.batch.head; op != NULL; op = op->next)
        op->ticket = NULL; /* gone with its session */
    hub_batch_discard(&worker.batch);
    hub_cache_free(worker.cache);
    hub_index_free(hub.index);
    bt_loop_free(worker.loop);
}

UNUSED static void deliver_as(struct hub_session *s, const char *payload, uint8_t qos,
                              uint8_t flags, struct hub_addr *origin)
{
    struct hub_target t = { .addr = s->addr, .qos = 2, .flags = flags };
    struct hub_pub pub = {
        .topic = { (const uint8_t *)"t", 1 },
        .payload = { (const uint8_t *)payload, strlen(payload) },
        .qos = qos,
        .origin = origin,
    };

    hub_session_deliver(s, &pub, &t, NULL);
    hub_pub_deinit(&pub);
}

UNUSED static void deliver(struct hub_session *s, const char *payload)
{
    deliver_as(s, payload, 1, 0, NULL);
}

UNUSED static size_t count_ops(enum hub_op_kind kind)
{
    size_t n = 0;

    for (const struct hub_op *op = worker.batch.head; op != NULL; op = op->next)
        n += op->kind == kind;
    return n;
}

UNUSED static struct hub_op *last_op(enum hub_op_kind kind)
{
    struct hub_op *found = NULL;

    for (struct hub_op *op = worker.batch.head; op != NULL; op = op->next)
        if (op->kind == kind)
            found = op;
    return found;
}

/* What the store would answer to the last read: rows first..last. */
UNUSED static void answer_read(struct hub_session *s, uint64_t first, uint64_t last,
                               bool more)
{
    struct hub_store_rows *rows = bt_calloc(1, sizeof(*rows));
    struct hub_qentry **at = &rows->head;

    for (uint64_t q = first; q <= last; q++) {
        char text[16];
        struct hub_pub pub = { .topic = { (const uint8_t *)"t", 1 }, .qos = 1 };
        struct hub_msg *m;

        pub.payload =
            (struct bt_slice){ (const uint8_t *)text,
                               (size_t)snprintf(text, sizeof(text), "m%u", (unsigned)q) };
        m = hub_msg_new(&pub);
        *at = hub_qentry_new(m, q);
        (*at)->qos = 1;
        (*at)->committed = true;
        atomic_store(&(*at)->state, HUB_Q_STORED);
        hub_msg_unref(m);
        at = &(*at)->next;
        rows->n++;
    }
    rows->more = more;
    hub_session_rows(s, rows);
}

/* What the store does with all that waits: a commit, or the end of everything. */
UNUSED static void commit(bool ok)
{
    while (worker.batch.head != NULL) {
        struct hub_op *op = worker.batch.head;
        struct hub_ticket *t = op->ticket;
        uint32_t fresh = HUB_Q_NEW;

        worker.batch.head = op->next;
        if (worker.batch.head == NULL)
            hub_batch_init(&worker.batch);
        if (op->kind == HUB_OP_ENQUEUE && ok)
            atomic_compare_exchange_strong(&op->entry->state, &fresh, HUB_Q_STORED);
        if (t != NULL && !ok)
            atomic_store(&t->failed, true);
        if (t != NULL && atomic_fetch_sub(&t->pending, 1) == 1)
            hub_session_published(bt_container_of(t, struct hub_unacked, ticket));
        if (ok && op->reply_kind == HUB_W_DONE)
            hub_session_committed(hub_worker_find_sid(&worker, op->sid), op);
        hub_op_free(op);
    }
    hub_batch_init(&worker.batch);
}

#endif
