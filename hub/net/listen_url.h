/* An address to listen on, as written in the configuration. No state, any thread. */
#ifndef HUB_LISTEN_URL_H
#define HUB_LISTEN_URL_H

#include "core/base.h"

enum hub_listen_kind { HUB_LISTEN_TCP, HUB_LISTEN_UNIX };

struct hub_listen_url {
    enum hub_listen_kind kind;
    char host[256]; /* tcp: a name or a literal address, without brackets; "" = all
                       addresses */
    uint16_t port;  /* tcp: 0 = any free port */
    char path[108]; /* unix: absolute */
    bool loopback;  /* reached from this machine only */
    bool ws;        /* MQTT in a WebSocket */
    bool tls;
    const char *scheme;
};

/* Where none is given. Nobody registered one for WebSocket; 8083 and 8084 are what other
 * brokers use. */
#define HUB_LISTEN_TCP_PORT 1883u
#define HUB_LISTEN_TLS_PORT 8883u
#define HUB_LISTEN_WS_PORT  8083u
#define HUB_LISTEN_WSS_PORT 8084u

#define HUB_LISTEN_SYNTAX   1 /* not an address of a known form */
#define HUB_LISTEN_SCHEME   2 /* no such scheme */
#define HUB_LISTEN_PORT     3 /* not a number from 0 to 65535 */
#define HUB_LISTEN_PATH     4 /* unix: not absolute or longer than 107 bytes */

/* tcp:// (or mqtt://), ssl:// (tls://, mqtts://), ws://, wss:// with host:port, and
 * unix:///path; IPv6 addresses stand in brackets. The path of a WebSocket address is not
 * looked at, as in the original. 0 or HUB_LISTEN_x. */
int hub_listen_url_parse(const char *text, struct hub_listen_url *out) BT_MUST_CHECK;

#endif
