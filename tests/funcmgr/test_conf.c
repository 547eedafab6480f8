#include "funcmgr/conf.c"
#include "funcmgr/conf_hub.c"

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
    refused("functions: [{name: f, service: s}]\n",
            "the function needs all of runtime, handler and codedir");
    refused("functions: [{name: f, runtime: node, handler: nodot, codedir: c}]\n",
            "expected file.function");
    refused(FUNCTION ", env: ['1=2']}]\n", "env");
    refused("rules: [" RULE "clientid: x}, " RULE "clientid: x}]\n" FUNCTION "}]\n",
            "more than one rule has the client id \"x\"");
    refused("hub: {address: 'tcp://broker.example:1883'}\n",
            "a hub on another host is not available yet");
    refused("hub: {password: x}\n", "a password needs a username");
}

TEST(addresses_of_this_host)
{
    static const char *const here[] = { "tcp://localhost:1883", "tcp://127.0.0.1:1883",
                                        "tcp://localhub:1883",  "tcp://0.0.0.0:1883",
                                        "tcp://[::1]:1883",     "localhost:1883" };

    for (size_t i = 0; i < BT_ARRAY_LEN(here); i++)
        CHECK(host_is_here(address_host(here[i])));
    CHECK(!host_is_here(address_host("tcp://localhost.example:1883")));
    CHECK(!host_is_here(address_host("ssl://10.0.0.1")));
}
