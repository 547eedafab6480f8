/* The rows of a table applied to a tree: each row looks its key up, reads the value or the default
 * into its member, and checks it; what no row asked for is unknown.
 *
 * A key with dots is a path through nested mappings, and any part of the path may also be written
 * with its dots, in one key. A section is a path, too: only lists start a new search.
 *
 * Failure modes: a value of another kind or out of range, a missing required key, a key given in
 * two spellings are errors; unknown keys are warnings. All are collected; nothing stops the walk. */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"

/* One object with its own search: the whole file, or one item of a list. */
struct scope {
    struct bt_conf_ctx *ctx;
    struct bt_yaml_node *map; /* NULL: nothing was written */
    struct bt_yaml_pos pos;
    const char *path; /* of the object, for messages; of ctx */
    bool quiet;       /* defaults only: nothing is required, nothing is checked */
};

/* A value on its way into a member. */
struct target {
    const struct scope *scope;
    const struct bt_conf_row *row;
    void *member;
    const char *path; /* of the key within the scope */
};

static int fill_table(const struct scope *s, const struct bt_conf_table *table,
                      const char *prefix, void *obj);

/* "a" and "b.c" are "a.b.c". False when it would be too long. */
static bool join(char out[BT_CONF_MAX_PATH], const char *a, const char *b)
{
    int n = snprintf(out, BT_CONF_MAX_PATH, "%s%s%s", a,
                     *a != '\0' && *b != '\0' && *b != '[' ? "." : "", b);

    return n >= 0 && n < (int)BT_CONF_MAX_PATH;
}

/* ---- messages ---- */

static void format_range(const struct bt_conf_row *row, char *out, size_t n)
{
    char lo[BT_CONF_VALUE_LEN], hi[BT_CONF_VALUE_LEN];

    snprintf(lo, sizeof(lo), "%" PRId64, row->min);
    snprintf(hi, sizeof(hi), "%" PRId64, row->max);
    if (row->kind == BT_CONF_MS) {
        bt_conf_format_ms(row->min, lo);
        bt_conf_format_ms(row->max, hi);
    } else if (row->kind == BT_CONF_BYTES) {
        bt_conf_format_bytes((uint64_t)row->min, lo);
        bt_conf_format_bytes((uint64_t)row->max, hi);
    }
    if (row->max != 0)
        snprintf(out, n, " from %s to %s", lo, hi);
    else if (row->min != 0)
        snprintf(out, n, " of at least %s", lo);
    else
        out[0] = '\0';
}

static void format_expected(const struct bt_conf_row *row, char *out, size_t n)
{
    static const char *const kinds[] = {
        [BT_CONF_BOOL] = "true or false",
        [BT_CONF_U32] = "a whole number",
        [BT_CONF_BYTES] = "a size like 32k or 4m",
        [BT_CONF_MS] = "a duration like 20s or 1m30s",
        [BT_CONF_STRING] = "a text",
        [BT_CONF_ENUM] = "one of",
        [BT_CONF_STRINGS] = "a list of texts",
        [BT_CONF_SECTION] = "a mapping",
        [BT_CONF_LIST] = "a list of mappings",
    };
    bool numeric =
        row->kind == BT_CONF_U32 || row->kind == BT_CONF_BYTES || row->kind == BT_CONF_MS;
    char range[3 * BT_CONF_VALUE_LEN] = "";
    size_t at;

    if (numeric)
        format_range(row, range, sizeof(range));
    at = (size_t)snprintf(out, n, "%s%s", kinds[row->kind], range);
    for (size_t i = 0; row->kind == BT_CONF_ENUM && row->choices[i] != NULL && at < n;
         i++)
        at += (size_t)snprintf(out + at, n - at, "%s%s", i > 0 ? ", " : " ",
                               row->choices[i]);
}

