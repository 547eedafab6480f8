#include "core/http_text.c"

#include "core/mem.h"
#include "tests/harness.h"

static struct bt_slice slice(const char *text)
{
    return (struct bt_slice){ (const uint8_t *)text, strlen(text) };
}

/* Works. */

TEST(queries)
{
    struct bt_slice q = slice("a=1&b&c=&a=2&dd=x=y"), v;

    CHECK(bt_http_query(q, "a", &v) && v.len == 1 && v.ptr[0] == '1');
    CHECK(bt_http_query(q, "b", &v) && v.len == 0);
    CHECK(bt_http_query(q, "c", &v) && v.len == 0);
    CHECK(bt_http_query(q, "dd", &v) && v.len == 3 && memcmp(v.ptr, "x=y", 3) == 0);
    CHECK(!bt_http_query(q, "d", &v) && !bt_http_query(q, "", &v));
    CHECK(!bt_http_query((struct bt_slice){ NULL, 0 }, "a", &v));
}

TEST(percent_decoding)
{
    char out[16];

    CHECK(bt_http_decode(slice("a%20b%2Fc%c3%A4+"), false, out, sizeof(out)));
    CHECK_STR(out, "a b/c\xc3\xa4+");
    CHECK(bt_http_decode(slice("a+b%2B"), true, out, sizeof(out)));
    CHECK_STR(out, "a b+");
    CHECK(bt_http_decode((struct bt_slice){ NULL, 0 }, true, out, 1));
    CHECK_STR(out, "");
}

TEST(answers)
{
    struct bt_buf b = { 0 };
    char *s;

    CHECK_INT(bt_http_put_answer(&b, 404, "text/plain", slice("no\n"), false), 0);
    s = bt_buf_steal_str(&b);
    CHECK_STR(s, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
                 "Content-Length: 3\r\nConnection: close\r\n\r\nno\n");
    bt_free(s);
    CHECK_STR(bt_http_status_text(101), "Switching Protocols");
    CHECK_STR(bt_http_status_text(799), "Unknown");
}

/* Fails. */

TEST(wrong_escapes)
{
    char out[4];

    CHECK(!bt_http_decode(slice("%"), false, out, sizeof(out)));
    CHECK(!bt_http_decode(slice("%2"), false, out, sizeof(out)));
    CHECK(!bt_http_decode(slice("%g0"), false, out, sizeof(out)));
    CHECK(!bt_http_decode(slice("%00"), false, out, sizeof(out)));
    CHECK(bt_http_decode(slice("abc"), false, out, sizeof(out)));
    CHECK(!bt_http_decode(slice("abcd"), false, out, sizeof(out)));
    CHECK(!bt_http_decode(slice(""), false, out, 0));
}

TEST(no_line_breaks_in_a_field)
{
    struct bt_buf b = { .max = 8 };

    CHECK_INT(bt_http_put_field(&b, "A", "b\r\nC: d"), BT_EINVAL);
    CHECK_INT(bt_http_put_field(&b, "Long", "longer"), BT_ELIMIT);
    bt_buf_deinit(&b);
}
