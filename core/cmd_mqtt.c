/* Options of a connection: defaults, --url taken apart, -D read by a table of packets,
 * the checks that no single option can do. All text is borrowed from argv or kept in the
 * options themselves, so there is nothing to free. What is wrong is said in one sentence
 * with the option's name. */
#include "core/cmd_mqtt.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/mqtt_connect.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static const struct packet {
    const char *name;
    unsigned where; /* packet type, 0 = will */
} packets[CMD_MQTT_WHERES] = {
    [CMD_MQTT_CONNECT] = { "connect", BT_MQTT_CONNECT },
    [CMD_MQTT_PUBLISH] = { "publish", BT_MQTT_PUBLISH },
    [CMD_MQTT_WILL] = { "will", 0 },
    [CMD_MQTT_SUBSCRIBE] = { "subscribe", BT_MQTT_SUBSCRIBE },
    [CMD_MQTT_UNSUBSCRIBE] = { "unsubscribe", BT_MQTT_UNSUBSCRIBE },
    [CMD_MQTT_DISCONNECT] = { "disconnect", BT_MQTT_DISCONNECT },
};

static const struct version {
    const char *name;
    uint8_t version;
} versions[] = {
    { "311", BT_MQTT_311 },      { "31", BT_MQTT_31 },      { "5", BT_MQTT_50 },
    { "mqttv311", BT_MQTT_311 }, { "mqttv31", BT_MQTT_31 }, { "mqttv5", BT_MQTT_50 },
};

void cmd_mqtt_init(struct cmd_mqtt_opts *m)
{
    memset(m, 0, sizeof(*m));
    m->version = "311";
    m->keepalive = 60;
    m->timeout = 20;
}

struct bt_slice cmd_mqtt_slice(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, s != NULL ? strlen(s) : 0 };
}

const struct bt_mqtt_props *cmd_mqtt_props_of(const struct cmd_mqtt_opts *m,
                                              enum cmd_mqtt_where where)
{
    const struct bt_mqtt_props *p = &m->props[where].props;

    return p->present != 0 || p->n_users > 0 ? p : NULL;
}

static int find_packet(const char *name)
{
    int i = 0;

    while (i < CMD_MQTT_WHERES && strcasecmp(packets[i].name, name) != 0)
        i++;
    return i;
}

/* One -D: words are PACKET NAME VALUE [VALUE]. Returns how many were used, or BT_CLI_BAD.
 */
static int one_property(const struct bt_cli_usage *usage, int n, char **words,
                        struct cmd_mqtt_opts *m)
{
    struct cmd_mqtt_props *out;
    int where;

    if (n < 3) {
        bt_cli_complain(usage, "-D takes a packet, a property and a value");
        return BT_CLI_BAD;
    }
    where = find_packet(words[0]);
    if (where == CMD_MQTT_WHERES) {
        bt_cli_complain(usage, "-D: there is no packet called %s", words[0]);
        return BT_CLI_BAD;
    }
    out = &m->props[where];
    if (strcmp(words[1], "user-property") != 0) {
        if (bt_mqtt_prop_set_text(&out->props, packets[where].where, words[1],
                                  words[2]) == 0)
            return 3;
        bt_cli_complain(usage, "-D: %s has no property %s with a value %s", words[0],
                        words[1], words[2]);
        return BT_CLI_BAD;
    }
    if (n < 4 || out->props.n_users == CMD_MQTT_MAX_USERS) {
        bt_cli_complain(usage, "-D: a user-property takes a name and a value; at most %d",
                        CMD_MQTT_MAX_USERS);
        return BT_CLI_BAD;
    }
    out->users[out->props.n_users].name = cmd_mqtt_slice(words[2]);
    out->users[out->props.n_users++].value = cmd_mqtt_slice(words[3]);
    out->props.users = out->users;
    return 4;
}

int cmd_mqtt_properties(const struct bt_cli_usage *usage, int argc, char **argv,
                        struct cmd_mqtt_opts *m)
{
    int kept = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-D") == 0 || strcmp(argv[i], "--property") == 0) {
            int used = one_property(usage, argc - i - 1, argv + i + 1, m);

            if (used < 0)
                return used;
            i += used;
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    return kept;
}

