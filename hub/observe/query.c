/* The idea: one struct a question, with the request it answers, the place where it stands
 * and the text so far. `clients` walks the session tables of all workers in order; `why`
 * goes to the client's home first and then, for a topic, past all workers for what they
 * recorded about it.
 *
 * Both answer as JSON or, with format=text, as lines for people. Failure modes: a worker
 * that stops answers 503; an answer that grows beyond its limit or memory, 503, too. */
#include "hub/observe/query.h"

#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/json_put.h"
#include "core/mem.h"
#include "core/metric.h"
#include "hub/observe/query_priv.h"
#include "hub/observe/why.h"

#define CURSOR_TEXT 24u

/* ---- Writing ---- */

void hub_query_put(struct hub_query *q, const char *text)
{
    if (q->r == 0)
        q->r = bt_buf_append_str(&q->out, text);
}

void hub_query_put_text(struct hub_query *q, struct bt_slice s)
{
    if (q->r == 0)
        q->r = bt_json_put_string(&q->out, s);
}

void hub_query_put_str(struct hub_query *q, const char *key, const char *value)
{
    hub_query_put(q, key);
    hub_query_put_text(q, (struct bt_slice){ (const uint8_t *)value, strlen(value) });
}

void hub_query_put_int(struct hub_query *q, const char *key, int64_t value)
{
    hub_query_put(q, key);
    if (q->r == 0)
        q->r = bt_buf_printf(&q->out, "%" PRId64, value);
}

void hub_query_put_bool(struct hub_query *q, const char *key, bool value)
{
    hub_query_put(q, key);
    hub_query_put(q, value ? "true" : "false");
}

void hub_query_put_comma(struct hub_query *q)
{
    if (q->n++ > 0)
        hub_query_put(q, ",");
}

int64_t hub_query_wall(const struct hub_worker *w, uint64_t loop_ms)
{
    return bt_clock_wall_ms() - (int64_t)(bt_loop_ms(w->loop) - loop_ms);
}

void hub_query_finish(struct hub_query *q)
{
    if (q->r == 0)
        bt_api_answer(q->req, 200, q->text ? BT_API_TEXT : BT_API_JSON, &q->out);
    else
        bt_api_refuse(q->req, 503,
                      q->r == BT_ECLOSED ? "the hub is stopping"
                                         : "out of memory, or too much to answer");
    bt_buf_deinit(&q->out);
    bt_free(q);
}

void hub_query_send(struct hub_query *q, struct hub_worker *w)
{
    if (bt_mbox_post(w->mbox, &q->msg) == 0)
        return;
    bt_api_refuse(q->req, 503, "the hub is stopping");
    bt_buf_deinit(&q->out);
    bt_free(q);
}

/* ---- GET /v1/hub/clients ---- */

