/* What `pub` and `sub` have in common: the options of a connection, made into a client's
 * configuration. Main thread. */
#ifndef CORE_CMD_MQTT_H
#define CORE_CMD_MQTT_H

#include "core/cli.h"
#include "core/mqtt_client.h"

/* Exit statuses of pub and sub beyond enum bt_cli_exit. */
#define CMD_MQTT_REFUSED 5  /* the broker said no */
#define CMD_MQTT_TIMEOUT 27 /* time was up; the number is mosquitto's */
#define CMD_MQTT_EXITS                                                                 \
    "\nExit status: 0 done; 1 the connection failed or was lost; 2 the command line\n" \
    "is wrong; 5 the broker refused the login, the message or all subscriptions;\n"    \
    "27 the time was up."

#define CMD_MQTT_TEXT_LEN  1024
#define CMD_MQTT_MAX_USERS 32

/* Properties of one packet given with -D. */
struct cmd_mqtt_props {
    struct bt_mqtt_props props;
    struct bt_mqtt_user users[CMD_MQTT_MAX_USERS];
};

enum cmd_mqtt_where {
    CMD_MQTT_CONNECT,
    CMD_MQTT_PUBLISH,
    CMD_MQTT_WILL,
    CMD_MQTT_SUBSCRIBE,
    CMD_MQTT_UNSUBSCRIBE,
    CMD_MQTT_DISCONNECT,
    CMD_MQTT_WHERES,
};

struct cmd_mqtt_opts {
    const char *host, *url, *address, *id, *user, *password, *version;
    const char *will_topic, *will_payload, *cafile, *cert, *key;
    uint32_t port, keepalive, session_expiry, qos, will_qos, timeout;
    bool keep_session, will_retain, insecure;
    struct cmd_mqtt_props props[CMD_MQTT_WHERES];
    /* Made from the options: */
    const char *url_topic; /* of --url, or NULL */
    struct bt_client_conf conf;
    char address_text[CMD_MQTT_TEXT_LEN], id_text[40], url_text[CMD_MQTT_TEXT_LEN];
};

/* The rows for a struct `type` that has a `struct cmd_mqtt_opts m`. */
#define CMD_MQTT_OPTS(type)                                                              \
    BT_CLI_OPT(type, "host", 'h', STRING, m.host, "HOST", "Broker's host (127.0.0.1)."), \
        BT_CLI_OPT(type, "port", 'p', U32, m.port, "PORT",                               \
                   "Broker's port (1883, with TLS 8883).", .min = 1, .max = 65535),      \
        BT_CLI_OPT(type, "url", 'L', STRING, m.url, "URL",                               \
                   "mqtt:// or mqtts://user:password@host:port/topic in one."),          \
        BT_CLI_OPT(type, "address", 0, STRING, m.address, "ADDRESS",                     \
                   "tcp://HOST:PORT, ssl://HOST:PORT or unix:///PATH."),                 \
        BT_CLI_OPT(type, "cafile", 0, STRING, m.cafile, "FILE",                          \
                   "TLS: CA of the broker's certificate (the system's)."),               \
        BT_CLI_OPT(type, "cert", 0, STRING, m.cert, "FILE",                              \
                   "TLS: the client's certificate."),                                    \
        BT_CLI_OPT(type, "key", 0, STRING, m.key, "FILE",                                \
                   "TLS: the key of that certificate."),                                 \
        BT_CLI_OPT(type, "insecure", 0, FLAG, m.insecure, NULL,                          \
                   "TLS: take any certificate of the broker."),                          \
        BT_CLI_OPT(type, "qos", 'q', U32, m.qos, "QOS", "Quality of service 0, 1 or 2.", \
                   .max = 2),                                                            \
        BT_CLI_OPT(type, "id", 'i', STRING, m.id, "ID", "Client identifier."),           \
        BT_CLI_OPT(type, "username", 'u', STRING, m.user, "NAME", "User name."),         \
        BT_CLI_OPT(type, "pw", 'P', STRING, m.password, "PASSWORD", "Password."),        \
        BT_CLI_OPT(type, "keepalive", 'k', U32, m.keepalive, "SECONDS",                  \
                   "Ping after this much silence (60, 0 = never).", .max = 65535),       \
        BT_CLI_OPT(type, "disable-clean-session", 'c', FLAG, m.keep_session, NULL,       \
                   "Keep the session when this ends; needs --id."),                      \
        BT_CLI_OPT(type, "session-expiry-interval", 'x', U32, m.session_expiry,          \
                   "SECONDS", "How long the session is kept; needs -V 5."),              \
        BT_CLI_OPT(type, "protocol-version", 'V', STRING, m.version, "VERSION",          \
                   "31, 311 (default) or 5."),                                           \
        BT_CLI_OPT(type, "timeout", 0, U32, m.timeout, "SECONDS",                        \
                   "For connecting and for each answer (20).", .min = 1, .max = 86400),  \
        BT_CLI_OPT(type, "will-topic", 0, STRING, m.will_topic, "TOPIC",                 \
                   "Topic of the will."),                                                \
        BT_CLI_OPT(type, "will-payload", 0, STRING, m.will_payload, "TEXT",              \
                   "Message of the will."),                                              \
        BT_CLI_OPT(type, "will-qos", 0, U32, m.will_qos, "QOS", "QoS of the will.",      \
                   .max = 2),                                                            \
        BT_CLI_OPT(type, "will-retain", 0, FLAG, m.will_retain, NULL,                    \
                   "The will is retained.")
/* The line about -D for the help; its words are no ordinary option. */
#define CMD_MQTT_PROPERTY_HELP                                                        \
    "\n-D, --property PACKET NAME VALUE sets a property of CONNECT, PUBLISH, WILL,\n" \
    "SUBSCRIBE, UNSUBSCRIBE or DISCONNECT (needs -V 5), for example\n"                \
    "-D publish content-type text/plain; user-property takes a name and a value.\n"

/* Defaults. */
void cmd_mqtt_init(struct cmd_mqtt_opts *m);
/* Take -D and its words out of argv and into m. Returns the new argc, or BT_CLI_BAD after
 * saying what is wrong. */
int cmd_mqtt_properties(const struct bt_cli_usage *usage, int argc, char **argv,
                        struct cmd_mqtt_opts *m);
/* Check the options against each other and fill m->conf. 0 or the exit status after
 * saying what is wrong. name: "pub", for the client identifier made up when there is
 * none. */
int cmd_mqtt_finish(const struct bt_cli_usage *usage, struct cmd_mqtt_opts *m,
                    const char *name);
/* Say on standard error why the client failed, unless quiet; returns the exit status. */
int cmd_mqtt_explain(const struct bt_client *c, int r, bool quiet);
/* The properties of one kind of packet, or NULL when there are none. */
const struct bt_mqtt_props *cmd_mqtt_props_of(const struct cmd_mqtt_opts *m,
                                              enum cmd_mqtt_where where);
struct bt_slice cmd_mqtt_slice(const char *s);
/* SIGINT and SIGTERM set a flag that conf.stop points to; a closed pipe is an error of
 * write. */
void cmd_mqtt_signals(struct cmd_mqtt_opts *m);

#endif
