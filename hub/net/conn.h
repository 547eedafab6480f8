/* A network connection: descriptor, framing, output. It starts on the worker that
 * accepted it and moves once, with its first packet, to the worker where its session
 * lives. Its worker's thread only. */
#ifndef HUB_CONN_H
#define HUB_CONN_H

#include "core/buf.h"
#include "core/list.h"
#include "core/loop.h"
#include "core/mbox.h"
#include "core/mqtt.h"
#include "hub/net/ip.h"
#include "hub/net/outq.h"
#include "hub/net/stream.h"
#include "hub/protocol/v5.h"
#include "hub/session/session.h"

struct hub_worker;
struct hub_guard;
struct hub_listener_opts;

struct hub_conn {
    struct hub_link link;
    struct bt_msg msg; /* travelling to its home worker */
    struct hub_worker *worker;
    struct bt_io io;
    struct hub_stream *stream; /* NULL: plain */
    const struct hub_listener_opts *listener;
    struct bt_list all; /* worker's fresh, conns or graveyard */
    struct bt_list
        dirty; /* in the worker's dirty list while output waits for the turn's end */
    struct bt_buf in; /* an incomplete packet */
    struct hub_outq out;
    struct hub_guard *guard; /* hub/access/login.h; NULL: not needed */
    struct hub_v5 *v5;       /* what a version 5 client asked for; NULL: nothing */
    uint64_t deadline_ms;    /* loop time by which something must arrive, 0 = none */
    uint32_t keepalive_ms;   /* 1.5 times the client's value */
    uint32_t output_left;    /* of out.bytes, after the last flush */
    uint8_t version;         /* 0 before CONNECT */
    uint8_t close_reason;
    uint8_t paused;               /* HUB_PAUSE_x: why nothing is read */
    uint16_t in_ticks, out_ticks; /* how long a packet, or the peer, stands still */
    bool fresh;                   /* no CONNECT yet: in the worker's fresh list */
    bool over;                    /* one too many: CONNECT is answered so */
    bool closed, blocked, full, doomed;
};

/* Take a fresh descriptor that came by this listener. over: it comes faster than it may,
 * so its CONNECT is refused. */
void hub_conn_accept(struct hub_worker *w, int fd, const struct hub_listener_opts *o,
                     bool over);
/* It has sent its CONNECT. */
void hub_conn_settle(struct hub_conn *c);
/* Arrived from another worker with its CONNECT packet in c->in. */
void hub_conn_adopt(struct hub_worker *w, struct hub_conn *c);
/* Pass the connection, with these unread bytes, to its home. */
void hub_conn_move(struct hub_conn *c, struct hub_worker *home, struct bt_slice rest);
/* Close at the end of the turn; sends DISCONNECT with the reason to a version 5 client
 * when it is an error. will: the session publishes its will. Idempotent. */
void hub_conn_close(struct hub_conn *c, uint8_t reason, bool will);
/* Write what waits; called at the end of a turn and when the socket is writable. */
void hub_conn_flush(struct hub_conn *c);
void hub_conn_free(struct hub_conn *c);
/* Close when silent for too long. Returns whether the tick is still needed. */
bool hub_conn_check_time(struct hub_conn *c, uint64_t now_ms);
/* Output was added: flush at the end of the turn. */
void hub_conn_touch(struct hub_conn *c);
/* Is a packet of n bytes one the client takes (MQTT 5.0 §3.1.2.11.4)? */
bool hub_conn_fits(const struct hub_conn *c, size_t n);
/* Append the bytes of b (an encoded packet) to the output and empty b. One that the
 * client does not take closes the connection. */
void hub_conn_send(struct hub_conn *c, struct bt_buf *b);
/* Stop reading for a reason, and start again when there is none any more. */
#define HUB_PAUSE_UNACKED 1u /* too much waits for its commit */
#define HUB_PAUSE_LOGIN   2u /* the login takes time */
#define HUB_PAUSE_RATE    4u /* more than its limits allow */
#define HUB_PAUSE_TRANSIT 8u /* another worker cannot keep up */
void hub_conn_pause(struct hub_conn *c, uint8_t why);
void hub_conn_unpause(struct hub_conn *c, uint8_t why);
/* Of the peer, asked of the kernel. */
struct hub_ip hub_conn_ip(const struct hub_conn *c);

extern const struct hub_link_ops hub_conn_link_ops;

/* hub/protocol/packet.c: handle one whole packet. 0, or the reason to close with. */
int hub_packet(struct hub_conn *c, const uint8_t *p, size_t n);
/* hub/protocol/ack.c: as hub_packet. */
int hub_on_puback(struct hub_conn *c, const uint8_t *p, size_t n);
int hub_on_pubrec(struct hub_conn *c, const uint8_t *p, size_t n);
int hub_on_pubrel(struct hub_conn *c, const uint8_t *p, size_t n);
int hub_on_pubcomp(struct hub_conn *c, const uint8_t *p, size_t n);
/* hub/protocol/subscribe.c: as hub_packet. */
int hub_on_subscribe(struct hub_conn *c, const uint8_t *p, size_t n);
int hub_on_unsubscribe(struct hub_conn *c, const uint8_t *p, size_t n);
/* hub/protocol/connect.c: the first packet. rest: what follows it. Returns as hub_packet;
 * the connection may have moved away (c->worker differs), then it must not be touched any
 * more. */
#define HUB_CONN_MOVED (-100)
/* The connection is paused; the packet was not used. */
#define HUB_CONN_WAITS (-101)
int hub_connect(struct hub_conn *c, const uint8_t *p, size_t n, struct bt_slice rest);

/* An answer that must wait for a commit: SUBACK, UNSUBACK. */
struct hub_answer {
    struct hub_ticket ticket;
    struct hub_addr *addr;
    uint64_t link_serial;
    struct bt_buf bytes; /* the packet */
    struct bt_buf
        filters; /* filters to replay retained messages for: struct hub_replay + text */
};
void hub_answer_done(struct hub_answer *a);

#endif
