/* One run of a statement: what SQLite's functions and the writer share. Private to
 * funcmgr/sql*.c. */
#ifndef FUNCMGR_SQL_RUN_H
#define FUNCMGR_SQL_RUN_H

#include "core/json.h"
#include "funcmgr/process/frame.h"
#include "funcmgr/sql/sql_plan.h"

struct fm_sql_db;

struct fm_sql_run {
    const struct fm_sql_plan *plan;
    const struct fm_message *message;
    const struct bt_json_val *root; /* the payload; NULL when no member is read */
    struct bt_json_sorter sorter;
    struct bt_buf text; /* of a value that SQLite gets as JSON */
};

/* The value at the end of a path; NULL: there is none. */
const struct bt_json_val *fm_sql_lookup(const struct fm_sql_run *run, uint32_t path);

/* A database without tables and the compiled statement. Functions read *run when it is
 * stepped. 0, BT_ENOMEM, or BT_EINVAL with SQLite's words in *why. */
int fm_sql_db_new(const char *sql, struct fm_sql_run *run, struct fm_sql_db **out,
                  struct bt_buf *why) BT_MUST_CHECK;
void fm_sql_db_free(struct fm_sql_db *db); /* NULL is fine */
/* Compute. 0: the columns can be read until _reset. FM_SQL_NO_ROW: the condition is not
 * true. BT_ENOMEM. BT_EINVAL: fm_sql_db_error. */
#define FM_SQL_NO_ROW 1
int fm_sql_db_step(struct fm_sql_db *db) BT_MUST_CHECK;
const char *fm_sql_db_error(const struct fm_sql_db *db);
/* Append a column as JSON. 0, BT_ENOMEM or BT_ELIMIT. */
int fm_sql_db_put(struct fm_sql_db *db, uint32_t column, bool is_truth,
                  struct bt_buf *out) BT_MUST_CHECK;
void fm_sql_db_reset(struct fm_sql_db *db);

/* Append the result. 0, BT_ENOMEM or BT_ELIMIT. */
int fm_sql_write(struct fm_sql_run *run, struct fm_sql_db *db,
                 struct bt_buf *out) BT_MUST_CHECK;

#endif
