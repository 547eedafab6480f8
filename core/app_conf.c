/* One file for the whole process. The table of its top level is made at run time, out of
 * our own rows and one section for each module that runs; all structs lie in one block.
 *
 * Happy path: read, put a module's own service.yml under that module's section, see which
 * sections are there, apply the table. Failure modes: those of core/conf.h, and a file
 * that gives nothing to run. Sections of parts that are not built yet are warned about.
 */
#include "core/app_conf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/app_tree.h"
#include "core/conf_priv.h"
#include "core/error.h"
#include "core/mem.h"

static const char *const level_names[] = { "error", "warn", "info", "debug", NULL };
static const char *const format_names[] = { "text", "json", NULL };

/* clang-format off */
static const struct bt_conf_row logger_rows[] = {
    BT_CONF_ROW(struct bt_app_logger, "path", STRING, path, NULL,
                "File to append to; without it lines go to standard error only.",
                .flags = BT_CONF_PATH),
    BT_CONF_ROW(struct bt_app_logger, "level", ENUM, level, "info",
                "Least important level that is written.", .choices = level_names),
    BT_CONF_ROW(struct bt_app_logger, "format", ENUM, format, "text",
                "Form of a line.", .choices = format_names),
    BT_CONF_ROW(struct bt_app_logger, "age.max", U32, age_days, "15",
                "Days that rotated files are kept.", .min = 1, .max = 36500,
                .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct bt_app_logger, "size.max", U32, size_mb, "50",
                "Megabytes at which the file is rotated.", .min = 1, .max = 1048576,
                .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct bt_app_logger, "backup.max", U32, backup_count, "15",
                "Rotated files that are kept.", .min = 1, .max = 10000,
                .flags = BT_CONF_ZERO),
};
static const struct bt_conf_table logger_table = {
    "logger", "The log.", sizeof(struct bt_app_logger), logger_rows,
    BT_ARRAY_LEN(logger_rows), NULL,
};
static const struct bt_conf_row app_rows[] = {
    BT_CONF_SECTION_ROW(struct bt_app_conf, "logger", logger, &logger_table, "The log."),
    BT_CONF_ROW(struct bt_app_conf, "grace", MS, grace, "30s",
                "Time that all modules have together to stop.", .min = 1, .max = 3600000),
    BT_CONF_ROW(struct bt_app_conf, "api.socket", STRING, api_socket, BT_API_SOCKET,
                "Path of the control socket (docs/api.md); empty for none.", .max = 107),
};
static const struct bt_conf_table app_table = {
    "Top level",
    "Keys of the file beside the sections of the modules.",
    sizeof(struct bt_app_conf), app_rows, BT_ARRAY_LEN(app_rows), NULL,
};
/* clang-format on */

static const char *const not_yet[] = { "bridge", "agent", "services" };

#define BUILT_IN "built-in configuration"
static const char built_in[] = "hub:\n"
                               "  listen: ['tcp://127.0.0.1:1883']\n"
                               "  anonymous: true\n";

/* ---- which modules ---- */

static int find_module(const struct bt_app_modules *modules, const char *name, size_t n)
{
    for (size_t i = 0; i < modules->n; i++) {
        const char *have = modules->items[i].ops->name;

        if (strlen(have) == n && strncmp(have, name, n) == 0)
            return (int)i;
    }
    return -1;
}

int bt_app_select(const struct bt_app_modules *modules, const char *names,
                  unsigned *chosen, char bad[64])
{
    *chosen = 0;
    if (names == NULL || *names == '\0')
        return 0;
    for (const char *at = names;; at++) {
        size_t n = strcspn(at, ",");
        int i = find_module(modules, at, n);

        if (i < 0) {
            snprintf(bad, 64, "%.*s", (int)BT_MIN(n, 60), at);
            return BT_EINVAL;
        }
        *chosen |= 1u << i;
        at += n;
        if (*at == '\0')
            return 0;
    }
}

static unsigned sections_given(const struct bt_app_modules *modules,
                               const struct bt_yaml_node *root)
{
    unsigned given = 0;

    for (size_t i = 0; i < modules->n; i++)
        given |= (unsigned)bt_yaml_has(root, modules->items[i].section) << i;
    return given;
}

