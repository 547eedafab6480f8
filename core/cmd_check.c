/* `baetyl check` and `baetyl config`: load the configuration as `start` does, start
 * nothing. `check` looks at the files that it names, too. Failure modes: a wrong
 * configuration: every message on standard error, exit 1.
 */
#include <stdio.h>
#include <unistd.h>

#include "core/app_conf.h"
#include "core/cli.h"
#include "core/error.h"

struct options {
    const char *workdir, *config;
    bool markdown;
};

static const struct bt_cli_opt opts[] = {
    BT_CLI_OPT(struct options, "workdir", 'w', STRING, workdir, "DIR",
               "Working directory; the default is the current one."),
    BT_CLI_OPT(struct options, "config", 'c', STRING, config, "FILE",
               "Configuration, relative to the working directory."),
    BT_CLI_OPT(struct options, "markdown", 0, FLAG, markdown, NULL,
               "Describe all options as Markdown (docs/config.md)."),
};
static const struct bt_cli_usage check_usage = {
    .name = "check",
    .args = "",
    .about =
        "Check the configuration and the files it names. Prints OK! and exits 0, or\n"
        "prints everything that is wrong, with file, line and column, and exits 1.",
    .opts = opts,
    .n_opts = BT_ARRAY_LEN(opts) - 1,
};
static const struct bt_cli_usage config_usage = {
    .name = "config",
    .args = "",
    .about = "Print the effective configuration, defaults included, without secrets.",
    .opts = opts,
    .n_opts = BT_ARRAY_LEN(opts),
};

/* A negative result is one of bt_cli_parse; the options are then of no use. */
static int parse(const struct bt_cli_usage *usage, int argc, char **argv,
                 struct options *o)
{
    int first = bt_cli_parse(usage, argc, argv, o);

    if (first < 0 || first == argc)
        return first;
    bt_cli_complain(usage, "unexpected \"%s\"", argv[first]);
    return BT_CLI_BAD;
}

/* NULL after saying what is wrong. */
static struct bt_app *load(const struct options *o, bool files)
{
    struct bt_app *app = NULL;
    int r;

    if (o->workdir != NULL && chdir(o->workdir) != 0) {
        perror(o->workdir);
        return NULL;
    }
    r = bt_app_load(&bt_app_modules, bt_app_find_file(o->config), 0, &app);
    if (r == 0 && files)
        r = bt_app_check_files(app);
    if (app != NULL)
        fputs(bt_conf_messages(app->ctx), stderr);
    else
        fprintf(stderr, "baetyl: %s\n", bt_error_text(r));
    if (r == 0)
        return app;
    bt_app_free(app);
    return NULL;
}

static int print(int r, struct bt_buf *text)
{
    if (r == 0 && fwrite(text->data, 1, text->len, stdout) != text->len)
        r = BT_EIO;
    bt_buf_deinit(text);
    if (r != 0)
        fprintf(stderr, "baetyl: %s\n", bt_error_text(r));
    return r == 0 ? BT_CLI_OK : BT_CLI_FAILED;
}

int bt_cmd_check(int argc, char **argv)
{
    struct options o = { 0 };
    struct bt_buf text = { 0 };
    int first = parse(&check_usage, argc, argv, &o), r;
    struct bt_app *app;

    if (first < 0)
        return bt_cli_status(first);
    app = load(&o, true);
    if (app == NULL)
        return BT_CLI_FAILED;
    r = bt_app_print_services(app, &text);
    bt_app_free(app);
    if (r == 0)
        r = bt_buf_append_str(&text, "OK!\n");
    return print(r, &text);
}
int bt_cmd_config(int argc, char **argv)
{
    struct options o = { 0 };
    struct bt_buf text = { 0 };
    int first = parse(&config_usage, argc, argv, &o), r;
    struct bt_app *app;

    if (first < 0)
        return bt_cli_status(first);
    if (o.markdown)
        return print(bt_app_markdown(&bt_app_modules, &text), &text);
    app = load(&o, false);
    if (app == NULL)
        return BT_CLI_FAILED;
    r = bt_app_print(app, &text);
    bt_app_free(app);
    return print(r, &text);
}
