/* application.yml in its two forms, its mounts, and a service's view of paths. */
#include "core/app_services.h"

#include "core/app_view.h"
#include "core/error.h"
#include "tests/harness.h"

static struct bt_conf_ctx *ctx;
static struct bt_app_services app;

static int read_text(const char *text)
{
    struct bt_yaml *doc = NULL;
    int r;

    bt_conf_free(ctx);
    ctx = bt_conf_new();
    r = bt_conf_read_text(ctx, "f", text, strlen(text), &doc);
    return r != 0 ? r : bt_app_services_read(ctx, doc, &app);
}

static void done(void)
{
    bt_conf_free(ctx);
    ctx = NULL;
}

static const struct bt_app_service *service(size_t i)
{
    return &((const struct bt_app_service *)app.services.items)[i];
}

static const struct bt_app_mount *mount(size_t i, size_t k)
{
    return &((const struct bt_app_mount *)service(i)->mounts.items)[k];
}

TEST(the_list_form)
{
    CHECK_INT(read_text("version: V2\n"
                        "services:\n"
                        "- name: hub\n"
                        "  image: r/baetyl-hub:1\n"
                        "  replica: 1\n"
                        "  mounts:\n"
                        "  - {name: conf, path: /etc/baetyl/, readonly: true}\n"
                        "  - {name: data, path: var/db/../db/baetyl}\n"
                        "  args: [-c, x]\n"
                        "  env: {A: b, E: }\n"
                        "  restart: {policy: no}\n"
                        "  resources: {memory: {limit: 1m}}\n"
                        "volumes:\n"
                        "- {name: conf, path: /../a//b/., meta: {url: x}}\n"
                        "- {name: data, path: .}\n"),
              0);
    CHECK_STR(bt_conf_messages(ctx), "");
    CHECK_STR(app.version, "V2");
    CHECK_INT(app.services.n, 1);
    CHECK_STR(service(0)->kind->name, "hub");
    CHECK_STR(mount(0, 0)->path, "etc/baetyl");
    CHECK_STR(mount(0, 0)->source, "a/b");
    CHECK(mount(0, 0)->readonly && !mount(0, 1)->readonly);
    CHECK_STR(mount(0, 1)->path, "var/db/baetyl");
    CHECK_STR(mount(0, 1)->source, "");
    CHECK_STR(service(0)->args.items[1], "x");
    CHECK_STR(service(0)->env.items[0], "A=b");
    CHECK_STR(service(0)->env.items[1], "E=");
    done();
}

TEST(the_compose_form)
{
    CHECK_INT(read_text("version: '3'\n"
                        "app_version: V3\n"
                        "services:\n"
                        "  one:\n"
                        "    image: baetyl-hub\n"
                        "    container_name: box\n"
                        "    volumes:\n"
                        "    - a/b:/c:ro\n"
                        "    - d:/e\n"
                        "    - {type: bind, source: f, target: /g, read_only: true}\n"
                        "    environment: [A=b]\n"
                        "    command: -c  x\n"
                        "    depends_on: [two]\n"
                        "    networks: {n: {aliases: [z]}}\n"
                        "  two: {image: x, environment: {B: 1}}\n"
                        "volumes:\n"
                        "  d: {driver: local}\n"
                        "networks: {n: }\n"),
              0);
    CHECK_STR(bt_conf_messages(ctx), "");
    CHECK_INT(app.services.n, 2);
    CHECK_STR(service(0)->name, "one");
    CHECK_INT(service(0)->replica, 0);
    CHECK_INT(service(0)->mounts.n, 3);
    CHECK_STR(mount(0, 0)->source, "a/b");
    CHECK_STR(mount(0, 0)->path, "c");
    CHECK(mount(0, 0)->readonly && !mount(0, 1)->readonly && mount(0, 2)->readonly);
    CHECK_STR(mount(0, 1)->source, "var/db/baetyl/d");
    CHECK_STR(mount(0, 2)->source, "f");
    CHECK_INT(service(0)->args.n, 2);
    CHECK_STR(service(0)->args.items[1], "x");
    CHECK_STR(service(0)->env.items[0], "A=b");
    CHECK_STR(service(1)->env.items[0], "B=1");
    CHECK(bt_app_services_find(&app, "box", 3) == service(0));
    CHECK(bt_app_services_find(&app, "two", 3) == service(1));
    CHECK(bt_app_services_find(&app, "tw", 2) == NULL);
    done();
}

