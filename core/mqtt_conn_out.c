/* What goes to the broker.
 *
 * A message is encoded when it is published and waits in `queued`. Up to the broker's
 * window it moves to the output, and at QoS 1 and 2 to `sent`, until its PUBACK or
 * PUBCOMP. After a reconnect to the same session what is in `sent` goes out again first,
 * in its order, with DUP (§4.4); when the broker has forgotten the session it is
 * published anew. Between a login in version 5 and one in 3.1.1 a message is encoded
 * again.
 *
 * A session that the broker kept from a process before this one may remember packet
 * identifiers of QoS 2, and would take a new message with one of them for an old one. So
 * before the first message with an identifier it is released.
 *
 * Failure modes: what the broker says it does not take is given back by on_published with
 * the reason. Memory that is missing loses the connection, not the message. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/mqtt_conn_priv.h"
#include "core/sys.h"

static size_t charge(const struct conn_out *m)
{
    return sizeof(*m) + m->packet.cap;
}

static void free_message(struct bt_mqtt_conn *c, struct conn_out *m)
{
    c->out_bytes -= charge(m);
    bt_list_remove(&m->link);
    bt_buf_deinit(&m->packet);
    bt_free(m);
}

/* A message leaves `sent` or `queued` for good. */
static void finish(struct bt_mqtt_conn *c, struct conn_out *m, unsigned reason)
{
    uint64_t token = m->token;
    bool told = m->qos > 0;

    if (m->state != OUT_QUEUED) {
        conn_bit_clear(c->used, m->pid);
        c->n_wire--;
    }
    free_message(c, m);
    if (told && !c->closed && c->conf.on_published != NULL)
        c->conf.on_published(c->conf.arg, token, reason);
    if (c->closed || !c->asked_room || c->out_bytes > c->conf.max_out / 2)
        return;
    c->asked_room = false;
    if (c->conf.on_room != NULL)
        c->conf.on_room(c->conf.arg);
}

/* ---- Encoding ---- */

static int encode(struct conn_out *m, const struct bt_mqtt_publish *p,
                  const struct bt_mqtt_props *props, uint8_t version)
{
    struct bt_mqtt_publish numbered = *p;

    numbered.pid = p->qos > 0 ? 1 : 0;
    m->version = version;
    return bt_mqtt_encode_publish(&m->packet, version, &numbered, props);
}

/* For the version that is spoken now. Properties exist only in version 5, so there are
 * none to carry into it. */
static int translate(struct bt_mqtt_conn *c, struct conn_out *m)
{
    struct bt_mqtt_publish p;
    struct bt_mqtt_props props;
    struct bt_buf was = m->packet;
    int r;

    if (m->version == c->version)
        return 0;
    if (bt_mqtt_decode_publish(was.data, was.len, m->version, &p, &props) != 0)
        return conn_check(c, BT_EBUG);
    m->packet = (struct bt_buf){ 0 };
    r = encode(m, &p, NULL, c->version);
    if (r != 0) {
        bt_buf_deinit(&m->packet);
        m->packet = was;
        return conn_check(c, r);
    }
    c->out_bytes += m->packet.cap;
    c->out_bytes -= was.cap;
    bt_buf_deinit(&was);
    return 0;
}

static void put_pid(struct conn_out *m)
{
    uint8_t *p = m->packet.data + 1;
    size_t topic;

    while (*p++ >= 0x80)
        ;
    topic = (size_t)p[0] << 8 | p[1];
    p += 2 + topic;
    p[0] = (uint8_t)(m->pid >> 8);
    p[1] = (uint8_t)m->pid;
}

/* Never that of our SUBSCRIBE. At most `window_out` are in use, so there is one. */
static uint16_t next_pid(struct bt_mqtt_conn *c)
{
    do {
        c->last_pid = (uint16_t)(c->last_pid + 1);
        if (c->last_pid == 0 || c->last_pid == CONN_SUB_PID)
            c->last_pid = 1;
    } while (conn_bit(c->used, c->last_pid));
    return c->last_pid;
}

int conn_send_ack(struct bt_mqtt_conn *c, enum bt_mqtt_type type, unsigned pid,
                  unsigned reason)
{
    return conn_check(c, bt_mqtt_encode_ack(&c->out, c->version, type, (uint16_t)pid,
                                            (uint8_t)reason, NULL));
}

/* ---- Sending ---- */

/* Why the broker would not take it; 0: it does. */
static unsigned not_taken(const struct bt_mqtt_conn *c, const struct conn_out *m)
{
    if (m->qos > c->peer_max_qos)
        return BT_MQTT_NO_QOS;
    if ((m->packet.data[0] & 1) != 0 && !c->peer_retain)
        return BT_MQTT_NO_RETAIN;
    if (c->peer_max_packet > 0 && m->packet.len > c->peer_max_packet)
        return BT_MQTT_TOO_LARGE;
    return 0;
}

