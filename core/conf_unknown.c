/* Keys that no row asked for, and the nearest one that there is: by single edits over the
 * whole path, worth telling when at most about a third of the last part differs. */
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"

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

        if (!bt_conf_join(path, prefix, table->rows[i].key))
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

/* A guess is worth telling when at most about a third of the last part of the key
 * differs. */
static bool is_near(const struct guess *g)
{
    const char *last = strrchr(g->key, '.');
    size_t n = strlen(last != NULL ? last + 1 : g->key);

    return g->distance <= n / 3 + 1 && g->distance < n;
}

static void warn_key(const struct bt_conf_scope *s, const struct bt_conf_table *table,
                     const struct bt_yaml_node *node, const char *key)
{
    struct guess g = { .key = key, .distance = BT_CONF_FAR };
    char path[BT_CONF_MAX_PATH], best[BT_CONF_MAX_PATH];

    guess_from(&g, table, "");
    if (!bt_conf_join(path, s->path, key) || !bt_conf_join(best, s->path, g.best))
        return;
    if (g.is_prefix)
        bt_conf_report(s->ctx, true, node->pos, "%s: expected a mapping", path);
    else if (is_near(&g))
        bt_conf_report(s->ctx, false, node->key_pos,
                       "unknown key \"%s\"; did you mean \"%s\"?", path, best);
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
