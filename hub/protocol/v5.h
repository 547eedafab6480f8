/* What a version 5 client asked for in its CONNECT, and the topic aliases of its
 * connection (MQTT 5.0 §3.1.2.11, §3.3.2.3.4). Allocated only for a connection that
 * uses one of these. Its worker's thread only. */
#ifndef HUB_V5_H
#define HUB_V5_H

#include "core/mqtt.h"

#define HUB_ALIAS_OUT      16u           /* most aliases used towards one client */
#define HUB_ALIAS_OUT_MIN  8u            /* shorter topics are not worth one */
#define HUB_ALIAS_OUT_MAX  1024u         /* longer ones are not kept */
#define HUB_ALIAS_IN_BYTES (128u * 1024) /* topics remembered for one client */

struct hub_alias_in { /* client to hub */
    uint32_t len;     /* 0: not set */
    uint8_t *topic;
};
struct hub_alias_out { /* hub to client; alias is the place + 1 */
    uint16_t len;      /* 0: free */
    bool used;         /* since the hand came by */
    uint8_t *topic;
};
struct hub_v5 {
    uint32_t max_packet;       /* largest packet the client takes, 0 = any */
    uint16_t max_out;          /* aliases the client takes, at most HUB_ALIAS_OUT */
    uint16_t n_in;             /* places in `in` */
    uint16_t hand;             /* next place in `out` to look at */
    bool no_problem;           /* Request Problem Information is 0 */
    uint32_t in_bytes;         /* of all topics in `in` */
    struct hub_alias_in *in;   /* on first use */
    struct hub_alias_out *out; /* on first use */
};

void hub_v5_free(struct hub_v5 *v); /* NULL is fine */

/* hub/protocol/alias.c. The topic behind the alias of a PUBLISH from the client, or a new
 * meaning of it; most is the maximum that was announced. *vp is allocated when needed. 0
 * and *topic is not empty, or the reason to close with. */
int hub_alias_resolve(struct hub_v5 **vp, uint16_t most, uint16_t alias,
                      struct bt_slice *topic);
/* An alias for a topic towards the client: 0 for none. *known: the client has it, the
 * topic may be left out; otherwise hub_alias_sent must follow when the packet with both
 * was written. */
uint16_t hub_alias_for(struct hub_v5 *v, struct bt_slice topic, bool *known);
/* The client was told. Out of memory: the alias stays unused. */
void hub_alias_sent(struct hub_v5 *v, uint16_t alias, struct bt_slice topic);

#endif