/* ---- a module's own service.yml ---- */

static bool is_own_file(const struct bt_app_module *m, const struct bt_yaml_node *root)
{
    const struct bt_yaml_node *section = bt_yaml_get(root, m->section);

    if (section != NULL && section->kind == BT_YAML_MAP)
        return false;
    for (const struct bt_app_mark *k = m->marks; k != NULL && k->key != NULL; k++) {
        const struct bt_yaml_node *node = bt_yaml_get(root, k->key);

        if (k->only_list ? node != NULL && node->kind == BT_YAML_LIST
                         : bt_yaml_has(root, k->key))
            return true;
    }
    return false;
}

static bool is_ours(const char *key)
{
    size_t n = strcspn(key, ".");

    for (size_t i = 0; i < BT_ARRAY_LEN(app_rows); i++) {
        if (strlen(app_rows[i].key) == n && strncmp(app_rows[i].key, key, n) == 0)
            return true;
    }
    return false;
}

/* {logger: L, x: X} becomes {logger: L, section: {x: X}}. */
static int wrap(struct bt_yaml *doc, const char *section)
{
    struct bt_yaml_node *inner = bt_yaml_root(doc), *c, *next;
    struct bt_yaml_node *outer = bt_yaml_new_map(doc, inner->pos);
    int r = outer != NULL ? 0 : BT_ENOMEM;

    for (c = inner->first; r == 0 && c != NULL; c = next) {
        next = c->next;
        if (is_ours(c->key)) {
            bt_yaml_take(inner, c->key);
            r = bt_yaml_put(doc, outer, c->key, c);
        }
    }
    if (r != 0)
        return r;
    inner->key_pos = inner->pos;
    bt_yaml_set_root(doc, outer);
    return bt_yaml_put(doc, outer, section, inner);
}

static int wrap_own_file(const struct bt_app_modules *modules, struct bt_yaml *doc)
{
    for (size_t i = 0; i < modules->n; i++) {
        if (is_own_file(&modules->items[i], bt_yaml_root(doc)))
            return wrap(doc, modules->items[i].section);
    }
    return 0;
}

static void warn_not_yet(struct bt_conf_ctx *ctx, struct bt_yaml_node *root)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(not_yet); i++) {
        const struct bt_yaml_node *node = bt_yaml_take(root, not_yet[i]);

        if (node != NULL)
            bt_conf_report(
                ctx, false, node->key_pos,
                "%s: not available yet in this version; the section is not used",
                not_yet[i]);
    }
}

/* The original's conf.yml or application.yml. */
static bool is_of_master(const struct bt_yaml_node *root)
{
    static const char *const keys[] = { "mode", "server", "services", "volumes" };
    bool found = false;

    for (size_t i = 0; i < BT_ARRAY_LEN(keys); i++)
        found |= bt_yaml_has(root, keys[i]);
    return found;
}

static void report_nothing(struct bt_conf_ctx *ctx, bool of_master)
{
    bt_conf_report(ctx, true, (struct bt_yaml_pos){ .line = 1, .column = 1 },
                   "nothing to run: expected a section hub: or functions:%s",
                   of_master ? ", or services that are modules of this program in "
                               "`services` or " BT_APP_APPLICATION
                             : "");
}

/* ---- the table of this process ---- */

static size_t align(size_t n)
{
    return (n + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) *
           _Alignof(max_align_t);
}

static int make_table(struct bt_app *app, unsigned run)
{
    size_t size = align(app_table.size), n = app_table.n_rows;
    size_t offsets[BT_APP_MAX_MODULES] = { 0 };
    struct bt_conf_table *table = bt_conf_alloc(app->ctx, sizeof(*table));
    struct bt_conf_row *rows =
        bt_conf_alloc(app->ctx, (n + app->modules->n) * sizeof(*rows));

    if (table == NULL || rows == NULL)
        return BT_ENOMEM;
    memcpy(rows, app_rows, sizeof(app_rows));
    for (size_t i = 0; i < app->modules->n; i++) {
        const struct bt_app_module *m = &app->modules->items[i];

        if ((run & 1u << i) == 0)
            continue;
        offsets[i] = size;
        rows[n++] = (struct bt_conf_row){
            .key = m->section, .kind = BT_CONF_SECTION, .offset = size, .sub = m->table
        };
        size += align(m->table->size);
    }
    *table =
        (struct bt_conf_table){ .name = "", .size = size, .rows = rows, .n_rows = n };
    app->table = table;
    app->conf = bt_conf_alloc(app->ctx, size);
    if (app->conf == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < app->modules->n; i++) {
        if (offsets[i] != 0)
            app->sections[i] = (char *)app->conf + offsets[i];
    }
    return 0;
}

