/* Happy path: read application.yml, read the service.yml of the services that are modules
 * of this process, put each under its module's section, join the functions with the
 * services of their runtimes, and hand the whole on as if it had been one file. Positions
 * say which file a key was written in, and paths are translated where a row reads them.
 *
 * Failure modes: a service that cannot be run here is a warning, its neighbours run; what
 * is wrong in a file that is used is an error with its place, as in any configuration. */
#include "core/app_tree.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"

/* ---- conf.yml ---- */

bool bt_app_tree_is(const struct bt_yaml_node *root)
{
    if (root != NULL && root->kind == BT_YAML_MAP &&
        (bt_yaml_has(root, "services") || bt_yaml_has(root, "mode")))
        return true;
    return (root == NULL || root->kind == BT_YAML_MAP) &&
           access(BT_APP_APPLICATION, F_OK) == 0;
}

static void read_mode(struct bt_app_tree *tree, struct bt_yaml_node *root)
{
    const struct bt_yaml_node *mode = bt_yaml_take(root, "mode");
    const char *text;

    if (bt_yaml_is_null(mode))
        return;
    text = mode->kind == BT_YAML_SCALAR ? mode->text : "";
    tree->docker = strcmp(text, "docker") == 0;
    if (!tree->docker && strcmp(text, "native") != 0)
        bt_conf_report(tree->ctx, true, mode->pos,
                       "mode: expected one of docker, native, found \"%.60s\"", text);
}

/* What only the master's file has: the mode counts, the rest has no meaning here. */
static void read_master(struct bt_app_tree *tree, struct bt_yaml_node *root)
{
    static const char *const dropped[] = { "otalog", "snfile", "docker" };
    const struct bt_yaml_node *server = bt_yaml_take(root, "server");

    read_mode(tree, root);
    for (size_t i = 0; i < BT_ARRAY_LEN(dropped); i++)
        bt_yaml_take(root, dropped[i]);
    if (server != NULL)
        bt_conf_report(tree->ctx, false, server->key_pos,
                       "server: the API for services is not available yet in this "
                       "version; the section is not used");
}

/* The path is one of this process, whoever's the rest of the section is. */
static int put_log_path(struct bt_yaml *doc, struct bt_yaml_node *logger)
{
    struct bt_yaml_node *path =
        bt_yaml_new_text(doc, BT_APP_MASTER_LOG, bt_yaml_root(doc)->pos);

    return path != NULL ? bt_yaml_put(doc, logger, "path", path) : BT_ENOMEM;
}

/* ---- service.yml ---- */

struct bt_app_part *bt_app_tree_part(const struct bt_app_tree *tree, const char *service)
{
    const struct bt_app_service *s =
        bt_app_services_find(&tree->app, service, strlen(service));
    const struct bt_app_service *all = tree->app.services.items;

    return s != NULL ? &tree->parts[s - all] : NULL;
}

/* The original's modules take -c FILE, too. */
static const char *file_of(const struct bt_app_service *s)
{
    for (size_t i = 0; i + 1 < s->args.n; i++) {
        if (strcmp(s->args.items[i], "-c") == 0)
            return s->args.items[i + 1];
    }
    return BT_APP_SERVICE_YML;
}

int bt_app_part_read(struct bt_app_tree *tree, struct bt_app_part *part)
{
    const struct bt_app_service *s = part->view.service;
    const char *wanted = file_of(s);
    bool mounted;
    int r;

    part->used = true;
    if (part->file != NULL)
        return part->doc != NULL ? 0 : BT_ECONF;
    part->file = bt_app_view_path(&part->view, tree->ctx, wanted, &mounted);
    if (part->file == NULL)
        return BT_ENOMEM;
    if (!mounted) {
        bt_conf_error_at(tree->ctx, s, "mounts",
                         "the service \"%s\" has no %s: mount a volume that has it",
                         s->name, wanted);
        return BT_ECONF;
    }
    if (access(part->file, R_OK) != 0) {
        bt_conf_error_at(tree->ctx, s, "mounts",
                         "%.200s, the %s of the service \"%s\", cannot be read: %s",
                         part->file, wanted, s->name, strerror(errno));
        return BT_ECONF;
    }
    part->view.root = part->root;
    tree->ctx->view = &part->view.conf;
    r = bt_conf_read(tree->ctx, part->file, &part->doc);
    tree->ctx->view = NULL;
    return r;
}

