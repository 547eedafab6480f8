/* `baetyl start`: run the modules of the configuration until a signal.
 *
 * Happy path: enter the working directory, read the configuration, open the log, take the
 * directory's lock, hand the modules to the supervisor. Failure modes: a wrong
 * configuration starts nothing (every message on standard error, exit 1); a directory in
 * use is exit 4; a module that cannot start is told by the supervisor, which stops those
 * that did. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/api.h"
#include "core/app_conf.h"
#include "core/app_reload.h"
#include "core/cli.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/lock.h"
#include "core/log.h"
#include "core/super.h"
#include "hub/hub.h"

_Static_assert((int)BT_EXIT_OK == (int)BT_CLI_OK, "exit statuses are one list");
_Static_assert((int)BT_EXIT_FAILED == (int)BT_CLI_FAILED, "exit statuses are one list");
_Static_assert((int)BT_EXIT_FORCED == (int)BT_CLI_FORCED, "exit statuses are one list");

#define MAX_RESTARTS 3u /* in RESTARTS_MS */
#define RESTARTS_MS  600000u

struct options {
    const char *workdir, *config, *modules, *ports_file;
    bool foreground;
};

static const struct bt_cli_opt opts[] = {
    BT_CLI_OPT(struct options, "workdir", 'w', STRING, workdir, "DIR",
               "Working directory; the default is the current one."),
    BT_CLI_OPT(struct options, "config", 'c', STRING, config, "FILE",
               "Configuration, relative to the working directory."),
    BT_CLI_OPT(struct options, "modules", 0, STRING, modules, "LIST",
               "Run these only, for example hub,funcmgr."),
    BT_CLI_OPT(struct options, "ports-file", 0, STRING, ports_file, "FILE",
               "Write the addresses the hub listens on there, one a line."),
    BT_CLI_OPT(struct options, "foreground", 'f', FLAG, foreground, NULL, NULL),
};
static const struct bt_cli_usage usage = {
    .name = "start",
    .args = "",
    .about =
        "Run the modules that the configuration has a section for, in the foreground,\n"
        "until SIGTERM or SIGINT; a second one forces the end. Without -c the first\n"
        "of baetyl.yml and, in etc/baetyl, baetyl.yml, conf.yml and service.yml in the\n"
        "working directory is read, and with a conf.yml of the original's master the\n"
        "services of var/db/baetyl/application.yml; without any a hub listens on\n"
        "tcp://127.0.0.1:1883. SIGHUP opens the log file again and takes over a\n"
        "changed configuration.",
    .opts = opts,
    .n_opts = BT_ARRAY_LEN(opts),
};

static int enter(const char *dir, char out[PATH_MAX])
{
    if (dir != NULL && chdir(dir) != 0) {
        perror(dir);
        return BT_CLI_FAILED;
    }
    if (getcwd(out, PATH_MAX) == NULL) {
        perror("working directory");
        return BT_CLI_FAILED;
    }
    return BT_CLI_OK;
}

/* NULL after saying what is wrong. */
static struct bt_app *load(const char *path, unsigned chosen)
{
    struct bt_app *app = NULL;
    int r;

    if (path == NULL)
        fputs("baetyl: no configuration found; running a hub on tcp://127.0.0.1:1883 "
              "for local use\n",
              stderr);
    r = bt_app_load(&bt_app_modules, path, chosen, &app);
    if (app != NULL)
        fputs(bt_conf_messages(app->ctx), stderr);
    if (r == 0)
        return app;
    fprintf(stderr, "baetyl: not started: %s\n", bt_error_text(r));
    bt_app_free(app);
    return NULL;
}

static void on_hup(void *arg)
{
    bt_app_reload(arg);
}

/* Modules run without a control socket, too: what stands in its way is logged. */
static struct bt_api *open_api(const struct bt_app *app, struct bt_super *super)
{
    const char *path = app->conf->api_socket;
    struct bt_api *api = NULL;

    if (path != NULL && path[0] != '\0' &&
        bt_api_new(bt_super_loop(super), path, &api) == 0 && bt_api_add_core(api) != 0) {
        bt_api_free(api);
        api = NULL;
    }
    bt_super_api(super, api);
    return api;
}

