/* What comes from the broker.
 *
 * A message is one block: the struct and a copy of its packet, which topic, payload and
 * properties point into. It is linked in the order of its arrival. When the application
 * has acknowledged it, and all before it are acknowledged, too, its PUBACK or PUBREC goes
 * out.
 *
 * After a reconnect to the same session the broker sends again what it has no
 * acknowledgement for, with the same packet identifiers. Those the application still
 * holds are not given to it a second time; those it has acknowledged meanwhile are
 * acknowledged now. At QoS 2 the identifier is remembered from PUBREC to PUBREL.
 *
 * Failure modes: bytes that are not MQTT, packets that only a client may send, more
 * messages than were asked for: the connection is given up. A QoS 0 message for which
 * there is no room is dropped. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/mqtt_conn_priv.h"

/* ---- Messages ---- */

static struct conn_in *find(struct bt_list *list, uint16_t pid)
{
    for (struct bt_list *it = list->next; it != list; it = it->next) {
        if (conn_in_of(it)->m.pid == pid)
            return conn_in_of(it);
    }
    return NULL;
}

static void free_message(struct conn_in *in)
{
    bt_list_remove(&in->link);
    if (in->conn != NULL)
        in->conn->in_bytes -= in->len;
    bt_free(in);
}

/* There is nothing to acknowledge any more; the application still has it. */
static void loosen(struct bt_mqtt_conn *c, struct conn_in *in)
{
    conn_bit_clear(c->known, in->m.pid);
    if (in->done) {
        free_message(in);
        return;
    }
    in->loose = true;
    bt_list_remove(&in->link);
    bt_list_push_back(&c->loose, &in->link);
}

/* Acknowledge from the oldest on. */
static int settle(struct bt_mqtt_conn *c)
{
    while (!bt_list_empty(&c->held)) {
        struct conn_in *in = conn_in_of(bt_list_first(&c->held));

        if (!in->done)
            return 0;
        if (conn_send_ack(c, in->m.qos == 1 ? BT_MQTT_PUBACK : BT_MQTT_PUBREC, in->m.pid,
                          0) != 0)
            return CONN_LOST;
        if (in->m.qos == 2 && !conn_bit(c->receiving, in->m.pid)) {
            conn_bit_set(c->receiving, in->m.pid);
            c->n_receiving++;
        }
        conn_bit_clear(c->known, in->m.pid);
        c->n_held--;
        free_message(in);
    }
    return 0;
}

/* Not acknowledged: it comes again with the next connection. */
static void refuse_message(struct bt_mqtt_conn *c, struct conn_in *in)
{
    conn_bit_clear(c->known, in->m.pid);
    if (!in->old) {
        c->n_held--;
        c->n_refused++;
    }
    free_message(in);
    if (c->state == CONN_UP && c->n_refused > c->conf.window_in / 2u) {
        (void)conn_fail(c, BT_MQTT_IMPLEMENTATION,
                        "too many messages were not processed: they are asked for again");
        conn_soon(c);
        return;
    }
    (void)settle(c);
}

void bt_mqtt_message_ack(struct bt_mqtt_message *m, bool ok)
{
    struct conn_in *in = bt_container_of(m, struct conn_in, m);
    struct bt_mqtt_conn *c = in->conn;

    if (c == NULL || in->loose) {
        free_message(in);
        return;
    }
    if (!ok) {
        refuse_message(c, in);
    } else {
        in->done = true;
        (void)settle(c);
    }
    conn_soon(c);
}

void bt_mqtt_message_props(const struct bt_mqtt_message *m, struct bt_mqtt_props *out)
{
    const struct conn_in *in =
        bt_container_of((struct bt_mqtt_message *)(uintptr_t)m, struct conn_in, m);
    struct bt_mqtt_publish publish;

    memset(out, 0, sizeof(*out));
    if (in->version == BT_MQTT_50)
        (void)bt_mqtt_decode_publish(in->packet, in->len, in->version, &publish, out);
}

void conn_in_lost(struct bt_mqtt_conn *c)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &c->held) {
        conn_in_of(it)->old = true;
        bt_list_remove(it);
        bt_list_push_back(&c->old, it);
    }
    c->n_held = 0;
    c->n_refused = 0;
}

void conn_in_login(struct bt_mqtt_conn *c, bool session_present)
{
    struct bt_list *it, *next;

    if (session_present)
        return;
    bt_list_for_each_safe (it, next, &c->old)
        loosen(c, conn_in_of(it));
    memset(c->receiving, 0, sizeof(c->receiving));
    c->n_receiving = 0;
}

static void detach(struct bt_list *list)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, list) {
        struct conn_in *in = conn_in_of(it);

        bt_list_remove(it);
        in->conn = NULL;
        if (in->done)
            bt_free(in);
    }
}

void conn_in_detach(struct bt_mqtt_conn *c)
{
    detach(&c->held);
    detach(&c->old);
    detach(&c->loose);
}

