/* The file of the process: sections, a module's own file, choosing modules. */
#include "core/app_conf.c"

#include "tests/harness.h"

struct hub {
    struct bt_conf_strings listen;
    bool anonymous;
    uint32_t count;
};
struct fm {
    char *address;
    struct bt_conf_list rules, functions;
};
struct rule {
    char *name;
};

static const struct bt_conf_row hub_rows[] = {
    BT_CONF_ROW(struct hub, "listen", STRINGS, listen, NULL, "L.",
                .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct hub, "anonymous", BOOL, anonymous, "false", "A."),
    BT_CONF_ROW(struct hub, "message.count", U32, count, "5", "C."),
};
static const struct bt_conf_table hub_table = {
    "hub", "H.", sizeof(struct hub), hub_rows, BT_ARRAY_LEN(hub_rows), NULL,
};
static const struct bt_conf_row rule_rows[] = {
    BT_CONF_ROW(struct rule, "name", STRING, name, NULL, "N."),
};
static const struct bt_conf_table rule_table = {
    "rule", "R.", sizeof(struct rule), rule_rows, 1, NULL,
};
static const struct bt_conf_row fm_rows[] = {
    BT_CONF_ROW(struct fm, "hub.address", STRING, address, NULL, "A."),
    BT_CONF_ROW(struct fm, "rules", LIST, rules, NULL, "R.", .sub = &rule_table),
    BT_CONF_ROW(struct fm, "functions", LIST, functions, NULL, "F.", .sub = &rule_table),
};
static const struct bt_conf_table fm_table = {
    "functions", "F.", sizeof(struct fm), fm_rows, BT_ARRAY_LEN(fm_rows), NULL,
};
static const struct bt_module_ops hub_ops = { .name = "hub" },
                                  fm_ops = { .name = "funcmgr" };
static const struct bt_app_mark hub_marks[] = { { "listen", false },
                                                { "message", false },
                                                { NULL, false } };
static const struct bt_app_mark fm_marks[] = { { "rules", false },
                                               { "functions", true },
                                               { NULL, false } };
static const struct bt_app_module items[] = {
    { &hub_ops, &hub_table, "hub", hub_marks, NULL },
    { &fm_ops, &fm_table, "functions", fm_marks, NULL },
};
static const struct bt_app_modules modules = { items, 2 };

static struct bt_app *app;

static int load(const char *text, unsigned chosen)
{
    struct bt_slice all = { (const uint8_t *)text, strlen(text) };

    bt_app_free(app);
    app = NULL;
    return bt_app_load_text(&modules, "f", all, chosen, &app);
}

static const struct hub *hub(void)
{
    return bt_app_section(app, "hub");
}

static const struct fm *fm(void)
{
    return bt_app_section(app, "funcmgr");
}

TEST(sections_choose_the_modules)
{
    CHECK_INT(load("hub: {listen: [a]}\ngrace: 5s\nlogger: {level: debug, path: x}\n", 0),
              0);
    CHECK_STR(bt_conf_messages(app->ctx), "");
    CHECK_STR(hub()->listen.items[0], "a");
    CHECK(fm() == NULL);
    CHECK_INT(app->conf->grace, 5000);
    CHECK_INT(bt_app_log_conf(app).level, BT_LOG_DEBUG);
    CHECK_STR(bt_app_log_conf(app).path, "x");
    CHECK_INT(bt_app_log_conf(app).age_days, 15);
    CHECK_INT(load("functions: {rules: [{name: r}]}\nhub.listen: b\n", 0), 0);
    CHECK_STR(hub()->listen.items[0], "b");
    CHECK_INT(fm()->rules.n, 1);
    CHECK_INT(load("functions:\n", 0), 0);
    CHECK(fm() != NULL && hub() == NULL);
    bt_app_free(app);
    app = NULL;
}

TEST(names_choose_the_modules)
{
    unsigned chosen = 9;
    char bad[64];

    CHECK_INT(bt_app_select(&modules, NULL, &chosen, bad), 0);
    CHECK_INT(chosen, 0);
    CHECK_INT(bt_app_select(&modules, "funcmgr", &chosen, bad), 0);
    CHECK_INT(chosen, 2);
    CHECK_INT(bt_app_select(&modules, "funcmgr,hub", &chosen, bad), 0);
    CHECK_INT(chosen, 3);
    CHECK_INT(bt_app_select(&modules, "hub,bridge", &chosen, bad), BT_EINVAL);
    CHECK_STR(bad, "bridge");
    CHECK_INT(bt_app_select(&modules, "hub,", &chosen, bad), BT_EINVAL);
    CHECK_STR(bad, "");
    CHECK_INT(load("hub: {listen: a}\nfunctions: {}\n", 2), 0);
    CHECK(hub() == NULL && fm() != NULL);
    CHECK_INT(load("hub: {listen: []}\nfunctions: {}\n", 2), BT_ECONF);
    CHECK_INT(load("hub: {listen: a}\n", 2), 0);
    CHECK(hub() == NULL && fm() != NULL);
    bt_app_free(app);
    app = NULL;
}

