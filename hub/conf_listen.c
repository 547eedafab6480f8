/* Where the hub listens: plain addresses (`listen`), and addresses with options
 * (`listeners`). Both are checked here, so that a wrong one is told with its place in the
 * file and not by a failing start. */
#include <stdio.h>
#include <string.h>

#include "core/mqtt.h"
#include "core/tls.h"
#include "hub/access/auth.h"
#include "hub/conf.h"
#include "hub/net/listen_url.h"

#define FORMS \
    "tcp://host:port, ssl://host:port, ws://host:port, wss://host:port or unix:///path"

#define LISTENER_ROW(...) BT_CONF_ROW(struct hub_listener_conf, __VA_ARGS__)

const char *const hub_conf_requires[] = {
    [BT_TLS_NONE] = "none",
    [BT_TLS_OPTIONAL] = "optional",
    [BT_TLS_REQUIRED] = "required",
    NULL,
};
const char *const hub_conf_versions[] = {
    [HUB_TLS_12] = "1.2",
    [HUB_TLS_13] = "1.3",
    NULL,
};
static const char *const anonymous[] = {
    [HUB_ANONYMOUS_BY_CONF] = "inherit",
    [HUB_ANONYMOUS_YES] = "true",
    [HUB_ANONYMOUS_NO] = "false",
    NULL,
};

static void check_listener(struct bt_conf_ctx *ctx, void *obj)
{
    const struct hub_listener_conf *l = obj;
    struct hub_listen_url url;

    if (!hub_conf_check_address(ctx, l, "address", l->address) ||
        hub_listen_url_parse(l->address, &url) != 0 || url.ws)
        return;
    if (l->path != NULL)
        bt_conf_error_at(ctx, l, "path", "path is for ws:// and wss:// only");
    if (l->origins.n > 0)
        bt_conf_error_at(ctx, l, "origins", "origins is for ws:// and wss:// only");
}

static const struct bt_conf_row listener_rows[] = {
    LISTENER_ROW("address", STRING, address, NULL, "As an item of listen.",
                 .flags = BT_CONF_REQUIRED),
    LISTENER_ROW("anonymous", ENUM, anonymous, "inherit",
                 "Let clients in without a user name: true, false, or as the hub does.",
                 .choices = anonymous),
    LISTENER_ROW("limits.connections", U32, max_connections, "0",
                 "Open connections of this listener; 0 is no limit but the hub's.",
                 .max = 1000000),
    LISTENER_ROW("limits.packet", BYTES, max_packet, "0",
                 "Largest MQTT packet; 0, or more than the hub's, is the hub's.",
                 .max = BT_MQTT_MAX_REMAINING),
    HUB_CERT_ROWS(struct hub_listener_conf),
    LISTENER_ROW("path", STRING, path, NULL,
                 "WebSocket: the only path that is served; without it all are.",
                 .max = 1024, .match = "^/[!-~]*$"),
    LISTENER_ROW("origins", STRINGS, origins, NULL,
                 "WebSocket: origins of web pages that may connect, as a browser names "
                 "them (https://example.org); without it all may.",
                 .max = 256),
};
const struct bt_conf_table hub_listener_table = {
    .name = "hub.listeners",
    .doc = "Addresses to listen on, each with options of its own.",
    .size = sizeof(struct hub_listener_conf),
    .rows = listener_rows,
    .n_rows = BT_ARRAY_LEN(listener_rows),
    .check = check_listener,
};

bool hub_conf_check_address(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                            const char *text)
{
    static const char *const texts[] = {
        [HUB_LISTEN_SYNTAX] = "expected " FORMS,
        [HUB_LISTEN_SCHEME] = "unsupported protocol; use " FORMS,
        [HUB_LISTEN_PORT] = "expected a port from 0 to 65535",
        [HUB_LISTEN_PATH] = "expected an absolute path of at most 107 bytes",
    };
    struct hub_listen_url url;
    int r = hub_listen_url_parse(text, &url);

    if (r != 0)
        bt_conf_error_at(ctx, obj, key, "\"%.200s\": %s", text, texts[r]);
    return r == 0;
}

static bool is_tls(const char *address)
{
    struct hub_listen_url url;

    return hub_listen_url_parse(address, &url) == 0 && url.tls;
}

