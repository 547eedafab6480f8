/* The client of `baetyl pub` and `baetyl sub`. It waits in poll for the socket, sends a
 * ping when the connection was silent for the keep-alive time, and gives up when an
 * answer does not come in time.
 *
 * Happy path: resolve, connect, CONNECT, CONNACK; then one exchange after the other. QoS
 * 2 towards us is finished here: a packet identifier is remembered from PUBLISH to
 * PUBREL, so that a repeated message is not given out twice. Every failure puts a
 * sentence in `error` and is final. */
#include "core/mqtt_client.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/mqtt_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define READ_SIZE  65536u
#define SLICE_MS   500u /* how long a signal may wait to be seen */
#define BUFFER_MAX ((size_t)BT_MQTT_MAX_REMAINING + 5 + READ_SIZE)

/* Send all of the output buffer. */
static int flush_out(struct bt_client *c)
{
    uint64_t until = bt_clock_ms() + c->conf->timeout_ms;

    while (bt_link_unsent(c)) {
        int r = bt_link_send(c);

        if (r < 0)
            return r;
        if (r > 0) {
            until = bt_clock_ms() + c->conf->timeout_ms;
            continue;
        }
        if (bt_client_stopped(c))
            return BT_CLIENT_STOPPED;
        if (bt_clock_ms() >= until)
            return bt_client_fail(c, BT_ETIMEOUT,
                                  "the broker at %s does not take any more data",
                                  c->conf->address);
        bt_client_wait(c->fd, POLLOUT, until);
    }
    c->sent_ms = bt_clock_ms();
    return 0;
}

/* Send what an encoder appended, or explain why it could not. */
static int send_encoded(struct bt_client *c, int r)
{
    if (r == BT_ELIMIT)
        return bt_client_fail(c, r, "the packet is larger than MQTT allows");
    if (r != 0)
        return bt_client_fail(c, r, "the packet could not be built: %s",
                              bt_error_text(r));
    return flush_out(c);
}

/* Ping when it is time. *until: when to look again at the latest. */
static int keep_alive(struct bt_client *c, uint64_t *until)
{
    uint64_t due = c->sent_ms + c->keepalive * UINT64_C(1000);

    if (c->keepalive == 0)
        return 0;
    if (bt_clock_ms() >= due) {
        int r;

        if (c->pinged)
            return bt_client_fail(c, BT_ETIMEOUT,
                                  "the broker at %s does not answer any more",
                                  c->conf->address);
        r = send_encoded(
            c, bt_mqtt_encode_simple(&c->out, c->version, BT_MQTT_PINGREQ, 0, NULL));
        if (r != 0)
            return r;
        c->pinged = true;
        due = c->sent_ms + c->keepalive * UINT64_C(1000);
    }
    *until = BT_MIN(*until, due);
    return 0;
}

static bool seen(const struct bt_client *c, uint16_t pid)
{
    return (c->received[pid / 8] & 1u << pid % 8) != 0;
}

static int acknowledge(struct bt_client *c, enum bt_mqtt_type type, uint16_t pid)
{
    return send_encoded(c, bt_mqtt_encode_ack(&c->out, c->version, type, pid, 0, NULL));
}

/* Deal with what is the client's own affair. *mine: the caller does not see the packet.
 */
static int own_affairs(struct bt_client *c, const struct bt_mqtt_packet *p, bool *mine)
{
    *mine = true;
    switch (p->type) {
    case BT_MQTT_PINGRESP:
        c->pinged = false;
        return 0;
    case BT_MQTT_PUBREL:
        c->received[p->pid / 8] &= (uint8_t) ~(1u << p->pid % 8);
        return acknowledge(c, BT_MQTT_PUBCOMP, p->pid);
    case BT_MQTT_DISCONNECT:
        return bt_client_fail(
            c, BT_ECLOSED, "the broker at %s ended the connection: %s%s%.*s",
            c->conf->address, bt_mqtt_reason_text(p->reason),
            p->props.reason_string.len > 0 ? ": " : "",
            (int)BT_MIN(p->props.reason_string.len, (size_t)200),
            p->props.reason_string.len > 0 ? (const char *)p->props.reason_string.ptr
                                           : "");
    case BT_MQTT_PUBLISH:
        if (p->publish.qos == 2 && seen(c, p->pid))
            return acknowledge(c, BT_MQTT_PUBREC, p->pid);
        break;
    default:
        break;
    }
    *mine = false;
    return 0;
}

