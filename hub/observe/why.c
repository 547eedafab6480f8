/* The same questions as delivery asks, in the same order: is the topic one that can be
 * published, does a subscription match, is it permitted, is there somebody to send to,
 * and is there room. Each answer is a sentence. */
#include "hub/observe/why.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "hub/net/conn.h"
#include "hub/protocol/props.h"
#include "hub/worker.h"

#define LINE_MAX_BYTES 1024u

void hub_lines_add(struct hub_lines *l, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    n = BT_MIN(n, (int)sizeof(line) - 1);
    for (int i = 0; i < n; i++) /* a topic must not begin a line of its own */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    if (l->r == 0)
        l->r = bt_buf_append(&l->b, line, (size_t)n);
    if (l->r == 0)
        l->r = bt_buf_append_u8(&l->b, '\n');
}

struct hub_conn *hub_link_conn(struct hub_link *l)
{
    return l != NULL && l->ops == &hub_conn_link_ops
               ? bt_container_of(l, struct hub_conn, link)
               : NULL;
}

/* What the subscriptions of a session make of a topic. */
struct matched {
    uint32_t n, n_permitted;
    uint8_t qos; /* the highest */
    bool no_local, shared;
};

static struct bt_slice inner_filter(struct bt_slice filter, bool *shared)
{
    static const char share[] = "$share/";
    const uint8_t *end;

    *shared = filter.len > sizeof(share) - 1 &&
              memcmp(filter.ptr, share, sizeof(share) - 1) == 0;
    if (!*shared)
        return filter;
    end = memchr(filter.ptr + sizeof(share) - 1, '/', filter.len - (sizeof(share) - 1));
    if (end == NULL)
        return filter;
    return (struct bt_slice){ end + 1, filter.len - (size_t)(end + 1 - filter.ptr) };
}

static void look_at(struct hub_session *s, const struct hub_filter *f,
                    struct bt_slice topic, struct matched *m, struct hub_lines *lines)
{
    struct bt_slice text = { (const uint8_t *)f->text, f->len };
    bool shared, permitted;

    if (!bt_mqtt_match(inner_filter(text, &shared), topic))
        return;
    permitted = hub_session_may_subscribe(s, text);
    if (m->n++ < HUB_WHY_FILTERS)
        hub_lines_add(lines, "its subscription %s matches, QoS %u%s%s", f->text,
                      f->opts.qos,
                      (f->opts.flags & HUB_SUB_NO_LOCAL) != 0 ? ", no-local" : "",
                      permitted ? "" : ", but is no longer permitted");
    if (!permitted)
        return;
    m->n_permitted++;
    m->qos = BT_MAX(m->qos, f->opts.qos);
    m->no_local |= (f->opts.flags & HUB_SUB_NO_LOCAL) != 0;
    m->shared |= shared;
}

static bool subscribed(struct hub_session *s, struct bt_slice topic, struct matched *m,
                       struct hub_lines *lines)
{
    for (const struct hub_filter *f = s->filters; f != NULL; f = f->next)
        look_at(s, f, topic, m, lines);
    if (m->n == 0)
        hub_lines_add(lines, "none of its %" PRIu32 " subscriptions matches %.*s",
                      s->n_filters, (int)topic.len, (const char *)topic.ptr);
    if (m->n > HUB_WHY_FILTERS)
        hub_lines_add(lines, "and %" PRIu32 " more match", m->n - HUB_WHY_FILTERS);
    if (m->n > 0 && m->n_permitted == 0)
        hub_lines_add(lines, "it is not permitted to read that topic");
    if (m->n == 0 && s->n_filters > 0) {
        uint32_t shown = 0;

        for (const struct hub_filter *f = s->filters;
             f != NULL && shown < HUB_WHY_FILTERS; f = f->next, shown++)
            hub_lines_add(lines, "it subscribes to %s", f->text);
    }
    return m->n_permitted > 0;
}

