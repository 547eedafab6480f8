/* Addresses of the command line's clients. */
#include "tests/harness.h"

#include "core/mqtt_connect.c"

TEST(addresses)
{
    static const struct {
        const char *address, *host, *port; /* host NULL: refused */
        bool tls;
    } rows[] = {
        { "tcp://h", "h", "1883", false },         { "mqtt://h:1", "h", "1", false },
        { "ssl://h", "h", "8883", true },          { "tls://[::1]", "::1", "8883", true },
        { "mqtts://[::1]:99", "::1", "99", true }, { "ssl://", NULL, NULL, true },
        { "ssl://h:", NULL, NULL, true },          { "ssl://h:123456", NULL, NULL, true },
        { "ssl://[::1", NULL, NULL, true },        { "http://h", NULL, NULL, false },
        { "unix:///x", NULL, NULL, false },
    };
    char host[BT_CLIENT_HOST_LEN], port[8];

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        bool ok = bt_client_split_tcp(rows[i].address, host, port);

        if (ok != (rows[i].host != NULL))
            printf("row %zu: %s\n", i, rows[i].address);
        CHECK_INT(ok, rows[i].host != NULL);
        CHECK_INT(bt_client_is_tls(rows[i].address), rows[i].tls);
        if (!ok)
            continue;
        CHECK_STR(host, rows[i].host);
        CHECK_STR(port, rows[i].port);
    }
}