static void format_found(const struct bt_conf_row *row, const struct bt_yaml_node *node,
                         char *out, size_t n)
{
    if (node->kind == BT_YAML_LIST)
        snprintf(out, n, "a list");
    else if (node->kind == BT_YAML_MAP)
        snprintf(out, n, "a mapping");
    else if (bt_yaml_is_null(node))
        snprintf(out, n, "nothing");
    else if ((row->flags & BT_CONF_SECRET) != 0)
        snprintf(out, n, "another text");
    else
        snprintf(out, n, "\"%.60s\"", node->text);
}

static void report_value(const struct target *t, const struct bt_yaml_node *node,
                         const char *expected)
{
    char path[BT_CONF_MAX_PATH], found[80], kind[160];

    if (expected == NULL) {
        format_expected(t->row, kind, sizeof(kind));
        expected = kind;
    }
    format_found(t->row, node, found, sizeof(found));
    if (join(path, t->scope->path, t->path))
        bt_conf_report(t->scope->ctx, true, node->pos, "%s: expected %s, found %s", path,
                       expected, found);
}

/* ---- single values ---- */

static int read_bool(const struct bt_conf_row *row, const char *s, void *member)
{
    (void)row;
    return bt_conf_parse_bool(s, member);
}

static int read_u32(const struct bt_conf_row *row, const char *s, void *member)
{
    uint32_t *out = member;
    int r = bt_conf_parse_u32(s, out);

    if (r == 0 && (*out < row->min || (row->max != 0 && *out > row->max)))
        return BT_EINVAL;
    return r;
}

static int read_bytes(const struct bt_conf_row *row, const char *s, void *member)
{
    uint64_t *out = member;
    int r = bt_conf_parse_bytes(s, out);

    if (r == 0 &&
        (*out < (uint64_t)row->min || (row->max != 0 && *out > (uint64_t)row->max)))
        return BT_EINVAL;
    return r;
}

static int read_ms(const struct bt_conf_row *row, const char *s, void *member)
{
    int64_t *out = member;
    int r = bt_conf_parse_ms(s, out);

    if (r == 0 && (*out < row->min || (row->max != 0 && *out > row->max)))
        return BT_EINVAL;
    return r;
}

static int read_enum(const struct bt_conf_row *row, const char *s, void *member)
{
    for (uint32_t i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], s) == 0) {
            *(uint32_t *)member = i;
            return 0;
        }
    }
    return BT_EINVAL;
}

typedef int (*reader_fn)(const struct bt_conf_row *row, const char *s, void *member);

/* NULL: the kind is no scalar of fixed size. */
static const reader_fn scalar_readers[BT_CONF_LIST + 1] = {
    [BT_CONF_BOOL] = read_bool, [BT_CONF_U32] = read_u32,   [BT_CONF_BYTES] = read_bytes,
    [BT_CONF_MS] = read_ms,     [BT_CONF_ENUM] = read_enum,
};

static bool is_match(const char *pattern, const char *s)
{
    regex_t re;
    bool ok;

    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    ok = regexec(&re, s, 0, NULL, 0) == 0;
    regfree(&re);
    return ok;
}

/* A text of the file into *out, owned by the context. */
static void read_text(const struct target *t, const struct bt_yaml_node *node, char **out)
{
    const struct bt_conf_row *row = t->row;
    char expected[160];

    if (node->kind != BT_YAML_SCALAR) {
        report_value(t, node, NULL);
    } else if (row->kind == BT_CONF_STRING && row->max != 0 &&
               strlen(node->text) > (size_t)row->max) {
        snprintf(expected, sizeof(expected), "a text of at most %" PRId64 " bytes",
                 row->max);
        report_value(t, node, expected);
    } else if (row->match != NULL && !is_match(row->match, node->text)) {
        snprintf(expected, sizeof(expected), "a text that matches %s", row->match);
        report_value(t, node, expected);
    } else {
        *out = bt_conf_copy(t->scope->ctx, node->text);
    }
}

