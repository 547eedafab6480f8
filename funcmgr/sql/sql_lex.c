/* The idea: one pass, a function per kind of token, chosen by the first character. The
 * text comes from a configuration file: nothing in it is believed, what no token begins
 * with is a bad token that says why. */
#include "funcmgr/sql/sql_lex.h"

#include <string.h>
#include <strings.h>

static const char *const reserved[] = {
    "and",  "as",     "between", "case",      "cast",   "distinct", "else",  "end",
    "from", "glob",   "group",   "having",    "in",     "is",       "like",  "limit",
    "not",  "null",   "or",      "order",     "select", "then",     "true",  "union",
    "when", "escape", "false",   "intersect", "except", "join",     "where",
};

/* Longest first. */
static const char *const operators[] = {
    "||", "<<", ">>", "<=", ">=", "<>", "!=", "==", "(", ")", ",", ".", "[",
    "]",  "*",  "/",  "%",  "+",  "-",  "<",  ">",  "=", "&", "|", "~", ";",
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
           c >= 0x80;
}

/* 0 beyond the end. */
static uint8_t peek(const struct fm_sql_lex *lex, size_t ahead)
{
    size_t i = lex->at + ahead;

    return i < lex->text.len ? lex->text.ptr[i] : 0;
}

static bool skip_comment(struct fm_sql_lex *lex)
{
    bool block = peek(lex, 0) == '/';

    lex->at += 2;
    for (; lex->at < lex->text.len; lex->at++) {
        if (!block && peek(lex, 0) == '\n')
            return true;
        if (block && peek(lex, 0) == '*' && peek(lex, 1) == '/') {
            lex->at += 2;
            return true;
        }
    }
    return !block;
}

/* Whether all comments end. */
static bool skip_blanks(struct fm_sql_lex *lex)
{
    while (lex->at < lex->text.len) {
        uint8_t c = peek(lex, 0), d = peek(lex, 1);

        if ((c == '-' && d == '-') || (c == '/' && d == '*')) {
            if (!skip_comment(lex))
                return false;
        } else if (c == ' ' || (c >= '\t' && c <= '\r')) {
            lex->at++;
        } else {
            break;
        }
    }
    return true;
}

static void lex_word(struct fm_sql_lex *lex, struct fm_sql_token *t)
{
    t->kind = FM_SQL_WORD;
    while (is_letter(peek(lex, 0)) || is_digit(peek(lex, 0)))
        lex->at++;
}

static void skip_digits(struct fm_sql_lex *lex)
{
    while (is_digit(peek(lex, 0)))
        lex->at++;
}

static void lex_number(struct fm_sql_lex *lex, struct fm_sql_token *t)
{
    t->kind = FM_SQL_INTEGER;
    skip_digits(lex);
    if (peek(lex, 0) == '.') {
        t->kind = FM_SQL_REAL;
        lex->at++;
        skip_digits(lex);
    }
    if (peek(lex, 0) == 'e' || peek(lex, 0) == 'E') {
        size_t sign = peek(lex, 1) == '+' || peek(lex, 1) == '-' ? 1 : 0;

        if (is_digit(peek(lex, 1 + sign))) {
            t->kind = FM_SQL_REAL;
            lex->at += 1 + sign;
            skip_digits(lex);
        }
    }
    if (is_letter(peek(lex, 0))) {
        t->kind = FM_SQL_BAD;
        t->bad = "this is no number, and a name does not begin with a digit (quote it)";
        lex_word(lex, &(struct fm_sql_token){ 0 });
    }
}

static void lex_quoted(struct fm_sql_lex *lex, struct fm_sql_token *t)
{
    uint8_t quote = peek(lex, 0);

    t->kind = quote == '\'' ? FM_SQL_STRING : FM_SQL_QUOTED;
    for (lex->at++; lex->at < lex->text.len; lex->at++) {
        if (peek(lex, 0) != quote)
            continue;
        lex->at++;
        if (peek(lex, 0) != quote)
            return;
    }
    t->kind = FM_SQL_BAD;
    t->bad = "the quote is not closed";
}

static void lex_operator(struct fm_sql_lex *lex, struct fm_sql_token *t)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(operators); i++) {
        size_t n = strlen(operators[i]);

        if (lex->text.len - lex->at >= n &&
            memcmp(lex->text.ptr + lex->at, operators[i], n) == 0) {
            t->kind = FM_SQL_OP;
            lex->at += n;
            return;
        }
    }
    t->kind = FM_SQL_BAD;
    t->bad = "this character has no meaning here";
    lex->at++;
}

void fm_sql_next(struct fm_sql_lex *lex, struct fm_sql_token *out)
{
    bool ok = skip_blanks(lex);
    uint8_t c = peek(lex, 0);

    *out = (struct fm_sql_token){ .kind = FM_SQL_END, .at = lex->at };
    if (!ok) {
        out->kind = FM_SQL_BAD;
        out->bad = "the comment is not closed";
    } else if (lex->at >= lex->text.len) {
        out->kind = FM_SQL_END;
    } else if (is_letter(c)) {
        lex_word(lex, out);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(lex, 1)))) {
        lex_number(lex, out);
    } else if (c == '\'' || c == '"' || c == '`') {
        lex_quoted(lex, out);
    } else {
        lex_operator(lex, out);
    }
    out->text = (struct bt_slice){ lex->text.ptr + out->at, lex->at - out->at };
}

static bool same(struct bt_slice text, const char *word)
{
    return text.len == strlen(word) &&
           strncasecmp((const char *)text.ptr, word, text.len) == 0;
}

bool fm_sql_is(const struct fm_sql_token *t, const char *what)
{
    return (t->kind == FM_SQL_WORD || t->kind == FM_SQL_OP) && same(t->text, what);
}

bool fm_sql_is_reserved(const struct fm_sql_token *t)
{
    for (size_t i = 0; t->kind == FM_SQL_WORD && i < BT_ARRAY_LEN(reserved); i++) {
        if (same(t->text, reserved[i]))
            return true;
    }
    return false;
}

size_t fm_sql_unquote(const struct fm_sql_token *t, uint8_t *out)
{
    size_t n = 0;

    if (t->kind != FM_SQL_QUOTED && t->kind != FM_SQL_STRING) {
        memcpy(out, t->text.ptr, t->text.len);
        return t->text.len;
    }
    for (size_t i = 1; i + 1 < t->text.len; i++) {
        out[n++] = t->text.ptr[i];
        if (t->text.ptr[i] == t->text.ptr[0])
            i++;
    }
    return n;
}
