/* Connections of the control socket, one request at a time on each.
 *
 *   READING -> (request whole) -> HANDLING -> (answer) -> WRITING -> READING
 *                                                            \-> LINGERING -> closed
 *
 * LINGERING reads and drops what still comes, so that the answer is not lost to a reset.
 *
 * The request lives on its own: when its connection goes away first, it is orphaned and
 * its answer is thrown away. Answers come by mailbox, so any thread may give them.
 * Failure modes: a peer that is slow, or sends what is not HTTP, loses its connection by
 * a timer or after an error answer; out of memory closes that connection; more
 * connections than BT_API_MAX_CONNS are closed at once. */
#include "core/api.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/error.h"
#include "core/http.h"
#include "core/json_put.h"
#include "core/list.h"
#include "core/log.h"
#include "core/mbox.h"
#include "core/mem.h"
#include "core/sys.h"

#define READ_STEP   8192u
#define MAX_METHOD  16u
#define MAX_KEPT_IN (BT_HTTP_MAX_HEAD + READ_STEP)
#define BACKLOG     64
#define LINGER_MS   2000u

enum state { READING, HANDLING, WRITING, LINGERING };

struct request {
    struct bt_api_req pub;
    struct bt_msg msg;
    struct bt_api *api;
    struct conn *conn; /* NULL: it went away */
    unsigned status;
    const char *type;
    struct bt_buf answer, body;
    struct bt_http_body reader;
    bool keep_alive;
    char method[MAX_METHOD], path[BT_API_MAX_PATH];
    char query[];
};

struct conn {
    struct bt_list all;
    struct bt_api *api;
    struct bt_io io;
    struct bt_timer timer;
    enum state state;
    struct request *req; /* being read or handled */
    struct bt_buf in, out;
    bool close_after;
};

struct route {
    const struct bt_api_route *route;
    void *arg;
};

struct bt_api {
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    struct bt_io io;
    struct bt_list conns;
    uint32_t n_conns;
    size_t n_routes;
    struct route routes[BT_API_MAX_ROUTES];
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void request_free(struct request *q)
{
    if (q == NULL)
        return;
    bt_buf_deinit(&q->answer);
    bt_buf_deinit(&q->body);
    bt_free(q);
}

static void conn_close(struct conn *c)
{
    struct bt_api *api = c->api;

    bt_timer_stop(api->loop, &c->timer);
    bt_io_close(api->loop, &c->io);
    bt_list_remove(&c->all);
    api->n_conns--;
    if (c->req != NULL && c->state == HANDLING)
        c->req->conn = NULL;
    else
        request_free(c->req);
    bt_buf_deinit(&c->in);
    bt_buf_deinit(&c->out);
    bt_free(c);
}

/* ---- Answering ---- */

static bool flush(struct conn *c)
{
    while (c->out.len > 0) {
        ssize_t n = send(bt_io_fd(&c->io), c->out.data, c->out.len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            bt_io_set(c->api->loop, &c->io, BT_WRITE);
            return true;
        }
        if (n <= 0) {
            conn_close(c);
            return false;
        }
        bt_buf_consume(&c->out, (size_t)n);
    }
    return true;
}

static void linger(struct conn *c)
{
    c->state = LINGERING;
    (void)shutdown(bt_io_fd(&c->io), SHUT_WR);
    bt_io_set(c->api->loop, &c->io, BT_READ);
    bt_timer_start(c->api->loop, &c->timer, LINGER_MS, 0);
}

/* The answer of the connection's request, or of bytes that are none (q NULL). false: no
 * request follows, the connection may be gone. */
static bool send_answer(struct conn *c, unsigned status, const char *type,
                        struct bt_slice body, bool keep_alive)
{
    c->close_after = !keep_alive;
    c->state = WRITING;
    bt_buf_deinit(&c->out);
    c->out = (struct bt_buf){ 0 };
    if (bt_http_put_answer(&c->out, status, type, body, keep_alive) != 0) {
        conn_close(c);
        return false;
    }
    bt_timer_start(c->api->loop, &c->timer, BT_API_WRITE_MS, 0);
    if (!flush(c))
        return false;
    if (c->out.len == 0 && c->close_after)
        linger(c);
    return c->state == WRITING;
}

static bool send_error(struct conn *c, unsigned status)
{
    char text[96];
    int n =
        snprintf(text, sizeof(text), "{\"error\":\"%s\"}\n", bt_http_status_text(status));

    return send_answer(c, status, BT_API_JSON,
                       (struct bt_slice){ (const uint8_t *)text, (size_t)n }, false);
}

void bt_api_answer(struct bt_api_req *req, unsigned status, const char *type,
                   struct bt_buf *body)
{
    struct request *q = bt_container_of(req, struct request, pub);

