/* The rows of a table applied to a tree: each row looks its key up, reads the value or
 * the default into its member, and checks it; what no row asked for is unknown.
 *
 * A key with dots is a path through nested mappings, and any part of the path may also be
 * written with its dots, in one key. A section is a path, too: only lists start a new
 * search.
 *
 * Failure modes: a value of another kind or out of range, a missing required key, a key
 * given in two spellings are errors; unknown keys are warnings. All are collected;
 * nothing stops the walk. */
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"

static int fill_table(const struct bt_conf_scope *s, const struct bt_conf_table *table,
                      const char *prefix, void *obj);

/* ---- lists ---- */

static void record(const struct bt_conf_scope *s, const void *obj, const char *key,
                   const char *path, struct bt_yaml_pos pos)
{
    struct bt_conf_record r = { .obj = obj, .key = key, .path = path };

    r.pos = bt_conf_place(s->ctx, pos);
    bt_conf_record(s->ctx, &r);
}

static bool fits(const struct bt_conf_target *t, const struct bt_yaml_node *node)
{
    size_t max = t->row->max != 0 ? (size_t)t->row->max : BT_CONF_MAX_ITEMS;
    char expected[80];

    if (node->n <= max)
        return true;
    snprintf(expected, sizeof(expected), "at most %zu items", max);
    bt_conf_report_value(t, node, expected);
    return false;
}

/* Where an item was written, as "listen[2]", for checks that complain about one. */
static void record_item(const struct bt_conf_target *t, void *obj, size_t i,
                        struct bt_yaml_pos pos)
{
    char key[BT_CONF_MAX_PATH];
    const char *copy;

    snprintf(key, sizeof(key), "%.200s[%zu]", t->row->key, i);
    copy = bt_conf_copy(t->scope->ctx, key);
    if (copy != NULL)
        record(t->scope, obj, copy, NULL, pos);
}

static void read_strings(const struct bt_conf_target *t, const struct bt_yaml_node *node)
{
    struct bt_conf_strings *out = t->member;
    size_t n = node->kind == BT_YAML_LIST ? node->n : 1, i = 0;
    char path[BT_CONF_MAX_PATH];
    struct bt_conf_target item = *t;

    if (node->kind == BT_YAML_MAP) {
        bt_conf_report_value(t, node, NULL);
        return;
    }
    if (n == 0 || !fits(t, node))
        return;
    out->items = bt_conf_alloc(t->scope->ctx, n * sizeof(*out->items));
    if (out->items == NULL)
        return;
    out->n = n;
    if (node->kind == BT_YAML_SCALAR) {
        bt_conf_read_string(t, node, &out->items[0]);
        return;
    }
    item.path = path;
    for (const struct bt_yaml_node *c = node->first; c != NULL; c = c->next, i++) {
        snprintf(path, sizeof(path), "%.200s[%zu]", t->path, i);
        record_item(t, (char *)t->member - t->row->offset, i, c->pos);
        if (bt_yaml_is_null(c))
            bt_conf_report_value(&item, c, "a text");
        else
            bt_conf_read_string(&item, c, &out->items[i]);
    }
}

static void read_item(const struct bt_conf_target *t, struct bt_yaml_node *node, size_t i,
                      void *obj)
{
    char name[BT_CONF_MAX_PATH], path[BT_CONF_MAX_PATH];
    struct bt_conf_scope s = {
        .ctx = t->scope->ctx, .map = node, .pos = node->pos, .source = node->pos.source
    };
    struct bt_conf_target item = *t;

    snprintf(name, sizeof(name), "%.200s[%zu]", t->path, i);
    item.path = name;
    if (node->kind != BT_YAML_MAP) {
        bt_conf_report_value(&item, node, "a mapping");
        return;
    }
    if (!bt_conf_join(path, t->scope->path, name))
        return;
    s.path = bt_conf_copy(s.ctx, path);
    if (s.path == NULL)
        return;
    if (fill_table(&s, t->row->sub, "", obj) == 0)
        bt_conf_warn_unknown(&s, t->row->sub);
}

static void read_list(const struct bt_conf_target *t, struct bt_yaml_node *node)
{
    struct bt_conf_list *out = t->member;
    size_t size = t->row->sub->size, i = 0;
    char *items;

    if (node->kind != BT_YAML_LIST) {
        bt_conf_report_value(t, node, NULL);
        return;
    }
    if (node->n == 0 || !fits(t, node))
        return;
    items = bt_conf_alloc(t->scope->ctx, node->n * size);
    if (items == NULL)
        return;
    out->items = items;
    out->n = node->n;
    for (struct bt_yaml_node *c = node->first; c != NULL; c = c->next, i++)
        read_item(t, c, i, items + i * size);
}

