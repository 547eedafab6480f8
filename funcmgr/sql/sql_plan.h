/* What a statement of the `sql` runtime says, taken apart: which members of the payload
 * are read, what SQLite computes, and how the result is put together. Built once, then
 * read-only. */
#ifndef FUNCMGR_SQL_PLAN_H
#define FUNCMGR_SQL_PLAN_H

#include "core/buf.h"

/* Named maxima of a statement. */
#define FM_SQL_MAX_STATEMENT ((size_t)16 * 1024)
#define FM_SQL_MAX_COLUMNS   256u
#define FM_SQL_MAX_PATHS     512u
#define FM_SQL_MAX_PATTERN   256u /* bytes of a pattern */
#define FM_SQL_MAX_STEPS     32u  /* of a path, and levels of an alias */
#define FM_SQL_MAX_NESTING   64u  /* parentheses and calls in each other */
#define FM_SQL_MAX_DEPTH     100u /* operators in each other */

/* One step into the payload: a member, or an item of an array. */
struct fm_sql_step {
    struct bt_slice name; /* ptr is NULL: an item */
    int64_t index;
};

struct fm_sql_path {
    struct fm_sql_step *steps;
    size_t n;
};

/* Where the value of a member of the result comes from. */
struct fm_sql_source {
    bool is_path;  /* paths[index], copied as it is; else column `index` of SQLite */
    bool is_truth; /* the column is a truth value: 1 is true */
    uint32_t index;
};

/* A member of the result: either a value or an object of further members. */
struct fm_sql_node {
    struct fm_sql_node *next, *first; /* in order of the names */
    struct bt_slice name;
    struct fm_sql_source source;
};

struct fm_sql_plan {
    struct bt_buf sql; /* for SQLite, NUL-terminated; empty: nothing to compute */
    struct fm_sql_path *paths;
    uint32_t n_paths;
    uint32_t n_values;       /* columns SQLite returns */
    bool star;               /* all members of the payload */
    bool reads;              /* needs the payload as an object */
    struct fm_sql_node root; /* has no name */
    void *blocks;            /* memory of all the above but sql and paths */
};

/* Take a statement apart. 0, BT_ENOMEM, or BT_EINVAL with what is wrong and where in
 * *why (one line of text). _deinit either way. */
int fm_sql_parse(struct bt_slice text, struct fm_sql_plan *plan,
                 struct bt_buf *why) BT_MUST_CHECK;
void fm_sql_plan_deinit(struct fm_sql_plan *plan);

/* For the parser. */
void *fm_sql_plan_alloc(struct fm_sql_plan *plan, size_t n) BT_MUST_CHECK;
int fm_sql_plan_path(struct fm_sql_plan *plan, const struct fm_sql_step *steps, size_t n,
                     uint32_t *out) BT_MUST_CHECK;
#define FM_SQL_TAKEN 1 /* there is a member of that name already */
int fm_sql_plan_member(struct fm_sql_plan *plan, const struct fm_sql_step *names,
                       size_t n, struct fm_sql_source source) BT_MUST_CHECK;

#endif
