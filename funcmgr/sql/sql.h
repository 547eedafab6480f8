/* The `sql` runtime: one statement over the payload and its message, in process. One
 * thread at a time; the function manager's. docs/functions-reference.md says what a
 * statement is. */
#ifndef FUNCMGR_SQL_H
#define FUNCMGR_SQL_H

#include "funcmgr/pool/call.h"

/* Longest text that an expression handles; what only passes through may be longer. */
#define FM_SQL_MAX_TEXT 1048576

struct fm_sql;

/* Whether a function with this runtime (or NULL) is a statement. */
bool fm_sql_is_runtime(const char *runtime);

/* 0, BT_ENOMEM, or BT_EINVAL with what is wrong with the statement, and where, in *why
 * (one line, not logged). *out is NULL unless 0. */
int fm_sql_new(const char *statement, struct fm_sql **out,
               struct bt_buf *why) BT_MUST_CHECK;
void fm_sql_free(struct fm_sql *sql); /* NULL is fine */
/* Run the statement over a message. 0: the result is in *out (borrowed until the next
 * run), empty when there is none. BT_ELIMIT: the result is longer than max, or the
 * payload is nested too deeply. BT_ENOMEM. BT_EINVAL: *why says what SQLite could not
 * compute (borrowed until the next run). */
int fm_sql_run(struct fm_sql *sql, const struct fm_message *m, size_t max,
               struct bt_slice *out, const char **why) BT_MUST_CHECK;
/* Run it for a call, and call done. max: bytes of the payload and of the result. */
void fm_sql_call(struct fm_sql *sql, struct fm_call *call, size_t max);

#endif
