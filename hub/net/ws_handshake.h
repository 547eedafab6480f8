/* The opening handshake of a WebSocket (RFC 6455 section 4.2, MQTT 5.0 section 6): a
 * request judged and answered. No state, any thread. */
#ifndef HUB_WS_HANDSHAKE_H
#define HUB_WS_HANDSHAKE_H

#include "core/conf.h"
#include "core/http.h"

/* What a listener demands; borrowed. */
struct hub_ws_rules {
    const char *path;                      /* NULL: all */
    const struct bt_conf_strings *origins; /* NULL or empty: all */
};

/* Appends the whole answer to out. 101: the connection is a WebSocket from the end of the
 * request on; another status: the answer says why, to be closed after it. BT_ENOMEM. */
int hub_ws_handshake(const struct hub_ws_rules *rules, const struct bt_http_request *r,
                     struct bt_buf *out) BT_MUST_CHECK;
/* The answer to what is no request, or to none in time. 0 or BT_ENOMEM. */
int hub_ws_refuse(unsigned status, struct bt_buf *out) BT_MUST_CHECK;

#endif
