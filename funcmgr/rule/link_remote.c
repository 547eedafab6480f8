/* A link to a broker elsewhere: one MQTT connection (core/mqtt_conn.h), for input and
 * results alike, so that the broker itself orders a result before the acknowledgement of
 * its input.
 *
 * A link lives as long as its connection: when that is lost the rule makes a new one
 * after a pause, and the broker delivers again what was not acknowledged. Why a
 * connection was lost or refused is logged here, with the address, and the reasons that
 * are handed on carry FM_LINK_LOGGED. */
#include "funcmgr/rule/link_remote.h"

#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/mqtt_conn.h"
#include "core/resolve.h"
#include "core/tls.h"
#include "funcmgr/rule/link.h"

/* Of messages from the broker, and of results: more than any window of small ones. */
#define MAX_BYTES ((size_t)64 * 1024 * 1024)

struct remote_end {
    struct fm_link link;
    struct fm_link_opts opts; /* its strings are not kept */
    struct bt_mqtt_conn *conn;
    bool ready;
};

static struct remote_end *end_of(const struct fm_link *l)
{
    return bt_container_of((struct fm_link *)(uintptr_t)l, struct remote_end, link);
}

/* ---- What the connection tells ---- */

static void on_up(void *arg, bool session_present)
{
    struct remote_end *l = arg;

    bt_log(BT_LOG_INFO, "FUNC-REMOTE", "connected to a broker",
           "address=" BT_LOG_Q " version=%u session=%s", l->opts.conf->address,
           (unsigned)bt_mqtt_conn_version(l->conn), session_present ? "kept" : "new");
    l->ready = true;
    l->opts.on_ready(l->opts.arg,
                     session_present ? BT_MQTT_SUCCESS : FM_LINK_NEW_SESSION);
}

static void on_down(void *arg, const struct bt_mqtt_loss *loss)
{
    struct remote_end *l = arg;
    unsigned reason = loss->reason >= 0x80 ? loss->reason : BT_MQTT_UNAVAILABLE;

    bt_log(loss->refused ? BT_LOG_ERROR : BT_LOG_WARN, "FUNC-REMOTE",
           l->ready ? "the connection to a broker was lost"
                    : "a broker could not be reached",
           "address=" BT_LOG_Q " reason=" BT_LOG_Q "%s", l->opts.conf->address, loss->why,
           loss->reason == BT_MQTT_TAKEN_OVER
               ? " advice=\"another client has the same client id\""
               : "");
    reason |= FM_LINK_LOGGED;
    if (l->ready)
        l->opts.on_closed(l->opts.arg, reason);
    else
        l->opts.on_ready(l->opts.arg, reason);
}

static void on_message(void *arg, struct bt_mqtt_message *m)
{
    struct remote_end *l = arg;
    const struct fm_delivery d = { .topic = m->topic,
                                   .payload = m->payload,
                                   .qos = m->qos,
                                   .dup = m->dup,
                                   .retain = m->retain,
                                   .pid = m->pid,
                                   .priv = m };

    l->opts.on_message(l->opts.arg, &d);
}

static void on_published(void *arg, uint64_t token, unsigned reason)
{
    struct remote_end *l = arg;

    l->opts.on_published(l->opts.arg, token, reason);
}

/* ---- The operations ---- */

static struct bt_mqtt_connect login(const struct fm_link_opts *o)
{
    static const uint8_t versions[] = {
        [FM_MQTT_AUTO] = 0, [FM_MQTT_5] = BT_MQTT_50, [FM_MQTT_311] = BT_MQTT_311
    };
    const struct fm_hub_conf *c = o->conf;

    return (struct bt_mqtt_connect){
        .clean = o->clean,
        .version = versions[c->version],
        .keepalive = c->keepalive > 0 ? (uint16_t)((c->keepalive + 999) / 1000) : 0,
        .client_id = bt_slice_of(o->client_id),
        .has_username = c->username != NULL,
        .username = bt_slice_of(c->username),
        .has_password = c->password != NULL,
        .password = bt_slice_of(c->password),
    };
}

static uint32_t expiry(const struct fm_hub_conf *c)
{
    return c->sessionexpiry == 0 ? UINT32_MAX : (uint32_t)(c->sessionexpiry / 1000);
}

