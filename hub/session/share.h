/* Shared subscriptions (MQTT 5.0 §4.8.2): which member gets a message, and what happens
 * to a member's messages when it goes. */
#ifndef HUB_SHARE_H
#define HUB_SHARE_H

#include "hub/route/match.h"
#include "hub/store/store.h"

struct hub_session;
struct hub_worker;

/* The member whose turn it is: among those with room if there are any, else among those
 * online, else among those whose session waits for its client. -1: all sessions are gone.
 * Any thread. */
int32_t hub_share_pick(const struct hub_group *g, uint32_t turn);

/* A message for this group would be kept: a member is ready, or waits on disk; or nobody
 * is left to keep it for. */
bool hub_share_has_room(const struct hub_group *g);

/* What other threads may know of the session: offline, busy or ready. Home worker. */
void hub_share_mark(struct hub_session *s);

/* Not yet sent messages of a filter the session has left go to the other members. */
void hub_share_left(struct hub_session *s, struct bt_slice filter);
/* The same for rows just read, as long as the others have room; what stays is sent here
 * ([MQTT-3.10.4-3]). */
void hub_share_sort_rows(struct hub_session *s, struct hub_store_rows *rows);

/* The session ends: its shared messages go to the other members (QoS 2 only when they
 * were never sent). true: the session is on its way and ends by itself when they are
 * safe; it is no longer found by its client id. */
bool hub_share_end(struct hub_session *s);
/* A read of a session on its way was answered. Takes rows. */
void hub_share_rows(struct hub_session *s, struct hub_store_rows *rows);
/* Everything of one session is safe with the others. */
struct hub_leaving;
void hub_share_done(struct hub_leaving *l);
struct hub_leaving *hub_share_of_ticket(struct bt_msg *msg);
/* Worker's end: free those still on their way; their rows stay for the next start. */
void hub_share_free_all(struct hub_worker *w);

#endif
