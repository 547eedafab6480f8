/* The idea: precedence climbing with SQLite's own precedences, writing what was read to
 * the text for SQLite in the same order. A path becomes a call of our function with the
 * number of the path, so that no name of the payload ever reaches SQLite. Only what the
 * grammar below knows is written, which leaves out subqueries, tables, parameters and
 * everything else. Depth and nesting are bounded here because SQLite's own check is
 * compiled out. Failures: one sentence with the place. */
#include "funcmgr/sql/sql_expr.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "funcmgr/sql/sql_names.h"

#define NEAR 24 /* characters of the statement that are shown with an error */

enum { OR = 1, AND, NOT, EQUAL, LESS, BITS, SUM, PRODUCT, CONCAT, UNARY };

static const struct binary {
    const char *text, *sql;
    unsigned precedence;
    bool truth;
} binaries[] = {
    { "or", " OR ", OR, true },     { "and", " AND ", AND, true },
    { "=", " = ", EQUAL, true },    { "==", " = ", EQUAL, true },
    { "!=", " <> ", EQUAL, true },  { "<>", " <> ", EQUAL, true },
    { "<", " < ", LESS, true },     { "<=", " <= ", LESS, true },
    { ">", " > ", LESS, true },     { ">=", " >= ", LESS, true },
    { "&", " & ", BITS, false },    { "|", " | ", BITS, false },
    { "<<", " << ", BITS, false },  { ">>", " >> ", BITS, false },
    { "+", " + ", SUM, false },     { "-", " - ", SUM, false },
    { "*", " * ", PRODUCT, false }, { "/", " / ", PRODUCT, false },
    { "%", " % ", PRODUCT, false }, { "||", " || ", CONCAT, false },
};

static int read_binary(struct fm_sql_parser *p, unsigned lowest, struct fm_sql_expr *out);

/* ---- Errors and small steps ---- */

BT_PRINTF(2, 3)
int fm_sql_fail(struct fm_sql_parser *p, const char *fmt, ...)
{
    struct bt_slice rest = { p->lex.text.ptr + p->tok.at, p->lex.text.len - p->tok.at };
    const uint8_t *line = rest.len > 0 ? memchr(rest.ptr, '\n', rest.len) : NULL;
    char text[256];
    va_list args;
    int r;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    p->why->len = 0;
    if (line != NULL)
        rest.len = (size_t)(line - rest.ptr);
    if (rest.len == 0)
        r = bt_buf_printf(p->why, "at its end: %s", text);
    else
        r = bt_buf_printf(p->why, "at character %zu, `%.*s%s`: %s", p->tok.at + 1,
                          (int)BT_MIN(rest.len, (size_t)NEAR), (const char *)rest.ptr,
                          rest.len > NEAR ? "..." : "", text);
    return r != 0 ? r : BT_EINVAL;
}

int fm_sql_advance(struct fm_sql_parser *p)
{
    fm_sql_next(&p->lex, &p->tok);
    return p->tok.kind == FM_SQL_BAD ? fm_sql_fail(p, "%s", p->tok.bad) : 0;
}

int fm_sql_expect(struct fm_sql_parser *p, const char *what)
{
    if (!fm_sql_is(&p->tok, what))
        return fm_sql_fail(p, "expected `%s`", what);
    return fm_sql_advance(p);
}

static int emit(struct fm_sql_parser *p, const char *text)
{
    return bt_buf_append_str(&p->plan->sql, text);
}

/* Emit and go on. */
static int pass(struct fm_sql_parser *p, const char *text)
{
    int r = emit(p, text);

    return r != 0 ? r : fm_sql_advance(p);
}

static int emit_token(struct fm_sql_parser *p)
{
    int r = bt_buf_append(&p->plan->sql, p->tok.text.ptr, p->tok.text.len);

    return r != 0 ? r : pass(p, " ");
}

static int deepen(struct fm_sql_parser *p, struct fm_sql_expr *out,
                  const struct fm_sql_expr *other)
{
    unsigned depth = BT_MAX(out->depth, other->depth) + 1;

    *out = (struct fm_sql_expr){ .depth = depth };
    if (depth > FM_SQL_MAX_DEPTH)
        return fm_sql_fail(p, "more than %u operators in each other; use parentheses",
                           FM_SQL_MAX_DEPTH);
    return 0;
}

/* ---- Paths ---- */

