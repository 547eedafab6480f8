/* In-process clients. A client is one object known to two threads: the module's loop and
 * the session's home worker, one reference each. Requests travel to the worker and events
 * to the module by mailbox; a delivery carries a reference on the message, so the payload
 * is never copied.
 *
 * Fields are split by thread: what the module writes before OPEN is read-only afterwards;
 * `link` and `serving` are the worker's; `closed` and the callbacks are the module's.
 * Failure modes: out of memory while telling an event drops that event; a QoS 1 delivery
 * is then not acknowledged and comes again when the session is next opened. */
#include "hub/session/local.h"

#include <stdatomic.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/access/check.h"
#include "hub/access/reply_guard.h"
#include "hub/observe/recorder.h"
#include "hub/observe/sys.h"
#include "hub/protocol/props.h"
#include "hub/session/replay.h"
#include "hub/worker.h"

#define MAX_LOCAL_QOS0 4096u /* QoS 0 deliveries a slow module may have waiting */

enum request_kind { REQ_OPEN, REQ_PUBLISH, REQ_ACK, REQ_CLOSE };
enum event_kind { EV_READY, EV_MESSAGE, EV_RESENT, EV_PUBLISHED, EV_CLOSED };

struct hub_client {
    _Atomic uint32_t refs;
    struct hub *hub;
    struct hub_worker *home;
    struct bt_mbox *mbox; /* on the module's loop */
    struct hub_client_opts opts;
    char *id, *username, *password;
    struct hub_sub *subs;
    bool closed;
    struct hub_link link;
    struct bt_list all; /* worker's locals */
    bool serving;
    bool fresh; /* its session is new, or was another user's; the module's after EV_READY
                 */
    struct hub_check *check; /* the worker's: its password is being looked at */
    _Atomic uint32_t n_qos0; /* up by the worker, down by the module */
};

struct request {
    struct bt_msg msg;
    struct hub_client *client;
    enum request_kind kind;
    uint8_t qos;
    bool ok;
    uint16_t pid;
    uint64_t token, input;
    struct hub_msg *publish;
};
struct event {
    struct bt_msg msg;
    unsigned reason;
    uint64_t token;
    struct hub_delivery delivery;
};

static void client_unref(struct hub_client *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    bt_mbox_free(c->mbox);
    for (size_t i = 0; c->subs != NULL && i < c->opts.n_subs; i++)
        bt_free((void *)(uintptr_t)c->subs[i].filter);
    bt_free(c->subs);
    bt_free(c->id);
    bt_free(c->username);
    bt_free(c->password);
    bt_free(c);
}

/* ---- Worker's side ---- */

static void tell(struct hub_client *c, enum event_kind kind, struct event *e)
{
    if (e == NULL)
        return;
    e->msg.kind = kind;
    if (bt_mbox_post(c->mbox, &e->msg) != 0) {
        hub_msg_unref(e->delivery.msg);
        bt_free(e);
    }
}

static struct event *new_event(unsigned reason, uint64_t token)
{
    struct event *e = bt_calloc(1, sizeof(*e));

    if (e != NULL) {
        e->reason = reason;
        e->token = token;
    }
    return e;
}

static struct hub_client *client_of(struct hub_link *l)
{
    return bt_container_of(l, struct hub_client, link);
}

static bool link_ready(struct hub_link *l)
{
    (void)l;
    return true; /* the window bounds what waits */
}

static void link_publish(struct hub_link *l, const struct hub_out *o)
{
    struct hub_client *c = client_of(l);
    struct hub_msg *msg;
    struct event *e;

    if (o->qos == 0 &&
        atomic_load_explicit(&c->n_qos0, memory_order_relaxed) >= MAX_LOCAL_QOS0) {
        hub_drop(l->session, o->pub->topic, HUB_DROP_SLOW_READER);
        return;
    }
    msg = hub_pub_msg(o->pub);
    e = msg == NULL ? NULL : new_event(0, 0);
    if (e == NULL) {
        hub_msg_unref(msg);
        hub_drop(l->session, o->pub->topic, HUB_DROP_NO_MEMORY);
        return;
    }
    e->delivery = (struct hub_delivery){
        .topic = hub_msg_topic(msg),
        .payload = hub_msg_payload(msg),
        .qos = o->qos,
        .dup = o->dup,
        .retain = o->retain,
        .pid = o->pid,
        .token = o->token,
        .props = hub_msg_props(msg),
        .msg = msg,
    };
    if (o->qos == 0)
        atomic_fetch_add_explicit(&c->n_qos0, 1, memory_order_relaxed);
    c->home->counts.sent++;
    c->home->counts.payload_out += o->pub->payload.len;
    tell(c, EV_MESSAGE, e);
}