static void address_of(const struct hub_conn *c, char out[HUB_QUERY_ADDRESS_TEXT])
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);
    char host[64], port[8];

    (void)snprintf(out, HUB_QUERY_ADDRESS_TEXT, "%s", c == NULL ? "in process" : "unix");
    if (c == NULL || getpeername(bt_io_fd(&c->io), (struct sockaddr *)&ss, &len) != 0 ||
        ss.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    (void)snprintf(out, HUB_QUERY_ADDRESS_TEXT,
                   ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

struct facts {
    char address[HUB_QUERY_ADDRESS_TEXT], since[BT_CLOCK_TEXT_LEN];
    const char *user;
    unsigned version;
    const struct hub_conn *conn;
};

static void gather(const struct hub_worker *w, struct hub_session *s, struct facts *f)
{
    f->conn = hub_link_conn(s->link);
    f->address[0] = '\0';
    if (s->link != NULL)
        address_of(f->conn, f->address);
    f->user = s->principal == NULL ? "" : hub_principal_name(s->principal);
    f->version = f->conn != NULL ? f->conn->version : 0;
    bt_clock_text(hub_query_wall(w, (uint64_t)s->since_s * 1000), f->since);
}

static void client_json(struct hub_query *q, struct hub_session *s, const struct facts *f)
{
    hub_query_put(q, "{\"id\":");
    hub_query_put_text(q, (struct bt_slice){ (const uint8_t *)s->id, s->id_len });
    hub_query_put_bool(q, ",\"connected\":", s->link != NULL);
    hub_query_put_str(q, ",\"since\":", f->since);
    hub_query_put_str(q, ",\"address\":", f->address);
    hub_query_put_str(q, ",\"user\":", f->user);
    hub_query_put_int(q, ",\"version\":", f->version);
    hub_query_put_bool(q, ",\"persistent\":", s->persistent);
    hub_query_put_int(q, ",\"subscriptions\":", s->n_filters);
    hub_query_put_int(q, ",\"queued\":", s->n_queued);
    hub_query_put_int(q, ",\"in_flight\":", s->n_inflight);
    hub_query_put_bool(q, ",\"on_disk\":", s->on_disk);
    hub_query_put_int(
        q, ",\"output_bytes\":", f->conn != NULL ? (int64_t)f->conn->out.bytes : 0);
    hub_query_put(q, "}");
}

static void client_line(struct hub_query *q, const struct hub_session *s,
                        const struct facts *f)
{
    struct hub_lines l = { .r = q->r };

    hub_lines_add(
        &l, "%-24s %-22s %-12s %-5s %-24s %6" PRIu32 " %6u %5" PRIu32 "%s", s->id,
        s->link != NULL ? f->address : "offline", f->user[0] != '\0' ? f->user : "-",
        f->version == BT_MQTT_50    ? "5"
        : f->version == BT_MQTT_311 ? "3.1.1"
        : f->version != 0           ? "3.1"
                                    : "-",
        f->since, s->n_queued, s->n_inflight, s->n_filters, s->on_disk ? " +disk" : "");
    if (l.r == 0)
        l.r = bt_buf_append(&q->out, l.b.data, l.b.len);
    q->r = l.r;
    bt_buf_deinit(&l.b);
}

void hub_query_client(struct hub_query *q, const struct hub_worker *w,
                      struct hub_session *s)
{
    struct facts f;

    gather(w, s, &f);
    client_json(q, s, &f);
}

static void add_client(struct hub_query *q, const struct hub_worker *w,
                       struct hub_session *s)
{
    struct facts f;

    gather(w, s, &f);
    q->left -= q->left > 0;
    if (q->text) {
        client_line(q, s, &f);
        return;
    }
    hub_query_put_comma(q);
    client_json(q, s, &f);
}

static void end_clients(struct hub_query *q, bool more)
{
    char cursor[CURSOR_TEXT] = "";

    if (more)
        (void)snprintf(cursor, sizeof(cursor), "%" PRIu32 ".%" PRIu32, q->worker,
                       q->bucket);
    if (q->text && more) {
        hub_query_put(q, "more: --after ");
        hub_query_put(q, cursor);
        hub_query_put(q, "\n");
    } else if (!q->text) {
        hub_query_put_str(q, "],\"next\":", cursor);
        hub_query_put(q, "}\n");
    }
    hub_query_finish(q);
}

/* Buckets are taken whole, so a page may hold a few clients more than asked for. */
static void on_clients(struct hub_query *q, struct hub_worker *w)
{
    uint32_t looked = 0;

    while (q->bucket < w->sessions.cap && q->left > 0 && looked < HUB_QUERY_STEP) {
        struct hub_session *s = w->sessions.by_id[q->bucket++];

        for (looked++; s != NULL; s = s->next_by_id, looked++)
            add_client(q, w, s);
    }
    if (q->bucket >= w->sessions.cap) {
        q->bucket = 0;
        q->worker++;
    }
    if (q->r != 0 || q->worker >= q->hub->n_workers)
        end_clients(q, false);
    else if (q->left == 0)
        end_clients(q, true);
    else
        hub_query_send(q, q->hub->workers[q->worker]);
}

void hub_query_handle(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_query *q = bt_container_of(msg, struct hub_query, msg);

    if (w->stopping) {
        q->r = BT_ECLOSED;
        hub_query_finish(q);
        return;
    }
    if (q->kind == HUB_QUERY_OF_CLIENTS)
        on_clients(q, w);
    else
        hub_query_on_why(q, w);
}

/* ---- Main loop: the requests ---- */

struct hub_query *hub_query_new(struct hub *hub, struct bt_api_req *req,
                                enum hub_query_kind kind)
{
    struct hub_query *q = bt_calloc(1, sizeof(*q));
    char format[8];

    if (q == NULL) {
        bt_api_refuse(req, 503, "out of memory");
        return NULL;
    }
    q->msg.kind = HUB_W_QUERY;
    q->req = req;
    q->hub = hub;
    q->kind = kind;
    q->out.max = HUB_QUERY_MAX_ANSWER;
    q->text = bt_api_param(req, "format", format, sizeof(format)) == 0 &&
              strcmp(format, "text") == 0;
    return q;
}

void hub_query_refuse(struct hub_query *q, const char *why)
{
    bt_api_refuse(q->req, 400, why);
    bt_buf_deinit(&q->out);
    bt_free(q);
}

/* A decimal number; absent leaves *out. */
bool hub_query_number(const struct bt_api_req *req, const char *name, uint32_t most,
                      uint32_t *out)
{
    char text[16], *end;
    int r = bt_api_param(req, name, text, sizeof(text));
    unsigned long v;

    if (r == BT_API_ABSENT)
        return true;
    if (r != 0 || text[0] < '0' || text[0] > '9')
        return false;
    v = strtoul(text, &end, 10);
    if (*end != '\0' || v > most)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool take_cursor(struct hub_query *q)
{
    char text[CURSOR_TEXT], *end;
    int r = bt_api_param(q->req, "after", text, sizeof(text));
    unsigned long worker, bucket;

    if (r == BT_API_ABSENT || (r == 0 && text[0] == '\0'))
        return true;
    worker = strtoul(text, &end, 10);
    if (r != 0 || *end != '.' || worker >= q->hub->n_workers)
        return false;
    bucket = strtoul(end + 1, &end, 10);
    q->worker = (uint32_t)worker;
    q->bucket = (uint32_t)BT_MIN(bucket, UINT32_MAX);
    return *end == '\0';
}

static void get_clients(void *arg, struct bt_api_req *req)
{
    struct hub_query *q = hub_query_new(arg, req, HUB_QUERY_OF_CLIENTS);

    if (q == NULL)
        return;
    q->left = HUB_QUERY_CLIENTS;
    if (!hub_query_number(req, "limit", HUB_QUERY_MAX_CLIENTS, &q->left) ||
        q->left == 0 || !take_cursor(q)) {
        hub_query_refuse(
            q, "limit is a number from 1 to 10000; after is the `next` of an earlier "
               "answer");
        return;
    }
    if (!q->text)
        hub_query_put(q, "{\"clients\":[");
    else
        hub_query_put(
            q, "client                   address                user         mqtt  since"
               "                    queued in-flight subs\n");
    hub_query_send(q, q->hub->workers[q->worker]);
}

static void add_store_metric(void *arg, const struct bt_metric *m)
{
    static const char prefix[] = "baetyl_store_";
    struct hub_query *q = arg;
    char value[BT_METRIC_VALUE_MAX];

    if (strncmp(m->name, prefix, sizeof(prefix) - 1) != 0)
        return;
    hub_query_put_comma(q);
    hub_query_put(q, "\"");
    hub_query_put(q, m->name + sizeof(prefix) - 1);
    hub_query_put(q, "\":");
    bt_metric_format(m, bt_metric_get(m), value);
    hub_query_put(q, value);
}

static void get_store(void *arg, struct bt_api_req *req)
{
    struct hub_query *q = hub_query_new(arg, req, HUB_QUERY_OF_CLIENTS);

    if (q == NULL)
        return;
    q->text = false;
    bt_metric_refresh();
    hub_query_put(q, "{");
    bt_metric_each(add_store_metric, q);
    hub_query_put(q, "}\n");
    hub_query_finish(q);
}

int hub_query_add(struct hub *hub, struct bt_api *api)
{
    static const struct bt_api_route routes[] = {
        { .method = "GET", .path = "/v1/hub/clients", .handle = get_clients },
        { .method = "GET", .path = "/v1/hub/why", .handle = hub_query_get_why },
        { .method = "GET", .path = "/v1/hub/store", .handle = get_store },
    };

    return bt_api_add(api, routes, BT_ARRAY_LEN(routes), hub);
}
