/* MQTT in WebSocket frames, as a stream layer (hub/net/stream.h). */
#ifndef HUB_WS_STREAM_H
#define HUB_WS_STREAM_H

#include "hub/net/stream.h"
#include "hub/net/ws_handshake.h"

/* A server's end on lower (taken; NULL: fd). rules must live until the handshake is done.
 * BT_ENOMEM: lower stays the caller's. */
int hub_ws_stream_new(const struct hub_ws_rules *rules, struct hub_stream *lower, int fd,
                      struct hub_stream **out) BT_MUST_CHECK;

/* Main thread: what they count is listed from now on. */
void hub_ws_stream_register(void);

#endif
