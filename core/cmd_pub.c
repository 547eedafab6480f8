/* `baetyl pub`: publish a message given as text, a file, nothing, all of the standard
 * input, or one message a line of it. Each message is finished (acknowledged, at QoS 1
 * and 2) before the next. */
#include "core/cmd_mqtt.h"

#include "core/clock.h"
#include "core/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pub {
    struct cmd_mqtt_opts m;
    const char *topic, *message, *file, *delay;
    bool empty, lines, whole, retain, quiet;
    uint32_t repeat;
    uint64_t delay_ms;
    struct bt_client client;
    struct bt_buf payload;
};

static const struct bt_cli_opt opts[] = {
    BT_CLI_OPT(struct pub, "topic", 't', STRING, topic, "TOPIC", "Topic to publish to."),
    BT_CLI_OPT(struct pub, "message", 'm', STRING, message, "TEXT", "Message to send."),
    BT_CLI_OPT(struct pub, "file", 'f', STRING, file, "FILE", "Send a file's contents."),
    BT_CLI_OPT(struct pub, "null-message", 'n', FLAG, empty, NULL,
               "Send an empty message."),
    BT_CLI_OPT(struct pub, "stdin-line", 'l', FLAG, lines, NULL,
               "Send each line of the standard input."),
    BT_CLI_OPT(struct pub, "stdin-file", 's', FLAG, whole, NULL,
               "Send the whole standard input as one message."),
    BT_CLI_OPT(struct pub, "retain", 'r', FLAG, retain, NULL, "Retain the message."),
    BT_CLI_OPT(struct pub, "repeat", 0, U32, repeat, "N", "Send N times (1).", .min = 1),
    BT_CLI_OPT(struct pub, "repeat-delay", 0, STRING, delay, "SECONDS",
               "Wait between repetitions, e.g. 0.5 (0)."),
    BT_CLI_OPT(struct pub, "quiet", 0, FLAG, quiet, NULL, "Say nothing about failures."),
    CMD_MQTT_OPTS(struct pub),
};

static const struct bt_cli_usage usage = {
    .name = "pub",
    .args = "",
    .about = "Publish to an MQTT broker. Without an address: tcp://127.0.0.1:1883.\n"
             "One of -m, -f, -n, -l, -s says what to send.\n" CMD_MQTT_PROPERTY_HELP
                 CMD_MQTT_EXITS,
    .opts = opts,
    .n_opts = BT_ARRAY_LEN(opts),
};

static int check_delay(struct pub *p)
{
    char *end;
    double seconds;

    if (p->delay == NULL)
        return 0;
    seconds = strtod(p->delay, &end);
    if (end == p->delay || *end != '\0' || !(seconds >= 0 && seconds <= 86400))
        return bt_cli_complain(&usage, "--repeat-delay: a number of seconds, 0 to 86400");
    p->delay_ms = (uint64_t)(seconds * 1000 + 0.5);
    return 0;
}

/* Options to a client's configuration. 0, an exit status, or below 0 after the help. */
static int parse(struct pub *p, int argc, char **argv)
{
    int r;

    cmd_mqtt_init(&p->m);
    p->repeat = 1;
    argc = cmd_mqtt_properties(&usage, argc, argv, &p->m);
    if (argc < 0)
        return BT_CLI_USAGE;
    r = bt_cli_parse(&usage, argc, argv, p);
    if (r < 0)
        return r == BT_CLI_DONE ? r : bt_cli_status(r);
    if (r < argc)
        return bt_cli_complain(&usage, "%s is too much: the message goes behind -m",
                               argv[r]);
    if ((p->message != NULL) + (p->file != NULL) + p->empty + p->lines + p->whole != 1)
        return bt_cli_complain(&usage, "give one of -m, -f, -n, -l or -s");
    if (p->lines && p->repeat > 1)
        return bt_cli_complain(&usage, "--repeat does not go with -l");
    r = check_delay(p);
    if (r == 0)
        r = cmd_mqtt_finish(&usage, &p->m, "pub");
    if (r != 0)
        return r;
    p->topic = p->topic != NULL ? p->topic : p->m.url_topic;
    if (p->topic == NULL)
        return bt_cli_complain(&usage, "give a topic with -t");
    if (!bt_mqtt_topic_ok(cmd_mqtt_slice(p->topic)))
        return bt_cli_complain(&usage,
                               "%s is no topic to publish to: it is empty, not "
                               "UTF-8, or has a + or #",
                               p->topic);
    return 0;
}

