/* From the port of a container to that of the machine. */
#include "core/app_tree_ports.c"

#include "tests/harness.h"

static struct bt_conf_ctx *ctx;

/* The addresses that remain, separated by blanks. */
static const char *listen(const char *ports, const char *addresses, bool docker)
{
    static char out[512];
    struct bt_app_tree tree = { .docker = docker };
    struct bt_app_service service = { .name = (char *)(uintptr_t) "hub" };
    struct bt_app_part part = { .view = { .service = &service } };
    struct bt_conf_strings list = { 0 };
    static const struct bt_conf_row rows[] = {
        { .key = "ports", .kind = BT_CONF_STRINGS, .max = 16 },
    };
    static const struct bt_conf_table table = {
        .name = "", .size = sizeof(list), .rows = rows, .n_rows = 1
    };
    struct bt_yaml_node *node;
    char text[256];

    bt_conf_free(ctx);
    tree.ctx = ctx = bt_conf_new();
    snprintf(text, sizeof(text), "ports: %s", ports);
    CHECK_INT(bt_conf_load_text(ctx, "p", text, strlen(text), &table, &list), 0);
    service.ports = list;
    snprintf(text, sizeof(text), "listen: %s", addresses);
    CHECK_INT(bt_conf_read_text(ctx, "f", text, strlen(text), &part.doc), 0);
    CHECK_INT(bt_app_tree_ports(&tree, &part, bt_yaml_root(part.doc)), 0);
    out[0] = '\0';
    node = bt_yaml_get(bt_yaml_root(part.doc), "listen");
    for (node = node->first; node != NULL; node = node->next) {
        strcat(out, node->text);
        if (node->next != NULL)
            strcat(out, " ");
    }
    return out;
}

TEST(published)
{
    CHECK_STR(listen("['1883:1883']", "['tcp://0.0.0.0:1883']", true),
              "tcp://0.0.0.0:1883");
    CHECK_STR(listen("['1884:1883/tcp']", "tcp://0.0.0.0:1883", true),
              "tcp://0.0.0.0:1884");
    CHECK_STR(listen("[1883]", "['tcp://:1883']", true), "tcp://:1883");
    CHECK_STR(listen("['10.0.0.1:1:1883', '2:1883']", "['tcp://0.0.0.0:1883']", true),
              "tcp://10.0.0.1:1 tcp://0.0.0.0:2");
    CHECK_STR(listen("['[::1]:1:1883']", "['ws://0.0.0.0:1883/mqtt']", true),
              "ws://[::1]:1/mqtt");
    CHECK_STR(listen("['9000-9010:8000-8010']", "['wss://[::]:8003/a/b']", true),
              "wss://[::]:9003/a/b");
    CHECK_STR(listen("['127.0.0.1::1883']", "['tcp://0.0.0.0:1883']", true),
              "tcp://127.0.0.1:1883");
    CHECK_STR(bt_conf_messages(ctx), "");
    bt_conf_free(bt_steal(ctx));
}

TEST(not_published)
{
    CHECK_STR(listen("[]", "['tcp://0.0.0.0:1883', 'unix:///x']", true),
              "tcp://127.0.0.1:1883 unix:///x");
    CHECK_STR(bt_conf_messages(ctx),
              "f:1:10: warning: the service \"hub\" does not publish port 1883; it is "
              "reached from this machine only\n");
    CHECK_STR(listen("[]", "['tcp://0.0.0.0:0', nonsense]", true),
              "tcp://0.0.0.0:0 nonsense");
    CHECK_STR(listen("[]", "['tcp://0.0.0.0:1883']", false), "tcp://0.0.0.0:1883");
    CHECK_STR(bt_conf_messages(ctx), "");
    bt_conf_free(bt_steal(ctx));
}

TEST(not_a_port)
{
    static const char *const bad[] = { "x", "",     "1:",  "1-0:1-0", "1:2-3", "70000",
                                       "-", "1--2", "a:1", "1:1883x", " 1" };
    struct published p;

    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        CHECK(!read_published(bad[i], &p));
}