    q->status = status;
    q->type = type;
    if (body != NULL) {
        q->answer = *body;
        *body = (struct bt_buf){ 0 };
    }
    if (bt_mbox_post(q->api->mbox, &q->msg) != 0)
        request_free(q);
}

void bt_api_refuse(struct bt_api_req *req, unsigned status, const char *why)
{
    struct bt_buf b = { 0 };
    struct bt_slice text = { (const uint8_t *)why, strlen(why) };

    if (bt_buf_append_str(&b, "{\"error\":") != 0 || bt_json_put_string(&b, text) != 0 ||
        bt_buf_append_str(&b, "}\n") != 0)
        b.len = 0;
    bt_api_answer(req, status, BT_API_JSON, &b);
    bt_buf_deinit(&b);
}

int bt_api_param(const struct bt_api_req *req, const char *name, char *out, size_t room)
{
    struct bt_slice value;

    out[0] = '\0';
    if (!bt_http_query(req->query, name, &value))
        return BT_API_ABSENT;
    return bt_http_decode(value, true, out, room) ? 0 : BT_EINVAL;
}

/* ---- Finding the handler ---- */

static bool fits(const struct bt_api_route *r, const char *path)
{
    size_t n = strlen(r->path);

    if (n > 1 && r->path[n - 1] == '/')
        return strncmp(path, r->path, n) == 0;
    return strcmp(path, r->path) == 0;
}

static void handle(struct conn *c)
{
    struct request *q = c->req;
    const struct bt_api *api = c->api;
    bool known = false;

    q->pub.body = (struct bt_slice){ q->body.data, q->body.len };
    c->state = HANDLING;
    bt_io_set(api->loop, &c->io, 0);
    bt_timer_start(api->loop, &c->timer, BT_API_ANSWER_MS, 0);
    for (size_t i = 0; i < api->n_routes; i++) {
        const struct bt_api_route *r = api->routes[i].route;

        if (!fits(r, q->path))
            continue;
        known = true;
        if (strcmp(r->method, q->method) != 0)
            continue;
        q->pub.rest = q->path + strlen(r->path);
        r->handle(api->routes[i].arg, &q->pub);
        return;
    }
    bt_api_refuse(&q->pub, known ? 405 : 404,
                  known ? "this path does not know the method" : "there is no such path");
}

/* ---- Reading ---- */

static bool go_on(struct conn *c);

/* Takes the head at the start of c->in. 0, BT_HTTP_MORE or a status. */
static int take_head(struct conn *c)
{
    struct bt_http_request head;
    struct request *q;
    int r = bt_http_parse(c->in.data, c->in.len, &head);

    if (r != 0)
        return r;
    if (head.method.len >= MAX_METHOD)
        return 501;
    q = bt_calloc(1, sizeof(*q) + head.query.len + 1);
    if (q == NULL)
        return 503;
    c->req = q;
    q->api = c->api;
    q->conn = c;
    memcpy(q->method, head.method.ptr, head.method.len);
    if (head.query.len > 0)
        memcpy(q->query, head.query.ptr, head.query.len);
    q->keep_alive = head.keep_alive;
    q->body.max = BT_API_MAX_BODY;
    q->pub = (struct bt_api_req){
        .method = q->method,
        .path = q->path,
        .query = { (const uint8_t *)q->query, head.query.len },
    };
    if (!bt_http_decode(head.path, false, q->path, sizeof(q->path)))
        return 400;
    r = bt_http_body_init(&q->reader, &head, BT_API_MAX_BODY);
    if (r == 0 && head.expect_continue)
        r = bt_buf_append_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n") == 0 ? 0 : 503;
    bt_buf_consume(&c->in, head.head_len);
    return r;
}

/* 0: the request is whole; BT_HTTP_MORE; or a status. */
static int take_body(struct conn *c)
{
    struct request *q = c->req;
    int r = BT_HTTP_MORE;

    while (r == BT_HTTP_MORE) {
        struct bt_slice piece = { NULL, 0 };
        size_t used = 0;

        r = bt_http_body_feed(&q->reader, c->in.data, c->in.len, &used, &piece);
        if (piece.len > 0 && bt_buf_append(&q->body, piece.ptr, piece.len) != 0)
            return 413;
        bt_buf_consume(&c->in, used);
        if (used == 0)
            break;
    }
    return r;
}

/* Handle what is in c->in. false: the connection is gone. */
static bool take(struct conn *c)
{
    int r = 0;

    if (c->req == NULL && c->in.len == 0)
        return true;
    if (c->req == NULL)
        r = take_head(c);
    if (r == 0)
        r = take_body(c);
    if (r == BT_HTTP_MORE)
        return c->out.len == 0 || flush(c);
    if (r != 0) {
        request_free(bt_steal(c->req));
        return send_error(c, (unsigned)r);
    }
    handle(c);
    return true;
}

static void read_some(struct conn *c)
{
    ssize_t n;

    if (bt_buf_reserve(&c->in, READ_STEP) != 0) {
        conn_close(c);
        return;
    }
    n = recv(bt_io_fd(&c->io), c->in.data + c->in.len, READ_STEP, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    c->in.len += (size_t)n;
    (void)take(c);
}

/* The answer is written: the next request, of which bytes may be here already. */
static bool go_on(struct conn *c)
{
    if (c->close_after) {
        linger(c);
        return false;
    }
    c->state = READING;
    bt_io_set(c->api->loop, &c->io, BT_READ);
    bt_timer_start(c->api->loop, &c->timer, BT_API_REQUEST_MS, 0);
    return take(c);
}

static void read_away(struct conn *c)
{
    uint8_t rest[READ_STEP];
    ssize_t n = recv(bt_io_fd(&c->io), rest, sizeof(rest), 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        conn_close(c);
}

static void on_io(struct bt_io *io, unsigned events)
{
    struct conn *c = bt_container_of(io, struct conn, io);

    if ((events & BT_WRITE) != 0) {
        if (!flush(c) || c->out.len > 0)
            return;
        if (c->state == WRITING)
            (void)go_on(c);
        else
            bt_io_set(c->api->loop, &c->io, BT_READ);
        return;
    }
    if ((events & BT_READ) != 0 && c->state == READING)
        read_some(c);
    else if ((events & BT_READ) != 0 && c->state == LINGERING)
        read_away(c);
}

static void on_timer(struct bt_timer *t)
{
    struct conn *c = bt_container_of(t, struct conn, timer);

    if (c->state != HANDLING) {
        conn_close(c);
        return;
    }
    c->req->conn = NULL; /* its answer comes too late */
    c->req = NULL;
    (void)send_error(c, 504);
}

static void on_answer(void *arg, struct bt_msg *msg)
{
    struct request *q = bt_container_of(msg, struct request, msg);
    struct conn *c = q->conn;
    bool open;

    (void)arg;
    if (c == NULL) {
        request_free(q);
        return;
    }
    c->req = NULL;
    open = send_answer(c, q->status, q->type,
                       (struct bt_slice){ q->answer.data, q->answer.len }, q->keep_alive);
    request_free(q);
    if (open && c->out.len == 0)
        (void)go_on(c);
}

/* ---- The socket ---- */

static void accept_one(struct bt_api *api, int fd)
{
    struct conn *c = api->n_conns < BT_API_MAX_CONNS ? bt_calloc(1, sizeof(*c)) : NULL;

    if (c == NULL) {
        (void)close(fd);
        return;
    }
    c->api = api;
    c->in.max = MAX_KEPT_IN + BT_API_MAX_BODY;
    bt_list_push_back(&api->conns, &c->all);
    api->n_conns++;
    bt_io_init(&c->io, fd, on_io);
    bt_io_start(api->loop, &c->io, BT_READ);
    bt_timer_init(&c->timer, on_timer);
    bt_timer_start(api->loop, &c->timer, BT_API_REQUEST_MS, 0);
}

static void on_acceptable(struct bt_io *io, unsigned events)
{
    struct bt_api *api = bt_container_of(io, struct bt_api, io);
    int fd;

    (void)events;
    for (int i = 0; i < BACKLOG && (fd = bt_sys_accept(bt_io_fd(io), NULL, NULL)) >= 0;
         i++)
        accept_one(api, fd);
}

static void make_folders(char *path)
{
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(path, 0755); /* what is in the way shows at bind */
        *at = '/';
    }
}

static int open_socket(struct bt_api *api, const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        bt_log(BT_LOG_WARN, "CORE-API", "the control socket's path is too long",
               "path=" BT_LOG_Q, path);
        return BT_ELIMIT;
    }
    memcpy(api->path, path, strlen(path) + 1);
    make_folders(api->path);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    fd = bt_sys_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return bt_origin(BT_EIO, "no control socket");
    (void)unlink(path);
    /* Nobody can connect before listen, so the mode is in place in time. */
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || chmod(path, 0660) != 0 ||
        listen(fd, BACKLOG) != 0) {
        bt_log(BT_LOG_WARN, "CORE-API", "no control socket",
               "path=" BT_LOG_Q " error=" BT_LOG_Q, path, strerror(errno));
        (void)close(fd);
        return BT_EIO;
    }
    bt_io_init(&api->io, fd, on_acceptable);
    bt_io_start(api->loop, &api->io, BT_READ);
    return 0;
}

