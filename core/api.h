/* The control socket: a small HTTP/1.1 server on a Unix socket, for commands of this
 * executable, scripts and scrapers on the same machine. Who may open the socket file may
 * use it: mode 0660. It is served on the main loop; no other thread ever waits for it.
 *
 * Modules register routes. A handler runs on the main loop and answers each request
 * exactly once, at once or later and from any thread. docs/api.md lists the routes. */
#ifndef CORE_API_H
#define CORE_API_H

#include "core/buf.h"
#include "core/loop.h"

#define BT_API_MAX_CONNS  16u                   /* more are closed at once */
#define BT_API_MAX_ROUTES 64u                   /* of all modules */
#define BT_API_MAX_PATH   512u                  /* decoded, with its end */
#define BT_API_MAX_BODY   ((size_t)1024 * 1024) /* of a request */
#define BT_API_REQUEST_MS 10000u                /* for a whole request to arrive */
#define BT_API_ANSWER_MS  60000u /* for the handler; then 504, its answer is dropped */
#define BT_API_WRITE_MS   30000u /* for the answer to be taken */

struct bt_api;

/* One request, from handler to bt_api_answer. Read-only. */
struct bt_api_req {
    const char *method;    /* of the route */
    const char *path;      /* decoded */
    const char *rest;      /* what follows the route's path: "" unless it is a prefix */
    struct bt_slice query; /* still encoded; read it with bt_api_param */
    struct bt_slice body;
};

struct bt_api_route {
    const char *method; /* "GET" */
    const char *path;   /* "/v1/hub/clients"; with a '/' at its end also all below it */
    /* Main loop. Takes over req and must pass it to bt_api_answer. */
    void (*handle)(void *arg, struct bt_api_req *req);
};

/* Main thread, all of these. path: relative to the working directory or absolute; what
 * is there is replaced (the work folder is locked), folders are made. BT_EIO and
 * BT_ELIMIT (path too long) are logged. */
int bt_api_new(struct bt_loop *loop, const char *path, struct bt_api **out) BT_MUST_CHECK;
/* Closes all connections and removes the file. After every handler has answered (its
 * module is freed). NULL is fine. */
void bt_api_free(struct bt_api *api);
/* The routes are borrowed and live until bt_api_remove or bt_api_free. arg names their
 * owner. BT_ELIMIT. api NULL (no control socket): 0. */
int bt_api_add(struct bt_api *api, const struct bt_api_route *routes, size_t n,
               void *arg) BT_MUST_CHECK;
/* No handler with this arg is called any more. api NULL is fine. */
void bt_api_remove(struct bt_api *api, const void *arg);

/* core/api_core.c: what the process itself answers: GET /metrics, GET /v1/version. */
int bt_api_add_core(struct bt_api *api) BT_MUST_CHECK;

/* Any thread; frees req. Takes the bytes of body (may be NULL) and empties it. */
void bt_api_answer(struct bt_api_req *req, unsigned status, const char *type,
                   struct bt_buf *body);
/* An error with a sentence: {"error":"..."}. Any thread; frees req. */
void bt_api_refuse(struct bt_api_req *req, unsigned status, const char *why);
/* The decoded value of a parameter of the query. 0; BT_API_ABSENT (out is ""); BT_EINVAL
 * when it does not fit or is wrongly encoded. */
#define BT_API_ABSENT 1
int bt_api_param(const struct bt_api_req *req, const char *name, char *out,
                 size_t room) BT_MUST_CHECK;

#define BT_API_JSON "application/json"
#define BT_API_TEXT "text/plain; charset=utf-8"

#endif
