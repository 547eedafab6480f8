/* Statements over messages: what comes out. */
#include "funcmgr/sql/sql.c"

#include <pthread.h>

#include "tests/harness.h"

static const struct fm_message base = {
    .id = 7,
    .qos = 1,
    .timestamp = 1795420917,
};

static struct fm_message message(const char *payload)
{
    struct fm_message m = base;

    m.topic = bt_slice_of("t");
    m.payload = bt_slice_of(payload);
    m.function = bt_slice_of("f");
    m.invoke_id = bt_slice_of("e2e8");
    return m;
}

/* The result, or what went wrong; valid until the next call. */
static const char *run_max(const char *statement, const char *payload, size_t max)
{
    static char result[1 << 16];
    struct fm_sql *sql;
    struct bt_buf why = { 0 };
    struct bt_slice out;
    struct fm_message m = message(payload);
    const char *error = "";
    int r = fm_sql_new(statement, &sql, &why);

    if (r == BT_EINVAL) {
        snprintf(result, sizeof(result), "%.*s", (int)why.len, (const char *)why.data);
    } else if (r != 0) {
        snprintf(result, sizeof(result), "new: %s", bt_error_text(r));
    } else {
        r = fm_sql_run(sql, &m, max, &out, &error);
        if (r == 0)
            snprintf(result, sizeof(result), "%.*s", (int)out.len, (const char *)out.ptr);
        else
            snprintf(result, sizeof(result), "%s: %s", bt_error_text(r), error);
    }
    fm_sql_free(sql);
    bt_buf_deinit(&why);
    return result;
}

static const char *run(const char *statement, const char *payload)
{
    return run_max(statement, payload, 1 << 20);
}

struct row {
    const char *statement, *payload, *want;
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = run(rows[i].statement, rows[i].payload);

        if (strcmp(got, rows[i].want) != 0)
            TEST_END_(1, "%s over %s is %s, expected %s", rows[i].statement,
                      rows[i].payload, got, rows[i].want);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, BT_ARRAY_LEN(rows))

/* ---- Works ---- */

TEST(the_original_example)
{
    static const struct row rows[] = {
        { "select qos() as qos, topic() as topic, * where id < 10", "{\"id\":1}",
          "{\"id\":1,\"qos\":1,\"topic\":\"t\"}" },
        { "select qos() as qos, topic() as topic, * where id < 10", "{\"id\":10}", "" },
        { "select qos() as qos, topic() as topic, * where id < 10", "{}", "" },
        { "SELECT QOS() AS qos, Topic() As topic, * WHERE id < 10;", "{\"id\":-1}",
          "{\"id\":-1,\"qos\":1,\"topic\":\"t\"}" },
    };

    CHECK_ROWS(rows);
}

TEST(what_is_no_object_has_no_result)
{
    static const struct row rows[] = {
        { "select *", "abc", "" },
        { "select *", "[{\"id\":1}]", "" },
        { "select *", "1", "" },
        { "select *", "null", "" },
        { "select *", "{\"a\":1", "" },
        { "select *", "{\"a\":1} x", "" },
        { "select *", "", "{}" },
        { "select *", "{\"a\":\"\xff\"}", "" },
        { "select a where b", "[]", "" },
        { "select 1 as x where id = 1", "abc", "" },
        { "select topic(), payload()", "abc", "{\"payload\":\"abc\",\"topic\":\"t\"}" },
        { "select 1 as x", "", "{\"x\":1}" },
    };

    CHECK_ROWS(rows);
}

TEST(members_keep_their_form)
{
    static const struct row rows[] = {
        { "select *",
          " { \"b\" : [ 1 , {\"z\":1,\"a\":2} ] , \"a\" : \"\\u00e4\\n\\/\" } ",
          "{\"a\":\"\xc3\xa4\\n/\",\"b\":[1,{\"a\":2,\"z\":1}]}" },
        { "select *",
          "{\"n\":123456789012345678901234567890,\"m\":1.50,\"e\":1E+2,\"z\":-0}",
          "{\"e\":1E+2,\"m\":1.50,\"n\":123456789012345678901234567890,\"z\":-0}" },
        { "select n, n as o.m", "{\"n\":0.10000000000000000000001}",
          "{\"n\":0.10000000000000000000001,\"o\":{\"m\":0.10000000000000000000001}}" },
        { "select t, f, z, o, a", "{\"t\":true,\"f\":false,\"z\":null,\"o\":{},\"a\":[]}",
          "{\"a\":[],\"f\":false,\"o\":{},\"t\":true,\"z\":null}" },
        { "select *", "{\"a\":1,\"a\":2,\"b\":{\"c\":1,\"c\":[]}}",
          "{\"a\":2,\"b\":{\"c\":[]}}" },
        { "select *", "{\"\":1,\"a\\\"b\":2,\"\\u0000\":\"\\u0000\xc3\xbc\"}",
          "{\"\":1,\"\\u0000\":\"\\u0000\xc3\xbc\",\"a\\\"b\":2}" },
        { "select none, * where none is null", "{\"a\":1}", "{\"a\":1,\"none\":null}" },
    };

    CHECK_ROWS(rows);
}