static int read_name(struct fm_sql_parser *p, struct fm_sql_step *step)
{
    uint8_t *name = fm_sql_plan_alloc(p->plan, p->tok.text.len + 1);

    if (name == NULL)
        return BT_ENOMEM;
    *step = (struct fm_sql_step){ .name = { name, fm_sql_unquote(&p->tok, name) } };
    return fm_sql_advance(p);
}

/* Behind the bracket: an item's number, or a member's name as a text. */
static int read_item(struct fm_sql_parser *p, struct fm_sql_step *step)
{
    bool minus = fm_sql_is(&p->tok, "-");
    int r = minus ? fm_sql_advance(p) : 0;

    if (r != 0)
        return r;
    if (!minus && (p->tok.kind == FM_SQL_STRING || p->tok.kind == FM_SQL_QUOTED)) {
        r = read_name(p, step);
    } else if (p->tok.kind == FM_SQL_INTEGER && p->tok.text.len <= 9) {
        long n = strtol((const char *)p->tok.text.ptr, NULL, 10);

        *step = (struct fm_sql_step){ .index = minus ? -n : n };
        r = fm_sql_advance(p);
    } else {
        return fm_sql_fail(p, "expected the number of an item, or a name in quotes");
    }
    return r != 0 ? r : fm_sql_expect(p, "]");
}

static bool is_name(const struct fm_sql_token *t)
{
    return t->kind == FM_SQL_WORD || t->kind == FM_SQL_QUOTED;
}

int fm_sql_read_path(struct fm_sql_parser *p, bool any_word, bool items,
                     struct fm_sql_step steps[FM_SQL_MAX_STEPS], size_t *n)
{
    int r = 0;

    *n = 0;
    if (!is_name(&p->tok) || (!any_word && fm_sql_is_reserved(&p->tok)))
        return fm_sql_fail(p, "expected a name");
    r = read_name(p, &steps[(*n)++]);
    while (r == 0 && (fm_sql_is(&p->tok, ".") || (items && fm_sql_is(&p->tok, "[")))) {
        bool dot = fm_sql_is(&p->tok, ".");

        if (*n == FM_SQL_MAX_STEPS)
            return fm_sql_fail(p, "more than %u names", FM_SQL_MAX_STEPS);
        r = fm_sql_advance(p);
        if (r == 0 && dot && !is_name(&p->tok))
            return fm_sql_fail(p, "expected a name behind the dot");
        if (r == 0)
            r = dot ? read_name(p, &steps[(*n)++]) : read_item(p, &steps[(*n)++]);
    }
    return r;
}

static int read_member(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    struct fm_sql_step steps[FM_SQL_MAX_STEPS];
    size_t n;
    int r = fm_sql_read_path(p, false, true, steps, &n);

    if (r == 0)
        r = fm_sql_plan_path(p->plan, steps, n, &out->path);
    if (r == BT_ELIMIT)
        return fm_sql_fail(p, "more than %u members", FM_SQL_MAX_PATHS);
    if (r != 0)
        return r;
    out->is_path = true;
    p->plan->reads = true;
    return bt_buf_printf(&p->plan->sql, FM_SQL_MEMBER "(%u) ", (unsigned)out->path);
}

/* ---- Values ---- */

static int read_case(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    struct fm_sql_expr e = { 0 };
    bool truth = true;
    unsigned n = 0;
    int r = pass(p, "CASE ");

    if (r == 0 && !fm_sql_is(&p->tok, "when"))
        r = fm_sql_read_expr(p, &e);
    for (; r == 0 && (n == 0 || fm_sql_is(&p->tok, "when")); n++) {
        out->depth = BT_MAX(out->depth, e.depth);
        r = fm_sql_expect(p, "when");
        r = r != 0 ? r : emit(p, " WHEN ");
        r = r != 0 ? r : fm_sql_read_expr(p, &e);
        out->depth = BT_MAX(out->depth, e.depth);
        r = r != 0 ? r : fm_sql_expect(p, "then");
        r = r != 0 ? r : emit(p, " THEN ");
        r = r != 0 ? r : fm_sql_read_expr(p, &e);
        truth = truth && e.is_truth;
    }
    out->depth = BT_MAX(out->depth, e.depth);
    if (r == 0 && fm_sql_is(&p->tok, "else")) {
        r = pass(p, " ELSE ");
        r = r != 0 ? r : fm_sql_read_expr(p, &e);
        truth = truth && e.is_truth;
    }
    if (r == 0 && !fm_sql_is(&p->tok, "end"))
        return fm_sql_fail(p, "expected `when`, `else` or `end`");
    r = r != 0 ? r : pass(p, " END ");
    r = r != 0 ? r : deepen(p, out, &e);
    out->is_truth = truth;
    return r;
}