/* ---- The services ---- */

static bool is_module(const struct bt_app_tree *tree, const struct bt_app_service *s)
{
    if (s->kind == NULL || s->kind->kind != BT_APP_IMAGE_MODULE)
        return false;
    for (size_t i = 0; i < tree->modules->n; i++) {
        if (strcmp(tree->modules->items[i].section, s->kind->name) == 0)
            return true;
    }
    return false;
}

static void warn_unused(struct bt_app_tree *tree, const struct bt_app_service *s)
{
    if (s->kind != NULL && s->kind->kind == BT_APP_IMAGE_RUNTIME)
        return;
    if (s->kind == NULL)
        bt_conf_warn_at(tree->ctx, s, "image",
                        "the service \"%s\" is not run: \"%.200s\" is not built in, and "
                        "running other images is not available yet in this version",
                        s->name, s->image);
    else if (s->kind->kind == BT_APP_IMAGE_LATER || !is_module(tree, s))
        bt_conf_warn_at(tree->ctx, s, "image",
                        "the service \"%s\" is not run: the module of \"%.200s\" is not "
                        "available yet in this version",
                        s->name, s->image);
}

/* The first service of each module that is to be started. */
static struct bt_app_part *find_module_part(struct bt_app_tree *tree, const char *section)
{
    struct bt_app_part *found = NULL;

    for (size_t i = 0; i < tree->app.services.n; i++) {
        const struct bt_app_service *s = tree->parts[i].view.service;

        if (!is_module(tree, s) || strcmp(s->kind->name, section) != 0)
            continue;
        if (s->replica == 0)
            bt_conf_warn_at(tree->ctx, s, "name",
                            "the service \"%s\" is not run: its replica is 0", s->name);
        else if (found != NULL)
            bt_conf_warn_at(tree->ctx, s, "image",
                            "the service \"%s\" is not run: one process runs one %s, and "
                            "that is \"%s\"",
                            s->name, section, found->view.service->name);
        else
            found = &tree->parts[i];
    }
    return found;
}

/* The logs of all modules are one, the process's. */
static int join_logger(struct bt_app_tree *tree, struct bt_yaml *doc, size_t *n)
{
    struct bt_yaml_node *root = bt_yaml_root(doc), *logger = NULL, *one;

    *n = 0;
    for (size_t i = 0; i < tree->app.services.n; i++) {
        if (tree->parts[i].doc == NULL)
            continue;
        one = bt_yaml_take(bt_yaml_root(tree->parts[i].doc), "logger");
        if (one == NULL)
            continue;
        logger = one;
        ++*n;
    }
    if (*n != 1 || bt_yaml_has(root, "logger"))
        return 0;
    *n = 0;
    return bt_yaml_put(doc, root, "logger", logger);
}

static int finish_logger(struct bt_app_tree *tree, struct bt_yaml *doc)
{
    struct bt_yaml_node *root = bt_yaml_root(doc), *logger;
    size_t n;
    int r = join_logger(tree, doc, &n);

    logger = bt_yaml_get(root, "logger");
    if (r == 0 && logger == NULL && !bt_yaml_has(root, "logger")) {
        logger = bt_yaml_new_map(doc, root->pos);
        r = logger != NULL ? bt_yaml_put(doc, root, "logger", logger) : BT_ENOMEM;
    }
    if (r == 0 && logger != NULL && logger->kind == BT_YAML_MAP &&
        bt_yaml_get(logger, "path") == NULL)
        r = put_log_path(doc, logger);
    if (n > 0)
        bt_conf_report(tree->ctx, false, root->pos,
                       "the process has one log, that of this file; the logger of %zu %s "
                       "is not used",
                       n, n == 1 ? "service" : "services");
    return r;
}

static int add_section(struct bt_app_tree *tree, struct bt_yaml *doc, const char *section)
{
    struct bt_app_part *part = find_module_part(tree, section);
    struct bt_yaml_node *root;
    int r;

    if (part == NULL)
        return 0;
    r = bt_app_part_read(tree, part);
    if (r != 0)
        return r;
    root = bt_yaml_root(part->doc);
    if (root == NULL || root->kind != BT_YAML_MAP) {
        bt_conf_report(tree->ctx, true,
                       root != NULL ? root->pos : (struct bt_yaml_pos){ .line = 1 },
                       "the service \"%s\" needs a mapping of keys to values",
                       part->view.service->name);
        return BT_ECONF;
    }
    if (strcmp(section, "functions") == 0)
        r = bt_app_tree_functions(tree, part, root);
    else
        r = bt_app_tree_ports(tree, part, root);
    root->key_pos = root->pos;
    return r != 0 ? r : bt_yaml_put(doc, bt_yaml_root(doc), section, root);
}