TEST(paths)
{
    static const struct row rows[] = {
        { "select a.b", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1}}" },
        { "select a.b as x", "{\"a\":{\"b\":1}}", "{\"x\":1}" },
        { "select a[0] as x, a[-1] as y, a[9] as z", "{\"a\":[1,2,3]}",
          "{\"x\":1,\"y\":3,\"z\":null}" },
        { "select a[1].b[0] as x", "{\"a\":[0,{\"b\":[true]}]}", "{\"x\":true}" },
        { "select \"a b\".\"c.d\" as x, `e`['f'] as y",
          "{\"a b\":{\"c.d\":1},\"e\":{\"f\":2}}", "{\"x\":1,\"y\":2}" },
        { "select \"from\", a.end as \"where\"", "{\"from\":1,\"a\":{\"end\":2}}",
          "{\"from\":1,\"where\":2}" },
        { "select \"a\"\"b\" as x", "{\"a\\\"b\":1}", "{\"x\":1}" },
        { "select x where a.b.c = 1", "{\"a\":{\"b\":3},\"x\":1}", "" },
        { "select temp\xc3\xa9rature as t", "{\"temp\xc3\xa9rature\":3}", "{\"t\":3}" },
        { "select ID as x, id", "{\"id\":1}", "{\"id\":1,\"x\":null}" },
    };

    CHECK_ROWS(rows);
}

TEST(aliases_build_objects)
{
    static const struct row rows[] = {
        { "select t as data.temp", "{\"t\":1}", "{\"data\":{\"temp\":1}}" },
        { "select t as data.temp, 'C' as data.unit, 2 as a.b.c", "{\"t\":1}",
          "{\"a\":{\"b\":{\"c\":2}},\"data\":{\"temp\":1,\"unit\":\"C\"}}" },
        { "select t as \"data.temp\"", "{\"t\":1}", "{\"data.temp\":1}" },
        { "select *, t * 2 as d.x", "{\"t\":1,\"d\":{\"a\":1,\"x\":0,\"z\":2}}",
          "{\"d\":{\"a\":1,\"x\":2,\"z\":2},\"t\":1}" },
        { "select *, 1 as d.x", "{\"d\":5}", "{\"d\":{\"x\":1}}" },
        { "select 1 as d, *", "{\"d\":{\"a\":1},\"e\":2}", "{\"d\":1,\"e\":2}" },
        { "select *, 9 as b", "{\"c\":3,\"a\":1}", "{\"a\":1,\"b\":9,\"c\":3}" },
        { "select 1 as select", "{}", "{\"select\":1}" },
        { "select 1 as 'x y'", "{}", "{\"x y\":1}" },
    };

    CHECK_ROWS(rows);
}

