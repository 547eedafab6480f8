/* Connections of a server, one request at a time on each.
 *
 *   READING -> (request whole) -> HANDLING -> (answer) -> WRITING -> READING
 *                                                            \-> LINGERING -> closed
 *
 * LINGERING reads and drops what still comes, so that the answer is not lost to a reset.
 *
 * The request lives on its own: when its connection goes away first, it is orphaned and
 * its answer is thrown away. Answers come by mailbox, so any thread may give them.
 * Failure modes: a peer that is slow, or sends what is not HTTP, loses its connection by
 * a timer or after an error answer; out of memory closes that connection; beyond the
 * server's limits of connections an idle one gives way, or else the new one. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/api_priv.h"
#include "core/error.h"
#include "core/json_put.h"
#include "core/log.h"
#include "core/mem.h"

#define MAX_KEPT_IN (BT_HTTP_MAX_HEAD + API_READ_STEP)
#define LINGER_MS   2000u

static void request_free(struct api_request *q)
{
    if (q == NULL)
        return;
    q->api->n_bytes -= q->body.len;
    bt_buf_deinit(&q->answer);
    bt_buf_deinit(&q->body);
    bt_free(q);
}

void api_conn_close(struct api_conn *c)
{
    struct bt_api *api = c->api;

    bt_timer_stop(api->loop, &c->timer);
    bt_io_close(api->loop, &c->io);
    bt_list_remove(&c->all);
    api->n_conns--;
    if (c->req != NULL && c->state == API_HANDLING)
        c->req->conn = NULL;
    else
        request_free(c->req);
    api_link_deinit(&c->link);
    bt_buf_deinit(&c->in);
    bt_buf_deinit(&c->out);
    bt_free(c);
}

static void watch(struct api_conn *c)
{
    bool reads = c->state == API_READING || c->state == API_LINGERING ||
                 (c->state == API_HANDLING && !c->more);
    bool writes = c->out_off < c->out.len || api_link_unsent(&c->link);

    bt_io_set(c->api->loop, &c->io, (reads ? BT_READ : 0) | (writes ? BT_WRITE : 0));
}

static void set_timer(struct api_conn *c, uint32_t ms)
{
    bt_timer_start(c->api->loop, &c->timer, ms, 0);
}

/* ---- Answering ---- */

static bool unsent(const struct api_conn *c)
{
    return c->out.len > 0 || api_link_unsent(&c->link);
}

static bool flush(struct api_conn *c)
{
    struct bt_slice rest = { c->out.data + c->out_off, c->out.len - c->out_off };

    if (c->out.len == 0)
        rest = (struct bt_slice){ NULL, 0 };
    if (api_link_write(&c->link, &rest) != 0) {
        api_conn_close(c);
        return false;
    }
    c->out_off = c->out.len - rest.len;
    if (rest.len == 0) {
        bt_buf_deinit(&c->out);
        c->out_off = 0;
    }
    watch(c);
    return true;
}

static void linger(struct api_conn *c)
{
    c->state = API_LINGERING;
    api_link_shutdown(&c->link);
    watch(c);
    set_timer(c, LINGER_MS);
}

static int put_answer(struct bt_buf *out, unsigned status, const char *type,
                      struct bt_slice body, bool keep_alive)
{
    int r;

    if (status != 401)
        return bt_http_put_answer(out, status, type, body, keep_alive);
    r = bt_http_put_status(out, status);
    if (r == 0)
        r = bt_http_put_field(out, "WWW-Authenticate", "Bearer");
    if (r == 0)
        r = bt_http_put_field(out, "Content-Type", type);
    if (r == 0)
        r = bt_http_put_end(out, body.len, keep_alive);
    return r != 0 ? r : bt_buf_append(out, body.ptr, body.len);
}

/* The answer of the connection's request, or of bytes that are none. false: no request
 * follows, the connection may be gone. */
static bool send_answer(struct api_conn *c, unsigned status, const char *type,
                        struct bt_slice body, bool keep_alive)
{
    c->close_after = !keep_alive;
    c->state = API_WRITING;
    if (put_answer(&c->out, status, type, body, keep_alive) != 0) {
        api_conn_close(c);
        return false;
    }
    set_timer(c, BT_API_WRITE_MS);
    if (!flush(c))
        return false;
    if (!unsent(c) && c->close_after)
        linger(c);
    return c->state == API_WRITING;
}

