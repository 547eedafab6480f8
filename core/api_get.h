/* A GET on the control socket, for commands. Blocks; main thread of a command. */
#ifndef CORE_API_GET_H
#define CORE_API_GET_H

#include "core/buf.h"

#define BT_API_GET_MAX ((size_t)64 * 1024 * 1024) /* of an answer */

/* target: path and query, encoded. 0 with the HTTP status and the body (appended); BT_EIO
 * with errno when there is nobody at the socket; BT_EINVAL when what answers is not HTTP;
 * BT_ELIMIT for a path too long or an answer too large. */
int bt_api_get(const char *socket_path, const char *target, unsigned *status,
               struct bt_buf *body) BT_MUST_CHECK;
/* Appends "name=value", percent-encoded, after '?' or '&'. */
int bt_api_put_param(struct bt_buf *target, const char *name,
                     const char *value) BT_MUST_CHECK;

#endif
