/* A function of the function manager's file names a service; the service's image is the
 * runtime, and the service's own file has the handler and the code folder under the
 * function's name. Joined here: keys that the function manager's file has itself stay, so
 * a user can write another `runtime` there.
 *
 * Failure modes: a service that is not there, or a runtime's file without the function:
 * errors with the places of both. An image that is no runtime is a warning, and the
 * function manager says of that function that it cannot run. */
#include <string.h>

#include "core/app_tree.h"
#include "core/error.h"

static const char *text_of(const struct bt_yaml_node *map, const char *key)
{
    const struct bt_yaml_node *node = bt_yaml_get(map, key);

    return node != NULL && node->kind == BT_YAML_SCALAR ? node->text : NULL;
}

/* Move every key that the function does not have. */
static int take_over(struct bt_yaml *doc, struct bt_yaml_node *function,
                     struct bt_yaml_node *own)
{
    struct bt_yaml_node *next;
    int r = 0;

    for (struct bt_yaml_node *c = own->first; r == 0 && c != NULL; c = next) {
        next = c->next;
        if (bt_yaml_get(function, c->key) != NULL)
            continue;
        bt_yaml_take(own, c->key);
        r = bt_yaml_put(doc, function, c->key, c);
    }
    return r;
}

/* The item of the runtime's file with this name, or NULL. */
static struct bt_yaml_node *find_own(const struct bt_app_part *part, const char *name)
{
    const struct bt_yaml_node *list = bt_yaml_get(bt_yaml_root(part->doc), "functions");

    if (list == NULL || list->kind != BT_YAML_LIST)
        return NULL;
    for (struct bt_yaml_node *c = list->first; c != NULL; c = c->next) {
        const char *own = c->kind == BT_YAML_MAP ? text_of(c, "name") : NULL;

        if (own != NULL && strcmp(own, name) == 0)
            return c;
    }
    return NULL;
}

static int append_variable(struct bt_yaml *doc, struct bt_yaml_node *list,
                           const char *name, const char *value)
{
    struct bt_buf text bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_yaml_node *item;

    if (bt_buf_printf(&text, "%s%s", name, value) != 0 || bt_buf_append_u8(&text, 0) != 0)
        return BT_ENOMEM;
    item = bt_yaml_new_text(doc, (const char *)text.data, list->pos);
    if (item == NULL)
        return BT_ENOMEM;
    bt_yaml_append(list, item);
    return 0;
}

/* The environment of the service, behind what the function has itself. */
static int add_env(struct bt_yaml *doc, struct bt_yaml_node *function,
                   const struct bt_app_part *part)
{
    const struct bt_app_service *s = part->view.service;
    struct bt_yaml_node *env = bt_yaml_get(function, "env");
    struct bt_yaml_node *at = bt_yaml_get(function, "service");

    if (env == NULL) {
        env = bt_yaml_new_list(doc, at->pos);
        if (env == NULL || bt_yaml_put(doc, function, "env", env) != 0)
            return BT_ENOMEM;
    }
    if (env->kind != BT_YAML_LIST)
        return 0;
    if (append_variable(doc, env, "BAETYL_SERVICE_NAME=", s->name) != 0 ||
        append_variable(doc, env, "BAETYL_SERVICE_MODE=",
                        part->view.docker ? "docker" : "native") != 0)
        return BT_ENOMEM;
    for (size_t i = 0; i < s->env.n; i++) {
        if (append_variable(doc, env, "", s->env.items[i]) != 0)
            return BT_ENOMEM;
    }
    return 0;
}

/* The service's limits, unless the function has its own. */
static int add_limits(struct bt_yaml *doc, struct bt_yaml_node *function,
                      const struct bt_app_service *s)
{
    const struct bt_yaml_node *at = bt_yaml_get(function, "service");
    const struct {
        const char *key, *value;
    } limits[] = { { "memory", s->memory }, { "cpu", s->cpus }, { "pids", s->pids } };
    struct bt_yaml_node *map = bt_yaml_new_map(doc, at->pos), *node;
    int r = map != NULL ? 0 : BT_ENOMEM;

    if (bt_yaml_get(function, "limits") != NULL)
        return 0;
    for (size_t i = 0; r == 0 && i < BT_ARRAY_LEN(limits); i++) {
        if (limits[i].value == NULL || strcmp(limits[i].value, "0") == 0)
            continue;
        node = bt_yaml_new_text(doc, limits[i].value, at->pos);
        r = node != NULL ? bt_yaml_put(doc, map, limits[i].key, node) : BT_ENOMEM;
    }
    return r != 0 || map->n == 0 ? r : bt_yaml_put(doc, function, "limits", map);
}

/* Instances run where the service would have run. */
static int put_folder(struct bt_yaml *doc, struct bt_yaml_node *function,
                      const struct bt_app_service *s)
{
    const struct bt_yaml_node *at = bt_yaml_get(function, "service");
    char folder[BT_APP_FOLDER_MAX];
    struct bt_yaml_node *node;

    if (bt_yaml_get(function, "workdir") != NULL)
        return 0;
    bt_app_tree_folder(s, folder);
    node = bt_yaml_new_text(doc, folder, at->pos);
    return node != NULL ? bt_yaml_put(doc, function, "workdir", node) : BT_ENOMEM;
}