static bool send_error(struct api_conn *c, unsigned status)
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
    struct api_request *q = bt_container_of(req, struct api_request, pub);

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

/* ---- Reading ---- */

static void handle(struct api_conn *c)
{
    struct api_request *q = c->req;
    const struct bt_api_route *r = q->route;

    q->pub.body = (struct bt_slice){ q->body.data, q->body.len };
    c->state = API_HANDLING;
    c->more = false;
    watch(c);
    set_timer(c, r != NULL && r->max_wait > 0 ? r->max_wait : BT_API_ANSWER_MS);
    if (r == NULL) {
        bt_api_refuse(&q->pub, q->status,
                      q->status == 405 ? "this path does not know the method"
                                       : "there is no such path");
        return;
    }
    q->pub.rest = q->path + strlen(r->path);
    r->handle(q->arg, &q->pub);
}

static void tell_refused(const struct api_conn *c, unsigned status)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);
    char host[64] = "?";

    if (getpeername(bt_io_fd(&c->io), (struct sockaddr *)&ss, &len) == 0)
        (void)getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), NULL, 0,
                          NI_NUMERICHOST);
    bt_log(BT_LOG_WARN, "CORE-HTTP-REFUSED",
           status == 401 ? "a request without the right token"
                         : "a request of a browser's page",
           "peer=%s", host);
}

/* What the head says goes to q. 0 or a status. */
static int understand(struct api_request *q, const struct bt_http_request *head)
{
    struct api_route found = { NULL, NULL };
    size_t max = BT_API_MAX_BODY;
    unsigned refused = api_permit(q->api, head);

    if (refused != 0) {
        tell_refused(q->conn, refused);
        return (int)refused;
    }
    if (!bt_http_decode(head->path, false, q->path, sizeof(q->path)))
        return 400;
    q->status = api_find(q->api, q->method, q->path, &found);
    q->route = found.route;
    q->arg = found.arg;
    if (found.route != NULL && found.route->max_body > 0)
        max = found.route->max_body;
    q->body.max = max;
    return bt_http_body_init(&q->reader, head, max);
}

/* Takes the head at the start of c->in. 0, BT_HTTP_MORE or a status. */
static int take_head(struct api_conn *c)
{
    struct bt_http_request head;
    struct api_request *q;
    int r = bt_http_parse(c->in.data, c->in.len, &head);

    if (r != 0)
        return r;
    if (head.method.len >= API_MAX_METHOD)
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
    /* No route answers HEAD; the refusal has a body, which its client does not expect. */
    q->keep_alive = head.keep_alive && !bt_http_is(head.method, "HEAD");
    q->pub = (struct bt_api_req){
        .method = q->method,
        .path = q->path,
        .query = { (const uint8_t *)q->query, head.query.len },
    };
    r = understand(q, &head);
    if (r == 0 && head.expect_continue)
        r = bt_buf_append_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n") == 0 ? 0 : 503;
    bt_buf_consume(&c->in, head.head_len);
    return r;
}

/* One piece of body. 0 or a status. */
static int keep_piece(struct api_request *q, struct bt_slice piece)
{
    struct bt_api *api = q->api;

    if (piece.len == 0)
        return 0;
    if (piece.len > api->limits.bytes || api->n_bytes > api->limits.bytes - piece.len)
        return 503;
    if (bt_buf_append(&q->body, piece.ptr, piece.len) != 0)
        return 413;
    api->n_bytes += piece.len;
    return 0;
}

/* 0: the request is whole; BT_HTTP_MORE; or a status. */
static int take_body(struct api_conn *c)
{
    struct api_request *q = c->req;
    int r = BT_HTTP_MORE;

    while (r == BT_HTTP_MORE) {
        struct bt_slice piece = { NULL, 0 };
        size_t used = 0;
        int kept;

        r = bt_http_body_feed(&q->reader, c->in.data, c->in.len, &used, &piece);
        kept = keep_piece(q, piece);
        if (kept != 0)
            return kept;
        bt_buf_consume(&c->in, used);
        if (used == 0)
            break;
    }
    return r;
}