TEST(what_is_wrong_has_its_place)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "services: {a: {}}\n", "f:1:15: error: services[0].image: required, but not" },
        { "services: [{name: a, image: x}, {name: a, image: x}]\n",
          "f:1:34: error: services[1].name: more than one service is \"a\"\n" },
        { "services: [{name: ../x, image: x}]\n",
          "f:1:19: error: services[0].name: expected a text that matches" },
        { "services: [{name: a, image: x, mounts: [{name: v, path: p}]}]\n",
          "f:1:42: error: services[0].mounts[0].name: there is no volume \"v\"" },
        { "services: [{name: a, image: x, mounts: [{path: p}]}]\n",
          "f:1:41: error: services[0].mounts[0].name: a mount needs the name" },
        { "services:\n  a: {image: x, volumes: [nothing]}\n",
          "f:2:27: error: services[0].mounts[0]: expected a mapping, found \"nothing\"" },
        { "services: [{name: a, image: x, replicas: 1}]\n",
          "f:1:32: warning: unknown key \"services[0].replicas\"; did you mean "
          "\"services[0].replica\"?" },
        { "services: 5\n", "f:1:11: error: services: expected a list of mappings" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int r = read_text(rows[i].text);

        printf("%s", bt_conf_messages(ctx));
        CHECK(strstr(bt_conf_messages(ctx), rows[i].says) != NULL);
        CHECK_INT(r, strstr(rows[i].says, "error") != NULL ? BT_ECONF : 0);
    }
    done();
}

TEST(paths_of_a_service)
{
    static const struct {
        const char *path, *docker, *native;
    } rows[] = {
        { "etc/baetyl/service.yml", "conf/service.yml", "conf/service.yml" },
        { "/etc/baetyl/service.yml", "conf/service.yml", "/etc/baetyl/service.yml" },
        { "etc/baetyl", "conf", "conf" },
        { "etc/baetyl2/x", NULL, NULL },
        { "./var/db/baetyl/data/x/../y", "store/y", "store/y" },
        { "var/db/baetyl/other", "db/other", "db/other" },
        { "../../var/db/baetyl", "db", "db" },
        { "all/x", "./x", "./x" },
        { "/usr/lib/x", NULL, "/usr/lib/x" },
    };
    struct bt_app_view docker, native;
    bool mounted;

    CHECK_INT(
        read_text("services: [{name: a, image: x, mounts: ["
                  "{name: db, path: var/db/baetyl}, {name: conf, path: etc/baetyl},"
                  "{name: store, path: var/db/baetyl/data}, {name: all, path: all}]}]\n"
                  "volumes: [{name: conf, path: conf}, {name: db, path: db},"
                  "{name: store, path: store}, {name: all, path: /}]\n"),
        0);
    bt_app_view_init(&docker, service(0), true);
    bt_app_view_init(&native, service(0), false);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const char *path = rows[i].path;

        CHECK_STR(bt_app_view_path(&docker, ctx, path, &mounted),
                  rows[i].docker != NULL ? rows[i].docker : path);
        CHECK_INT(mounted, rows[i].docker != NULL);
        CHECK_STR(bt_app_view_path(&native, ctx, path, &mounted),
                  rows[i].native != NULL ? rows[i].native : path);
        CHECK_INT(mounted, rows[i].native != NULL);
    }
    done();
}
