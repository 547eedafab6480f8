/* A statement: `select LIST [where CONDITION] [;]`. The list and the condition are
 * written to the text for SQLite, but for plain members, which are copied from the
 * payload without it. Failures: one sentence with the place, and a word on what SQL has
 * beside this. */
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mqtt.h"
#include "funcmgr/sql/sql_expr.h"

static const struct {
    const char *word, *why;
} others[] = {
    { "from", "there is no `from`: the rule's subscribe.topic says which messages come; "
              "use topic() in the condition to tell them apart" },
    { "group", "`group by` is not available: each message is handled for itself" },
    { "having", "`having` is not available: each message is handled for itself" },
    { "order", "`order by` is not available: each message is handled for itself" },
    { "limit", "`limit` is not available: each message is handled for itself" },
    { "union", "one `select` is all there can be" },
    { "intersect", "one `select` is all there can be" },
    { "except", "one `select` is all there can be" },
    { "join", "`join` is not available: there are no tables" },
};

/* Neither the list nor the statement goes on with this. */
static int unexpected(struct fm_sql_parser *p, const char *expected)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(others); i++) {
        if (fm_sql_is(&p->tok, others[i].word))
            return fm_sql_fail(p, "%s", others[i].why);
    }
    return fm_sql_fail(p, "expected %s", expected);
}

/* The name of a column that has no `as`: a member stays where it is, and a call without
 * arguments is called like the function. */
static int default_name(struct fm_sql_parser *p, const struct fm_sql_expr *e,
                        struct fm_sql_step names[FM_SQL_MAX_STEPS], size_t *n)
{
    const struct fm_sql_path *path;

    if (e->function != NULL) {
        *n = 1;
        names[0].name =
            (struct bt_slice){ (const uint8_t *)e->function, strlen(e->function) };
        return 0;
    }
    *n = 0;
    if (!e->is_path)
        return unexpected(p, "an operator, or `as` and a name for this value");
    path = &p->plan->paths[e->path];
    for (size_t i = 0; i < path->n; i++) {
        if (path->steps[i].name.ptr == NULL)
            return unexpected(p, "`as` and a name for this item");
        names[(*n)++] = path->steps[i];
    }
    return 0;
}

static int read_alias(struct fm_sql_parser *p, struct fm_sql_step names[FM_SQL_MAX_STEPS],
                      size_t *n)
{
    int r = fm_sql_advance(p);

    if (r == 0 && p->tok.kind == FM_SQL_STRING)
        p->tok.kind = FM_SQL_QUOTED;
    return r != 0 ? r : fm_sql_read_path(p, true, false, names, n);
}

static int read_column(struct fm_sql_parser *p)
{
    struct fm_sql_plan *plan = p->plan;
    struct fm_sql_step names[FM_SQL_MAX_STEPS];
    struct fm_sql_source source;
    struct fm_sql_expr e;
    size_t n = 0, before = plan->sql.len;
    struct fm_sql_token at = p->tok;
    int r = plan->n_values > 0 ? bt_buf_append_str(&plan->sql, ", ") : 0;

    r = r != 0 ? r : fm_sql_read_expr(p, &e);
    if (r != 0)
        return r;
    if (fm_sql_is(&p->tok, "as"))
        r = read_alias(p, names, &n);
    else
        r = default_name(p, &e, names, &n);
    if (r != 0)
        return r;
    source = (struct fm_sql_source){ e.is_path, e.is_truth,
                                     e.is_path ? e.path : plan->n_values };
    if (e.is_path)
        plan->sql.len = before;
    else
        plan->n_values++;
    r = fm_sql_plan_member(plan, names, n, source);
    if (r != FM_SQL_TAKEN)
        return r;
    p->tok = at;
    return fm_sql_fail(p, "the result has a member of this name already");
}

static int read_list(struct fm_sql_parser *p)
{
    unsigned n = 0;
    int r = 0;

    for (bool more = true; r == 0 && more; n++) {
        if (n == FM_SQL_MAX_COLUMNS)
            return fm_sql_fail(p, "more than %u columns", FM_SQL_MAX_COLUMNS);
        if (fm_sql_is(&p->tok, "*")) {
            p->plan->star = p->plan->reads = true;
            r = fm_sql_advance(p);
        } else {
            r = read_column(p);
        }
        more = fm_sql_is(&p->tok, ",");
        if (r == 0 && more)
            r = fm_sql_advance(p);
    }
    return r;
}

static int read_condition(struct fm_sql_parser *p)
{
    struct bt_buf *sql = &p->plan->sql;
    struct fm_sql_expr e;
    int r = p->plan->n_values == 0 ? bt_buf_append_str(sql, "1") : 0;

    r = r != 0 ? r : bt_buf_append_str(sql, " WHERE ");
    r = r != 0 ? r : fm_sql_advance(p);
    return r != 0 ? r : fm_sql_read_expr(p, &e);
}

static int read_statement(struct fm_sql_parser *p)
{
    bool condition, closed;
    int r = fm_sql_advance(p);

    r = r != 0 ? r : fm_sql_expect(p, "select");
    r = r != 0 ? r : bt_buf_append_str(&p->plan->sql, "SELECT ");
    r = r != 0 ? r : read_list(p);
    if (r != 0)
        return r;
    condition = fm_sql_is(&p->tok, "where");
    if (condition)
        r = read_condition(p);
    closed = fm_sql_is(&p->tok, ";");
    if (r == 0 && closed)
        r = fm_sql_advance(p);
    if (r == 0 && p->tok.kind != FM_SQL_END && closed)
        return fm_sql_fail(p, "one statement is all there can be");
    if (r == 0 && p->tok.kind != FM_SQL_END)
        return unexpected(p, condition ? "an operator or the end"
                                       : "`,`, `as`, an operator, `where` or the end");
    if (r == 0 && !condition && p->plan->n_values == 0)
        p->plan->sql.len = 0;
    else if (r == 0)
        r = bt_buf_append_u8(&p->plan->sql, 0);
    return r;
}

int fm_sql_parse(struct bt_slice text, struct fm_sql_plan *plan, struct bt_buf *why)
{
    struct fm_sql_parser p = { .lex = { text, 0 }, .plan = plan, .why = why };

    *plan = (struct fm_sql_plan){ 0 };
    if (!bt_mqtt_utf8_ok(text)) {
        int r = bt_buf_append_str(why, "in that it is not UTF-8");

        return r != 0 ? r : BT_EINVAL;
    }
    if (text.len > FM_SQL_MAX_STATEMENT) {
        int r = bt_buf_printf(why, "in that it is longer than %zu bytes",
                              FM_SQL_MAX_STATEMENT);

        return r != 0 ? r : BT_EINVAL;
    }
    return read_statement(&p);
}
