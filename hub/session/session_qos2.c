/* Sessions: QoS 2 in both directions (MQTT 5.0 §4.3.3).
 *
 * To the client: PUBLISH -> PUBREC: the message is let go of, only its identifier stays
 * -> PUBREL -> PUBCOMP: gone. The entry keeps its place in flight all the time.
 *
 * From the client: PUBLISH puts the identifier into the session's set and routes the
 * message; while it is there a further PUBLISH of it is a repetition and only answered.
 * PUBREL takes it out. An answer that is due while its PUBLISH has not come by the
 * present connection waits for that PUBLISH: the client does not expect it before.
 *
 * Of a session that persists each step is on disk before the packet that tells the peer:
 * the entry before PUBLISH, its release before PUBREL; the message with the identifier
 * before PUBREC, the end of the identifier before PUBCOMP. The store posts those
 * operations back. Failure mode: without memory for an operation the
 * connection is closed, and the client says it again when it next connects. */
#include "core/error.h"
#include "core/mem.h"
#include "hub/session/session.h"
#include "hub/worker.h"

static void tell(struct hub_session *s, enum bt_mqtt_type type, uint16_t pid,
                 uint8_t reason)
{
    if (s->link != NULL)
        s->link->ops->acked(s->link, type, pid, 0, reason);
}

/* An operation that comes back after its commit; the caller fills it in. */
static struct hub_op *ask(struct hub_session *s, enum hub_op_kind kind)
{
    struct hub_op *op = hub_op_new(kind, s->sid);

    if (op == NULL)
        return NULL;
    op->reply = s->worker->mbox;
    op->reply_kind = HUB_W_DONE;
    hub_batch_add(&s->worker->batch, op);
    return op;
}

/* ---- To the client ---- */

static void released(struct hub_session *s, struct hub_qentry *e)
{
    /* Whether this connection has come to it yet. */
    bool sent = s->waiting == NULL || e->qseq < s->waiting->qseq;

    e->phase = HUB_Q_RELEASED;
    if (sent)
        tell(s, BT_MQTT_PUBREL, hub_qseq_pid(e->qseq), BT_MQTT_SUCCESS);
}

int hub_session_release(struct hub_session *s, struct hub_qentry *e)
{
    if (s->persistent) {
        struct hub_op *op = ask(s, HUB_OP_RELEASE);

        if (op == NULL)
            return BT_MQTT_QUOTA;
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
        op->entry = e;
        op->qseq = e->qseq;
        e->phase = HUB_Q_RELEASING;
    }
    hub_msg_unref(bt_steal(e->msg));
    if (e->phase == HUB_Q_PUBLISH)
        released(s, e);
    return 0;
}

int hub_session_pubrec(struct hub_session *s, uint16_t pid, uint8_t reason)
{
    struct hub_qentry *e = hub_session_inflight(s, pid);

    if (e == NULL || e->qos != 2) {
        if (reason < 0x80)
            tell(s, BT_MQTT_PUBREL, pid, BT_MQTT_PID_NOT_FOUND);
        return 0;
    }
    if (reason >= 0x80 && e->phase != HUB_Q_RELEASING)
        hub_session_complete(s, e);
    else if (e->phase == HUB_Q_PUBLISH)
        return hub_session_release(s, e);
    else if (e->phase == HUB_Q_RELEASED)
        tell(s, BT_MQTT_PUBREL, pid, BT_MQTT_SUCCESS);
    return 0;
}

bool hub_session_pubcomp(struct hub_session *s, uint16_t pid)
{
    struct hub_qentry *e = hub_session_inflight(s, pid);

    if (e == NULL || e->phase != HUB_Q_RELEASED)
        return false;
    hub_session_complete(s, e);
    return true;
}

/* ---- From the client ---- */

bool hub_session_repeated(struct hub_session *s, uint16_t pid)
{
    uint8_t *flags = hub_incoming_find(s->incoming, pid);

    if (flags == NULL)
        return false;
    if ((*flags & HUB_IN_OLD) != 0) {
        *flags &= (uint8_t)~HUB_IN_OLD;
        s->n_owed++;
    }
    if ((*flags & HUB_IN_ANSWERED) != 0)
        tell(s, BT_MQTT_PUBREC, pid, BT_MQTT_SUCCESS);
    return true;
}