static bool topic_ok(const struct hub_worker *w, struct bt_slice topic,
                     struct hub_lines *lines)
{
    static const char sys[] = "$SYS/";
    bool ours =
        topic.len >= sizeof(sys) - 1 && memcmp(topic.ptr, sys, sizeof(sys) - 1) == 0;

    if (bt_mqtt_topic_ok(topic) && (ours || hub_topic_allowed(w->hub, topic)))
        return true;
    hub_lines_add(lines, "nobody can publish to %.*s: it is not a valid topic here",
                  (int)topic.len, (const char *)topic.ptr);
    return false;
}

static void tell_offline(const struct hub_session *s, struct hub_lines *lines)
{
    char until[BT_CLOCK_TEXT_LEN];

    hub_lines_add(lines, "it is not connected; its session waits for it");
    if (s->expires_ms != 0) {
        bt_clock_text(s->expires_ms, until);
        hub_lines_add(lines, "the session expires at %s", until);
    }
}

static void tell_queue(const struct hub_session *s, struct hub_lines *lines)
{
    const struct hub_conf *conf = s->worker->conf;

    if (s->n_queued > 0)
        hub_lines_add(
            lines, "%" PRIu32 " messages wait in memory, %u of them sent, of at most %u",
            s->n_queued, s->n_inflight, s->window);
    if (s->link != NULL && s->window > 0 && s->n_inflight >= s->window)
        hub_lines_add(lines,
                      "it owes %u acknowledgements: nothing of QoS 1 or 2 is sent until "
                      "it gives one",
                      s->n_inflight);
    if (s->on_disk)
        hub_lines_add(lines, "more messages wait on disk");
    if (!s->persistent && s->n_queued >= conf->max_queued)
        hub_lines_add(lines, "its queue is full: new messages of QoS 1 or 2 are dropped");
}

static void tell_output(struct hub_session *s, struct hub_lines *lines)
{
    const struct hub_conn *c = hub_link_conn(s->link);

    if (c == NULL)
        return;
    if (c->out.bytes > 0)
        hub_lines_add(lines, "%zu bytes wait for it to read", c->out.bytes);
    if (c->out.bytes >= s->worker->conf->max_queued_bytes)
        hub_lines_add(lines, "that is the limit: messages of QoS 0 are dropped");
    if (c->v5 != NULL && c->v5->max_packet != 0)
        hub_lines_add(lines, "packets above %" PRIu32 " bytes are not sent to it",
                      c->v5->max_packet);
}

static void tell_state(struct hub_session *s, struct hub_lines *lines)
{
    const char *name = s->principal == NULL ? "" : hub_principal_name(s->principal);

    if (s->link == NULL)
        tell_offline(s, lines);
    else
        hub_lines_add(lines, "it is connected%s%s", name[0] != '\0' ? " as " : "", name);
    tell_queue(s, lines);
    tell_output(s, lines);
}

bool hub_why(const struct hub_worker *w, struct hub_session *s, struct bt_slice topic,
             struct hub_lines *lines)
{
    struct matched m = { 0 };

    if (s == NULL) {
        hub_lines_add(lines, "there is no session of that client: it is not connected, "
                             "or its session ended with its connection");
        return false;
    }
    if (topic.len == 0) {
        tell_state(s, lines);
        return false;
    }
    if (!topic_ok(w, topic, lines) || !subscribed(s, topic, &m, lines)) {
        tell_state(s, lines);
        return false;
    }
    if (m.shared)
        hub_lines_add(lines, "each message of a shared subscription goes to one of its "
                             "members only");
    if (m.no_local)
        hub_lines_add(lines, "its own messages are not sent back to it (no-local)");
    tell_state(s, lines);
    if (s->link == NULL && m.qos == 0)
        hub_lines_add(lines, "messages of QoS 0 are not kept for it");
    else if (s->link == NULL)
        hub_lines_add(lines, "messages published with QoS 1 or 2 are kept, of QoS 0 not");
    return s->link != NULL || m.qos > 0;
}
