/* A small blocking MQTT client for the command line: one connection over TCP, TLS or a
 * Unix socket, one message in flight. One thread. After a failure `error` holds a plain
 * sentence for the user; nothing is logged. */
#ifndef CORE_MQTT_CLIENT_H
#define CORE_MQTT_CLIENT_H

#include "core/mqtt.h"

#include <signal.h>

struct bt_tls;

#define BT_CLIENT_ERROR_LEN 512
/* Conditions. */
#define BT_CLIENT_REFUSED 1 /* the broker said no; `reason` is its code */
#define BT_CLIENT_STOPPED 2 /* *stop became true */

struct bt_client_conf {
    const char *address; /* tcp://HOST:PORT, ssl://HOST:PORT or unix:///PATH */
    /* TLS: files, NULL = the system's CAs and no certificate of ours. */
    const char *cafile, *cert, *key;
    bool insecure;       /* take any certificate */
    uint32_t timeout_ms; /* for connecting and for each answer; > 0 */
    struct bt_mqtt_connect connect;
    struct bt_mqtt_props props;
    const volatile sig_atomic_t *stop; /* looked at twice a second; may be NULL */
};

struct bt_client {
    const struct bt_client_conf *conf; /* borrowed */
    int fd;
    uint8_t version, reason, max_qos;
    bool session_present, pinged;
    uint16_t keepalive, last_pid;
    uint32_t max_packet; /* what the broker takes; 0 = any size */
    size_t taken;        /* bytes of `in` the last packet used */
    uint64_t sent_ms;    /* last time something was sent */
    struct bt_buf in, out;
    struct bt_buf wire, cipher; /* encrypted: on its way out, not decrypted yet */
    struct bt_tls *tls;         /* NULL: plain */
    uint8_t received[8192];     /* a bit for each packet id with an open QoS 2 exchange */
    char error[BT_CLIENT_ERROR_LEN];
};

/* Open the connection and log in. 0, BT_CLIENT_REFUSED, BT_CLIENT_STOPPED, BT_EINVAL
 * (address), BT_EIO, BT_ETLS, BT_ETIMEOUT, BT_ECLOSED, BT_ENOMEM. bt_client_deinit is due
 * in every case. */
int bt_client_connect(struct bt_client *c,
                      const struct bt_client_conf *conf) BT_MUST_CHECK;
/* Closes without DISCONNECT; may run twice. */
void bt_client_deinit(struct bt_client *c);
/* Send DISCONNECT, as far as the connection still takes it. */
void bt_client_disconnect(struct bt_client *c, const struct bt_mqtt_props *props);

/* Send a message and finish its exchange. pid is chosen here. 0, BT_CLIENT_REFUSED (a
 * reason code
 * >= 0x80), BT_CLIENT_STOPPED or a fatal code. Messages that arrive meanwhile are
 * dropped. */
int bt_client_publish(struct bt_client *c, const struct bt_mqtt_publish *publish,
                      const struct bt_mqtt_props *props) BT_MUST_CHECK;
/* Send SUBSCRIBE or UNSUBSCRIBE; the answer comes from bt_client_next with this packet
 * id. */
int bt_client_subscribe(struct bt_client *c, const struct bt_mqtt_sub *subs, size_t n,
                        const struct bt_mqtt_props *props, uint16_t *pid) BT_MUST_CHECK;
int bt_client_unsubscribe(struct bt_client *c, const struct bt_slice *filters, size_t n,
                          const struct bt_mqtt_props *props, uint16_t *pid) BT_MUST_CHECK;
/* The next packet that is not about keeping alive or about finishing QoS 2. Slices in
 * *out live until the next call. Until deadline_ms of bt_clock_ms (0 = for ever):
 * BT_ETIMEOUT. */
int bt_client_next(struct bt_client *c, uint64_t deadline_ms,
                   struct bt_mqtt_packet *out) BT_MUST_CHECK;
/* Acknowledge a message that bt_client_next gave out, once it has been dealt with. */
int bt_client_accept(struct bt_client *c,
                     const struct bt_mqtt_publish *publish) BT_MUST_CHECK;
/* Keep the connection alive until fd can be read. */
int bt_client_wait_fd(struct bt_client *c, int fd) BT_MUST_CHECK;

#endif