static int run_modules(struct bt_app_run *run, const char *work_dir)
{
    struct bt_app *app = run->first;
    struct bt_super_opts super_opts = { .work_dir = work_dir,
                                        .grace_ms = (uint32_t)app->conf->grace,
                                        .on_hup = on_hup,
                                        .arg = run };
    struct bt_super *super = bt_super_new(&super_opts);
    int r = super != NULL ? 0 : BT_ENOMEM;

    run->super = super;

    for (size_t i = 0; r == 0 && i < app->modules->n; i++) {
        if (app->sections[i] != NULL)
            r = bt_super_add(super, app->modules->items[i].ops, app->sections[i]);
    }
    if (r == 0) {
        struct bt_api *api = open_api(app, super);

        r = bt_super_run(super);
        if (r != BT_EXIT_FORCED) /* else modules may still hold requests */
            bt_api_free(api);
    } else {
        r = BT_CLI_FAILED;
    }
    bt_super_free(super);
    return r;
}

static int run_locked(struct bt_app_run *run, const char *work_dir)
{
    struct bt_log_conf log_conf = bt_app_log_conf(run->first);
    struct bt_lock lock;
    int r = bt_lock_take(&lock, work_dir);

    if (r == BT_EBUSY) {
        fprintf(stderr, "baetyl: already running in %s (process %ld)\n", work_dir,
                (long)lock.holder);
        return BT_CLI_BUSY;
    }
    if (r != 0)
        return BT_CLI_FAILED;
    r = bt_log_open(&log_conf);
    if (r == 0) {
        bt_app_prepare(run->first);
        r = run_modules(run, work_dir);
    } else {
        r = BT_CLI_FAILED;
    }
    bt_lock_drop(&lock);
    return r;
}

/* The configuration of the next start: the file as it is now, if it is right. */
static void read_again(struct bt_app_run *run)
{
    struct hub_conf *before = bt_app_section(run->first, "hub"), *after;
    struct bt_app *app = NULL;

    if (run->file != NULL &&
        bt_app_load(run->first->modules, run->file, run->chosen, &app) == 0) {
        after = bt_app_section(app, "hub");
        if (before != NULL && after != NULL)
            after->ports_file = before->ports_file;
        bt_app_free(run->first);
        run->first = app;
    } else {
        bt_app_free(app);
    }
}

/* Runs until the modules are not to be started again. What breaks time after time is for
 * the service manager, or for people. */
static int run_repeatedly(struct bt_app_run *run, const char *work_dir)
{
    uint64_t since_ms = bt_clock_ms();
    unsigned restarts = 0;
    int r;

    while ((r = run_locked(run, work_dir)) == BT_EXIT_AGAIN) {
        if (bt_clock_ms() - since_ms > RESTARTS_MS) {
            since_ms = bt_clock_ms();
            restarts = 0;
        }
        if (++restarts > MAX_RESTARTS) {
            bt_log(BT_LOG_ERROR, "CORE-AGAIN-LIMIT", "too many new starts, ending",
                   "restarts=%u", restarts - 1);
            return BT_CLI_FAILED;
        }
        read_again(run);
    }
    return r;
}

static int start(const struct options *o, unsigned chosen)
{
    char work_dir[PATH_MAX];
    struct bt_app_run run = { .chosen = chosen };
    struct bt_app *app;
    struct hub_conf *hub;
    int r = enter(o->workdir, work_dir);

    if (r != BT_CLI_OK)
        return r;
    run.file = bt_app_find_file(o->config);
    app = run.first = load(run.file, chosen);
    if (app == NULL)
        return BT_CLI_FAILED;
    hub = bt_app_section(app, "hub");
    if (hub != NULL && o->ports_file != NULL)
        hub->ports_file = (char *)(uintptr_t)o->ports_file;
    r = run_repeatedly(&run, work_dir);
    /* After a forced stop threads still read the configuration; the process ends right
     * away. */
    if (r != BT_CLI_FORCED) {
        bt_log_close();
        bt_app_free(run.first);
    }
    return r;
}

int bt_cmd_start(int argc, char **argv)
{
    struct options o = { 0 };
    int first = bt_cli_parse(&usage, argc, argv, &o);
    unsigned chosen;
    char bad[64];

    if (first < 0)
        return bt_cli_status(first);
    if (first < argc)
        return bt_cli_complain(&usage, "unexpected \"%s\"", argv[first]);
    if (bt_app_select(&bt_app_modules, o.modules, &chosen, bad) != 0)
        return bt_cli_complain(&usage, "--modules: there is no module \"%s\"", bad);
    return start(&o, chosen);
}
