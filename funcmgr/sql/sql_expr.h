/* Expressions of the `sql` runtime: from the user's text to SQLite's. Private to the
 * parser (funcmgr/sql/sql_parse.c, funcmgr/sql/sql_expr.c). */
#ifndef FUNCMGR_SQL_EXPR_H
#define FUNCMGR_SQL_EXPR_H

#include "funcmgr/sql/sql_lex.h"
#include "funcmgr/sql/sql_plan.h"

struct fm_sql_parser {
    struct fm_sql_lex lex;
    struct fm_sql_token tok; /* the one to look at */
    struct fm_sql_plan *plan;
    struct bt_buf *why;
    unsigned nesting;
};

/* What is known of an expression that was read. */
struct fm_sql_expr {
    unsigned depth;
    bool is_path, is_truth, is_literal;
    uint32_t path;
    const char *function; /* a call without arguments, and nothing else */
};

/* To the next token. 0 or BT_EINVAL (the next one is bad). */
int fm_sql_advance(struct fm_sql_parser *p) BT_MUST_CHECK;
/* BT_EINVAL, after writing to why what is wrong with the present token. */
int fm_sql_fail(struct fm_sql_parser *p, const char *fmt, ...) BT_PRINTF(2, 3);
/* Over this keyword or operator, or fail. */
int fm_sql_expect(struct fm_sql_parser *p, const char *what) BT_MUST_CHECK;
/* Read the steps of a path or the names of an alias. any_word: the first may be a
 * keyword; items: [N] is allowed. */
int fm_sql_read_path(struct fm_sql_parser *p, bool any_word, bool items,
                     struct fm_sql_step steps[FM_SQL_MAX_STEPS], size_t *n) BT_MUST_CHECK;
/* Read one expression and append it to plan->sql. */
int fm_sql_read_expr(struct fm_sql_parser *p, struct fm_sql_expr *out) BT_MUST_CHECK;

#endif
