/* Addresses to listen on. */
#include "core/api_listen.c"

#include "tests/harness.h"

void api_conn_new(struct bt_api *api, int fd, struct bt_tls_ctx *tls)
{
    (void)api, (void)fd, (void)tls;
}

TEST(works)
{
    static const struct {
        const char *text, *host;
        unsigned port;
        bool tls, loopback;
    } rows[] = {
        { "tcp://127.0.0.1:80", "127.0.0.1", 80, false, true },
        { "http://localhost:0", "localhost", 0, false, true },
        { "tcp://127.1.2.3:1", "127.1.2.3", 1, false, true },
        { "ssl://0.0.0.0:443", "0.0.0.0", 443, true, false },
        { "tls://[::1]:65535", "::1", 65535, true, true },
        { "https://[fe80::1]:8", "fe80::1", 8, true, false },
        { "tcp://:8080", "", 8080, false, false },
        { "tcp://127.example.com:1", "127.example.com", 1, false, false },
        { "tcp://host.example:9", "host.example", 9, false, false },
    };
    struct bt_api_url url;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        CHECK(bt_api_url(rows[i].text, &url));
        CHECK_STR(url.host, rows[i].host);
        CHECK(url.port == rows[i].port && url.tls == rows[i].tls &&
              url.loopback == rows[i].loopback);
    }
}

TEST(fails)
{
    static const char *const bad[] = {
        "",           "tcp:",           "tcp://",        "tcp://a",        "tcp://a:",
        "tcp://a:1x", "tcp://a:65536",  "tcp://a:-1",    "tcp://a:123456", "ftp://a:1",
        "a:1",        "tcp://a:1/path", "tcp://u@a:1",   "tcp://::1:80",   "tcp://[::1]",
        "tcp://[::1", "tcp://[::1]80",  "tcp://[[a]]:1", "TCP://a:1",      "tcp://a/b:1",
    };
    struct bt_api_url url;

    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (bt_api_url(bad[i], &url))
            TEST_END_(1, "accepted: %s", bad[i]);
}
