/* The result: the members of the payload (with `*`) and those of the statement, merged in
 * order of their names. Where both have a name the statement's wins; where the statement
 * only adds to an object of the payload, the object keeps its other members. */
#include <string.h>

#include "core/error.h"
#include "core/json_put.h"
#include "funcmgr/sql/sql_run.h"

static int put_node(struct fm_sql_run *run, struct fm_sql_db *db,
                    const struct fm_sql_node *node, const struct bt_json_val *below,
                    struct bt_buf *out);

static int put_name(struct bt_buf *out, struct bt_slice name, bool *first)
{
    int r = *first ? 0 : bt_buf_append_u8(out, ',');

    *first = false;
    r = r != 0 ? r : bt_json_put_string(out, name);
    return r != 0 ? r : bt_buf_append_u8(out, ':');
}

/* The members of the sorter from `at` on, and those of the node. */
static int merge(struct fm_sql_run *run, struct fm_sql_db *db,
                 const struct fm_sql_node *node, size_t at, struct bt_buf *out)
{
    const struct fm_sql_node *child = node->first;
    size_t end = run->sorter.n;
    bool first = true;
    int r = 0;

    while (r == 0 && (at < end || child != NULL)) {
        struct bt_json_member m = { 0 };
        int order = at == end ? 1 : -1;

        if (at < end)
            m = run->sorter.items[at];
        if (at < end && child != NULL)
            order = bt_slice_compare(m.name, child->name);
        r = put_name(out, order < 0 ? m.name : child->name, &first);
        if (r == 0 && order < 0)
            r = bt_json_put(out, &run->sorter, m.value);
        else if (r == 0)
            r = put_node(run, db, child, order == 0 ? m.value : NULL, out);
        if (order >= 0)
            child = child->next;
        if (order <= 0)
            at++;
    }
    return r;
}

static int put_source(struct fm_sql_run *run, struct fm_sql_db *db,
                      const struct fm_sql_source *source, struct bt_buf *out)
{
    const struct bt_json_val *v;

    if (!source->is_path)
        return fm_sql_db_put(db, source->index, source->is_truth, out);
    v = fm_sql_lookup(run, source->index);
    return v != NULL ? bt_json_put(out, &run->sorter, v) : bt_buf_append_str(out, "null");
}

/* below: what the payload has in the same place, or NULL. */
static int put_node(struct fm_sql_run *run, struct fm_sql_db *db,
                    const struct fm_sql_node *node, const struct bt_json_val *below,
                    struct bt_buf *out)
{
    size_t begin = run->sorter.n;
    bool merged = below != NULL && bt_json_kind(below) == BT_JSON_OBJECT;
    int r = 0;

    if (node != &run->plan->root && node->first == NULL)
        return put_source(run, db, &node->source, out);
    if (merged)
        r = bt_json_sort(&run->sorter, below);
    r = r != 0 ? r : bt_buf_append_u8(out, '{');
    r = r != 0 ? r : merge(run, db, node, begin, out);
    run->sorter.n = begin;
    return r != 0 ? r : bt_buf_append_u8(out, '}');
}

int fm_sql_write(struct fm_sql_run *run, struct fm_sql_db *db, struct bt_buf *out)
{
    return put_node(run, db, &run->plan->root, run->plan->star ? run->root : NULL, out);
}
