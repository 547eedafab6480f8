/* SQLite as a machine for expressions: a database in memory without a table, one
 * statement, and functions of ours that read the message. The parser has written the
 * statement, so nothing of a user's text but names of functions, numbers and texts gets
 * here; the authorizer refuses all but those once more, and files, other databases and
 * extensions with it. A statement without tables has no loop, so its steps are as many
 * as its instructions, which have a limit; so have texts. Failures: out of memory; a
 * value that is too large or cannot be computed. */
#include <math.h>
#include <sqlite3.h>
#include <string.h>

#include "core/error.h"
#include "core/json_put.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "funcmgr/sql/sql.h"
#include "funcmgr/sql/sql_names.h"
#include "funcmgr/sql/sql_run.h"

#define SUBTYPE_JSON  'J'
#define SUBTYPE_TRUTH 'B'

struct fm_sql_db {
    sqlite3 *handle;
    sqlite3_stmt *stmt;
};

static const struct {
    int what, most;
} limits[] = {
    { SQLITE_LIMIT_LENGTH, FM_SQL_MAX_TEXT },
    { SQLITE_LIMIT_SQL_LENGTH, 256 * 1024 },
    { SQLITE_LIMIT_COLUMN, 2000 },
    { SQLITE_LIMIT_COMPOUND_SELECT, 1 },
    { SQLITE_LIMIT_VDBE_OP, 50000 },
    { SQLITE_LIMIT_FUNCTION_ARG, 100 },
    { SQLITE_LIMIT_ATTACHED, 0 },
    { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000 },
    { SQLITE_LIMIT_VARIABLE_NUMBER, 0 },
    { SQLITE_LIMIT_TRIGGER_DEPTH, 0 },
    { SQLITE_LIMIT_WORKER_THREADS, 0 },
};

/* ---- The message ---- */

static struct fm_sql_run *run_of(sqlite3_context *ctx)
{
    return sqlite3_user_data(ctx);
}

/* The text stays until the statement is reset. */
static void result_slice(sqlite3_context *ctx, struct bt_slice s)
{
    const char *p = s.ptr != NULL ? (const char *)s.ptr : "";

    sqlite3_result_text64(ctx, p, s.len, SQLITE_STATIC, SQLITE_UTF8);
}

static void get_qos(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    (void)args;
    sqlite3_result_int64(ctx, run_of(ctx)->message->qos);
}

static void get_topic(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    (void)args;
    result_slice(ctx, run_of(ctx)->message->topic);
}

static void get_payload(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    (void)args;
    result_slice(ctx, run_of(ctx)->message->payload);
}

static void get_timestamp(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    (void)args;
    sqlite3_result_int64(ctx, run_of(ctx)->message->timestamp);
}

static void get_function(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    (void)args;
    result_slice(ctx, run_of(ctx)->message->function);
}

static void get_invoke_id(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    (void)args;
    result_slice(ctx, run_of(ctx)->message->invoke_id);
}

/* ---- Values ---- */

static void result_truth(sqlite3_context *ctx, bool truth)
{
    sqlite3_result_int(ctx, truth);
    sqlite3_result_subtype(ctx, SUBTYPE_TRUTH);
}

static void result_number(sqlite3_context *ctx, const struct bt_json_val *v)
{
    bool is_int;
    int64_t whole;
    double real;

    bt_json_number(v, &is_int, &whole, &real);
    if (is_int)
        sqlite3_result_int64(ctx, whole);
    else
        sqlite3_result_double(ctx, real);
}

/* An object or an array: its JSON, marked so that it is not written as a text again. */
static void result_json(sqlite3_context *ctx, const struct bt_json_val *v)
{
    struct fm_sql_run *run = run_of(ctx);
    int r;

    run->text.len = 0;
    run->text.max = FM_SQL_MAX_TEXT;
    r = bt_json_put(&run->text, &run->sorter, v);
    if (r == BT_ENOMEM) {
        sqlite3_result_error_nomem(ctx);
    } else if (r != 0) {
        sqlite3_result_error(ctx, "a member is longer than 1 MiB or nested too deeply",
                             -1);
    } else {
        sqlite3_result_text64(ctx, (const char *)run->text.data, run->text.len,
                              SQLITE_TRANSIENT, SQLITE_UTF8);
        sqlite3_result_subtype(ctx, SUBTYPE_JSON);
    }
}

