/* Words of a statement of the `sql` runtime. No state but the reader's; any thread. */
#ifndef FUNCMGR_SQL_LEX_H
#define FUNCMGR_SQL_LEX_H

#include "core/base.h"

enum fm_sql_kind {
    FM_SQL_END,
    FM_SQL_WORD,   /* a name or a keyword */
    FM_SQL_QUOTED, /* a name in "", `` */
    FM_SQL_STRING, /* a text in '' */
    FM_SQL_INTEGER,
    FM_SQL_REAL,
    FM_SQL_OP,
    FM_SQL_BAD, /* bad says why */
};

struct fm_sql_token {
    enum fm_sql_kind kind;
    struct bt_slice text; /* as written, with quotes */
    size_t at;            /* where it begins in the statement */
    const char *bad;
};

struct fm_sql_lex {
    struct bt_slice text;
    size_t at;
};

/* The next token; blanks and comments are skipped. At the end always FM_SQL_END. */
void fm_sql_next(struct fm_sql_lex *lex, struct fm_sql_token *out);
/* Whether it is this keyword (in any case) or this operator. A quoted name is neither. */
bool fm_sql_is(const struct fm_sql_token *t, const char *what);
/* A keyword that is a name only in quotes, behind a dot or behind `as`. */
bool fm_sql_is_reserved(const struct fm_sql_token *t);
/* The characters of a quoted name, a text or a word, without quotes, to out (of at least
 * t->text.len bytes); the length. */
size_t fm_sql_unquote(const struct fm_sql_token *t, uint8_t *out);

#endif
