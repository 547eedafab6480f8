#include "core/http.c"

#include "tests/harness.h"

static struct bt_http_request req;

static int parse(const char *text)
{
    return bt_http_parse((const uint8_t *)text, strlen(text), &req);
}

static bool same(struct bt_slice s, const char *text)
{
    return s.ptr != NULL && bt_http_is(s, text);
}

#define HOST "Host: h\r\n"

/* Works. */

TEST(a_request)
{
    const char *head = "GET /a/b?x=1&y HTTP/1.1\r\n" HOST "A:  v \t\r\nB:\r\n\r\n";
    char text[128];

    snprintf(text, sizeof(text), "%srest", head);
    CHECK_INT(parse(text), 0);
    CHECK(same(req.method, "GET") && same(req.path, "/a/b") && same(req.query, "x=1&y"));
    CHECK(req.minor == 1 && req.keep_alive && !req.chunked && req.content_length == 0);
    CHECK_INT(req.n_fields, 3);
    CHECK(same(bt_http_field(&req, "a"), "v") && same(bt_http_field(&req, "B"), ""));
    CHECK(bt_http_field(&req, "C").ptr == NULL);
    CHECK_INT(req.head_len, strlen(head));
}

TEST(every_prefix_wants_more)
{
    const char *text = "\r\nPOST /x?q HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n";

    for (size_t i = 0; i < strlen(text); i++)
        CHECK_INT(bt_http_parse((const uint8_t *)text, i, &req), BT_HTTP_MORE);
    CHECK_INT(parse(text), 0);
    CHECK_INT(req.content_length, 3);
    CHECK_INT(req.head_len, strlen(text));
}

TEST(targets)
{
    static const struct {
        const char *line, *path, *query;
    } rows[] = {
        { "GET / HTTP/1.1", "/", NULL },
        { "GET /? HTTP/1.1", "/", "" },
        { "GET http://h:80/a?b HTTP/1.1", "/a", "b" },
        { "GET WS://h HTTP/1.1", "/", NULL },
        { "OPTIONS * HTTP/1.1", "*", NULL },
        { "GET //a%20b/../c HTTP/1.1", "//a%20b/../c", NULL },
    };
    char text[256];

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "%s\r\n" HOST "\r\n", rows[i].line);
        CHECK_INT(parse(text), 0);
        CHECK(same(req.path, rows[i].path));
        CHECK(rows[i].query == NULL ? req.query.ptr == NULL
                                    : same(req.query, rows[i].query));
    }
}

TEST(keep_alive)
{
    CHECK_INT(parse("GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, CLOSE\r\n\r\n"), 0);
    CHECK(!req.keep_alive);
    CHECK_INT(parse("GET / HTTP/1.0\r\n\r\n"), 0);
    CHECK(!req.keep_alive && req.minor == 0);
    CHECK_INT(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 0);
    CHECK(req.keep_alive);
}

TEST(expectations)
{
    CHECK_INT(parse("PUT / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\n\r\n"), 0);
    CHECK(req.expect_continue);
    CHECK_INT(parse("PUT / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\n\r\n"), 0);
    CHECK(!req.expect_continue);
    CHECK_INT(parse("PUT / HTTP/1.1\r\n" HOST "Expect: much\r\n\r\n"), 417);
}

TEST(words_of_lists)
{
    struct bt_slice list, word;

    CHECK_INT(parse("GET / HTTP/1.1\r\n" HOST
                    "Upgrade: ,a ,, b\r\nupgrade:c\r\nConnection:\r\n\r\n"),
              0);
    CHECK(bt_http_has_token(&req, "Upgrade", "A"));
    CHECK(bt_http_has_token(&req, "UPGRADE", "b"));
    CHECK(bt_http_has_token(&req, "upgrade", "C"));
    CHECK(!bt_http_has_token(&req, "upgrade", "d"));
    CHECK(!bt_http_has_token(&req, "Connection", ""));
    CHECK_INT(bt_http_count(&req, "UpGrade"), 2);
    list = bt_http_field(&req, "Upgrade");
    CHECK(bt_http_next_token(&list, &word) && same(word, "a"));
    CHECK(bt_http_next_token(&list, &word) && same(word, "b"));
    CHECK(!bt_http_next_token(&list, &word));
}

TEST(chunks_are_announced)
{
    CHECK_INT(parse("PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"), 0);
    CHECK(req.chunked);
}

/* Fails. */

TEST(what_is_not_http)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        { "\x16\x03\x01\x02", 400 }, /* a TLS client */
        { "\x10\x0c", 400 },         /* an MQTT client */
        { "\r\n\r\n", 400 },
        { "GET\r\n", 400 },
        { "GET /\r\n", 400 },
        { "GET  / HTTP/1.1\r\n", 400 },
        { " GET / HTTP/1.1\r\n", 400 },
        { "GET /  HTTP/1.1\r\n", 400 },
        { "GET / HTTP/1.1 \r\n", 400 },
        { "GET / http/1.1\r\n", 400 },
        { "GET /\x01 HTTP/1.1\r\n", 400 },
        { "GET /\xc3\xa4 HTTP/1.1\r\n", 400 },
        { "GET * HTTP/1.1\r\n", 400 },
        { "CONNECT h:80 HTTP/1.1\r\n", 400 },
        { "G(T / HTTP/1.1\r\n", 400 },
        { "GET / HTTP/1.1\n", 400 },
        { "GET / HTTP/1.1\rX", 400 },
        { "GET / HTTP/1.2\r\n", 505 },
        { "GET / HTTP/2.0\r\n", 505 },
        { "PRI * HTTP/2.0\r\n", 400 },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK_INT(parse(rows[i].text), rows[i].status);
}