static int read_cast(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    static const struct {
        const char *name, *sql;
    } types[] = { { "integer", " AS INTEGER) " }, { "int", " AS INTEGER) " },
                  { "real", " AS REAL) " },       { "double", " AS REAL) " },
                  { "float", " AS REAL) " },      { "text", " AS TEXT) " },
                  { "string", " AS TEXT) " },     { "varchar", " AS TEXT) " } };
    int r = pass(p, "CAST");

    r = r != 0 ? r : fm_sql_expect(p, "(");
    r = r != 0 ? r : emit(p, "(");
    r = r != 0 ? r : fm_sql_read_expr(p, out);
    r = r != 0 ? r : fm_sql_expect(p, "as");
    for (size_t i = 0; r == 0 && i < BT_ARRAY_LEN(types); i++) {
        if (!fm_sql_is(&p->tok, types[i].name))
            continue;
        r = pass(p, types[i].sql);
        r = r != 0 ? r : fm_sql_expect(p, ")");
        return r != 0 ? r : deepen(p, out, out);
    }
    return r != 0 ? r : fm_sql_fail(p, "expected integer, real or text");
}

static int check_arguments(struct fm_sql_parser *p, const struct fm_sql_function *f,
                           unsigned n)
{
    if (n >= f->min && n <= f->max)
        return 0;
    if (f->min == f->max)
        return fm_sql_fail(p, "%s() takes %u argument%s, here are %u", f->name, f->min,
                           f->min == 1 ? "" : "s", n);
    return fm_sql_fail(p, "%s() takes at least %u and at most %u arguments, here are %u",
                       f->name, f->min, f->max, n);
}

static int read_argument(struct fm_sql_parser *p, const struct fm_sql_function *f,
                         unsigned n, struct fm_sql_expr *e)
{
    struct fm_sql_token at = p->tok, after;
    int r = n > 1 ? emit(p, ", ") : 0;

    r = r != 0 ? r : fm_sql_read_expr(p, e);
    if (r != 0 || n != f->literal)
        return r;
    after = p->tok;
    p->tok = at;
    if (!e->is_literal)
        return fm_sql_fail(p, "argument %u of %s() must be written as a text in '...'", n,
                           f->name);
    if (n > 1 && at.text.len > FM_SQL_MAX_PATTERN)
        return fm_sql_fail(p, "more than %u bytes", FM_SQL_MAX_PATTERN);
    p->tok = after;
    return 0;
}

/* The name was read; the present token is the parenthesis. */
static int read_call(struct fm_sql_parser *p, const struct fm_sql_function *f,
                     struct fm_sql_expr *out)
{
    bool truth = f->truth_from != 0;
    unsigned n = 0;
    int r = emit(p, f->name);

    r = r != 0 ? r : pass(p, "(");
    while (r == 0 && !fm_sql_is(&p->tok, ")")) {
        struct fm_sql_expr e = { 0 };

        if (n > 0)
            r = fm_sql_expect(p, ",");
        if (r == 0)
            r = read_argument(p, f, ++n, &e);
        out->depth = BT_MAX(out->depth, e.depth);
        truth = truth && (e.is_truth || n < f->truth_from);
    }
    r = r != 0 ? r : check_arguments(p, f, n);
    r = r != 0 ? r : pass(p, ") ");
    r = r != 0 ? r : deepen(p, out, out);
    out->is_truth = truth;
    out->function = n == 0 ? f->name : NULL;
    return r;
}

static int unknown_function(struct fm_sql_parser *p, const struct fm_sql_token *name)
{
    p->tok = *name;
    return fm_sql_fail(
        p, "there is no function `%.*s`; docs/functions-reference.md lists them",
        (int)BT_MIN(name->text.len, (size_t)64), (const char *)name->text.ptr);
}

/* A word that is no keyword: a function's name or a path. */
static int read_word(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    struct fm_sql_lex before = p->lex;
    struct fm_sql_token name = p->tok;
    const struct fm_sql_function *f = fm_sql_function(name.text);
    int r;

    fm_sql_next(&p->lex, &p->tok);
    if (name.kind == FM_SQL_WORD && fm_sql_is(&p->tok, "("))
        return f != NULL ? read_call(p, f, out) : unknown_function(p, &name);
    p->lex = before;
    p->tok = name;
    r = read_member(p, out);
    return r;
}

