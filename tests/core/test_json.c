/* JSON: reading, looking up, sorting, writing. */
#include "core/json.c"

#include "tests/harness.h"

/* The text after reading and writing; "" when it is no JSON. */
static const char *again(const char *in)
{
    static char result[8192];
    struct bt_json_sorter s = { 0 };
    struct bt_buf out = { 0 };
    struct bt_json *json;
    int r = bt_json_parse(bt_slice_of(in), &json);

    result[0] = '\0';
    if (r == 0) {
        CHECK_INT(bt_json_put(&out, &s, bt_json_root(json)), 0);
        CHECK_INT(s.n, 0);
        snprintf(result, sizeof(result), "%.*s", (int)out.len, (const char *)out.data);
    } else {
        CHECK_INT(r, BT_EINVAL);
    }
    bt_json_free(json);
    bt_json_sorter_deinit(&s);
    bt_buf_deinit(&out);
    return result;
}

/* ---- Works ---- */

TEST(read_and_written)
{
    static const char *const rows[][2] = {
        { "{}", "{}" },
        { " [ ] ", "[]" },
        { "[1,-0,1.50,1e5,12345678901234567890123]",
          "[1,-0,1.50,1e5,12345678901234567890123]" },
        { "[true,false,null]", "[true,false,null]" },
        { "\"a\\u00e4\\ud83d\\ude00\\/\\n\"", "\"a\xc3\xa4\xf0\x9f\x98\x80/\\n\"" },
        { "{\"b\":1,\"a\":{\"d\":[],\"c\":{}}}", "{\"a\":{\"c\":{},\"d\":[]},\"b\":1}" },
        { "{\"b\":1,\"a\":2,\"b\":3,\"ab\":4,\"\":5}",
          "{\"\":5,\"a\":2,\"ab\":4,\"b\":3}" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK_STR(again(rows[i][0]), rows[i][1]);
}

TEST(many_members_are_sorted)
{
    char in[4000] = "{", want[4000] = "{";
    size_t n = 1, m = 1;

    for (int i = 99; i >= 0; i--) {
        n += (size_t)snprintf(in + n, sizeof(in) - n, "\"k%02d\":%d,", i, i);
        /* A second time, later: wins. */
        n += (size_t)snprintf(in + n, sizeof(in) - n, "\"k%02d\":%d%s", i, i + 1,
                              i ? "," : "}");
        m += (size_t)snprintf(want + m, sizeof(want) - m, "\"k%02d\":%d%s", 99 - i,
                              100 - i, i ? "," : "}");
    }
    CHECK_STR(again(in), want);
}

TEST(lookups)
{
    struct bt_json *json;
    const struct bt_json_val *v, *list;
    bool is_int;
    int64_t whole;
    double real;

    CHECK_INT(
        bt_json_parse(bt_slice_of("{\"a\":1,\"l\":[1,2.5,9223372036854775808],\"a\":-7}"),
                      &json),
        0);
    v = bt_json_root(json);
    CHECK_INT(bt_json_kind(v), BT_JSON_OBJECT);
    CHECK(bt_json_member(v, bt_slice_of("b")) == NULL);
    CHECK(bt_json_member(NULL, bt_slice_of("b")) == NULL);
    bt_json_number(bt_json_member(v, bt_slice_of("a")), &is_int, &whole, &real);
    CHECK(is_int && whole == -7);
    list = bt_json_member(v, bt_slice_of("l"));
    CHECK(bt_json_member(list, bt_slice_of("a")) == NULL);
    CHECK(bt_json_item(v, 0) == NULL);
    CHECK(bt_json_item(list, 3) == NULL && bt_json_item(list, -4) == NULL);
    bt_json_number(bt_json_item(list, 1), &is_int, &whole, &real);
    CHECK(!is_int && real == 2.5);
    bt_json_number(bt_json_item(list, -1), &is_int, &whole, &real);
    CHECK(!is_int && real == 9223372036854775808.0);
    CHECK_MEM(bt_json_text(bt_json_item(list, 1)).ptr, "2.5", 4);
    bt_json_free(json);
}

TEST(doubles)
{
    static const struct {
        double v;
        const char *want;
    } rows[] = {
        { 1, "1.0" },       { 0.1, "0.1" },   { 0.1 + 0.2, "0.30000000000000004" },
        { 1e300, "1e300" }, { -0.0, "-0.0" }, { 1.0 / 0.0, "null" }
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_buf out = { 0 };

        CHECK_INT(bt_json_put_double(&out, rows[i].v), 0);
        CHECK_INT(out.len, strlen(rows[i].want));
        CHECK_MEM(out.data, rows[i].want, out.len);
        bt_buf_deinit(&out);
    }
}

/* ---- Fails ---- */

TEST(what_is_no_json)
{
    static const char *const rows[] = {
        "",       "{",     "[1,]",        "{\"a\":1,}", "01",
        "NaN",    "1 2",   "'a'",         "\"\xff\"",   "/**/1",
        "\"\t\"", "{a:1}", "\"\\ud800\"", "+1",         "\xef\xbb\xbf{}"
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK_STR(again(rows[i]), "");
}

TEST(depth_has_a_limit)
{
    char in[2 * 300 + 1];
    struct bt_json_sorter s = { 0 };
    struct bt_buf out = { 0 };
    struct bt_json *json;

    memset(in, '[', 300);
    memset(in + 300, ']', 300);
    in[600] = '\0';
    CHECK_INT(bt_json_parse(bt_slice_of(in), &json), 0);
    CHECK_INT(bt_json_put(&out, &s, bt_json_root(json)), BT_ELIMIT);
    bt_json_free(json);
    in[300 - BT_JSON_MAX_DEPTH - 1] = '\0';
    CHECK_STR(again(in + 300 - BT_JSON_MAX_DEPTH), "");
    in[300 + BT_JSON_MAX_DEPTH] = '\0';
    CHECK_STR(again(in + 300 - BT_JSON_MAX_DEPTH), in + 300 - BT_JSON_MAX_DEPTH);
    bt_buf_deinit(&out);
}

TEST(out_of_memory)
{
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        struct bt_json_sorter s = { 0 };
        struct bt_buf out = { 0 };
        struct bt_json *json;
        int r;

        bt_mem_fail_from(nth);
        r = bt_json_parse(
            bt_slice_of("{\"a\":[{\"b\":1}],\"c\":\"a long text that needs room in the "
                        "buffer\"}"),
            &json);
        if (r == 0)
            r = bt_json_put(&out, &s, bt_json_root(json));
        failed = bt_mem_fail_from(0);
        CHECK_INT(r, failed ? BT_ENOMEM : 0);
        bt_json_free(json);
        bt_json_sorter_deinit(&s);
        bt_buf_deinit(&out);
    }
}
