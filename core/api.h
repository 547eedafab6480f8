/* A small HTTP/1.1 server, served on the main loop; no other thread ever waits for it.
 * There is one for the control socket (a Unix socket: who may open the file, mode 0660,
 * may use it), for commands of this executable, scripts and scrapers on the same machine.
 * A module may have one of its own that listens on TCP or TLS, with its own routes.
 *
 * Modules register routes. A handler runs on the main loop and answers each request
 * exactly once, at once or later and from any thread. docs/api.md lists the routes. */
#ifndef CORE_API_H
#define CORE_API_H

#include "core/buf.h"
#include "core/loop.h"
#include "core/tls.h"

#define BT_API_MAX_CONNS  16u  /* of the control socket */
#define BT_API_MAX_ROUTES 64u  /* of all modules */
#define BT_API_MAX_PATH   512u /* decoded, with its end */
/* Of a request, where its route says nothing else; of all requests of a server together,
 * beyond which the answer is 503. */
#define BT_API_MAX_BODY   ((size_t)1024 * 1024)
#define BT_API_MAX_BYTES  ((size_t)64 * 1024 * 1024)
#define BT_API_REQUEST_MS 10000u /* for a whole request to arrive */
#define BT_API_IDLE_MS    60000u /* between two requests */
#define BT_API_ANSWER_MS  60000u /* for the handler; then 504, its answer is dropped */
#define BT_API_WRITE_MS   30000u /* for the answer to be taken */
#define BT_API_MIN_TOKEN  16u    /* bytes of a token */

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
    size_t max_body;   /* bytes; 0: BT_API_MAX_BODY */
    uint32_t max_wait; /* ms for the handler; 0: BT_API_ANSWER_MS */
};

/* 0: the default. */
struct bt_api_limits {
    uint32_t conns;    /* more are closed at once, an idle one first */
    size_t bytes;      /* bodies of all requests together */
    uint32_t whole_ms; /* for a whole request to arrive */
};
struct bt_api_opts {
    struct bt_loop *loop;
    struct bt_api_limits limits;
    /* Asked for as "Authorization: Bearer TOKEN"; NULL: nobody is asked, and requests
     * that a browser makes for a page (they have an Origin) are refused. Borrowed. */
    const char *token;
};

/* Main thread, all of these. A server that does not listen anywhere yet. NULL when out of
 * memory. */
struct bt_api *bt_api_create(const struct bt_api_opts *opts) BT_MUST_CHECK;
/* path: relative to the working directory or absolute; what is there is replaced (the
 * work folder is locked), folders are made. BT_EIO and BT_ELIMIT (path too long) are
 * logged. Once per server. */
int bt_api_listen_unix(struct bt_api *api, const char *path) BT_MUST_CHECK;
/* An address of bt_api_url; tls is referenced and needed when the address says so. The
 * address is bound, but nobody is let in before bt_api_open. BT_EIO is logged. */
int bt_api_listen_tcp(struct bt_api *api, const char *address,
                      struct bt_tls_ctx *tls) BT_MUST_CHECK;
void bt_api_open(struct bt_api *api);
/* Certificates for connections that come from now on; the token for requests. */
void bt_api_set_tls(struct bt_api *api, struct bt_tls_ctx *tls);
void bt_api_set_token(struct bt_api *api, const char *token);
/* The control socket: a server with the defaults that listens on path and is open. */
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

/* core/api_listen.c: an address to listen on: tcp://HOST:PORT (http://), or with TLS
 * ssl://HOST:PORT (https://, tls://). IPv6 addresses stand in brackets. No state, any
 * thread. False: not of this form. */
struct bt_api_url {
    char host[256]; /* without brackets; "" = all addresses */
    uint16_t port;  /* 0 = any free port */
    bool tls;
    bool loopback; /* reached from this machine only */
};
bool bt_api_url(const char *text, struct bt_api_url *out) BT_MUST_CHECK;

/* core/api_core.c: what the process itself answers: GET /metrics, GET /v1/version. */
int bt_api_add_core(struct bt_api *api) BT_MUST_CHECK;

/* Any thread; frees req. Takes the bytes of body (may be NULL) and empties it. type: NULL
 * when there is no body. */
void bt_api_answer(struct bt_api_req *req, unsigned status, const char *type,
                   struct bt_buf *body);
/* An error with a sentence: {"error":"..."}. Any thread; frees req. */
void bt_api_refuse(struct bt_api_req *req, unsigned status, const char *why);
/* The decoded value of a parameter of the query. 0; BT_API_ABSENT (out is ""); BT_EINVAL
 * when it does not fit or is wrongly encoded. */
#define BT_API_ABSENT 1
int bt_api_param(const struct bt_api_req *req, const char *name, char *out,
                 size_t room) BT_MUST_CHECK;

#define BT_API_JSON   "application/json"
#define BT_API_TEXT   "text/plain; charset=utf-8"
#define BT_API_BINARY "application/octet-stream"

#endif