TEST(values)
{
    static const struct row rows[] = {
        { "select a+b as x, a*b as y, a-b as z, a/b as q, a%b as m", "{\"a\":7,\"b\":2}",
          "{\"m\":1,\"q\":3,\"x\":9,\"y\":14,\"z\":5}" },
        { "select a/2.0 as x, a*1.5 as y, 0.1+0.2 as z, 1e300 as big", "{\"a\":3}",
          "{\"big\":1e300,\"x\":1.5,\"y\":4.5,\"z\":0.30000000000000004}" },
        { "select a/0 as x, 1e999 as y", "{\"a\":3}", "{\"x\":null,\"y\":null}" },
        { "select 9223372036854775807 as x, -9223372036854775808 as y", "{}",
          "{\"x\":9223372036854775807,\"y\":-9223372036854775808}" },
        { "select a + 0 as x", "{\"a\":9007199254740993}", "{\"x\":9007199254740993}" },
        { "select - -a as x, +a as y, ~a as z, - - 1 as w", "{\"a\":5}",
          "{\"w\":1,\"x\":5,\"y\":5,\"z\":-6}" },
        { "select 1 + 2 * 3 as x, (1 + 2) * 3 as y, 'a'||1+2 as z, 6 & 3 | 8 as b, "
          "1<<4>>1 as s",
          "{}", "{\"b\":10,\"s\":8,\"x\":7,\"y\":9,\"z\":2}" },
        { "select first || ' ' || last as name", "{\"first\":\"A\",\"last\":\"B\"}",
          "{\"name\":\"A B\"}" },
        { "select 'it''s \"x\"' as x", "{}", "{\"x\":\"it's \\\"x\\\"\"}" },
        { "select .5 as a, 5. as b, 1e3 as c", "{}",
          "{\"a\":0.5,\"b\":5.0,\"c\":1000.0}" },
        { "select null as n, true as t, FALSE as f", "{}",
          "{\"f\":false,\"n\":null,\"t\":true}" },
        { "select a > 3 as hot, not a as n, a is null as z, a in (1,5) as i, a like "
          "'5' as l",
          "{\"a\":5}", "{\"hot\":true,\"i\":true,\"l\":true,\"n\":false,\"z\":false}" },
        { "select b > 3 as x, (a > 3) as y, (a > 3) + 1 as z", "{\"a\":5}",
          "{\"x\":null,\"y\":true,\"z\":2}" },
        { "select coalesce(on, false) as a, coalesce(x, true) as b, iif(x is null, a, "
          "2) as c",
          "{\"on\":true,\"a\":false}", "{\"a\":true,\"b\":true,\"c\":false}" },
        { "select coalesce(x, o) as x, case when 1 then l end as y",
          "{\"o\":{\"b\":1,\"a\":[2]},\"l\":[3]}",
          "{\"x\":{\"a\":[2],\"b\":1},\"y\":[3]}" },
        { "select case when t < 0 then 'ice' when t < 100 then 'water' else 'steam' "
          "end as x",
          "{\"t\":20}", "{\"x\":\"water\"}" },
        { "select case t when 1 then 'one' end as x, case when t=2 then t>1 else "
          "false end as b",
          "{\"t\":2}", "{\"b\":true,\"x\":null}" },
        { "select cast(a as integer) as i, cast(b as text) as t, cast(a as real) as r",
          "{\"a\":\"12\",\"b\":1}", "{\"i\":12,\"r\":12.0,\"t\":\"1\"}" },
        { "select a -- why\n, /* and */ b", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}" },
    };

    CHECK_ROWS(rows);
}