static void link_acked(struct hub_link *l, enum bt_mqtt_type type, uint16_t pid,
                       uint64_t token, uint8_t reason)
{
    /* Only of a message that a client before had taken and not completed. */
    if (type == BT_MQTT_PUBREL)
        (void)hub_session_pubcomp(l->session, pid);
    else
        tell(client_of(l), EV_PUBLISHED, new_event(reason, token));
}

static void link_answer(struct hub_link *l, struct bt_slice bytes)
{
    (void)l;
    (void)bytes;
}

static void link_resume(struct hub_link *l)
{
    (void)l;
}

static void link_resent(struct hub_link *l)
{
    if (client_of(l)->opts.on_resent != NULL)
        tell(client_of(l), EV_RESENT, new_event(0, 0));
}

/* The worker lets go of the client; its reference ends when the module closes. */
static void stop_serving(struct hub_client *c)
{
    c->serving = false;
    bt_list_remove(&c->all);
}

static void link_close(struct hub_link *l, uint8_t reason)
{
    struct hub_client *c = client_of(l);

    if (!c->serving)
        return;
    if (l->session != NULL)
        hub_session_detach(l->session, false);
    stop_serving(c);
    tell(c, EV_CLOSED, new_event(reason, 0));
}

static const struct hub_link_ops link_ops = {
    .ready = link_ready,
    .publish = link_publish,
    .acked = link_acked,
    .answer = link_answer,
    .resume = link_resume,
    .resent = link_resent,
    .close = link_close,
};

static unsigned subscribe_all(struct hub_client *c, struct hub_session *s)
{
    for (size_t i = 0; i < c->opts.n_subs; i++) {
        struct bt_mqtt_sub sub = { .filter = bt_slice_of(c->subs[i].filter),
                                   .qos = BT_MIN(c->subs[i].qos, 2) };

        if (!hub_filter_allowed(c->hub, sub.filter))
            return BT_MQTT_BAD_FILTER;
        if (!hub_session_may_subscribe(s, sub.filter))
            return BT_MQTT_NOT_AUTHORIZED;
        if (hub_session_subscribe(s, &sub, 0, NULL) < 0)
            return BT_MQTT_QUOTA;
    }
    return BT_MQTT_SUCCESS;
}

/* Subscriptions of an earlier configuration must not go on feeding a persistent session.
 */
static void drop_stale(struct hub_client *c, struct hub_session *s)
{
    struct hub_filter *f = s->filters, *next;

    for (; f != NULL; f = next) {
        bool wanted = false;

        next = f->next;
        for (size_t i = 0; i < c->opts.n_subs; i++)
            wanted |= strcmp(f->text, c->subs[i].filter) == 0;
        if (!wanted)
            hub_session_unsubscribe(s, bt_slice_of(f->text), NULL);
    }
}

static struct hub_session *open_session(struct hub_client *c,
                                        const struct hub_principal *principal)
{
    struct hub_worker *w = c->home;
    struct hub_session *s = hub_worker_find(w, bt_slice_of(c->id));

    if (s != NULL && s->link != NULL) {
        s->link->ops->close(s->link, BT_MQTT_TAKEN_OVER);
        s = hub_worker_find(w, bt_slice_of(c->id));
    }
    if (s != NULL && c->opts.clean) {
        hub_session_end(s);
        s = NULL;
    }
    c->fresh = s == NULL || s->principal != principal;
    if (s == NULL)
        s = hub_session_new(w, bt_slice_of(c->id),
                            atomic_fetch_add(&w->hub->next_sid, 1) + 1);
    if (s == NULL)
        return NULL;
    s->principal = principal;
    s->persistent = !c->opts.clean;
    s->expiry_s = c->opts.clean ? 0 : UINT32_MAX;
    hub_session_attach(s, &c->link, c->opts.window);
    if (s->persistent)
        hub_session_store(s, 0);
    return s;
}

