/* Commands and options by tables. Happy path: bt_cli_run finds the command, which lets
 * bt_cli_parse fill its struct. Failure modes: an unknown command or option, a value that
 * is missing or wrong: one line on standard error with the nearest name, exit status
 * BT_CLI_USAGE. */
#include "core/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf.h"
#include "core/conf_priv.h"
#include "core/error.h"

/* ---- help ---- */

static void print_opt(const struct bt_cli_opt *o)
{
    char left[64];
    int n = 0;

    if (o->help == NULL)
        return;
    n += snprintf(left, sizeof(left), o->letter != 0 ? "-%c" : "  ", o->letter);
    if (o->name != NULL)
        n += snprintf(left + n, sizeof(left) - (size_t)n, "%s--%s",
                      o->letter != 0 ? ", " : "  ", o->name);
    if (o->arg != NULL && n < (int)sizeof(left))
        snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
    printf("  %-28s %s\n", left, o->help);
}

static void print_usage(const struct bt_cli_usage *u)
{
    printf("usage: baetyl %s%s%s%s\n\n%s\n", u->name, u->n_opts > 0 ? " [options]" : "",
           *u->args != '\0' ? " " : "", u->args, u->about);
    if (u->n_opts > 0)
        printf("\noptions:\n");
    for (size_t i = 0; i < u->n_opts; i++)
        print_opt(&u->opts[i]);
}

static void print_commands(const struct bt_cli_command *cmds, size_t n, FILE *out)
{
    fprintf(out,
            "baetyl: an MQTT hub and functions for edge devices, in one executable\n\n"
            "usage: baetyl COMMAND [options]\n\ncommands:\n");
    for (size_t i = 0; i < n; i++) {
        if (cmds[i].help != NULL)
            fprintf(out, "  %-10s %s\n", cmds[i].name, cmds[i].help);
    }
    fprintf(out,
            "  %-10s %s\n\nexit status: 0 done, 1 failed, 2 wrong command line, "
            "3 forced to stop, 4 already running\n",
            "help", "show this, or the options of a command: baetyl help COMMAND");
}

/* ---- options ---- */

int bt_cli_complain(const struct bt_cli_usage *usage, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "baetyl %s: ", usage->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry: baetyl help %s\n", usage->name);
    return BT_CLI_USAGE;
}

static int bad(const struct bt_cli_usage *usage, const char *what, const char *text)
{
    bt_cli_complain(usage, "%s%s", what, text);
    return BT_CLI_BAD;
}

static int parse_u32(const struct bt_cli_opt *o, const char *value, void *member)
{
    uint32_t *out = member, max = o->max != 0 ? o->max : UINT32_MAX;

    if (bt_conf_parse_u32(value, out) != 0 || *out < o->min || *out > max)
        return BT_EINVAL;
    return 0;
}

static int parse_string(const struct bt_cli_opt *o, const char *value, void *member)
{
    (void)o;
    *(const char **)member = value;
    return 0;
}

static int parse_strings(const struct bt_cli_opt *o, const char *value, void *member)
{
    struct bt_cli_strings *list = member;

    (void)o;
    if (list->n == BT_CLI_MAX_STRINGS)
        return BT_ELIMIT;
    list->items[list->n++] = value;
    return 0;
}

static int parse_ms(const struct bt_cli_opt *o, const char *value, void *member)
{
    (void)o;
    return bt_conf_parse_ms(value, member);
}

static int parse_bytes(const struct bt_cli_opt *o, const char *value, void *member)
{
    (void)o;
    return bt_conf_parse_bytes(value, member);
}

static const struct {
    int (*parse)(const struct bt_cli_opt *o, const char *value, void *member);
    const char *expected;
} kinds[] = {
    [BT_CLI_STRING] = { parse_string, "a text" },
    [BT_CLI_STRINGS] = { parse_strings, "at most 64 of them" },
    [BT_CLI_U32] = { parse_u32, "a whole number" },
    [BT_CLI_MS] = { parse_ms, "a duration like 20s or 1m30s" },
    [BT_CLI_BYTES] = { parse_bytes, "a size like 32k or 4m" },
};

static int set_value(const struct bt_cli_usage *usage, const struct bt_cli_opt *o,
                     const char *value, void *obj)
{
    char name[3] = { '-', o->letter, '\0' };
    char range[48] = "";

    if (kinds[o->kind].parse(o, value, (char *)obj + o->offset) == 0)
        return 0;
    if (o->kind == BT_CLI_U32 && o->max != 0)
        snprintf(range, sizeof(range), " from %u to %u", o->min, o->max);
    bt_cli_complain(usage, "%s%s: expected %s%s, found \"%s\"",
                    o->name != NULL ? "--" : "", o->name != NULL ? o->name : name,
                    kinds[o->kind].expected, range, value);
    return BT_CLI_BAD;
}

static const struct bt_cli_opt *find_long(const struct bt_cli_usage *u, const char *name,
                                          size_t n)
{
    for (size_t i = 0; i < u->n_opts; i++) {
        const char *have = u->opts[i].name;

        if (have != NULL && strlen(have) == n && strncmp(have, name, n) == 0)
            return &u->opts[i];
    }
    return NULL;
}

