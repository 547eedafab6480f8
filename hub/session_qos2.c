/* Sessions: QoS 2 in both directions (MQTT 5.0 §4.3.3).
 *
 * To the client: PUBLISH -> PUBREC: the message is let go of, only its identifier stays
 * -> PUBREL -> PUBCOMP: gone. The entry keeps its place in flight all the time.
 *
 * From the client: PUBLISH puts the identifier into the session's set and routes the
 * message; while it is there a further PUBLISH of it is a repetition and only answered.
 * PUBREL takes it out. An answer that is due while its PUBLISH has not come by the
 * present connection waits for that PUBLISH: the client does not expect it before. */
#include "core/error.h"
#include "core/mem.h"
#include "hub/session.h"
#include "hub/worker.h"

static void tell(struct hub_session *s, enum bt_mqtt_type type, uint16_t pid,
                 uint8_t reason)
{
    if (s->link != NULL)
        s->link->ops->acked(s->link, type, pid, 0, reason);
}

/* ---- To the client ---- */

static void release(struct hub_session *s, struct hub_qentry *e)
{
    hub_msg_unref(bt_steal(e->msg));
    e->phase = HUB_Q_RELEASED;
    tell(s, BT_MQTT_PUBREL, hub_qseq_pid(e->qseq), BT_MQTT_SUCCESS);
}

void hub_session_pubrec(struct hub_session *s, uint16_t pid, uint8_t reason)
{
    struct hub_qentry *e = hub_session_inflight(s, pid);

    if (e == NULL || e->qos != 2) {
        if (reason < 0x80)
            tell(s, BT_MQTT_PUBREL, pid, BT_MQTT_PID_NOT_FOUND);
        return;
    }
    if (reason >= 0x80 && e->phase != HUB_Q_RELEASING)
        hub_session_complete(s, e);
    else if (e->phase == HUB_Q_PUBLISH)
        release(s, e);
    else if (e->phase == HUB_Q_RELEASED)
        tell(s, BT_MQTT_PUBREL, pid, BT_MQTT_SUCCESS);
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

void hub_session_incoming_done(struct hub_session *s, uint16_t pid, uint8_t reason)
{
    uint8_t *at = hub_incoming_find(s->incoming, pid), flags;

    if (at == NULL)
        return;
    flags = *at;
    if (reason < 0x80)
        *at |= HUB_IN_ANSWERED;
    else
        forget(s, pid, flags); /* sent again it is a new message */
    if ((flags & HUB_IN_OLD) == 0)
        tell(s, BT_MQTT_PUBREC, pid, reason);
}

void hub_session_pubrel(struct hub_session *s, uint16_t pid)
{
    const uint8_t *flags = hub_incoming_find(s->incoming, pid);

    if (flags == NULL || (*flags & HUB_IN_ANSWERED) == 0) {
        tell(s, BT_MQTT_PUBCOMP, pid, BT_MQTT_PID_NOT_FOUND);
        return;
    }
    forget(s, pid, *flags);
    tell(s, BT_MQTT_PUBCOMP, pid, BT_MQTT_SUCCESS);
}

bool hub_session_over_quota(struct hub_session *s, uint8_t qos, uint16_t pid)
{
    const uint8_t *flags;

    if (qos == 0 || s->n_owed < HUB_MAX_UNACKED)
        return false;
    flags = qos == 2 ? hub_incoming_find(s->incoming, pid) : NULL;
    return flags == NULL || (*flags & HUB_IN_OLD) != 0;
}
