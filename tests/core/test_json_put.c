/* Strings as JSON. */
#include "core/json_put.c"

#include <stdlib.h>

#include "tests/harness.h"

static void check(const char *text, size_t n, const char *want)
{
    struct bt_buf b = { 0 };
    char *s;

    CHECK_INT(bt_json_put_string(&b, (struct bt_slice){ (const uint8_t *)text, n }), 0);
    s = bt_buf_steal_str(&b);
    CHECK_STR(s, want);
    free(s);
}

/* Works. */

TEST(escapes)
{
    check("plain", 5, "\"plain\"");
    check("", 0, "\"\"");
    check("\"\\\b\f\n\r\t", 7, "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    check("\x01\x1f\x7f", 3, "\"\\u0001\\u001f\\u007f\"");
    check("a\0b", 3, "\"a\\u0000b\"");
    check("\xc3\xa4", 2, "\"\xc3\xa4\"");
}

TEST(what_is_not_utf8_is_replaced)
{
    check("a\xff"
          "b",
          3, "\"a\\ufffdb\"");
    check("\xc3", 1, "\"\\ufffd\"");
}

TEST(long_text_goes_in_blocks)
{
    char text[1000], want[6 * sizeof(text) + 3];
    size_t n = 0;

    memset(text, 1, sizeof(text));
    want[n++] = '"';
    for (size_t i = 0; i < sizeof(text); i++, n += 6)
        memcpy(want + n, "\\u0001", 6);
    memcpy(want + n, "\"", 2);
    check(text, sizeof(text), want);
}

/* Fails. */

TEST(a_full_buffer_is_said)
{
    struct bt_buf b = { .max = 4 };

    CHECK(bt_json_put_str(&b, "too long for it") != 0);
    bt_buf_deinit(&b);
}