/* Handle what is in c->in. false: the connection is gone. */
static bool take(struct api_conn *c)
{
    int r = 0;

    if (c->req == NULL && c->in.len == 0)
        return true;
    if (c->idle) {
        c->idle = false;
        set_timer(c, c->api->limits.whole_ms);
    }
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

/* One piece of what has come. false: there is no more, or the connection is gone. */
static bool read_piece(struct api_conn *c)
{
    ssize_t n;

    if (bt_buf_reserve(&c->in, API_READ_STEP) != 0) {
        api_conn_close(c);
        return false;
    }
    n = api_link_read(&c->link, c->in.data + c->in.len, API_READ_STEP);
    if (n < 0) {
        api_conn_close(c);
        return false;
    }
    c->in.len += (size_t)n;
    watch(c);
    return n > 0 && take(c) && c->state == API_READING;
}

static void read_some(struct api_conn *c)
{
    while (read_piece(c) && api_link_pending(&c->link))
        ;
}

/* The answer is written: the next request, of which bytes may be here already. */
static void go_on(struct api_conn *c)
{
    if (c->close_after || c->api->closing) {
        linger(c);
        return;
    }
    c->state = API_READING;
    c->idle = true;
    watch(c);
    set_timer(c, BT_API_IDLE_MS);
    if (take(c) && c->state == API_READING && api_link_pending(&c->link))
        read_some(c);
}

static void read_away(struct api_conn *c)
{
    uint8_t rest[API_READ_STEP];

    do {
        if (api_link_read(&c->link, rest, sizeof(rest)) < 0) {
            api_conn_close(c);
            return;
        }
    } while (api_link_pending(&c->link));
}

/* While a request is handled only the end of the connection counts: its place is for
 * others then. What comes is left for the next request. */
static void look_for_end(struct api_conn *c)
{
    uint8_t byte;
    ssize_t n = recv(bt_io_fd(&c->io), &byte, 1, MSG_PEEK);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        api_conn_close(c);
        return;
    }
    c->more = true;
    watch(c);
}

static void on_io(struct bt_io *io, unsigned events)
{
    struct api_conn *c = bt_container_of(io, struct api_conn, io);

    if ((events & BT_WRITE) != 0) {
        if (!flush(c))
            return;
        if (c->state == API_WRITING && !unsent(c)) {
            go_on(c);
            return;
        }
    }
    if ((events & BT_READ) != 0 && c->state == API_READING)
        read_some(c);
    else if ((events & BT_READ) != 0 && c->state == API_LINGERING)
        read_away(c);
    else if ((events & BT_READ) != 0 && c->state == API_HANDLING)
        look_for_end(c);
}

static void on_timer(struct bt_timer *t)
{
    struct api_conn *c = bt_container_of(t, struct api_conn, timer);

    if (c->state != API_HANDLING) {
        api_conn_close(c);
        return;
    }
    c->req->conn = NULL; /* its answer comes too late */
    c->req = NULL;
    (void)send_error(c, 504);
}

void api_conn_answer(void *arg, struct bt_msg *msg)
{
    struct api_request *q = bt_container_of(msg, struct api_request, msg);
    struct api_conn *c = q->conn;
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
    if (open && !unsent(c))
        go_on(c);
}

/* ---- Accepting ---- */

/* A connection that only waits gives its place to a new one. */
static bool make_room(struct bt_api *api)
{
    struct bt_list *it;

    bt_list_for_each (it, &api->conns) {
        struct api_conn *c = bt_list_entry(it, struct api_conn, all);

        if (!c->idle || c->in.len > 0)
            continue;
        api_conn_close(c);
        return true;
    }
    return false;
}

void api_conn_new(struct bt_api *api, int fd, struct bt_tls_ctx *tls)
{
    bool room = api->n_conns < api->limits.conns || make_room(api);
    struct api_conn *c = room ? bt_calloc(1, sizeof(*c)) : NULL;

    if (c == NULL || api_link_init(&c->link, fd, tls) != 0) {
        bt_free(c);
        (void)close(fd);
        return;
    }
    c->api = api;
    c->in.max = MAX_KEPT_IN + API_READ_STEP;
    bt_list_push_back(&api->conns, &c->all);
    api->n_conns++;
    bt_io_init(&c->io, fd, on_io);
    bt_io_start(api->loop, &c->io, BT_READ);
    bt_timer_init(&c->timer, on_timer);
    set_timer(c, api->limits.whole_ms);
}
