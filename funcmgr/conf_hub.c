/* Options of the rules' session at the hub. Most of the original's keys describe a
 * network connection, which is not made here: they are read and ignored. */
#include <string.h>
#include <strings.h>

#include "funcmgr/conf_priv.h"

static const struct bt_conf_row hub_rows[] = {
    BT_CONF_ROW(
        struct fm_hub_conf, "address", STRING, address, NULL,
        "Address of the hub; the one in this process is used, so only names of this "
        "host are accepted."),
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
    BT_CONF_ROW(struct fm_hub_conf, "timeout", MS, ignored_ms, "30s",
                "Time for a connection; none is made to the hub in this process.",
                .max = FM_DAY_MS, .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "keepalive", STRING, ignored_str, NULL,
                "Keep-alive of a connection; none is made.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "buffersize", U32, ignored_u32, "10",
                "Length of the outgoing queue.", .max = UINT32_MAX,
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "validatesubs", BOOL, ignored_bool, "false",
                "A refused subscription is always an error.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "ca", STRING, ignored_str, NULL,
                "Certificate authority.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "cert", STRING, ignored_str, NULL,
                "Client certificate.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "key", STRING, ignored_str, NULL,
                "Key of the certificate.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_hub_conf, "insecure", BOOL, ignored_bool, "false",
                "Accept any certificate.", .flags = BT_CONF_IGNORED),
};

/* The host part of scheme://host:port, or of host:port. */
static struct bt_slice address_host(const char *address)
{
    const char *host = strstr(address, "://");
    size_t len;

    host = host != NULL ? host + 3 : address;
    len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    return (struct bt_slice){ (const uint8_t *)host, BT_MIN(len, strlen(host)) };
}

static bool host_is_here(struct bt_slice host)
{
    static const char *const here[] = { "",        "localhost", "127.0.0.1", "[::1]",
                                        "0.0.0.0", "[::]",      "localhub",  "hub" };

    for (size_t i = 0; i < BT_ARRAY_LEN(here); i++) {
        if (strlen(here[i]) == host.len &&
            strncasecmp(here[i], (const char *)host.ptr, host.len) == 0)
            return true;
    }
    return false;
}

static void check_hub(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_hub_conf *c = obj;

    if (c->address != NULL && strncmp(c->address, "unix:", 5) != 0 &&
        !host_is_here(address_host(c->address)))
        bt_conf_error_at(ctx, obj, "address",
                         "\"%s\": a hub on another host is not available yet; the rules "
                         "use the hub of this process",
                         c->address);
    if (c->password != NULL && c->username == NULL)
        bt_conf_error_at(ctx, obj, "password", "a password needs a username");
}

const struct bt_conf_table fm_hub_table = {
    .name = "functions.hub",
    .doc = "The session of the rules at the hub.",
    .size = sizeof(struct fm_hub_conf),
    .rows = hub_rows,
    .n_rows = BT_ARRAY_LEN(hub_rows),
    .check = check_hub,
};