static int read_parentheses(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    int r = pass(p, "(");

    r = r != 0 ? r : fm_sql_read_expr(p, out);
    if (r == 0 && !fm_sql_is(&p->tok, ")"))
        return fm_sql_fail(p, "expected an operator or `)`");
    out->function = NULL;
    return r != 0 ? r : pass(p, ") ");
}

static int read_literal(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    out->is_literal = true;
    return emit_token(p);
}

static int read_truth(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    out->is_truth = true;
    return pass(p,
                fm_sql_is(&p->tok, "true") ? FM_SQL_TRUTH "(1) " : FM_SQL_TRUTH "(0) ");
}

static int read_null(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    (void)out;
    return pass(p, "NULL ");
}

static int read_value(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    static const struct {
        const char *word;
        int (*fn)(struct fm_sql_parser *p, struct fm_sql_expr *out);
    } words[] = { { "case", read_case },   { "cast", read_cast },
                  { "null", read_null },   { "true", read_truth },
                  { "false", read_truth }, { "(", read_parentheses } };

    for (size_t i = 0; i < BT_ARRAY_LEN(words); i++) {
        if (fm_sql_is(&p->tok, words[i].word))
            return words[i].fn(p, out);
    }
    if (p->tok.kind == FM_SQL_STRING || p->tok.kind == FM_SQL_INTEGER ||
        p->tok.kind == FM_SQL_REAL)
        return read_literal(p, out);
    if (p->tok.kind == FM_SQL_QUOTED ||
        (p->tok.kind == FM_SQL_WORD && !fm_sql_is_reserved(&p->tok)))
        return read_word(p, out);
    if (fm_sql_is(&p->tok, "not"))
        return fm_sql_fail(p, "write parentheses around `not ...` here");
    if (fm_sql_is(&p->tok, "*"))
        return fm_sql_fail(p, "`*` stands for all members, alone in the list");
    if (fm_sql_is_reserved(&p->tok))
        return fm_sql_fail(p, "expected a value; a member with this name is written in "
                              "double quotes");
    return fm_sql_fail(p, "expected a value");
}

/* ---- Operators ---- */

static int read_unary(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    static const char *const signs[] = { "-", "+", "~" };
    int r;

    if (p->nesting == FM_SQL_MAX_NESTING)
        return fm_sql_fail(p, "more than %u parentheses, calls and signs in each other",
                           FM_SQL_MAX_NESTING);
    for (size_t i = 0; i < BT_ARRAY_LEN(signs); i++) {
        if (!fm_sql_is(&p->tok, signs[i]))
            continue;
        r = emit(p, signs[i]);
        r = r != 0 ? r : pass(p, " ");
        p->nesting++;
        r = r != 0 ? r : read_unary(p, out);
        p->nesting--;
        return r != 0 ? r : deepen(p, out, out);
    }
    p->nesting++;
    r = read_value(p, out);
    p->nesting--;
    return r;
}

static int read_between(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    struct fm_sql_expr low = { 0 }, high = { 0 };
    int r = pass(p, " BETWEEN ");

    r = r != 0 ? r : read_binary(p, LESS, &low);
    r = r != 0 ? r : fm_sql_expect(p, "and");
    r = r != 0 ? r : emit(p, " AND ");
    r = r != 0 ? r : read_binary(p, LESS, &high);
    r = r != 0 ? r : deepen(p, out, &low);
    return r != 0 ? r : deepen(p, out, &high);
}

static int read_in(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    int r = pass(p, " IN ");

    r = r != 0 ? r : fm_sql_expect(p, "(");
    r = r != 0 ? r : emit(p, "(");
    for (bool more = true; r == 0 && more;) {
        struct fm_sql_expr e = { 0 };

        r = fm_sql_read_expr(p, &e);
        r = r != 0 ? r : deepen(p, &e, &e);
        out->depth = BT_MAX(out->depth, e.depth);
        more = fm_sql_is(&p->tok, ",");
        if (r == 0 && more)
            r = pass(p, ", ");
    }
    r = r != 0 ? r : fm_sql_expect(p, ")");
    r = r != 0 ? r : emit(p, ") ");
    return r != 0 ? r : deepen(p, out, out);
}

