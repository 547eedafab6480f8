/* A message that leaves a persistent session's queue because others get it instead: its
 * row goes in the transaction that stores theirs, so that a crash neither loses nor
 * doubles it. Home worker of the session. */
#ifndef HUB_MOVE_H
#define HUB_MOVE_H

#include "hub/session/session.h"

/* The ticket to route it again with; NULL: out of memory. */
struct hub_ticket *hub_move_begin(struct hub_session *s,
                                  const struct hub_qentry *e) BT_MUST_CHECK;
/* It was routed, or (false) nobody took it and nothing happens. NULL is fine. */
void hub_move_end(struct hub_worker *w, struct hub_ticket *t, bool routed);
/* HUB_W_MOVED. */
void hub_move_done(struct hub_worker *w, struct bt_msg *msg);

#endif