static int open_link(const struct fm_link_opts *o, struct fm_link **out)
{
    const struct bt_mqtt_sub sub = { .filter = bt_slice_of(o->filter), .qos = o->qos };
    struct remote_end *l = bt_calloc(1, sizeof(*l));
    const uint32_t asked = o->conf->maxinflight;
    const struct bt_mqtt_conn_conf conf = {
        .loop = o->loop,
        .resolver = o->remote->resolver,
        .tls = o->remote->tls,
        .address = o->conf->address,
        .connect = login(o),
        .session_expiry = expiry(o->conf),
        .subs = &sub,
        .n_subs = 1,
        .window_in = asked > 0 ? (uint16_t)asked : o->window,
        .window_out = UINT16_MAX,
        .max_packet = BT_MQTT_MAX_REMAINING,
        .max_in = MAX_BYTES,
        .max_out = MAX_BYTES,
        .timeout_ms = (uint32_t)o->conf->timeout,
        .arg = l,
        .on_up = on_up,
        .on_down = on_down,
        .on_message = on_message,
        .on_published = on_published,
    };
    int r;

    if (l == NULL)
        return BT_ENOMEM;
    l->link.ops = &fm_link_remote_ops;
    l->opts = *o;
    r = bt_mqtt_conn_new(&conf, &l->conn);
    if (r != 0) {
        bt_free(l);
        return r;
    }
    *out = &l->link;
    return 0;
}

static int publish(struct fm_link *l, const struct fm_publish *p)
{
    const struct bt_mqtt_publish m = { .qos = p->qos,
                                       .topic = bt_slice_of(p->topic),
                                       .payload = p->payload };

    return bt_mqtt_conn_publish(end_of(l)->conn, &m, NULL, p->token);
}

static void ack(struct fm_link *l, const struct fm_delivery *d, bool ok)
{
    (void)l;
    bt_mqtt_message_ack(d->priv, ok);
}

static void drop(const struct fm_delivery *d)
{
    bt_mqtt_message_ack(d->priv, false);
}

static void close_link(struct fm_link *l)
{
    struct remote_end *e = end_of(l);

    bt_mqtt_conn_close(e->conn);
    bt_free(e);
}

static size_t max_payload(const struct fm_link *l, size_t topic_len)
{
    return bt_mqtt_conn_max_payload(end_of(l)->conn, topic_len);
}

static void pause_link(struct fm_link *l, bool paused)
{
    bt_mqtt_conn_pause(end_of(l)->conn, paused);
}

const struct fm_link_ops fm_link_remote_ops = {
    .open = open_link,
    .publish = publish,
    .ack = ack,
    .drop = drop,
    .close = close_link,
    .max_payload = max_payload,
    .pause = pause_link,
};

/* ---- What the links of one hub block share ---- */

static int read_certificates(struct fm_remote *r)
{
    const struct bt_tls_conf tls = { .insecure = r->conf->insecure,
                                     .ca = r->conf->ca,
                                     .cert = r->conf->cert,
                                     .key = r->conf->key };
    struct bt_stream_address address;
    char why[BT_TLS_ERROR_LEN];
    int result = bt_stream_parse(r->conf->address, &address);

    if (result != 0 || !address.tls)
        return result;
    result = bt_tls_ctx_new(&tls, &r->tls, why);
    if (result == BT_ETLS)
        bt_log(BT_LOG_ERROR, "FUNC-REMOTE",
               "the certificates for a broker cannot be used",
               "address=" BT_LOG_Q " reason=" BT_LOG_Q, r->conf->address, why);
    return result;
}

int fm_remotes_get(struct fm_remotes *all, struct bt_loop *loop,
                   const struct fm_hub_conf *conf, const struct fm_remote **out)
{
    struct fm_remote *r;

    *out = NULL;
    for (r = all->first; r != NULL; r = r->next) {
        if (r->conf == conf) {
            *out = r;
            return 0;
        }
    }
    if (all->resolver == NULL)
        all->resolver = bt_resolver_new(loop);
    r = bt_calloc(1, sizeof(*r));
    if (all->resolver == NULL || r == NULL) {
        bt_free(r);
        return bt_origin(BT_ENOMEM, "a connection to a broker does not fit in memory");
    }
    r->next = all->first;
    r->conf = conf;
    r->resolver = all->resolver;
    all->first = r;
    *out = r;
    return read_certificates(r);
}

void fm_remotes_deinit(struct fm_remotes *all)
{
    while (all->first != NULL) {
        struct fm_remote *r = all->first;

        all->first = r->next;
        bt_tls_ctx_unref(r->tls);
        bt_free(r);
    }
    bt_resolver_free(all->resolver);
    all->resolver = NULL;
}
