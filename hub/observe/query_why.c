/* GET /v1/hub/why: what is true now about a client and a topic (hub/observe/why.h), then
 * what was recorded (hub/observe/recorder.h): about the client at its home, and, for a
 * topic, what all workers know about it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/mem.h"
#include "hub/observe/query_priv.h"
#include "hub/observe/why.h"

struct event_ctx {
    struct hub_query *q;
    const struct hub_worker *w;
    struct bt_slice id; /* set when it is not the client that was asked about */
};

static void event_json(struct event_ctx *x, const struct hub_event *e, const char *when,
                       const char *sentence)
{
    struct hub_query *q = x->q;
    struct bt_slice text = { (const uint8_t *)e->text,
                             BT_MIN(e->text_len, HUB_EVENT_TEXT) };

    hub_query_put_comma(q);
    hub_query_put_str(q, "{\"time\":", when);
    hub_query_put_str(q, ",\"event\":", hub_event_name((enum hub_event_kind)e->kind));
    if (x->id.len > 0) {
        hub_query_put(q, ",\"client\":");
        hub_query_put_text(q, x->id);
    }
    if (e->kind == HUB_EV_DROPPED)
        hub_query_put_str(q, ",\"reason\":", hub_drop_label((enum hub_drop)e->why));
    else if (e->why != 0)
        hub_query_put_int(q, ",\"code\":", e->why);
    if (e->text_len > 0 && e->kind != HUB_EV_LOGIN_REFUSED) {
        hub_query_put(q, ",\"topic\":");
        hub_query_put_text(q, text);
        hub_query_put_bool(q, ",\"cut\":", e->text_len > HUB_EVENT_TEXT);
    }
    hub_query_put_int(q, ",\"times\":", e->times);
    hub_query_put_str(q, ",\"text\":", sentence);
    hub_query_put(q, "}");
}

static void event_line(struct event_ctx *x, const struct hub_event *e, const char *when,
                       const char *sentence)
{
    struct hub_lines l = { .r = x->q->r };
    int n = (int)BT_MIN(e->text_len, HUB_EVENT_TEXT);
    bool topic = e->text_len > 0 && e->kind != HUB_EV_LOGIN_REFUSED;
    char times[24] = "";

    if (e->times > 1)
        (void)snprintf(times, sizeof(times), " (%" PRIu32 " times)", e->times);
    hub_lines_add(&l, "  %s %.*s%s%s%s%.*s%s%s", when, (int)BT_MIN(x->id.len, 200),
                  x->id.len > 0 ? (const char *)x->id.ptr : "", x->id.len > 0 ? ": " : "",
                  sentence, topic ? ": " : "", topic ? n : 0, e->text,
                  topic && e->text_len > HUB_EVENT_TEXT ? "..." : "", times);
    if (l.r == 0)
        l.r = bt_buf_append(&x->q->out, l.b.data, l.b.len);
    x->q->r = l.r;
    bt_buf_deinit(&l.b);
    x->q->n++;
}

static void add_event(void *arg, const struct hub_event *e)
{
    struct event_ctx *x = arg;
    char when[BT_CLOCK_TEXT_LEN], sentence[HUB_EVENT_SENTENCE];

    bt_clock_text(hub_query_wall(x->w, e->when_ms), when);
    hub_event_sentence(e, sentence);
    if (x->q->text)
        event_line(x, e, when, sentence);
    else
        event_json(x, e, when, sentence);
}

static void add_event_of(void *arg, struct bt_slice id, const struct hub_event *e)
{
    struct event_ctx *x = arg;

    if (id.len == x->q->id.len && memcmp(id.ptr, x->q->id.ptr, id.len) == 0)
        return; /* told already */
    x->id = id;
    add_event(x, e);
}

static void put_lines(struct hub_query *q, const struct bt_buf *lines)
{
    const char *at = (const char *)lines->data, *end = at + lines->len;
    uint32_t n = 0;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));

        if (!q->text && n++ > 0)
            hub_query_put(q, ",");
        if (q->text) {
            hub_query_put(q, "  ");
            if (q->r == 0)
                q->r = bt_buf_append(&q->out, at, (size_t)(stop - at) + 1);
        } else {
            hub_query_put_text(
                q, (struct bt_slice){ (const uint8_t *)at, (size_t)(stop - at) });
        }
        at = stop + 1;
    }
}

static void verdict(struct hub_query *q, struct hub_worker *w, struct hub_session *s)
{
    struct hub_lines l = { .r = 0 };
    bool reach = hub_why(w, s, q->topic, &l);

    if (q->text) {
        hub_query_put(q, q->topic.len == 0 ? "Now:\n"
                         : reach ? "Now a message on that topic would reach it:\n"
                                 : "Now a message on that topic would not reach it:\n");
    } else {
        hub_query_put_bool(q, ",\"known\":", s != NULL);
        if (q->topic.len > 0) {
            hub_query_put_str(q, ",\"topic\":", q->topic_text);
            hub_query_put_bool(q, ",\"would_reach\":", reach);
        }
        hub_query_put(q, ",\"because\":[");
    }
    put_lines(q, &l.b);
    if (!q->text)
        hub_query_put(q, "]");
    if (q->r == 0)
        q->r = l.r;
    bt_buf_deinit(&l.b);
}