static void read_value(const struct bt_conf_target *t, struct bt_yaml_node *node)
{
    switch (t->row->kind) {
    case BT_CONF_STRING:
        bt_conf_read_string(t, node, t->member);
        break;
    case BT_CONF_STRINGS:
        read_strings(t, node);
        break;
    case BT_CONF_LIST:
        read_list(t, node);
        break;
    case BT_CONF_BOOL:
    case BT_CONF_U32:
    case BT_CONF_BYTES:
    case BT_CONF_MS:
    case BT_CONF_ENUM:
        bt_conf_read_scalar(t, node);
        break;
    case BT_CONF_SECTION:
        break;
    }
}

/* ---- defaults ---- */

static void on_default_problem(void *arg, struct bt_yaml_pos pos, const char *text)
{
    (void)arg;
    (void)pos;
    (void)text;
}

/* A default is YAML like any value, so it goes the same way. */
static int read_default(const struct bt_conf_target *t)
{
    struct bt_conf_ctx *ctx = t->scope->ctx;
    size_t errors = ctx->n_errors;
    struct bt_yaml *doc = NULL;
    struct bt_yaml_node *root;
    int r;

    if (t->row->def == NULL)
        return 0;
    if (bt_conf_is_scalar(t->row->kind))
        return bt_conf_read_plain(t->row, t->row->def, t->member);
    r = bt_yaml_parse(t->row->def, strlen(t->row->def), on_default_problem, NULL, &doc);
    if (r != 0)
        return r;
    root = bt_yaml_root(doc);
    if (root != NULL) {
        root->pos = (struct bt_yaml_pos){ .source = t->scope->source };
        read_value(t, root);
    }
    if (root == NULL && t->row->kind == BT_CONF_STRING)
        *(char **)t->member = bt_conf_copy(ctx, "");
    bt_yaml_free(doc);
    return ctx->n_errors == errors ? 0 : BT_EBUG;
}

/* ---- looking keys up ---- */

static void report_twice(const struct bt_conf_scope *s, const struct bt_yaml_node *first,
                         const struct bt_yaml_node *second)
{
    bt_conf_report(s->ctx, true, second->key_pos,
                   "key \"%.100s\" was given before, on line %u", second->key,
                   bt_conf_place(s->ctx, first->key_pos).line);
}

/* The value at a path below a mapping, over every way to write the path. */
static struct bt_yaml_node *find(const struct bt_conf_scope *s, struct bt_yaml_node *map,
                                 const char *path)
{
    struct bt_yaml_node *found = NULL;

    if (map == NULL)
        return NULL;
    for (struct bt_yaml_node *c = map->first; c != NULL; c = c->next) {
        struct bt_yaml_node *hit = NULL;
        size_t n = strlen(c->key);

        if (strncmp(path, c->key, n) != 0)
            continue;
        if (path[n] == '\0') {
            hit = c;
        } else if (path[n] == '.' && c->kind == BT_YAML_MAP) {
            c->entered = true;
            hit = find(s, c, path + n + 1);
        } else if (path[n] == '.' && bt_yaml_is_null(c)) {
            c->used = true;
        }
        if (hit != NULL && found != NULL && !hit->used) {
            hit->used = true;
            report_twice(s, found, hit);
        }
        if (found == NULL)
            found = hit;
    }
    return found;
}

static void check_required(const struct bt_conf_target *t,
                           const struct bt_yaml_node *node)
{
    const void *member = t->member;
    bool empty = node == NULL;
    char path[BT_CONF_MAX_PATH];

    if (t->row->kind == BT_CONF_STRING) {
        const char *text = *(char *const *)member;

        empty = node == NULL ? text == NULL || *text == '\0' : *node->text == '\0';
    } else if (t->row->kind == BT_CONF_STRINGS) {
        empty = ((const struct bt_conf_strings *)member)->n == 0;
    } else if (t->row->kind == BT_CONF_LIST) {
        empty = ((const struct bt_conf_list *)member)->n == 0;
    }
    if (empty && bt_conf_join(path, t->scope->path, t->path))
        bt_conf_report(t->scope->ctx, true, node != NULL ? node->pos : t->scope->pos,
                       "%s: required, but %s", path,
                       node != NULL ? "empty" : "not given");
}

