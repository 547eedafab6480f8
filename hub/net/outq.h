/* Output waiting for one socket: a chain of chunks. Small packets are copied one behind
 * the other; a large payload is referenced, not copied. One owner: the connection's
 * worker. */
#ifndef HUB_OUTQ_H
#define HUB_OUTQ_H

#include "core/base.h"
#include "hub/net/stream.h"
#include "hub/route/msg.h"

struct hub_chunk;
struct hub_outq {
    struct hub_chunk *head, *tail;
    size_t bytes; /* waiting in all chunks */
};

#define HUB_OUTQ_REF_MIN 2048u /* payloads from this size on are referenced */

/* Room for n contiguous bytes at the end (n <= 65536 + 64); the caller fills exactly n.
 * NULL when out of memory. */
uint8_t *hub_outq_room(struct hub_outq *q, size_t n) BT_MUST_CHECK;
int hub_outq_bytes(struct hub_outq *q, const void *p, size_t n) BT_MUST_CHECK;
/* The payload of msg, by a new reference. */
int hub_outq_payload(struct hub_outq *q, struct hub_msg *msg) BT_MUST_CHECK;
/* Write to the stream (NULL: to fd) what it takes. 0 all written, HUB_OUTQ_AGAIN, < 0
 * when the peer is gone (not logged). */
#define HUB_OUTQ_AGAIN 1
int hub_outq_flush(struct hub_outq *q, struct hub_stream *s, int fd) BT_MUST_CHECK;
void hub_outq_deinit(struct hub_outq *q);

#endif
