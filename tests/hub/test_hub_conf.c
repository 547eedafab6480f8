/* The hub's options: defaults, what is refused and with which words, rules and cycles,
 * addresses. */
#include "tests/harness.h"

#include "core/error.h"
#include "core/tls.h"
#include "hub/access/auth.h"
#include "hub/conf.c"
#include "hub/net/listen_url.h"

static struct bt_conf_ctx *ctx;
static struct hub_conf conf;

static int load(const char *yaml)
{
    bt_conf_free(ctx);
    ctx = bt_conf_new();
    CHECK(ctx != NULL);
    return bt_conf_load_text(ctx, "hub.yml", yaml, strlen(yaml), &hub_conf_table, &conf);
}

TEST(defaults)
{
    CHECK_INT(load(""), 0);
    CHECK_STR(bt_conf_messages(ctx), "");
    CHECK_INT(conf.listen.n, 1);
    CHECK_STR(conf.listen.items[0], "tcp://127.0.0.1:1883");
    CHECK_INT(conf.max_packet, 4 * 1024 * 1024);
    CHECK_INT(conf.max_levels, 128);
    CHECK_INT(conf.max_topic, 65535);
    CHECK_INT(conf.max_connections, 10000);
    CHECK_INT(conf.max_inflight, 100);
    CHECK_INT(conf.max_queued, 1000);
    CHECK_INT(conf.max_queued_bytes, 1024 * 1024);
    CHECK_INT(conf.connect_timeout, 10000);
    CHECK_INT(conf.session_expiry, 0);
    CHECK_INT(conf.shutdown_timeout, 600000);
    CHECK_INT(conf.durability, HUB_DURABILITY_FULL);
    CHECK_INT(conf.commit_interval, 0);
    CHECK_INT(conf.retention, 48 * 3600 * 1000);
    CHECK_INT(conf.cleanup_interval, 60000);
    CHECK_STR(conf.storage_dir, "var/db/baetyl/data");
}

TEST(durability)
{
    CHECK_INT(load("durability: full\n"), 0);
    CHECK_INT(conf.durability, HUB_DURABILITY_FULL);
    CHECK_INT(load("durability: memory\n"), 0);
    CHECK_INT(conf.durability, HUB_DURABILITY_MEMORY);
    CHECK_INT(load("durability: batched(100ms)\n"), 0);
    CHECK_INT(conf.durability, HUB_DURABILITY_BATCHED);
    CHECK_INT(conf.commit_interval, 100);
    CHECK_INT(load("durability: 'batched(1m)'\n"), 0);
    CHECK_INT(conf.commit_interval, 60000);
}

TEST(a_file_of_the_original)
{
    CHECK_INT(load("listen: ['tcp://0.0.0.0:1883', 'unix:///run/hub.sock']\n"
                   "certificate: {ca: a.pem, key: a.key, cert: b.pem}\n"
                   "principals:\n"
                   "- username: test\n"
                   "  password: hahaha\n"
                   "  permissions:\n"
                   "  - {action: pub, permit: ['#']}\n"
                   "  - {action: sub, permit: ['a/+', 'b/#']}\n"
                   "subscriptions:\n"
                   "- source: {topic: 'a/+', qos: 1}\n"
                   "  target: {topic: b/x, qos: 1}\n"
                   "message:\n"
                   "  length: {max: 32k}\n"
                   "  ingress: {qos0: {buffer: {size: 10}}, qos1: {batch: {max: 5},\n"
                   "    cleanup: {retention: 48h, interval: 1m}}}\n"
                   "  egress: {qos1: {buffer: {size: 7}, retry: {interval: 20s}}}\n"
                   "  offset: {buffer: {size: 10}, batch: {max: 10}}\n"
                   "storage: {dir: data}\n"
                   "shutdown: {timeout: 1m}\n"
                   "metrics: {report: {interval: 1m}}\n"),
              0);
    CHECK_INT(bt_conf_errors(ctx), 0);
    CHECK_INT(conf.max_packet, 32768);
    CHECK_INT(conf.max_inflight, 7);
    CHECK_INT(conf.principals.n, 1);
    CHECK_INT(((struct hub_principal_conf *)conf.principals.items)->permissions.n, 2);
    CHECK_INT(((struct hub_rule_conf *)conf.rules.items)->target.qos, 1);
}