TEST(functions)
{
    static const struct row rows[] = {
        { "select qos(), topic(), timestamp(), function(), invokeid()", "{}",
          "{\"function\":\"f\",\"invokeid\":\"e2e8\",\"qos\":1,\"timestamp\":1795420917,"
          "\"topic\":\"t\"}" },
        { "select upper(a) as u, lower(a) as l, length(a) as n, substr(a,2,2) as s",
          "{\"a\":\"aBcD\"}", "{\"l\":\"abcd\",\"n\":4,\"s\":\"Bc\",\"u\":\"ABCD\"}" },
        { "select trim(' x ') as a, ltrim(' x') as b, rtrim('xx-', '-') as c, "
          "replace(a,'l','L') as d",
          "{\"a\":\"hello\"}", "{\"a\":\"x\",\"b\":\"x\",\"c\":\"xx\",\"d\":\"heLLo\"}" },
        { "select instr(a, 'o') as x, instr(a, 'z') as y, instr(a, n) as z, instr(b, "
          "b) as w",
          "{\"a\":\"h\xc3\xa4llo\",\"b\":\"\"}", "{\"w\":1,\"x\":5,\"y\":0,\"z\":null}" },
        { "select printf('%05.1f|%d|%s', a, 3, 'x') as x, format('%%') as y",
          "{\"a\":2.25}", "{\"x\":\"002.3|3|x\",\"y\":\"%\"}" },
        { "select round(a) as x, round(a, 1) as y, abs(-3) as z, sign(-2.5) as s",
          "{\"a\":2.25}", "{\"s\":-1,\"x\":2.0,\"y\":2.3,\"z\":3}" },
        { "select floor(2.7) as a, ceil(2.1) as b, sqrt(9) as c, power(2, 10) as d, "
          "mod(7.5, 2) as e, floor(5) as f",
          "{}", "{\"a\":2.0,\"b\":3.0,\"c\":3.0,\"d\":1024.0,\"e\":1.5,\"f\":5}" },
        { "select sqrt(-1) as a, ln('x') as b, power(x, 2) as c", "{}",
          "{\"a\":null,\"b\":null,\"c\":null}" },
        { "select ifnull(x, 1) as a, nullif(1, 1) as b, min(3, 1, 2) as c, max('a', "
          "'b') as d",
          "{}", "{\"a\":1,\"b\":null,\"c\":1,\"d\":\"b\"}" },
        { "select typeof(a) as a, typeof(b) as b, typeof(c) as c", "{\"a\":1,\"b\":1.0}",
          "{\"a\":\"integer\",\"b\":\"real\",\"c\":\"null\"}" },
        { "select a || '\xc3\xa4' || char(0) as x, char(55296) as "
          "y",
          "{\"a\":\"\\u0000\"}",
          "{\"x\":\"\\u0000\xc3\xa4\\u0000\",\"y\":\"\\ufffd\\ufffd\\ufffd\"}" },
        { "select concat(a, 'b') as x, concat_ws('-', 1, 2) as y, hex('a') as h, "
          "char(65) as c",
          "{\"a\":1}", "{\"c\":\"A\",\"h\":\"61\",\"x\":\"1b\",\"y\":\"1-2\"}" },
        { "select datetime(timestamp(), 'unixepoch') as at, strftime('%Y', 0, "
          "'unixepoch') as y",
          "{}", "{\"at\":\"2026-11-23 08:01:57\",\"y\":\"1970\"}" },
    };

    CHECK_ROWS(rows);
}

TEST(conditions)
{
    static const struct {
        const char *condition;
        bool passes;
    } rows[] = {
        { "a = 5", true },
        { "a == 5", true },
        { "a != 5", false },
        { "a <> 4", true },
        { "a >= 5 and a <= 5", true },
        { "a > 5 or s = 'x'", true },
        { "not a = 4", true },
        { "not (a = 5)", false },
        { "not a = 4 and s = 'y'", false },
        { "a = 5 or a = 6 and s = 'y'", true },
        { "(a = 5 or a = 6) and s = 'y'", false },
        { "a between 4 and 6 and s = 'x'", true },
        { "a not between 4 and 6", false },
        { "a in (1, 2, 3)", false },
        { "a in (1, 2, 3, 4, 5)", true },
        { "s in ('x')", true },
        { "a not in (1, 2, 3)", true },
        { "none in (1, 2, 3)", false },
        { "none not in (1, 2, 3)", false },
        { "s like 'X'", true },
        { "s glob 'X'", false },
        { "s not like 'y%'", true },
        { "topic() like '%'", true },
        { "s like '!x' escape '!'", true },
        { "none is null", true },
        { "a is not null", true },
        { "none = null", false },
        { "none", false },
        { "t", true },
        { "f", false },
        { "t = true", true },
        { "f = true", false },
        { "t is true", true },
        { "f is not true", true },
        { "none is not true", true },
        { "s = 5", false },
        { "a = '5'", false },
        { "none < 10", false },
        { "not none < 10", false },
        { "a < 1e1", true },
        { "n.x.y = 'z'", true },
        { "case when a = 5 then true end", true },
        { "1", true },
        { "0", false },
        { "", false },
        { "a is 5 and s is not 'y'", true },
        { "length(s) = 1", true },
        { "big > 123456789012345678", true },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows) - 0; i++) {
        char statement[128];
        const char *got;

        if (rows[i].condition[0] == '\0')
            continue;
        snprintf(statement, sizeof(statement), "select 1 as x where %s",
                 rows[i].condition);
        got = run(statement, "{\"a\":5,\"s\":\"x\",\"t\":true,\"f\":false,\"n\":{\"x\":"
                             "{\"y\":\"z\"}},\"big\":123456789012345679}");
        if (strcmp(got, rows[i].passes ? "{\"x\":1}" : "") != 0)
            TEST_END_(1, "%s: %s", statement, got);
    }
}

