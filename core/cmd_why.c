/* `baetyl why`, `baetyl clients` and `baetyl metrics`: questions to a running process, by
 * its control socket. The sentences come from there; this prints them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/api.h"
#include "core/api_get.h"
#include "core/app_conf.h"
#include "core/cli.h"
#include "core/error.h"

struct options {
    const char *workdir, *socket;
    const char *client, *topic, *after;
    uint32_t trace, limit;
    bool json;
};

static const struct bt_cli_opt why_opts[] = {
    BT_CLI_OPT(struct options, "client", 'c', STRING, client, "ID", "The client."),
    BT_CLI_OPT(struct options, "topic", 't', STRING, topic, "TOPIC",
               "The topic: would a message on it reach the client, and why not."),
    BT_CLI_OPT(struct options, "trace", 0, U32, trace, "SECONDS",
               "Record every message of the client for so long; ask again later.",
               .min = 1, .max = 3600),
    BT_CLI_OPT(struct options, "json", 0, FLAG, json, NULL, "Print JSON."),
    BT_CLI_SOCKET_OPTS(struct options),
};
static const struct bt_cli_opt clients_opts[] = {
    BT_CLI_OPT(struct options, "limit", 'n', U32, limit, "COUNT",
               "About this many clients; default: 1000.", .min = 1, .max = 10000),
    BT_CLI_OPT(struct options, "after", 0, STRING, after, "PLACE",
               "Go on where an earlier list ended."),
    BT_CLI_OPT(struct options, "json", 0, FLAG, json, NULL, "Print JSON."),
    BT_CLI_SOCKET_OPTS(struct options),
};
static const struct bt_cli_opt metrics_opts[] = { BT_CLI_SOCKET_OPTS(struct options) };

static const struct bt_cli_usage why_usage = {
    .name = "why",
    .args = "",
    .about = "Say why messages do or do not arrive: what is true now about a client, a\n"
             "topic or both, and what the running hub recorded about them: drops with\n"
             "their cause, refusals, lost connections.",
    .opts = why_opts,
    .n_opts = BT_ARRAY_LEN(why_opts),
};
static const struct bt_cli_usage clients_usage = {
    .name = "clients",
    .args = "",
    .about = "List the clients of the running hub, connected or not.",
    .opts = clients_opts,
    .n_opts = BT_ARRAY_LEN(clients_opts),
};
static const struct bt_cli_usage metrics_usage = {
    .name = "metrics",
    .args = "",
    .about = "Print the metrics of the running process as Prometheus reads them.",
    .opts = metrics_opts,
    .n_opts = BT_ARRAY_LEN(metrics_opts),
};

static int ask(const struct options *o, const char *target)
{
    const char *path = o->socket != NULL ? o->socket : BT_API_SOCKET;
    struct bt_buf body bt_cleanup(bt_buf_deinit) = { .max = BT_API_GET_MAX };
    unsigned status = 0;
    int r;

    if (o->workdir != NULL && chdir(o->workdir) != 0) {
        perror(o->workdir);
        return BT_CLI_FAILED;
    }
    r = bt_api_get(path, target, &status, &body);
    if (r != 0) {
        fprintf(stderr, "baetyl: no answer from %s: %s\n", path,
                r == BT_EIO ? strerror(errno) : bt_error_text(r));
        return BT_CLI_FAILED;
    }
    (void)fwrite(body.data, 1, body.len, status == 200 ? stdout : stderr);
    return status == 200 ? BT_CLI_OK : BT_CLI_FAILED;
}

/* path?name=value for each pair with a value; pairs end with NULL. */
static int ask_with(const struct options *o, const char *path, const char *const pairs[])
{
    struct bt_buf target bt_cleanup(bt_buf_deinit) = { 0 };
    int r = bt_buf_append_str(&target, path);

    for (size_t i = 0; r == 0 && pairs[i] != NULL; i += 2)
        if (pairs[i + 1] != NULL)
            r = bt_api_put_param(&target, pairs[i], pairs[i + 1]);
    if (r == 0)
        r = bt_buf_append_u8(&target, '\0');
    if (r != 0) {
        fprintf(stderr, "baetyl: %s\n", bt_error_text(r));
        return BT_CLI_FAILED;
    }
    return ask(o, (const char *)target.data);
}

static int begin(const struct bt_cli_usage *usage, int argc, char **argv,
                 struct options *o)
{
    int first = bt_cli_parse(usage, argc, argv, o);

    if (first < 0)
        return first;
    if (first < argc) {
        (void)bt_cli_complain(usage, "unexpected \"%s\"", argv[first]);
        return BT_CLI_BAD;
    }
    return first;
}

int bt_cmd_why(int argc, char **argv)
{
    struct options o = { 0 };
    char trace[16];
    int first = begin(&why_usage, argc, argv, &o);

    if (first < 0)
        return bt_cli_status(first);
    if (o.client == NULL && o.topic == NULL)
        return bt_cli_complain(&why_usage, "expected --client or --topic or both");
    (void)snprintf(trace, sizeof(trace), "%u", (unsigned)o.trace);
    return ask_with(&o, "/v1/hub/why",
                    (const char *const[]){ "client", o.client, "topic", o.topic, "trace",
                                           o.trace > 0 ? trace : NULL, "format",
                                           o.json ? NULL : "text", NULL });
}

int bt_cmd_clients(int argc, char **argv)
{
    struct options o = { .limit = 1000 };
    char limit[16];
    int first = begin(&clients_usage, argc, argv, &o);

    if (first < 0)
        return bt_cli_status(first);
    (void)snprintf(limit, sizeof(limit), "%u", (unsigned)o.limit);
    return ask_with(&o, "/v1/hub/clients",
                    (const char *const[]){ "limit", limit, "after", o.after, "format",
                                           o.json ? NULL : "text", NULL });
}

int bt_cmd_metrics(int argc, char **argv)
{
    struct options o = { 0 };
    int first = begin(&metrics_usage, argc, argv, &o);

    return first < 0 ? bt_cli_status(first) : ask(&o, "/metrics");
}