static int make_parts(struct bt_app_tree *tree)
{
    const struct bt_app_service *s = tree->app.services.items;

    tree->parts =
        bt_conf_alloc(tree->ctx, (tree->app.services.n + 1) * sizeof(*tree->parts));
    if (tree->parts == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < tree->app.services.n; i++) {
        bt_app_view_init(&tree->parts[i].view, &s[i], tree->docker);
        if (s[i].kind != NULL && s[i].kind->kind == BT_APP_IMAGE_RUNTIME)
            tree->parts[i].root = tree->work_dir;
        warn_unused(tree, &s[i]);
    }
    return 0;
}

/* Errors of one service do not hide those of the next. */
static int add_sections(struct bt_app_tree *tree, struct bt_yaml *doc)
{
    int r = 0;

    for (size_t i = 0; i < tree->modules->n; i++) {
        int one = add_section(tree, doc, tree->modules->items[i].section);

        if (one != 0 && one != BT_ECONF)
            return one;
        r = one != 0 ? one : r;
    }
    return r;
}

static int read_application(struct bt_app_tree *tree, struct bt_yaml **doc,
                            struct bt_yaml **application)
{
    struct bt_yaml_node *root = bt_yaml_root(*doc);
    int r = 0;

    if (root != NULL && bt_yaml_has(root, "services")) {
        *application = *doc;
        r = bt_conf_read_text(tree->ctx, "etc/baetyl/conf.yml", "{}", 2, doc);
        tree->file = tree->ctx->sources[root->pos.source].file;
    } else {
        tree->file = BT_APP_APPLICATION;
        if (root != NULL)
            read_master(tree, root);
        else
            r = bt_conf_read_text(tree->ctx, "etc/baetyl/conf.yml", "{}", 2, doc);
        if (r == 0)
            r = bt_conf_read(tree->ctx, tree->file, application);
    }
    return r;
}

static const char *working_directory(struct bt_conf_ctx *ctx)
{
    char path[PATH_MAX];

    return bt_conf_copy(ctx, getcwd(path, sizeof(path)) != NULL ? path : ".");
}

int bt_app_tree_load(struct bt_conf_ctx *ctx, const struct bt_app_modules *modules,
                     struct bt_yaml **doc, struct bt_app_tree **out)
{
    struct bt_app_tree *tree = bt_conf_alloc(ctx, sizeof(*tree));
    struct bt_yaml *application = NULL;
    int r;

    if (tree == NULL)
        return BT_ENOMEM;
    tree->ctx = ctx;
    tree->modules = modules;
    tree->docker = true; /* the original's default */
    tree->work_dir = working_directory(ctx);
    if (tree->work_dir == NULL)
        return BT_ENOMEM;
    *out = tree;
    r = read_application(tree, doc, &application);
    if (r != 0)
        return r;
    r = bt_app_services_read(ctx, application, &tree->app);
    if (r == 0)
        r = make_parts(tree);
    if (r == 0)
        r = add_sections(tree, *doc);
    return r != 0 ? r : finish_logger(tree, *doc);
}

/* ---- For people ---- */

static int print_part(const struct bt_app_tree *tree, const struct bt_app_part *part,
                      struct bt_buf *out)
{
    const struct bt_app_service *s = part->view.service;
    int r = bt_buf_printf(out, "%s: ", s->name);

    if (r != 0)
        return r;
    if (!part->used)
        return bt_buf_printf(out, "not run (%s)\n", s->image);
    if (is_module(tree, s))
        return bt_buf_printf(out, "%s, from %s\n", s->kind->name, part->file);
    return bt_buf_printf(
        out, "runtime %s%s%s\n", s->kind != NULL ? s->kind->name : s->image,
        part->file != NULL ? ", from " : "", part->file != NULL ? part->file : "");
}

int bt_app_tree_print(const struct bt_app_tree *tree, struct bt_buf *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < tree->app.services.n; i++)
        r = print_part(tree, &tree->parts[i], out);
    return r;
}
