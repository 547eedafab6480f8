/* Limits of one client and of what has no client yet: counted by cause, and told in the
 * log at a bounded rate. */
#ifndef HUB_LIMIT_H
#define HUB_LIMIT_H

#include "hub/net/conn.h"

/* X(name, the `cause` label, a sentence). A new cause is a new row, nothing else. */
#define HUB_LIMITS(X)                                                                    \
    X(MESSAGE_RATE, "message_rate", "a client publishes faster than it may; it waits")   \
    X(BYTE_RATE, "byte_rate", "a client sends more bytes than it may; it waits")         \
    X(PACKET, "packet", "a client sent a larger packet than it may; closed")             \
    X(SUBSCRIPTIONS, "subscriptions", "a client has as many subscriptions as it may")    \
    X(PRINCIPAL, "principal_connections", "a user has as many connections as it may")    \
    X(STALLED_WRITER, "stalled_writer", "a packet did not arrive in time; closed")       \
    X(STALLED_READER, "stalled_reader", "a client does not read; closed")                \
    X(HALF_OPEN, "half_open", "too many connections without CONNECT; the oldest closed") \
    X(CONNECT_RATE, "connect_rate", "too many new connections; one refused")             \
    X(ADDRESS_RATE, "address_rate",                                                      \
      "too many new connections of one address; one refused")
#define HUB_LIMIT_ENUM(name, label, text) HUB_LIMIT_##name,
enum hub_limit { HUB_LIMITS(HUB_LIMIT_ENUM) HUB_N_LIMITS };

const char *hub_limit_text(enum hub_limit what);
void hub_limits_register(void); /* once, before a worker runs */
/* The connection reached a limit. Its worker's thread. */
void hub_limited(struct hub_conn *c, enum hub_limit what);
/* A connection that is not even accepted. w: of the calling thread. */
void hub_limited_at_door(struct hub_worker *w, int fd, enum hub_limit what);

/* ---- hub/access/meter.c: what one client may send ---- */

/* Before CONNACK and after a reload: prepare for the limits of the principal. BT_ENOMEM.
 */
int hub_meter_init(struct hub_conn *c) BT_MUST_CHECK;
/* After a reload. */
void hub_meter_reload(struct hub_conn *c);
/* A packet of n bytes was handled; pauses the connection when it is ahead of its rate. */
void hub_meter_packet(struct hub_conn *c, uint8_t first_byte, size_t n);
/* Largest packet that this client may send. */
uint64_t hub_meter_max_packet(const struct hub_conn *c);
/* Every half second: false when it was closed, because a packet that was begun does not
 * arrive or the client does not read. */
bool hub_meter_check_stall(struct hub_conn *c);
/* Whether hub_meter_check_stall has something to watch. */
static inline bool hub_meter_watches(const struct hub_conn *c)
{
    return c->in.len > 0 || c->blocked;
}

#endif
