/* Deliveries for the sessions of another worker, gathered during one loop turn and posted
 * as one message. Built by one worker, taken apart by another; never touched by both.
 *
 * A small publish that nobody has to keep travels as a copy of its bytes in the batch's
 * own memory: no block is allocated on one thread and freed on another, no counter is
 * shared. Everything else travels as a reference. */
#ifndef HUB_XBATCH_H
#define HUB_XBATCH_H

#include "core/mbox.h"
#include "hub/route/match.h"
#include "hub/store/store.h"

/* Publishes up to this many bytes (topic, properties, payload) are copied. */
#define HUB_XITEM_COPY_MAX 1024u

struct hub_xitem {
    struct hub_msg *msg;     /* one reference; NULL: the bytes follow the item */
    struct hub_match *match; /* shared subscription: one reference; else NULL */
    struct hub_ticket *ticket;
    const struct hub_addr *origin;
    int32_t group; /* of match; -1: all sessions of the worker */
    uint32_t member;
    uint32_t payload_len, expiry_s;
    uint16_t topic_len, props_len;
    uint8_t qos;
    bool retain;
    uint8_t bytes[]; /* topic, properties, payload when msg is NULL */
};

struct hub_xchunk;
struct hub_xbatch {
    struct bt_msg msg;
    struct hub_xchunk *head, *tail;
    size_t bytes; /* of memory that the items hold */
};

/* NULL when out of memory. */
struct hub_xbatch *hub_xbatch_new(void) BT_MUST_CHECK;
/* A new item at the end that stands for pub, by reference when it has a block already,
 * carries a ticket (share true) or is large, else by copy. Members from match to member
 * are zero, ticket too. NULL when out of memory; the batch is as before. */
struct hub_xitem *hub_xbatch_add(struct hub_xbatch *b, struct hub_pub *pub,
                                 bool share) BT_MUST_CHECK;
/* The items in order: NULL starts, NULL ends. */
struct hub_xitem *hub_xbatch_next(struct hub_xbatch *b, struct hub_xitem *it);
/* What the item stands for; borrows it, and takes its reference over. */
void hub_xitem_pub(struct hub_xitem *it, struct hub_pub *out);
/* The memory; the items' references are the caller's. */
void hub_xbatch_free(struct hub_xbatch *b);

#endif
