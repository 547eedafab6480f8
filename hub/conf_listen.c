/* Where the hub listens: plain addresses (`listen`), and addresses with options
 * (`listeners`). Both are checked here, so that a wrong one is told with its place in the
 * file and not by a failing start. */
#include <string.h>

#include "hub/conf.h"
#include "hub/listen_url.h"

#define FORMS             "tcp://host:port, ws://host:port or unix:///path"

#define LISTENER_ROW(...) BT_CONF_ROW(struct hub_listener_conf, __VA_ARGS__)

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
        [HUB_LISTEN_LATER] = "this scheme is not available yet; use " FORMS,
        [HUB_LISTEN_PORT] = "expected a port from 0 to 65535",
        [HUB_LISTEN_PATH] = "expected an absolute path of at most 107 bytes",
    };
    struct hub_listen_url url;
    int r = hub_listen_url_parse(text, &url);

    if (r != 0)
        bt_conf_error_at(ctx, obj, key, "\"%.200s\": %s", text, texts[r]);
    return r == 0;
}

void hub_conf_check_listen(struct bt_conf_ctx *ctx, struct hub_conf *conf)
{
    /* The default of one is not meant when only the other was written. */
    if (conf->listeners.n > 0 && !bt_conf_given(ctx, conf, "listen"))
        conf->listen.n = 0;
    for (size_t i = 0; i < conf->listen.n; i++)
        (void)hub_conf_check_address(ctx, conf, "listen", conf->listen.items[i]);
    if (conf->listen.n + conf->listeners.n > HUB_MAX_LISTENERS)
        bt_conf_error_at(ctx, conf, "listeners", "more than %u addresses",
                         HUB_MAX_LISTENERS);
}
