/* What session.c asks of a session's queue; everybody else calls hub/session/session.h.
 * Home worker only. */
#ifndef HUB_QUEUE_H
#define HUB_QUEUE_H

#include "hub/session/session.h"

/* The session ends: lets go of every entry in memory; rows stay. */
void hub_queue_drop(struct hub_session *s);
/* The same for entries that a gather has not given to the store yet: they never become
 * rows. */
void hub_queue_drop_held(struct hub_session *s);
/* The client is away: only what was sent stays in memory, the rest is on disk. */
void hub_queue_trim(struct hub_session *s);

#endif
