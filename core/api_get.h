/* A request to the control socket, for commands. Blocks; main thread of a command. */
#ifndef CORE_API_GET_H
#define CORE_API_GET_H

#include "core/buf.h"

#define BT_API_GET_MAX ((size_t)64 * 1024 * 1024) /* of an answer */

struct bt_api_ask {
    const char *socket_path;
    const char *method, *target; /* target: path and query, encoded */
    struct bt_slice body;
    bool patient; /* wait for the answer however long it takes */
};
/* As bt_api_get. */
int bt_api_ask(const struct bt_api_ask *a, unsigned *status,
               struct bt_buf *body) BT_MUST_CHECK;
/* target: path and query, encoded. 0 with the HTTP status and the body (appended); BT_EIO
 * with errno when there is nobody at the socket; BT_EINVAL when what answers is not HTTP;
 * BT_ELIMIT for a path too long or an answer too large. */
int bt_api_get(const char *socket_path, const char *target, unsigned *status,
               struct bt_buf *body) BT_MUST_CHECK;
/* Appends the text, percent-encoded. */
int bt_api_put_encoded(struct bt_buf *target, const char *value) BT_MUST_CHECK;
/* Appends "name=value", percent-encoded, after '?' or '&'. */
int bt_api_put_param(struct bt_buf *target, const char *name,
                     const char *value) BT_MUST_CHECK;

#endif
