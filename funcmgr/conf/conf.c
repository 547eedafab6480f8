/* The function manager's option table: the original's keys (hub, server, rules,
 * functions), each list's rows in a file of its own.
 *
 * Rows check single values. The check functions below check what needs two: a rule's
 * function must exist, client ids and names are unique, and keys that have no effect yet
 * say so. */
#include <stdlib.h>
#include <string.h>

#include "funcmgr/conf/conf_priv.h"

static const char *const backends[] = { "auto", "cgroup2", "cgroup1", "rlimit", NULL };

static const struct bt_conf_row rows[] = {
    BT_CONF_SECTION_ROW(struct fm_conf, "hub", hub, &fm_hub_table,
                        "The session of the rules at the hub."),
    BT_CONF_ROW(struct fm_conf, "rules", LIST, rules, NULL,
                "Which messages go through which function.", .sub = &fm_rule_table,
                .max = FM_MAX_FUNCTIONS, .flags = BT_CONF_RELOAD),
    BT_CONF_ROW(struct fm_conf, "functions", LIST, functions, NULL, "The functions.",
                .sub = &fm_function_table, .max = FM_MAX_FUNCTIONS,
                .flags = BT_CONF_RELOAD),
    BT_CONF_SECTION_ROW(struct fm_conf, "http", http, &fm_http_table,
                        "Addresses at which functions can be called by HTTP; the control "
                        "socket always can."),
    BT_CONF_SECTION_ROW(struct fm_conf, "calls", calls, &fm_requests_table,
                        "Calls by MQTT 5 request and response."),
    BT_CONF_ROW(struct fm_conf, "limits.backend", ENUM, limits_backend, "auto",
                "What holds functions to their limits: control groups of version 2 or 1, "
                "or limits of the process; auto takes the best there is.",
                .choices = backends),
    BT_CONF_ROW(struct fm_conf, "server.address", STRING, server_address, NULL,
                "Address of the call service for other modules.",
                .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct fm_conf, "server.timeout", MS, ignored_ms, "2m",
                "Time-out of the call service.", .max = FM_DAY_MS,
                .flags = BT_CONF_IGNORED),
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
        all[i].hub = fm_hub_is_given(ctx, &all[i].own_hub) ? &all[i].own_hub : &c->hub;
        if (all[i].clientid == NULL || all[i].clientid[0] == '\0')
            all[i].clientid = all[i].hub->clientid;
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
                        "there is no gRPC service; functions are called by HTTP, see "
                        "functions.http.listen");
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
