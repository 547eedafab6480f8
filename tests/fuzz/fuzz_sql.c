/* Any statement, a NUL, any payload. What is accepted by the parser must be accepted by
 * SQLite; a result must be JSON and give itself when it is read and written once more,
 * unless it has replacements for what was no UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json.h"
#include "core/mem.h"
#include "funcmgr/sql/sql.h"
#include "funcmgr/sql/sql_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_RESULT (64 * 1024)

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_result(struct bt_slice out)
{
    struct bt_json *json;
    struct bt_json_sorter sorter = { 0 };
    struct bt_buf again = { 0 };

    require(out.len >= 2 && out.len <= MAX_RESULT);
    require(bt_json_parse(out, &json) == 0);
    require(bt_json_put(&again, &sorter, bt_json_root(json)) == 0);
    if (memmem(out.ptr, out.len, "\\ufffd", 6) == NULL)
        require(again.len == out.len && memcmp(again.data, out.ptr, out.len) == 0);
    bt_json_free(json);
    bt_json_sorter_deinit(&sorter);
    bt_buf_deinit(&again);
}

static void check_parser(const char *statement, int result)
{
    struct fm_sql_plan plan;
    struct bt_buf why = { 0 };
    int r = fm_sql_parse(
        (struct bt_slice){ (const uint8_t *)statement, strlen(statement) }, &plan, &why);

    require(r == result && (r == 0 || why.len > 0));
    fm_sql_plan_deinit(&plan);
    bt_buf_deinit(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    size_t n = nul != NULL ? (size_t)(nul - data) : size;
    char *statement = bt_strndup(data, n);
    struct fm_message m = { .qos = 1, .topic = { (const uint8_t *)"a/b", 3 } };
    struct bt_buf why = { 0 };
    struct bt_slice out;
    const char *error = NULL;
    struct fm_sql *sql;
    int r;

    require(statement != NULL);
    if (nul != NULL)
        m.payload = (struct bt_slice){ nul + 1, size - n - 1 };
    r = fm_sql_new(statement, &sql, &why);
    check_parser(statement, r);
    for (int i = 0; r == 0 && i < 2; i++) {
        int ran = fm_sql_run(sql, &m, MAX_RESULT, &out, &error);

        require(ran == 0 || ran == BT_ELIMIT || (ran == BT_EINVAL && error != NULL));
        if (ran == 0 && out.len > 0)
            check_result(out);
    }
    fm_sql_free(sql);
    bt_buf_deinit(&why);
    bt_free(statement);
    return 0;
}
