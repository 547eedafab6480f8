/* A statement over one message after the other.
 *
 * Happy path: payload -> JSON -> SQLite computes the condition and the values -> result.
 * A payload that is no JSON object gives no result when the statement reads members, and
 * none of the failures below: it is a message that the statement is not about. Failures:
 * the answer is an error message as from any other runtime; nothing is kept from call to
 * call but room. */
#include "funcmgr/sql/sql.h"
#include "funcmgr/stats.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/sql/sql_run.h"

/* Room that is kept from call to call. */
#define KEEP ((size_t)64 * 1024)

struct fm_sql {
    struct fm_sql_plan plan;
    struct fm_sql_db *db; /* NULL: nothing to compute */
    struct fm_sql_run run;
    struct bt_buf out;
};

bool fm_sql_is_runtime(const char *runtime)
{
    return runtime != NULL && strcmp(runtime, "sql") == 0;
}

int fm_sql_new(const char *statement, struct fm_sql **out, struct bt_buf *why)
{
    struct bt_slice text = { (const uint8_t *)statement, strlen(statement) };
    struct fm_sql *sql = bt_calloc(1, sizeof(*sql));
    int r;

    *out = NULL;
    if (sql == NULL)
        return BT_ENOMEM;
    r = fm_sql_parse(text, &sql->plan, why);
    sql->run.plan = &sql->plan;
    if (r == 0 && sql->plan.sql.len > 0)
        r = fm_sql_db_new((const char *)sql->plan.sql.data, &sql->run, &sql->db, why);
    if (r != 0) {
        fm_sql_free(sql);
        return r;
    }
    *out = sql;
    return 0;
}

void fm_sql_free(struct fm_sql *sql)
{
    if (sql == NULL)
        return;
    fm_sql_db_free(sql->db);
    fm_sql_plan_deinit(&sql->plan);
    bt_json_sorter_deinit(&sql->run.sorter);
    bt_buf_deinit(&sql->run.text);
    bt_buf_deinit(&sql->out);
    bt_free(sql);
}

const struct bt_json_val *fm_sql_lookup(const struct fm_sql_run *run, uint32_t path)
{
    const struct fm_sql_path *p = &run->plan->paths[path];
    const struct bt_json_val *v = run->root;

    for (size_t i = 0; i < p->n && v != NULL; i++)
        v = p->steps[i].name.ptr != NULL ? bt_json_member(v, p->steps[i].name)
                                         : bt_json_item(v, p->steps[i].index);
    return v;
}

static void trim(struct bt_buf *b)
{
    b->len = 0;
    if (b->cap > KEEP)
        bt_buf_deinit(b);
}

static int compute(struct fm_sql *sql)
{
    int r = sql->db != NULL ? fm_sql_db_step(sql->db) : 0;

    return r == 0 ? fm_sql_write(&sql->run, sql->db, &sql->out) : r;
}

/* The payload as an object. FM_SQL_NO_ROW: it is none. An empty one has no members. */
static int read_payload(const struct fm_message *m, struct bt_json **out)
{
    struct bt_slice text = m->payload;
    int r;

    if (text.len == 0)
        text = (struct bt_slice){ (const uint8_t *)"{}", 2 };
    r = bt_json_parse(text, out);
    if (r == 0 && bt_json_kind(bt_json_root(*out)) == BT_JSON_OBJECT)
        return 0;
    if (r == BT_ENOMEM)
        return r;
    bt_log(BT_LOG_DEBUG, "FUNC-SQL", "the payload is no JSON object: no result",
           "function=\"%.*s\"", (int)m->function.len, (const char *)m->function.ptr);
    return FM_SQL_NO_ROW;
}

int fm_sql_run(struct fm_sql *sql, const struct fm_message *m, size_t max,
               struct bt_slice *out, const char **why)
{
    struct bt_json *json = NULL;
    int r = 0;

    trim(&sql->out);
    trim(&sql->run.text);
    if (sql->run.sorter.cap * sizeof(*sql->run.sorter.items) > KEEP)
        bt_json_sorter_deinit(&sql->run.sorter);
    sql->out.max = max;
    sql->run.message = m;
    sql->run.root = NULL;
    if (sql->plan.reads)
        r = read_payload(m, &json);
    if (r == 0 && json != NULL)
        sql->run.root = bt_json_root(json);
    if (r == 0)
        r = compute(sql);
    if (sql->db != NULL)
        fm_sql_db_reset(sql->db);
    if (r == BT_EINVAL)
        *why = fm_sql_db_error(sql->db);
    bt_json_free(json);
    *out = (struct bt_slice){ sql->out.data, r == 0 ? sql->out.len : 0 };
    return r == FM_SQL_NO_ROW ? 0 : r;
}

static void answer_error(struct fm_call *call, enum fm_outcome outcome, const char *code,
                         const char *text)
{
    char message[512];
    struct fm_result result = { .outcome = outcome,
                                .message = message,
                                .type = FM_STATUS_ERROR };

    snprintf(message, sizeof(message), "rpc error: code = %s desc = %s", code, text);
    fm_stats_done(call, &result);
}

void fm_sql_call(struct fm_sql *sql, struct fm_call *call, size_t max)
{
    struct fm_result result = { .outcome = FM_OK };
    const char *why = "";
    char text[128];
    int r;

    if (call->message.payload.len > max) {
        snprintf(text, sizeof(text),
                 "grpc: trying to send message larger than max (%zu vs. %zu)",
                 call->message.payload.len, max);
        answer_error(call, FM_TOO_LARGE, "ResourceExhausted", text);
        return;
    }
    r = fm_sql_run(sql, &call->message, max, &result.payload, &why);
    if (r == 0) {
        fm_stats_done(call, &result);
    } else if (r == BT_ELIMIT) {
        snprintf(text, sizeof(text),
                 "the result is larger than max (%zu), or nested too deeply", max);
        answer_error(call, FM_TOO_LARGE, "ResourceExhausted", text);
    } else if (r == BT_EINVAL) {
        answer_error(call, FM_FAILED, "Unknown", why);
    } else {
        answer_error(call, FM_FAILED, "ResourceExhausted", bt_error_text(r));
    }
}
