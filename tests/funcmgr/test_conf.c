#include "funcmgr/conf/conf.c"
#include "funcmgr/conf/conf_hub.c"

#include "core/error.h"
#include "tests/harness.h"

static struct bt_conf_ctx *ctx;
static struct fm_conf conf;

static int load(const char *text)
{
    ctx = bt_conf_new();
    CHECK(ctx != NULL);
    return bt_conf_load_text(ctx, "f.yml", text, strlen(text), &fm_conf_table, &conf);
}

static void refused(const char *text, const char *why)
{
    int r = load(text);

    if (r != BT_ECONF || strstr(bt_conf_messages(ctx), why) == NULL)
        printf("messages: %s\n", bt_conf_messages(ctx));
    CHECK_INT(r, BT_ECONF);
    CHECK(strstr(bt_conf_messages(ctx), why) != NULL);
    bt_conf_free(ctx);
}

#define RULE "{subscribe: {topic: t}, function: {name: f}, publish: {topic: r}, "
#define FUNCTION \
    "functions: [{name: f, runtime: python3, handler: index.handler, codedir: c"

TEST(defaults_of_the_original)
{
    const struct fm_function_conf *f;
    const struct fm_rule_conf *r;

    CHECK_INT(
        load("hub: {clientid: me, keepalive: -1}\nrules: [" RULE "}]\n" FUNCTION "}]\n"),
        0);
    CHECK_INT(conf.functions.n, 1);
    f = conf.functions.items;
    CHECK_INT(f->min, 0);
    CHECK_INT(f->max, 1);
    CHECK_INT(f->idle, 600000);
    CHECK_INT(f->evict, 60000);
    CHECK_INT(f->max_message, 4194304);
    CHECK_INT(f->backoff_max, 60000);
    CHECK_INT(f->timeout, 30000);
    CHECK_INT(conf.rules.n, 1);
    r = conf.rules.items;
    CHECK_INT(r->retry_max, 3);
    CHECK_STR(r->clientid, "me");
    CHECK_INT(r->subscribe.qos, 0);
    bt_conf_free(ctx);
}

TEST(message_limit_under_instance)
{
    const struct fm_function_conf *f;

    CHECK_INT(load(FUNCTION ", instance: {message.length.max: 8k}}]\n"), 0);
    f = conf.functions.items;
    CHECK_INT(f->max_message, 8192);
    bt_conf_free(ctx);
}

TEST(unknown_function)
{
    refused("rules:\n  - subscribe: {topic: t}\n    function: {name: nowhere}\n"
            "    publish: {topic: r}\n",
            "f.yml:3:16: error: ");
    refused("rules: [" RULE "}]\n", "there is no function \"f\"");
}

TEST(wrong_values)
{
    refused(FUNCTION ", instance: {min: 3, max: 2}}]\n", "3 is more than instance.max");
    refused(FUNCTION "}, {name: f, runtime: node, handler: a.b, codedir: c}]\n",
            "more than one function \"f\"");
    refused("functions: [{name: \"f\\n/etc\", runtime: sql, handler: 'select 1'}]\n",
            "name");
    refused("functions: [{name: a b, runtime: sql, handler: 'select 1'}]\n", "name");
    /* Not all of the working directory, and not root. */
    refused(FUNCTION ", sandbox: {data: ''}}]\n", "sandbox.data");
    refused(FUNCTION ", sandbox: {read: ['']}}]\n", "sandbox.read");
    refused(FUNCTION ", user: ''}]\n", "user");
    refused("functions: [{name: f, service: s}]\n",
            "the function needs all of runtime, handler and codedir");
    refused("functions: [{name: f, runtime: node, handler: nodot, codedir: c}]\n",
            "expected file.function");
    refused(FUNCTION ", env: ['1=2']}]\n", "env");
    refused("rules: [" RULE "clientid: x}, " RULE "clientid: x}]\n" FUNCTION "}]\n",
            "more than one rule has the client id \"x\"");
    refused("hub: {address: 'ws://broker.example:80'}\n", "expected tcp://HOST:PORT");
    refused("hub: {address: 'tcp://broker.example:1x'}\n", "expected tcp://HOST:PORT");
    refused("hub: {cert: x}\n", "a certificate and its key belong together");
    refused("rules: [{subscribe: {topic: '$share/g'}, publish: {topic: r}, function: "
            "{name: f}}]\n" FUNCTION "}]\n",
            "a shared one is $share/GROUP/FILTER");
    refused("hub: {password: x}\n", "a password needs a username");
}

/* A hub that listens on 1884 and on a Unix socket. */
bool hub_has_listener(const struct hub *hub, unsigned port, const char *path)
{
    (void)hub;
    return port == 1884 || (port == 0 && strcmp(path, "/run/hub") == 0);
}

TEST(which_hub_is_meant)
{
    static const struct {
        const char *address;
        bool remote, remote_without_hub;
    } cases[] = {
        { "", false, false },
        { "tcp://localhub:1883", false, true },
        { "hub:1883", false, true },
        { "tcp://localhost:1884", false, true },
        { "tcp://127.0.0.1:1884", false, true },
        { "ssl://[::1]:1884", false, true },
        { "unix:///run/hub", false, true },
        { "unix:///run/other", true, true },
        { "tcp://127.0.0.1:1883", true, true },
        { "127.0.0.2:1884", true, true },
        { "tcp://localhost.example:1884", true, true },
        { "ssl://10.0.0.1", true, true },
    };
    static int a_hub;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct fm_hub_conf c = { .address = (char *)(uintptr_t)cases[i].address };

        if (fm_hub_is_remote(&c, (struct hub *)(void *)&a_hub) != cases[i].remote ||
            fm_hub_is_remote(&c, NULL) != cases[i].remote_without_hub)
            TEST_END_(1, "row %zu", i);
    }
}

TEST(a_rule_with_its_own_hub)
{
    const struct fm_rule_conf *rules;

    CHECK_INT(load("hub: {address: 'tcp://far', username: u, clientid: a}\n"
                   "rules: [" RULE "}, " RULE
                   "hub: {address: 'ssl://near', clientid: b}}]\n" FUNCTION "}]\n"),
              0);
    rules = conf.rules.items;
    CHECK(rules[0].hub == &conf.hub);
    CHECK_STR(rules[0].clientid, "a");
    CHECK(rules[1].hub == &rules[1].own_hub);
    CHECK_STR(rules[1].hub->address, "ssl://near");
    CHECK(rules[1].hub->username == NULL);
    CHECK_STR(rules[1].clientid, "b");
    CHECK_INT(rules[1].hub->keepalive, 60000);
    bt_conf_free(ctx);
}

/* Written for every rule it would mean another hub when it is read again. */
TEST(the_hub_of_a_rule_is_printed_where_it_is_written)
{
    struct bt_buf out = { 0 };
    const char *first, *second;

    CHECK_INT(load("rules: [" RULE "clientid: a}, " RULE
                   "hub: {address: 'ssl://near', clientid: b}}]\n" FUNCTION "}]\n"),
              0);
    CHECK_INT(bt_conf_print(&fm_conf_table, &conf, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    first = strstr((const char *)out.data, "  - ");
    CHECK(first != NULL);
    second = strstr(first + 1, "\n  - ");
    CHECK(second != NULL);
    CHECK(strstr(first, "hub:") > second);
    CHECK(strstr(second, "ssl://near") != NULL);
    bt_buf_deinit(&out);
    bt_conf_free(ctx);
}
