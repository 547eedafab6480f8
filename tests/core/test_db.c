/* The database handle: statements, transactions, locking, damage, failures. */
#include "core/db.c"

#include "tests/harness.h"

static struct bt_db *db;

static void open_with(const char *const *sql, size_t n)
{
    CHECK_INT(bt_db_open(NULL, &db), 0);
    CHECK_INT(bt_db_exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB)"), 0);
    CHECK_INT(bt_db_prepare(db, sql, n), 0);
}

static const char *const sql[] = { "INSERT INTO t VALUES(?,?,?)",
                                   "SELECT a, b, c FROM t ORDER BY a",
                                   "DELETE FROM t WHERE a=?" };

static void insert(int64_t a, const char *b)
{
    bt_db_bind_int(db, 0, 1, a);
    bt_db_bind_text(db, 0, 2, (struct bt_slice){ (const uint8_t *)b, strlen(b) });
    bt_db_bind_blob(db, 0, 3, (struct bt_slice){ NULL, 0 });
}

TEST(values_come_back)
{
    open_with(sql, 3);
    insert(-5, "text");
    CHECK_INT(bt_db_run(db, 0), 0);
    CHECK_INT(bt_db_step(db, 1), BT_DB_ROW);
    CHECK_INT(bt_db_int(db, 1, 0), -5);
    CHECK_STR(bt_db_text(db, 1, 1), "text");
    CHECK_INT(bt_db_blob(db, 1, 1).len, 4);
    CHECK_INT(bt_db_blob(db, 1, 2).len, 0);
    CHECK_INT(bt_db_step(db, 1), 0);
    bt_db_bind_int(db, 2, 1, -5);
    CHECK_INT(bt_db_run(db, 2), 0);
    CHECK_INT(bt_db_changes(db), 1);
    CHECK_INT(bt_db_run(db, 2), 0);
    CHECK_INT(bt_db_changes(db), 0);
    CHECK_INT(bt_db_step(db, 1), 0);
    bt_db_close(db);
}

TEST(rollback_undoes_and_is_harmless)
{
    int64_t n;

    open_with(sql, 3);
    bt_db_rollback(db);
    CHECK_INT(bt_db_begin(db), 0);
    insert(1, "x");
    CHECK_INT(bt_db_run(db, 0), 0);
    bt_db_rollback(db);
    CHECK_INT(bt_db_query_int(db, "SELECT COUNT(*) FROM t", &n), 0);
    CHECK_INT(n, 0);
    CHECK_INT(bt_db_begin(db), 0);
    insert(1, "x");
    CHECK_INT(bt_db_run(db, 0), 0);
    CHECK_INT(bt_db_commit(db), 0);
    CHECK_INT(bt_db_query_int(db, "SELECT COUNT(*) FROM t", &n), 0);
    CHECK_INT(n, 1);
    bt_db_close(db);
}

TEST(failures_are_told_by_the_step)
{
    open_with(sql, 3);
    bt_db_bind_int(db, 2, 9, 1);
    CHECK_INT(bt_db_step(db, 2), BT_EDB);
    bt_db_bind_int(db, 2, 1, 1);
    CHECK_INT(bt_db_step(db, 2), 0);
    insert(1, "x");
    CHECK_INT(bt_db_run(db, 0), 0);
    insert(1, "again");
    CHECK_INT(bt_db_run(db, 0), BT_EDB);
    CHECK(db->failing);
    CHECK(!bt_db_damaged(db));
    CHECK_INT(bt_db_begin(db), 0);
    CHECK_INT(bt_db_commit(db), 0);
    CHECK(!db->failing);
    CHECK_INT(bt_db_exec(db, "no sql"), BT_EDB);
    bt_db_close(db);
}

TEST(settings_of_a_file)
{
    char dir[] = "/tmp/baetyl-db-XXXXXX", path[64], other[80];
    struct bt_db *second = NULL;
    int64_t n;

    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/x.db", dir);
    CHECK_INT(bt_db_open(path, &db), 0);
    CHECK_INT(bt_db_query_int(db, "PRAGMA synchronous", &n), 0);
    CHECK_INT(n, 2);
    CHECK_INT(bt_db_query_int(db,
                              "SELECT 1 FROM pragma_journal_mode"
                              " WHERE journal_mode='wal'",
                              &n),
              0);
    CHECK_INT(n, 1);
    CHECK_INT(bt_db_exec(db, "CREATE TABLE t(a)"), 0);
    snprintf(other, sizeof(other), "%s-shm", path);
    CHECK(access(other, F_OK) != 0);
    snprintf(other, sizeof(other), "%s-wal", path);
    CHECK(access(other, F_OK) == 0);
    CHECK_INT(bt_db_open(path, &second), BT_EBUSY);
    CHECK(second == NULL);
    CHECK_INT(bt_db_check(db, true), 0);
    bt_db_checkpoint(db, false);
    bt_db_close(db);
    CHECK_INT(bt_db_open(path, &db), 0);
    bt_db_close(db);
    unlink(path);
    CHECK_INT(rmdir(dir), 0);
}

TEST(garbage_is_damage)
{
    char path[] = "/tmp/baetyl-db-XXXXXX";
    char garbage[4096];
    int fd = mkstemp(path);

    memset(garbage, 'g', sizeof(garbage));
    CHECK(fd >= 0);
    CHECK_INT(write(fd, garbage, sizeof(garbage)), sizeof(garbage));
    close(fd);
    CHECK_INT(bt_db_open(path, &db), BT_DB_DAMAGED);
    unlink(path);
}

TEST(no_file_no_database)
{
    CHECK_INT(bt_db_open("/nonexistent-folder/x.db", &db), BT_EIO);
}
