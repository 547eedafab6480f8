/* Reload on SIGHUP. The file is read and checked as at the start, by the same tables,
 * into memory of its own; modules take references on it, so it is freed with the last of
 * them. Failure modes: any error in the file: each message becomes a line of the log, the
 * old configuration stays. */
#include "core/app_reload.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"

static void reopen_log(const struct bt_app *app)
{
    struct bt_log_conf conf = bt_app_log_conf(app);

    if (bt_log_open(&conf) == 0)
        bt_log(BT_LOG_INFO, "CORE-HUP", "log opened again", "file=%s",
               conf.path != NULL ? conf.path : "-");
}

/* The messages of the file, one line of the log each. */
static void tell(const char *messages, bool wrong)
{
    while (*messages != '\0') {
        size_t n = strcspn(messages, "\n");
        char line[1024];

        (void)snprintf(line, sizeof(line), "%.*s", (int)BT_MIN(n, sizeof(line) - 1),
                       messages);
        bt_log(wrong ? BT_LOG_ERROR : BT_LOG_WARN, "CORE-CONF",
               "the configuration file says", "at=" BT_LOG_Q, line);
        messages += n + (messages[n] == '\n');
    }
}

static void needs_restart(void *arg, const char *key, const struct bt_conf_row *row)
{
    const char *section = arg;

    (void)row;
    bt_log(BT_LOG_WARN, "CORE-RESTART", "a changed key needs a restart", "key=%s.%s",
           section, key);
}

static void reload_module(const struct bt_app_run *run, const struct bt_app *app,
                          size_t i)
{
    const struct bt_app_module *m = &app->modules->items[i];
    const void *before = run->first->sections[i], *after = app->sections[i];
    const struct bt_conf_diff d = { needs_restart, (void *)(uintptr_t)m->section };

    if (before == NULL || after == NULL) {
        if (before != after)
            bt_log(BT_LOG_WARN, "CORE-RESTART", "a changed key needs a restart", "key=%s",
                   m->section);
        return;
    }
    if (bt_super_reload(run->super, m->ops, after, app->ctx) == BT_SUPER_NO_RELOAD)
        bt_conf_each_change(m->table, before, after, &d);
}

void bt_app_reload(struct bt_app_run *run)
{
    struct bt_app *app = NULL;
    int r = run->file == NULL
                ? BT_EINVAL
                : bt_app_load(run->first->modules, run->file, run->chosen, &app);

    if (r != 0) {
        reopen_log(run->first);
        if (app != NULL)
            tell(bt_conf_messages(app->ctx), true);
        if (run->file != NULL)
            bt_log(BT_LOG_ERROR, "CORE-RELOAD",
                   "the new configuration is wrong; the old one stays", "file=" BT_LOG_Q,
                   run->file);
        bt_app_free(app);
        return;
    }
    reopen_log(app);
    tell(bt_conf_messages(app->ctx), false);
    bt_app_prepare(app);
    for (size_t i = 0; i < app->modules->n; i++)
        reload_module(run, app, i);
    bt_log(BT_LOG_INFO, "CORE-RELOAD", "configuration taken over", "file=" BT_LOG_Q,
           run->file);
    bt_app_free(app);
}
