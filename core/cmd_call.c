/* `baetyl call` and `baetyl functions`: functions of a running process, by its control
 * socket. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/api.h"
#include "core/api_get.h"
#include "core/app_conf.h"
#include "core/cli.h"
#include "core/error.h"

#define MAX_PAYLOAD ((size_t)256 * 1024 * 1024)
#define STEP        65536u
/* Of the answer when the routes are not there. */
#define NO_PATH "\"there is no such path\""

struct options {
    const char *workdir, *socket;
    const char *file, *topic, *timeout;
    uint32_t qos;
    bool json;
};

static const struct bt_cli_opt call_opts[] = {
    BT_CLI_OPT(struct options, "file", 'f', STRING, file, "FILE",
               "Send what the file holds."),
    BT_CLI_OPT(struct options, "topic", 't', STRING, topic, "TOPIC",
               "The topic that the function sees."),
    BT_CLI_OPT(struct options, "qos", 'q', U32, qos, "QOS", "The QoS that it sees.",
               .max = 2),
    BT_CLI_OPT(struct options, "timeout", 0, STRING, timeout, "TIME",
               "Wait for so long, as in 2s; at most the function's own time-out."),
    BT_CLI_SOCKET_OPTS(struct options),
};
static const struct bt_cli_opt functions_opts[] = {
    BT_CLI_OPT(struct options, "json", 0, FLAG, json, NULL, "Print JSON."),
    BT_CLI_SOCKET_OPTS(struct options),
};
static const struct bt_cli_usage call_usage = {
    .name = "call",
    .args = "NAME [PAYLOAD]",
    .about =
        "Call a function of the running process and print its result as it is. Without\n"
        "a payload it is empty; `-` reads it from standard input. A failure is printed\n"
        "on standard error, as the JSON that a rule would publish, with exit status 1.",
    .opts = call_opts,
    .n_opts = BT_ARRAY_LEN(call_opts),
};
static const struct bt_cli_usage functions_usage = {
    .name = "functions",
    .args = "[NAME]",
    .about = "List the functions of the running process: their state, instances, calls,\n"
             "errors and times; of one function more.",
    .opts = functions_opts,
    .n_opts = BT_ARRAY_LEN(functions_opts),
};

/* ---- Asking ---- */

static int fail(int r)
{
    fprintf(stderr, "baetyl: %s\n", bt_error_text(r));
    return BT_CLI_FAILED;
}

static int ask(const struct options *o, struct bt_api_ask *a)
{
    struct bt_buf body bt_cleanup(bt_buf_deinit) = { .max = BT_API_GET_MAX };
    unsigned status = 0;
    bool good;
    int r;

    a->socket_path = o->socket != NULL ? o->socket : BT_API_SOCKET;
    if (o->workdir != NULL && chdir(o->workdir) != 0) {
        perror(o->workdir);
        return BT_CLI_FAILED;
    }
    r = bt_api_ask(a, &status, &body);
    if (r != 0) {
        fprintf(stderr, "baetyl: no answer from %s: %s\n", a->socket_path,
                r == BT_EIO ? strerror(errno) : bt_error_text(r));
        return BT_CLI_FAILED;
    }
    good = status == 200 || status == 204;
    if (status == 404 && body.len > 0 &&
        memmem(body.data, body.len, NO_PATH, sizeof(NO_PATH) - 1) != NULL) {
        fprintf(stderr, "baetyl: the process at %s runs no functions\n", a->socket_path);
        return BT_CLI_FAILED;
    }
    if ((body.len > 0 &&
         fwrite(body.data, 1, body.len, good ? stdout : stderr) != body.len) ||
        fflush(good ? stdout : stderr) != 0) {
        perror("baetyl");
        return BT_CLI_FAILED;
    }
    if (!good && body.len > 0 && body.data[body.len - 1] != '\n')
        fputc('\n', stderr);
    return good ? BT_CLI_OK : BT_CLI_FAILED;
}

static int put_path(struct bt_buf *target, const char *name, const char *suffix)
{
    int r = bt_buf_append_str(target, "/v1/functions/");

    if (r == 0)
        r = bt_api_put_encoded(target, name);
    return r == 0 ? bt_buf_append_str(target, suffix) : r;
}

/* Options may follow the arguments, too. The index of the next argument, as argv + *at
 * counts, or negative as from bt_cli_parse. */