static int fill_row(const struct bt_conf_target *t, void *obj)
{
    struct bt_conf_ctx *ctx = t->scope->ctx;
    struct bt_yaml_node *node = find(t->scope, t->scope->map, t->path);
    size_t errors = ctx->n_errors;
    int r = 0;

    if (node != NULL)
        node->used = true;
    if (node == NULL || bt_yaml_is_null(node)) {
        node = NULL;
        r = read_default(t);
    } else {
        record(t->scope, obj, t->row->key, NULL, node->key_pos);
        read_value(t, node);
    }
    if (r == 0 && !t->scope->quiet && (t->row->flags & BT_CONF_REQUIRED) != 0 &&
        ctx->n_errors == errors)
        check_required(t, node);
    return r;
}

static int fill_section(const struct bt_conf_target *t, void *obj)
{
    struct bt_conf_ctx *ctx = t->scope->ctx;
    struct bt_yaml_node *node = find(t->scope, t->scope->map, t->path);
    struct bt_conf_scope inner = *t->scope;
    size_t before = ctx->n_records;
    int r;

    if (node != NULL && node->kind != BT_YAML_MAP && !bt_yaml_is_null(node))
        bt_conf_report_value(t, node, NULL);
    if (node != NULL && node->kind != BT_YAML_MAP)
        node->used = true;
    if (node != NULL)
        inner.source = node->pos.source;
    r = fill_table(&inner, t->row->sub, t->path, t->member);
    if (node != NULL)
        record(t->scope, obj, t->row->key, NULL, node->key_pos);
    else
        for (size_t i = before; i < ctx->n_records; i++) {
            struct bt_conf_record first = ctx->records[i];

            if (first.key == NULL)
                continue;
            first.obj = obj;
            first.key = t->row->key;
            bt_conf_record(ctx, &first);
            break;
        }
    return r;
}

/* 0, or BT_ENOMEM or BT_EBUG: errors of the file are counted by the context. */
static int fill_table(const struct bt_conf_scope *s, const struct bt_conf_table *table,
                      const char *prefix, void *obj)
{
    struct bt_yaml_node *node = *prefix != '\0' ? find(s, s->map, prefix) : NULL;
    size_t errors = s->ctx->n_errors;
    char path[BT_CONF_MAX_PATH];
    const char *object_path;

    if (!bt_conf_join(path, s->path, prefix))
        return BT_EBUG;
    object_path = bt_conf_copy(s->ctx, path);
    if (object_path == NULL)
        return BT_ENOMEM;
    record(s, obj, NULL, object_path, node != NULL ? node->key_pos : s->pos);
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bt_conf_row *row = &table->rows[i];
        struct bt_conf_target t = { s, row, (char *)obj + row->offset, path };
        int r;

        if (!bt_conf_join(path, prefix, row->key))
            return BT_EBUG;
        r = row->kind == BT_CONF_SECTION ? fill_section(&t, obj) : fill_row(&t, obj);
        if (r != 0)
            return r;
        if (s->ctx->no_memory)
            return BT_ENOMEM;
    }
    if (table->check != NULL && !s->quiet && s->ctx->n_errors == errors) {
        /* Again, because a section at its beginning has the same address. */
        record(s, obj, NULL, object_path, node != NULL ? node->key_pos : s->pos);
        table->check(s->ctx, obj);
    }
    return 0;
}

int bt_conf_apply(struct bt_conf_ctx *ctx, const struct bt_yaml *doc,
                  const struct bt_conf_table *table, void *obj)
{
    struct bt_yaml_node *root = doc != NULL ? bt_yaml_root(doc) : NULL;
    struct bt_conf_scope s = { .ctx = ctx,
                               .pos = { .line = 1, .column = 1 },
                               .path = "" };
    int r;

    memset(obj, 0, table->size);
    if (root != NULL && root->kind == BT_YAML_MAP)
        s.map = root;
    else if (root != NULL && !bt_yaml_is_null(root))
        bt_conf_report(ctx, true, root->pos, "expected a mapping of keys to values");
    r = fill_table(&s, table, "", obj);
    if (r == 0)
        bt_conf_warn_unknown(&s, table);
    if (ctx->no_memory)
        return BT_ENOMEM;
    if (r == BT_ENOMEM || r == 0)
        return r == 0 && ctx->n_errors > 0 ? BT_ECONF : r;
    return bt_origin(r, "an option table has a wrong default");
}

int bt_conf_defaults(struct bt_conf_ctx *ctx, const struct bt_conf_table *table,
                     void *obj)
{
    struct bt_conf_scope s = { .ctx = ctx, .path = "", .quiet = true };
    int r;

    memset(obj, 0, table->size);
    r = fill_table(&s, table, "", obj);
    if (r == 0 && ctx->no_memory)
        return BT_ENOMEM;
    return r == 0 || r == BT_ENOMEM ? r
                                    : bt_origin(r, "an option table has a wrong default");
}
