/* One shape for application.yml. The first form has lists whose items have names, the
 * compose-like one has mappings; environment, command and mounts have two or three
 * spellings each.
 *
 * Happy path: each service becomes an item {name, image, replica, mounts, ports, args,
 * env}, every node with the place it was written at, so that the table that reads the
 * list complains about the right line. Failure: what has no shape that is known is left
 * as it is, for the table to complain about. */
#include <string.h>

#include "core/app_services.h"
#include "core/error.h"
#include "core/mem.h"

/* Of services that run in this process. */
static const char *const meaningless[] = {
    "networks", "devices", "restart", "runtime", "depends_on", "entrypoint",
};

static int rename_key(struct bt_yaml *doc, struct bt_yaml_node *map, const char *from,
                      const char *to)
{
    struct bt_yaml_node *node = bt_yaml_take(map, from);

    return node != NULL ? bt_yaml_put(doc, map, to, node) : 0;
}

static int put_text(struct bt_yaml *doc, struct bt_yaml_node *map, const char *key,
                    struct bt_slice text, struct bt_yaml_pos pos)
{
    char *copy = bt_strndup(text.ptr, text.len);
    struct bt_yaml_node *node = copy != NULL ? bt_yaml_new_text(doc, copy, pos) : NULL;

    bt_free(copy);
    return node != NULL ? bt_yaml_put(doc, map, key, node) : BT_ENOMEM;
}

/* {A: b} is [A=b]. */
static int pairs_to_list(struct bt_yaml *doc, struct bt_yaml_node *map, const char *key)
{
    struct bt_yaml_node *node = bt_yaml_get(map, key), *list;
    int r = 0;

    if (node == NULL || node->kind != BT_YAML_MAP)
        return 0;
    bt_yaml_take(map, key);
    list = bt_yaml_new_list(doc, node->pos);
    for (struct bt_yaml_node *c = node->first; r == 0 && list != NULL && c != NULL;
         c = c->next) {
        struct bt_buf text bt_cleanup(bt_buf_deinit) = { 0 };
        struct bt_yaml_node *item;

        if (c->kind != BT_YAML_SCALAR)
            continue;
        r = bt_buf_printf(&text, "%s=%s", c->key, bt_yaml_is_null(c) ? "" : c->text);
        if (r == 0)
            r = bt_buf_append_u8(&text, 0);
        if (r != 0)
            break;
        item = bt_yaml_new_text(doc, (const char *)text.data, c->pos);
        if (item == NULL)
            return BT_ENOMEM;
        bt_yaml_append(list, item);
    }
    if (r != 0 || list == NULL)
        return BT_ENOMEM;
    return bt_yaml_put(doc, map, key, list);
}

/* "-c file" is [-c, file]; the original cuts at every single space, too. */
static int words_to_list(struct bt_yaml *doc, struct bt_yaml_node *map, const char *key)
{
    struct bt_yaml_node *node = bt_yaml_get(map, key), *list;

    if (node == NULL || node->kind != BT_YAML_SCALAR || bt_yaml_is_null(node))
        return 0;
    bt_yaml_take(map, key);
    list = bt_yaml_new_list(doc, node->pos);
    if (list == NULL)
        return BT_ENOMEM;
    for (const char *at = node->text; *at != '\0';) {
        size_t n = strcspn(at, " ");
        char *word = bt_strndup(at, n);
        struct bt_yaml_node *item =
            word != NULL ? bt_yaml_new_text(doc, word, node->pos) : NULL;

        bt_free(word);
        if (item == NULL)
            return BT_ENOMEM;
        if (n > 0)
            bt_yaml_append(list, item);
        at += n + (at[n] == ' ');
    }
    return bt_yaml_put(doc, map, key, list);
}

/* "source:path[:mode]" is {source, path, readonly}. */
static struct bt_yaml_node *short_mount(struct bt_yaml *doc, struct bt_yaml_node *node)
{
    const char *source = node->text, *colon = strchr(source, ':'), *mode;
    struct bt_yaml_node *map;
    struct bt_slice path, from;
    int r;

    if (colon == NULL)
        return node;
    mode = strchr(colon + 1, ':');
    from = (struct bt_slice){ (const uint8_t *)source, (size_t)(colon - source) };
    path.ptr = (const uint8_t *)colon + 1;
    path.len = mode != NULL ? (size_t)(mode - colon - 1) : strlen(colon + 1);
    map = bt_yaml_new_map(doc, node->pos);
    if (map == NULL)
        return NULL;
    r = put_text(doc, map, "source", from, node->pos);
    if (r == 0)
        r = put_text(doc, map, "path", path, node->pos);
    if (r == 0 && mode != NULL && strcmp(mode, ":ro") == 0)
        r = put_text(doc, map, "readonly",
                     (struct bt_slice){ (const uint8_t *)"true", 4 }, node->pos);
    return r == 0 ? map : NULL;
}

