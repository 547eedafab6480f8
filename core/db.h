/* A database file (SQLite underneath; core/db.c is the only file that knows it). One
 * connection, one thread at a time. The connection keeps the file locked for as long as
 * it lives, writes ahead to a log beside it (FILE-wal) and has every commit on the disk
 * before bt_db_commit returns.
 *
 * Statements are prepared once from a table and named by their place in it. Binding never
 * fails by itself: what went wrong is told by the step that follows. A failure is BT_EDB
 * and logged once (id CORE-DB); further ones are quiet until a commit succeeds again. */
#ifndef CORE_DB_H
#define CORE_DB_H

#include "core/base.h"

struct bt_db;

#define BT_DB_ROW 1 /* condition of bt_db_step */
#define BT_DB_DAMAGED \
    2 /* condition of bt_db_open and bt_db_check: not a database, or a broken one */

#define BT_DB_CACHE_KB 2048 /* most page memory */
#define BT_DB_WAL_PAGES \
    2000 /* the log is carried over into the file when it has this many */

/* path NULL: a database in memory. A missing file is created with mode 0600. 0; BT_EBUSY
 * (another process, or another connection, has it); BT_DB_DAMAGED (logged by the caller);
 * BT_EIO, BT_EDB. */
int bt_db_open(const char *path, struct bt_db **out) BT_MUST_CHECK;
/* Rolls back what is not committed. The log of a damaged database stays as it is. NULL is
 * fine. */
void bt_db_close(struct bt_db *db);
/* Reads the whole file and checks its structure; deep: also that indexes and tables say
 * the same. 0, BT_DB_DAMAGED or BT_EDB. */
int bt_db_check(struct bt_db *db, bool deep) BT_MUST_CHECK;
/* True once any call met damage. */
bool bt_db_damaged(const struct bt_db *db);
/* True when the last failure was for lack of space. */
bool bt_db_full(const struct bt_db *db);
/* One or more statements without parameters. */
int bt_db_exec(struct bt_db *db, const char *sql) BT_MUST_CHECK;
/* First column of the first row of a query, 0 when there is none. */
int bt_db_query_int(struct bt_db *db, const char *sql, int64_t *out) BT_MUST_CHECK;
/* Prepares sql[0..n-1], the statements 0..n-1 from now on. Once per database. */
int bt_db_prepare(struct bt_db *db, const char *const *sql, size_t n) BT_MUST_CHECK;

/* Parameters count from 1. Bytes are borrowed until the statement is done or reset. */
void bt_db_bind_int(struct bt_db *db, unsigned stmt, int pos, int64_t v);
void bt_db_bind_text(struct bt_db *db, unsigned stmt, int pos, struct bt_slice v);
void bt_db_bind_blob(struct bt_db *db, unsigned stmt, int pos, struct bt_slice v);
/* BT_DB_ROW; 0 when done, then the statement can be bound and run again; BT_EDB, the
 * same. */
int bt_db_step(struct bt_db *db, unsigned stmt) BT_MUST_CHECK;
/* Step without caring for rows: 0 or BT_EDB. */
int bt_db_run(struct bt_db *db, unsigned stmt) BT_MUST_CHECK;
/* Needed when a statement is left before it is done. */
void bt_db_reset(struct bt_db *db, unsigned stmt);
/* Columns count from 0 and are valid until the next step or reset. */
int64_t bt_db_int(struct bt_db *db, unsigned stmt, int column);
struct bt_slice bt_db_blob(struct bt_db *db, unsigned stmt, int column);
/* NUL-terminated; "" for a null. */
const char *bt_db_text(struct bt_db *db, unsigned stmt, int column);
/* Rows changed by the last statement that changes rows. */
int64_t bt_db_changes(struct bt_db *db);

int bt_db_begin(struct bt_db *db) BT_MUST_CHECK;
int bt_db_commit(struct bt_db *db) BT_MUST_CHECK;
/* Harmless outside a transaction. */
void bt_db_rollback(struct bt_db *db);
/* Carries the log over into the file, so that its space can be used again. empty: the
 * log's file gives its space back, too. */
void bt_db_checkpoint(struct bt_db *db, bool empty);

/* What all databases of this process did to the device. Any thread. */
struct bt_db_io {
    uint64_t file_bytes, log_bytes; /* written to database files and to their logs */
    uint64_t syncs, sync_us;        /* fdatasync and how long they took */
};
void bt_db_io_get(struct bt_db_io *out);
/* Tests: the next n synchronisations fail (I/O error), the next n writes (no space). */
void bt_db_io_fail(unsigned n_syncs, unsigned n_writes);

#endif
