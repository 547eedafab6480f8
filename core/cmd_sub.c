/* `baetyl sub`: subscribe and print messages, each flushed before it is acknowledged, so
 * that a reader of the pipe has what the broker may forget. Ends after a count, a time, a
 * signal, or with the connection. */
#include "core/cmd_format.h"
#include "core/cmd_mqtt.h"

#include "core/clock.h"
#include "core/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct sub {
    struct cmd_mqtt_opts m;
    struct bt_cli_strings topics, without, unsubscribe;
    const char *format;
    uint32_t count, seconds, retain_handling;
    bool verbose, no_newline, no_retained, exit_early, no_local, as_published, quiet;
    struct bt_mqtt_sub subs[BT_CLI_MAX_STRINGS];
    struct bt_slice filters[BT_CLI_MAX_STRINGS];
    uint32_t seen;
    uint64_t deadline; /* of bt_clock_ms, 0 = none */
    struct bt_client client;
};

static const struct bt_cli_opt opts[] = {
    BT_CLI_OPT(struct sub, "topic", 't', STRINGS, topics, "FILTER",
               "Subscribe to this; may be given more than once."),
    BT_CLI_OPT(struct sub, "filter-out", 'T', STRINGS, without, "FILTER",
               "Do not print messages of these topics."),
    BT_CLI_OPT(struct sub, "unsubscribe", 'U', STRINGS, unsubscribe, "FILTER",
               "Unsubscribe from this first; ends a kept subscription."),
    BT_CLI_OPT(struct sub, "count", 'C', U32, count, "N", "End after N messages.",
               .min = 1),
    BT_CLI_OPT(struct sub, "wait", 'W', U32, seconds, "SECONDS",
               "End after this time with exit status 27.", .min = 1, .max = 31536000),
    BT_CLI_OPT(struct sub, "verbose", 'v', FLAG, verbose, NULL,
               "Print the topic in front of the message."),
    BT_CLI_OPT(struct sub, "format", 'F', STRING, format, "FORMAT",
               "How to print a message; see above."),
    BT_CLI_OPT(struct sub, "no-newline", 'N', FLAG, no_newline, NULL,
               "No line end behind a message."),
    BT_CLI_OPT(struct sub, "no-retained", 'R', FLAG, no_retained, NULL,
               "Do not print retained messages."),
    BT_CLI_OPT(struct sub, "exit-early", 'E', FLAG, exit_early, NULL,
               "End as soon as the broker has subscribed us."),
    BT_CLI_OPT(struct sub, "retain-handling", 0, U32, retain_handling, "N",
               "Retained messages: 0 send, 1 only if new, 2 never; needs -V 5.",
               .max = 2),
    BT_CLI_OPT(struct sub, "retain-as-published", 0, FLAG, as_published, NULL,
               "Keep the retain flag of the publisher; needs -V 5."),
    BT_CLI_OPT(struct sub, "no-local", 0, FLAG, no_local, NULL,
               "Not what this connection publishes; needs -V 5."),
    BT_CLI_OPT(struct sub, "quiet", 0, FLAG, quiet, NULL, "Say nothing about failures."),
    CMD_MQTT_OPTS(struct sub),
};

static const struct bt_cli_usage usage = {
    .name = "sub",
    .args = "",
    .about = "Subscribe at an MQTT broker and print the messages, each at once.\n"
             "Without an address: tcp://127.0.0.1:1883.\n" CMD_FORMAT_HELP
                 CMD_MQTT_PROPERTY_HELP CMD_MQTT_EXITS,
    .opts = opts,
    .n_opts = BT_ARRAY_LEN(opts),
};

/* The first item that is no filter, or NULL. */
static const char *bad_filter(const struct bt_cli_strings *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!bt_mqtt_filter_ok(cmd_mqtt_slice(list->items[i])))
            return list->items[i];
    }
    return NULL;
}

static int check_filters(struct sub *s)
{
    const char *wrong = bad_filter(&s->topics);

    wrong = wrong != NULL ? wrong : bad_filter(&s->without);
    wrong = wrong != NULL ? wrong : bad_filter(&s->unsubscribe);
    if (wrong != NULL)
        return bt_cli_complain(&usage,
                               "%s is no topic filter: + must fill a level and # the "
                               "last one",
                               wrong);
    for (size_t i = 0; i < s->topics.n; i++)
        s->subs[i] = (struct bt_mqtt_sub){
            .filter = cmd_mqtt_slice(s->topics.items[i]),
            .qos = (uint8_t)s->m.qos,
            .no_local = s->no_local,
            .retain_as_published = s->as_published,
            .retain_handling = (uint8_t)s->retain_handling,
        };
    for (size_t i = 0; i < s->unsubscribe.n; i++)
        s->filters[i] = cmd_mqtt_slice(s->unsubscribe.items[i]);
    return 0;
}

static int check(struct sub *s)
{
    char bad = 0;
    int r = cmd_mqtt_finish(&usage, &s->m, "sub");

    if (r != 0)
        return r;
    if (s->m.url_topic != NULL && s->topics.n < BT_CLI_MAX_STRINGS)
        s->topics.items[s->topics.n++] = s->m.url_topic;
    if (s->topics.n == 0 && s->unsubscribe.n == 0)
        return bt_cli_complain(&usage, "give a topic with -t");
    if (s->format != NULL && !cmd_format_ok(s->format, &bad))
        return bt_cli_complain(&usage, "-F: there is no %%%c", bad != '\0' ? bad : ' ');
    if (s->m.conf.connect.version != BT_MQTT_50 &&
        (s->no_local || s->as_published || s->retain_handling != 0))
        return bt_cli_complain(&usage, "--no-local, --retain-as-published and "
                                       "--retain-handling need -V 5");
    return check_filters(s);
}

