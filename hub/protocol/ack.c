/* Packets that acknowledge: PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 5.0 §3.4 to §3.7). At
 * QoS 2 there are three of them for every message and direction, so the short form, an
 * identifier and nothing else, is read in place.
 *
 * Each returns 0 or the reason to close the connection with. An identifier nobody knows
 * is no reason to close: it is what a client says whose state is older than ours. */
#include "core/log.h"
#include "hub/net/conn.h"

struct ack {
    uint16_t pid;
    uint8_t reason;
};

static int read_ack(const struct hub_conn *c, const uint8_t *p, size_t n, struct ack *out)
{
    struct bt_mqtt_packet m;
    int r;

    if (bt_likely(n == 4 && p[1] == 2 && (p[0] & 8) == 0)) {
        *out = (struct ack){ .pid = (uint16_t)(p[2] << 8 | p[3]) };
        return out->pid == 0 ? BT_MQTT_PROTOCOL_ERROR : 0;
    }
    r = bt_mqtt_decode(p, n, c->version, &m);
    *out = (struct ack){ .pid = m.pid, .reason = m.reason };
    return r;
}

static void unknown(const struct hub_conn *c, const char *packet, uint16_t pid)
{
    bt_log(BT_LOG_DEBUG, "HUB-ACK", "acknowledgement of an unknown packet identifier",
           "client=%s packet=%s pid=%u", c->link.session->id, packet, pid);
}

int hub_on_puback(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct ack a;
    int r = read_ack(c, p, n, &a);

    if (r == 0 && !hub_session_ack(c->link.session, a.pid))
        unknown(c, "PUBACK", a.pid);
    return r;
}

int hub_on_pubrec(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct ack a;
    int r = read_ack(c, p, n, &a);

    return r == 0 ? hub_session_pubrec(c->link.session, a.pid, a.reason) : r;
}

int hub_on_pubrel(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct ack a;
    int r = read_ack(c, p, n, &a);

    return r == 0 ? hub_session_pubrel(c->link.session, a.pid) : r;
}

int hub_on_pubcomp(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct ack a;
    int r = read_ack(c, p, n, &a);

    if (r == 0 && !hub_session_pubcomp(c->link.session, a.pid))
        unknown(c, "PUBCOMP", a.pid);
    return r;
}
