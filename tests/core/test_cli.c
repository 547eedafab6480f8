/* Options and commands by tables. What goes to standard error is not looked at. */
#include "core/cli.c"

#include "tests/harness.h"

struct options {
    bool all, big;
    const char *file;
    struct bt_cli_strings topics;
    uint32_t count;
    int64_t wait;
    uint64_t size;
};

static const struct bt_cli_opt opts[] = {
    BT_CLI_OPT(struct options, "all", 'a', FLAG, all, NULL, "A."),
    BT_CLI_OPT(struct options, NULL, 'b', FLAG, big, NULL, NULL),
    BT_CLI_OPT(struct options, "file", 'f', STRING, file, "FILE", "F."),
    BT_CLI_OPT(struct options, "topic", 't', STRINGS, topics, "TOPIC", "T."),
    BT_CLI_OPT(struct options, "count", 0, U32, count, "N", "C.", .min = 1, .max = 9),
    BT_CLI_OPT(struct options, "wait", 'w', MS, wait, "TIME", "W."),
    BT_CLI_OPT(struct options, "size", 0, BYTES, size, "SIZE", "S."),
};
static const struct bt_cli_usage use = { "x", "[FILE]", "About.", opts,
                                         BT_ARRAY_LEN(opts) };

#define ARGS(...) ((const char *[]){ "x", __VA_ARGS__, NULL })

static int parse(const char **args, struct options *o)
{
    int n = 0;

    while (args[n] != NULL)
        n++;
    *o = (struct options){ .count = 5 };
    return bt_cli_parse(&use, n, (char **)(uintptr_t)args, o);
}

TEST(options_work)
{
    struct options o;

    CHECK_INT(parse(ARGS("--all", "--file", "p", "--count=3", "rest"), &o), 5);
    CHECK(o.all && !o.big);
    CHECK_STR(o.file, "p");
    CHECK_INT(o.count, 3);
    CHECK_INT(parse(ARGS("-abfq", "-t", "1", "--topic=2", "-t3"), &o), 6);
    CHECK(o.all && o.big);
    CHECK_STR(o.file, "q");
    CHECK_INT(o.topics.n, 3);
    CHECK_STR(o.topics.items[2], "3");
    CHECK_INT(o.count, 5);
    CHECK_INT(parse(ARGS("-w", "1m30s", "--size", "4m", "--", "-a"), &o), 6);
    CHECK_INT(o.wait, 90000);
    CHECK_INT(o.size, 4194304);
    CHECK(!o.all);
    CHECK_INT(parse(ARGS("-", "-a"), &o), 1);
    CHECK_INT(parse(ARGS("--file=", "--topic", "--all"), &o), 4);
    CHECK_STR(o.file, "");
    CHECK_STR(o.topics.items[0], "--all");
}

TEST(wrong_options_are_told)
{
    struct options o;

    CHECK_INT(parse(ARGS("--al"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--nothing-like-it"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("-x"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("-ax"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--all=1"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--file"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("-f"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--count", "0"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--count", "10"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--count", "x"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--wait", "1d"), &o), BT_CLI_BAD);
    CHECK_INT(parse(ARGS("--size", "1x"), &o), BT_CLI_BAD);
    CHECK_INT(bt_cli_status(BT_CLI_BAD), BT_CLI_USAGE);
}

TEST(too_many_values_are_told)
{
    const char *args[2 * BT_CLI_MAX_STRINGS + 4];
    struct options o;
    size_t n = 0;

    args[n++] = "x";
    for (size_t i = 0; i < BT_CLI_MAX_STRINGS; i++)
        args[n++] = "-ta";
    args[n] = NULL;
    CHECK_INT(parse(args, &o), (int)n);
    args[n++] = "-ta";
    args[n] = NULL;
    CHECK_INT(parse(args, &o), BT_CLI_BAD);
}

TEST(help_is_no_failure)
{
    struct options o;

    CHECK_INT(parse(ARGS("--help"), &o), BT_CLI_DONE);
    CHECK_INT(bt_cli_status(BT_CLI_DONE), BT_CLI_OK);
}

static int last_argc;
static const char *last_arg;

static int run_one(int argc, char **argv)
{
    last_argc = argc;
    last_arg = argv[argc - 1];
    return 7;
}

TEST(commands)
{
    static const struct bt_cli_command cmds[] = {
        { "one", "do one", run_one },
        { "version", "print it", run_one },
    };
    const char *args[] = { "baetyl", "one", "-x", NULL };
    const char *help[] = { "baetyl", "help", "one", NULL };
    char **argv = (char **)(uintptr_t)args, **help_argv = (char **)(uintptr_t)help;

    CHECK_INT(bt_cli_run(cmds, 2, 3, argv), 7);
    CHECK_INT(last_argc, 2);
    CHECK_STR(last_arg, "-x");
    CHECK_INT(bt_cli_run(cmds, 2, 1, argv), BT_CLI_USAGE);
    args[1] = "oen";
    CHECK_INT(bt_cli_run(cmds, 2, 2, argv), BT_CLI_USAGE);
    args[1] = "--version";
    CHECK_INT(bt_cli_run(cmds, 2, 2, argv), 7);
    CHECK_STR(last_arg, "--version");
    CHECK_INT(bt_cli_run(cmds, 2, 2, help_argv), BT_CLI_OK);
    CHECK_INT(bt_cli_run(cmds, 2, 3, help_argv), 7);
    CHECK_STR(last_arg, "--help");
    help[2] = "two";
    CHECK_INT(bt_cli_run(cmds, 2, 3, help_argv), BT_CLI_USAGE);
}
