/* What the files of the MQTT client on a loop share: core/mqtt_conn*.c only. */
#ifndef CORE_MQTT_CONN_PRIV_H
#define CORE_MQTT_CONN_PRIV_H

#include "core/list.h"
#include "core/mqtt_conn.h"

#define CONN_READ  16384u /* bytes of one read */
#define CONN_READS 16u    /* in one turn */
/* Encoded and unsent, before more is added. */
#define CONN_OUT_HIGH  ((size_t)256 * 1024)
#define CONN_SUB_PID   65535u /* of our SUBSCRIBE; never a message's */
#define CONN_OUT_MAX   60000u /* so that there is always a free packet identifier */
#define CONN_WHY_LEN   512u
#define CONN_N_PIDS    65536u
#define CONN_PID_BYTES (CONN_N_PIDS / 8)

enum conn_state {
    CONN_WAITING,     /* timer: the next attempt */
    CONN_OPENING,     /* the stream */
    CONN_LOGIN,       /* timer: CONNACK */
    CONN_SUBSCRIBING, /* timer: SUBACK */
    CONN_UP,
    CONN_DEAD, /* no reconnect */
};

/* A message that came. In `held` from its arrival on this connection until its
 * acknowledgement is sent; in `old` when it came on an earlier one and the broker has not
 * sent it again yet; in `loose` when there is nothing to acknowledge any more. */
struct conn_in {
    struct bt_mqtt_message m;
    struct bt_list link;
    struct bt_mqtt_conn *conn; /* NULL: closed */
    bool loose, old;
    bool done; /* acknowledged by the application, waits for its turn */
    uint8_t version;
    size_t len;
    uint8_t packet[];
};

/* A message on its way out. */
enum conn_out_state { OUT_QUEUED, OUT_SENT, OUT_RELEASED };
struct conn_out {
    struct bt_list link; /* queued, or sent */
    enum conn_out_state state;
    uint8_t qos, version;
    uint16_t pid;
    uint64_t token;
    struct bt_buf packet;
};

struct bt_mqtt_conn {
    struct bt_mqtt_conn_conf conf; /* only what is not borrowed is used */
    struct bt_stream_address address;
    struct bt_stream *stream;
    enum conn_state state;
    unsigned depth; /* inside callbacks of the loop */
    bool closed;    /* by the application: freed when depth is 0 */
    bool paused, asked_room;
    uint8_t version;
    /* [0]: version 5, [1]: 3.1.1 */
    struct bt_buf connect[2], subscribe[2];
    struct bt_buf in, out;
    struct bt_timer timer, alive_timer, turn_timer;
    unsigned n_attempts; /* failed, since the last stable session */
    uint64_t up_ms;      /* when it came up */
    /* Keeping alive. */
    uint32_t keepalive_ms; /* 0: off */
    uint64_t sent_ms, received_ms, pinged_ms;
    bool pinged;
    /* What the broker takes. */
    uint16_t peer_window;
    uint32_t peer_max_packet; /* 0: any */
    uint8_t peer_max_qos;
    bool peer_retain;
    bool session_present;
    bool was_up; /* a session of ours is at the broker */
    /* In. */
    struct bt_list held, old, loose;
    size_t n_held, in_bytes;
    unsigned n_refused;                /* bt_mqtt_message_ack(false), this connection */
    unsigned n_receiving;              /* QoS 2: bits in `receiving` */
    uint8_t known[CONN_PID_BYTES];     /* in held or old */
    uint8_t receiving[CONN_PID_BYTES]; /* QoS 2: PUBREC sent, no PUBREL yet */
    /* Out. */
    struct bt_list queued, sent;
    struct bt_list *again; /* in sent: from here on not sent on this connection yet */
    size_t n_wire;         /* of sent: those that were */
    size_t out_bytes;
    uint16_t last_pid;
    uint8_t used[CONN_PID_BYTES]; /* by `sent` */
    /* QoS 2 packet ids that the broker may remember from a process before this one; NULL
     * when there are none. */
    uint8_t *foreign;
    /* Why it is about to be lost. */
    bool failing;
    uint8_t reason;
    bool refused; /* the login or the subscription */
    bool ended;   /* the broker has closed, or must not be spoken to */
    bool no_such_version;
    char why[CONN_WHY_LEN];
};

static inline bool conn_bit(const uint8_t *bits, unsigned pid)
{
    return (bits[pid / 8] & 1u << pid % 8) != 0;
}
static inline void conn_bit_set(uint8_t *bits, unsigned pid)
{
    bits[pid / 8] = (uint8_t)(bits[pid / 8] | 1u << pid % 8);
}
static inline void conn_bit_clear(uint8_t *bits, unsigned pid)
{
    bits[pid / 8] = (uint8_t)(bits[pid / 8] & ~(1u << pid % 8));
}
static inline struct conn_in *conn_in_of(struct bt_list *it)
{
    return bt_list_entry(it, struct conn_in, link);
}
static inline struct conn_out *conn_out_of(struct bt_list *it)
{
    return bt_list_entry(it, struct conn_out, link);
}

/* The connection is to be given up. */
#define CONN_LOST 1
/* Remembers the first cause and returns CONN_LOST: whoever called is to come back to the
 * loop's callback, which loses the connection (in a call of the application: the next
 * turn does). reason: for the broker and for the application. */
int conn_fail(struct bt_mqtt_conn *c, unsigned reason, const char *fmt, ...)
    BT_PRINTF(3, 4);
/* The same for a result of ours: 0, or CONN_LOST. */
int conn_check(struct bt_mqtt_conn *c, int r);

/* mqtt_conn.c: the packets of the login. 0 or CONN_LOST. */
int conn_on_connack(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p);
int conn_on_suback(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p);
/* Have the turn timer look at everything soon. */
void conn_soon(struct bt_mqtt_conn *c);

/* mqtt_conn_in.c. 0 or CONN_LOST; stops early when the client is closed. */
int conn_read(struct bt_mqtt_conn *c);
/* A login worked: what the application holds is matched with what comes again, or
 * forgotten. */
void conn_in_login(struct bt_mqtt_conn *c, bool session_present);
/* The connection is lost: what is held waits to come again. */
void conn_in_lost(struct bt_mqtt_conn *c);
/* Messages live on without the client. */
void conn_in_detach(struct bt_mqtt_conn *c);

/* mqtt_conn_out.c. 0 or CONN_LOST. */
int conn_send_ack(struct bt_mqtt_conn *c, enum bt_mqtt_type type, unsigned pid,
                  unsigned reason);
/* Moves waiting messages to the output as far as the window allows, and writes. */
int conn_write(struct bt_mqtt_conn *c);
int conn_out_login(struct bt_mqtt_conn *c, bool session_present);
int conn_on_puback(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p);
int conn_on_pubrec(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p);
int conn_on_pubcomp(struct bt_mqtt_conn *c, const struct bt_mqtt_packet *p);
void conn_out_free(struct bt_mqtt_conn *c);

#endif
