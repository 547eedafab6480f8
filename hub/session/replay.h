/* Retained messages on their way to a new subscription (MQTT 5.0 §3.3.1.3). Home worker
 * of the session. */
#ifndef HUB_REPLAY_H
#define HUB_REPLAY_H

#include "hub/session/session.h"

/* Sends the retained messages of a granted filter: as many as the connection takes now,
 * the others as it has room. */
void hub_replay_start(struct hub_session *s, struct bt_slice filter,
                      const struct hub_sub_opts *opts);
/* There may be room: goes on. */
void hub_replay_pump(struct hub_session *s);
/* The connection is gone: what was not sent is forgotten. */
void hub_replay_drop(struct hub_session *s);

#endif
