/* The original's folder as one configuration: what is joined, and no memory for it. */
#include "core/app_tree.c"

#include <stdlib.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "tests/harness.h"

struct hub {
    struct bt_conf_strings listen;
    char *dir;
};
struct function {
    char *name, *service, *runtime, *handler, *codedir, *workdir, *memory;
    struct bt_conf_strings env;
};
struct fm {
    struct bt_conf_list functions;
    char *address;
};

static const struct bt_conf_row hub_rows[] = {
    BT_CONF_ROW(struct hub, "listen", STRINGS, listen, NULL, "L."),
    BT_CONF_ROW(struct hub, "dir", STRING, dir, "var/db/baetyl/data", "D.",
                .flags = BT_CONF_PATH),
};
static const struct bt_conf_table hub_table = {
    "hub", "H.", sizeof(struct hub), hub_rows, BT_ARRAY_LEN(hub_rows), NULL,
};
#define FUNCTION_ROW(key, member) \
    BT_CONF_ROW(struct function, key, STRING, member, NULL, "F.")
static const struct bt_conf_row function_rows[] = {
    FUNCTION_ROW("name", name),
    FUNCTION_ROW("service", service),
    FUNCTION_ROW("runtime", runtime),
    FUNCTION_ROW("handler", handler),
    FUNCTION_ROW("workdir", workdir),
    FUNCTION_ROW("limits.memory", memory),
    BT_CONF_ROW(struct function, "codedir", STRING, codedir, NULL, "F.",
                .flags = BT_CONF_PATH),
    BT_CONF_ROW(struct function, "env", STRINGS, env, NULL, "E."),
};
static const struct bt_conf_table function_table = {
    "f", "F.", sizeof(struct function), function_rows, BT_ARRAY_LEN(function_rows), NULL,
};
static const struct bt_conf_row fm_rows[] = {
    BT_CONF_ROW(struct fm, "functions", LIST, functions, NULL, "F.",
                .sub = &function_table),
    BT_CONF_ROW(struct fm, "hub.address", STRING, address, NULL, "A."),
};
static const struct bt_conf_table fm_table = {
    "functions", "F.", sizeof(struct fm), fm_rows, BT_ARRAY_LEN(fm_rows), NULL,
};
static const struct bt_module_ops hub_ops = { .name = "hub" },
                                  fm_ops = { .name = "funcmgr" };
static const struct bt_app_mark no_marks[] = { { NULL, false } };
static const struct bt_app_module items[] = {
    { &hub_ops, &hub_table, "hub", no_marks, NULL },
    { &fm_ops, &fm_table, "functions", no_marks, NULL },
};
static const struct bt_app_modules modules = { items, 2 };

static const char application[] =
    "services:\n"
    "- {name: broker, image: baetyl-hub, replica: 1, ports: ['1:2'], mounts: [\n"
    "   {name: hub, path: etc/baetyl}, {name: data, path: var/db/baetyl/data}]}\n"
    "- {name: manager, image: x/baetyl-function-manager:1, replica: 1,\n"
    "   args: [-c, etc/baetyl/other.yml], mounts: [{name: fm, path: etc/baetyl}]}\n"
    "- {name: py, image: baetyl-function-python3, env: {A: b},\n"
    "   resources: {memory: {limit: 1m}},\n"
    "   mounts: [{name: py, path: etc/baetyl}, {name: code, path: code}]}\n"
    "volumes: [{name: hub, path: hub}, {name: data, path: data}, {name: fm, path: fm},\n"
    "   {name: py, path: py}, {name: code, path: src}]\n";

static char folder[] = "/tmp/baetyl-unit-XXXXXX";

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void remove_folder(void)
{
    static const char *const names[] = { "hub/service.yml",
                                         "fm/other.yml",
                                         "py/service.yml",
                                         "app.yml",
                                         "hub",
                                         "fm",
                                         "py",
                                         "src" };

    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++)
        (void)remove(names[i]);
    (void)remove(folder);
}

static void make_folder(void)
{
    static bool made;

    if (made)
        return;
    made = true;
    CHECK(mkdtemp(folder) != NULL);
    CHECK_INT(chdir(folder), 0);
    CHECK_INT(atexit(remove_folder), 0);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(mkdir((const char *[]){ "hub", "fm", "py", "src" }[i], 0700), 0);
    put("hub/service.yml", "listen: ['tcp://0.0.0.0:2']\nlogger: {level: debug}\n");
    put("fm/other.yml", "hub: {address: 'tcp://broker:2'}\n"
                        "functions:\n"
                        "- {name: f, service: py}\n"
                        "- {name: g, service: py, runtime: own, env: [X=1]}\n");
    put("py/service.yml", "functions:\n"
                          "- {name: g, handler: i.g, codedir: code/g}\n"
                          "- {name: f, handler: i.f, codedir: code}\n");
    put("app.yml", application);
}

TEST(the_parts_are_joined)
{
    struct bt_app *app = NULL;
    const struct hub *hub;
    const struct fm *fm;
    const struct function *f;
    char path[128];

    make_folder();
    CHECK_INT(bt_app_load(&modules, "app.yml", 0, &app), 0);
    CHECK_STR(bt_conf_messages(app->ctx), "");
    hub = bt_app_section(app, "hub");
    CHECK_STR(hub->listen.items[0], "tcp://0.0.0.0:1");
    CHECK_STR(hub->dir, "data");
    fm = bt_app_section(app, "funcmgr");
    CHECK_STR(fm->address, "tcp://localhub:1883");
    CHECK_INT(fm->functions.n, 2);
    f = fm->functions.items;
    CHECK_STR(f->runtime, "python3");
    CHECK_STR(f->handler, "i.f");
    snprintf(path, sizeof(path), "%s/src", folder);
    CHECK_STR(f->codedir, path);
    CHECK_STR(f->workdir, "var/run/baetyl/services/py");
    CHECK_STR(f->memory, "1m");
    CHECK_STR(f->env.items[0], "BAETYL_SERVICE_NAME=py");
    CHECK_STR(f->env.items[2], "A=b");
    f++;
    CHECK_STR(f->runtime, "own");
    CHECK_STR(f->handler, "i.g");
    CHECK_STR(f->env.items[0], "X=1");
    CHECK_INT(f->env.n, 4);
    CHECK_INT(bt_app_log_conf(app).level, BT_LOG_DEBUG);
    CHECK_STR(bt_app_log_conf(app).path, "var/log/baetyl/baetyl.log");
    bt_app_free(app);
}

TEST(what_each_service_is)
{
    struct bt_app *app = NULL;
    struct bt_buf out = { 0 };

    make_folder();
    CHECK_INT(bt_app_load(&modules, "app.yml", 0, &app), 0);
    CHECK_INT(bt_app_print_services(app, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK_STR((char *)out.data, "broker: hub, from hub/service.yml\n"
                                "manager: functions, from fm/other.yml\n"
                                "py: runtime python3, from py/service.yml\n");
    bt_buf_deinit(&out);
    bt_app_free(app);
}

TEST(no_memory_for_it)
{
    make_folder();
    for (unsigned long n = 1; n < 5000; n++) {
        struct bt_app *app = NULL;
        int r;

        bt_mem_fail_from(n);
        r = bt_app_load(&modules, "app.yml", 0, &app);
        bt_mem_fail_from(0);
        bt_app_free(app);
        if (r == 0) {
            CHECK(n > 200);
            return;
        }
        if (r != BT_ENOMEM)
            printf("allocation %lu\n", n);
        CHECK_INT(r, BT_ENOMEM);
    }
    CHECK(false);
}
