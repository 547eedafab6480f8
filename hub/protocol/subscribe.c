/* SUBSCRIBE and UNSUBSCRIBE (MQTT 5.0 §3.8, §3.10). For a session that persists the
 * answer leaves after the commit of its rows, because a subscription that was
 * acknowledged must survive a power cut. Retained messages follow the SUBACK. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/access/limit.h"
#include "hub/net/conn.h"
#include "hub/net/listener.h"
#include "hub/observe/recorder.h"
#include "hub/observe/sys.h"
#include "hub/observe/why.h"
#include "hub/protocol/props.h"
#include "hub/session/replay.h"
#include "hub/worker.h"

/* In hub_answer.filters: one granted filter, its text behind it. */
struct replay {
    struct hub_sub_opts opts;
    uint32_t len;
};

static struct hub_answer *new_answer(struct hub_session *s)
{
    struct hub_answer *a = bt_calloc(1, sizeof(*a));

    if (a == NULL)
        return NULL;
    a->ticket.msg.kind = HUB_W_ANSWER;
    a->ticket.to = s->worker->mbox;
    atomic_init(&a->ticket.pending, 1);
    a->addr = hub_addr_ref(s->addr);
    a->link_serial = s->link_serial;
    return a;
}

static void replay_all(struct hub_session *s, const struct bt_buf *filters)
{
    size_t at = 0;

    while (at < filters->len) {
        struct replay r;

        memcpy(&r, filters->data + at, sizeof(r));
        at += sizeof(r);
        hub_replay_start(s, (struct bt_slice){ filters->data + at, r.len }, &r.opts);
        at += r.len;
    }
}

void hub_answer_done(struct hub_answer *a)
{
    struct hub_session *s = a->addr->session;

    if (s != NULL && s->link_serial == a->link_serial) {
        if (atomic_load(&a->ticket.failed)) {
            /* No SUBACK says so for what was granted: the client asks again. */
            s->link->ops->close(s->link, BT_MQTT_QUOTA);
        } else {
            s->link->ops->answer(s->link,
                                 (struct bt_slice){ a->bytes.data, a->bytes.len });
            replay_all(s, &a->filters);
        }
    }
    hub_addr_unref(a->addr);
    bt_buf_deinit(&a->bytes);
    bt_buf_deinit(&a->filters);
    bt_free(a);
}

/* Reason byte for one filter; appends to the answer's replay list when retained messages
 * are wanted. */
/* Without a user name the hub's own figures are for this machine only. */
static bool may_watch(struct hub_session *s, struct bt_slice filter)
{
    const struct hub_conn *c = hub_link_conn(s->link);

    return !hub_sys_is(filter) || c == NULL || c->listener->local ||
           s->principal == NULL || hub_principal_name(s->principal)[0] != '\0';
}

static uint8_t try_subscribe(struct hub_session *s, const struct bt_mqtt_sub *sub,
                             uint32_t subid, struct hub_answer *a)
{
    struct replay r = {
        .opts = { .qos = sub->qos, .subid = subid },
        .len = (uint32_t)sub->filter.len,
    };
    bool shared = sub->filter.len > 7 && memcmp(sub->filter.ptr, "$share/", 7) == 0;
    int res;

    if (!bt_mqtt_filter_ok(sub->filter) ||
        !hub_filter_allowed(s->worker->hub, sub->filter))
        return BT_MQTT_BAD_FILTER;
    if (!hub_session_may_subscribe(s, sub->filter) || !may_watch(s, sub->filter))
        return BT_MQTT_NOT_AUTHORIZED;
    res = hub_session_subscribe(s, sub, subid, &a->ticket);
    if (res == BT_ELIMIT)
        hub_limited(bt_container_of(s->link, struct hub_conn, link),
                    HUB_LIMIT_SUBSCRIPTIONS);
    if (res < 0)
        return BT_MQTT_QUOTA;
    if (!shared &&
        (sub->retain_handling == 0 || (sub->retain_handling == 1 && res == 0))) {
        if (bt_buf_append(&a->filters, &r, sizeof(r)) != 0 ||
            bt_buf_append(&a->filters, sub->filter.ptr, sub->filter.len) != 0)
            return BT_MQTT_QUOTA;
    }
    return r.opts.qos;
}

