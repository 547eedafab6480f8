/* How much may be on its way from one worker to another. A worker that is faster than the
 * one it sends to would fill that one's mailbox without end; instead it stops reading the
 * clients that publish until there is room, and TCP makes them wait. */
#ifndef HUB_TRANSIT_H
#define HUB_TRANSIT_H

#include <stdatomic.h>

#include "core/mbox.h"

struct hub_worker;

/* Bytes on their way to one worker above which its senders stop reading publishers. Each
 * sender may be over it by one loop turn's batch. */
#define HUB_TRANSIT_MAX ((size_t)1024 * 1024)

struct hub_transit {
    struct bt_msg room;     /* to this worker: there is room again */
    _Atomic bool room_told; /* it is in the mailbox */
    _Atomic bool congested; /* this worker's publishers are not read */
    _Atomic size_t to_here; /* bytes on their way to this worker */
};

/* from's thread, before a batch of this size is posted to `to`. */
void hub_transit_add(struct hub_worker *from, struct hub_worker *to, size_t bytes);
/* to's thread, or the sender's when the post failed: the batch is done with. */
void hub_transit_done(struct hub_worker *to, size_t bytes);
/* w's thread: its message came; reads publishers again when all have room. */
void hub_transit_room(struct hub_worker *w);

#endif
