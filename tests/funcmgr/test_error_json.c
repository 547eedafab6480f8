#include "funcmgr/rule/error_json.c"

#include "tests/harness.h"

static struct bt_slice text(const char *s)
{
    return bt_slice_of(s);
}

static void check(const struct fm_message *m, const char *message, const char *want)
{
    struct bt_buf out = { 0 };

    CHECK_INT(fm_error_json(&out, message, "*status.statusError", m, true), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK_STR((const char *)out.data, want);
    bt_buf_deinit(&out);
}

TEST(all_members)
{
    struct fm_message m = { 4,          1,         text("f/q1"),    text("err1"),
                            1795420917, text("f"), text("e2e87da2") };

    check(&m, "rpc error: code = Unknown desc = Exception calling application: boom",
          "{\"errorMessage\":\"rpc error: code = Unknown desc = Exception calling "
          "application: boom\",\"errorType\":\"*status.statusError\",\"functionMessage\":"
          "{\"ID\":4,\"QOS\":1,\"Topic\":\"f/q1\",\"Payload\":\"ZXJyMQ==\",\"Timestamp\":"
          "1795420917,\"FunctionName\":\"f\",\"FunctionInvokeID\":\"e2e87da2\"}}");
}

TEST(empty_members_are_left_out)
{
    struct fm_message m = { .topic = text("t") };

    check(&m, "x",
          "{\"errorMessage\":\"x\",\"errorType\":\"*status.statusError\","
          "\"functionMessage\":{\"Topic\":\"t\"}}");
}

TEST(strings_are_escaped)
{
    struct fm_message m = { 0 };

    check(&m, "a\"b\\c\n\x01\xc3\xa4\xff\xed\xa0\x80z",
          "{\"errorMessage\":\"a\\\"b\\\\c\\n\\u0001\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd"
          "\xef\xbf\xbd\xef\xbf\xbdz\",\"errorType\":\"*status.statusError\","
          "\"functionMessage\":{}}");
}

TEST(base64_of_every_length)
{
    static const struct {
        const char *bytes, *want;
    } rows[] = { { "f", "\"Zg==\"" },
                 { "fo", "\"Zm8=\"" },
                 { "foo", "\"Zm9v\"" },
                 { "foob", "\"Zm9vYg==\"" },
                 { "\xff\xef\xbe", "\"/+++\"" } };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_buf out = { 0 };

        CHECK_INT(put_base64(&out, text(rows[i].bytes)), 0);
        CHECK_INT(out.len, strlen(rows[i].want));
        CHECK_MEM(out.data, rows[i].want, out.len);
        bt_buf_deinit(&out);
    }
}

TEST(payload_can_be_left_out)
{
    struct fm_message m = { .topic = text("t"), .payload = text("p") };
    struct bt_buf out = { 0 };

    CHECK_INT(fm_error_json(&out, "x", "y", &m, false), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK(strstr((const char *)out.data, "Payload") == NULL);
    bt_buf_deinit(&out);
}
