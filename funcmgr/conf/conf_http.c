/* Options of the functions' own HTTP addresses. */
#include <string.h>

#include "core/api.h"
#include "funcmgr/conf/conf_priv.h"

static const struct bt_conf_row http_rows[] = {
    BT_CONF_ROW(struct fm_http_conf, "listen", STRINGS, listen, NULL,
                "Addresses at which functions can be called by HTTP: tcp://HOST:PORT, or "
                "with TLS ssl://HOST:PORT. One that others can reach needs a token.",
                .max = 16),
    BT_CONF_ROW(struct fm_http_conf, "token", STRING, token, NULL,
                "What callers send as `Authorization: Bearer TOKEN`: 16 characters or "
                "more. Without it everybody on this machine may call.",
                .match = "^([!-~]{16,})?$", .flags = BT_CONF_SECRET | BT_CONF_RELOAD),
    BT_CONF_ROW(struct fm_http_conf, "tokenfile", STRING, tokenfile, NULL,
                "A file that holds the token, in place of `token`.",
                .flags = BT_CONF_PATH | BT_CONF_RELOAD),
    BT_CONF_ROW(struct fm_http_conf, "certificate.cert", STRING, cert, NULL,
                "Certificate chain of the addresses with TLS, PEM.",
                .flags = BT_CONF_PATH | BT_CONF_RELOAD),
    BT_CONF_ROW(struct fm_http_conf, "certificate.key", STRING, key, NULL,
                "Its private key, PEM.", .flags = BT_CONF_PATH | BT_CONF_RELOAD),
    BT_CONF_ROW(struct fm_http_conf, "certificate.ca", STRING, ca, NULL,
                "Who signs the callers' certificates: callers without one are refused.",
                .flags = BT_CONF_PATH | BT_CONF_RELOAD),
    BT_CONF_ROW(struct fm_http_conf, "connections", U32, connections, "128",
                "Connections at a time; more are closed at once, an idle one first.",
                .min = 1, .max = 10000),
    BT_CONF_ROW(struct fm_http_conf, "timeout", MS, timeout, "10s",
                "Time for a whole request to arrive.", .min = 100, .max = 3600 * 1000),
};

static void check_http(struct bt_conf_ctx *ctx, void *obj)
{
    const struct fm_http_conf *c = obj;
    bool token = bt_given(c->token) || bt_given(c->tokenfile);

    for (size_t i = 0; i < c->listen.n; i++) {
        struct bt_api_url url;

        if (!bt_api_url(c->listen.items[i], &url)) {
            bt_conf_error_at(ctx, obj, "listen",
                             "\"%.200s\": expected tcp://HOST:PORT or ssl://HOST:PORT",
                             c->listen.items[i]);
            continue;
        }
        if (!url.loopback && !token)
            bt_conf_error_at(ctx, obj, "listen",
                             "%.200s can be reached from other machines, which needs a "
                             "token",
                             c->listen.items[i]);
        if (url.tls && (!bt_given(c->cert) || !bt_given(c->key)))
            bt_conf_error_at(ctx, obj, "listen",
                             "%.200s needs certificate.cert and certificate.key",
                             c->listen.items[i]);
        if (!url.tls && !url.loopback)
            bt_conf_warn_at(ctx, obj, "listen",
                            "%.200s sends the token and all payloads readably; ssl:// "
                            "does not",
                            c->listen.items[i]);
    }
    if (bt_given(c->token) && bt_given(c->tokenfile))
        bt_conf_error_at(ctx, obj, "tokenfile", "token and tokenfile are both given");
}

const struct bt_conf_table fm_http_table = {
    .name = "functions.http",
    .doc = "Addresses at which functions can be called by HTTP.",
    .size = sizeof(struct fm_http_conf),
    .rows = http_rows,
    .n_rows = BT_ARRAY_LEN(http_rows),
    .check = check_http,
};