/* The files of the original's master, when it is those. */
static int join_tree(struct bt_app *app, struct bt_yaml **doc, unsigned chosen)
{
    struct bt_yaml_node *root = bt_yaml_root(*doc);

    if (chosen != 0 && root == NULL)
        return 0;
    if (root != NULL && root->kind == BT_YAML_MAP &&
        sections_given(app->modules, root) != 0)
        return 0;
    return bt_app_tree_is(root)
               ? bt_app_tree_load(app->ctx, app->modules, doc, &app->tree)
               : 0;
}

/* A section that was given but not chosen is checked all the same. */
static int apply(struct bt_app *app, struct bt_yaml *doc, unsigned chosen)
{
    struct bt_yaml_node *root = bt_yaml_root(doc);
    unsigned given = 0;
    bool of_master = root != NULL && root->kind == BT_YAML_MAP && is_of_master(root);
    int r = 0;

    if (root != NULL && root->kind == BT_YAML_MAP)
        r = wrap_own_file(app->modules, doc);
    if (r == 0)
        r = join_tree(app, &doc, chosen);
    if (r != 0)
        return r;
    root = bt_yaml_root(doc);
    if (root != NULL && root->kind == BT_YAML_MAP) {
        warn_not_yet(app->ctx, root);
        given = sections_given(app->modules, root);
    }
    r = make_table(app, given | chosen);
    if (r == 0)
        r = bt_conf_apply(app->ctx, doc, app->table, app->conf);
    if (r == 0 && (given | chosen) == 0) {
        report_nothing(app->ctx, of_master);
        r = BT_ECONF;
    }
    for (size_t i = 0; i < app->modules->n; i++) {
        if (chosen != 0 && (chosen & 1u << i) == 0)
            app->sections[i] = NULL;
    }
    return r;
}

static int new_app(const struct bt_app_modules *modules, struct bt_app **out)
{
    struct bt_app *app = bt_calloc(1, sizeof(*app));

    if (app == NULL)
        return BT_ENOMEM;
    app->modules = modules;
    app->ctx = bt_conf_new();
    if (app->ctx == NULL) {
        bt_free(app);
        return BT_ENOMEM;
    }
    *out = app;
    return 0;
}

static int finish(struct bt_app *app, int r, struct bt_app **out)
{
    if (r != 0 && r != BT_ECONF) {
        bt_app_free(app);
        return r;
    }
    *out = app;
    return r;
}

int bt_app_load_text(const struct bt_app_modules *modules, const char *name,
                     struct bt_slice text, unsigned chosen, struct bt_app **out)
{
    struct bt_app *app = NULL;
    struct bt_yaml *doc = NULL;
    int r = new_app(modules, &app);

    if (r != 0)
        return r;
    r = bt_conf_read_text(app->ctx, name, (const char *)text.ptr, text.len, &doc);
    if (r == 0)
        r = apply(app, doc, chosen);
    return finish(app, r, out);
}

int bt_app_load(const struct bt_app_modules *modules, const char *path, unsigned chosen,
                struct bt_app **out)
{
    struct bt_slice text = { (const uint8_t *)built_in, sizeof(built_in) - 1 };
    struct bt_app *app = NULL;
    struct bt_yaml *doc = NULL;
    int r;

    if (path == NULL)
        return bt_app_load_text(modules, BUILT_IN, text, chosen, out);
    r = new_app(modules, &app);
    if (r != 0)
        return r;
    r = bt_conf_read(app->ctx, path, &doc);
    if (r == 0)
        r = apply(app, doc, chosen);
    return finish(app, r, out);
}

