/* What the files core/api*.c share; nobody else includes it. Main thread. */
#ifndef CORE_API_PRIV_H
#define CORE_API_PRIV_H

#include "core/api.h"
#include "core/http.h"
#include "core/list.h"
#include "core/mbox.h"

#define API_READ_STEP  8192u
#define API_MAX_METHOD 16u
#define API_BACKLOG    64

/* ---- core/api_link.c: the bytes below HTTP, plain or with TLS around them. ---- */

struct api_link {
    int fd;
    struct bt_tls *tls;        /* NULL: plain */
    struct bt_buf raw, sealed; /* TLS: ciphertext that came; that waits to be sent */
};

/* tls NULL: plain. The descriptor stays the caller's. 0 or a fatal code. */
int api_link_init(struct api_link *l, int fd, struct bt_tls_ctx *tls) BT_MUST_CHECK;
void api_link_deinit(struct api_link *l);
/* > 0: so many bytes; 0: none for now; < 0: the peer is gone or broke TLS. */
ssize_t api_link_read(struct api_link *l, uint8_t *to, size_t room) BT_MUST_CHECK;
/* Reading would give something although the descriptor may stay silent. */
bool api_link_pending(const struct api_link *l);
/* Send what out holds as far as it goes, off its front. 0, or < 0: the peer is gone. */
int api_link_write(struct api_link *l, struct bt_slice *out) BT_MUST_CHECK;
bool api_link_unsent(const struct api_link *l);
/* Nothing follows: say so to the peer. */
void api_link_shutdown(struct api_link *l);

/* ---- core/api_conn.c: connections and their requests. ---- */

enum api_state { API_READING, API_HANDLING, API_WRITING, API_LINGERING };

struct api_request {
    struct bt_api_req pub;
    struct bt_msg msg;
    struct bt_api *api;
    struct api_conn *conn; /* NULL: it went away */
    const struct bt_api_route *route;
    void *arg; /* of the route */
    unsigned status;
    const char *type;
    struct bt_buf answer, body;
    struct bt_http_body reader;
    bool keep_alive;
    char method[API_MAX_METHOD], path[BT_API_MAX_PATH];
    char query[];
};

struct api_conn {
    struct bt_list all;
    struct bt_api *api;
    struct bt_io io;
    struct bt_timer timer;
    struct api_link link;
    enum api_state state;
    struct api_request *req; /* being read or handled */
    struct bt_buf in, out;
    size_t out_off; /* of out, sent */
    bool close_after;
    bool more; /* bytes of a next request have come while one is handled */
    bool idle; /* waits for a request of which nothing has come */
};

/* Takes fd. Out of memory closes it. */
void api_conn_new(struct bt_api *api, int fd, struct bt_tls_ctx *tls);
void api_conn_close(struct api_conn *c);
/* The mailbox's message: an answer. */
void api_conn_answer(void *arg, struct bt_msg *msg);

/* ---- core/api.c: the server. ---- */

struct api_listener {
    struct bt_list link;
    struct bt_api *api;
    struct bt_io io;
    struct bt_tls_ctx *tls;
};

struct api_route {
    const struct bt_api_route *route;
    void *arg;
};

struct bt_api {
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    struct bt_api_limits limits;
    const char *token;
    struct bt_list listeners, conns;
    uint32_t n_conns;
    bool closing;   /* no further request is taken */
    size_t n_bytes; /* of bodies, of all connections */
    size_t n_routes;
    struct api_route routes[BT_API_MAX_ROUTES];
    char path[108]; /* of the Unix socket; "": none */
};

/* The route for method and path. 0, 404 or 405. */
unsigned api_find(const struct bt_api *api, const char *method, const char *path,
                  struct api_route *out) BT_MUST_CHECK;
/* Whether the request may be answered: 0, 401 or 403. */
unsigned api_permit(const struct bt_api *api,
                    const struct bt_http_request *head) BT_MUST_CHECK;

#endif