#define RULE(s, t) "{source: {topic: '" s "'}, target: {topic: '" t "'}}"

TEST(refused)
{
    static const struct {
        const char *yaml, *says;
    } rows[] = {
        { "listen: ['ssl://0.0.0.0:1884']",
          "ssl://0.0.0.0:1884 needs certificate.cert and certificate.key" },
        { "listen: ['wss://:8884/mqtt']", "needs certificate.cert" },
        { "{listen: ['tls://:1'], certificate: {cert: a}}", "and certificate.key" },
        { "listeners: [{address: 'mqtts://h:1', certificate: {key: a}}]",
          "needs certificate.cert" },
        { "listeners: [{address: 'mqtts://h:1', certificate: {cert: a, key: b, require: "
          "required}}]",
          "needs certificate.ca" },
        { "listeners: [{address: 'mqtts://h:1', certificate: {version: 1.1}}]",
          "one of 1.2, 1.3" },
        { "listeners: [{address: 'tcp://h:1', anonymous: maybe}]",
          "one of inherit, true, false" },
        { "listeners: [{address: 'tcp://h:1', path: /x}]", "path is for ws" },
        { "listeners: [{address: 'tcp://h:1', origins: x}]", "origins is for ws" },
        { "listeners: [{address: 'ws://h:1', path: x}]", "path" },
        { "listeners: [{address: 'ws://h:x'}]", "expected a port" },
        { "listeners: [{path: /x}]", "address" },
        { "listen: ['udp://x:1']", "unsupported protocol" },
        { "listen: ['127.0.0.1:1883']", "expected tcp://host:port" },
        { "listen: ['tcp://127.0.0.1:65536']", "expected a port" },
        { "listen: ['unix://x']", "expected an absolute path" },
        { "principals: [{username: a, password: x}, {username: b}, {username: a}]",
          "username (a) duplicate" },
        { "principals: [{username: a, permissions: [{action: pub, permit: ['$SYS/x']}]}]",
          "pub topic($SYS/x) invalid" },
        { "principals: [{username: a, permissions: [{action: sub, permit: ['a/#/c']}]}]",
          "sub topic(a/#/c) invalid" },
        { "principals: [{username: a, permissions: [{action: push, permit: [a]}]}]",
          "action" },
        { "principals: [{password: a}]", "username" },
        { "subscriptions: [{source: {topic: 'a/#/b', qos: 1}, target: {topic: b}}]",
          "[{Topic:a/#/b QOS:1}] source topic invalid" },
        { "subscriptions: [" RULE("a", "b/+") "]",
          "[{Topic:b/+ QOS:0}] target topic invalid" },
        { "subscriptions: [" RULE("a", "b") ", " RULE("c", "d") ", " RULE("a", "b") "]",
          "duplicate source and target config" },
        { "subscriptions: [{source: {topic: a, qos: 2}, target: {topic: b}}]", "qos" },
        { "subscriptions: [{source: {topic: a}}]", "target.topic" },
        { "message.egress.qos1.buffer.size: 65536", "65535" },
        { "message.egress.qos1.buffer.size: -1", "from 1" },
        { "message.length.max: 1x", "message.length.max" },
        { "message.length.max: 1g", "message.length.max" },
        { "durability: maybe", "expected full, memory or batched(TIME)" },
        { "durability: batched()", "expected full" },
        { "durability: batched(10ms", "expected full" },
        { "durability: batched(61s)", "from 1ms to 1m" },
        { "durability: batched(0)", "from 1ms to 1m" },
        { "limits.disk: 1m", "at least 8m" },
        { "limits.memory: 1m", "at least 4m" },
        { "limits.session.qos1: drop-some", "one of drop-oldest" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int r = load(rows[i].yaml);

        if (r != BT_ECONF || strstr(bt_conf_messages(ctx), rows[i].says) == NULL)
            printf("row %zu: %s", i, bt_conf_messages(ctx));
        CHECK_INT(r, BT_ECONF);
        CHECK(strstr(bt_conf_messages(ctx), rows[i].says) != NULL);
        CHECK(strstr(bt_conf_messages(ctx), "hub.yml:1:") != NULL);
    }
}

TEST(cycles)
{
    static const struct {
        const char *yaml;
        bool cycle;
    } rows[] = {
        { RULE("test", "test"), true },
        { RULE("+", "test"), true },
        { RULE("#", "a/b"), true },
        { RULE("a", "b") ", " RULE("b", "a"), true },
        { RULE("a", "b") ", " RULE("b", "c") ", " RULE("c", "a"), true },
        { RULE("a/+", "b/1") ", " RULE("b/#", "a/1"), true },
        { RULE("x", "a") ", " RULE("a", "b") ", " RULE("b", "c") ", " RULE("c", "b"),
          true },
        { RULE("a", "b") ", " RULE("b", "c") ", " RULE("a", "c"), false },
        { RULE("a/+", "t") ", " RULE("a/#", "t"), false },
        { RULE("a/+", "a") ", " RULE("b", "a/b/c"), false },
        { RULE("a", "b") ", " RULE("a", "c") ", " RULE("b", "d") ", " RULE("c", "d"),
          false },
    };
    char yaml[1024];

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        bool cycle;

        snprintf(yaml, sizeof(yaml), "subscriptions: [%s]", rows[i].yaml);
        cycle = load(yaml) == BT_ECONF;
        if (cycle != rows[i].cycle)
            printf("row %zu: %s\n", i, rows[i].yaml);
        CHECK_INT(cycle, rows[i].cycle);
        if (cycle)
            CHECK(strstr(bt_conf_messages(ctx),
                         "found cycle in source and target config") != NULL);
    }
}