/* ---- PUBLISH, PUBREL ---- */

/* 0: it is new; 1: it is known, and seen to; or CONN_LOST as -1. */
static int match_known(struct bt_mqtt_conn *c, const struct bt_mqtt_publish *p)
{
    struct conn_in *in;

    if (p->qos == 2 && conn_bit(c->receiving, p->pid))
        return conn_send_ack(c, BT_MQTT_PUBREC, p->pid, 0) == 0 ? 1 : -1;
    if (!conn_bit(c->known, p->pid))
        return 0;
    in = find(&c->held, p->pid);
    if (in != NULL) {
        if (p->dup && in->m.qos == p->qos)
            return 1;
        (void)conn_fail(c, BT_MQTT_PROTOCOL_ERROR, "a packet identifier is used twice");
        return -1;
    }
    in = find(&c->old, p->pid);
    if (in == NULL)
        return 0;
    if (!p->dup || in->m.qos != p->qos) {
        loosen(c, in);
        return 0;
    }
    bt_list_remove(&in->link);
    bt_list_push_back(&c->held, &in->link);
    in->old = false;
    c->n_held++;
    return settle(c) == 0 ? 1 : -1;
}

static int check_publish(struct bt_mqtt_conn *c, const struct bt_mqtt_publish *p,
                         const struct bt_mqtt_props *props)
{
    if (c->version == BT_MQTT_50 && (props->present & 1u << BT_MQTT_P_TOPIC_ALIAS) != 0)
        return conn_fail(c, BT_MQTT_BAD_ALIAS, "a topic alias, and none are taken");
    if (p->qos > 0 && c->version == BT_MQTT_50 &&
        c->n_held + c->n_receiving + c->n_refused >= c->conf.window_in)
        return conn_fail(c, BT_MQTT_RECEIVE_MAX, "more messages than were asked for");
    return 0;
}

static void fill_message(struct conn_in *in, const struct bt_mqtt_publish *p)
{
    in->m = (struct bt_mqtt_message){ .topic = p->topic,
                                      .payload = p->payload,
                                      .qos = p->qos,
                                      .dup = p->dup,
                                      .retain = p->retain,
                                      .pid = p->pid };
}

/* The packet as a block of its own. NULL: no memory. */
static struct conn_in *copy_packet(const struct bt_mqtt_conn *c, const uint8_t *p,
                                   size_t len)
{
    struct conn_in *in = bt_malloc(sizeof(*in) + len);

    if (in == NULL)
        return NULL;
    memset(in, 0, sizeof(*in));
    in->version = c->version;
    in->len = len;
    memcpy(in->packet, p, len);
    return in;
}

static int deliver(struct bt_mqtt_conn *c, struct conn_in *in)
{
    in->conn = c;
    c->in_bytes += in->len;
    if (in->m.qos > 0) {
        bt_list_push_back(&c->held, &in->link);
        c->n_held++;
        conn_bit_set(c->known, in->m.pid);
    } else {
        in->loose = true;
        bt_list_push_back(&c->loose, &in->link);
    }
    if (c->conf.on_message == NULL)
        bt_mqtt_message_ack(&in->m, true);
    else
        c->conf.on_message(c->conf.arg, &in->m);
    return 0;
}

static int on_publish(struct bt_mqtt_conn *c, const uint8_t *p, size_t len)
{
    struct bt_mqtt_publish publish;
    struct bt_mqtt_props props;
    struct conn_in *in;
    int r = bt_mqtt_decode_publish(p, len, c->version, &publish, &props);

    if (r != 0)
        return conn_fail(c, (unsigned)r, "a message that is not MQTT: %s",
                         bt_mqtt_reason_text((unsigned)r));
    r = publish.qos > 0 ? match_known(c, &publish) : 0;
    if (r != 0)
        return r > 0 ? 0 : CONN_LOST;
    if (check_publish(c, &publish, &props) != 0)
        return CONN_LOST;
    /* One always fits: it would come again and again. */
    in = c->in_bytes == 0 || c->in_bytes + len <= c->conf.max_in ? copy_packet(c, p, len)
                                                                 : NULL;
    if (in == NULL && publish.qos == 0)
        return 0;
    if (in == NULL)
        return conn_fail(c, BT_MQTT_QUOTA, "more messages than there is room for");
    /* Once more, so that the slices point into the copy. */
    (void)bt_mqtt_decode_publish(in->packet, len, c->version, &publish, &props);
    fill_message(in, &publish);
    return deliver(c, in);
}

static int on_pubrel(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    bool known = conn_bit(c->receiving, p->pid);

    if (known) {
        conn_bit_clear(c->receiving, p->pid);
        c->n_receiving--;
    }
    return conn_send_ack(c, BT_MQTT_PUBCOMP, p->pid, known ? 0 : BT_MQTT_PID_NOT_FOUND);
}

