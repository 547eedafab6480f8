/* Sessions: what this client publishes, and the order of its acknowledgements. A publish
 * that must be stored gets a ticket; its PUBACK or PUBREC leaves after the commit. One
 * that needs no commit is acknowledged at once, unless an earlier one still waits (MQTT
 * 5.0 §4.6). What an earlier connection published is not acknowledged to this one: the
 * client sends it again and expects one answer.
 *
 * Failure modes: when the commit cannot be made, or memory is out, version 5 is told
 * "quota exceeded"; version 3.1.1 knows no such answer, so its connection is closed and
 * the client sends again by the next one. */
#include "core/error.h"
#include "core/mem.h"
#include "hub/observe/recorder.h"
#include "hub/session/gather.h"
#include "hub/session/session.h"
#include "hub/worker.h"

/* Sent by this link or an earlier one: with a smaller window it may not have been sent
 * again yet. */
static struct hub_qentry *find_input(const struct hub_session *s, uint64_t qseq)
{
    struct hub_qentry *e = s->head;

    while (e != NULL && e->sent && e->qseq < qseq)
        e = e->next;
    return e != NULL && e->sent && e->qseq == qseq ? e : NULL;
}

/* What this is the result of is done with, too, unless the result was refused. */
static void settle(struct hub_session *s, const struct hub_unacked *u)
{
    struct hub_qentry *e = find_input(s, u->input);

    if (e == NULL)
        return;
    e->answering = false;
    if (u->reason >= 0x80)
        return;
    if (u->ticket.gather != NULL && u->ticket.gather->stored)
        atomic_store(&e->state, HUB_Q_DROPPED); /* its row went with the commit */
    hub_session_complete(s, e);
}

/* Acknowledge a publish. incoming: QoS 2 and known by its identifier. */
static void answer(struct hub_session *s, const struct hub_unacked *u)
{
    if (u->input != 0)
        settle(s, u);
    if (u->incoming) {
        bool stored = u->ticket.gather != NULL && u->ticket.gather->stored;

        hub_session_incoming_done(s, u->pid, u->reason, stored);
        return;
    }
    if (s->link != NULL && !u->stale)
        s->link->ops->acked(s->link, u->qos == 2 ? BT_MQTT_PUBREC : BT_MQTT_PUBACK,
                            u->pid, u->token, u->reason);
}

void hub_unacked_free(struct hub_unacked *u)
{
    hub_gather_free(u->ticket.gather);
    bt_free(u);
}

/* Acknowledge, in order, every finished publish at the head. */
static void drain(struct hub_session *s)
{
    bool was_full = s->n_unacked >= HUB_MAX_UNACKED;

    while (s->unacked != NULL && s->unacked->done) {
        struct hub_unacked *u = s->unacked;

        s->unacked = u->next;
        if (s->unacked == NULL)
            s->unacked_tail = NULL;
        s->n_unacked--;
        if (!u->incoming && !u->stale)
            s->n_owed--;
        answer(s, u);
        hub_unacked_free(u);
    }
    if ((was_full || s->unacked == NULL) && s->n_unacked < HUB_MAX_UNACKED &&
        s->link != NULL)
        s->link->ops->resume(s->link); /* paused by a limit, or for lack of memory */
}

/* What is stored of it goes together: with its identifier, or with the removal of what it
 * is the result of. */
static bool begin_gather(struct hub_session *s, struct hub_unacked *u,
                         const struct hub_unacked *like)
{
    struct hub_op *op;

    if (like->input == 0)
        return hub_gather_new(&u->ticket, s->sid, like->pid) != NULL;
    op = hub_op_new(HUB_OP_DEQUEUE, s->sid);
    if (op == NULL)
        return false;
    op->qseq = like->input;
    if (hub_gather_with(&u->ticket, op) != NULL)
        return true;
    hub_op_free(op);
    return false;
}

/* The publish as it waits; a copy of what is known about it. */
static struct hub_unacked *new_unacked(struct hub_session *s,
                                       const struct hub_unacked *like, bool gather)
{
    struct hub_unacked *u = bt_calloc(1, sizeof(*u));

    if (u == NULL)
        return NULL;
    if (gather && !begin_gather(s, u, like)) {
        bt_free(u);
        return NULL;
    }
    u->ticket.msg.kind = HUB_W_PUBLISHED;
    u->ticket.to = s->worker->mbox;
    atomic_init(&u->ticket.pending, 1);
    u->addr = hub_addr_ref(s->addr);
    u->pid = like->pid;
    u->token = like->token;
    u->qos = like->qos;
    u->input = like->input;
    u->incoming = like->incoming;
    if (s->unacked_tail != NULL)
        s->unacked_tail->next = u;
    else
        s->unacked = u;
    s->unacked_tail = u;
    s->n_unacked++;
    if (!u->incoming)
        s->n_owed++;
    return u;
}