static void set_trace(struct hub_query *q, struct hub_session *s)
{
    int r = !q->trace ? 0 : s == NULL ? -1 : hub_recorder_trace(s, q->trace_s);

    if (!q->trace)
        return;
    if (q->text)
        hub_query_put(q, r == 0 && q->trace_s > 0
                             ? "From now on everything about it is recorded.\n"
                         : r == 0 ? "It is no longer traced.\n"
                                  : "It cannot be traced now.\n");
    else
        hub_query_put_bool(q, ",\"traced\":", r == 0 && q->trace_s > 0);
}

static void at_home(struct hub_query *q, struct hub_worker *w)
{
    struct hub_session *s = hub_worker_find(w, q->id);
    struct event_ctx x = { .q = q, .w = w };

    if (q->text) {
        hub_query_put(q, "Client ");
        hub_query_put(q, q->id_text);
        hub_query_put(q, "\n");
    } else {
        hub_query_put(q, "\"client\":");
        hub_query_put_text(q, q->id);
    }
    set_trace(q, s);
    verdict(q, w, s);
    if (!q->text && s != NULL) {
        hub_query_put(q, ",\"session\":");
        hub_query_client(q, w, s);
    }
    hub_query_put(q, q->text ? "Recorded:\n" : ",\"events\":[");
    q->n = 0;
    hub_recorder_each(w, q->id, q->topic, add_event, &x);
    if (q->text && q->n == 0)
        hub_query_put(q, "  nothing\n");
    if (!q->text)
        hub_query_put(q, "]");
}

/* Who gets the topic on this worker, when no client was named. */
static void receivers(struct hub_query *q, struct hub_worker *w)
{
    struct hub_match *m = hub_cache_lookup(w->cache, q->topic);

    if (m == NULL)
        return;
    for (uint32_t i = m->first[w->index]; i < m->first[w->index + 1] && q->left > 0;
         i++) {
        const struct hub_session *s = m->targets[i].addr->session;

        if (s == NULL)
            continue;
        q->left--;
        if (q->text) {
            hub_query_put(q, "  received by ");
            hub_query_put(q, s->id);
            hub_query_put(q, s->link != NULL ? "\n" : " (not connected)\n");
        } else {
            hub_query_put_comma(q);
            hub_query_put(q, "{\"event\":\"receiver\",\"client\":");
            hub_query_put_text(q, (struct bt_slice){ (const uint8_t *)s->id, s->id_len });
            hub_query_put_bool(q, ",\"connected\":", s->link != NULL);
            hub_query_put_int(q, ",\"qos\":", m->targets[i].qos);
            hub_query_put(q, "}");
        }
    }
}

static void pass_by(struct hub_query *q, struct hub_worker *w)
{
    struct event_ctx x = { .q = q, .w = w };

    if (q->id.len == 0)
        receivers(q, w);
    hub_recorder_each_topic(w, q->topic, add_event_of, &x);
}

void hub_query_on_why(struct hub_query *q, struct hub_worker *w)
{
    if (q->at_home) {
        at_home(q, w);
        q->at_home = false;
        q->n = 0;
        if (q->topic.len > 0)
            hub_query_put(q, q->text ? "Others about that topic:\n" : ",\"others\":[");
    } else {
        pass_by(q, w);
        q->worker++;
    }
    if (q->r == 0 && q->topic.len > 0 && q->worker < q->hub->n_workers) {
        hub_query_send(q, q->hub->workers[q->worker]);
        return;
    }
    if (q->text && q->topic.len > 0 && q->n == 0)
        hub_query_put(q, "  nothing\n");
    hub_query_put(q, q->text ? "" : q->topic.len > 0 ? "]}\n" : "}\n");
    hub_query_finish(q);
}

void hub_query_get_why(void *arg, struct bt_api_req *req)
{
    struct hub_query *q = hub_query_new(arg, req, HUB_QUERY_OF_WHY);
    int rc, rt;

    if (q == NULL)
        return;
    rc = bt_api_param(req, "client", q->id_text, sizeof(q->id_text));
    rt = bt_api_param(req, "topic", q->topic_text, sizeof(q->topic_text));
    q->id = (struct bt_slice){ (const uint8_t *)q->id_text, strlen(q->id_text) };
    q->topic = (struct bt_slice){ (const uint8_t *)q->topic_text, strlen(q->topic_text) };
    q->left = HUB_QUERY_CLIENTS;
    q->trace_s = UINT32_MAX;
    if (rc < 0 || rt < 0 || q->id.len + q->topic.len == 0 ||
        !hub_query_number(req, "trace", HUB_MAX_TRACE_S, &q->trace_s)) {
        hub_query_refuse(
            q, "expected client=ID or topic=TOPIC or both; trace is a number of "
               "seconds up to 3600");
        return;
    }
    q->trace = q->trace_s != UINT32_MAX;
    if (!q->text)
        hub_query_put(q, "{");
    if (q->id.len > 0) {
        q->at_home = true;
        hub_query_send(q, hub_home(q->hub, hub_id_hash(q->id)));
        return;
    }
    if (q->text)
        hub_query_put(q, "That topic:\n");
    else
        hub_query_put_str(q, "\"topic\":", q->topic_text);
    if (!q->text)
        hub_query_put(q, ",\"others\":[");
    hub_query_send(q, q->hub->workers[0]);
}
