/* The functions of the `sql` runtime. All others are refused. What works on a pattern
 * takes it from the statement only: a device must not choose one that takes long to
 * match. */
#include "funcmgr/sql/sql_names.h"

#include <string.h>
#include <strings.h>

#define ANY 100u

static const struct fm_sql_function functions[] = {
    /* of the message */
    { .name = "qos" },
    { .name = "topic" },
    { .name = "payload" },
    { .name = "timestamp" },
    { .name = "function" },
    { .name = "invokeid" },
    /* of any value */
    { "coalesce", 2, ANY, .truth_from = 1 },
    { "ifnull", 2, 2, .truth_from = 1 },
    { "nullif", 2, 2, 0, 0 },
    { "iif", 2, 3, .truth_from = 2 },
    { "min", 2, ANY, 0, 0 },
    { "max", 2, ANY, 0, 0 },
    { "typeof", 1, 1, 0, 0 },
    /* of numbers */
    { "abs", 1, 1, 0, 0 },
    { "sign", 1, 1, 0, 0 },
    { "round", 1, 2, 0, 0 },
    { "floor", 1, 1, 0, 0 },
    { "ceil", 1, 1, 0, 0 },
    { "sqrt", 1, 1, 0, 0 },
    { "exp", 1, 1, 0, 0 },
    { "ln", 1, 1, 0, 0 },
    { "log10", 1, 1, 0, 0 },
    { "power", 2, 2, 0, 0 },
    { "mod", 2, 2, 0, 0 },
    /* of texts */
    { "lower", 1, 1, 0, 0 },
    { "upper", 1, 1, 0, 0 },
    { "length", 1, 1, 0, 0 },
    { "substr", 2, 3, 0, 0 },
    { "substring", 2, 3, 0, 0 },
    { "trim", 1, 2, .literal = 2 },
    { "ltrim", 1, 2, .literal = 2 },
    { "rtrim", 1, 2, .literal = 2 },
    { "replace", 3, 3, .literal = 2 },
    { "instr", 2, 2, 0, 0 },
    { "format", 1, ANY, .literal = 1 },
    { "printf", 1, ANY, .literal = 1 },
    { "concat", 1, ANY, 0, 0 },
    { "concat_ws", 2, ANY, 0, 0 },
    { "unicode", 1, 1, 0, 0 },
    { "char", 1, ANY, 0, 0 },
    { "hex", 1, 1, 0, 0 },
    /* of time */
    { "date", 0, ANY, 0, 0 },
    { "time", 0, ANY, 0, 0 },
    { "datetime", 0, ANY, 0, 0 },
    { "julianday", 0, ANY, 0, 0 },
    { "unixepoch", 0, ANY, 0, 0 },
    { "strftime", 1, ANY, 0, 0 },
};

const struct fm_sql_function *fm_sql_function(struct bt_slice name)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(functions); i++) {
        if (strlen(functions[i].name) == name.len &&
            strncasecmp(functions[i].name, (const char *)name.ptr, name.len) == 0)
            return &functions[i];
    }
    return NULL;
}