static void get_member(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    const struct bt_json_val *v =
        fm_sql_lookup(run_of(ctx), (uint32_t)sqlite3_value_int(args[0]));

    (void)n;
    switch (v != NULL ? bt_json_kind(v) : BT_JSON_NULL) {
    case BT_JSON_BOOL:
        result_truth(ctx, bt_json_is_true(v));
        break;
    case BT_JSON_NUMBER:
        result_number(ctx, v);
        break;
    case BT_JSON_STRING:
        result_slice(ctx, bt_json_text(v));
        break;
    case BT_JSON_ARRAY:
    case BT_JSON_OBJECT:
        result_json(ctx, v);
        break;
    case BT_JSON_NULL:
    default:
        sqlite3_result_null(ctx);
        break;
    }
}

static void get_truth(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    (void)n;
    result_truth(ctx, sqlite3_value_int(args[0]) != 0);
}

/* ---- Functions that SQLite lacks, or whose own take long with a chosen text ---- */

static int64_t count_characters(const uint8_t *p, const uint8_t *end)
{
    int64_t n = 0;

    for (; p < end; p++)
        n += (*p & 0xc0) != 0x80;
    return n;
}

/* SQLite's own compares at every place, which two long texts make quadratic. */
static void do_instr(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    const uint8_t *text = sqlite3_value_text(args[0]), *at;
    const uint8_t *part = sqlite3_value_text(args[1]);

    (void)n;
    if (text == NULL || part == NULL)
        return;
    at = memmem(text, (size_t)sqlite3_value_bytes(args[0]), part,
                (size_t)sqlite3_value_bytes(args[1]));
    sqlite3_result_int64(ctx, at != NULL ? count_characters(text, at) + 1 : 0);
}

/* NULL for what is no number, or when the result is none. */
static void do_math(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    double (*fn)(double) = *(double (**)(double))sqlite3_user_data(ctx);

    (void)n;
    if (sqlite3_value_numeric_type(args[0]) == SQLITE_INTEGER &&
        (fn == floor || fn == ceil))
        sqlite3_result_int64(ctx, sqlite3_value_int64(args[0]));
    else if (sqlite3_value_numeric_type(args[0]) == SQLITE_INTEGER ||
             sqlite3_value_numeric_type(args[0]) == SQLITE_FLOAT)
        sqlite3_result_double(ctx, fn(sqlite3_value_double(args[0])));
}

static void do_math2(sqlite3_context *ctx, int n, sqlite3_value **args)
{
    double (*fn)(double, double) = *(double (**)(double, double))sqlite3_user_data(ctx);

    (void)n;
    for (int i = 0; i < 2; i++) {
        int type = sqlite3_value_numeric_type(args[i]);

        if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
            return;
    }
    sqlite3_result_double(
        ctx, fn(sqlite3_value_double(args[0]), sqlite3_value_double(args[1])));
}

static double (*math_one[])(double) = { floor, ceil, sqrt, exp, log, log10 };
static double (*math_two[])(double, double) = { pow, fmod };

static const struct function {
    const char *name;
    int n_args;
    void (*fn)(sqlite3_context *ctx, int n, sqlite3_value **args);
    void *data; /* NULL: the run */
} functions[] = {
    { FM_SQL_MEMBER, 1, get_member, NULL },
    { FM_SQL_TRUTH, 1, get_truth, NULL },
    { "qos", 0, get_qos, NULL },
    { "topic", 0, get_topic, NULL },
    { "payload", 0, get_payload, NULL },
    { "timestamp", 0, get_timestamp, NULL },
    { "function", 0, get_function, NULL },
    { "invokeid", 0, get_invoke_id, NULL },
    { "instr", 2, do_instr, NULL },
    { "floor", 1, do_math, &math_one[0] },
    { "ceil", 1, do_math, &math_one[1] },
    { "sqrt", 1, do_math, &math_one[2] },
    { "exp", 1, do_math, &math_one[3] },
    { "ln", 1, do_math, &math_one[4] },
    { "log10", 1, do_math, &math_one[5] },
    { "power", 2, do_math2, &math_two[0] },
    { "mod", 2, do_math2, &math_two[1] },
};

static int add_functions(struct fm_sql_db *db, struct fm_sql_run *run)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < BT_ARRAY_LEN(functions); i++) {
        const struct function *f = &functions[i];

        rc = sqlite3_create_function_v2(
            db->handle, f->name, f->n_args, SQLITE_UTF8 | SQLITE_RESULT_SUBTYPE,
            f->data != NULL ? f->data : run, f->fn, NULL, NULL, NULL);
    }
    return rc;
}

/* ---- The statement ---- */

static bool may_call(const char *name)
{
    static const char *const more[] = { FM_SQL_MEMBER, FM_SQL_TRUTH, "like", "glob" };

    for (size_t i = 0; i < BT_ARRAY_LEN(more); i++) {
        if (strcmp(name, more[i]) == 0)
            return true;
    }
    return fm_sql_function((struct bt_slice){ (const uint8_t *)name, strlen(name) }) !=
           NULL;
}

