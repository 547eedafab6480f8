/* What counts as JSON. */
#include "funcmgr/calls/payload.c"

#include "tests/harness.h"

static bool json(const char *text)
{
    return fm_payload_is_json((struct bt_slice){ (const uint8_t *)text, strlen(text) });
}

TEST(works)
{
    static const char *const good[] = {
        "{}",
        "[]",
        "[[],{}]",
        " {\"a\" : [1, -2.5e+3, 0, 1E9] , \"b\":{\"c\":null}} \n",
        "true",
        "false",
        "null",
        "0",
        "-0.5",
        "12",
        "\"\"",
        "\"\\u00e9\\n\\\"\"",
        "\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "{\"a\":{},\"b\":[]}",
        "[{\"a\":1},{\"a\":2}]",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(good); i++)
        if (!json(good[i]))
            TEST_END_(1, "refused: %s", good[i]);
}

TEST(fails)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[1",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "[1 2]",
        "{}{}",
        "1 2",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "nul",
        "True",
        "hello",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xed\xa0\x80\"",
        "\"\xc0\x80\"",
        "[}",
        "{]",
        "'a'",
        "{\x01}",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (json(bad[i]))
            TEST_END_(1, "accepted: %s", bad[i]);
    CHECK(!fm_payload_is_json((struct bt_slice){ (const uint8_t *)"\"\0\"", 3 }));
    CHECK(
        !fm_payload_is_json((struct bt_slice){ (const uint8_t *)"\"\\u\0\0\0\0\"", 8 }));
}

TEST(depth_is_bounded)
{
    char text[2 * FM_PAYLOAD_MAX_DEPTH + 3] = "";

    memset(text, '[', FM_PAYLOAD_MAX_DEPTH);
    memset(text + FM_PAYLOAD_MAX_DEPTH, ']', FM_PAYLOAD_MAX_DEPTH);
    CHECK(json(text));
    memset(text, '[', FM_PAYLOAD_MAX_DEPTH + 1);
    memset(text + FM_PAYLOAD_MAX_DEPTH + 1, ']', FM_PAYLOAD_MAX_DEPTH + 1);
    CHECK(!json(text));
}

TEST(a_long_one_is_judged_by_its_ends)
{
    static char text[FM_PAYLOAD_JSON_CHECK + 2];

    memset(text, 'x', sizeof(text) - 1);
    CHECK(!json(text));
    text[0] = '"';
    text[sizeof(text) - 2] = '"';
    CHECK(json(text));
}

TEST(random_bytes)
{
    static const char letters[] = "{}[]\",:\\u0eE+-.truefalsn \x80\xc3";
    uint8_t text[24];

    for (unsigned i = 0; i < 200000; i++) {
        size_t n = (size_t)(test_random() % sizeof(text));

        for (size_t k = 0; k < n; k++)
            text[k] = (uint8_t)letters[test_random() % (sizeof(letters) - 1)];
        (void)fm_payload_is_json((struct bt_slice){ text, n });
    }
}
