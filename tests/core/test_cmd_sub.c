/* The command line of sub, what is printed and when it ends; nothing is connected. */
#include "core/cmd_sub.c"

#include "tests/harness.h"

#define MAX_ARGS 40

static struct sub s;

static int parse_line(const char *line)
{
    static char text[512];
    static char *argv[MAX_ARGS + 2];
    int argc = 0;

    snprintf(text, sizeof(text), "sub %s", line);
    for (char *w = strtok(text, " "); w != NULL && argc < MAX_ARGS; w = strtok(NULL, " "))
        argv[argc++] = w;
    argv[argc] = NULL;
    memset(&s, 0, sizeof(s));
    return parse(&s, argc, argv);
}

TEST(options)
{
    CHECK_INT(
        parse_line("-t a/+ -t b/# -q 1 -C 5 -W 9 -v -T b/x -U c -V 5 -c -i dev"
                   " --retain-handling 2 --no-local --retain-as-published -R -E -N"),
        0);
    CHECK_INT(s.topics.n, 2);
    CHECK_INT(s.subs[1].filter.len, 3);
    CHECK_INT(s.subs[0].qos, 1);
    CHECK_INT(s.subs[0].retain_handling, 2);
    CHECK(s.subs[0].no_local && s.subs[0].retain_as_published);
    CHECK_INT(s.count, 5);
    CHECK_INT(s.seconds, 9);
    CHECK(s.verbose && s.no_retained && s.exit_early && s.no_newline);
    CHECK_INT(s.unsubscribe.n, 1);
    CHECK(!s.m.conf.connect.clean);
    /* A kept session of version 5 that says nothing else is kept for good. */
    CHECK_INT(s.m.conf.props.session_expiry, UINT32_MAX);
    CHECK_INT(parse_line("-L mqtt://h/a/b"), 0);
    CHECK_INT(s.topics.n, 1);
    CHECK_STR(s.topics.items[0], "a/b");
}

TEST(refused)
{
    static const char *const lines[] = {
        "",
        "-t a#",
        "-t a -T +x",
        "-t a -U #/x",
        "-t $share/g",
        "-t a -F %z",
        "-t a -F %",
        "-t a -C 0",
        "-t a -W 0",
        "-t a -c",
        "-t a --no-local",
        "-t a --retain-handling 3 -V 5",
        "-t a --retain-handling 1",
        "-t a word",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(lines); i++) {
        if (parse_line(lines[i]) != BT_CLI_USAGE)
            TEST_END_(1, "accepted: %s", lines[i]);
    }
    CHECK_INT(parse_line("--help"), BT_CLI_DONE);
}

static struct bt_mqtt_publish message(const char *topic, bool retain)
{
    return (struct bt_mqtt_publish){ .topic = cmd_mqtt_slice(topic), .retain = retain };
}

TEST(which_are_wanted)
{
    struct bt_mqtt_publish kept = message("a/x", true), live = message("a/x", false);
    struct bt_mqtt_publish other = message("b/x", false);

    CHECK_INT(parse_line("-t # -R -T b/+"), 0);
    CHECK(!wanted(&s, &kept) && wanted(&s, &live) && !wanted(&s, &other));
    CHECK_INT(parse_line("-t #"), 0);
    CHECK(wanted(&s, &kept) && wanted(&s, &other));
}

TEST(refused_by_the_broker)
{
    static const uint8_t none[] = { 0x80, 0x87 }, some[] = { 0x01, 0x87 };
    struct bt_mqtt_packet p = { .list = { none, 2 } };

    CHECK_INT(parse_line("-t a -t b --quiet"), 0);
    CHECK_INT(on_suback(&s, &p), BT_CLIENT_REFUSED);
    p.list.ptr = some;
    CHECK_INT(on_suback(&s, &p), 0);
    s.exit_early = true;
    CHECK_INT(on_suback(&s, &p), BT_CLIENT_STOPPED);
}

TEST(formats)
{
    static const struct {
        const char *format, *want;
    } rows[] = {
        { "%t|%p|%q|%r|%l|%i|%d", "t/1|a b|2|1|3|77|0" },
        { "%%%x", "%612062" },
        { "%t\\n\\t\\\\", "t/1\n\t\\" },
        { "%C%R%D%E%S%P", "" },
        { "plain", "plain" },
    };
    struct bt_mqtt_packet p = { .publish = { .retain = true,
                                             .qos = 2,
                                             .pid = 77,
                                             .topic = cmd_mqtt_slice("t/1"),
                                             .payload = cmd_mqtt_slice("a b") } };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        char text[128] = "", bad;
        FILE *f = fmemopen(text, sizeof(text), "w");

        CHECK(f != NULL && cmd_format_ok(rows[i].format, &bad));
        cmd_format_print(f, rows[i].format, &p);
        fclose(f);
        CHECK_STR(text, rows[i].want);
    }
}
