/* The packet identifiers of a client's QoS 2 publishes that are under way, from PUBLISH
 * to PUBCOMP (MQTT 5.0 §4.3.3): a small hash table, made on first use. One owner: the
 * session's worker. */
#ifndef HUB_INCOMING_H
#define HUB_INCOMING_H

#include "core/base.h"

#define HUB_IN_ANSWERED 1u /* PUBREC is due for every further PUBLISH of it */
#define HUB_IN_OLD      2u /* its PUBLISH came by an earlier connection only */
#define HUB_IN_STORED   4u /* a row of the store says so too */
#define HUB_IN_CLOSING  8u /* PUBREL came, its row is being deleted */

struct hub_incoming;

/* The flags of pid, valid until the next add or remove; NULL when it is not there, or in
 * is NULL. */
uint8_t *hub_incoming_find(struct hub_incoming *in, uint16_t pid);
/* pid is not there and not 0. Makes *in, or a larger one. BT_ENOMEM: nothing changed. */
int hub_incoming_add(struct hub_incoming **in, uint16_t pid, uint8_t flags) BT_MUST_CHECK;
/* pid is there. An empty table that had grown is freed. */
void hub_incoming_remove(struct hub_incoming **in, uint16_t pid);
/* Sets flags on every identifier; frees an empty table. */
void hub_incoming_mark(struct hub_incoming **in, uint8_t flags);
uint32_t hub_incoming_count(const struct hub_incoming *in); /* NULL is fine */

#endif
