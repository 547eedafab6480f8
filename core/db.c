/* The one owner of SQLite.
 *
 * Opening sets the connection up: locked exclusively before the log is touched (two
 * processes can never have one file, and the log needs no shared memory), a log written
 * ahead, an fdatasync for every commit, a small cache, no memory mapping. Statements are
 * prepared once and only bound, stepped and reset afterwards; nothing is formatted.
 *
 * Failures: every SQLite code becomes BT_EDB here and is logged here, once until a commit
 * succeeds, because whoever retries on a full disk would fill the log. Damage is
 * remembered, for the owner has another answer to that than to try again. */
#include "core/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "core/db_io.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include <sqlite3.h>

struct bt_db {
    sqlite3 *handle;
    sqlite3_stmt **stmts;
    size_t n_stmts;
    sqlite3_stmt *begin, *commit;
    int bind_rc; /* first failure of a bind since the last step */
    bool failing, damaged, open, full;
};

/* Turns a code of SQLite into ours. */
static int db_failed(struct bt_db *db, int rc, const char *what)
{
    int primary = rc & 0xff;

    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
        db->damaged = true;
    db->full = primary == SQLITE_FULL;
    if (!db->failing)
        bt_log(BT_LOG_ERROR, "CORE-DB", "database failed",
               "call=\"%s\" code=%d errno=%d text=\"%s\"", what,
               sqlite3_extended_errcode(db->handle), sqlite3_system_errno(db->handle),
               sqlite3_errmsg(db->handle));
    db->failing = true;
    return primary == SQLITE_NOMEM ? BT_ENOMEM : BT_EDB;
}

int bt_db_exec(struct bt_db *db, const char *sql)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : db_failed(db, rc, sql);
}

/* SQLite would create the file readable by all. The descriptor must not be opened when
 * the file exists: closing it would drop the locks another connection of this process
 * holds. */
static int create_private(const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0 || errno == EEXIST ? 0 : bt_origin(BT_EIO, "creating a database file");
}

static int set_up(struct bt_db *db)
{
    char sql[512];
    int rc;

    snprintf(sql, sizeof(sql),
             "PRAGMA locking_mode=EXCLUSIVE; PRAGMA auto_vacuum=INCREMENTAL;"
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-%d;"
             "PRAGMA mmap_size=0; PRAGMA wal_autocheckpoint=%d;"
             "PRAGMA journal_size_limit=%d; PRAGMA trusted_schema=OFF;"
             "BEGIN IMMEDIATE; COMMIT",
             BT_DB_CACHE_KB, BT_DB_WAL_PAGES, BT_DB_WAL_PAGES * 4096);
    rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db->handle, "BEGIN", -1, &db->begin, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db->handle, "COMMIT", -1, &db->commit, NULL);
    return rc & 0xff;
}

int bt_db_open(const char *path, struct bt_db **out)
{
    struct bt_db *db;
    int rc, r;

    r = path != NULL ? create_private(path) : 0;
    if (r < 0)
        return r;
    if (sqlite3_initialize() != SQLITE_OK || (db = bt_calloc(1, sizeof(*db))) == NULL)
        return BT_ENOMEM;
    rc = sqlite3_open_v2(path != NULL ? path : ":memory:", &db->handle,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, bt_db_io_vfs());
    /* A log that cannot be carried over as it should is evidence. */
    if (rc == SQLITE_OK)
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = set_up(db);
    if (rc == SQLITE_OK) {
        db->open = true;
        *out = db;
        return 0;
    }
    if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) {
        bt_log(BT_LOG_ERROR, "CORE-DB-BUSY", "database is in use by another process",
               "path=\"%s\"", path);
        r = BT_EBUSY;
    } else if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) {
        r = BT_DB_DAMAGED;
    } else {
        r = db->handle != NULL ? db_failed(db, rc, "open") : BT_ENOMEM;
    }
    bt_db_close(db);
    return r;
}

void bt_db_close(struct bt_db *db)
{
    size_t i;

    if (db == NULL)
        return;
    for (i = 0; i < db->n_stmts; i++)
        sqlite3_finalize(db->stmts[i]);
    sqlite3_finalize(db->begin);
    sqlite3_finalize(db->commit);
    bt_free(db->stmts);
    if (db->open && !db->damaged)
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    sqlite3_close_v2(db->handle);
    bt_free(db);
}

bool bt_db_damaged(const struct bt_db *db)
{
    return db->damaged;
}

bool bt_db_full(const struct bt_db *db)
{
    return db->full;
}

static int is_ok(void *arg, int n, char **values, char **names)
{
    bool *ok = arg;

    (void)names;
    *ok = n == 1 && values[0] != NULL && values[0][0] == 'o' && values[0][1] == 'k';
    return 0;
}

