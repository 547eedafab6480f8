/* A link to the hub of this process: its in-process client. A delivery carries a
 * reference to the hub's message, so a payload is never copied. The login of the hub
 * block is used; without one everything is permitted. */
#include "core/error.h"
#include "core/mem.h"
#include "funcmgr/rule/link.h"
#include "hub/hub.h"

struct hub_end {
    struct fm_link link;
    struct fm_link_opts opts; /* its strings are not kept */
    struct hub_client *client;
};

static void on_ready(void *arg, unsigned reason)
{
    struct hub_end *l = arg;

    if (reason == 0 && hub_client_is_new(l->client))
        reason = FM_LINK_NEW_SESSION;
    l->opts.on_ready(l->opts.arg, reason);
}

static void on_message(void *arg, struct hub_delivery *d)
{
    struct hub_end *l = arg;
    const struct fm_delivery delivery = { .topic = d->topic,
                                          .payload = d->payload,
                                          .qos = d->qos,
                                          .dup = d->dup,
                                          .retain = d->retain,
                                          .pid = d->pid,
                                          .priv = d };

    l->opts.on_message(l->opts.arg, &delivery);
}

static void on_resent(void *arg)
{
    struct hub_end *l = arg;

    l->opts.on_resent(l->opts.arg);
}

static void on_published(void *arg, uint64_t token, unsigned reason)
{
    struct hub_end *l = arg;

    l->opts.on_published(l->opts.arg, token, reason);
}

static void on_closed(void *arg, unsigned reason)
{
    struct hub_end *l = arg;

    l->opts.on_closed(l->opts.arg, reason);
}

static int open_link(const struct fm_link_opts *opts, struct fm_link **out)
{
    const struct hub_sub sub = { opts->filter, opts->qos };
    struct hub_end *l = bt_calloc(1, sizeof(*l));
    const struct hub_client_opts o = {
        .client_id = opts->client_id,
        .username = opts->conf->username,
        .password = opts->conf->password,
        .clean = opts->clean,
        .window = opts->window,
        .subs = &sub,
        .n_subs = 1,
        .loop = opts->loop,
        .arg = l,
        .on_ready = on_ready,
        .on_message = on_message,
        .on_resent = on_resent,
        .on_published = on_published,
        .on_closed = on_closed,
    };
    int r;

    if (l == NULL)
        return BT_ENOMEM;
    l->link.ops = &fm_link_hub_ops;
    l->opts = *opts;
    r = hub_client_open(opts->hub, &o, &l->client);
    if (r != 0) {
        bt_free(l);
        return r;
    }
    *out = &l->link;
    return 0;
}

static struct hub_end *end_of(const struct fm_link *l)
{
    return bt_container_of((struct fm_link *)(uintptr_t)l, struct hub_end, link);
}

static int publish(struct fm_link *l, const struct fm_publish *p)
{
    if (p->input != NULL && p->qos > 0)
        return hub_client_answer(end_of(l)->client, p->input->priv, p->topic, p->payload,
                                 p->qos, p->token);
    return hub_client_publish(end_of(l)->client, p->topic, p->payload, p->qos, false,
                              p->token);
}

static void ack(struct fm_link *l, const struct fm_delivery *d, bool ok)
{
    hub_client_ack(end_of(l)->client, d->priv, ok);
}

static void drop(const struct fm_delivery *d)
{
    hub_delivery_free(d->priv);
}

static void close_link(struct fm_link *l)
{
    struct hub_end *e = end_of(l);

    hub_client_close(e->client);
    bt_free(e);
}

static size_t max_payload(const struct fm_link *l, size_t topic_len)
{
    return hub_max_payload(end_of(l)->opts.hub, topic_len);
}

const struct fm_link_ops fm_link_hub_ops = {
    .open = open_link,
    .publish = publish,
    .ack = ack,
    .drop = drop,
    .close = close_link,
    .max_payload = max_payload,
};