/* The broker may remember this packet identifier from a process before this one. */
static int release_foreign(struct bt_mqtt_conn *c, const struct conn_out *m)
{
    if (c->foreign == NULL || m->qos < 2 || !conn_bit(c->foreign, m->pid))
        return 0;
    conn_bit_clear(c->foreign, m->pid);
    return conn_send_ack(c, BT_MQTT_PUBREL, m->pid, 0);
}

static int append(struct bt_mqtt_conn *c, struct conn_out *m)
{
    return conn_check(c, bt_buf_append(&c->out, m->packet.data, m->packet.len));
}

/* The first of the queue. */
static int send_next(struct bt_mqtt_conn *c, struct conn_out *m)
{
    unsigned reason;

    if (translate(c, m) != 0)
        return CONN_LOST;
    reason = not_taken(c, m);
    if (reason != 0) {
        finish(c, m, reason);
        return 0;
    }
    if (m->qos > 0) {
        m->pid = next_pid(c);
        put_pid(m);
    }
    if (release_foreign(c, m) != 0 || append(c, m) != 0)
        return CONN_LOST;
    if (m->qos == 0) {
        finish(c, m, 0);
        return 0;
    }
    bt_list_remove(&m->link);
    bt_list_push_back(&c->sent, &m->link);
    m->state = OUT_SENT;
    conn_bit_set(c->used, m->pid);
    c->n_wire++;
    return 0;
}

/* The same session on a new connection: what has no acknowledgement, in its order. */
static int send_again(struct bt_mqtt_conn *c)
{
    while (c->again != &c->sent && c->n_wire < c->peer_window &&
           c->out.len < CONN_OUT_HIGH) {
        struct conn_out *m = conn_out_of(c->again);
        int r;

        if (m->state == OUT_RELEASED) {
            r = conn_send_ack(c, BT_MQTT_PUBREL, m->pid, 0);
        } else {
            r = translate(c, m);
            if (r == 0) {
                put_pid(m);
                m->packet.data[0] |= 0x08; /* DUP */
                r = append(c, m);
            }
        }
        if (r != 0)
            return CONN_LOST;
        c->again = c->again->next;
        c->n_wire++;
    }
    return 0;
}

static int pump(struct bt_mqtt_conn *c)
{
    if (send_again(c) != 0)
        return CONN_LOST;
    if (c->again != &c->sent)
        return 0;
    while (!c->closed && c->out.len < CONN_OUT_HIGH && !bt_list_empty(&c->queued)) {
        struct conn_out *m = conn_out_of(bt_list_first(&c->queued));

        if (m->qos > 0 && c->n_wire >= c->peer_window)
            return 0;
        if (send_next(c, m) != 0)
            return CONN_LOST;
    }
    return 0;
}

/* > 0: all of it is gone; 0: the stream takes no more now. */
static int flush(struct bt_mqtt_conn *c)
{
    size_t at = 0;

    while (at < c->out.len) {
        ssize_t n = c->stream->ops->write(c->stream, c->out.data + at, c->out.len - at);

        if (n < 0) {
            c->ended = true;
            c->no_such_version = c->state == CONN_LOGIN;
            (void)conn_fail(c, 0, "%s", c->stream->why);
            return -1;
        }
        if (n == 0)
            break;
        at += (size_t)n;
        c->sent_ms = bt_loop_ms(c->conf.loop);
    }
    bt_buf_consume(&c->out, at);
    return c->out.len == 0;
}

int conn_write(struct bt_mqtt_conn *c)
{
    int r;

    if (c->stream == NULL || c->state < CONN_LOGIN || c->state > CONN_UP)
        return 0;
    do {
        if (c->state >= CONN_SUBSCRIBING && pump(c) != 0)
            return CONN_LOST;
        if (c->closed)
            return 0;
        r = c->out.len > 0 ? flush(c) : 0;
    } while (r > 0 && (!bt_list_empty(&c->queued) || c->again != &c->sent));
    if (r < 0)
        return CONN_LOST;
    c->stream->ops->want(c->stream,
                         (c->paused ? 0 : BT_READ) | (c->out.len > 0 ? BT_WRITE : 0));
    return 0;
}

/* ---- A new connection ---- */

