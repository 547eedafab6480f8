/* TLS as a stream layer (hub/net/stream.h): the server's side. */
#ifndef HUB_TLS_STREAM_H
#define HUB_TLS_STREAM_H

#include "core/tls.h"
#include "hub/net/stream.h"

/* Main thread, before the first one: its metrics. Idempotent. */
void hub_tls_stream_register(void);
/* On fd. The context is referenced. listener: its address, for the log; lives as long as
 * the stream. BT_ENOMEM. */
int hub_tls_stream_new(struct bt_tls_ctx *ctx, int fd, const char *listener,
                       struct hub_stream **out) BT_MUST_CHECK;

#endif