/* 0, an exit status, or below 0 after the help. */
static int parse(struct sub *s, int argc, char **argv)
{
    int r;

    cmd_mqtt_init(&s->m);
    argc = cmd_mqtt_properties(&usage, argc, argv, &s->m);
    if (argc < 0)
        return BT_CLI_USAGE;
    r = bt_cli_parse(&usage, argc, argv, s);
    if (r < 0)
        return r == BT_CLI_DONE ? r : bt_cli_status(r);
    if (r < argc)
        return bt_cli_complain(&usage, "%s is too much: topics go behind -t", argv[r]);
    return check(s);
}

/* Should this message be seen? */
static bool wanted(const struct sub *s, const struct bt_mqtt_publish *m)
{
    if (m->retain && s->no_retained)
        return false;
    for (size_t i = 0; i < s->without.n; i++) {
        if (bt_mqtt_match(cmd_mqtt_slice(s->without.items[i]), m->topic))
            return false;
    }
    return true;
}

static int print(struct sub *s, const struct bt_mqtt_packet *p)
{
    const char *format = s->format != NULL ? s->format : s->verbose ? "%t %p" : "%p";

    cmd_format_print(stdout, format, p);
    if (!s->no_newline)
        putchar('\n');
    if (fflush(stdout) == 0)
        return 0;
    snprintf(s->client.error, sizeof(s->client.error),
             "the message could not be printed: %s", strerror(errno));
    return BT_EIO;
}

/* Print and acknowledge. The condition BT_CLIENT_STOPPED after the last one wanted. */
static int on_message(struct sub *s, const struct bt_mqtt_packet *p)
{
    bool show = wanted(s, &p->publish);
    int r = show ? print(s, p) : 0;

    if (r == 0)
        r = bt_client_accept(&s->client, &p->publish);
    if (r == 0 && show && ++s->seen == s->count)
        r = BT_CLIENT_STOPPED;
    return r;
}

/* Say which filters were refused; refused altogether when all were. */
static int on_suback(struct sub *s, const struct bt_mqtt_packet *p)
{
    size_t refused = 0;

    for (size_t i = 0; i < p->list.len && i < s->topics.n; i++) {
        if (p->list.ptr[i] < 0x80)
            continue;
        refused++;
        if (!s->quiet)
            fprintf(stderr, "baetyl: the broker refused the subscription %s: %s\n",
                    s->topics.items[i], bt_mqtt_reason_text(p->list.ptr[i]));
    }
    if (refused == s->topics.n) {
        snprintf(s->client.error, sizeof(s->client.error), "nothing is subscribed");
        return BT_CLIENT_REFUSED;
    }
    return s->exit_early ? BT_CLIENT_STOPPED : 0;
}

static int subscribe(struct sub *s)
{
    const struct bt_mqtt_props *props = cmd_mqtt_props_of(&s->m, CMD_MQTT_UNSUBSCRIBE);
    uint16_t pid;
    int r = 0;

    if (s->unsubscribe.n > 0)
        r = bt_client_unsubscribe(&s->client, s->filters, s->unsubscribe.n, props, &pid);
    if (r != 0 || s->topics.n == 0)
        return r;
    props = cmd_mqtt_props_of(&s->m, CMD_MQTT_SUBSCRIBE);
    return bt_client_subscribe(&s->client, s->subs, s->topics.n, props, &pid);
}

/* Read until something ends it. */
static int receive(struct sub *s)
{
    /* The answer to our request must come within the time for answers. */
    uint64_t answer = bt_clock_ms() + s->m.conf.timeout_ms;
    bool answered = false;
    struct bt_mqtt_packet p;
    int r = 0;

    while (r == 0) {
        uint64_t until = s->deadline;

        if (!answered && (until == 0 || answer < until))
            until = answer;
        r = bt_client_next(&s->client, until, &p);
        if (r != 0)
            break;
        if (p.type == BT_MQTT_PUBLISH) {
            r = on_message(s, &p);
        } else if (p.type == BT_MQTT_SUBACK) {
            answered = true;
            r = on_suback(s, &p);
        } else if (p.type == BT_MQTT_UNSUBACK && s->topics.n == 0) {
            answered = true;
            r = s->exit_early ? BT_CLIENT_STOPPED : 0;
        }
    }
    return r;
}

static int run(struct sub *s)
{
    bool time_up;
    int r;

    cmd_mqtt_signals(&s->m);
    if (s->seconds > 0)
        s->deadline = bt_clock_ms() + s->seconds * UINT64_C(1000);
    r = bt_client_connect(&s->client, &s->m.conf);
    if (r == 0)
        r = subscribe(s);
    if (r == 0)
        r = receive(s);
    time_up = r == BT_ETIMEOUT && s->deadline != 0 && bt_clock_ms() >= s->deadline;
    if (r == BT_CLIENT_STOPPED || time_up)
        bt_client_disconnect(&s->client, cmd_mqtt_props_of(&s->m, CMD_MQTT_DISCONNECT));
    bt_client_deinit(&s->client);
    return time_up ? CMD_MQTT_TIMEOUT : cmd_mqtt_explain(&s->client, r, s->quiet);
}

int bt_cmd_sub(int argc, char **argv)
{
    static struct sub s;
    int r;

    memset(&s, 0, sizeof(s));
    r = parse(&s, argc, argv);
    if (r == 0)
        r = run(&s);
    return r == BT_CLI_DONE ? BT_CLI_OK : r;
}
