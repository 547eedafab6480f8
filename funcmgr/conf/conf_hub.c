/* Options of the rules' session at the hub of this process, or at a broker elsewhere. The
 * original always named an address; whether it is that of this process is seen when it
 * runs: localhub and hub are its names, localhost is it when a listener of it has that
 * port. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/stream.h"
#include "funcmgr/conf/conf_priv.h"
#include "hub/hub.h"

static const char *const versions[] = { "auto", "5", "3.1.1", NULL };

static const struct bt_conf_row hub_rows[] = {
    BT_CONF_ROW(
        struct fm_hub_conf, "address", STRING, address, NULL,
        "Where the rules' messages are; empty: the hub of this process. tcp:// or ssl:// "
        "with HOST:PORT, or unix:///PATH, is a broker elsewhere, unless it is an address "
        "of this process."),
    BT_CONF_ROW(struct fm_hub_conf, "username", STRING, username, NULL,
                "User whose permissions apply to the rules; without it everything is "
                "permitted."),
    BT_CONF_ROW(struct fm_hub_conf, "password", STRING, password, NULL,
                "The user's password.", .flags = BT_CONF_SECRET),
    BT_CONF_ROW(struct fm_hub_conf, "clientid", STRING, clientid, NULL,
                "Client id of a rule that has none of its own."),
    BT_CONF_ROW(struct fm_hub_conf, "cleansession", BOOL, cleansession, "false",
                "Forget the rules' subscriptions and waiting messages at every start."),
    BT_CONF_ROW(struct fm_hub_conf, "interval", MS, interval, "1m",
                "Longest time between two attempts to open a session.", .min = 1,
                .max = FM_DAY_MS),
    BT_CONF_ROW(struct fm_hub_conf, "timeout", MS, timeout, "30s",
                "Time to connect to a remote broker, and for each of its answers.",
                .min = 1, .max = FM_DAY_MS, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_hub_conf, "keepalive", MS, keepalive, "1m",
                "A remote broker that is silent for so long is asked whether it is "
                "there; 0 or less turns that off.",
                .min = -FM_DAY_MS, .max = 65535000),
    BT_CONF_ROW(struct fm_hub_conf, "sessionexpiry", MS, sessionexpiry, "0",
                "How long a remote broker with MQTT 5 keeps the session of a client that "
                "is away; 0 = for ever.",
                .max = INT64_C(0xfffffffe) * 1000),
    BT_CONF_ROW(struct fm_hub_conf, "maxinflight", U32, maxinflight, "0",
                "Unacknowledged messages that are taken from a remote broker with MQTT "
                "5; 0 = as many as the function can work on, and 8.",
                .max = 65535),
    BT_CONF_ROW(struct fm_hub_conf, "version", ENUM, version, "auto",
                "MQTT version towards a remote broker; auto: 5, then 3.1.1.",
                .choices = versions),
    BT_CONF_ROW(struct fm_hub_conf, "ca", STRING, ca, NULL,
                "File of the authorities that may sign a remote broker's certificate; "
                "empty: the system's.",
                .flags = BT_CONF_PATH),
    BT_CONF_ROW(struct fm_hub_conf, "cert", STRING, cert, NULL,
                "File of the client certificate for a remote broker.",
                .flags = BT_CONF_PATH),
    BT_CONF_ROW(struct fm_hub_conf, "key", STRING, key, NULL,
                "File of the certificate's key.", .flags = BT_CONF_PATH),
    BT_CONF_ROW(struct fm_hub_conf, "insecure", BOOL, insecure, "false",
                "Accept any certificate and any name of a remote broker."),
    BT_CONF_ROW(struct fm_hub_conf, "buffersize", U32, ignored_u32, "10",
                "Length of the outgoing queue.", .max = UINT32_MAX,
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "validatesubs", BOOL, ignored_bool, "false",
                "A refused subscription is always an error.", .flags = BT_CONF_IGNORED),
};

static bool is_one_of(const char *host, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(host, *names) == 0)
            return true;
    }
    return false;
}

bool fm_hub_is_remote(const struct fm_hub_conf *c, const struct hub *hub)
{
    static const char *const names[] = { "localhub", "hub", NULL };
    static const char *const here[] = { "localhost", "127.0.0.1", "::1",
                                        "0.0.0.0",   "::",        NULL };
    struct bt_stream_address a;

    if (c->address == NULL || c->address[0] == '\0')
        return false;
    if (bt_stream_parse(c->address, &a) != 0)
        return false;
    if (hub == NULL)
        return true;
    if (a.local)
        return !hub_has_listener(hub, 0, a.host);
    if (is_one_of(a.host, names))
        return false;
    return !is_one_of(a.host, here) ||
           !hub_has_listener(hub, (unsigned)strtoul(a.port, NULL, 10), "");
}

static void check_hub(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_hub_conf *c = obj;
    struct bt_stream_address a;

    if (c->address != NULL && c->address[0] != '\0' &&
        bt_stream_parse(c->address, &a) != 0)
        bt_conf_error_at(ctx, obj, "address",
                         "\"%s\": expected tcp://HOST:PORT, ssl://HOST:PORT or "
                         "unix:///PATH",
                         c->address);
    if (c->password != NULL && c->username == NULL)
        bt_conf_error_at(ctx, obj, "password", "a password needs a username");
    if ((c->cert == NULL) != (c->key == NULL))
        bt_conf_error_at(ctx, obj, c->cert == NULL ? "key" : "cert",
                         "a certificate and its key belong together");
}

bool fm_hub_is_given(const struct bt_conf_ctx *ctx, const struct fm_hub_conf *c)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(hub_rows); i++) {
        if (bt_conf_given(ctx, c, hub_rows[i].key))
            return true;
    }
    return false;
}

const struct bt_conf_table fm_hub_table = {
    .name = "functions.hub",
    .doc = "The session of the rules at the hub.",
    .size = sizeof(struct fm_hub_conf),
    .rows = hub_rows,
    .n_rows = BT_ARRAY_LEN(hub_rows),
    .check = check_hub,
};
