/* What a client says to the simulated hub, and what it hears: a few words for tests.
 * Version 3.1.1 or 5, chosen when the client logs in. */
#ifndef TESTS_HUB_SIM_MQTT_H
#define TESTS_HUB_SIM_MQTT_H

#include <stdarg.h>

#include "tests/hub/sim.h"

struct sim_packet {
    uint8_t data[70000];
    size_t len;
};

/* A packet is built from its body: sim_begin_packet, sim_put_*, then sim_finish. */
static struct sim_packet sim_body;

static void sim_put(const void *p, size_t n)
{
    sim_need(sim_body.len + n <= sizeof(sim_body.data), "packet too long");
    if (n > 0)
        memcpy(sim_body.data + sim_body.len, p, n);
    sim_body.len += n;
}

static void sim_put_u8(unsigned v)
{
    uint8_t b = (uint8_t)v;

    sim_put(&b, 1);
}

static void sim_put_u16(unsigned v)
{
    sim_put_u8(v >> 8);
    sim_put_u8(v & 255);
}

static void sim_put_text(const char *s)
{
    sim_put_u16((unsigned)strlen(s));
    sim_put(s, strlen(s));
}

static void sim_finish(struct sim_peer *p, unsigned first)
{
    uint8_t head[5] = { (uint8_t)first };
    size_t n = 1, len = sim_body.len;

    do {
        head[n++] = (uint8_t)((len & 127) | (len > 127 ? 128 : 0));
        len >>= 7;
    } while (len > 0);
    sim_send(p, head, n);
    sim_send(p, sim_body.data, sim_body.len);
    sim_body.len = 0;
}

struct sim_login {
    const char *id;
    unsigned version; /* 0 = 3.1.1 */
    bool keep;        /* the session: clean start otherwise; version 5: for ever */
    bool clean;       /* with keep, version 5: a new session that is kept */
    const char *will_topic, *will_payload;
    unsigned will_qos;
    bool will_retain;
};

__attribute__((unused)) static void sim_say_connect(struct sim_peer *p,
                                                    const struct sim_login *l)
{
    unsigned version = l->version == 0 ? 4 : l->version;
    unsigned flags = !l->keep || l->clean ? 2 : 0;

    if (l->will_topic != NULL)
        flags |= 4 | l->will_qos << 3 | (l->will_retain ? 32 : 0);
    sim_put_text("MQTT");
    sim_put_u8(version);
    sim_put_u8(flags);
    sim_put_u16(0);
    if (version == 5 && l->keep)
        sim_put("\x05\x11\xff\xff\xff\xff", 6);
    else if (version == 5)
        sim_put_u8(0);
    sim_put_text(l->id);
    if (l->will_topic != NULL) {
        if (version == 5)
            sim_put_u8(0);
        sim_put_text(l->will_topic);
        sim_put_text(l->will_payload);
    }
    sim_finish(p, 0x10);
}

struct sim_client {
    struct sim_peer *peer;
    unsigned version;
};

/* flags: 1 retain, 8 dup. */
__attribute__((unused)) static void sim_say_publish(const struct sim_client *c,
                                                    const char *topic,
                                                    const char *payload, unsigned qos,
                                                    unsigned flags, unsigned pid)
{
    sim_put_text(topic);
    if (qos > 0)
        sim_put_u16(pid);
    if (c->version == 5)
        sim_put_u8(0);
    sim_put(payload, strlen(payload));
    sim_finish(c->peer, 0x30 | qos << 1 | flags);
}

__attribute__((unused)) static void sim_say_subscribe(const struct sim_client *c,
                                                      const char *filter, unsigned qos,
                                                      unsigned pid)
{
    sim_put_u16(pid);
    if (c->version == 5)
        sim_put_u8(0);
    sim_put_text(filter);
    sim_put_u8(qos);
    sim_finish(c->peer, 0x82);
}

__attribute__((unused)) static void sim_say_unsubscribe(const struct sim_client *c,
                                                        const char *filter, unsigned pid)
{
    sim_put_u16(pid);
    if (c->version == 5)
        sim_put_u8(0);
    sim_put_text(filter);
    sim_finish(c->peer, 0xa2);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP by its first byte. */
__attribute__((unused)) static void sim_say_ack(const struct sim_client *c,
                                                unsigned first, unsigned pid)
{
    sim_put_u16(pid);
    sim_finish(c->peer, first);
}

/* DISCONNECT 0xe0, PINGREQ 0xc0. */
__attribute__((unused)) static void sim_say(const struct sim_client *c, unsigned first)
{
    sim_finish(c->peer, first);
}

/* ---- Hearing ---- */

struct sim_heard {
    unsigned type, flags, qos, pid, reason, session_present;
    char topic[64], payload[64];
    struct bt_slice packet;
};

static void sim_copy(char to[64], struct bt_slice s)
{
    size_t n = BT_MIN(s.len, 63u);

    memcpy(to, s.ptr, n);
    to[n] = '\0';
}

/* The next packet; false when there is none. Packets the hub sends always decode. */
__attribute__((unused)) static bool sim_hear(const struct sim_client *c,
                                             struct sim_heard *out)
{
    struct bt_slice s = sim_next(c->peer);
    struct bt_mqtt_packet m;

    memset(out, 0, sizeof(*out));
    if (s.ptr == NULL)
        return false;
    sim_need(bt_mqtt_decode(s.ptr, s.len, (uint8_t)c->version, &m) == 0,
             "the hub sent a packet that does not decode");
    out->packet = s;
    out->type = m.type;
    out->flags = s.ptr[0] & 15u;
    out->pid = m.pid;
    out->reason = m.reason;
    if (m.type == BT_MQTT_CONNACK)
        out->session_present = s.ptr[2];
    if (m.type == BT_MQTT_SUBACK || m.type == BT_MQTT_UNSUBACK)
        out->reason = s.ptr[s.len - 1];
    if (m.type == BT_MQTT_PUBLISH) {
        out->qos = m.publish.qos;
        out->pid = m.publish.pid;
        sim_copy(out->topic, m.publish.topic);
        sim_copy(out->payload, m.publish.payload);
    }
    return true;
}

/* The next packet that is no PUBLISH. */
__attribute__((unused)) static bool sim_answer(const struct sim_client *c,
                                               struct sim_heard *out)
{
    while (sim_hear(c, out))
        if (out->type != BT_MQTT_PUBLISH)
            return true;
    return false;
}

/* Connects to worker 0 and logs in; ends the test program when that fails. */
__attribute__((unused)) static struct sim_client
sim_client_open(const struct sim_login *l)
{
    struct sim_client c = { sim_connect(0), l->version == 0 ? 4 : l->version };
    struct sim_heard h;

    sim_need(c.peer != NULL, "not accepted");
    sim_say_connect(c.peer, l);
    sim_run();
    sim_need(sim_hear(&c, &h) && h.type == BT_MQTT_CONNACK && h.reason == 0,
             "login failed");
    return c;
}

/* The connection breaks. */
__attribute__((unused)) static void sim_client_break(struct sim_client *c)
{
    c->peer->eof = true;
    sim_run();
}

#endif