static void warn_nanoseconds(const struct target *t, const struct bt_yaml_node *node)
{
    char path[BT_CONF_MAX_PATH];

    if (*(int64_t *)t->member == 1 && bt_conf_is_integer(node->text) &&
        join(path, t->scope->path, t->path))
        bt_conf_report(t->scope->ctx, false, node->pos,
                       "%s: %s without a unit is nanoseconds; write %ss for seconds",
                       path, node->text, node->text);
}

static void read_scalar(const struct target *t, const struct bt_yaml_node *node)
{
    if (node->kind != BT_YAML_SCALAR ||
        scalar_readers[t->row->kind](t->row, node->text, t->member) != 0)
        report_value(t, node, NULL);
    else if (t->row->kind == BT_CONF_MS)
        warn_nanoseconds(t, node);
}

/* ---- lists ---- */

static bool fits(const struct target *t, const struct bt_yaml_node *node)
{
    size_t max = t->row->max != 0 ? (size_t)t->row->max : BT_CONF_MAX_ITEMS;
    char expected[80];

    if (node->n <= max)
        return true;
    snprintf(expected, sizeof(expected), "at most %zu items", max);
    report_value(t, node, expected);
    return false;
}

static void read_strings(const struct target *t, const struct bt_yaml_node *node)
{
    struct bt_conf_strings *out = t->member;
    size_t n = node->kind == BT_YAML_LIST ? node->n : 1, i = 0;
    char path[BT_CONF_MAX_PATH];
    struct target item = *t;

    if (node->kind == BT_YAML_MAP) {
        report_value(t, node, NULL);
        return;
    }
    if (n == 0 || !fits(t, node))
        return;
    out->items = bt_conf_alloc(t->scope->ctx, n * sizeof(*out->items));
    if (out->items == NULL)
        return;
    out->n = n;
    if (node->kind == BT_YAML_SCALAR) {
        read_text(t, node, &out->items[0]);
        return;
    }
    item.path = path;
    for (const struct bt_yaml_node *c = node->first; c != NULL; c = c->next, i++) {
        snprintf(path, sizeof(path), "%.200s[%zu]", t->path, i);
        if (bt_yaml_is_null(c))
            report_value(&item, c, "a text");
        else
            read_text(&item, c, &out->items[i]);
    }
}

static void warn_unknown(const struct scope *s, const struct bt_conf_table *table);

static void read_item(const struct target *t, struct bt_yaml_node *node, size_t i,
                      void *obj)
{
    char name[BT_CONF_MAX_PATH], path[BT_CONF_MAX_PATH];
    struct scope s = { .ctx = t->scope->ctx, .map = node, .pos = node->pos };
    struct target item = *t;

    snprintf(name, sizeof(name), "%.200s[%zu]", t->path, i);
    item.path = name;
    if (node->kind != BT_YAML_MAP) {
        report_value(&item, node, "a mapping");
        return;
    }
    if (!join(path, t->scope->path, name))
        return;
    s.path = bt_conf_copy(s.ctx, path);
    if (s.path == NULL)
        return;
    if (fill_table(&s, t->row->sub, "", obj) == 0)
        warn_unknown(&s, t->row->sub);
}

