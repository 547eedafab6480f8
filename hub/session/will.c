/* Wills. A will is made at CONNECT and waits as a message block. When the connection is
 * lost it is published at once, or it is given a time, which the worker's tick looks at;
 * a client that comes back before that takes it away. The end of the session publishes
 * what is left.
 *
 * The will of a session that persists is in the store too, from CONNECT until it is
 * published or discarded, so that a hub that is killed still owes it: at the next start
 * its delay begins. Wills of other sessions never touch the disk.
 *
 * Failure modes: out of memory at CONNECT refuses the client; a will whose row could not
 * be queued works as long as the hub runs. */
#include "hub/session/will.h"

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/access/reply_guard.h"
#include "hub/protocol/props.h"
#include "hub/session/quota.h"
#include "hub/worker.h"

void hub_will_free(struct hub_session *s)
{
    if (s->will == NULL)
        return;
    hub_msg_unref(s->will->msg);
    bt_free(s->will);
    s->will = NULL;
}

static void forget_row(struct hub_session *s)
{
    struct hub_op *op = s->will->stored ? hub_op_new(HUB_OP_WILL_DEL, s->sid) : NULL;

    if (op != NULL)
        hub_batch_add(&s->worker->batch, op);
}

void hub_will_cancel(struct hub_session *s)
{
    if (s->will == NULL)
        return;
    forget_row(s);
    hub_will_free(s);
}

static void put_row(struct hub_session *s)
{
    struct hub_op *op = hub_op_new(HUB_OP_WILL_PUT, s->sid);

    if (op == NULL)
        return;
    op->retained = hub_msg_ref(s->will->msg);
    op->u32 = s->will->delay_s;
    op->u32b = s->will->expiry_s;
    s->will->stored = true;
    hub_batch_add(&s->worker->batch, op);
}

int hub_will_set(struct hub_session *s, const struct bt_mqtt_will *will)
{
    struct bt_buf filtered = { 0 };
    struct hub_pub pub = {
        .topic = will->topic,
        .payload = will->payload,
        .qos = will->qos,
        .retain = will->retain,
    };

    hub_will_cancel(s);
    if (!will->present)
        return 0;
    s->will = bt_calloc(1, sizeof(*s->will));
    if (s->will == NULL)
        return BT_ENOMEM;
    s->will->delay_s = will->props.will_delay;
    s->will->expiry_s = hub_props_expiry(&will->props);
    if (hub_props_forward(&will->props, &filtered, &pub.props) == 0)
        s->will->msg = hub_msg_new(&pub);
    bt_buf_deinit(&filtered);
    if (s->will->msg == NULL) {
        hub_will_free(s);
        return BT_ENOMEM;
    }
    if (s->persistent)
        put_row(s);
    return 0;
}

void hub_will_lost(struct hub_session *s)
{
    struct hub_will *will = s->will;

    if (will == NULL)
        return;
    if (will->delay_s == 0) {
        hub_will_publish(s);
        return;
    }
    will->due_ms = bt_loop_ms(s->worker->loop) + (uint64_t)will->delay_s * 1000;
    hub_worker_need_tick(s->worker);
}

/* What it may do now counts. */
static bool may_publish(struct hub_session *s, const struct hub_pub *pub)
{
    struct bt_mqtt_props props = { 0 };

    return hub_session_may_publish(s, pub->topic) &&
           bt_mqtt_props_read(pub->props, BT_MQTT_PUBLISH, &props) == 0 &&
           hub_reply_guard_permits(s->worker->hub, s, pub->topic, &props);
}

void hub_will_publish(struct hub_session *s)
{
    struct hub_msg *m;
    struct hub_pub pub;

    if (s->will == NULL)
        return;
    m = s->will->msg;
    pub = (struct hub_pub){
        .topic = hub_msg_topic(m),
        .payload = hub_msg_payload(m),
        .props = hub_msg_props(m),
        .qos = m->qos,
        .retain = m->retain,
        .expiry_s = s->will->expiry_s,
        .origin = s->addr,
        .msg = s->will->expiry_s == 0 ? hub_quota_renewed(m) : NULL,
    };
    if (s->principal != NULL && may_publish(s, &pub))
        (void)hub_route(s->worker, &pub, NULL);
    else
        bt_log(BT_LOG_WARN, "HUB-WILL", "will is not permitted any more", "client=%s",
               s->id);
    hub_pub_deinit(&pub);
    forget_row(s); /* behind what it became, so that one commit has both */
    hub_will_free(s);
}

bool hub_will_check(struct hub_session *s, uint64_t now_ms)
{
    if (s->will == NULL || s->will->due_ms == 0)
        return false;
    if (now_ms < s->will->due_ms)
        return true;
    hub_will_publish(s);
    return false;
}

int hub_will_restore(struct hub_session *s, struct hub_msg *msg, uint32_t delay_s,
                     uint32_t expiry_s)
{
    hub_will_free(s);
    s->will = bt_calloc(1, sizeof(*s->will));
    if (s->will == NULL) {
        hub_msg_unref(msg);
        return BT_ENOMEM;
    }
    *s->will = (struct hub_will){
        .msg = msg,
        .due_ms = bt_loop_ms(s->worker->loop) + (uint64_t)delay_s * 1000 + 1,
        .delay_s = delay_s,
        .expiry_s = expiry_s,
        .stored = true,
    };
    return 0;
}