static int next(const struct bt_cli_usage *usage, int argc, char **argv, int *at,
                struct options *o)
{
    int n = bt_cli_parse(usage, argc - *at, argv + *at, o);

    if (n < 0)
        return n;
    *at += n;
    return *at;
}

/* ---- call ---- */

static int read_payload(const char *path, struct bt_buf *out)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rbe");
    int r = 0;

    if (f == NULL) {
        perror(path);
        return BT_CLI_FAILED;
    }
    while (r == 0 && !feof(f) && !ferror(f)) {
        r = bt_buf_reserve(out, STEP);
        if (r == 0)
            out->len += fread(out->data + out->len, 1, STEP, f);
    }
    if (r != 0)
        fprintf(stderr, "baetyl: %s: %s\n", path, bt_error_text(r));
    else if (ferror(f))
        perror(path);
    r = r != 0 || ferror(f) ? BT_CLI_FAILED : BT_CLI_OK;
    if (f != stdin)
        (void)fclose(f);
    return r;
}

static int call(const struct options *o, const char *name, struct bt_slice payload)
{
    struct bt_buf target bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_api_ask a = { .method = "POST", .body = payload, .patient = true };
    char qos[2] = { (char)('0' + o->qos), '\0' };
    int r = put_path(&target, name, "/call");

    if (r == 0 && o->topic != NULL)
        r = bt_api_put_param(&target, "topic", o->topic);
    if (r == 0 && o->qos > 0)
        r = bt_api_put_param(&target, "qos", qos);
    if (r == 0 && o->timeout != NULL)
        r = bt_api_put_param(&target, "timeout", o->timeout);
    if (r == 0)
        r = bt_buf_append_u8(&target, '\0');
    a.target = (const char *)target.data;
    return r == 0 ? ask(o, &a) : fail(r);
}

int bt_cmd_call(int argc, char **argv)
{
    struct options o = { 0 };
    struct bt_buf data bt_cleanup(bt_buf_deinit) = { .max = MAX_PAYLOAD };
    struct bt_slice payload = { NULL, 0 };
    const char *name, *text = NULL;
    int at = 0, r = next(&call_usage, argc, argv, &at, &o);

    if (r < 0)
        return bt_cli_status(r);
    if (at == argc)
        return bt_cli_complain(&call_usage, "expected the name of a function");
    name = argv[at];
    r = next(&call_usage, argc, argv, &at, &o);
    if (r >= 0 && at < argc) {
        text = argv[at];
        r = next(&call_usage, argc, argv, &at, &o);
    }
    if (r < 0)
        return bt_cli_status(r);
    if (at < argc)
        return bt_cli_complain(&call_usage, "unexpected \"%s\"", argv[at]);
    if (text != NULL && o.file != NULL)
        return bt_cli_complain(&call_usage, "a payload and --file are both given");
    if (o.file != NULL || (text != NULL && strcmp(text, "-") == 0)) {
        r = read_payload(o.file != NULL ? o.file : text, &data);
        if (r != BT_CLI_OK)
            return r;
        payload = (struct bt_slice){ data.data, data.len };
    } else if (text != NULL) {
        payload = (struct bt_slice){ (const uint8_t *)text, strlen(text) };
    }
    return call(&o, name, payload);
}

/* ---- functions ---- */

int bt_cmd_functions(int argc, char **argv)
{
    struct options o = { 0 };
    struct bt_buf target bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_api_ask a = { .method = "GET" };
    const char *name = NULL;
    int at = 0, r = next(&functions_usage, argc, argv, &at, &o);

    if (r >= 0 && at < argc) {
        name = argv[at];
        r = next(&functions_usage, argc, argv, &at, &o);
    }
    if (r < 0)
        return bt_cli_status(r);
    if (at < argc)
        return bt_cli_complain(&functions_usage, "unexpected \"%s\"", argv[at]);
    r = name != NULL ? put_path(&target, name, "")
                     : bt_buf_append_str(&target, "/v1/functions");
    if (r == 0 && !o.json)
        r = bt_api_put_param(&target, "format", "text");
    if (r == 0)
        r = bt_buf_append_u8(&target, '\0');
    a.target = (const char *)target.data;
    return r == 0 ? ask(&o, &a) : fail(r);
}