TEST(one_object_serves_many_messages)
{
    struct fm_sql *sql;
    struct bt_buf why = { 0 };

    CHECK_INT(fm_sql_new("select id + 1 as id where id > 1", &sql, &why), 0);
    for (int i = 0; i < 5; i++) {
        char payload[32], want[32];
        struct fm_message m;
        struct bt_slice out;
        const char *error;

        snprintf(payload, sizeof(payload), "{\"id\":%d}", i);
        snprintf(want, sizeof(want), "{\"id\":%d}", i + 1);
        m = message(payload);
        CHECK_INT(fm_sql_run(sql, &m, 100, &out, &error), 0);
        CHECK_INT(out.len, i > 1 ? strlen(want) : 0);
        if (out.len > 0)
            CHECK_MEM(out.ptr, want, out.len);
    }
    fm_sql_free(sql);
}

/* ---- Fails ---- */

TEST(what_cannot_be_computed_is_said)
{
    static char big[40000];
    size_t n = (size_t)snprintf(big, sizeof(big), "{\"a\":\"");

    CHECK_STR(run("select abs(a) as x", "{\"a\":-9223372036854775808}"),
              "invalid input: integer overflow");
    memset(big + n, 'x', sizeof(big) - n - 3);
    strcpy(big + sizeof(big) - 3, "\"}");
    CHECK_STR(
        run("select length(a||a||a||a||a||a||a||a||a||a||a||a||a||a||a||a||a||a||a||a||"
            "a||a||a||a||a||a||a||a||a||a||a||a) as x",
            big),
        "invalid input: a text in the statement would be longer than 1 MiB");
    CHECK_STR(run("select length(a) as n", big), "{\"n\":39991}");
    CHECK_STR(run("select length(printf('%*d', 2000000, 1)) as x", "{}"),
              "invalid input: a text in the statement would be longer than 1 MiB");
    CHECK_STR(run_max("select *", "{\"a\":\"0123456789\"}", 10), "limit exceeded: ");
    CHECK_STR(run_max("select *", "{\"a\":123456}", 12), "{\"a\":123456}");
}

TEST(deep_payloads)
{
    char deep[1000] = "{\"a\":";

    memset(deep + 5, '[', 200);
    memset(deep + 205, ']', 200);
    strcpy(deep + 405, "}");
    CHECK_STR(run("select *", deep), "limit exceeded: ");
    CHECK_STR(run("select 1 as x where a[0][0][0] is not null", deep),
              "invalid input: a member is longer than 1 MiB or nested too deeply");
    CHECK_STR(run("select 1 as x", deep), "{\"x\":1}");
}