static void forget(struct hub_session *s, uint16_t pid, uint8_t flags)
{
    if ((flags & HUB_IN_OLD) == 0)
        s->n_owed--;
    hub_incoming_remove(&s->incoming, pid);
}

/* A row that is left would make a later message a repetition. */
static void forget_row(struct hub_session *s, uint16_t pid)
{
    struct hub_op *op = hub_op_new(HUB_OP_INCOMING_DEL, s->sid);

    if (op == NULL)
        return;
    op->u32 = pid;
    hub_batch_add(&s->worker->batch, op);
}

void hub_session_incoming_done(struct hub_session *s, uint16_t pid, uint8_t reason,
                               bool stored)
{
    uint8_t *at = hub_incoming_find(s->incoming, pid), flags;

    if (at == NULL)
        return;
    flags = *at;
    if (reason < 0x80) {
        *at |= HUB_IN_ANSWERED | (stored ? HUB_IN_STORED : 0);
    } else {
        forget(s, pid, flags); /* sent again it is a new message */
        if (stored)
            forget_row(s, pid);
    }
    if ((flags & HUB_IN_OLD) == 0)
        tell(s, BT_MQTT_PUBREC, pid, reason);
}

int hub_session_pubrel(struct hub_session *s, uint16_t pid)
{
    uint8_t *flags = hub_incoming_find(s->incoming, pid);
    struct hub_op *op;

    if (flags == NULL || (*flags & HUB_IN_ANSWERED) == 0) {
        tell(s, BT_MQTT_PUBCOMP, pid, BT_MQTT_PID_NOT_FOUND);
        return 0;
    }
    if ((*flags & HUB_IN_STORED) == 0) {
        forget(s, pid, *flags);
        tell(s, BT_MQTT_PUBCOMP, pid, BT_MQTT_SUCCESS);
        return 0;
    }
    /* As long as the row may come back the client must not use the identifier again. */
    op = ask(s, HUB_OP_INCOMING_DEL);
    if (op == NULL)
        return BT_MQTT_QUOTA;
    op->u32 = pid;
    op->u32b = (uint32_t)s->link_serial;
    *flags |= HUB_IN_CLOSING;
    return 0;
}

static void closed(struct hub_session *s, uint16_t pid, uint32_t serial)
{
    const uint8_t *flags = hub_incoming_find(s->incoming, pid);

    if (flags != NULL && (*flags & HUB_IN_CLOSING) != 0)
        forget(s, pid, *flags);
    /* PUBREL of an earlier connection: the client says it again, and is answered then. */
    if (serial == (uint32_t)s->link_serial)
        tell(s, BT_MQTT_PUBCOMP, pid, BT_MQTT_SUCCESS);
}

int hub_session_incoming_restore(struct hub_session *s, uint16_t pid)
{
    if (hub_incoming_find(s->incoming, pid) != NULL)
        return 0;
    return hub_incoming_add(&s->incoming, pid,
                            HUB_IN_ANSWERED | HUB_IN_STORED | HUB_IN_OLD);
}

bool hub_session_over_quota(struct hub_session *s, uint8_t qos, uint16_t pid)
{
    const uint8_t *flags;

    if (qos == 0 || s->n_owed < HUB_MAX_UNACKED)
        return false;
    flags = qos == 2 ? hub_incoming_find(s->incoming, pid) : NULL;
    return flags == NULL || (*flags & HUB_IN_OLD) != 0;
}

/* ---- From the store ---- */

void hub_session_committed(struct hub_session *s, struct hub_op *op)
{
    if (op->kind == HUB_OP_RELEASE)
        released(s, op->entry);
    else if (op->kind == HUB_OP_INCOMING_DEL)
        closed(s, (uint16_t)op->u32, op->u32b);
    else
        hub_session_stored(s, op->entry, op->refused);
}