static int authorize(void *arg, int action, const char *a, const char *b,
                     const char *database, const char *trigger)
{
    (void)arg;
    (void)a;
    (void)database;
    (void)trigger;
    if (action == SQLITE_SELECT || (action == SQLITE_FUNCTION && may_call(b)))
        return SQLITE_OK;
    return SQLITE_DENY;
}

static int open_db(struct fm_sql_db *db, struct fm_sql_run *run)
{
    int rc = sqlite3_open_v2(":memory:", &db->handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                 SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX,
                             NULL);

    if (rc != SQLITE_OK)
        return rc;
    /* Small values come and go; SQLite's own reserve would be 40 KiB for each function.
     */
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, 128, 32);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    for (size_t i = 0; i < BT_ARRAY_LEN(limits); i++)
        sqlite3_limit(db->handle, limits[i].what, limits[i].most);
    rc = add_functions(db, run);
    return rc != SQLITE_OK ? rc : sqlite3_set_authorizer(db->handle, authorize, NULL);
}

int fm_sql_db_new(const char *sql, struct fm_sql_run *run, struct fm_sql_db **out,
                  struct bt_buf *why)
{
    struct fm_sql_db *db;
    const char *rest = "";
    int rc, r;

    *out = NULL;
    if (sqlite3_initialize() != SQLITE_OK || (db = bt_calloc(1, sizeof(*db))) == NULL)
        return BT_ENOMEM;
    rc = open_db(db, run);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &db->stmt,
                                &rest);
    if (rc == SQLITE_OK && *rest == '\0' && sqlite3_column_count(db->stmt) > 0) {
        *out = db;
        return 0;
    }
    if (rc == SQLITE_NOMEM)
        r = BT_ENOMEM;
    else
        r = bt_buf_append_str(why, rc == SQLITE_OK ? "no select" : fm_sql_db_error(db));
    fm_sql_db_free(db);
    return r != 0 ? r : BT_EINVAL;
}

void fm_sql_db_free(struct fm_sql_db *db)
{
    if (db == NULL)
        return;
    sqlite3_finalize(db->stmt);
    sqlite3_close_v2(db->handle);
    bt_free(db);
}

int fm_sql_db_step(struct fm_sql_db *db)
{
    int rc = sqlite3_step(db->stmt);

    if (rc == SQLITE_ROW)
        return 0;
    if (rc == SQLITE_DONE)
        return FM_SQL_NO_ROW;
    return rc == SQLITE_NOMEM ? BT_ENOMEM : BT_EINVAL;
}

const char *fm_sql_db_error(const struct fm_sql_db *db)
{
    if (sqlite3_errcode(db->handle) == SQLITE_TOOBIG)
        return "a text in the statement would be longer than 1 MiB";
    return sqlite3_errmsg(db->handle);
}

void fm_sql_db_reset(struct fm_sql_db *db)
{
    sqlite3_reset(db->stmt);
}

/* ---- Columns ---- */

static int put_integer(struct bt_buf *out, int64_t v)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do
        digits[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (v < 0)
        digits[--at] = '-';
    return bt_buf_append(out, digits + at, sizeof(digits) - at);
}

/* MQTT's texts hold no NUL, these may. */
static int put_text(struct bt_buf *out, struct bt_slice text)
{
    for (size_t at = 0; at <= text.len;) {
        const uint8_t *nul = memchr(text.ptr + at, 0, text.len - at);
        size_t end = nul != NULL ? (size_t)(nul - text.ptr) : text.len;

        if (!bt_mqtt_utf8_ok((struct bt_slice){ text.ptr + at, end - at }))
            return bt_json_put_string(out, text);
        at = end + 1;
    }
    return bt_json_put_utf8(out, text);
}

int fm_sql_db_put(struct fm_sql_db *db, uint32_t column, bool is_truth,
                  struct bt_buf *out)
{
    sqlite3_value *v = sqlite3_column_value(db->stmt, (int)column);
    unsigned subtype = sqlite3_value_subtype(v);
    struct bt_slice text;

    switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
        if (is_truth || subtype == SUBTYPE_TRUTH)
            return bt_buf_append_str(out, sqlite3_value_int(v) != 0 ? "true" : "false");
        return put_integer(out, sqlite3_value_int64(v));
    case SQLITE_FLOAT:
        return bt_json_put_double(out, sqlite3_value_double(v));
    case SQLITE_TEXT:
        text.ptr = sqlite3_value_text(v);
        text.len = (size_t)sqlite3_value_bytes(v);
        if (text.ptr == NULL)
            return BT_ENOMEM;
        return subtype == SUBTYPE_JSON ? bt_buf_append(out, text.ptr, text.len)
                                       : put_text(out, text);
    default:
        return bt_buf_append_str(out, "null");
    }
}
