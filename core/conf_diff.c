/* What differs between two objects of one table: for a reload, which has to say what it
 * cannot take over. Rows are compared by their kind; a list counts as one value. No
 * memory is allocated and nothing can fail. */
#include <string.h>

#include "core/conf_priv.h"

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_strings(const struct bt_conf_strings *a, const struct bt_conf_strings *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = same_text(a->items[i], b->items[i]);
    return same;
}

static bool same_row(const struct bt_conf_row *row, const char *a, const char *b);

static bool same_list(const struct bt_conf_row *row, const struct bt_conf_list *a,
                      const struct bt_conf_list *b)
{
    const struct bt_conf_table *t = row->sub;
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        for (size_t k = 0; same && k < t->n_rows; k++)
            same = same_row(&t->rows[k], (const char *)a->items + i * t->size,
                            (const char *)b->items + i * t->size);
    return same;
}

/* Sections have rows of their own. */
static bool same_row(const struct bt_conf_row *row, const char *a, const char *b)
{
    const void *pa = a + row->offset, *pb = b + row->offset;

    switch (row->kind) {
    case BT_CONF_BOOL:
        return *(const bool *)pa == *(const bool *)pb;
    case BT_CONF_U32:
    case BT_CONF_ENUM:
        return *(const uint32_t *)pa == *(const uint32_t *)pb;
    case BT_CONF_BYTES:
        return *(const uint64_t *)pa == *(const uint64_t *)pb;
    case BT_CONF_MS:
        return *(const int64_t *)pa == *(const int64_t *)pb;
    case BT_CONF_STRING:
        return same_text(*(char *const *)pa, *(char *const *)pb);
    case BT_CONF_STRINGS:
        return same_strings(pa, pb);
    case BT_CONF_LIST:
        return same_list(row, pa, pb);
    case BT_CONF_SECTION:
        break;
    }
    for (size_t k = 0; k < row->sub->n_rows; k++)
        if (!same_row(&row->sub->rows[k], pa, pb))
            return false;
    return true;
}

static void diff(const struct bt_conf_table *table, const char *path, const char *a,
                 const char *b, const struct bt_conf_diff *d)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct bt_conf_row *row = &table->rows[i];
        char key[BT_CONF_MAX_PATH];

        if ((row->flags & BT_CONF_IGNORED) != 0 || same_row(row, a, b) ||
            !bt_conf_join(key, path, row->key))
            continue;
        if (row->kind == BT_CONF_SECTION)
            diff(row->sub, key, a + row->offset, b + row->offset, d);
        else
            d->fn(d->arg, key, row);
    }
}

void bt_conf_each_change(const struct bt_conf_table *table, const void *before,
                         const void *after, const struct bt_conf_diff *d)
{
    diff(table, "", before, after, d);
}