/* The packet at the start of the buffer. BT_MQTT_MORE when it is not all there. */
static int take(struct bt_client *c, struct bt_mqtt_packet *out)
{
    size_t len = 0;
    int r;

    bt_buf_consume(&c->in, c->taken);
    c->taken = 0;
    r = bt_mqtt_frame(c->in.data, c->in.len, &len);
    if (r == BT_MQTT_MORE || (r == 0 && len > c->in.len))
        return BT_MQTT_MORE;
    if (r == 0)
        r = bt_mqtt_decode(c->in.data, len, c->version, out);
    if (r != 0)
        return bt_client_fail(c, BT_EINVAL, "%s sent something that is not MQTT: %s",
                              c->conf->address, bt_mqtt_reason_text((unsigned)r));
    c->taken = len;
    return 0;
}

int bt_client_next(struct bt_client *c, uint64_t deadline_ms, struct bt_mqtt_packet *out)
{
    for (;;) {
        uint64_t until = deadline_ms != 0 ? deadline_ms : UINT64_MAX;
        bool mine = false;
        int r = take(c, out);

        if (r == 0) {
            r = own_affairs(c, out, &mine);
            if (r != 0 || !mine)
                return r;
            continue;
        }
        if (r != BT_MQTT_MORE)
            return r;
        if (bt_client_stopped(c))
            return BT_CLIENT_STOPPED;
        if (bt_clock_ms() >= until)
            return bt_client_fail(c, BT_ETIMEOUT, "no answer from %s in time",
                                  c->conf->address);
        r = keep_alive(c, &until);
        if (r == 0 && bt_client_wait(c->fd, POLLIN, until))
            r = bt_link_receive(c);
        if (r != 0)
            return r;
    }
}

int bt_client_accept(struct bt_client *c, const struct bt_mqtt_publish *publish)
{
    if (publish->qos == 0)
        return 0;
    if (publish->qos == 1)
        return acknowledge(c, BT_MQTT_PUBACK, publish->pid);
    c->received[publish->pid / 8] |= (uint8_t)(1u << publish->pid % 8);
    return acknowledge(c, BT_MQTT_PUBREC, publish->pid);
}

/* Deal with what has arrived; messages are dropped. */
static int drain(struct bt_client *c)
{
    struct bt_mqtt_packet ignored;
    int r = bt_link_receive(c);

    /* Deadline 1 is long past: it never waits. */
    while (r == 0)
        r = bt_client_next(c, 1, &ignored);
    return r == BT_ETIMEOUT ? 0 : r;
}

int bt_client_wait_fd(struct bt_client *c, int fd)
{
    for (;;) {
        uint64_t until = bt_clock_ms() + SLICE_MS;
        struct pollfd pfds[2] = { { fd, POLLIN, 0 }, { c->fd, POLLIN, 0 } };
        int r = keep_alive(c, &until);

        if (r != 0)
            return r;
        if (bt_client_stopped(c))
            return BT_CLIENT_STOPPED;
        if (poll(pfds, 2, (int)SLICE_MS) <= 0)
            continue;
        if (pfds[1].revents != 0) {
            r = drain(c);
            if (r != 0)
                return r;
        }
        if (pfds[0].revents != 0)
            return 0;
    }
}

/* Log in; the socket is open. */
static int log_in(struct bt_client *c)
{
    uint64_t until = bt_clock_ms() + c->conf->timeout_ms;
    struct bt_mqtt_packet p;
    int r = send_encoded(
        c, bt_mqtt_encode_connect(&c->out, &c->conf->connect, &c->conf->props));

    if (r == 0)
        r = bt_client_next(c, until, &p);
    if (r != 0)
        return r;
    if (p.type != BT_MQTT_CONNACK)
        return bt_client_fail(c, BT_EINVAL, "%s did not answer the login",
                              c->conf->address);
    if (p.reason != 0) {
        c->reason = c->version == BT_MQTT_50 ? p.reason : bt_mqtt_connack_v5(p.reason);
        return bt_client_fail(c, BT_CLIENT_REFUSED,
                              "the broker at %s refused the login: %s", c->conf->address,
                              bt_mqtt_reason_text(c->reason));
    }
    c->session_present = p.session_present;
    if ((p.props.present & 1u << BT_MQTT_P_SERVER_KEEPALIVE) != 0)
        c->keepalive = p.props.server_keepalive;
    if ((p.props.present & 1u << BT_MQTT_P_MAX_QOS) != 0)
        c->max_qos = p.props.max_qos;
    c->max_packet = p.props.max_packet;
    return 0;
}

