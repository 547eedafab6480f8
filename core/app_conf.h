/* The configuration of the process: one file with a section for each module, or a
 * module's own service.yml as it is. Main thread; read-only after loading. */
#ifndef CORE_APP_CONF_H
#define CORE_APP_CONF_H

#include "core/conf.h"
#include "core/log.h"
#include "core/module.h"

#define BT_APP_MAX_MODULES 8u
/* Where the control socket is by default. */
#define BT_API_SOCKET "var/run/baetyl.sock"

/* A top-level key by which a module's own service.yml is recognised. */
struct bt_app_mark {
    const char *key;
    bool only_list; /* counts only when its value is a list */
};

/* One row of the table in core/main.c, in start order. */
struct bt_app_module {
    const struct bt_module_ops *ops;
    const struct bt_conf_table *table;
    const char *section;             /* key in the file: "functions" */
    const struct bt_app_mark *marks; /* up to a NULL key */
    /* For `baetyl check`: what only the file system can tell of a section that is right
     * by itself. NULL: nothing. */
    void (*check_files)(struct bt_conf_ctx *ctx, const void *section);
};
struct bt_app_modules {
    const struct bt_app_module *items;
    size_t n; /* at most BT_APP_MAX_MODULES */
};
extern const struct bt_app_modules bt_app_modules; /* core/main.c */

struct bt_app_logger {
    char *path;
    uint32_t level, format, age_days, size_mb, backup_count;
};
struct bt_app_conf {
    struct bt_app_logger logger;
    int64_t grace;    /* ms */
    char *api_socket; /* path; "" = none */
};

struct bt_app_tree;
struct bt_app {
    struct bt_conf_ctx *ctx;
    const struct bt_app_modules *modules;
    struct bt_app_conf *conf;
    void *
        sections[BT_APP_MAX_MODULES]; /* NULL: the module does not run; else its struct */
    const struct bt_conf_table *table; /* of conf and the sections together */
    struct bt_app_tree *tree;          /* of the original's files; NULL: not from those */
};

/* Choose modules by their names, "hub,funcmgr". NULL or "" chooses what the file has a
 * section for. 0 and a bit for each module, or BT_EINVAL with the bad name in `bad`. */
int bt_app_select(const struct bt_app_modules *modules, const char *names,
                  unsigned *chosen, char bad[64]) BT_MUST_CHECK;
/* The file to read in the working directory: `given`, else the first default that is
 * there, else NULL. */
const char *bt_app_find_file(const char *given);
/* Read a file; path NULL: the built-in configuration. *out is set (and owned by the
 * caller) also with BT_ECONF, for its messages. 0, BT_ECONF, BT_ENOMEM. */
int bt_app_load(const struct bt_app_modules *modules, const char *path, unsigned chosen,
                struct bt_app **out) BT_MUST_CHECK;
int bt_app_load_text(const struct bt_app_modules *modules, const char *name,
                     struct bt_slice text, unsigned chosen,
                     struct bt_app **out) BT_MUST_CHECK;
/* Has the modules look at the files that the configuration names. 0, or BT_ECONF after
 * adding to the messages. */
int bt_app_check_files(struct bt_app *app) BT_MUST_CHECK;
/* Make the folders that the configuration needs, which only a start does. */
void bt_app_prepare(const struct bt_app *app);
void bt_app_free(struct bt_app *app); /* NULL is fine */
/* The section of a module by its name, or NULL. */
void *bt_app_section(const struct bt_app *app, const char *module);
/* Borrows from app. */
struct bt_log_conf bt_app_log_conf(const struct bt_app *app);
int bt_app_print(const struct bt_app *app, struct bt_buf *out) BT_MUST_CHECK;
/* What the services of the original's application.yml are here, a line each; nothing for
 * another configuration. */
int bt_app_print_services(const struct bt_app *app, struct bt_buf *out) BT_MUST_CHECK;
/* docs/config.md. */
int bt_app_markdown(const struct bt_app_modules *modules,
                    struct bt_buf *out) BT_MUST_CHECK;

#endif
