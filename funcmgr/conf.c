/* The function manager's option table: the original's keys (hub, server, rules,
 * functions), and per function what the original kept in the runtime's own file: runtime,
 * handler, codedir, env.
 *
 * Rows check single values. The check functions below check what needs two: a rule's
 * function must exist, client ids and names are unique, and keys that have no effect yet
 * say so. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "funcmgr/funcmgr.h"

#define HOUR_MS ((int64_t)3600 * 1000)
#define DAY_MS  (24 * HOUR_MS)

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
                .max = DAY_MS),
    BT_CONF_ROW(struct fm_hub_conf, "timeout", MS, ignored_ms, "30s",
                "Time for a connection; none is made to the hub in this process.",
                .max = DAY_MS, .flags = BT_CONF_IGNORED),
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

static const struct bt_conf_table hub_table = {
    .name = "functions.hub",
    .doc = "The session of the rules at the hub.",
    .size = sizeof(struct fm_hub_conf),
    .rows = hub_rows,
    .n_rows = BT_ARRAY_LEN(hub_rows),
    .check = check_hub,
};

#define NO_WILDCARDS "^[^+#]+$"

static const struct bt_conf_row rule_rows[] = {
    BT_CONF_ROW(
        struct fm_rule_conf, "clientid", STRING, clientid, NULL,
        "Client id of the rule's session, which outlives a restart; empty: that of "
        "the hub block, or a clean session.",
        .max = 65535),
    BT_CONF_ROW(struct fm_rule_conf, "subscribe.topic", STRING, subscribe.topic, NULL,
                "Filter of the messages to process.", .max = 65535,
                .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct fm_rule_conf, "subscribe.qos", U32, subscribe.qos, "0",
                "QoS of the subscription.", .max = 1),
    BT_CONF_ROW(struct fm_rule_conf, "function.name", STRING, function, NULL,
                "The function to call.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct fm_rule_conf, "publish.topic", STRING, publish.topic, NULL,
                "Topic of the results.", .max = 65535, .flags = BT_CONF_REQUIRED,
                .match = NO_WILDCARDS),
    BT_CONF_ROW(struct fm_rule_conf, "publish.qos", U32, publish.qos, "0",
                "Highest QoS of the results.", .max = 1),
    BT_CONF_ROW(struct fm_rule_conf, "retry.max", U32, retry_max, "3",
                "Attempts in total when an instance breaks during the call; an exception "
                "of the handler and a time-out are answers and not tried again.",
                .min = 1, .max = 100, .flags = BT_CONF_ZERO),
};

static const struct bt_conf_table rule_table = {
    .name = "functions.rules",
    .doc =
        "A rule calls a function for every message of a subscription and publishes the "
        "results.",
    .size = sizeof(struct fm_rule_conf),
    .rows = rule_rows,
    .n_rows = BT_ARRAY_LEN(rule_rows),
};

static const struct bt_conf_row function_rows[] = {
    BT_CONF_ROW(struct fm_function_conf, "name", STRING, name, NULL,
                "Name of the function.", .flags = BT_CONF_REQUIRED, .max = 255),
    BT_CONF_ROW(struct fm_function_conf, "runtime", STRING, runtime, NULL,
                "Interpreter: python, python2, python2.7, python3, python3.11, node, "
                "node20 and the like, or an absolute path."),
    BT_CONF_ROW(struct fm_function_conf, "handler", STRING, handler, NULL,
                "File and function, as in index.handler.", .max = 1024),
    BT_CONF_ROW(struct fm_function_conf, "codedir", STRING, codedir, NULL,
                "Folder of the code, relative to the working directory.", .max = 4096),
    BT_CONF_ROW(struct fm_function_conf, "service", STRING, service, NULL,
                "Name of the runtime's service in application.yml.",
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_function_conf, "env", STRINGS, env, NULL,
                "Environment variables of the instances, each NAME=value.",
                .match = "^[A-Za-z_][A-Za-z0-9_]*="),
    BT_CONF_ROW(struct fm_function_conf, "instance.min", U32, min, "0",
                "Instances that are always ready.", .max = FM_MAX_INSTANCES),
    BT_CONF_ROW(struct fm_function_conf, "instance.max", U32, max, "1",
                "Most instances; with 1 the order of messages is kept.", .min = 1,
                .max = FM_MAX_INSTANCES, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "instance.idletime", MS, idle, "10m",
                "An instance above the minimum that was idle for so long is stopped.",
                .min = 1, .max = 365 * DAY_MS, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "instance.evicttime", MS, evict, "1m",
                "Time between two looks for idle instances.", .min = 1, .max = DAY_MS,
                .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "message.length.max", BYTES, max_message, "4m",
                "Most bytes of one call and of one reply, as framed.", .min = 1024,
                .max = (int64_t)FM_MAX_MESSAGE, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "instance.message.length.max", BYTES,
                max_message_alias, "4m",
                "The same as message.length.max, which wins when both are written.",
                .min = 1024, .max = (int64_t)FM_MAX_MESSAGE, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "backoff.max", MS, backoff_max, "1m",
                "Longest time between two attempts to start an instance.", .min = 1,
                .max = DAY_MS, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "timeout", MS, timeout, "30s",
                "Time for the start of an instance, and for one call with all its "
                "attempts.",
                .min = 1, .max = DAY_MS, .flags = BT_CONF_ZERO),
};

static void check_function(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_function_conf *c = obj;

    if (c->runtime == NULL || c->handler == NULL || c->codedir == NULL)
        bt_conf_error_at(ctx, obj, "name",
                         "the function needs all of runtime, handler and codedir%s",
                         c->service != NULL ? "; a service of application.yml cannot be "
                                              "used as its runtime yet"
                                            : "");
    else if (strrchr(c->handler, '.') == NULL || c->handler[0] == '.' ||
             strrchr(c->handler, '.')[1] == '\0')
        bt_conf_error_at(ctx, obj, "handler",
                         "\"%s\": expected file.function, as in index.handler",
                         c->handler);
    if (c->min > c->max)
        bt_conf_error_at(ctx, obj, "instance.min", "%u is more than instance.max, %u",
                         (unsigned)c->min, (unsigned)c->max);
    if (bt_conf_given(ctx, obj, "instance.message.length.max") &&
        !bt_conf_given(ctx, obj, "message.length.max"))
        c->max_message = c->max_message_alias;
}

static const struct bt_conf_table function_table = {
    .name = "functions.functions",
    .doc = "A function and the pool of processes that run it.",
    .size = sizeof(struct fm_function_conf),
    .rows = function_rows,
    .n_rows = BT_ARRAY_LEN(function_rows),
    .check = check_function,
};

static const struct bt_conf_row rows[] = {
    BT_CONF_SECTION_ROW(struct fm_conf, "hub", hub, &hub_table,
                        "The session of the rules at the hub."),
    BT_CONF_ROW(struct fm_conf, "rules", LIST, rules, NULL,
                "Which messages go through which function.", .sub = &rule_table,
                .max = FM_MAX_FUNCTIONS),
    BT_CONF_ROW(struct fm_conf, "functions", LIST, functions, NULL, "The functions.",
                .sub = &function_table, .max = FM_MAX_FUNCTIONS),
    BT_CONF_ROW(struct fm_conf, "server.address", STRING, server_address, NULL,
                "Address of the call service for other modules.",
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.timeout", MS, ignored_ms, "2m",
                "Time-out of the call service.", .max = DAY_MS, .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.message.length.max", BYTES, ignored_bytes, "4m",
                "Message limit of the call service.", .max = INT64_MAX,
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.concurrent.max", U32, ignored_u32, "0",
                "Concurrent calls of the call service.", .max = UINT32_MAX,
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.workers.max", U32, ignored_u32, "0",
                "Threads of the call service.", .max = UINT32_MAX,
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.ca", STRING, ignored_str, NULL,
                "Certificate authority of the call service.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.cert", STRING, ignored_str, NULL,
                "Certificate of the call service.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.key", STRING, ignored_str, NULL,
                "Key of the call service.", .flags = BT_CONF_IGNORED),
};

static int compare_functions(const void *a, const void *b)
{
    const struct fm_function_conf *const *fa = a, *const *fb = b;

    return strcmp((*fa)->name, (*fb)->name);
}

static int compare_rules(const void *a, const void *b)
{
    const struct fm_rule_conf *const *ra = a, *const *rb = b;

    return strcmp((*ra)->clientid, (*rb)->clientid);
}

/* The functions in order of name, those without one left out; *n is their number. */
static struct fm_function_conf **sort_functions(struct bt_conf_ctx *ctx,
                                                struct fm_conf *c, size_t *n)
{
    struct fm_function_conf *all = c->functions.items;
    struct fm_function_conf **sorted =
        bt_conf_alloc(ctx, (c->functions.n + 1) * sizeof(*sorted));

