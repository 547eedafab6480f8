#include "core/http_body.c"

#include "tests/harness.h"

static char body[4096];

/* Feeds text in pieces of `step` bytes; the body is left in `body`. */
static int feed(const char *text, size_t step, struct bt_http_body *b)
{
    size_t n = strlen(text), at = 0, len = 0;
    int r = BT_HTTP_MORE;

    while (r == BT_HTTP_MORE && at < n) {
        size_t piece = BT_MIN(step, n - at), used = 0;
        struct bt_slice out;

        r = bt_http_body_feed(b, (const uint8_t *)text + at, piece, &used, &out);
        memcpy(body + len, out.ptr, out.len);
        len += out.len;
        at += used;
        CHECK(used > 0 || r != BT_HTTP_MORE);
    }
    body[len] = '\0';
    return r;
}

static int chunked(const char *text, size_t step, uint64_t max)
{
    struct bt_http_request r = { .chunked = true };
    struct bt_http_body b;

    CHECK_INT(bt_http_body_init(&b, &r, max), 0);
    return feed(text, step, &b);
}

/* Works. */

TEST(no_body)
{
    struct bt_http_request r = { .chunked = false };
    struct bt_http_body b;
    struct bt_slice out;
    size_t used = 9;

    CHECK_INT(bt_http_body_init(&b, &r, 0), 0);
    CHECK_INT(bt_http_body_feed(&b, (const uint8_t *)"GET", 3, &used, &out), 0);
    CHECK(used == 0 && out.len == 0);
}

TEST(by_length)
{
    struct bt_http_request r = { .content_length = 5 };
    struct bt_http_body b;

    for (size_t step = 1; step < 9; step++) {
        CHECK_INT(bt_http_body_init(&b, &r, 5), 0);
        CHECK_INT(feed("helloGET /", step, &b), 0);
        CHECK_STR(body, "hello");
    }
}

TEST(by_chunks)
{
    const char *text = "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n"
                       "0\r\nT: v\r\nU:\r\n\r\nGET";

    for (size_t step = 1; step < strlen(text); step++) {
        CHECK_INT(chunked(text, step, 13), 0);
        CHECK_STR(body, "abc0123456789");
    }
    CHECK_INT(chunked("0\r\n\r\n", 1, 0), 0);
}

/* Fails. */

TEST(too_large)
{
    struct bt_http_request r = { .content_length = 6 };
    struct bt_http_body b;

    CHECK_INT(bt_http_body_init(&b, &r, 5), 413);
    CHECK_INT(chunked("3\r\nabc\r\n3\r\nabc\r\n0\r\n\r\n", 1, 5), 413);
    CHECK_INT(chunked("fffffffffffffff\r\n", 1, 5), 413);
    CHECK_INT(chunked("10000000000000000\r\n", 1, UINT64_MAX), 413);
}

TEST(malformed_chunks)
{
    static const char *const rows[] = {
        "\r\n",         "x\r\n",    "1\n",       "1 \r\nabc", "-1\r\n",  "0x1\r\n",
        "1\r\nab",      "1\r\na\n", "1\r\na\rx", "1;\n",      "0\r\n\n", "0\r\nA: b\n",
        "0\r\nA: b\rc", "1\rx",     "0\r\n\rx",  "1;a\rb",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        for (size_t step = 1; step < 9; step++)
            CHECK_INT(chunked(rows[i], step, 100), 400);
}

TEST(lines_without_an_end)
{
    static char text[BT_HTTP_MAX_TRAILER + 100];

    memset(text, 'a', sizeof(text) - 1);
    memcpy(text, "1;", 2);
    CHECK_INT(chunked(text, 7, 100), 400);
    memcpy(text, "0\r\n", 3);
    CHECK_INT(chunked(text, 7, 100), 400);
}
