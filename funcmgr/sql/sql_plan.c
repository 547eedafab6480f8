/* The plan's memory and its two tables: the paths that are read, and the tree of the
 * result, whose members are kept in order so that writing needs no sorting of its own.
 * Failures: out of memory; a name that is used twice. */
#include "funcmgr/sql/sql_plan.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

struct block {
    struct block *next;
    _Alignas(8) uint8_t data[];
};

void *fm_sql_plan_alloc(struct fm_sql_plan *plan, size_t n)
{
    struct block *b = bt_calloc(1, sizeof(*b) + n);

    if (b == NULL)
        return NULL;
    b->next = plan->blocks;
    plan->blocks = b;
    return b->data;
}

void fm_sql_plan_deinit(struct fm_sql_plan *plan)
{
    struct block *b = plan->blocks, *next;

    for (; b != NULL; b = next) {
        next = b->next;
        bt_free(b);
    }
    bt_free(plan->paths);
    bt_buf_deinit(&plan->sql);
    *plan = (struct fm_sql_plan){ 0 };
}

int fm_sql_plan_path(struct fm_sql_plan *plan, const struct fm_sql_step *steps, size_t n,
                     uint32_t *out)
{
    struct fm_sql_path path = { fm_sql_plan_alloc(plan, n * sizeof(*steps)), n };

    if (plan->paths == NULL)
        plan->paths = bt_calloc(FM_SQL_MAX_PATHS, sizeof(*plan->paths));
    if (plan->paths == NULL || path.steps == NULL)
        return BT_ENOMEM;
    if (plan->n_paths == FM_SQL_MAX_PATHS)
        return BT_ELIMIT;
    memcpy(path.steps, steps, n * sizeof(*steps));
    *out = plan->n_paths;
    plan->paths[plan->n_paths++] = path;
    return 0;
}

int fm_sql_plan_member(struct fm_sql_plan *plan, const struct fm_sql_step *names,
                       size_t n, struct fm_sql_source source)
{
    struct fm_sql_node *node = &plan->root;

    for (size_t i = 0; i < n; i++) {
        struct fm_sql_node **at = &node->first, *child;

        while (*at != NULL && bt_slice_compare((*at)->name, names[i].name) < 0)
            at = &(*at)->next;
        child = *at;
        if (child != NULL && bt_slice_compare(child->name, names[i].name) == 0) {
            /* Only an object that was not the last name of its alias can take more. */
            if (child->first == NULL || i + 1 == n)
                return FM_SQL_TAKEN;
        } else {
            child = fm_sql_plan_alloc(plan, sizeof(*child));
            if (child == NULL)
                return BT_ENOMEM;
            child->name = names[i].name;
            child->next = *at;
            *at = child;
        }
        node = child;
    }
    node->source = source;
    return 0;
}