static void read_list(const struct target *t, struct bt_yaml_node *node)
{
    struct bt_conf_list *out = t->member;
    size_t size = t->row->sub->size, i = 0;
    char *items;

    if (node->kind != BT_YAML_LIST) {
        report_value(t, node, NULL);
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

static void read_value(const struct target *t, struct bt_yaml_node *node)
{
    switch (t->row->kind) {
    case BT_CONF_STRING:
        read_text(t, node, t->member);
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
        read_scalar(t, node);
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
static int read_default(const struct target *t)
{
    struct bt_conf_ctx *ctx = t->scope->ctx;
    size_t errors = ctx->n_errors;
    struct bt_yaml *doc = NULL;
    struct bt_yaml_node *root;
    int r;

    if (t->row->def == NULL)
        return 0;
    if (scalar_readers[t->row->kind] != NULL)
        return scalar_readers[t->row->kind](t->row, t->row->def, t->member);
    r = bt_yaml_parse(t->row->def, strlen(t->row->def), on_default_problem, NULL, &doc);
    if (r != 0)
        return r;
    root = bt_yaml_root(doc);
    if (root != NULL)
        read_value(t, root);
    else if (t->row->kind == BT_CONF_STRING)
        *(char **)t->member = bt_conf_copy(ctx, "");
    bt_yaml_free(doc);
    return ctx->n_errors == errors ? 0 : BT_EBUG;
}

/* ---- looking keys up ---- */

static void report_twice(const struct scope *s, const struct bt_yaml_node *first,
                         const struct bt_yaml_node *second)
{
    bt_conf_report(s->ctx, true, second->key_pos,
                   "key \"%.100s\" was given before, on line %u", second->key,
                   bt_conf_place(s->ctx, first->key_pos).line);
}

/* The value at a path below a mapping, over every way to write the path. */
static struct bt_yaml_node *find(const struct scope *s, struct bt_yaml_node *map,
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

static void record(const struct scope *s, const void *obj, const char *key,
                   const char *path, struct bt_yaml_pos pos)
{
    struct bt_conf_record r = { .obj = obj, .key = key, .path = path };

    r.pos = bt_conf_place(s->ctx, pos);
    bt_conf_record(s->ctx, &r);
}

static void check_required(const struct target *t, const struct bt_yaml_node *node)
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
    if (empty && join(path, t->scope->path, t->path))
        bt_conf_report(t->scope->ctx, true, node != NULL ? node->pos : t->scope->pos,
                       "%s: required, but %s", path,
                       node != NULL ? "empty" : "not given");
}

static int fill_row(const struct target *t, void *obj)
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

static int fill_section(const struct target *t, void *obj)
{
    struct bt_conf_ctx *ctx = t->scope->ctx;
    struct bt_yaml_node *node = find(t->scope, t->scope->map, t->path);
    size_t before = ctx->n_records;
    int r;

    if (node != NULL && node->kind != BT_YAML_MAP && !bt_yaml_is_null(node))
        report_value(t, node, NULL);
    if (node != NULL && node->kind != BT_YAML_MAP)
        node->used = true;
    r = fill_table(t->scope, t->row->sub, t->path, t->member);
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
static int fill_table(const struct scope *s, const struct bt_conf_table *table,
                      const char *prefix, void *obj)
{
    struct bt_yaml_node *node = *prefix != '\0' ? find(s, s->map, prefix) : NULL;
    size_t errors = s->ctx->n_errors;
    char path[BT_CONF_MAX_PATH];
    const char *object_path;

    if (!join(path, s->path, prefix))
        return BT_EBUG;
    object_path = bt_conf_copy(s->ctx, path);
    if (object_path == NULL)
        return BT_ENOMEM;
    record(s, obj, NULL, object_path, node != NULL ? node->key_pos : s->pos);
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bt_conf_row *row = &table->rows[i];
        struct target t = { s, row, (char *)obj + row->offset, path };
        int r;

        if (!join(path, prefix, row->key))
            return BT_EBUG;
        r = row->kind == BT_CONF_SECTION ? fill_section(&t, obj) : fill_row(&t, obj);
        if (r != 0)
            return r;
        if (s->ctx->no_memory)
            return BT_ENOMEM;
    }
    if (table->check != NULL && !s->quiet && s->ctx->n_errors == errors)
        table->check(s->ctx, obj);
    return 0;
}

/* ---- unknown keys ---- */

struct guess {
    const char *key; /* what was written */
    char best[BT_CONF_MAX_PATH];
    unsigned distance;
    bool is_prefix; /* of a known key */
};

static void guess_from(struct guess *g, const struct bt_conf_table *table,
                       const char *prefix)
{
    char path[BT_CONF_MAX_PATH];
    size_t n = strlen(g->key);

    for (size_t i = 0; i < table->n_rows; i++) {
        unsigned distance;

        if (!join(path, prefix, table->rows[i].key))
            continue;
        if (strncmp(path, g->key, n) == 0 && path[n] == '.')
            g->is_prefix = true;
        distance = bt_conf_distance(g->key, path);
        if (distance < g->distance) {
            g->distance = distance;
            memcpy(g->best, path, sizeof(path));
        }
        if (table->rows[i].kind == BT_CONF_SECTION)
            guess_from(g, table->rows[i].sub, path);
    }
}

/* A guess is worth telling when at most about a third of the last part of the key differs. */
static bool is_near(const struct guess *g)
{
    const char *last = strrchr(g->key, '.');
    size_t n = strlen(last != NULL ? last + 1 : g->key);

    return g->distance <= n / 3 + 1 && g->distance < n;
}

static void warn_key(const struct scope *s, const struct bt_conf_table *table,
                     const struct bt_yaml_node *node, const char *key)
{
    struct guess g = { .key = key, .distance = BT_CONF_FAR };
    char path[BT_CONF_MAX_PATH], best[BT_CONF_MAX_PATH];

    guess_from(&g, table, "");
    if (!join(path, s->path, key) || !join(best, s->path, g.best))
        return;
    if (g.is_prefix)
        bt_conf_report(s->ctx, true, node->pos, "%s: expected a mapping", path);
    else if (is_near(&g))
        bt_conf_report(s->ctx, false, node->key_pos,
                       "unknown key \"%s\"; did you mean \"%s\"?", path, best);
    else
        bt_conf_report(s->ctx, false, node->key_pos, "unknown key \"%s\"", path);
}

static void warn_below(const struct scope *s, const struct bt_conf_table *table,
                       const struct bt_yaml_node *map, const char *prefix)
{
    char path[BT_CONF_MAX_PATH];

    for (const struct bt_yaml_node *c = map->first; c != NULL; c = c->next) {
        if (c->used || !join(path, prefix, c->key))
            continue;
        if (c->entered)
            warn_below(s, table, c, path);
        else
            warn_key(s, table, c, path);
    }
}

static void warn_unknown(const struct scope *s, const struct bt_conf_table *table)
{
    if (s->map != NULL)
        warn_below(s, table, s->map, "");
}

int bt_conf_apply(struct bt_conf_ctx *ctx, const struct bt_yaml *doc,
                  const struct bt_conf_table *table, void *obj)
{
    struct bt_yaml_node *root = doc != NULL ? bt_yaml_root(doc) : NULL;
    struct scope s = { .ctx = ctx, .pos = { 1, 1 }, .path = "" };
    int r;

    memset(obj, 0, table->size);
    if (root != NULL && root->kind == BT_YAML_MAP)
        s.map = root;
    else if (!bt_yaml_is_null(root))
        bt_conf_report(ctx, true, root->pos, "expected a mapping of keys to values");
    r = fill_table(&s, table, "", obj);
    if (r == 0)
        warn_unknown(&s, table);
    if (ctx->no_memory)
        return BT_ENOMEM;
    if (r == BT_ENOMEM || r == 0)
        return r == 0 && ctx->n_errors > 0 ? BT_ECONF : r;
    return bt_origin(r, "an option table has a wrong default");
}

int bt_conf_defaults(struct bt_conf_ctx *ctx, const struct bt_conf_table *table,
                     void *obj)
{
    struct scope s = { .ctx = ctx, .path = "", .quiet = true };
    int r;

    memset(obj, 0, table->size);
    r = fill_table(&s, table, "", obj);
    if (r == 0 && ctx->no_memory)
        return BT_ENOMEM;
    return r == 0 || r == BT_ENOMEM ? r
                                    : bt_origin(r, "an option table has a wrong default");
}