int bt_api_new(struct bt_loop *loop, const char *path, struct bt_api **out)
{
    struct bt_api *api = bt_calloc(1, sizeof(*api));
    int r;

    if (api == NULL)
        return BT_ENOMEM;
    api->loop = loop;
    bt_list_init(&api->conns);
    api->mbox = bt_mbox_new(loop, on_answer, api);
    r = api->mbox == NULL ? BT_ENOMEM : open_socket(api, path);
    if (r != 0) {
        bt_mbox_free(api->mbox);
        bt_free(api);
        return r;
    }
    *out = api;
    return 0;
}

void bt_api_free(struct bt_api *api)
{
    if (api == NULL)
        return;
    while (!bt_list_empty(&api->conns))
        conn_close(bt_list_entry(bt_list_first(&api->conns), struct conn, all));
    bt_mbox_close(api->mbox);
    bt_mbox_free(api->mbox);
    (void)unlink(api->path);
    bt_io_close(api->loop, &api->io);
    bt_free(api);
}

int bt_api_add(struct bt_api *api, const struct bt_api_route *routes, size_t n, void *arg)
{
    if (api == NULL)
        return 0;
    if (n > BT_API_MAX_ROUTES - api->n_routes)
        return BT_ELIMIT;
    for (size_t i = 0; i < n; i++)
        api->routes[api->n_routes++] = (struct route){ &routes[i], arg };
    return 0;
}

void bt_api_remove(struct bt_api *api, const void *arg)
{
    size_t kept = 0;

    if (api == NULL)
        return;
    for (size_t i = 0; i < api->n_routes; i++)
        if (api->routes[i].arg != arg)
            api->routes[kept++] = api->routes[i];
    api->n_routes = kept;
}