/* A new session. What was released is the broker's since its PUBREC. */
static void queue_again(struct bt_mqtt_conn *c)
{
    struct bt_list *at = &c->queued, *it, *next;

    bt_list_for_each_safe (it, next, &c->sent) {
        struct conn_out *m = conn_out_of(it);

        if (m->state == OUT_RELEASED)
            continue;
        conn_bit_clear(c->used, m->pid);
        m->state = OUT_QUEUED;
        m->packet.data[0] &= 0xf7;
        bt_list_remove(it);
        bt_list_push_front(at, it);
        at = it;
    }
    while (!c->closed && !bt_list_empty(&c->sent)) {
        c->n_wire++;
        finish(c, conn_out_of(bt_list_first(&c->sent)), 0);
    }
}

int conn_out_login(struct bt_mqtt_conn *c, bool session_present)
{
    c->n_wire = 0;
    c->again = &c->sent;
    if (!session_present) {
        bt_free(c->foreign);
        c->foreign = NULL;
        queue_again(c);
        return 0;
    }
    c->again = c->sent.next;
    if (!c->was_up) {
        c->foreign = bt_malloc(CONN_PID_BYTES);
        if (c->foreign == NULL)
            return conn_check(c, BT_ENOMEM);
        memset(c->foreign, 0xff, CONN_PID_BYTES);
    }
    return 0;
}

/* ---- Acknowledgements ---- */

/* Of those that were sent on this connection. */
static struct conn_out *find(struct bt_mqtt_conn *c, uint16_t pid)
{
    if (!conn_bit(c->used, pid))
        return NULL;
    for (struct bt_list *it = c->sent.next; it != c->again; it = it->next) {
        if (conn_out_of(it)->pid == pid)
            return conn_out_of(it);
    }
    return NULL;
}

/* One that is not known answers something that was sent again. */
int conn_on_puback(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    struct conn_out *m = find(c, p->pid);

    if (m == NULL)
        return 0;
    if (m->qos != 1)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR, "PUBACK for a message at QoS 2");
    finish(c, m, p->reason);
    return 0;
}

int conn_on_pubrec(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    struct conn_out *m = find(c, p->pid);

    if (m != NULL && m->qos != 2)
        return conn_fail(c, BT_MQTT_PROTOCOL_ERROR, "PUBREC for a message at QoS 1");
    if (m != NULL && p->reason >= 0x80) {
        finish(c, m, p->reason);
        return 0;
    }
    if (m != NULL)
        m->state = OUT_RELEASED;
    else if (p->reason >= 0x80)
        return 0;
    return conn_send_ack(c, BT_MQTT_PUBREL, p->pid,
                         m != NULL ? 0 : BT_MQTT_PID_NOT_FOUND);
}

int conn_on_pubcomp(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p)
{
    struct conn_out *m = find(c, p->pid);

    /* Before its PUBREC: the answer to release_foreign. */
    if (m != NULL && m->state == OUT_RELEASED)
        finish(c, m, 0);
    return 0;
}

/* ---- The application's side ---- */

static int check(const struct bt_mqtt_conn *c, const struct bt_mqtt_publish *p)
{
    if (p->qos > 2 || !bt_mqtt_topic_ok(p->topic))
        return BT_EINVAL;
    if (p->payload.len > bt_mqtt_conn_max_payload(c, p->topic.len))
        return BT_ELIMIT;
    if (c->state == CONN_DEAD || c->closed)
        return BT_ECLOSED;
    if (p->qos == 0 && (c->state < CONN_SUBSCRIBING || c->state > CONN_UP))
        return BT_ECLOSED;
    /* One always fits. */
    return c->out_bytes > 0 && c->out_bytes + p->payload.len > c->conf.max_out ? BT_EBUSY
                                                                               : 0;
}

int bt_mqtt_conn_publish(struct bt_mqtt_conn *c, const struct bt_mqtt_publish *p,
                         const struct bt_mqtt_props *props, uint64_t token)
{
    struct conn_out *m;
    int r = check(c, p);

    c->asked_room |= r == BT_EBUSY;
    if (r != 0)
        return r;
    m = bt_calloc(1, sizeof(*m));
    if (m == NULL)
        return BT_ENOMEM;
    r = encode(m, p, props, c->version);
    if (r != 0) {
        bt_buf_deinit(&m->packet);
        bt_free(m);
        return r;
    }
    m->qos = p->qos;
    m->token = token;
    c->out_bytes += charge(m);
    bt_list_push_back(&c->queued, &m->link);
    conn_soon(c);
    return 0;
}

void conn_out_free(struct bt_mqtt_conn *c)
{
    struct bt_list *lists[] = { &c->queued, &c->sent };

    for (size_t i = 0; i < BT_ARRAY_LEN(lists); i++) {
        while (!bt_list_empty(lists[i]))
            free_message(c, conn_out_of(bt_list_first(lists[i])));
    }
}
