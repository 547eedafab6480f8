/* "Would a message on this topic reach this client?", answered from what is there now, in
 * sentences. Home worker's thread only. */
#ifndef HUB_WHY_H
#define HUB_WHY_H

#include "core/buf.h"
#include "hub/session/session.h"

/* Lines of text, each ended by a line feed. A failure is remembered and the rest is
 * dropped. */
struct hub_lines {
    struct bt_buf b;
    int r; /* 0, or the first failure */
};
void hub_lines_add(struct hub_lines *l, const char *fmt, ...) BT_PRINTF(2, 3);

#define HUB_WHY_FILTERS 20u /* most subscriptions that are named */

/* Whether a message on topic would be sent or queued; says in lines why, or why not.
 * s NULL: there is no such session. topic empty: only the state of the session. */
bool hub_why(const struct hub_worker *w, struct hub_session *s, struct bt_slice topic,
             struct hub_lines *lines);

/* The network connection behind a link, NULL when it is an in-process client or none. */
struct hub_conn *hub_link_conn(struct hub_link *l);

#endif