    *n = 0;
    for (size_t i = 0; sorted != NULL && i < c->functions.n; i++) {
        if (all[i].name != NULL)
            sorted[(*n)++] = &all[i];
    }
    if (*n > 1)
        qsort(sorted, *n, sizeof(*sorted), compare_functions);
    for (size_t i = 1; i < *n; i++) {
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            bt_conf_error_at(ctx, sorted[i], "name",
                             "there is more than one function \"%s\"", sorted[i]->name);
    }
    return sorted;
}

static void check_rule_clients(struct bt_conf_ctx *ctx, struct fm_conf *c)
{
    struct fm_rule_conf *all = c->rules.items;
    struct fm_rule_conf **sorted = bt_conf_alloc(ctx, (c->rules.n + 1) * sizeof(*sorted));
    size_t n = 0;

    for (size_t i = 0; sorted != NULL && i < c->rules.n; i++) {
        if (all[i].clientid == NULL || all[i].clientid[0] == '\0')
            all[i].clientid = c->hub.clientid;
        if (all[i].clientid != NULL && all[i].clientid[0] != '\0')
            sorted[n++] = &all[i];
    }
    if (n > 1)
        qsort(sorted, n, sizeof(*sorted), compare_rules);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(sorted[i]->clientid, sorted[i - 1]->clientid) == 0)
            bt_conf_error_at(
                ctx, sorted[i],
                bt_conf_given(ctx, sorted[i], "clientid") ? "clientid"
                                                          : "subscribe.topic",
                "more than one rule has the client id \"%s\"", sorted[i]->clientid);
    }
}

static void check_conf(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_conf *c = obj;
    struct fm_rule_conf *rule = c->rules.items;
    size_t n;
    struct fm_function_conf **sorted = sort_functions(ctx, c, &n);

    for (size_t i = 0; sorted != NULL && i < c->rules.n; i++, rule++) {
        struct fm_function_conf wanted = { .name = rule->function }, *key = &wanted;

        if (rule->function != NULL && (n == 0 || bsearch(&key, sorted, n, sizeof(*sorted),
                                                         compare_functions) == NULL))
            bt_conf_error_at(ctx, rule, "function.name",
                             "there is no function \"%s\" under `functions`",
                             rule->function);
    }
    check_rule_clients(ctx, c);
    if (c->server_address != NULL)
        bt_conf_warn_at(ctx, obj, "server.address",
                        "the call service is not available yet and is not started");
}

const struct bt_conf_table fm_conf_table = {
    .name = "functions",
    .doc =
        "The function manager: rules that send messages through functions in Python and "
        "Node.",
    .size = sizeof(struct fm_conf),
    .rows = rows,
    .n_rows = BT_ARRAY_LEN(rows),
    .check = check_conf,
};
