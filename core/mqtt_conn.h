/* An MQTT client on a loop that never waits: it connects, logs in, subscribes, keeps the
 * connection alive, and connects again when it is lost. MQTT 5, and 3.1.1 where the
 * broker knows nothing newer. Used by the function manager for brokers on other machines.
 * All calls and callbacks on the loop's thread.
 *
 * What arrives at QoS 1 and 2 is acknowledged only when the application says so, in any
 * order; the acknowledgements go out in the order of arrival ([MQTT-4.6.0-2]). What is
 * published at QoS 1 and 2 is kept in memory until the broker has it, and is sent again
 * after a reconnect (§4.4). Both are bounded. */
#ifndef CORE_MQTT_CONN_H
#define CORE_MQTT_CONN_H

#include "core/loop.h"
#include "core/mqtt.h"
#include "core/stream.h"

struct bt_mqtt_conn;

/* First pause before a reconnect; it doubles up to interval_ms. Half of each pause is
 * random, so that clients that lost the same broker do not come back together. */
#define BT_MQTT_CONN_PAUSE_MS 500u
/* A session that lasted so long makes the next pause the first one again. */
#define BT_MQTT_CONN_STABLE_MS 10000u

/* A message that arrived. The application owns it until bt_mqtt_message_ack, which it may
 * call after the client was closed, too. */
struct bt_mqtt_message {
    struct bt_slice topic, payload;
    uint8_t qos;
    bool dup, retain;
    uint16_t pid; /* 0 at QoS 0 */
};
/* The properties it came with; borrowed from it. Before version 5: none. */
void bt_mqtt_message_props(const struct bt_mqtt_message *m, struct bt_mqtt_props *out);
/* Done with, freed here. ok: acknowledged to the broker. Otherwise it is not: the broker
 * delivers it again on the next connection, and when half of the window is taken up by
 * such messages the connection is made anew. QoS 0: no difference. */
void bt_mqtt_message_ack(struct bt_mqtt_message *m, bool ok);

/* Why there is no connection. */
struct bt_mqtt_loss {
    uint8_t reason;    /* enum bt_mqtt_reason, as far as there is one that fits; or 0 */
    bool refused;      /* the broker said no to the login or to a subscription */
    const char *why;   /* one line for people, without the address */
    uint32_t retry_ms; /* until the next attempt; 0: there is none (interval_ms is 0) */
};

struct bt_mqtt_conn_conf {
    struct bt_loop *loop;
    const struct bt_stream_ops *stream; /* NULL: bt_stream_net */
    struct bt_resolver *resolver;
    struct bt_tls_ctx *tls; /* for an address with TLS; referenced */
    const char *address;    /* as bt_stream_parse takes it */
    /* Nothing of this is kept. connect.version: 0 = 5, and 3.1.1 when that is refused.
     * connect.keepalive: of the broker; a silent broker is given up after twice that. */
    struct bt_mqtt_connect connect;
    uint32_t session_expiry; /* s that version 5 keeps a session that is not clean */
    const struct bt_mqtt_sub *subs; /* made at every login */
    size_t n_subs;
    uint16_t window_in;   /* received and not acknowledged, from 1 (version 5) */
    uint16_t window_out;  /* sent and not acknowledged, from 1 */
    uint32_t max_packet;  /* that the broker may send */
    size_t max_in;        /* bytes of messages that the application holds, but one */
    size_t max_out;       /* bytes of messages on their way to the broker, but one */
    uint32_t timeout_ms;  /* of connecting, and of each answer */
    uint32_t interval_ms; /* longest pause before a reconnect; 0: no reconnect */
    void *arg;
    /* Each may be NULL. None is called from inside a call of the application, and each
     * may close the client. */
    /* Logged in and subscribed. */
    void (*on_up)(void *arg, bool session_present);
    /* There is no connection any more, or an attempt to make one failed. */
    void (*on_down)(void *arg, const struct bt_mqtt_loss *loss);
    /* Takes m. May come before on_up. */
    void (*on_message)(void *arg, struct bt_mqtt_message *m);
    /* A publish at QoS 1 or 2 is with the broker, or was refused (reason >= 0x80). */
    void (*on_published)(void *arg, uint64_t token, unsigned reason);
    /* After bt_mqtt_conn_publish gave BT_EBUSY: half of max_out is free. */
    void (*on_room)(void *arg);
};

/* Begins to connect. Strings are not kept. BT_EINVAL: the address or what is asked for
 * cannot be said in MQTT; BT_ELIMIT: too long; BT_ENOMEM. */
int bt_mqtt_conn_new(const struct bt_mqtt_conn_conf *conf,
                     struct bt_mqtt_conn **out) BT_MUST_CHECK;
/* Say goodbye as far as that needs no waiting, and free. No callback follows. Messages
 * that the application holds stay valid. NULL is fine. */
void bt_mqtt_conn_close(struct bt_mqtt_conn *c);

/* Send a message; everything is copied, pid and dup are chosen here. QoS 1 and 2 may be
 * given at any time; on_published(token) follows, once, or never when the client is
 * closed before. BT_EINVAL: the topic or QoS; BT_ELIMIT: larger than the broker takes;
 * BT_EBUSY: max_out is reached; BT_ECLOSED: QoS 0 without a connection, or no reconnect
 * will come; BT_ENOMEM. */
int bt_mqtt_conn_publish(struct bt_mqtt_conn *c, const struct bt_mqtt_publish *p,
                         const struct bt_mqtt_props *props, uint64_t token) BT_MUST_CHECK;
/* Stop reading, and go on. While stopped no acknowledgement is seen either, and a silent
 * broker is not noticed; pings go on. */
void bt_mqtt_conn_pause(struct bt_mqtt_conn *c, bool paused);
bool bt_mqtt_conn_is_up(const struct bt_mqtt_conn *c);
/* Largest payload that the broker takes with a topic of this length; before the first
 * login what MQTT can say. */
size_t bt_mqtt_conn_max_payload(const struct bt_mqtt_conn *c, size_t topic_len);
/* The version spoken now, or tried next. */
uint8_t bt_mqtt_conn_version(const struct bt_mqtt_conn *c);

#endif