static int long_mount(struct bt_yaml *doc, struct bt_yaml_node *map)
{
    int r = rename_key(doc, map, "target", "path");

    bt_yaml_take(map, "type");
    return r != 0 ? r : rename_key(doc, map, "read_only", "readonly");
}

static int volumes_to_mounts(struct bt_yaml *doc, struct bt_yaml_node *map)
{
    struct bt_yaml_node *node = bt_yaml_take(map, "volumes"), *list, *next;
    int r = 0;

    if (node == NULL)
        return 0;
    if (node->kind != BT_YAML_LIST)
        return bt_yaml_put(doc, map, "mounts", node);
    list = bt_yaml_new_list(doc, node->pos);
    if (list == NULL)
        return BT_ENOMEM;
    for (struct bt_yaml_node *c = node->first; r == 0 && c != NULL; c = next) {
        struct bt_yaml_node *item = c;

        next = c->next;
        if (c->kind == BT_YAML_SCALAR)
            item = short_mount(doc, c);
        else if (c->kind == BT_YAML_MAP)
            r = long_mount(doc, c);
        if (item == NULL)
            return BT_ENOMEM;
        bt_yaml_append(list, item);
    }
    return r != 0 ? r : bt_yaml_put(doc, map, "mounts", list);
}

static int normalize_service(struct bt_yaml *doc, struct bt_yaml_node *map, bool compose)
{
    int r = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(meaningless); i++)
        bt_yaml_take(map, meaningless[i]);
    if (compose) {
        r = volumes_to_mounts(doc, map);
        if (r == 0)
            r = rename_key(doc, map, "environment", "env");
        if (r == 0)
            r = rename_key(doc, map, "command", "args");
        if (r == 0)
            r = words_to_list(doc, map, "args");
    }
    return r != 0 ? r : pairs_to_list(doc, map, "env");
}

/* {a: {...}} is [{name: a, ...}]. */
static int map_to_list(struct bt_yaml *doc, struct bt_yaml_node *root, const char *key)
{
    struct bt_yaml_node *node = bt_yaml_get(root, key), *list, *next, *c;
    int r = 0;

    if (node == NULL || node->kind != BT_YAML_MAP)
        return 0;
    bt_yaml_take(root, key);
    list = bt_yaml_new_list(doc, node->pos);
    for (c = node->first; r == 0 && list != NULL && c != NULL; c = next) {
        struct bt_yaml_node *item = c;
        struct bt_slice name = { (const uint8_t *)c->key, strlen(c->key) };

        next = c->next;
        if (bt_yaml_is_null(c))
            item = bt_yaml_new_map(doc, c->key_pos);
        if (item == NULL)
            return BT_ENOMEM;
        if (item->kind == BT_YAML_MAP)
            r = put_text(doc, item, "name", name, c->key_pos);
        bt_yaml_append(list, item);
    }
    if (r != 0 || list == NULL)
        return BT_ENOMEM;
    return bt_yaml_put(doc, root, key, list);
}

static int drop_drivers(struct bt_yaml_node *volumes)
{
    if (volumes == NULL || volumes->kind != BT_YAML_LIST)
        return 0;
    for (struct bt_yaml_node *c = volumes->first; c != NULL; c = c->next) {
        if (c->kind != BT_YAML_MAP)
            continue;
        bt_yaml_take(c, "driver");
        bt_yaml_take(c, "driver_opts");
        bt_yaml_take(c, "labels");
        bt_yaml_take(c, "meta");
    }
    return 0;
}

int bt_app_compose(struct bt_yaml *doc)
{
    struct bt_yaml_node *root = bt_yaml_root(doc), *services;
    bool compose;
    int r;

    if (root == NULL || root->kind != BT_YAML_MAP)
        return 0;
    services = bt_yaml_get(root, "services");
    compose = services != NULL && services->kind == BT_YAML_MAP;
    bt_yaml_take(root, "networks");
    r = map_to_list(doc, root, "services");
    if (r == 0)
        r = map_to_list(doc, root, "volumes");
    if (r == 0)
        r = drop_drivers(bt_yaml_get(root, "volumes"));
    services = bt_yaml_get(root, "services");
    if (r != 0 || services == NULL || services->kind != BT_YAML_LIST)
        return r;
    for (struct bt_yaml_node *c = services->first; r == 0 && c != NULL; c = c->next) {
        if (c->kind == BT_YAML_MAP)
            r = normalize_service(doc, c, compose);
    }
    return r;
}