/* obj with its certificate, for an address (at key) that speaks TLS. */
static void check_cert(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                       const char *address, const struct hub_cert_conf *c)
{
    if (!bt_given(c->cert) || !bt_given(c->key))
        bt_conf_error_at(ctx, obj, key,
                         "%.200s needs certificate.cert and certificate.key", address);
    if (c->require == BT_TLS_REQUIRED && !bt_given(c->ca))
        bt_conf_error_at(ctx, obj, "certificate.ca",
                         "%.200s requires certificates, which needs certificate.ca",
                         address);
}

/* What a listener does not say comes from the hub; two that belong together, together. */
static void inherit_cert(const struct bt_conf_ctx *ctx, const struct hub_conf *conf,
                         struct hub_listener_conf *l)
{
    if (!bt_given(l->cert.cert) && !bt_given(l->cert.key)) {
        l->cert.cert = conf->cert.cert;
        l->cert.key = conf->cert.key;
    }
    if (!bt_given(l->cert.ca)) {
        l->cert.ca = conf->cert.ca;
        l->cert.crl = bt_given(l->cert.crl) ? l->cert.crl : conf->cert.crl;
    }
    if (!bt_conf_given(ctx, l, "certificate.require"))
        l->cert.require = conf->cert.require;
    if (!bt_conf_given(ctx, l, "certificate.version"))
        l->cert.version = conf->cert.version;
}

/* The i-th address of both lists. */
static const char *address(const struct hub_conf *conf, size_t i)
{
    const struct hub_listener_conf *list = conf->listeners.items;

    return i < conf->listen.n ? conf->listen.items[i] : list[i - conf->listen.n].address;
}

/* There are at most HUB_MAX_LISTENERS; a port that the system chooses may be asked for
 * again. */
static void check_twice(struct bt_conf_ctx *ctx, const struct hub_conf *conf, size_t i)
{
    const struct hub_listener_conf *list = conf->listeners.items;
    struct hub_listen_url url;
    char item[32];
    size_t j = 0;

    if (hub_listen_url_parse(address(conf, i), &url) != 0 ||
        (url.kind == HUB_LISTEN_TCP && url.port == 0))
        return;
    while (j < i && strcmp(address(conf, i), address(conf, j)) != 0)
        j++;
    snprintf(item, sizeof(item), "listen[%zu]", i);
    if (j < i && i < conf->listen.n)
        bt_conf_error_at(ctx, conf, item, "%.200s is there twice", address(conf, i));
    else if (j < i)
        bt_conf_error_at(ctx, &list[i - conf->listen.n], "address",
                         "%.200s is there twice", address(conf, i));
}

static void check_plain(struct bt_conf_ctx *ctx, const struct hub_conf *conf, size_t i)
{
    char item[32];

    snprintf(item, sizeof(item), "listen[%zu]", i);
    if (hub_conf_check_address(ctx, conf, item, conf->listen.items[i]) &&
        is_tls(conf->listen.items[i]))
        check_cert(ctx, conf, item, conf->listen.items[i], &conf->cert);
}

void hub_conf_check_listen(struct bt_conf_ctx *ctx, struct hub_conf *conf)
{
    struct hub_listener_conf *list = conf->listeners.items;

    /* The default of one is not meant when only the other was written. */
    if (conf->listeners.n > 0 && !bt_conf_given(ctx, conf, "listen"))
        conf->listen.n = 0;
    for (size_t i = 0; i < conf->listen.n; i++)
        check_plain(ctx, conf, i);
    for (size_t i = 0; i < conf->listeners.n; i++) {
        if (!is_tls(list[i].address))
            continue;
        inherit_cert(ctx, conf, &list[i]);
        check_cert(ctx, &list[i], "address", list[i].address, &list[i].cert);
    }
    if (conf->listen.n + conf->listeners.n > HUB_MAX_LISTENERS) {
        bt_conf_error_at(ctx, conf, "listeners", "more than %u addresses",
                         HUB_MAX_LISTENERS);
        return;
    }
    for (size_t i = 1; i < conf->listen.n + conf->listeners.n; i++)
        check_twice(ctx, conf, i);
}