/* Modules want messages from now on, and of the $SYS topics what holds now. */
static void replay_sys(struct hub_client *c, struct hub_session *s)
{
    for (size_t i = 0; i < c->opts.n_subs; i++) {
        const struct hub_sub_opts opts = { .qos = 0 };

        if (hub_sys_is(bt_slice_of(c->subs[i].filter)) && c->link.session == s)
            hub_replay_start(s, bt_slice_of(c->subs[i].filter), &opts);
    }
}

static void opened(struct hub_client *c, const struct hub_principal *principal)
{
    unsigned reason = principal == NULL ? BT_MQTT_BAD_LOGIN : BT_MQTT_SUCCESS;
    struct hub_session *s = NULL;

    if (c->home->stopping)
        reason = BT_MQTT_SHUTTING_DOWN;
    if (reason == BT_MQTT_SUCCESS) {
        s = open_session(c, principal);
        reason = s == NULL ? BT_MQTT_UNAVAILABLE : BT_MQTT_SUCCESS;
    }
    if (reason == BT_MQTT_SUCCESS) {
        bt_list_push_back(&c->home->locals, &c->all);
        c->serving = true;
        drop_stale(c, s);
        reason = subscribe_all(c, s);
    }
    tell(c, EV_READY, new_event(reason, 0));
    if (reason == BT_MQTT_SUCCESS) {
        hub_session_resume(s);
        replay_sys(c, s);
    }
}

static void on_open(struct hub_client *c);

static void on_checked(struct hub_check *k)
{
    struct hub_client *c = k->owner;

    if (c != NULL) {
        c->check = NULL;
        if (k->settings != c->home->settings)
            on_open(c); /* a reload came between: look again */
        else
            opened(c, k->good ? k->principal : NULL);
    }
    hub_check_free(k);
}

static bool ask_thread(struct hub_client *c, const struct hub_principal *p,
                       const struct bt_password *work)
{
    struct hub_check *k = hub_check_new(c->home->settings, bt_slice_of(c->password));

    if (k == NULL)
        return false;
    k->reply_to = c->home->mbox;
    k->reply_kind = HUB_W_CHECKED;
    k->owner = c;
    k->done = on_checked;
    k->principal = p;
    k->work = work;
    c->check = k;
    hub_checker_submit(c->hub->checker, k);
    return true;
}

static void on_open(struct hub_client *c)
{
    const struct hub_login in = {
        .has_user = true,
        .has_password = c->password != NULL,
        .username = bt_slice_of(c->username),
        .password = bt_slice_of(c->password),
    };
    const struct hub_auth *auth = c->home->settings->auth;
    const struct hub_principal *p = NULL;
    const struct bt_password *work;
    int r = 0;

    c->link.ops = &link_ops;
    if (c->username == NULL)
        p = hub_auth_internal(auth);
    else
        r = hub_auth_login(auth, &in, &p, &work);
    if (r == HUB_LOGIN_WORK && ask_thread(c, p, work))
        return;
    opened(c, r == 0 ? p : NULL);
}

static void on_publish(struct hub_client *c, struct request *q)
{
    struct hub_session *s = c->link.session;
    struct hub_msg *m = q->publish;
    struct hub_pub pub = {
        .topic = hub_msg_topic(m),
        .payload = hub_msg_payload(m),
        .props = hub_msg_props(m),
        .qos = m->qos,
        .retain = m->retain,
        .msg = hub_msg_ref(m),
    };
    uint8_t refused = 0;

    if (s == NULL) {
        if (m->qos > 0)
            tell(c, EV_PUBLISHED, new_event(BT_MQTT_UNSPECIFIED, q->token));
    } else {
        pub.origin = s->addr;
        if (!hub_session_may_publish(s, pub.topic))
            refused = BT_MQTT_NOT_AUTHORIZED;
        c->home->counts.received++;
        c->home->counts.payload_in += pub.payload.len;
        if (pub.qos > 0)
            hub_session_publish_local(s, &pub, q->input, q->token, refused);
        else
            hub_session_publish(s, &pub, 0, 0, refused);
    }
    hub_pub_deinit(&pub);
    hub_msg_unref(m);
}