static const struct bt_cli_opt *find_short(const struct bt_cli_usage *u, char letter)
{
    for (size_t i = 0; i < u->n_opts; i++) {
        if (u->opts[i].letter == letter)
            return &u->opts[i];
    }
    return NULL;
}

static int unknown_long(const struct bt_cli_usage *u, const char *arg)
{
    const char *best = NULL;
    unsigned least = 4;

    for (size_t i = 0; i < u->n_opts; i++) {
        const char *name = u->opts[i].name;
        unsigned distance = name != NULL ? bt_conf_distance(name, arg + 2) : least;

        if (distance < least && u->opts[i].help != NULL) {
            least = distance;
            best = name;
        }
    }
    if (best != NULL)
        bt_cli_complain(u, "unknown option %s; did you mean --%s?", arg, best);
    else
        bt_cli_complain(u, "unknown option %s", arg);
    return BT_CLI_BAD;
}

/* The argument at *i; *i moves to the last one that was used. */
static int parse_long(const struct bt_cli_usage *u, char **argv, int argc, int *i,
                      void *obj)
{
    const char *arg = argv[*i], *value = strchr(arg, '=');
    size_t n = value != NULL ? (size_t)(value - arg) - 2 : strlen(arg) - 2;
    const struct bt_cli_opt *o = find_long(u, arg + 2, n);

    if (o == NULL && strcmp(arg, "--help") == 0) {
        print_usage(u);
        return BT_CLI_DONE;
    }
    if (o == NULL)
        return unknown_long(u, arg);
    if (o->kind == BT_CLI_FLAG) {
        if (value != NULL)
            return bad(u, "this option takes no value: ", arg);
        *(bool *)((char *)obj + o->offset) = true;
        return 0;
    }
    if (value != NULL)
        return set_value(u, o, value + 1, obj);
    if (*i + 1 >= argc)
        return bad(u, "a value is missing after ", arg);
    return set_value(u, o, argv[++*i], obj);
}

static int parse_short(const struct bt_cli_usage *u, char **argv, int argc, int *i,
                       void *obj)
{
    for (const char *c = argv[*i] + 1; *c != '\0'; c++) {
        const struct bt_cli_opt *o = find_short(u, *c);

        if (o == NULL)
            return bad(u, "unknown option ", argv[*i]);
        if (o->kind == BT_CLI_FLAG) {
            *(bool *)((char *)obj + o->offset) = true;
            continue;
        }
        if (c[1] != '\0')
            return set_value(u, o, c + 1, obj);
        if (*i + 1 >= argc)
            return bad(u, "a value is missing after ", argv[*i]);
        return set_value(u, o, argv[++*i], obj);
    }
    return 0;
}

int bt_cli_parse(const struct bt_cli_usage *usage, int argc, char **argv, void *obj)
{
    int i, r;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0)
            return i + 1;
        if (argv[i][0] != '-' || argv[i][1] == '\0')
            break;
        if (argv[i][1] == '-')
            r = parse_long(usage, argv, argc, &i, obj);
        else
            r = parse_short(usage, argv, argc, &i, obj);
        if (r != 0)
            return r;
    }
    return i;
}

int bt_cli_status(int parsed)
{
    return parsed == BT_CLI_DONE ? BT_CLI_OK : BT_CLI_USAGE;
}

/* ---- commands ---- */

static const struct bt_cli_command *find_command(const struct bt_cli_command *cmds,
                                                 size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(cmds[i].name, name) == 0)
            return &cmds[i];
    }
    return NULL;
}

static int unknown_command(const struct bt_cli_command *cmds, size_t n, const char *name)
{
    const char *best = NULL;
    unsigned least = 3;

    for (size_t i = 0; i < n; i++) {
        unsigned distance = bt_conf_distance(cmds[i].name, name);

        if (distance < least && cmds[i].help != NULL) {
            least = distance;
            best = cmds[i].name;
        }
    }
    fprintf(stderr, "baetyl: unknown command \"%s\"%s%s%s\nTry: baetyl help\n", name,
            best != NULL ? "; did you mean " : "", best != NULL ? best : "",
            best != NULL ? "?" : "");
    return BT_CLI_USAGE;
}

static int run_help(const struct bt_cli_command *cmds, size_t n, const char *name)
{
    static char option[] = "--help";
    const struct bt_cli_command *cmd;
    char copy[32];
    char *args[3] = { copy, option, NULL };

    if (name == NULL) {
        print_commands(cmds, n, stdout);
        return BT_CLI_OK;
    }
    cmd = find_command(cmds, n, name);
    if (cmd == NULL)
        return unknown_command(cmds, n, name);
    snprintf(copy, sizeof(copy), "%s", name);
    return cmd->run(2, args);
}

int bt_cli_run(const struct bt_cli_command *cmds, size_t n, int argc, char **argv)
{
    static const char *const help[] = { "help", "--help", "-h" };
    const struct bt_cli_command *cmd;

    if (argc < 2) {
        print_commands(cmds, n, stderr);
        return BT_CLI_USAGE;
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(help); i++) {
        if (strcmp(argv[1], help[i]) == 0)
            return run_help(cmds, n, argc > 2 ? argv[2] : NULL);
    }
    cmd = find_command(cmds, n, strcmp(argv[1], "--version") == 0 ? "version" : argv[1]);
    return cmd != NULL ? cmd->run(argc - 1, argv + 1) : unknown_command(cmds, n, argv[1]);
}