/* %41 becomes A, in place. False for anything else behind a percent sign, and for a NUL.
 */
static bool unescape(char *s)
{
    char *to = s;

    for (; *s != '\0'; s++) {
        if (*s == '%') {
            int high = bt_hex_digit(s[1]), low = high >= 0 ? bt_hex_digit(s[2]) : -1;

            if (low < 0 || high + low == 0)
                return false;
            *to++ = (char)(high << 4 | low);
            s += 2;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return true;
}

/* user[:password] in front of the host. */
static bool split_login(struct cmd_mqtt_opts *m, char *login)
{
    char *colon = strchr(login, ':');

    if (colon != NULL) {
        *colon = '\0';
        m->password = m->password != NULL ? m->password : colon + 1;
    }
    m->user = m->user != NULL ? m->user : login;
    return unescape(login) && (colon == NULL || unescape(colon + 1));
}

/* mqtt[s]://[user[:password]@]host[:port][/topic] */
static bool split_url(struct cmd_mqtt_opts *m)
{
    bool tls = strncmp(m->url, "mqtts://", strlen("mqtts://")) == 0;
    char *s = m->url_text + strlen(tls ? "mqtts://" : "mqtt://"), *slash, *at;

    if ((!tls && strncmp(m->url, "mqtt://", strlen("mqtt://")) != 0) ||
        strlen(m->url) >= sizeof(m->url_text))
        return false;
    snprintf(m->url_text, sizeof(m->url_text), "%s", m->url);
    slash = strchr(s, '/');
    if (slash != NULL) {
        *slash = '\0';
        m->url_topic = slash[1] != '\0' ? slash + 1 : NULL;
        if (!unescape(slash + 1))
            return false;
    }
    at = strrchr(s, '@');
    if (at != NULL) {
        *at = '\0';
        if (!split_login(m, s))
            return false;
        s = at + 1;
    }
    snprintf(m->address_text, sizeof(m->address_text), "%s://%.1000s",
             tls ? "ssl" : "tcp", s);
    m->address = m->address_text;
    return true;
}

static int finish_address(const struct bt_cli_usage *usage, struct cmd_mqtt_opts *m)
{
    char host[BT_CLIENT_HOST_LEN], port[8];
    const char *name = m->host != NULL ? m->host : "127.0.0.1";
    bool v6 = strchr(name, ':') != NULL;
    bool tls = m->cafile != NULL || m->cert != NULL || m->key != NULL || m->insecure;

    if ((m->url != NULL) + (m->address != NULL) + (m->host != NULL || m->port != 0) > 1)
        return bt_cli_complain(usage,
                               "give one of --url, --address, or --host with --port");
    if (m->url != NULL && !split_url(m))
        return bt_cli_complain(usage, "--url: write "
                                      "mqtt://user:password@host:port/topic");
    if (m->address == NULL) {
        snprintf(m->address_text, sizeof(m->address_text), "%s://%s%.900s%s:%u",
                 tls ? "ssl" : "tcp", v6 ? "[" : "", name, v6 ? "]" : "",
                 (unsigned)(m->port != 0 ? m->port
                            : tls        ? 8883
                                         : 1883));
        m->address = m->address_text;
    }
    if (strncmp(m->address, "unix://", 7) != 0 &&
        !bt_client_split_tcp(m->address, host, port))
        return bt_cli_complain(usage,
                               "%s is no address: write tcp://HOST:PORT, "
                               "ssl://HOST:PORT or unix:///PATH",
                               m->address);
    if (tls && !bt_client_is_tls(m->address))
        return bt_cli_complain(usage,
                               "--cafile, --cert, --key and --insecure are for TLS: "
                               "write ssl://HOST:PORT");
    m->conf.cafile = m->cafile;
    m->conf.cert = m->cert;
    m->conf.key = m->key;
    m->conf.insecure = m->insecure;
    m->conf.address = m->address;
    return 0;
}

static int finish_version(const struct bt_cli_usage *usage, struct cmd_mqtt_opts *m)
{
    uint8_t version = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(versions); i++) {
        if (strcmp(versions[i].name, m->version) == 0)
            version = versions[i].version;
    }
    if (version == 0)
        return bt_cli_complain(usage, "-V: the version is 31, 311 or 5");
    m->conf.connect.version = version;
    if (version == BT_MQTT_50)
        return 0;
    if (m->session_expiry != 0)
        return bt_cli_complain(usage, "-x needs -V 5");
    for (int i = 0; i < CMD_MQTT_WHERES; i++) {
        if (cmd_mqtt_props_of(m, (enum cmd_mqtt_where)i) != NULL)
            return bt_cli_complain(usage, "-D needs -V 5");
    }
    return 0;
}

static int finish_will(const struct bt_cli_usage *usage, struct cmd_mqtt_opts *m)
{
    struct bt_mqtt_will *will = &m->conf.connect.will;

    if (m->will_topic == NULL) {
        if (m->will_payload != NULL || m->will_qos != 0 || m->will_retain)
            return bt_cli_complain(usage, "a will needs --will-topic");
        return 0;
    }
    will->present = true;
    will->topic = cmd_mqtt_slice(m->will_topic);
    will->payload = cmd_mqtt_slice(m->will_payload);
    will->qos = (uint8_t)m->will_qos;
    will->retain = m->will_retain;
    will->props = m->props[CMD_MQTT_WILL].props;
    if (!bt_mqtt_topic_ok(will->topic))
        return bt_cli_complain(usage, "--will-topic: %s is no topic to publish to",
                               m->will_topic);
    return 0;
}

static int finish_session(const struct bt_cli_usage *usage, struct cmd_mqtt_opts *m,
                          const char *name)
{
    struct bt_mqtt_connect *c = &m->conf.connect;
    struct bt_mqtt_props *props = &m->conf.props;

    if (m->keep_session && m->id == NULL)
        return bt_cli_complain(usage, "-c needs --id: the session is kept under it");
    if (m->id == NULL) {
        snprintf(m->id_text, sizeof(m->id_text), "baetyl-%s-%d-%llx", name, (int)getpid(),
                 (unsigned long long)(bt_clock_us() & 0xffffff));
        m->id = m->id_text;
    }
    *props = m->props[CMD_MQTT_CONNECT].props;
    c->client_id = cmd_mqtt_slice(m->id);
    c->clean = !m->keep_session;
    c->keepalive = (uint16_t)m->keepalive;
    if (c->version == BT_MQTT_50 && (m->session_expiry != 0 || m->keep_session)) {
        props->present |= 1u << BT_MQTT_P_SESSION_EXPIRY;
        props->session_expiry = m->session_expiry != 0 ? m->session_expiry : UINT32_MAX;
    }
    return 0;
}

int cmd_mqtt_finish(const struct bt_cli_usage *usage, struct cmd_mqtt_opts *m,
                    const char *name)
{
    struct bt_mqtt_connect *c = &m->conf.connect;
    int r = finish_address(usage, m);

    if (r == 0)
        r = finish_version(usage, m);
    if (r == 0)
        r = finish_will(usage, m);
    if (r == 0)
        r = finish_session(usage, m, name);
    if (r != 0)
        return r;
    if (m->password != NULL && m->user == NULL && c->version != BT_MQTT_50)
        return bt_cli_complain(usage, "a password needs a user name: give -u, or -V 5");
    c->has_username = m->user != NULL;
    c->username = cmd_mqtt_slice(m->user);
    c->has_password = m->password != NULL;
    c->password = cmd_mqtt_slice(m->password);
    m->conf.timeout_ms = m->timeout * 1000;
    return 0;
}

int cmd_mqtt_explain(const struct bt_client *c, int r, bool quiet)
{
    /* Asked to stop: that is no failure. */
    if (r == 0 || r == BT_CLIENT_STOPPED)
        return BT_CLI_OK;
    if (!quiet)
        fprintf(stderr, "baetyl: %s\n",
                c->error[0] != '\0' ? c->error : bt_error_text(r));
    return r == BT_CLIENT_REFUSED ? CMD_MQTT_REFUSED : BT_CLI_FAILED;
}

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

void cmd_mqtt_signals(struct cmd_mqtt_opts *m)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    const struct sigaction end = { .sa_handler = on_signal };

    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    m->conf.stop = &stop;
}
