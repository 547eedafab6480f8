/* What rules and calls share: ids, call records, answers. */
#include "funcmgr/rule/message.c"

#include "tests/harness.h"

TEST(uuid_is_version_4)
{
    char a[FM_UUID_LEN + 1], b[FM_UUID_LEN + 1];

    fm_uuid(a);
    fm_uuid(b);
    CHECK_INT(strlen(a), 36);
    CHECK(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
    CHECK(a[14] == '4' && strchr("89ab", a[19]) != NULL);
    CHECK(strcmp(a, b) != 0);
}

TEST(record_of_a_delivery)
{
    struct fm_delivery d = {
        .topic = bt_slice_of("t"), .payload = bt_slice_of("p"), .qos = 1, .pid = 7
    };
    struct fm_message m;

    fm_message_of(&m, &d, "f", "u-u");
    CHECK(m.id == 7 && m.qos == 1 && m.timestamp > 0);
    CHECK(m.topic.ptr == d.topic.ptr && m.payload.ptr == d.payload.ptr);
    CHECK(m.function.len == 1 && m.invoke_id.len == 3);
}

TEST(result_is_borrowed)
{
    struct fm_result r = { .outcome = FM_OK, .payload = bt_slice_of("hello") };
    struct fm_message m = { .topic = bt_slice_of("t") };
    struct fm_answer a;

    CHECK_INT(fm_answer_init(&a, &r, &m, 5), 0);
    CHECK(!a.error && a.payload.ptr == r.payload.ptr && a.payload.len == 5);
    fm_answer_deinit(&a);
    r.payload.len = 0;
    CHECK_INT(fm_answer_init(&a, &r, &m, 5), 0);
    CHECK(!a.error && a.payload.len == 0);
    fm_answer_deinit(&a);
}

static void check_error(const struct fm_result *r, size_t max, const char *want)
{
    struct fm_message m = { .topic = bt_slice_of("t"), .payload = bt_slice_of("in") };
    struct fm_answer a;

    CHECK_INT(fm_answer_init(&a, r, &m, max), 0);
    CHECK(a.error && a.payload.ptr == a.json.data && a.payload.len == a.json.len);
    CHECK_INT(bt_buf_append_u8(&a.json, 0), 0);
    CHECK_STR((const char *)a.json.data, want);
    fm_answer_deinit(&a);
}

TEST(failure_becomes_a_message_that_fits)
{
    struct fm_result r = { .outcome = FM_FAILED, .message = "m", .type = "y" };

    check_error(&r, 1000,
                "{\"errorMessage\":\"m\",\"errorType\":\"y\",\"functionMessage\":"
                "{\"Topic\":\"t\",\"Payload\":\"aW4=\"}}");
    check_error(&r, 70,
                "{\"errorMessage\":\"m\",\"errorType\":\"y\",\"functionMessage\":"
                "{\"Topic\":\"t\"}}");
}

TEST(result_too_large_becomes_a_message)
{
    static uint8_t big[1000];
    struct fm_result r = { .outcome = FM_OK, .payload = { big, sizeof(big) } };

    check_error(&r, 999,
                "{\"errorMessage\":\"rpc error: code = ResourceExhausted desc = the "
                "result is larger than the hub accepts (1000 vs. 999)\",\"errorType\":"
                "\"*status.statusError\",\"functionMessage\":{\"Topic\":\"t\","
                "\"Payload\":\"aW4=\"}}");
}