static uint8_t subscribe_one(struct hub_session *s, const struct bt_mqtt_sub *sub,
                             uint32_t subid, struct hub_answer *a)
{
    uint8_t code = try_subscribe(s, sub, subid, a);

    if (code >= 0x80)
        hub_refused(s, HUB_REFUSED_SUBSCRIBE, sub->filter, code);
    else
        hub_record(
            s, &(struct hub_fact){ HUB_EV_SUBSCRIBED, .n = code, .text = sub->filter });
    return code;
}

/* The first code that is a failure, in words. */
static void first_failure(const struct bt_buf *codes, struct bt_mqtt_props *words)
{
    for (size_t i = 0; i < codes->len; i++) {
        const char *text = bt_mqtt_reason_text(codes->data[i]);

        if (codes->data[i] < 0x80)
            continue;
        words->present = 1u << BT_MQTT_P_REASON_STRING;
        words->reason_string = (struct bt_slice){ (const uint8_t *)text, strlen(text) };
        return;
    }
}

static int finish(struct hub_conn *c, struct hub_answer *a,
                  const struct bt_mqtt_packet *m, const struct bt_buf *codes)
{
    enum bt_mqtt_type type =
        m->type == BT_MQTT_SUBSCRIBE ? BT_MQTT_SUBACK : BT_MQTT_UNSUBACK;
    struct bt_mqtt_props words = { 0 };
    int r;

    if (c->v5 == NULL || !c->v5->no_problem)
        first_failure(codes, &words);
    r = bt_mqtt_encode_suback(&a->bytes, c->version, type, m->pid, codes->data,
                              codes->len, &words);
    if (r == 0 && words.present != 0 && !hub_conn_fits(c, a->bytes.len)) {
        a->bytes.len = 0;
        r = bt_mqtt_encode_suback(&a->bytes, c->version, type, m->pid, codes->data,
                                  codes->len, NULL);
    }
    if (r != 0)
        atomic_store(&a->ticket.failed, true);
    hub_ticket_done(&a->ticket, r == 0);
    return r == 0 ? 0 : BT_MQTT_UNSPECIFIED;
}

/* The start of both: the packet decoded, an answer to fill. 0 or the reason to close. */
static int begin(struct hub_conn *c, struct bt_slice bytes, struct bt_mqtt_packet *m,
                 struct hub_answer **out)
{
    int r = bt_mqtt_decode(bytes.ptr, bytes.len, c->version, m);

    if (r != 0)
        return r;
    *out = new_answer(c->link.session);
    return *out == NULL ? BT_MQTT_QUOTA : 0;
}

int hub_on_subscribe(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct hub_session *s = c->link.session;
    struct bt_buf codes bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_mqtt_packet m;
    struct bt_mqtt_sub sub;
    struct hub_answer *a = NULL;
    size_t pos = 0;
    int r = begin(c, (struct bt_slice){ p, n }, &m, &a);

    if (r != 0)
        return r;
    while (bt_mqtt_sub_next(m.list, c->version, &pos, &sub)) {
        uint32_t subid = m.props.n_subids > 0 ? m.props.subids[0] : 0;
        uint8_t code = subscribe_one(s, &sub, subid, a);

        if (code >= 0x80 && c->version != BT_MQTT_50)
            code = 0x80; /* MQTT 3.1.1 §3.9.3 knows one failure */
        r = bt_buf_append_u8(&codes, code);
        if (r != 0)
            atomic_store(&a->ticket.failed, true);
    }
    return finish(c, a, &m, &codes);
}

int hub_on_unsubscribe(struct hub_conn *c, const uint8_t *p, size_t n)
{
    struct hub_session *s = c->link.session;
    struct bt_buf codes bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_mqtt_packet m;
    struct bt_slice filter;
    struct hub_answer *a = NULL;
    size_t pos = 0;
    int r = begin(c, (struct bt_slice){ p, n }, &m, &a);

    if (r != 0)
        return r;
    while (bt_mqtt_filter_next(m.list, &pos, &filter)) {
        uint8_t code = BT_MQTT_BAD_FILTER;

        if (bt_mqtt_filter_ok(filter))
            code = hub_session_unsubscribe(s, filter, &a->ticket)
                       ? 0
                       : BT_MQTT_NO_SUBSCRIPTION_EXISTED;
        r = bt_buf_append_u8(&codes, code);
        if (r != 0)
            atomic_store(&a->ticket.failed, true);
    }
    return finish(c, a, &m, &codes);
}