static void on_ack(struct hub_client *c, const struct request *q)
{
    if (q->ok && c->link.session != NULL)
        hub_session_ack_local(c->link.session, q->pid);
}

static void on_close(struct hub_client *c)
{
    if (c->link.session != NULL)
        hub_session_detach(c->link.session, false);
    if (c->serving)
        stop_serving(c);
    if (c->check != NULL)
        c->check->owner = NULL;
    client_unref(c);
}

void hub_local_handle(struct hub_worker *w, struct bt_msg *msg)
{
    struct request *q = bt_container_of(msg, struct request, msg);

    (void)w;
    switch (q->kind) {
    case REQ_OPEN:
        on_open(q->client);
        break;
    case REQ_PUBLISH:
        on_publish(q->client, q);
        break;
    case REQ_ACK:
        on_ack(q->client, q);
        break;
    case REQ_CLOSE:
        on_close(q->client);
        break;
    }
    bt_free(q);
}

void hub_local_close_all(struct hub_worker *w, uint8_t reason)
{
    struct bt_list *it, *tmp;

    bt_list_for_each_safe (it, tmp, &w->locals)
        link_close(&bt_list_entry(it, struct hub_client, all)->link, reason);
}

/* ---- Module's side ---- */

static void on_event(void *arg, struct bt_msg *msg)
{
    struct hub_client *c = arg;
    struct event *e = bt_container_of(msg, struct event, msg);
    const struct hub_client_opts *o = &c->opts;
    struct hub_delivery *d;

    if (c->closed) {
        hub_msg_unref(e->delivery.msg);
        bt_free(e);
        return;
    }
    switch ((enum event_kind)msg->kind) {
    case EV_READY:
        o->on_ready(o->arg, e->reason);
        break;
    case EV_MESSAGE:
        d = &e->delivery; /* the event's memory goes with the delivery: hub_client_ack
                             frees it */
        o->on_message(o->arg, d);
        return;
    case EV_RESENT:
        o->on_resent(o->arg);
        break;
    case EV_PUBLISHED:
        o->on_published(o->arg, e->token, e->reason);
        break;
    case EV_CLOSED:
        o->on_closed(o->arg, e->reason);
        break;
    }
    bt_free(e);
}

static int copy_subs(struct hub_client *c, const struct hub_client_opts *o)
{
    c->subs = bt_calloc(o->n_subs + 1, sizeof(*c->subs));
    if (c->subs == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < o->n_subs; i++) {
        c->subs[i].qos = o->subs[i].qos;
        c->subs[i].filter = bt_strdup(o->subs[i].filter);
        if (c->subs[i].filter == NULL)
            return BT_ENOMEM;
        if (!bt_mqtt_filter_ok(bt_slice_of(c->subs[i].filter)))
            return BT_EINVAL;
    }
    return 0;
}

/* Before the session can be subscribed. */
static int add_guards(struct hub_client *c)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->opts.n_subs; i++)
        r = hub_reply_guard_add(&c->hub->reply_guards, c->subs[i].filter);
    return r;
}

static int fill_client(struct hub_client *c, const struct hub_client_opts *o)
{
    c->opts = *o;
    c->id = bt_strdup(o->client_id);
    c->username = o->username == NULL ? NULL : bt_strdup(o->username);
    c->password = o->password == NULL ? NULL : bt_strdup(o->password);
    if (c->id == NULL || (o->username != NULL && c->username == NULL) ||
        (o->password != NULL && c->password == NULL))
        return BT_ENOMEM;
    c->mbox = bt_mbox_new(o->loop, on_event, c);
    c->home = hub_home(c->hub, hub_id_hash(bt_slice_of(c->id)));
    return c->mbox == NULL ? BT_ENOMEM : copy_subs(c, o);
}

static int ask(struct hub_client *c, struct request *q)
{
    if (q == NULL)
        return BT_ENOMEM;
    q->client = c;
    q->msg.kind = HUB_W_LOCAL;
    if (bt_mbox_post(c->home->mbox, &q->msg) == 0)
        return 0;
    hub_msg_unref(q->publish);
    bt_free(q);
    return BT_ECLOSED;
}

static struct request *new_request(enum request_kind kind)
{
    struct request *q = bt_calloc(1, sizeof(*q));

