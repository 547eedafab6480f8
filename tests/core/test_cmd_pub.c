/* The command line of pub, up to the client's configuration; nothing is connected. */
#include "core/cmd_pub.c"

#include "tests/harness.h"

#define MAX_ARGS 40

/* Options separated by one blank each. The texts stay until the next call. */
static int parse_line(struct pub *p, const char *line)
{
    static char text[512];
    static char *argv[MAX_ARGS + 2];
    int argc = 0;

    snprintf(text, sizeof(text), "pub %s", line);
    for (char *s = strtok(text, " "); s != NULL && argc < MAX_ARGS; s = strtok(NULL, " "))
        argv[argc++] = s;
    argv[argc] = NULL;
    memset(p, 0, sizeof(*p));
    return parse(p, argc, argv);
}

static struct pub p;

static bool is(struct bt_slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

TEST(defaults)
{
    CHECK_INT(parse_line(&p, "-t a -m hi"), 0);
    CHECK_STR(p.m.conf.address, "tcp://127.0.0.1:1883");
    CHECK_INT(p.m.conf.connect.version, BT_MQTT_311);
    CHECK_INT(p.m.conf.connect.keepalive, 60);
    CHECK_INT(p.m.conf.timeout_ms, 20000);
    CHECK(p.m.conf.connect.clean && !p.m.conf.connect.has_username);
    CHECK(p.m.conf.connect.client_id.len > 0);
    CHECK_INT(p.repeat, 1);
    CHECK_STR(p.topic, "a");
}

TEST(all_of_them)
{
    CHECK_INT(parse_line(&p, "-h host -p 99 -t a -m hi -q 2 -r -i dev -u me -P pw -k 5"
                             " -c -V 311 --repeat 3 --repeat-delay 0.25"),
              0);
    CHECK_STR(p.m.conf.address, "tcp://host:99");
    CHECK(is(p.m.conf.connect.client_id, "dev"));
    CHECK(is(p.m.conf.connect.username, "me") && is(p.m.conf.connect.password, "pw"));
    CHECK(p.m.conf.connect.has_password && !p.m.conf.connect.clean);
    CHECK_INT(p.m.qos, 2);
    CHECK_INT(p.m.conf.connect.keepalive, 5);
    CHECK(p.retain);
    CHECK_INT(p.repeat, 3);
    CHECK_INT(p.delay_ms, 250);
}

TEST(will)
{
    CHECK_INT(parse_line(&p, "-t a -n -V 5 --will-topic w --will-payload bye --will-qos 1"
                             " --will-retain -D will will-delay-interval 7"),
              0);
    CHECK(p.m.conf.connect.will.present && p.m.conf.connect.will.retain);
    CHECK_INT(p.m.conf.connect.will.qos, 1);
    CHECK(is(p.m.conf.connect.will.topic, "w"));
    CHECK(is(p.m.conf.connect.will.payload, "bye"));
    CHECK_INT(p.m.conf.connect.will.props.will_delay, 7);
}

TEST(properties)
{
    const struct bt_mqtt_props *props;

    CHECK_INT(parse_line(&p, "-V 5 -D PUBLISH content-type text -t a -D publish "
                             "user-property k v -m hi --property connect "
                             "receive-maximum 9 -x 60"),
              0);
    props = cmd_mqtt_props_of(&p.m, CMD_MQTT_PUBLISH);
    CHECK(props != NULL && is(props->content_type, "text"));
    CHECK_INT(props->n_users, 1);
    CHECK(is(props->users[0].name, "k") && is(props->users[0].value, "v"));
    CHECK_INT(p.m.conf.props.receive_max, 9);
    CHECK_INT(p.m.conf.props.session_expiry, 60);
    CHECK(cmd_mqtt_props_of(&p.m, CMD_MQTT_WILL) == NULL);
}

TEST(url)
{
    CHECK_INT(parse_line(&p, "-L mqtt://me:p%40ss@host:99/a/b%20c -m hi"), 0);
    CHECK_STR(p.m.conf.address, "tcp://host:99");
    CHECK(is(p.m.conf.connect.username, "me") && is(p.m.conf.connect.password, "p@ss"));
    CHECK_STR(p.topic, "a/b c");
    CHECK_INT(parse_line(&p, "-L mqtt://[::1]/t -m hi"), 0);
    CHECK_STR(p.m.conf.address, "tcp://[::1]");
    CHECK_INT(parse_line(&p, "-h ::1 -t a -m hi"), 0);
    CHECK_STR(p.m.conf.address, "tcp://[::1]:1883");
    CHECK_INT(parse_line(&p, "--address unix:///run/hub.sock -t a -m hi"), 0);
    CHECK_STR(p.m.conf.address, "unix:///run/hub.sock");
}

TEST(refused)
{
    static const char *const lines[] = {
        "",
        "-t a",
        "-m hi",
        "-t a -m hi -n",
        "-t a -l -s",
        "-t a/# -m hi",
        "-t a -m hi -q 3",
        "-t a -m hi -p 0",
        "-t a -m hi -p 65536",
        "-t a -m hi extra",
        "-t a -m hi -V 4",
        "-t a -m hi -k 65536",
        "-t a -m hi -c",
        "-t a -m hi -P secret",
        "-t a -m hi -x 5",
        "-t a -m hi --will-payload x",
        "-t a -m hi --will-topic +",
        "-t a -m hi --no-such",
        "-t a -m hi -h x --address tcp://y:1",
        "-t a -m hi --address http://y:1",
        "-t a -m hi --address tcp://y:port",
        "-t a -m hi --address tcp://:1",
        "-t a -m hi -L http://y",
        "-t a -m hi -L mqtt://u%zz@y",
        "-t a -m hi -L mqtt://u%00@y",
        "-t a -m hi -D publish content-type x",
        "-t a -m hi -V 5 -D publish",
        "-t a -m hi -V 5 -D nowhere content-type x",
        "-t a -m hi -V 5 -D publish no-such x",
        "-t a -m hi -V 5 -D publish user-property x",
        "-t a -l --repeat 2",
        "-t a -m hi --repeat 0",
        "-t a -m hi --repeat-delay x",
        "-t a -m hi --repeat-delay -1",
        "-t a -m hi --repeat-delay nan",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(lines); i++) {
        if (parse_line(&p, lines[i]) != BT_CLI_USAGE)
            TEST_END_(1, "accepted: %s", lines[i]);
    }
}

TEST(help)
{
    CHECK_INT(parse_line(&p, "--help"), BT_CLI_DONE);
}
