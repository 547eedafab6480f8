/* Connections as a session's link: deliveries and acknowledgements encoded into the
 * output chain. A PUBLISH is written once, in place: header and small payloads are
 * copied, large payloads referenced. */
#include <string.h>

#include "core/clock.h"
#include "core/copy.h"
#include "core/error.h"
#include "core/log.h"
#include "hub/net/conn.h"
#include "hub/observe/recorder.h"
#include "hub/session/quota.h"
#include "hub/worker.h"

#define SUBID_MAX_LEN        5u
#define EXPIRY_LEN           5u
#define PROP_MESSAGE_EXPIRY  0x02
#define PROP_SUBSCRIPTION_ID 0x0b
#define PROP_TOPIC_ALIAS     0x23
#define PROP_REASON_STRING   0x1f
#define ALIAS_LEN            3u

static struct hub_conn *conn_of(struct hub_link *l)
{
    return bt_container_of(l, struct hub_conn, link);
}

/* Called from inside the session, so the end is left to the end of the turn. */
static void doom(struct hub_conn *c)
{
    c->doomed = true;
    c->blocked = false;
    hub_conn_touch(c);
}

static bool ready(struct hub_link *l)
{
    struct hub_conn *c = conn_of(l);

    if (c->closed)
        return false;
    c->full = c->out.bytes >= hub_quota_scaled(c->worker->conf->max_queued_bytes);
    return !c->full;
}

static uint8_t *put(uint8_t *at, const void *p, size_t n)
{
    bt_copy(at, p, n);
    return at + n;
}

/* A length of one to four bytes. */
static uint8_t *put_varint(uint8_t *at, const uint8_t bytes[4], size_t n)
{
    at[0] = bytes[0];
    if (n > 1)
        at[1] = bytes[1];
    if (n > 2)
        at[2] = bytes[2];
    if (n > 3)
        at[3] = bytes[3];
    return at + n;
}

static uint8_t *put_u16(uint8_t *at, size_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
    return at + 2;
}

/* Properties the hub adds to a version 5 PUBLISH: remaining expiry, subscription
 * identifiers. */
static size_t own_props(const struct hub_out *o, uint8_t *to)
{
    const struct hub_msg *m = o->pub->msg;
    size_t n = 0;

    if (m != NULL && m->expires_ms != 0) {
        int64_t left = BT_MAX((m->expires_ms - bt_clock_wall_ms() + 999) / 1000, 0);

        to[n++] = PROP_MESSAGE_EXPIRY;
        for (int shift = 24; shift >= 0; shift -= 8)
            to[n++] = (uint8_t)(left >> shift);
    } else if (m == NULL && o->pub->expiry_s != 0) {
        to[n++] = PROP_MESSAGE_EXPIRY;
        for (int shift = 24; shift >= 0; shift -= 8)
            to[n++] = (uint8_t)(hub_expiry_s(o->pub) >> shift);
    }
    for (uint8_t i = 0; i < o->n_subids; i++) {
        to[n++] = PROP_SUBSCRIPTION_ID;
        n += bt_mqtt_varint(to + n, o->subids[i]);
    }
    return n;
}

/* What stands before the payload. */
struct head {
    uint8_t own[EXPIRY_LEN + SUBID_MAX_LEN * HUB_MAX_TARGET_SUBIDS + ALIAS_LEN];
    uint8_t props_len[4], remaining[4];
    size_t n_own, n_props_len, n_remaining, total;
    struct bt_slice topic; /* empty behind an alias that the client knows */
    uint16_t new_alias;    /* the client learns it by this packet; 0 = none */
};

/* A client that takes aliases gets one instead of, or for, a long topic. */
static void use_alias(struct hub_v5 *v5, struct head *h)
{
    bool known;
    uint16_t alias = hub_alias_for(v5, h->topic, &known);

    if (alias == 0)
        return;
    h->own[h->n_own] = PROP_TOPIC_ALIAS;
    (void)put_u16(h->own + h->n_own + 1, alias);
    h->n_own += ALIAS_LEN;
    if (known)
        h->topic.len = 0;
    else
        h->new_alias = alias;
}

static bool measure(struct hub_conn *c, const struct hub_out *o, struct head *h)
{
    const struct hub_pub *p = o->pub;
    size_t rest;

    h->topic = p->topic;
    h->new_alias = 0;
    h->n_own = 0;
    if (c->version == BT_MQTT_50)
        h->n_own = own_props(o, h->own);
    if (bt_unlikely(c->v5 != NULL))
        use_alias(c->v5, h);
    rest = 2 + h->topic.len + (o->qos > 0 ? 2 : 0);
    if (c->version == BT_MQTT_50) {
        h->n_props_len =
            bt_mqtt_varint(h->props_len, (uint32_t)(h->n_own + p->props.len));
        rest += h->n_props_len + h->n_own + p->props.len;
    }
    if (rest + p->payload.len > BT_MQTT_MAX_REMAINING)
        return false;
    h->n_remaining = bt_mqtt_varint(h->remaining, (uint32_t)(rest + p->payload.len));
    h->total = 1 + h->n_remaining + rest;
    return hub_conn_fits(c, h->total + p->payload.len);
}

