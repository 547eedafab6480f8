/* Options of a function: the original's, and what the original kept in the runtime's own
 * file: runtime, handler, codedir, env. */
#include <string.h>

#include "core/error.h"
#include "funcmgr/conf/conf_priv.h"
#include "funcmgr/process/interp.h"
#include "funcmgr/sql/sql.h"
#include "funcmgr/sql/sql_plan.h"

#define MAX_NAME 1024u /* of a handler that is a name */

static const char *const reload_kinds[] = { "auto", "signal", "off", NULL };
static const char *const order_kinds[] = { "none", "strict", NULL };
static const char *const fork_kinds[] = { "auto", "on", "off", NULL }; /* fm_fork_kind */

static const struct bt_conf_row function_rows[] = {
    BT_CONF_ROW(struct fm_function_conf, "name", STRING, name, NULL,
                "Name of the function, without white space.",
                .match = "^[^[:space:][:cntrl:]]+$", .flags = BT_CONF_REQUIRED,
                .max = 255),
    BT_CONF_ROW(struct fm_function_conf, "runtime", STRING, runtime, NULL,
                "Interpreter: python, python2, python2.7, python3, python3.11, node, "
                "node20 and the like, or an absolute path; or sql; or exec, for any "
                "program."),
    BT_CONF_ROW(
        struct fm_function_conf, "handler", STRING, handler, NULL,
        "File and function, as in index.handler; for sql the statement; for exec the "
        "program, in codedir or with an absolute path.",
        .max = (int64_t)FM_SQL_MAX_STATEMENT),
    BT_CONF_ROW(struct fm_function_conf, "codedir", STRING, codedir, NULL,
                "Folder of the code, relative to the working directory.", .max = 4096,
                .flags = BT_CONF_PATH),
    BT_CONF_ROW(struct fm_function_conf, "args", STRINGS, args, NULL,
                "Arguments of the program of exec.", .max = FM_MAX_ARGS),
    BT_CONF_ROW(struct fm_function_conf, "workdir", STRING, workdir, NULL,
                "Folder in which instances run; codedir is then better absolute. The "
                "default is the working directory.",
                .max = 4096),
    BT_CONF_ROW(struct fm_function_conf, "service", STRING, service, NULL,
                "Name of the service in application.yml whose image is the runtime and "
                "whose service.yml has handler and codedir.",
                .max = 64),
    BT_CONF_ROW(struct fm_function_conf, "env", STRINGS, env, NULL,
                "Environment variables of the instances, each NAME=value.",
                .match = "^[A-Za-z_][A-Za-z0-9_]*="),
    BT_CONF_ROW(struct fm_function_conf, "instance.min", U32, min, "0",
                "Instances that are always ready.", .max = FM_MAX_INSTANCES),
    BT_CONF_ROW(struct fm_function_conf, "instance.max", U32, max, "1",
                "Most instances; with 1 the order of messages is kept.", .min = 1,
                .max = FM_MAX_INSTANCES, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "instance.spare", U32, spare, "0",
                "Idle instances kept ready beyond the busy ones, as far as instance.max "
                "allows.",
                .max = FM_MAX_INSTANCES),
    BT_CONF_ROW(struct fm_function_conf, "instance.concurrency", U32, concurrency, "1",
                "Calls that one instance runs at once; for handlers that wait, such as "
                "asynchronous ones in Node.",
                .min = 1, .max = FM_MAX_CONCURRENCY, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "instance.fork", ENUM, fork, "auto",
                "Python only: load the code once, in a template, and fork the instances "
                "from it: they start sooner and share memory. auto: when instance.max is "
                "more than 1 and there is no sandbox.",
                .choices = fork_kinds),
    BT_CONF_ROW(struct fm_function_conf, "order", ENUM, order, "none",
                "strict: of the messages of one topic in a rule the next is processed "
                "when the result of the earlier one, with all its retries, is published; "
                "different topics run side by side.",
                .choices = order_kinds),
    BT_CONF_ROW(struct fm_function_conf, "reload", ENUM, reload, "auto",
                "When changed code is loaded: auto, half a second after the last change, "
                "and at SIGHUP; signal, at SIGHUP; off, never.",
                .choices = reload_kinds),
    BT_CONF_ROW(struct fm_function_conf, "instance.idletime", MS, idle, "10m",
                "An instance above the minimum that was idle for so long is stopped.",
                .min = 1, .max = 365 * FM_DAY_MS, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "instance.evicttime", MS, evict, "1m",
                "Time between two looks for idle instances.", .min = 1, .max = FM_DAY_MS,
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
                .max = FM_DAY_MS, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "timeout", MS, timeout, "30s",
                "Time for one call with all its attempts; an instance may take as long "
                "to start, and always 10 s.",
                .min = 1, .max = FM_DAY_MS, .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_function_conf, "calls.http", BOOL, calls_http, "true",
                "It can be called at the addresses of `http`."),
    BT_CONF_ROW(struct fm_function_conf, "calls.mqtt", BOOL, calls_mqtt, "true",
                "It can be called at the topic of `calls`."),
    BT_CONF_ROW(struct fm_function_conf, "user", STRING, user, NULL,
                "User the instances run as: a name, UID or UID:GID. Only root can change "
                "it.",
                .match = ".", .max = 255),
    BT_CONF_SECTION_ROW(struct fm_function_conf, "limits", limits, &fm_limits_table,
                        "What an instance may use."),
    BT_CONF_SECTION_ROW(struct fm_function_conf, "sandbox", sandbox, &fm_sandbox_table,
                        "Which files an instance may see."),
};

