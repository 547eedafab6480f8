/* Listening sockets: TCP and Unix. Opened on the main thread before start, served by
 * worker 0, which hands fresh connections to the workers in turn. */
#ifndef HUB_LISTENER_H
#define HUB_LISTENER_H

#include "hub/hub_internal.h"
#include "hub/stats.h"
#include "hub/stream.h"
#include "hub/ws_handshake.h"

/* What a connection knows of the listener it came by; lives as long as the hub. */
struct hub_listener_opts {
    bool local;   /* Unix socket or loopback */
    bool layered; /* TLS or WebSocket: handshakes are spread over the workers */
    bool ws;
    enum hub_transport transport;
    struct hub_ws_rules ws_rules;
};

/* Open every address of the configuration. BT_EIO names the address that failed; those
 * opened stay for hub_listeners_free. */
int hub_listeners_open(struct hub *hub) BT_MUST_CHECK;
/* Worker 0: accept from now on. */
void hub_listeners_start(struct hub *hub);
/* Worker 0: no more connections; removes Unix socket files. Idempotent. */
void hub_listeners_close(struct hub *hub);
void hub_listeners_free(struct hub *hub);
/* The layers for a fresh connection; *out is NULL for a plain one. Any worker.
 * BT_ENOMEM. */
int hub_listener_wrap(const struct hub_listener_opts *o, int fd,
                      struct hub_stream **out) BT_MUST_CHECK;
/* Whether all addresses are loopback or Unix sockets. */
bool hub_listeners_loopback(const struct hub_conf *conf);

#endif
