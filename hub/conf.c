/* The hub's options: one row each, with the original's names, ranges and (where it hurts
 * nobody) its defaults. Options of the original that have nothing to act on here are
 * accepted and ignored, so that its files load unchanged. Where our defaults differ:
 * docs/decisions/0003-limits.md.
 *
 * The checks below look at what a row cannot: topics, addresses, names used twice. */
#include "hub/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/mqtt.h"
#include "core/password.h"

#define ROWS(r)      .rows = (r), .n_rows = BT_ARRAY_LEN(r)
#define HUB_ROW(...) BT_CONF_ROW(struct hub_conf, __VA_ARGS__)
#define NOT_USED(k, kind, m, def, ...)                                             \
    HUB_ROW(k, kind, m, def, "Accepted, has no effect.", .flags = BT_CONF_IGNORED, \
            __VA_ARGS__)

static const char *const actions[] = { "pub", "sub", NULL };
static const char *const overflows[] = { "drop-oldest", "refuse-newest", NULL };

bool hub_conf_topic_ok(const char *topic, bool wild)
{
    struct bt_slice s = { (const uint8_t *)topic, strlen(topic) };

    return s.len > 0 && topic[0] != '$' &&
           (wild ? bt_mqtt_filter_ok(s) : bt_mqtt_topic_ok(s));
}

/* Why hub_conf_topic_ok says no. */
static const char *hub_conf_topic_fault(const char *topic, bool wild)
{
    static const char not_last[] = "# has to be the last level, and alone in it";
    const char *hash = strchr(topic, '#');

    if (*topic == '\0')
        return "it is empty";
    if (*topic == '$')
        return "topics that begin with $ are the hub's own (a permit of the action sub "
               "may be $SYS/...)";
    if (!wild)
        return strpbrk(topic, "+#") != NULL ? "+ and # are for filters"
                                            : "it is too long or no UTF-8";
    if (hash != NULL && (hash[1] != '\0' || (hash != topic && hash[-1] != '/')))
        return not_last;
    return strchr(topic, '+') != NULL ? "+ has to be a whole level"
                                      : "it is too long or no UTF-8";
}

/* The original refuses all that begins with $; here a subscriber may be given $SYS/. */
static bool hub_conf_permit_ok(const char *filter, bool sys)
{
    return hub_conf_topic_ok(filter, true) || (sys && strncmp(filter, "$SYS/", 5) == 0 &&
                                               hub_conf_topic_ok(filter + 1, true));
}

static void check_filters(struct bt_conf_ctx *ctx, const struct hub_permission *p,
                          const char *key, const struct bt_conf_strings *list)
{
    char item[32];

    for (size_t i = 0; i < list->n; i++) {
        if (hub_conf_permit_ok(list->items[i], p->action == 1))
            continue;
        snprintf(item, sizeof(item), "%s[%zu]", key, i);
        bt_conf_error_at(ctx, p, item, "%s topic(%.200s) invalid: %s", actions[p->action],
                         list->items[i], hub_conf_topic_fault(list->items[i], true));
    }
}

static void check_permission(struct bt_conf_ctx *ctx, void *obj)
{
    const struct hub_permission *p = obj;

    check_filters(ctx, p, "permit", &p->permit);
    check_filters(ctx, p, "deny", &p->deny);
}