static int read_pattern(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    struct fm_sql_expr e = { 0 };
    struct fm_sql_token at;
    bool like = fm_sql_is(&p->tok, "like");
    int r = pass(p, like ? " LIKE " : " GLOB ");

    at = p->tok;
    r = r != 0 ? r : read_binary(p, LESS, &e);
    if (r == 0 && !e.is_literal) {
        p->tok = at;
        return fm_sql_fail(p, "the pattern must be written as a text in '...'");
    }
    if (r == 0 && at.text.len > FM_SQL_MAX_PATTERN)
        return fm_sql_fail(p, "a pattern of more than %u bytes", FM_SQL_MAX_PATTERN);
    if (r == 0 && like && fm_sql_is(&p->tok, "escape")) {
        r = pass(p, " ESCAPE ");
        if (r == 0 && (p->tok.kind != FM_SQL_STRING || p->tok.text.len != 3))
            return fm_sql_fail(p, "expected one character in '...'");
        r = r != 0 ? r : emit_token(p);
    }
    return r != 0 ? r : deepen(p, out, &e);
}

static int read_is(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    struct fm_sql_expr e = { 0 };
    int r = pass(p, " IS ");

    if (r == 0 && fm_sql_is(&p->tok, "not"))
        r = pass(p, "NOT ");
    r = r != 0 ? r : read_binary(p, LESS, &e);
    return r != 0 ? r : deepen(p, out, &e);
}

/* An operator in words behind a value. FM_SQL_NONE: there is none. */
#define FM_SQL_NONE 1
static int read_test(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    static const struct {
        const char *word;
        int (*fn)(struct fm_sql_parser *p, struct fm_sql_expr *out);
        bool with_not;
    } tests[] = { { "is", read_is, false },
                  { "in", read_in, true },
                  { "like", read_pattern, true },
                  { "glob", read_pattern, true },
                  { "between", read_between, true } };
    bool not = fm_sql_is(&p->tok, "not");
    int r = not ? pass(p, " NOT") : 0;

    for (size_t i = 0; r == 0 && i < BT_ARRAY_LEN(tests); i++) {
        if (!fm_sql_is(&p->tok, tests[i].word) || (not &&!tests[i].with_not))
            continue;
        r = tests[i].fn(p, out);
        out->is_truth = true;
        return r;
    }
    if (r != 0 || !not )
        return r != 0 ? r : FM_SQL_NONE;
    return fm_sql_fail(p, "expected `in`, `like`, `glob` or `between`");
}

static const struct binary *find_binary(const struct fm_sql_token *t)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(binaries); i++) {
        if (fm_sql_is(t, binaries[i].text))
            return &binaries[i];
    }
    return NULL;
}

/* One operator and what follows it. FM_SQL_NONE: none that binds so strongly. */
static int read_operator(struct fm_sql_parser *p, unsigned lowest,
                         struct fm_sql_expr *out)
{
    const struct binary *b = find_binary(&p->tok);
    struct fm_sql_expr right = { 0 };
    int r;

    if (b == NULL)
        return lowest <= EQUAL ? read_test(p, out) : FM_SQL_NONE;
    if (b->precedence < lowest)
        return FM_SQL_NONE;
    r = pass(p, b->sql);
    r = r != 0 ? r : read_binary(p, b->precedence + 1, &right);
    r = r != 0 ? r : deepen(p, out, &right);
    out->is_truth = b->truth;
    return r;
}

static int read_binary(struct fm_sql_parser *p, unsigned lowest, struct fm_sql_expr *out)
{
    int r;

    if (lowest <= NOT && fm_sql_is(&p->tok, "not")) {
        r = pass(p, "NOT ");
        if (r == 0 && ++p->nesting > FM_SQL_MAX_NESTING)
            return fm_sql_fail(p, "too many `not`");
        r = r != 0 ? r : read_binary(p, NOT, out);
        p->nesting--;
        r = r != 0 ? r : deepen(p, out, out);
        out->is_truth = true;
    } else {
        r = read_unary(p, out);
    }
    while (r == 0)
        r = read_operator(p, lowest, out);
    return r == FM_SQL_NONE ? 0 : r;
}

int fm_sql_read_expr(struct fm_sql_parser *p, struct fm_sql_expr *out)
{
    *out = (struct fm_sql_expr){ 0 };
    return read_binary(p, OR, out);
}