int bt_client_connect(struct bt_client *c, const struct bt_client_conf *conf)
{
    int r;

    memset(c, 0, sizeof(*c));
    c->conf = conf;
    c->fd = -1;
    c->version = conf->connect.version;
    c->keepalive = conf->connect.keepalive;
    c->max_qos = 2;
    c->in.max = BUFFER_MAX;
    c->out.max = BUFFER_MAX;
    c->wire.max = BUFFER_MAX;
    r = bt_link_open(c);
    if (r != 0)
        return r;
    c->sent_ms = bt_clock_ms();
    return log_in(c);
}

void bt_client_deinit(struct bt_client *c)
{
    bt_link_close(c);
    bt_buf_deinit(&c->in);
    bt_buf_deinit(&c->out);
}

void bt_client_disconnect(struct bt_client *c, const struct bt_mqtt_props *props)
{
    /* After this the broker only has to see the bytes; a failure changes nothing any
     * more. */
    if (bt_mqtt_encode_simple(&c->out, c->version, BT_MQTT_DISCONNECT, 0, props) == 0)
        (void)flush_out(c);
}

static uint16_t next_pid(struct bt_client *c)
{
    if (++c->last_pid == 0)
        c->last_pid = 1;
    return c->last_pid;
}

/* The acknowledgement `type` of packet `pid`. */
static int await(struct bt_client *c, enum bt_mqtt_type type, uint16_t pid)
{
    uint64_t until = bt_clock_ms() + c->conf->timeout_ms;
    struct bt_mqtt_packet p;
    int r;

    do
        r = bt_client_next(c, until, &p);
    while (r == 0 && (p.type != type || p.pid != pid));
    if (r != 0 || p.reason < 0x80)
        return r;
    c->reason = p.reason;
    return bt_client_fail(c, BT_CLIENT_REFUSED, "the broker refused the message: %s",
                          bt_mqtt_reason_text(p.reason));
}

int bt_client_publish(struct bt_client *c, const struct bt_mqtt_publish *publish,
                      const struct bt_mqtt_props *props)
{
    struct bt_mqtt_publish m = *publish;
    int r;

    if (m.qos > c->max_qos)
        return bt_client_fail(c, BT_CLIENT_REFUSED,
                              "the broker takes messages up to QoS %u only",
                              (unsigned)c->max_qos);
    m.pid = m.qos > 0 ? next_pid(c) : 0;
    r = bt_mqtt_encode_publish(&c->out, c->version, &m, props);
    if (r == 0 && c->max_packet > 0 && c->out.len > c->max_packet) {
        c->out.len = 0;
        return bt_client_fail(c, BT_CLIENT_REFUSED,
                              "the broker takes packets up to %u bytes only",
                              (unsigned)c->max_packet);
    }
    r = send_encoded(c, r);
    if (r != 0 || m.qos == 0)
        return r;
    if (m.qos == 1)
        return await(c, BT_MQTT_PUBACK, m.pid);
    r = await(c, BT_MQTT_PUBREC, m.pid);
    if (r == 0)
        r = acknowledge(c, BT_MQTT_PUBREL, m.pid);
    return r != 0 ? r : await(c, BT_MQTT_PUBCOMP, m.pid);
}

int bt_client_subscribe(struct bt_client *c, const struct bt_mqtt_sub *subs, size_t n,
                        const struct bt_mqtt_props *props, uint16_t *pid)
{
    *pid = next_pid(c);
    return send_encoded(
        c, bt_mqtt_encode_subscribe(&c->out, c->version, *pid, subs, n, props));
}

int bt_client_unsubscribe(struct bt_client *c, const struct bt_slice *filters, size_t n,
                          const struct bt_mqtt_props *props, uint16_t *pid)
{
    *pid = next_pid(c);
    return send_encoded(
        c, bt_mqtt_encode_unsubscribe(&c->out, c->version, *pid, filters, n, props));
}