static const struct bt_conf_row permission_rows[] = {
    BT_CONF_ROW(struct hub_permission, "action", ENUM, action, NULL,
                "What is permitted: publishing or subscribing.", .choices = actions,
                .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(
        struct hub_permission, "permit", STRINGS, permit, NULL,
        "Topic filters; a filter is permitted when one of these covers all of it. %c "
        "stands for the client's identifier, %u for its user name."),
    BT_CONF_ROW(struct hub_permission, "deny", STRINGS, deny, NULL,
                "Topic filters that are not permitted, whatever permit says."),
};
static const struct bt_conf_table permission_table = {
    .name = "hub.principals.permissions",
    .doc = "What a principal may do.",
    .size = sizeof(struct hub_permission),
    ROWS(permission_rows),
    .check = check_permission,
};

static void check_principal(struct bt_conf_ctx *ctx, void *obj)
{
    const struct hub_principal_conf *p = obj;
    struct bt_password hash;
    bool given = p->password != NULL && p->password[0] != '\0';

    switch (given ? bt_password_parse(p->password, &hash) : 0) {
    case BT_PASSWORD_PLAIN:
        bt_conf_warn_at(ctx, p, "password",
                        "the password is in plain text; make a hash with: baetyl passwd");
        break;
    case BT_PASSWORD_BAD:
        bt_conf_error_at(ctx, p, "password", "the hash is damaged");
        break;
    case BT_PASSWORD_UNKNOWN:
        bt_conf_error_at(ctx, p, "password",
                         "a hash of a form that cannot be checked; use baetyl passwd");
        break;
    default:
        break;
    }
    if (given &&
        (p->cert_cn != NULL || p->cert_subject != NULL || p->cert_fingerprint != NULL))
        bt_conf_error_at(ctx, p, "password",
                         "a principal has a password or a certificate, not both");
}

/* Longer than any of these cannot be compared in constant time (hub/access/auth.c). */
static const struct bt_conf_row principal_rows[] = {
    BT_CONF_ROW(struct hub_principal_conf, "username", STRING, username, NULL,
                "The name a client logs in with.", .max = 1024, .match = "^[^$]",
                .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct hub_principal_conf, "password", STRING, password, NULL,
                "Its password, best as a hash from `baetyl passwd`; without one it can "
                "log in by a certificate only.",
                .max = 1024, .flags = BT_CONF_SECRET),
    BT_CONF_ROW(struct hub_principal_conf, "certificate.cn", STRING, cert_cn, NULL,
                "Common name that its certificate must have."),
    BT_CONF_ROW(struct hub_principal_conf, "certificate.subject", STRING, cert_subject,
                NULL, "Subject that its certificate must have, as in `CN=x,O=y`."),
    BT_CONF_ROW(struct hub_principal_conf, "certificate.fingerprint", STRING,
                cert_fingerprint, NULL, "SHA-256 that its certificate must have.",
                .match = "^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"),
    BT_CONF_ROW(struct hub_principal_conf, "permissions", LIST, permissions, NULL,
                "What it may do; nothing when empty.", .sub = &permission_table),
    HUB_CLIENT_ROWS(struct hub_principal_conf, "limits.", limits,
                    "; 0 is as in `limits.client`.", .flags = 0),
};
static const struct bt_conf_table principal_table = {
    .name = "hub.principals",
    .doc = "Who may log in.",
    .size = sizeof(struct hub_principal_conf),
    ROWS(principal_rows),
    .check = check_principal,
};

static void check_rule(struct bt_conf_ctx *ctx, void *obj)
{
    const struct hub_rule_conf *r = obj;

    if (!hub_conf_topic_ok(r->source.topic, true))
        bt_conf_error_at(ctx, r, "source.topic",
                         "[{Topic:%.200s QOS:%u}] source topic invalid: %s",
                         r->source.topic, (unsigned)r->source.qos,
                         hub_conf_topic_fault(r->source.topic, true));
    if (!hub_conf_topic_ok(r->target.topic, false))
        bt_conf_error_at(ctx, r, "target.topic",
                         "[{Topic:%.200s QOS:%u}] target topic invalid: %s",
                         r->target.topic, (unsigned)r->target.qos,
                         hub_conf_topic_fault(r->target.topic, false));
}

static const struct bt_conf_row rule_rows[] = {
    BT_CONF_ROW(struct hub_rule_conf, "source.topic", STRING, source.topic, NULL,
                "Filter of the messages to copy.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct hub_rule_conf, "source.qos", U32, source.qos, "0",
                "Highest QoS taken over from the message.", .max = 1),
    BT_CONF_ROW(struct hub_rule_conf, "target.topic", STRING, target.topic, NULL,
                "Topic of the copies.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct hub_rule_conf, "target.qos", U32, target.qos, "0",
                "QoS of the copies; never raised above the message's.", .max = 1),
};
static const struct bt_conf_table rule_table = {
    .name = "hub.subscriptions",
    .doc = "Routes: messages that match the source are published under the target, too.",
    .size = sizeof(struct hub_rule_conf),
    ROWS(rule_rows),
    .check = check_rule,
};

static const struct bt_conf_row hub_rows[] = {
    HUB_ROW("listen", STRINGS, listen, "tcp://127.0.0.1:1883",
            "Addresses to listen on: tcp://host:port, ssl://host:port, ws://host:port, "
            "wss://host:port or unix:///path.",
            .max = HUB_MAX_LISTENERS),
    HUB_ROW("listeners", LIST, listeners, NULL,
            "Addresses to listen on, each with options of its own.",
            .sub = &hub_listener_table, .max = HUB_MAX_LISTENERS),
    HUB_CERT_ROWS(struct hub_conf),
    HUB_ROW("anonymous", BOOL, anonymous, "false",
            "Let clients in without a user name. Without principals and on loopback only "
            "they "
            "always are.",
            .flags = BT_CONF_RELOAD),
    HUB_ROW("principals", LIST, principals, NULL, "Who may log in.",
            .sub = &principal_table, .flags = BT_CONF_RELOAD),
    HUB_ROW("subscriptions", LIST, rules, NULL, "Routes from topics to topics.",
            .sub = &rule_table, .flags = BT_CONF_RELOAD),
    HUB_ROW("workers", U32, workers, "0",
            "Threads for clients; 0 chooses by the processors.", .max = HUB_MAX_WORKERS),
    HUB_ROW("connect.timeout", MS, connect_timeout, "10s",
            "Time from a connection to its CONNECT packet.", .min = 1, .max = 3600000,
            .flags = BT_CONF_RELOAD),
    HUB_ROW("session.expiry", MS, session_expiry, "0",
            "How long a persistent session is kept after its client left; 0 is for ever.",
            .flags = BT_CONF_RELOAD),
    HUB_ROW("durability", STRING, durability_text, "full",
            "full: acknowledged means on disk; batched(TIME): a loss of power or a crash "
            "costs at most what was acknowledged in the last TIME (1ms to 1m); memory: "
            "nothing outlives the process."),
    HUB_ROW("limits.memory", BYTES, max_memory, "0",
            "Messages, queues and output of the whole hub in memory; 0 is no limit.",
            .max = INT64_MAX),
    HUB_ROW("limits.disk", BYTES, max_disk, "0",
            "The store's files; 0 is no limit, else at least 8m. At the limit nothing "
            "new is stored until receivers have made room.",
            .max = INT64_MAX),
    HUB_ROW("limits.session.messages", U32, max_session_messages, "0",
            "Messages that wait for one persistent session, in memory and on disk; 0 is "
            "no limit.",
            .max = UINT32_MAX),
    HUB_ROW("limits.session.bytes", BYTES, max_session_bytes, "0",
            "Bytes that wait for one persistent session; 0 is no limit.",
            .max = INT64_MAX),
    HUB_ROW("limits.session.qos1", ENUM, overflow_qos1, "drop-oldest",
            "What gives way when a QoS 1 message does not fit these limits.",
            .choices = overflows),
    HUB_ROW("limits.session.qos2", ENUM, overflow_qos2, "refuse-newest",
            "The same for a QoS 2 message.", .choices = overflows),
    HUB_ROW("limits.connections", U32, max_connections, "10000", "Open connections.",
            .min = 1, .max = 1000000, .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.connect.rate", U32, connect_rate, "0",
            "New connections a second, twice as many at once; 0 is no limit.",
            .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.connect.address", U32, connect_address_rate, "0",
            "The same for those of one address (IPv6: of one /64).",
            .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.connect.pending", U32, connect_pending, "1000",
            "Connections that have not sent CONNECT yet; the oldest gives way.", .min = 1,
            .max = 1000000, .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.stall.receive", MS, stall_receive, "30s",
            "Time for a packet that was begun to arrive, and a second more for each KiB.",
            .min = 1000, .max = 3600000, .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.stall.send", MS, stall_send, "60s",
            "Time after which a client that takes nothing of what it is sent is closed.",
            .min = 1000, .max = 3600000, .flags = BT_CONF_RELOAD),
    HUB_CLIENT_ROWS(struct hub_conf, "limits.client.", client, "; 0 is no limit.",
                    .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.topic.levels", U32, max_levels, "128", "Levels of a topic or filter.",
            .min = 1, .max = 65535),
    HUB_ROW("limits.topic.length", U32, max_topic, "65535", "Bytes of a topic or filter.",
            .min = 1, .max = 65535),
    HUB_ROW("limits.client.id.length", U32, max_client_id, "1024",
            "Bytes of a client identifier.", .min = 1, .max = 1024),
    HUB_ROW(
        "limits.client.id.plain", BOOL, plain_client_id, "false",
        "Refuse client identifiers with other characters than 0-9, A-Z, a-z, _ and -."),
    HUB_ROW("message.payload.check", BOOL, check_payload, "false",
            "Refuse version 5 messages that say they are UTF-8 and are not."),
    HUB_ROW(
        "response.topic", STRING, response_topic, NULL,
        "Answered to clients that ask for Response Information, with their identifier "
        "as a further level: where they may want answers.",
        .max = 1024, .match = "^[^$+#][^+#]*$"),
    HUB_ROW("limits.topic.aliases", U32, max_aliases, "10",
            "Topic aliases that a version 5 client may set.", .max = 65535,
            .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.session.expiry", MS, max_session_expiry, "0",
            "Longest session expiry that a client may ask for; 0 is no limit.",
            .max = 4294967294000, .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.keepalive", MS, max_keepalive, "0",
            "Longest keep-alive of a version 5 client, in whole seconds; 0 is no limit.",
            .max = 65535000, .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.queue.messages", U32, max_queued, "1000",
            "Deliveries waiting in memory for one session.", .min = 1, .max = 1000000,
            .flags = BT_CONF_RELOAD),
    HUB_ROW("limits.queue.bytes", BYTES, max_queued_bytes, "1m",
            "Output waiting for one connection before QoS 0 messages are dropped.",
            .min = 4096, .max = 1073741824, .flags = BT_CONF_RELOAD),
    HUB_ROW("message.length.max", BYTES, max_packet, "4m", "Largest MQTT packet.",
            .min = 64, .max = BT_MQTT_MAX_REMAINING,
            .flags = BT_CONF_RELOAD | BT_CONF_ZERO),
    HUB_ROW("message.egress.qos1.buffer.size", U32, max_inflight, "100",
            "Unacknowledged deliveries of one session.", .min = 1, .max = 65535,
            .flags = BT_CONF_RELOAD | BT_CONF_ZERO),
    HUB_ROW("message.ingress.qos1.cleanup.retention", MS, retention, "48h",
            "Messages that wait longer than this for a session are removed; 0 is never."),
    HUB_ROW("message.ingress.qos1.cleanup.interval", MS, cleanup_interval, "1m",
            "Time between two searches for such messages.", .min = 1, .max = 86400000,
            .flags = BT_CONF_ZERO),
    HUB_ROW("recorder.clients", U32, recorder_clients, "1024",
            "Clients whose last drops, refusals and disconnects are kept in memory for "
            "`baetyl why`; 0 keeps nothing.",
            .max = 1000000),
    HUB_ROW("sys.interval", MS, sys_interval, "10s",
            "Time between updates of the $SYS topics somebody subscribes to; 0 turns the "
            "topics off.",
            .max = 3600000),
    HUB_ROW("status.logging.enable", BOOL, status_logging, "false",
            "Log connections, messages and drops every so often (HUB-STATUS)."),
    HUB_ROW("status.logging.interval", MS, status_interval, "60s",
            "Time between two such lines.", .min = 1, .max = 86400000,
            .flags = BT_CONF_ZERO),
    HUB_ROW("storage.dir", STRING, storage_dir, "var/db/baetyl/data",
            "Folder of the database.", .flags = BT_CONF_ZERO | BT_CONF_PATH),
    HUB_ROW("shutdown.timeout", MS, shutdown_timeout, "10m",
            "Longest time to drain on stop; the process's own grace comes first.",
            .min = 1, .flags = BT_CONF_ZERO),
    NOT_USED("certificate.insecure", BOOL, ignored_bool, "false"),
    NOT_USED("message.ingress.qos0.buffer.size", BYTES, ignored_u64, "10000"),
    NOT_USED("message.ingress.qos1.buffer.size", BYTES, ignored_u64, "100"),
    NOT_USED("message.ingress.qos1.batch.max", BYTES, ignored_u64, "50"),
    NOT_USED("message.egress.qos0.buffer.size", BYTES, ignored_u64, "10000"),
    NOT_USED("message.egress.qos1.batch.max", BYTES, ignored_u64, "50", .max = 10000),
    NOT_USED("message.egress.qos1.retry.interval", MS, ignored_ms, "20s"),
    NOT_USED("message.offset.buffer.size", BYTES, ignored_u64, "10000"),
    NOT_USED("message.offset.batch.max", BYTES, ignored_u64, "100"),
    NOT_USED("metrics.report.interval", MS, ignored_ms, "1m"),
    NOT_USED("pprof", STRING, ignored_str, NULL),
};

static int by_username(const void *pa, const void *pb)
{
    const struct hub_principal_conf *const *a = pa, *const *b = pb;
    int r = strcmp((*a)->username, (*b)->username);

    return r != 0 ? r : *a < *b ? -1 : 1;
}

static void check_usernames(struct bt_conf_ctx *ctx, const struct hub_conf *conf)
{
    const struct hub_principal_conf *list = conf->principals.items, **sorted;
    size_t n = conf->principals.n;

    if (n < 2)
        return;
    sorted = bt_calloc(n, sizeof(struct hub_principal_conf *));
    if (sorted == NULL) {
        bt_conf_error_at(ctx, conf, "principals", "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = &list[i];
    qsort(sorted, n, sizeof(struct hub_principal_conf *), by_username);
    for (size_t i = 1; i < n; i++)
        if (strcmp(sorted[i - 1]->username, sorted[i]->username) == 0)
            bt_conf_error_at(ctx, sorted[i], "username", "username (%s) duplicate",
                             sorted[i]->username);
    bt_free(sorted);
}

static void check_hub(struct bt_conf_ctx *ctx, void *obj)
{
    struct hub_conf *conf = obj;

    hub_conf_check_listen(ctx, conf);
    check_usernames(ctx, conf);
    hub_conf_check_rules(ctx, conf);
    hub_conf_check_store(ctx, conf);
}

const struct bt_conf_table hub_conf_table = {
    .name = "hub",
    .doc = "The MQTT broker.",
    .size = sizeof(struct hub_conf),
    ROWS(hub_rows),
    .check = check_hub,
};
