#include "core/stream.c"

#include "tests/harness.h"

TEST(addresses)
{
    static const struct {
        const char *text, *host, *port;
        bool tls, local;
    } cases[] = {
        { "tcp://a.example:1884", "a.example", "1884", false, false },
        { "mqtt://a", "a", "1883", false, false },
        { "ssl://a", "a", "8883", true, false },
        { "tls://a:1", "a", "1", true, false },
        { "mqtts://[::1]:9", "::1", "9", true, false },
        { "tcp://[fe80::1]", "fe80::1", "1883", false, false },
        { "10.0.0.1:1883", "10.0.0.1", "1883", false, false },
        { "localhub", "localhub", "1883", false, false },
        { "tcp://a:1883/", "a", "1883", false, false },
        { "unix:///run/x.sock", "/run/x.sock", "", false, true },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_stream_address a;

        CHECK_INT(bt_stream_parse(cases[i].text, &a), 0);
        CHECK_STR(a.host, cases[i].host);
        CHECK_STR(a.port, cases[i].port);
        CHECK_INT(a.tls, cases[i].tls);
        CHECK_INT(a.local, cases[i].local);
    }
}

TEST(no_addresses)
{
    static const char *const cases[] = { "",          "tcp://",      "http://a",
                                         "ws://a:80", "tcp://a:",    "tcp://a:x",
                                         "tcp://:1",  "tcp://a:1x",  "tcp://[::1",
                                         "tcp://[]",  "tcp://[a]b",  "tcp://a:123456",
                                         "unix://",   "tcp://a:1/b", "tcp://a/b" };
    struct bt_stream_address a;
    char text[400] = "tcp://";

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        if (bt_stream_parse(cases[i], &a) != BT_EINVAL)
            TEST_END_(1, "\"%s\" is taken", cases[i]);
    }
    memset(text + 6, 'a', 256);
    CHECK_INT(bt_stream_parse(text, &a), BT_EINVAL);
    text[6 + 255] = '\0';
    CHECK_INT(bt_stream_parse(text, &a), 0);
}