static int write_publish(struct hub_conn *c, const struct hub_out *o,
                         const struct head *h)
{
    const struct hub_pub *p = o->pub;
    bool copy = p->payload.len < HUB_OUTQ_REF_MIN;
    uint8_t *at = hub_outq_room(&c->out, h->total + (copy ? p->payload.len : 0));
    struct hub_msg *msg;
    int r;

    if (at == NULL)
        return BT_ENOMEM;
    *at++ = (uint8_t)(BT_MQTT_PUBLISH << 4 | (o->dup ? 8 : 0) | o->qos << 1 |
                      (o->retain ? 1 : 0));
    at = put_varint(at, h->remaining, h->n_remaining);
    at = put(put_u16(at, h->topic.len), h->topic.ptr, h->topic.len);
    if (o->qos > 0)
        at = put_u16(at, o->pid);
    if (c->version == BT_MQTT_50) {
        at = put_varint(at, h->props_len, h->n_props_len);
        memcpy(at, h->own, h->n_own);
        at += h->n_own;
        if (p->props.len > 0)
            at = put(at, p->props.ptr, p->props.len);
    }
    if (copy) {
        if (p->payload.len > 0)
            (void)put(at, p->payload.ptr, p->payload.len);
        return 0;
    }
    msg = hub_pub_msg(o->pub);
    if (msg == NULL)
        return BT_ENOMEM;
    r = hub_outq_payload(&c->out, msg);
    hub_msg_unref(msg);
    return r;
}

static void publish(struct hub_link *l, const struct hub_out *o)
{
    struct hub_conn *c = conn_of(l);
    struct head h;

    if (c->closed)
        return;
    if (o->qos == 0 &&
        c->out.bytes >= hub_quota_scaled(c->worker->conf->max_queued_bytes)) {
        bool tight = c->out.bytes < c->worker->conf->max_queued_bytes;

        hub_drop(l->session, o->pub->topic,
                 tight ? HUB_DROP_MEMORY_LIMIT : HUB_DROP_SLOW_READER);
        return;
    }
    if (!measure(
            c, o,
            &h)) { /* MQTT 5.0 §3.1.2.11.4: not sent, as if it had been acknowledged */
        hub_drop(l->session, o->pub->topic, HUB_DROP_TOO_LARGE);
        if (o->qos > 0)
            hub_session_skip(l->session, o->token);
        return;
    }
    if (write_publish(c, o, &h) != 0) {
        doom(c);
        return;
    }
    if (bt_unlikely(h.new_alias != 0))
        hub_alias_sent(c->v5, h.new_alias, o->pub->topic);
    if (bt_unlikely(c->out.bytes >= c->worker->conf->max_queued_bytes)) {
        c->full = true; /* shared subscriptions pass it over until it has room */
        atomic_store_explicit(&l->session->addr->state, HUB_ADDR_BUSY,
                              memory_order_relaxed);
    }
    c->worker->counts.sent++;
    c->worker->counts.payload_out += o->pub->payload.len;
    hub_trace(l->session, HUB_EV_SENT, o->qos, o->pub->topic);
    hub_conn_touch(c);
}

/* Bytes of the reason in words, when the client wants them and can take them. */
static size_t reason_words(const struct hub_conn *c, uint8_t reason)
{
    size_t n = strlen(bt_mqtt_reason_text(reason));

    if (c->v5 != NULL && (c->v5->no_problem || !hub_conn_fits(c, 9 + n)))
        return 0;
    return n <= 100 ? n : 0; /* lengths of one byte */
}

/* A property block with the reason in words. */
static void put_words(uint8_t *at, uint8_t reason, size_t n)
{
    at[0] = (uint8_t)(3 + n);
    at[1] = PROP_REASON_STRING;
    (void)put(put_u16(at + 2, n), bt_mqtt_reason_text(reason), n);
}

static void acked(struct hub_link *l, enum bt_mqtt_type type, uint16_t pid,
                  uint64_t token, uint8_t reason)
{
    struct hub_conn *c = conn_of(l);
    bool with_reason = c->version == BT_MQTT_50 && reason != 0;
    size_t words = 0;
    uint8_t *at;

    (void)token;
    if (c->closed)
        return;
    if (c->version != BT_MQTT_50 && reason >= 0x80 && type <= BT_MQTT_PUBREC) {
        doom(c); /* 3.1.1 has no negative PUBACK: the client sends it again */
        return;
    }
    if (with_reason && reason >= 0x80)
        words = reason_words(c, reason);
    at = hub_outq_room(&c->out, words > 0 ? 9 + words : with_reason ? 5 : 4);
    if (at == NULL) {
        doom(c);
        return;
    }
    hub_count_out(&c->worker->counts, type);
    at[0] = (uint8_t)(type << 4 | (type == BT_MQTT_PUBREL ? 2 : 0));
    at[1] = (uint8_t)(words > 0 ? 7 + words : with_reason ? 3 : 2);
    (void)put_u16(at + 2, pid);
    if (with_reason)
        at[4] = reason;
    if (words > 0)
        put_words(at + 5, reason, words);
    hub_conn_touch(c);
}

static void answer(struct hub_link *l, struct bt_slice bytes)
{
    struct hub_conn *c = conn_of(l);

    hub_count_out(&c->worker->counts, bytes.ptr[0] >> 4);
    if (!c->closed && (!hub_conn_fits(c, bytes.len) ||
                       hub_outq_bytes(&c->out, bytes.ptr, bytes.len) != 0))
        doom(c);
    hub_conn_touch(c);
}

static void resume(struct hub_link *l)
{
    hub_conn_unpause(conn_of(l), HUB_PAUSE_UNACKED);
}

static void close_link(struct hub_link *l, uint8_t reason)
{
    hub_conn_close(conn_of(l), reason, true);
}

const struct hub_link_ops hub_conn_link_ops = {
    .ready = ready,
    .publish = publish,
    .acked = acked,
    .answer = answer,
    .resume = resume,
    .close = close_link,
};