TEST(a_long_chain)
{
    size_t room = 4096 * 64, n = 0;
    char *yaml = malloc(room);

    n += (size_t)snprintf(yaml, room, "subscriptions:\n");
    for (unsigned i = 0; i < 1000; i++)
        n += (size_t)snprintf(yaml + n, room - n, "- " RULE("t%u", "t%u") "\n", i, i + 1);
    CHECK_INT(load(yaml), 0);
    snprintf(yaml + n, room - n, "- " RULE("t1000", "t0") "\n");
    CHECK_INT(load(yaml), BT_ECONF);
    free(yaml);
}

TEST(addresses)
{
    static const struct {
        const char *text;
        int r;
        const char *host;
        unsigned port;
        bool loopback;
    } rows[] = {
        { "tcp://127.0.0.1:1883", 0, "127.0.0.1", 1883, true },
        { "mqtt://localhost", 0, "localhost", 1883, true },
        { "TCP://[::1]:0", 0, "::1", 0, true },
        { "tcp://[::]:1883/", 0, "::", 1883, false },
        { "tcp://[::ffff:127.0.0.1]:1", 0, "::ffff:127.0.0.1", 1, true },
        { "tcp://0.0.0.0:65535", 0, "0.0.0.0", 65535, false },
        { "tcp://:1883", 0, "", 1883, false },
        { "tcp://hub.lan:1", 0, "hub.lan", 1, false },
        { "tcp://127.0.0.1.evil.org:1", 0, "127.0.0.1.evil.org", 1, false },
        { "ws://127.0.0.1", 0, "127.0.0.1", 8083, true },
        { "WS://:8080/mqtt?x", 0, "", 8080, false },
        { "ws://[::1]/mqtt", 0, "::1", 8083, true },
        { "wss://localhost/mqtt", 0, "localhost", 8084, true },
        { "ssl://0.0.0.0", 0, "0.0.0.0", 8883, false },
        { "tls://[::1]:1", 0, "::1", 1, true },
        { "mqtts://hub.lan", 0, "hub.lan", 8883, false },
        { "ws://h:1x", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp://h:1/x", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp://", HUB_LISTEN_SYNTAX, NULL, 0, false },
        { "tcp://[::1", HUB_LISTEN_SYNTAX, NULL, 0, false },
        { "tcp://[x]:1", HUB_LISTEN_SYNTAX, NULL, 0, false },
        { "tcp://[]:1", HUB_LISTEN_SYNTAX, NULL, 0, false },
        { "tcp://::1:1883", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp://u@h:1", HUB_LISTEN_SYNTAX, NULL, 0, false },
        { "tcp://h:", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp://h:-1", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp://h:1x", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp://h:123456", HUB_LISTEN_PORT, NULL, 0, false },
        { "tcp:/h:1", HUB_LISTEN_SYNTAX, NULL, 0, false },
        { "http://h:1", HUB_LISTEN_SCHEME, NULL, 0, false },
        { "unix://", HUB_LISTEN_PATH, NULL, 0, false },
        { "unix:///", HUB_LISTEN_PATH, NULL, 0, false },
    };
    struct hub_listen_url url;
    char text[160] = "unix:///";

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int r = hub_listen_url_parse(rows[i].text, &url);

        if (r != rows[i].r)
            printf("row %zu: %s\n", i, rows[i].text);
        CHECK_INT(r, rows[i].r);
        if (r != 0)
            continue;
        CHECK_STR(url.host, rows[i].host);
        CHECK_INT(url.port, rows[i].port);
        CHECK_INT(url.loopback, rows[i].loopback);
        CHECK(url.ws == (strncasecmp(rows[i].text, "ws", 2) == 0));
        CHECK(url.tls ==
              (url.port == 8883 || url.port == 8084 || strcmp(url.scheme, "tls") == 0));
    }
    memset(text + 8, 'x', 106);
    CHECK_INT(hub_listen_url_parse(text, &url), 0);
    CHECK_INT(url.kind, HUB_LISTEN_UNIX);
    CHECK_INT(strlen(url.path), 107);
    CHECK(url.loopback);
    text[114] = 'x';
    CHECK_INT(hub_listen_url_parse(text, &url), HUB_LISTEN_PATH);
}

TEST(listeners_replace_the_default_address)
{
    CHECK_INT(load("listeners: [{address: 'ws://:1/x', path: /y, origins: [a, b]}]\n"),
              0);
    CHECK_INT(conf.listen.n, 0);
    CHECK_INT(conf.listeners.n, 1);
    CHECK_STR(((struct hub_listener_conf *)conf.listeners.items)->path, "/y");
    CHECK_INT(((struct hub_listener_conf *)conf.listeners.items)->origins.n, 2);
    CHECK_INT(load("listeners: [{address: 'ws://:1'}]\nlisten: ['tcp://:2']\n"), 0);
    CHECK_INT(conf.listen.n, 1);
}

static const struct hub_listener_conf *listener(size_t i)
{
    return (const struct hub_listener_conf *)conf.listeners.items + i;
}

TEST(listener_options)
{
    CHECK_INT(
        load("certificate: {ca: A, cert: C, key: K, crl: L, require: required}\n"
             "listeners:\n"
             "- {address: 'ssl://:1'}\n"
             "- {address: 'ssl://:2', certificate: {require: none, ca: B}}\n"
             "- {address: 'wss://:3', certificate: {cert: c, key: k, version: 1.3}}\n"
             "- {address: 'tcp://:4', anonymous: true,\n"
             "   limits: {connections: 5, packet: 1k}}\n"),
        0);
    CHECK_STR(listener(0)->cert.ca, "A");
    CHECK_STR(listener(0)->cert.crl, "L");
    CHECK_INT(listener(0)->cert.require, BT_TLS_REQUIRED);
    CHECK_INT(listener(0)->anonymous, HUB_ANONYMOUS_BY_CONF);
    CHECK_STR(listener(1)->cert.ca, "B");
    CHECK_STR(listener(1)->cert.key, "K");
    CHECK_INT(listener(1)->cert.require, BT_TLS_NONE);
    CHECK_INT(listener(1)->cert.version, HUB_TLS_12);
    CHECK_STR(listener(2)->cert.cert, "c");
    CHECK_STR(listener(2)->cert.ca, "A");
    CHECK_INT(listener(2)->cert.version, HUB_TLS_13);
    CHECK_INT(listener(3)->anonymous, HUB_ANONYMOUS_YES);
    CHECK_INT(listener(3)->max_connections, 5);
    CHECK_INT(listener(3)->max_packet, 1024);
}

TEST(no_memory)
{
    static const char yaml[] =
        "principals: [{username: a}, {username: b}]\n"
        "subscriptions: [" RULE("a", "b") ", " RULE("b", "c") "]\n";
    unsigned long nth = 1;

    for (;; nth++) {
        int r = BT_ENOMEM;

        bt_conf_free(ctx);
        bt_mem_fail_from(nth);
        ctx = bt_conf_new();
        if (ctx != NULL)
            r = bt_conf_load_text(ctx, "hub.yml", yaml, strlen(yaml), &hub_conf_table,
                                  &conf);
        bt_mem_fail_from(0);
        if (r == 0)
            break;
        CHECK(r < 0);
    }
    CHECK(nth > 10);
    bt_conf_free(ctx);
    ctx = NULL;
}