TEST(fields_two_readers_could_read_differently)
{
    static const struct {
        const char *fields;
        int status;
    } rows[] = {
        { "", 400 }, /* no Host */
        { HOST HOST, 400 },
        { HOST "A : b\r\n", 400 },
        { HOST "A\r\n", 400 },
        { HOST ": b\r\n", 400 },
        { HOST "A: b\r\n c\r\n", 400 }, /* folded */
        { " A: b\r\n" HOST, 400 },
        { HOST "A: b\n", 400 },
        { HOST "A: b\rc\r\n", 400 },
        { HOST "A: b\x01\r\n", 400 },
        { HOST "A: b\x7f\r\n", 400 },
        { HOST "Content-Length: 1\r\nContent-Length: 1\r\n", 400 },
        { HOST "Content-Length: 1, 1\r\n", 400 },
        { HOST "Content-Length: +1\r\n", 400 },
        { HOST "Content-Length: -1\r\n", 400 },
        { HOST "Content-Length: 0x1\r\n", 400 },
        { HOST "Content-Length:\r\n", 400 },
        { HOST "Content-Length: 9999999999999999999\r\n", 400 },
        { HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400 },
        { HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400 },
        { HOST "Transfer-Encoding: gzip, chunked\r\n", 501 },
        { HOST "Transfer-Encoding: xchunked\r\n", 501 },
        { HOST "Transfer-Encoding:\r\n", 501 },
    };
    char text[256];

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n", rows[i].fields);
        CHECK_INT(parse(text), rows[i].status);
    }
    CHECK_INT(parse("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    CHECK_INT(parse("GET / HTTP/1.1\r\n" HOST "A: \x80\xff\r\n\r\n"), 0);
}

TEST(a_zero_byte_is_refused)
{
    static const uint8_t line[] = "GET /\0 HTTP/1.1\r\n";
    static const uint8_t field[] = "GET / HTTP/1.1\r\nA: \0\r\n";

    CHECK_INT(bt_http_parse(line, sizeof(line) - 1, &req), 400);
    CHECK_INT(bt_http_parse(field, sizeof(field) - 1, &req), 400);
}

TEST(too_long)
{
    static char text[3 * BT_HTTP_MAX_HEAD];
    size_t n;

    memset(text, 'a', sizeof(text));
    CHECK_INT(bt_http_parse((uint8_t *)text, BT_HTTP_MAX_HEAD - 1, &req), BT_HTTP_MORE);
    CHECK_INT(bt_http_parse((uint8_t *)text, BT_HTTP_MAX_HEAD, &req), 414);
    n = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST "A:");
    memset(text + n, 'a', sizeof(text) - n);
    CHECK_INT(bt_http_parse((uint8_t *)text, BT_HTTP_MAX_HEAD - 1, &req), BT_HTTP_MORE);
    CHECK_INT(bt_http_parse((uint8_t *)text, BT_HTTP_MAX_HEAD, &req), 431);
    memcpy(text + sizeof(text) - 4, "\r\n\r\n", 4);
    CHECK_INT(bt_http_parse((uint8_t *)text, sizeof(text), &req), 431);
}

TEST(the_largest_head)
{
    static char text[BT_HTTP_MAX_HEAD + 100];
    size_t n = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST "A:");

    memset(text + n, 'a', sizeof(text) - n);
    memcpy(text + BT_HTTP_MAX_HEAD - 4, "\r\n\r\n", 4);
    CHECK_INT(bt_http_parse((uint8_t *)text, BT_HTTP_MAX_HEAD, &req), 0);
    CHECK_INT(req.head_len, BT_HTTP_MAX_HEAD);
    text[BT_HTTP_MAX_HEAD - 4] = 'a';
    memcpy(text + BT_HTTP_MAX_HEAD - 3, "\r\n\r\n", 4);
    CHECK_INT(bt_http_parse((uint8_t *)text, BT_HTTP_MAX_HEAD + 1, &req), 431);
}

TEST(too_many_fields)
{
    char text[1024] = "GET / HTTP/1.1\r\n" HOST;

    for (unsigned i = 1; i < BT_HTTP_MAX_HEADERS; i++)
        strcat(text, "A:b\r\n");
    strcat(text, "\r\n");
    CHECK_INT(parse(text), 0);
    CHECK_INT(req.n_fields, BT_HTTP_MAX_HEADERS);
    strcpy(text + strlen(text) - 2, "A:b\r\n\r\n");
    CHECK_INT(parse(text), 431);
}
