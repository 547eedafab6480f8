/* Listening sockets: TCP and Unix. Opened on the main thread before start, served by
 * worker 0, which hands fresh connections to the workers in turn. */
#ifndef HUB_LISTENER_H
#define HUB_LISTENER_H

#include "hub/hub_internal.h"
#include "hub/net/certs.h"
#include "hub/net/stream.h"
#include "hub/net/ws_handshake.h"
#include "hub/observe/stats.h"

/* What a connection knows of the listener it came by; lives as long as the hub. */
struct hub_listener_opts {
    const char *address;   /* with the real port, for the log */
    struct hub_cert *cert; /* NULL: no TLS */
    enum hub_anonymous anonymous;
    uint32_t max_connections;  /* 0 = no limit but the hub's */
    uint64_t max_packet;       /* 0, or more than the hub's = the hub's */
    _Atomic uint32_t *n_conns; /* open connections of this listener */
    bool local;                /* Unix socket or loopback */
    bool layered; /* TLS or WebSocket: handshakes are spread over the workers */
    bool ws;
    enum hub_transport transport;
    struct hub_ws_rules ws_rules;
};

/* Open every address of the configuration. BT_EIO names the address that failed; those
 * opened stay for hub_listeners_free. */
int hub_listeners_open(struct hub *hub) BT_MUST_CHECK;
/* Worker 0, once: accept from now on. */
void hub_listeners_start(struct hub *hub);
/* Worker 0: no more connections; removes Unix socket files. Idempotent. */
void hub_listeners_close(struct hub *hub);
void hub_listeners_free(struct hub *hub);
/* The layers for a fresh connection; *out is NULL for a plain one. Any worker.
 * BT_ENOMEM. */
int hub_listener_wrap(const struct hub_listener_opts *o, int fd,
                      struct hub_stream **out) BT_MUST_CHECK;
/* Largest packet that a client may send, by the listener and the worker's conf. */
static inline uint64_t hub_listener_max_packet(const struct hub_listener_opts *o,
                                               const struct hub_conf *conf)
{
    return o->max_packet != 0 ? BT_MIN(o->max_packet, conf->max_packet)
                              : conf->max_packet;
}
/* A connection that was accepted has ended. Any worker. */
void hub_listener_leave(struct hub *hub, const struct hub_listener_opts *o);
/* Whether all addresses are loopback or Unix sockets. */
bool hub_listeners_loopback(const struct hub_conf *conf);

#endif