static int send_one(struct pub *p, struct bt_slice payload)
{
    struct bt_mqtt_publish publish = {
        .topic = cmd_mqtt_slice(p->topic),
        .payload = payload,
        .qos = (uint8_t)p->m.qos,
        .retain = p->retain,
    };

    return bt_client_publish(&p->client, &publish,
                             cmd_mqtt_props_of(&p->m, CMD_MQTT_PUBLISH));
}

static int complain(struct pub *p, int code, const char *what, const char *why)
{
    snprintf(p->client.error, sizeof(p->client.error), "%s: %s", what, why);
    return code;
}

/* One read of fd behind the payload. 1 more may come, 0 the end, or a fatal code. */
static int read_some(struct pub *p, int fd, const char *name)
{
    ssize_t n;
    int r = bt_buf_reserve(&p->payload, 65536);

    if (r != 0)
        return complain(p, r, name, "too large for one MQTT message");
    n = read(fd, p->payload.data + p->payload.len, 65536);
    if (n < 0)
        return errno == EINTR ? 1 : complain(p, BT_EIO, name, strerror(errno));
    p->payload.len += (size_t)n;
    return n > 0;
}

static int read_all(struct pub *p, int fd, const char *name)
{
    int r;

    do
        r = read_some(p, fd, name);
    while (r > 0);
    return r;
}

static int load(struct pub *p)
{
    int fd, r;

    p->payload.max = (size_t)BT_MQTT_MAX_REMAINING + 65536;
    if (p->whole)
        return read_all(p, STDIN_FILENO, "the standard input");
    if (p->file == NULL)
        return p->message != NULL ? bt_buf_append_str(&p->payload, p->message) : 0;
    fd = open(p->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return complain(p, BT_EIO, p->file, strerror(errno));
    r = read_all(p, fd, p->file);
    close(fd);
    return r;
}

static int send_lines(struct pub *p)
{
    int more, r;

    do {
        uint8_t *end;

        r = bt_client_wait_fd(&p->client, STDIN_FILENO);
        if (r != 0)
            return r;
        more = read_some(p, STDIN_FILENO, "the standard input");
        while (p->payload.len > 0 &&
               (end = memchr(p->payload.data, '\n', p->payload.len)) != NULL) {
            size_t n = (size_t)(end - p->payload.data);

            r = send_one(p, (struct bt_slice){ p->payload.data, n });
            if (r != 0)
                return r;
            bt_buf_consume(&p->payload, n + 1);
        }
    } while (more > 0);
    if (more < 0 || p->payload.len == 0)
        return more;
    return send_one(p, (struct bt_slice){ p->payload.data, p->payload.len });
}

/* Between repetitions: the connection stays alive. */
static int pause_between(struct pub *p)
{
    uint64_t until = bt_clock_ms() + p->delay_ms;
    struct bt_mqtt_packet ignored;
    int r = 0;

    while (r == 0 && p->delay_ms > 0)
        r = bt_client_next(&p->client, until, &ignored);
    return r == BT_ETIMEOUT && bt_clock_ms() >= until ? 0 : r;
}

static int send_all(struct pub *p)
{
    int r;

    if (p->lines)
        return send_lines(p);
    for (uint32_t i = 0;; i++) {
        r = send_one(p, (struct bt_slice){ p->payload.data, p->payload.len });
        if (r != 0 || i + 1 == p->repeat)
            return r;
        r = pause_between(p);
        if (r != 0)
            return r;
    }
}

static int run(struct pub *p)
{
    int r = load(p);

    if (r == 0) {
        cmd_mqtt_signals(&p->m);
        r = bt_client_connect(&p->client, &p->m.conf);
        if (r == 0)
            r = send_all(p);
        if (r == 0 || r == BT_CLIENT_STOPPED)
            bt_client_disconnect(&p->client,
                                 cmd_mqtt_props_of(&p->m, CMD_MQTT_DISCONNECT));
        bt_client_deinit(&p->client);
    }
    return cmd_mqtt_explain(&p->client, r, p->quiet);
}

int bt_cmd_pub(int argc, char **argv)
{
    static struct pub p;
    int r;

    memset(&p, 0, sizeof(p));
    r = parse(&p, argc, argv);
    if (r == 0)
        r = run(&p);
    bt_buf_deinit(&p.payload);
    return r == BT_CLI_DONE ? BT_CLI_OK : r;
}
