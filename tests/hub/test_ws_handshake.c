#include "hub/net/ws_handshake.c"

#include "core/mem.h"
#include "tests/harness.h"

#define HOST     "Host: h\r\n"
#define UPGRADE  "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
#define KEY      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION  "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: mqtt\r\n"

static char *answer;
static struct hub_ws_rules rules;

static int ask(const char *line, const char *fields)
{
    struct bt_http_request r;
    struct bt_buf out = { 0 };
    char text[1024];
    int status;

    snprintf(text, sizeof(text), "%s\r\n%s\r\n", line, fields);
    CHECK_INT(bt_http_parse((const uint8_t *)text, strlen(text), &r), 0);
    status = hub_ws_handshake(&rules, &r, &out);
    bt_free(answer);
    answer = bt_buf_steal_str(&out);
    CHECK(status < 0 || atoi(answer + 9) == status);
    return status;
}

static bool says(const char *text)
{
    return strstr(answer, text) != NULL;
}

/* Works. */

TEST(the_example_of_the_standard)
{
    CHECK_INT(ask("GET /chat HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), 101);
    CHECK(says("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    CHECK(says("\r\nUpgrade: websocket\r\n") && says("\r\nConnection: Upgrade\r\n"));
    CHECK(says("\r\nSec-WebSocket-Protocol: mqtt\r\n"));
    CHECK(!says("Extensions") && !says("Content-Length"));
}

TEST(subprotocols)
{
    static const struct {
        const char *fields, *chosen;
    } rows[] = {
        { "Sec-WebSocket-Protocol: mqttv3.1\r\n", "mqttv3.1" },
        { "Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", "mqtt" },
        { "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: y,mqtt\r\n", "mqtt" },
        { "Sec-WebSocket-Protocol: MQTT\r\n", NULL },
        { "Sec-WebSocket-Protocol: mqttx, amqp\r\n", NULL },
    };
    char text[512], want[64];

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof(text), HOST UPGRADE KEY VERSION "%s", rows[i].fields);
        CHECK_INT(ask("GET /mqtt HTTP/1.1", text), rows[i].chosen != NULL ? 101 : 400);
        snprintf(want, sizeof(want), "\r\nSec-WebSocket-Protocol: %s\r\n",
                 rows[i].chosen != NULL ? rows[i].chosen : "");
        CHECK(says(want) == (rows[i].chosen != NULL));
    }
    CHECK_INT(ask("GET /mqtt HTTP/1.1", HOST UPGRADE KEY VERSION), 101);
    CHECK(!says("Sec-WebSocket-Protocol"));
}

TEST(paths)
{
    rules.path = "/mqtt";
    CHECK_INT(ask("GET /mqtt?token=1 HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), 101);
    CHECK_INT(ask("GET /mqtt/ HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), 404);
    CHECK_INT(ask("GET / HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), 404);
    rules.path = NULL;
    CHECK_INT(ask("GET / HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), 101);
}

TEST(origins)
{
    char *list[] = { (char *)"https://a.example", (char *)"http://b:8080" };
    char *all[] = { (char *)"*" };
    struct bt_conf_strings some = { list, 2 }, any = { all, 1 }, none = { NULL, 0 };
    const char *a = HOST UPGRADE KEY VERSION PROTOCOL "Origin: HTTPS://a.example\r\n";
    const char *b = HOST UPGRADE KEY VERSION PROTOCOL "Origin: http://b\r\n";
    const char *two = HOST UPGRADE KEY VERSION PROTOCOL
        "Origin: https://a.example\r\nOrigin: http://b\r\n";

    rules.origins = &some;
    CHECK_INT(ask("GET / HTTP/1.1", a), 101);
    CHECK_INT(ask("GET / HTTP/1.1", b), 403);
    CHECK_INT(ask("GET / HTTP/1.1", two), 403);
    CHECK_INT(ask("GET / HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), 101);
    rules.origins = &any;
    CHECK_INT(ask("GET / HTTP/1.1", b), 101);
    rules.origins = &none;
    CHECK_INT(ask("GET / HTTP/1.1", b), 101);
    rules.origins = NULL;
}

/* Fails. */

TEST(refusals)
{
    static const struct {
        const char *line, *fields;
        int status;
        const char *says;
    } rows[] = {
        { "POST / HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL, 405,
          "\r\nAllow: GET\r\n" },
        { "GET / HTTP/1.0", HOST UPGRADE KEY VERSION PROTOCOL, 426, "" },
        { "GET / HTTP/1.1", HOST, 426, "\r\nUpgrade: websocket\r\n" },
        { "GET / HTTP/1.1", HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n", 426, "" },
        { "GET / HTTP/1.1", HOST "Upgrade: websocket\r\n" KEY VERSION PROTOCOL, 426, "" },
        { "GET / HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL "Content-Length: 1\r\n",
          400, "body" },
        { "GET / HTTP/1.1", HOST UPGRADE KEY PROTOCOL, 426,
          "\r\nSec-WebSocket-Version: 13\r\n" },
        { "GET / HTTP/1.1", HOST UPGRADE KEY PROTOCOL "Sec-WebSocket-Version: 8\r\n", 426,
          "" },
        { "GET / HTTP/1.1", HOST UPGRADE KEY VERSION VERSION PROTOCOL, 426, "" },
        { "GET / HTTP/1.1", HOST UPGRADE VERSION PROTOCOL, 400, "Key" },
        { "GET / HTTP/1.1", HOST UPGRADE KEY KEY VERSION PROTOCOL, 400, "Key" },
        { "GET / HTTP/1.1",
          HOST UPGRADE VERSION PROTOCOL "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n", 400,
          "Key" },
        { "GET / HTTP/1.1",
          HOST UPGRADE VERSION PROTOCOL "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n",
          400, "Key" },
        { "GET / HTTP/1.1", HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: amqp\r\n",
          400, "none of the subprotocols" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        CHECK_INT(ask(rows[i].line, rows[i].fields), rows[i].status);
        CHECK(says(rows[i].says));
        CHECK(says("\r\nConnection: close\r\n") && says("\r\nContent-Length: "));
    }
}

TEST(no_memory)
{
    bt_free(answer);
    answer = NULL;
    bt_mem_fail_from(1);
    CHECK_INT(ask("GET / HTTP/1.1", HOST UPGRADE KEY VERSION PROTOCOL), BT_ENOMEM);
    bt_mem_fail_from(0);
}
