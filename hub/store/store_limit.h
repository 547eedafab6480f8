/* The limits of one session's queue on disk: how many rows, how many bytes, and what
 * gives way. Private to the store; store thread. */
#ifndef HUB_STORE_LIMIT_H
#define HUB_STORE_LIMIT_H

#include "core/base.h"

struct hub_store_tx;

struct hub_store_limits {
    uint32_t messages;   /* 0 = no limit */
    uint64_t bytes;      /* of payloads and topics; 0 = no limit */
    bool drop_oldest[3]; /* by QoS of the delivery; else the newest is not stored */
};
/* How long a queue is, for the sessions that were stored for. */
struct hub_store_queue {
    uint64_t sid; /* 0 = free */
    uint64_t messages, bytes;
};
struct hub_store_limiter {
    struct hub_store_limits limits;
    struct hub_store_queue *queues; /* hash table; NULL: nothing is limited, or known */
    uint32_t n, cap;
    uint64_t dropped; /* since somebody reset it */
};

#define HUB_STORE_REFUSED 1 /* condition: the newest gives way */
/* Before a row of so many bytes is stored: makes room, or says that there is none. 0,
 * HUB_STORE_REFUSED, or a failure. */
int hub_store_limit_admit(struct hub_store_tx *tx, uint64_t sid, uint8_t qos,
                          uint64_t bytes) BT_MUST_CHECK;
/* A row left the queue, or (rows 0) only let go of its message; mid: the message, still
 * stored; negative: it was let go of before. */
int hub_store_limit_left(struct hub_store_tx *tx, uint64_t sid, uint64_t mid,
                         uint32_t rows) BT_MUST_CHECK;
/* What is known about this queue, or (0) about all, is not true any more. */
void hub_store_limit_forget(struct hub_store_tx *tx, uint64_t sid);
void hub_store_limit_deinit(struct hub_store_tx *tx);

#endif