    if (q != NULL)
        q->kind = kind;
    return q;
}

int hub_client_open(struct hub *hub, const struct hub_client_opts *opts,
                    struct hub_client **out)
{
    struct hub_client *c;
    int r;

    if (opts->client_id == NULL || opts->client_id[0] == '\0' || opts->window == 0 ||
        strlen(opts->client_id) > HUB_MAX_CLIENT_ID)
        return BT_EINVAL;
    c = bt_calloc(1, sizeof(*c));
    if (c == NULL)
        return BT_ENOMEM;
    c->hub = hub;
    atomic_init(&c->refs, 2); /* the module's and the worker's */
    r = fill_client(c, opts);
    if (r == 0 && opts->guards)
        r = add_guards(c);
    if (r == 0)
        r = ask(c, new_request(REQ_OPEN));
    if (r != 0) {
        atomic_store(&c->refs, 1);
        client_unref(c);
        return r;
    }
    *out = c;
    return 0;
}

/* pub: with topic, payload, QoS and retain. */
static int ask_publish(struct hub_client *c, const struct hub_pub *pub, uint64_t input,
                       uint64_t token)
{
    struct request *q;

    if (!bt_mqtt_topic_ok(pub->topic) || pub->qos > 2 ||
        !hub_topic_allowed(c->hub, pub->topic))
        return BT_EINVAL;
    if (pub->props.len > UINT16_MAX ||
        pub->payload.len + pub->props.len > hub_max_payload(c->hub, pub->topic.len))
        return BT_ELIMIT;
    q = new_request(REQ_PUBLISH);
    if (q == NULL)
        return BT_ENOMEM;
    q->publish = hub_msg_new(pub);
    q->token = token;
    q->input = input;
    if (q->publish == NULL) {
        bt_free(q);
        return BT_ENOMEM;
    }
    return ask(c, q);
}

int hub_client_publish(struct hub_client *c, const char *topic, struct bt_slice payload,
                       uint8_t qos, bool retain, uint64_t token)
{
    const struct hub_pub pub = {
        .topic = bt_slice_of(topic), .payload = payload, .qos = qos, .retain = retain
    };

    return ask_publish(c, &pub, 0, token);
}

int hub_client_send(struct hub_client *c, const struct hub_publish *p)
{
    const struct hub_pub pub = { .topic = p->topic,
                                 .payload = p->payload,
                                 .props = p->props,
                                 .qos = p->qos,
                                 .retain = p->retain };
    int r;

    if (p->input != NULL && (p->qos == 0 || p->input->qos == 0))
        return BT_EINVAL;
    r = ask_publish(c, &pub, p->input != NULL ? p->input->token : 0, p->token);
    if (p->input != NULL)
        p->input->answered = r == 0;
    return r;
}

int hub_client_answer(struct hub_client *c, struct hub_delivery *input, const char *topic,
                      struct bt_slice payload, uint8_t qos, uint64_t token)
{
    const struct hub_publish p = { .topic = bt_slice_of(topic),
                                   .payload = payload,
                                   .qos = qos,
                                   .token = token,
                                   .input = input };

    return hub_client_send(c, &p);
}

void hub_client_ack(struct hub_client *c, struct hub_delivery *d, bool ok)
{
    /* A delivery that was answered is acknowledged with its result. The worker need not
     * hear of one at QoS 0. */
    struct request *q = d->answered || d->qos == 0 ? NULL : new_request(REQ_ACK);

    if (d->qos == 0)
        atomic_fetch_sub_explicit(&c->n_qos0, 1, memory_order_relaxed);
    if (q != NULL) {
        q->pid = d->pid;
        q->ok = ok;
        (void)ask(c, q);
    }
    hub_delivery_free(d);
}

void hub_delivery_free(struct hub_delivery *d)
{
    hub_msg_unref(d->msg);
    bt_free(bt_container_of(d, struct event, delivery));
}

bool hub_client_is_new(const struct hub_client *c)
{
    return c->fresh;
}

void hub_client_close(struct hub_client *c)
{
    struct request *q = new_request(REQ_CLOSE);

    c->closed = true;
    bt_mbox_close(c->mbox);
    /* Without a worker to answer, its reference is ours to drop. */
    if (ask(c, q) != 0)
        client_unref(c);
    client_unref(c);
}