int bt_db_check(struct bt_db *db, bool deep)
{
    bool ok = false;
    int rc = sqlite3_exec(db->handle,
                          deep ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)",
                          is_ok, &ok, NULL);

    if ((rc == SQLITE_OK && !ok) || (rc & 0xff) == SQLITE_CORRUPT ||
        (rc & 0xff) == SQLITE_NOTADB) {
        db->damaged = true;
        return BT_DB_DAMAGED;
    }
    return rc == SQLITE_OK ? 0 : db_failed(db, rc, "check");
}

int bt_db_query_int(struct bt_db *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);

    *out = 0;
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            *out = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_failed(db, rc, sql);
}

int bt_db_prepare(struct bt_db *db, const char *const *sql, size_t n)
{
    size_t i;
    int rc;

    db->stmts = bt_calloc(n, sizeof(*db->stmts));
    if (db->stmts == NULL)
        return BT_ENOMEM;
    db->n_stmts = n;
    for (i = 0; i < n; i++) {
        rc = sqlite3_prepare_v3(db->handle, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                &db->stmts[i], NULL);
        if (rc != SQLITE_OK)
            return db_failed(db, rc, sql[i]);
    }
    return 0;
}

static void bound(struct bt_db *db, int rc)
{
    if (rc != SQLITE_OK && db->bind_rc == SQLITE_OK)
        db->bind_rc = rc;
}

void bt_db_bind_int(struct bt_db *db, unsigned stmt, int pos, int64_t v)
{
    bound(db, sqlite3_bind_int64(db->stmts[stmt], pos, v));
}

void bt_db_bind_text(struct bt_db *db, unsigned stmt, int pos, struct bt_slice v)
{
    const char *p = v.ptr != NULL ? (const char *)v.ptr : "";

    bound(db, sqlite3_bind_text64(db->stmts[stmt], pos, p, v.len, SQLITE_STATIC,
                                  SQLITE_UTF8));
}

void bt_db_bind_blob(struct bt_db *db, unsigned stmt, int pos, struct bt_slice v)
{
    const void *p = v.ptr != NULL ? (const void *)v.ptr : "";

    bound(db, sqlite3_bind_blob64(db->stmts[stmt], pos, p, v.len, SQLITE_STATIC));
}

int bt_db_step(struct bt_db *db, unsigned stmt)
{
    int rc = db->bind_rc;

    db->bind_rc = SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(db->stmts[stmt]);
    if (rc == SQLITE_ROW)
        return BT_DB_ROW;
    sqlite3_reset(db->stmts[stmt]);
    return rc == SQLITE_DONE ? 0 : db_failed(db, rc, sqlite3_sql(db->stmts[stmt]));
}

int bt_db_run(struct bt_db *db, unsigned stmt)
{
    int r = bt_db_step(db, stmt);

    if (r == BT_DB_ROW) {
        bt_db_reset(db, stmt);
        r = 0;
    }
    return r;
}

void bt_db_reset(struct bt_db *db, unsigned stmt)
{
    sqlite3_reset(db->stmts[stmt]);
}

int64_t bt_db_int(struct bt_db *db, unsigned stmt, int column)
{
    return sqlite3_column_int64(db->stmts[stmt], column);
}

struct bt_slice bt_db_blob(struct bt_db *db, unsigned stmt, int column)
{
    const void *p = sqlite3_column_blob(db->stmts[stmt], column);
    int n = sqlite3_column_bytes(db->stmts[stmt], column);

    return (struct bt_slice){ p, p != NULL && n > 0 ? (size_t)n : 0 };
}

const char *bt_db_text(struct bt_db *db, unsigned stmt, int column)
{
    const unsigned char *p = sqlite3_column_text(db->stmts[stmt], column);

    return p != NULL ? (const char *)p : "";
}

int64_t bt_db_changes(struct bt_db *db)
{
    return sqlite3_changes64(db->handle);
}

static int run_once(struct bt_db *db, sqlite3_stmt *stmt, const char *what)
{
    int rc = sqlite3_step(stmt);

    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : db_failed(db, rc, what);
}

int bt_db_begin(struct bt_db *db)
{
    return run_once(db, db->begin, "begin");
}

int bt_db_commit(struct bt_db *db)
{
    int r = run_once(db, db->commit, "commit");

    if (r == 0)
        db->failing = false;
    return r;
}

void bt_db_rollback(struct bt_db *db)
{
    if (sqlite3_get_autocommit(db->handle) == 0)
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

void bt_db_checkpoint(struct bt_db *db, bool empty)
{
    sqlite3_wal_checkpoint_v2(
        db->handle, NULL, empty ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
        NULL, NULL);
}
