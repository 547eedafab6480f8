/* What SQLite is let do, and what happens when it gets no memory. */
#include "funcmgr/sql/sql_db.c"

#include "tests/harness.h"

static const struct fm_sql_plan plan;
static const struct fm_message message = { .qos = 1 };
static struct fm_sql_run run = { .plan = &plan, .message = &message };

const struct bt_json_val *fm_sql_lookup(const struct fm_sql_run *r, uint32_t path)
{
    (void)r;
    (void)path;
    return NULL;
}

static int try_sql(const char *sql)
{
    struct bt_buf why = { 0 };
    struct fm_sql_db *db;
    int r = fm_sql_db_new(sql, &run, &db, &why);

    fm_sql_db_free(db);
    bt_buf_deinit(&why);
    return r;
}

/* The parser writes none of these: the second fence. */
TEST(nothing_but_expressions)
{
    static const char *const refused[] = {
        "SELECT 1; SELECT 2",
        "SELECT * FROM sqlite_master",
        "SELECT name FROM pragma_database_list",
        "CREATE TABLE t(a)",
        "ATTACH 'x' AS y",
        "PRAGMA journal_mode",
        "VACUUM INTO 'x'",
        "SELECT load_extension('x')",
        "SELECT randomblob(1000000000)",
        "SELECT zeroblob(1000)",
        "SELECT random()",
        "SELECT sqlite_version()",
        "SELECT count(*)",
        "SELECT json('1')",
        "WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x) SELECT a FROM x",
        "BEGIN",
        "SELECT ?",
        "nonsense",
    };

    CHECK_INT(try_sql("SELECT m(0) , 1 AS x WHERE qos() = 1 AND 'a' LIKE 'b'"), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(refused); i++) {
        if (try_sql(refused[i]) != BT_EINVAL)
            TEST_END_(1, "%s is not refused", refused[i]);
    }
}

/* Every function of the list is known to SQLite, and none of them is an aggregate. */
TEST(functions_exist)
{
    static const char *const calls[] = {
        "coalesce(1,2)",
        "ifnull(1,2)",
        "nullif(1,2)",
        "iif(1,2)",
        "iif(1,2,3)",
        "min(1,2)",
        "max(1,2)",
        "typeof(1)",
        "abs(1)",
        "sign(1)",
        "round(1)",
        "round(1,2)",
        "floor(1)",
        "ceil(1)",
        "sqrt(1)",
        "exp(1)",
        "ln(1)",
        "log10(1)",
        "power(1,2)",
        "mod(1,2)",
        "lower('a')",
        "upper('a')",
        "length('a')",
        "substr('a',1)",
        "substr('a',1,1)",
        "substring('a',1,1)",
        "trim('a')",
        "trim('a','b')",
        "ltrim('a')",
        "rtrim('a')",
        "replace('a','b','c')",
        "instr('a','b')",
        "format('a')",
        "printf('a',1)",
        "concat('a')",
        "concat_ws('a','b')",
        "unicode('a')",
        "char(65)",
        "hex('a')",
        "date()",
        "time('now')",
        "datetime('now')",
        "julianday()",
        "unixepoch()",
        "strftime('%s')",
        "qos()",
        "topic()",
        "payload()",
        "timestamp()",
        "function()",
        "invokeid()",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(calls); i++) {
        char sql[128];
        struct bt_buf why = { 0 }, out = { 0 };
        struct fm_sql_db *db;

        snprintf(sql, sizeof(sql), "SELECT %s WHERE 0", calls[i]);
        if (fm_sql_db_new(sql, &run, &db, &why) != 0)
            TEST_END_(1, "%s: %.*s", calls[i], (int)why.len, (const char *)why.data);
        CHECK_INT(fm_sql_db_step(db), FM_SQL_NO_ROW);
        fm_sql_db_free(db);
        bt_buf_deinit(&out);
        bt_buf_deinit(&why);
    }
}

/* ---- SQLite without memory ---- */

static sqlite3_mem_methods real;
static unsigned long fail_at, count;

static bool fails(void)
{
    return fail_at != 0 && ++count >= fail_at;
}

static void *fail_malloc(int n)
{
    return fails() ? NULL : real.xMalloc(n);
}

static void *fail_realloc(void *p, int n)
{
    return fails() ? NULL : real.xRealloc(p, n);
}

TEST(out_of_memory)
{
    sqlite3_mem_methods methods;
    bool failed = true;
    int outcomes[2] = { 0, 0 };

    CHECK_INT(sqlite3_shutdown(), SQLITE_OK);
    CHECK_INT(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
    methods = real;
    methods.xMalloc = fail_malloc;
    methods.xRealloc = fail_realloc;
    CHECK_INT(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
    CHECK_INT(sqlite3_initialize(), SQLITE_OK);
    for (unsigned long nth = 1; failed && nth < 5000; nth++) {
        struct bt_buf why = { 0 }, out = { 0 };
        struct fm_sql_db *db;
        int r;

        count = 0;
        fail_at = nth;
        r = fm_sql_db_new("SELECT printf('%0500d', 5) || upper(topic()), qos() + 0.5",
                          &run, &db, &why);
        if (r == 0)
            r = fm_sql_db_step(db);
        if (r == 0)
            r = fm_sql_db_put(db, 0, false, &out);
        failed = count >= fail_at;
        fail_at = 0;
        /* SQLite does without some of what it asks for. */
        CHECK(r == 0 || (r == BT_ENOMEM && failed));
        outcomes[r == 0]++;
        fm_sql_db_free(db);
        bt_buf_deinit(&why);
        bt_buf_deinit(&out);
    }
    CHECK(!failed && outcomes[0] > 10 && outcomes[1] > 0);
}
