/* Keys that no row asked for, and the nearest one that there is: by single edits over the
 * whole path, worth telling when at most about a third of the last part differs. A key is
 * compared with as many parts of each known path as it has itself, so that a section is
 * found, too. When nothing is near, the few keys that may stand there are told. */
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"

#define MAX_CHOICES 8u

struct guess {
    const char *key; /* what was written */
    size_t n_parts;
    size_t parent; /* length of its path up to the last dot */
    char best[BT_CONF_MAX_PATH];
    unsigned distance;
    bool is_prefix; /* of a known key */
    char choices[BT_CONF_MAX_PATH];
    size_t n_choices;
};

static size_t count_dots(const char *s)
{
    size_t n = 0;

    for (; *s != '\0'; s++)
        n += *s == '.';
    return n;
}

/* Cut behind n parts. */
static void cut(char *path, size_t n)
{
    for (char *c = path; *c != '\0'; c++)
        if (*c == '.' && --n == 0)
            *c = '\0';
}

/* What may stand where the key stands. */
static void add_choice(struct guess *g, const char *path)
{
    size_t n = strlen(g->choices), len;
    const char *name, *at;

    if (strncmp(path, g->key, g->parent) != 0 || count_dots(path) + 1 != g->n_parts)
        return;
    name = path + g->parent;
    len = strlen(name);
    at = strstr(g->choices, name);
    for (; at != NULL; at = strstr(at + 1, name))
        if ((at == g->choices || at[-1] == ' ') && (at[len] == ',' || at[len] == '\0'))
            return;
    g->n_choices++;
    snprintf(g->choices + n, sizeof(g->choices) - n, "%s%s", n > 0 ? ", " : "", name);
}

static void compare(struct guess *g, char path[BT_CONF_MAX_PATH])
{
    size_t n = strlen(g->key);
    unsigned distance;

    if (strncmp(path, g->key, n) == 0 && path[n] == '.')
        g->is_prefix = true;
    cut(path, g->n_parts);
    add_choice(g, path);
    distance = bt_conf_distance(g->key, path);
    if (strncmp(path, g->key, n) == 0 && n - g->parent >= 3)
        distance = 1; /* user: username */
    if (distance < g->distance) {
        g->distance = distance;
        memcpy(g->best, path, BT_CONF_MAX_PATH);
    }
}

static void guess_from(struct guess *g, const struct bt_conf_table *table,
                       const char *prefix)
{
    char path[BT_CONF_MAX_PATH];

    for (size_t i = 0; i < table->n_rows; i++) {
        if (!bt_conf_join(path, prefix, table->rows[i].key))
            continue;
        if (table->rows[i].kind == BT_CONF_SECTION)
            guess_from(g, table->rows[i].sub, path);
        compare(g, path);
    }
}

/* A guess is worth telling when at most about a third of the last part of the key
 * differs. */
static bool is_near(const struct guess *g)
{
    size_t n = strlen(g->key + g->parent);

    return g->distance <= n / 3 + 1 && g->distance < n;
}

static void report_no_mapping(const struct bt_conf_scope *s,
                              const struct bt_yaml_node *node, const char *path)
{
    const char *hint = "";

    if (node->kind != BT_YAML_SCALAR) {
        bt_conf_report(s->ctx, true, node->pos, "%s: expected a mapping", path);
        return;
    }
    if (strchr(node->text, ':') != NULL)
        hint = "; a blank belongs behind the colon of a key";
    bt_conf_report(s->ctx, true, node->pos, "%s: expected a mapping, found \"%.60s\"%s",
                   path, node->text, hint);
}

static void warn_key(const struct bt_conf_scope *s, const struct bt_conf_table *table,
                     const struct bt_yaml_node *node, const char *key)
{
    const char *last = strrchr(key, '.');
    struct guess g = { .key = key,
                       .n_parts = count_dots(key) + 1,
                       .parent = last != NULL ? (size_t)(last - key) + 1 : 0,
                       .distance = BT_CONF_FAR };
    char path[BT_CONF_MAX_PATH], best[BT_CONF_MAX_PATH];
    /* Not all sections of the top level are in the table. */
    bool is_top = *s->path == '\0' && g.parent == 0;

    guess_from(&g, table, "");
    if (!bt_conf_join(path, s->path, key) || !bt_conf_join(best, s->path, g.best))
        return;
    if (g.is_prefix)
        report_no_mapping(s, node, path);
    else if (is_near(&g))
        bt_conf_report(s->ctx, false, node->key_pos,
                       "unknown key \"%s\"; did you mean \"%s\"?", path, best);
    else if (!is_top && g.n_choices > 0 && g.n_choices <= MAX_CHOICES)
        bt_conf_report(s->ctx, false, node->key_pos, "unknown key \"%s\"; known here: %s",
                       path, g.choices);
    else
        bt_conf_report(s->ctx, false, node->key_pos, "unknown key \"%s\"", path);
}

static void warn_below(const struct bt_conf_scope *s, const struct bt_conf_table *table,
                       const struct bt_yaml_node *map, const char *prefix)
{
    char path[BT_CONF_MAX_PATH];

    for (const struct bt_yaml_node *c = map->first; c != NULL; c = c->next) {
        if (c->used || !bt_conf_join(path, prefix, c->key))
            continue;
        if (c->entered)
            warn_below(s, table, c, path);
        else
            warn_key(s, table, c, path);
    }
}

void bt_conf_warn_unknown(const struct bt_conf_scope *s,
                          const struct bt_conf_table *table)
{
    if (s->map != NULL)
        warn_below(s, table, s->map, "");
}
