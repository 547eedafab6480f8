/* The two tables of the program: its commands and its modules, in start order. With
 * core/cmd_start.c the only file of core that knows modules. */
#include "core/app_conf.h"
#include "core/cli.h"
#include "funcmgr/funcmgr.h"
#include "hub/hub.h"

static const struct bt_app_mark hub_marks[] = {
    { "listen", false },      { "principals", false }, { "subscriptions", false },
    { "certificate", false }, { "storage", false },    { "message", false },
    { "listeners", false },   { NULL, false },
};
static const struct bt_app_mark fm_marks[] = {
    { "rules", false },
    { "functions", true },
    { NULL, false },
};

static const struct bt_app_module modules[] = {
    { &hub_module, &hub_conf_table, "hub", hub_marks, hub_conf_check_files },
    { &fm_module, &fm_conf_table, "functions", fm_marks, fm_conf_check_files },
};
_Static_assert(BT_ARRAY_LEN(modules) <= BT_APP_MAX_MODULES, "more modules than sections");

const struct bt_app_modules bt_app_modules = { modules, BT_ARRAY_LEN(modules) };

static const struct bt_cli_command commands[] = {
    { "start", "run the modules of the configuration", bt_cmd_start },
    { "check", "check the configuration", bt_cmd_check },
    { "config", "print the effective configuration", bt_cmd_config },
    { "passwd", "make a hash of a password", bt_cmd_passwd },
    { "pub", "publish messages to a broker", bt_cmd_pub },
    { "sub", "subscribe to topics of a broker and print messages", bt_cmd_sub },
    { "call", "call a function", bt_cmd_call },
    { "functions", "list the functions of the running process", bt_cmd_functions },
    { "why", "say why messages do or do not arrive", bt_cmd_why },
    { "clients", "list the clients of the running hub", bt_cmd_clients },
    { "metrics", "print the metrics of the running process", bt_cmd_metrics },
    { "version", "print the version", bt_cmd_version },
};

int main(int argc, char **argv)
{
    return bt_cli_run(commands, BT_ARRAY_LEN(commands), argc, argv);
}