TEST(a_hub_file_as_it_is)
{
    CHECK_INT(load("listen: ['tcp://0.0.0.0:1883']\nmessage: {count: 3}\n"
                   "logger: {path: var/log, level: warn}\nlogger.age.max: 3\n",
                   0),
              0);
    CHECK_STR(bt_conf_messages(app->ctx), "");
    CHECK_INT(hub()->count, 3);
    CHECK(fm() == NULL);
    CHECK_INT(app->conf->logger.level, BT_LOG_WARN);
    CHECK_INT(app->conf->logger.age_days, 3);
    CHECK_INT(load("message.count: 3\nlisten: x\n", 0), 0);
    CHECK_INT(hub()->count, 3);
    CHECK_INT(load("message.count: no\nlisten: x\n", 0), BT_ECONF);
    CHECK_STR(
        bt_conf_messages(app->ctx),
        "f:1:16: error: hub.message.count: expected a whole number, found \"no\"\n");
    bt_app_free(app);
    app = NULL;
}

TEST(a_function_manager_file_as_it_is)
{
    CHECK_INT(load("hub: {address: 'tcp://localhub:1883'}\nrules: [{name: r}]\n"
                   "functions: [{name: f}]\nlogger: {level: error}\n",
                   0),
              0);
    CHECK_STR(bt_conf_messages(app->ctx), "");
    CHECK(hub() == NULL);
    CHECK_STR(fm()->address, "tcp://localhub:1883");
    CHECK_INT(fm()->functions.n, 1);
    CHECK_INT(app->conf->logger.level, BT_LOG_ERROR);
    bt_app_free(app);
    app = NULL;
}

TEST(parts_that_are_not_built_yet_are_warned_about)
{
    CHECK_INT(load("hub: {listen: a}\nbridge: {}\nagent: 1\n\nservices: []\n", 0), 0);
    CHECK_STR(
        bt_conf_messages(app->ctx),
        "f:2:1: warning: bridge: not available yet in this version; the section is not "
        "used\n"
        "f:3:1: warning: agent: not available yet in this version; the section is not "
        "used\n"
        "f:5:1: warning: services: not available yet in this version; the section is "
        "not used\n");
    bt_app_free(app);
    app = NULL;
}

TEST(wrong_files)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "", "f:1:1: error: nothing to run: expected a section hub: or functions:\n" },
        { "grace: 1s\n",
          "f:1:1: error: nothing to run: expected a section hub: or functions:\n" },
        { "[]", "f:1:1: error: expected a mapping of keys to values\n" },
        { "hub: {}\n", "f:1:1: error: hub.listen: required, but not given\n" },
        { "hub: {lsten: a, listen: a}\n",
          "f:1:7: warning: unknown key \"hub.lsten\"; did you mean \"hub.listen\"?\n" },
        { "hbu: {listen: a}\nfunctions: {}\n", "f:1:1: warning: unknown key \"hbu\"\n" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        int want = strstr(cases[i].want, "error:") != NULL ? BT_ECONF : 0;

        CHECK_INT(load(cases[i].text, 0), want);
        CHECK_STR(bt_conf_messages(app->ctx), cases[i].want);
    }
    bt_app_free(app);
    app = NULL;
}

TEST(without_a_file_a_hub_on_loopback)
{
    CHECK_INT(bt_app_load(&modules, NULL, 0, &app), 0);
    CHECK_STR(bt_conf_messages(app->ctx), "");
    CHECK_STR(hub()->listen.items[0], "tcp://127.0.0.1:1883");
    CHECK(hub()->anonymous);
    CHECK(fm() == NULL);
    bt_app_free(app);
    app = NULL;
    CHECK_STR(bt_app_find_file("x.yml"), "x.yml");
}

TEST(the_effective_configuration_reads_back)
{
    struct bt_buf out = { 0 }, again = { 0 };

    CHECK_INT(load("listen: [a, 'b: c']\n", 0), 0);
    CHECK_INT(bt_app_print(app, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK_INT(load((const char *)out.data, 0), 0);
    CHECK_INT(bt_app_print(app, &again), 0);
    CHECK_INT(bt_buf_append_u8(&again, 0), 0);
    CHECK_STR((const char *)again.data, (const char *)out.data);
    bt_buf_deinit(&out);
    bt_buf_deinit(&again);
    CHECK_INT(bt_app_markdown(&modules, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK(strstr((const char *)out.data, "\n| `hub.address` | text |") != NULL);
    bt_buf_deinit(&out);
    bt_app_free(app);
    app = NULL;
}

TEST(every_allocation_may_fail)
{
    static const char text[] = "listen: [a]\nlogger: {level: warn}\nbridge: 1\n";
    struct bt_slice all = { (const uint8_t *)text, sizeof(text) - 1 };

    for (unsigned long n = 1;; n++) {
        struct bt_app *a = NULL;
        int r;

        bt_mem_fail_from(n);
        r = bt_app_load_text(&modules, "f", all, 0, &a);
        bt_mem_fail_from(0);
        bt_app_free(a);
        if (r == 0) {
            CHECK(n > 20);
            return;
        }
        CHECK_INT(r, BT_ENOMEM);
    }
}