TEST(errors_name_the_place)
{
    static const struct row rows[] = {
        { "", "", "at its end: expected `select`" },
        { "delete from x", "", "at character 1, `delete from x`: expected `select`" },
        { "select", "", "at its end: expected a value" },
        { "select a wher id < 10", "",
          "at character 10, `wher id < 10`: expected `,`, `as`, an operator, `where` "
          "or the end" },
        { "select * from t where id < 10 and a like 'x'", "",
          "at character 10, `from t where id < 10 and...`: there is no `from`: the "
          "rule's "
          "subscribe.topic says which messages come; use topic() in the condition to "
          "tell "
          "them apart" },
        { "select a where", "", "at its end: expected a value" },
        { "select a,", "", "at its end: expected a value" },
        { "select a; select b", "",
          "at character 11, `select b`: one statement is all there can be" },
        { "select a b", "",
          "at character 10, `b`: expected `,`, `as`, an operator, `where` "
          "or the end" },
        { "select a + 1", "",
          "at its end: expected an operator, or `as` and a name for this value" },
        { "select a[0]", "", "at its end: expected `as` and a name for this item" },
        { "select a as x, b as x", "",
          "at character 16, `b as x`: the result has a member of this name already" },
        { "select a as x, b as x.y", "",
          "at character 16, `b as x.y`: the result has a member of this name already" },
        { "select a as x.y, b as x", "",
          "at character 18, `b as x`: the result has a member of this name already" },
        { "select clientid() as x", "",
          "at character 8, `clientid() as x`: there is no function `clientid`; "
          "docs/functions-reference.md lists them" },
        { "select load_extension('x') as x", "",
          "at character 8, `load_extension('x') as x`: there is no function "
          "`load_extension`; docs/functions-reference.md lists them" },
        { "select upper() as x", "",
          "at character 14, `) as x`: upper() takes 1 argument, here are 0" },
        { "select max(a) as x", "",
          "at character 13, `) as x`: max() takes at least 2 and at most 100 arguments, "
          "here are 1" },
        { "select 'a as x", "", "at character 8, `'a as x`: the quote is not closed" },
        { "select 1a as x", "",
          "at character 8, `1a as x`: this is no number, and a name "
          "does not begin with a digit (quote it)" },
        { "select a ? b as x", "",
          "at character 10, `? b as x`: this character has no meaning here" },
        { "select /* a", "", "at its end: the comment is not closed" },
        { "select (a as x", "", "at character 11, `as x`: expected an operator or `)`" },
        { "select a where x like b", "",
          "at character 23, `b`: the pattern must be written "
          "as a text in '...'" },
        { "select replace(a, b, c) as x", "",
          "at character 19, `b, c) as x`: argument 2 of "
          "replace() must be written as a text in '...'" },
        { "select a where x in (select 1)", "",
          "at character 22, `select 1)`: expected a value; a member with this name is "
          "written in double quotes" },
        { "select a where a = not b", "",
          "at character 20, `not b`: write parentheses around `not ...` here" },
        { "select a where a not 5", "",
          "at character 22, `5`: expected `in`, `like`, `glob` or `between`" },
        { "select a where a glob 'x' escape '!'", "",
          "at character 27, `escape '!'`: expected an operator or the end" },
        { "select count(*) as x", "",
          "at character 8, `count(*) as x`: there is no function "
          "`count`; docs/functions-reference.md lists them" },
        { "select a where b = *", "",
          "at character 20, `*`: `*` stands for all members, alone in the list" },
        { "select cast(a as blob) as x", "",
          "at character 18, `blob) as x`: expected integer, real or text" },
        { "select case a end as x", "", "at character 15, `end as x`: expected `when`" },
        { "select a.1 as x", "",
          "at character 9, `.1 as x`: expected `,`, `as`, an operator, "
          "`where` or the end" },
        { "select a[x] as x", "",
          "at character 10, `x] as x`: expected the number of an item, or a name in "
          "quotes" },
        { "select * limit 1", "",
          "at character 10, `limit 1`: `limit` is not available: each "
          "message is handled for itself" },
    };

    CHECK_ROWS(rows);
}

/* n times `piece` between two texts; the sum is what fm_sql_new says. */
static int build(const char *before, const char *piece, size_t n, const char *after)
{
    static char statement[FM_SQL_MAX_STATEMENT * 2];
    struct bt_buf why = { 0 };
    struct fm_sql *sql;
    size_t len = (size_t)snprintf(statement, sizeof(statement), "%s", before);
    int r;

    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(statement + len, sizeof(statement) - len, "%s", piece);
    snprintf(statement + len, sizeof(statement) - len, "%s", after);
    r = fm_sql_new(statement, &sql, &why);
    fm_sql_free(sql);
    bt_buf_deinit(&why);
    return r;
}

static void *build_deep(void *result)
{
    /* The deepest that is allowed must fit a small stack. */
    *(int *)result = build("select a", "+a", FM_SQL_MAX_DEPTH - 1, " as x");
    if (*(int *)result == 0)
        *(int *)result = build("select ", "(", FM_SQL_MAX_NESTING - 2, "a");
    return NULL;
}