int bt_app_check_files(struct bt_app *app)
{
    for (size_t i = 0; i < app->modules->n; i++) {
        const struct bt_app_module *m = &app->modules->items[i];

        if (m->check_files != NULL && app->sections[i] != NULL)
            m->check_files(app->ctx, app->sections[i]);
    }
    return bt_conf_errors(app->ctx) > 0 ? BT_ECONF : 0;
}

void bt_app_prepare(const struct bt_app *app)
{
    if (app->tree != NULL)
        bt_app_tree_prepare(app->tree);
}

void bt_app_free(struct bt_app *app)
{
    if (app == NULL)
        return;
    bt_conf_free(app->ctx);
    bt_free(app);
}

const char *bt_app_find_file(const char *given)
{
    static const char *const defaults[] = {
        "baetyl.yml",          "etc/baetyl/baetyl.yml",
        "etc/baetyl/conf.yml", "etc/baetyl/service.yml",
        BT_APP_APPLICATION,
    };

    if (given != NULL)
        return given;
    for (size_t i = 0; i < BT_ARRAY_LEN(defaults); i++) {
        if (access(defaults[i], F_OK) == 0)
            return defaults[i];
    }
    return NULL;
}

void *bt_app_section(const struct bt_app *app, const char *module)
{
    int i = find_module(app->modules, module, strlen(module));

    return i >= 0 ? app->sections[i] : NULL;
}

struct bt_log_conf bt_app_log_conf(const struct bt_app *app)
{
    const struct bt_app_logger *l = &app->conf->logger;

    return (struct bt_log_conf){ .path = l->path,
                                 .level = l->level,
                                 .format = l->format,
                                 .age_days = l->age_days,
                                 .size_mb = l->size_mb,
                                 .backup_count = l->backup_count };
}

int bt_app_print(const struct bt_app *app, struct bt_buf *out)
{
    return bt_conf_print(app->table, app->conf, out);
}

int bt_app_print_services(const struct bt_app *app, struct bt_buf *out)
{
    return app->tree != NULL ? bt_app_tree_print(app->tree, out) : 0;
}

/* clang-format off */
static const char markdown_intro[] =
    "# Configuration\n"
    "\n"
    "Made by `make regen` out of the option tables; do not edit.\n"
    "\n"
    "One YAML file holds a section for each module (`hub:`, `functions:`) "
    "and the keys of\n"
    "the top level. A module's own `service.yml` is taken as it is. "
    "Without `-c` the first of\n"
    "`baetyl.yml`, `etc/baetyl/baetyl.yml`, `etc/baetyl/conf.yml` and "
    "`etc/baetyl/service.yml`\n"
    "in the working directory is read. The original's whole folder with "
    "`var/db/baetyl/application.yml`\n"
    "works, too: [migration.md](migration.md). `bridge:` and `agent:` are "
    "not available yet and are\n"
    "warned about.\n"
    "\n"
    "* A key with dots is a path through nested mappings; `a: {b: 1}` and "
    "`a.b: 1` are the\n"
    "  same.\n"
    "* Durations: `500ms`, `20s`, `1m30s`, `48h`; a number without a unit "
    "is nanoseconds.\n"
    "  Less than a millisecond counts as one.\n"
    "* Sizes: `32k`, `4m`, `1.5g`; powers of 1024; a number without a unit "
    "is bytes.\n"
    "* `{{.NAME}}` is replaced by the environment variable `NAME`; one "
    "that is not set is an\n"
    "  error. Lines of comment are left alone.\n"
    "* A key that is absent or null has its default; an explicit `0`, "
    "`false`, `\"\"` or `[]`\n"
    "  is what it says, but for the keys that say otherwise.\n"
    "* Unknown keys are warnings, everything else that is wrong is an "
    "error; all are told at\n"
    "  once, with their place.\n"
    "\n";
/* clang-format on */

int bt_app_markdown(const struct bt_app_modules *modules, struct bt_buf *out)
{
    int r = bt_buf_append_str(out, markdown_intro);

    if (r == 0)
        r = bt_conf_markdown(&app_table, out);
    for (size_t i = 0; r == 0 && i < modules->n; i++) {
        r = bt_buf_append_u8(out, '\n');
        if (r == 0)
            r = bt_conf_markdown(modules->items[i].table, out);
    }
    return r;
}