/* ---- All packets ---- */

static int on_pingresp(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    (void)c;
    (void)p;
    return 0; /* that something came was noted */
}

static int on_disconnect(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    const struct bt_slice *text = &p->props.reason_string;

    c->ended = true;
    return conn_fail(c, p->reason, "the broker ended the connection: %s%s%.*s",
                     bt_mqtt_reason_text(p->reason), text->len > 0 ? ": " : "",
                     (int)BT_MIN(text->len, (size_t)200),
                     text->len > 0 ? (const char *)text->ptr : "");
}

typedef int (*packet_fn)(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p);

/* What a broker may send, but PUBLISH. */
static const packet_fn handlers[16] = {
    [BT_MQTT_CONNACK] = conn_on_connack, [BT_MQTT_PUBACK] = conn_on_puback,
    [BT_MQTT_PUBREC] = conn_on_pubrec,   [BT_MQTT_PUBREL] = on_pubrel,
    [BT_MQTT_PUBCOMP] = conn_on_pubcomp, [BT_MQTT_SUBACK] = conn_on_suback,
    [BT_MQTT_PINGRESP] = on_pingresp,    [BT_MQTT_DISCONNECT] = on_disconnect,
};

/* A broker that knows nothing of version 5 answers in its own. */
static uint8_t version_of(const struct bt_mqtt_conn *c, const uint8_t *p, size_t len)
{
    bool old = c->state == CONN_LOGIN && len == 4 && p[0] == BT_MQTT_CONNACK << 4;

    return old ? BT_MQTT_311 : c->version;
}

static int handle(struct bt_mqtt_conn *c, const uint8_t *p, size_t len)
{
    struct bt_mqtt_packet packet;
    unsigned type = p[0] >> 4;
    uint8_t version = version_of(c, p, len);
    int r;

    if (c->state == CONN_LOGIN && type != BT_MQTT_CONNACK)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR, "the login was not answered");
    if (type == BT_MQTT_PUBLISH)
        return on_publish(c, p, len);
    if (handlers[type] == NULL)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR,
                         "a packet that a broker does not send (type %u)", type);
    if (version != c->version && p[3] == 0) {
        c->no_such_version = true;
        return conn_fail(c, BT_MQTT_BAD_VERSION, "version 5 answered with version 3");
    }
    r = bt_mqtt_decode(p, len, version, &packet);
    if (r != 0)
        return conn_fail(c, (unsigned)r, "a packet that is not MQTT: %s",
                         bt_mqtt_reason_text((unsigned)r));
    if (version != c->version)
        packet.reason = bt_mqtt_connack_v5(packet.reason);
    return handlers[type](c, &packet);
}

/* All whole packets of the buffer. */
static int process(struct bt_mqtt_conn *c)
{
    size_t at = 0, len = 0;
    int r = 0;

    while (r == 0 && !c->closed && !c->paused && at < c->in.len) {
        r = bt_mqtt_frame(c->in.data + at, c->in.len - at, &len);
        if (r == BT_MQTT_MORE ||
            (r == 0 && len > c->in.len - at && len <= c->conf.max_packet)) {
            r = 0;
            break;
        }
        if (r != 0)
            return conn_fail(c, (unsigned)r,
                             "the broker sent something that is not MQTT");
        if (len > c->conf.max_packet)
            return conn_fail(c, BT_MQTT_TOO_LARGE, "a packet of %zu bytes", len);
        r = handle(c, c->in.data + at, len);
        at += len;
    }
    bt_buf_consume(&c->in, at);
    if (c->in.len == 0 && c->in.cap > CONN_READ * 4)
        bt_buf_deinit(&c->in);
    return r;
}

/* One read. > 0: there may be more. */
static ssize_t read_once(struct bt_mqtt_conn *c)
{
    ssize_t n;

    c->in.max = (size_t)c->conf.max_packet + CONN_READ + 5;
    if (conn_check(c, bt_buf_reserve(&c->in, CONN_READ)) != 0)
        return -1;
    n = c->stream->ops->read(c->stream, c->in.data + c->in.len, CONN_READ);
    if (n < 0) {
        c->ended = true;
        c->no_such_version = c->state == CONN_LOGIN;
        (void)conn_fail(c, 0, "%s", c->stream->why);
        return -1;
    }
    if (n > 0) {
        c->in.len += (size_t)n;
        c->received_ms = bt_loop_ms(c->conf.loop);
        c->pinged = false;
    }
    return n;
}

int conn_read(struct bt_mqtt_conn *c)
{
    int r = process(c); /* what a pause has left */

    for (unsigned i = 0; r == 0 && !c->closed && !c->paused; i++) {
        ssize_t n;

        if (i == CONN_READS) {
            conn_soon(c);
            break;
        }
        n = read_once(c);
        if (n <= 0)
            return n < 0 ? CONN_LOST : 0;
        r = process(c);
    }
    return r;
}