static void finish(struct hub_session *s, struct hub_unacked *u, uint8_t reason)
{
    u->done = true;
    u->reason = reason;
    hub_addr_unref(u->addr);
    u->addr = NULL;
    drain(s);
}

/* Remember the identifier of a QoS 2 publish. false: out of memory. */
static bool enter(struct hub_session *s, struct hub_unacked *u)
{
    u->incoming = hub_incoming_add(&s->incoming, u->pid, 0) == 0;
    s->n_owed += u->incoming;
    return u->incoming;
}

/* Returns the reason to acknowledge with. */
static inline uint8_t route(struct hub_session *s, struct hub_pub *pub,
                            struct hub_ticket *ticket)
{
    uint32_t n = hub_route(s->worker, pub, ticket);

    if (bt_unlikely(n == 0 || s->traced))
        hub_record_text(s, n == 0 ? HUB_EV_NOBODY : HUB_EV_ROUTED, n, pub->topic);
    return n > 0 || s->worker->conf->rules.n > 0 ? BT_MQTT_SUCCESS
                                                 : BT_MQTT_NO_MATCHING_SUBSCRIBERS;
}

/* This worker's part is done. */
static void routed(struct hub_session *s, struct hub_unacked *u)
{
    if (u->ticket.gather != NULL)
        hub_gather_done(u->ticket.gather, &s->worker->batch);
    hub_ticket_done(&u->ticket, true);
}

/* once: it must not be stored without what it makes unnecessary. */
static void publish(struct hub_session *s, struct hub_pub *pub, struct hub_unacked *now,
                    bool once)
{
    struct hub_unacked *u = NULL;
    bool store = now->reason == 0 && hub_route_must_store(s->worker, pub);

    if (store || s->unacked != NULL) {
        u = new_unacked(s, now, store && (now->incoming || once) && s->persistent);
        if (u == NULL) {
            now->reason = BT_MQTT_QUOTA;
            answer(s, now);
            return;
        }
    }
    if (now->reason == 0)
        now->reason = route(s, pub, store ? &u->ticket : NULL);
    if (u != NULL)
        u->reason = now->reason;
    if (u == NULL)
        answer(s, now);
    else if (store)
        routed(s, u);
    else
        finish(s, u, now->reason);
}

void hub_session_publish(struct hub_session *s, struct hub_pub *pub, uint16_t pid,
                         uint64_t token, uint8_t refused)
{
    if (pub->qos > 0) {
        struct hub_unacked now = {
            .pid = pid, .token = token, .qos = pub->qos, .reason = refused
        };

        if (pub->qos == 2 && hub_session_repeated(s, pid))
            return;
        if (pub->qos == 2 && refused == 0 && !enter(s, &now))
            now.reason = BT_MQTT_QUOTA;
        publish(s, pub, &now, false);
    } else if (refused == 0) {
        (void)route(s, pub, NULL);
    }
}

void hub_session_publish_local(struct hub_session *s, struct hub_pub *pub, uint64_t input,
                               uint64_t token, uint8_t refused)
{
    struct hub_unacked now = {
        .token = token, .qos = pub->qos, .input = input, .reason = refused
    };
    struct hub_qentry *e = input == 0 ? NULL : find_input(s, input);

    if (input != 0 && e == NULL) {
        now.input = 0; /* an earlier result is safe */
        answer(s, &now);
    } else if (e != NULL && e->answering) {
        now.input = 0;
        now.reason = BT_MQTT_PID_IN_USE;
        answer(s, &now);
    } else {
        if (e != NULL)
            e->answering = true;
        publish(s, pub, &now, e != NULL && e->qos == 2);
    }
}

void hub_session_published(struct hub_unacked *u)
{
    struct hub_session *s = u->addr->session;
    bool failed = atomic_load(&u->ticket.failed);

    if (u->orphan || s == NULL) {
        hub_addr_unref(u->addr);
        hub_unacked_free(u);
        return;
    }
    if (failed)
        hub_refused(s, HUB_REFUSED_PUBLISH, (struct bt_slice){ NULL, 0 }, BT_MQTT_QUOTA);
    finish(s, u, failed ? BT_MQTT_QUOTA : u->reason);
}