TEST(maxima)
{
    pthread_attr_t attr;
    pthread_t thread;
    int result = 1;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    CHECK_INT(pthread_create(&thread, &attr, build_deep, &result), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    CHECK_INT(build("select a", "+a", FM_SQL_MAX_DEPTH - 1, " as x"), 0);
    CHECK_INT(build("select a", "+a", FM_SQL_MAX_DEPTH + 1, " as x"), BT_EINVAL);
    CHECK_INT(build("select ", "-", FM_SQL_MAX_NESTING + 1, "a as x"), BT_EINVAL);
    CHECK_INT(build("select ", "(", 5000, "a"), BT_EINVAL);
    CHECK_INT(build("select ", "not ", 200, "a as x"), BT_EINVAL);
    CHECK_INT(build("select a where ", "case when ", 1000, "a"), BT_EINVAL);
    CHECK_INT(build("select a", ".a", FM_SQL_MAX_STEPS, ""), BT_EINVAL);
    CHECK_INT(build("select a where a in (1", ",a", 400, ")"), 0);
    CHECK_INT(build("select a where a in (1", ",a", 600, ")"), BT_EINVAL);
    CHECK_INT(build("select a where a in (1", ",1", 4000, ")"), 0);
    CHECK_INT(build("select *", ",*", FM_SQL_MAX_COLUMNS, ""), BT_EINVAL);
    CHECK_INT(build("select a", " ", FM_SQL_MAX_STATEMENT, ""), BT_EINVAL);
    CHECK_INT(build("select max(1", ",1", 120, ") as x"), BT_EINVAL);
    CHECK_INT(build("select 1 as x where a like '", "%a", 120, "'"), 0);
    CHECK_INT(build("select 1 as x where a like '", "%a", 130, "'"), BT_EINVAL);
    CHECK_INT(build("select trim(a, '", "ab", 130, "') as x"), BT_EINVAL);
    CHECK_INT(build("select printf('", "ab", 130, "') as x"), 0);
}

static struct fm_result last;
static char last_message[512];

static void on_done(struct fm_call *call, const struct fm_result *result)
{
    (void)call;
    last = *result;
    snprintf(last_message, sizeof(last_message), "%s",
             result->message != NULL ? result->message : "");
}

TEST(calls)
{
    struct fm_call call = { .message = message("{\"a\":12345}"), .done = on_done };
    struct bt_buf why = { 0 };
    struct fm_sql *sql;

    CHECK_INT(fm_sql_new("select *, abs(b) as b where a > 1", &sql, &why), 0);
    fm_sql_call(sql, &call, 100);
    CHECK_INT(last.outcome, FM_OK);
    CHECK_INT(last.payload.len, strlen("{\"a\":12345,\"b\":null}"));
    fm_sql_call(sql, &call, 5);
    CHECK_INT(last.outcome, FM_TOO_LARGE);
    CHECK_STR(last_message, "rpc error: code = ResourceExhausted desc = grpc: trying to "
                            "send message larger than max (11 vs. 5)");
    fm_sql_call(sql, &call, 12);
    CHECK_INT(last.outcome, FM_TOO_LARGE);
    CHECK_STR(last_message, "rpc error: code = ResourceExhausted desc = the result is "
                            "larger than max (12), or nested too deeply");
    call.message.payload = bt_slice_of("{\"a\":2,\"b\":-9223372036854775808}");
    fm_sql_call(sql, &call, 100);
    CHECK_INT(last.outcome, FM_FAILED);
    CHECK_STR(last.type, FM_STATUS_ERROR);
    CHECK_STR(last_message, "rpc error: code = Unknown desc = integer overflow");
    call.message.payload = bt_slice_of("{\"a\":1}");
    fm_sql_call(sql, &call, 100);
    CHECK_INT(last.outcome, FM_OK);
    CHECK_INT(last.payload.len, 0);
    fm_sql_free(sql);
}

TEST(out_of_memory)
{
    static const char statement[] =
        "select *, upper(a) as u.v, b as u.w, coalesce(c, 1) as c where a like 'x%'";
    struct fm_message m = message("{\"a\":\"xyz\",\"b\":[1,{\"z\":2}],\"c\":{\"d\":1}}");
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        struct bt_buf why = { 0 };
        struct fm_sql *sql;
        struct bt_slice out;
        const char *error;
        int r;

        bt_mem_fail_from(nth);
        r = fm_sql_new(statement, &sql, &why);
        if (r == 0)
            r = fm_sql_run(sql, &m, 1000, &out, &error);
        failed = bt_mem_fail_from(0);
        CHECK_INT(r, failed ? BT_ENOMEM : 0);
        if (sql != NULL)
            CHECK_INT(fm_sql_run(sql, &m, 1000, &out, &error), 0);
        fm_sql_free(sql);
        bt_buf_deinit(&why);
    }
}

TEST(out_of_memory_while_complaining)
{
    for (unsigned long nth = 1; nth < 20; nth++) {
        struct bt_buf why = { 0 };
        struct fm_sql *sql;
        int r;

        bt_mem_fail_from(nth);
        r = fm_sql_new("select a, f(x)", &sql, &why);
        CHECK_INT(r, bt_mem_fail_from(0) ? BT_ENOMEM : BT_EINVAL);
        bt_buf_deinit(&why);
    }
}