static void check_statement(struct bt_conf_ctx *ctx, const struct fm_function_conf *c)
{
    struct fm_sql *sql = NULL;
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };

    if (c->handler == NULL)
        bt_conf_error_at(ctx, c, "name", "the function needs a handler, the statement");
    else if (fm_sql_new(c->handler, &sql, &why) == BT_EINVAL)
        bt_conf_error_at(ctx, c, "handler", "the statement is wrong %.*s", (int)why.len,
                         (const char *)why.data);
    fm_sql_free(sql);
}

/* The folder of the code is that of the program when none is given. */
static void check_exec(struct bt_conf_ctx *ctx, struct fm_function_conf *c)
{
    const char *slash;
    size_t len;

    if (c->handler == NULL) {
        bt_conf_error_at(ctx, c, "name", "the function needs a handler, the program");
        return;
    }
    if (strlen(c->handler) > MAX_NAME)
        bt_conf_error_at(ctx, c, "handler", "more than %u bytes", MAX_NAME);
    if (c->codedir != NULL)
        return;
    if (c->handler[0] != '/') {
        bt_conf_error_at(ctx, c, "handler",
                         "\"%.100s\": without a codedir the path must be absolute",
                         c->handler);
        return;
    }
    slash = strrchr(c->handler, '/');
    len = BT_MAX((size_t)(slash - c->handler), (size_t)1);
    c->codedir = bt_conf_alloc(ctx, len + 1);
    if (c->codedir != NULL)
        memcpy(c->codedir, c->handler, len);
}

static void check_program(struct bt_conf_ctx *ctx, const struct fm_function_conf *c)
{
    if (c->runtime == NULL || c->handler == NULL || c->codedir == NULL)
        bt_conf_error_at(
            ctx, c, "name", "the function needs all of runtime, handler and codedir%s",
            c->service != NULL ? "; those of a service are taken only when var/db/baetyl/"
                                 "application.yml is read, which has that service"
                               : "");
    else if (strrchr(c->handler, '.') == NULL || c->handler[0] == '.' ||
             strrchr(c->handler, '.')[1] == '\0' || strlen(c->handler) > MAX_NAME)
        bt_conf_error_at(ctx, c, "handler",
                         "\"%.100s\": expected file.function, as in index.handler",
                         c->handler);
}

static void check_function(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_function_conf *c = obj;

    if (fm_sql_is_runtime(c->runtime))
        check_statement(ctx, c);
    else if (fm_interp_is_exec(c->runtime))
        check_exec(ctx, c);
    else
        check_program(ctx, c);
    if (c->args.n > 0 && !fm_interp_is_exec(c->runtime))
        bt_conf_error_at(ctx, obj, "args", "only the program of exec takes arguments");
    if (fm_sql_is_runtime(c->runtime))
        fm_conf_no_process(ctx, c);
    if (c->min > c->max)
        bt_conf_error_at(ctx, obj, "instance.min", "%u is more than instance.max, %u",
                         (unsigned)c->min, (unsigned)c->max);
    if (bt_conf_given(ctx, obj, "instance.message.length.max") &&
        !bt_conf_given(ctx, obj, "message.length.max"))
        c->max_message = c->max_message_alias;
}

const struct bt_conf_table fm_function_table = {
    .name = "functions.functions",
    .doc = "A function and the pool of processes that run it.",
    .size = sizeof(struct fm_function_conf),
    .rows = function_rows,
    .n_rows = BT_ARRAY_LEN(function_rows),
    .check = check_function,
};