static int put_runtime(struct bt_yaml *doc, struct bt_yaml_node *function,
                       const struct bt_app_service *s)
{
    const struct bt_yaml_node *at = bt_yaml_get(function, "service");
    bool ours = s->kind != NULL && s->kind->kind == BT_APP_IMAGE_RUNTIME;
    struct bt_yaml_node *node;

    if (bt_yaml_get(function, "runtime") != NULL)
        return 0;
    node = bt_yaml_new_text(doc, ours ? s->kind->name : s->image, at->pos);
    return node != NULL ? bt_yaml_put(doc, function, "runtime", node) : BT_ENOMEM;
}

static int join(struct bt_app_tree *tree, struct bt_yaml_node *function,
                struct bt_app_part *part)
{
    const struct bt_yaml_node *at = bt_yaml_get(function, "service");
    const char *name = text_of(function, "name");
    struct bt_yaml_node *own;
    int r = bt_app_part_read(tree, part);

    if (r != 0)
        return r;
    own = find_own(part, name);
    if (own == NULL) {
        bt_conf_report(tree->ctx, true, at->pos,
                       "the service \"%s\" has no function \"%s\": add {name: %s, "
                       "handler: ..., codedir: ...} to `functions` in %.200s",
                       at->text, name, name, part->file);
        return BT_ECONF;
    }
    r = take_over(part->doc, function, own);
    if (r == 0)
        r = put_runtime(part->doc, function, part->view.service);
    if (r == 0)
        r = add_limits(part->doc, function, part->view.service);
    if (r == 0)
        r = put_folder(part->doc, function, part->view.service);
    return r != 0 ? r : add_env(part->doc, function, part);
}

static int join_one(struct bt_app_tree *tree, struct bt_yaml_node *function)
{
    const struct bt_yaml_node *at;
    const char *service, *name;
    struct bt_app_part *part;

    if (function->kind != BT_YAML_MAP)
        return 0;
    service = text_of(function, "service");
    name = text_of(function, "name");
    if (service == NULL || name == NULL)
        return 0; /* a function with everything in this file, or a required key missing */
    at = bt_yaml_get(function, "service");
    part = bt_app_tree_part(tree, service);
    if (part != NULL)
        return join(tree, function, part);
    bt_conf_report(tree->ctx, true, at->pos,
                   "functions: the function \"%s\" runs in the service \"%.100s\", and "
                   "there is none of this name in %s",
                   name, service, tree->file);
    return BT_ECONF;
}

/* ---- The hub ---- */

/* The name of a service is the name of its host: when it is the hub's of this process,
 * the address becomes one that is always this process's. */
static int localize(struct bt_app_tree *tree, struct bt_yaml *doc,
                    struct bt_yaml_node *map, const char *key)
{
    struct bt_yaml_node *node = bt_yaml_get(map, key), *local;
    const struct bt_app_service *s;
    const char *host;

    if (node == NULL || node->kind != BT_YAML_SCALAR)
        return 0;
    host = strstr(node->text, "://");
    if (host == NULL)
        return 0;
    s = bt_app_services_find(&tree->app, host + 3, strcspn(host + 3, ":/"));
    if (s == NULL || s->kind == NULL || s->kind->name == NULL ||
        strcmp(s->kind->name, "hub") != 0)
        return 0;
    local = bt_yaml_new_text(doc, "tcp://localhub:1883", node->pos);
    if (local == NULL)
        return BT_ENOMEM;
    local->key_pos = node->key_pos;
    bt_yaml_take(map, key);
    return bt_yaml_put(doc, map, key, local);
}

static int localize_hub(struct bt_app_tree *tree, struct bt_yaml *doc,
                        struct bt_yaml_node *map)
{
    int r;

    if (map->kind != BT_YAML_MAP)
        return 0;
    r = localize(tree, doc, map, "hub.address");
    if (r == 0 && bt_yaml_get(map, "hub") != NULL)
        r = localize(tree, doc, bt_yaml_get(map, "hub"), "address");
    return r;
}

static int localize_hubs(struct bt_app_tree *tree, struct bt_yaml *doc,
                         struct bt_yaml_node *section)
{
    const struct bt_yaml_node *rules = bt_yaml_get(section, "rules");
    int r = localize_hub(tree, doc, section);

    if (rules == NULL || rules->kind != BT_YAML_LIST)
        return r;
    for (struct bt_yaml_node *c = rules->first; r == 0 && c != NULL; c = c->next)
        r = localize_hub(tree, doc, c);
    return r;
}

int bt_app_tree_functions(struct bt_app_tree *tree, const struct bt_app_part *manager,
                          struct bt_yaml_node *section)
{
    struct bt_yaml_node *list = bt_yaml_get(section, "functions");
    int r = localize_hubs(tree, manager->doc, section);

    if (r != 0)
        return r;
    if (list == NULL || list->kind != BT_YAML_LIST)
        return 0;
    for (struct bt_yaml_node *c = list->first; c != NULL; c = c->next) {
        int one = join_one(tree, c);

        if (one != 0 && one != BT_ECONF)
            return one;
        r = one != 0 ? one : r;
    }
    return r;
}
