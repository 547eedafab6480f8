/* The hub's public face: its configuration, its module table entry and the in-process
 * client. The only hub header that other modules may include. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "core/conf.h"
#include "core/loop.h"
#include "core/module.h"

/* Named maxima. */
#define HUB_MAX_WORKERS   16u
#define HUB_MAX_LISTENERS 32u

enum hub_durability {
    HUB_DURABILITY_FULL,
    HUB_DURABILITY_BATCHED,
    HUB_DURABILITY_MEMORY
};
/* What gives way when a session's queue is full. */
enum hub_overflow { HUB_OVERFLOW_OLDEST, HUB_OVERFLOW_NEWEST };

struct hub_permission {
    uint32_t action; /* 0 pub, 1 sub */
    struct bt_conf_strings permit, deny;
};
/* What one client may use; 0 = no limit, or that of the hub where a principal says it. */
struct hub_client_limits {
    uint32_t connections;    /* of one principal at a time */
    uint32_t messages_rate;  /* PUBLISH packets a second */
    uint32_t messages_burst; /* as many at once; 0 = a second's worth */
    uint32_t subscriptions;
    uint32_t inflight;   /* unacknowledged deliveries */
    uint32_t queue;      /* deliveries waiting in memory */
    uint64_t bytes_rate; /* bytes read a second */
    uint64_t packet;     /* largest packet it may send */
};
struct hub_principal_conf {
    char *username;
    char *password;                                  /* NULL: a certificate principal */
    char *cert_cn, *cert_subject, *cert_fingerprint; /* demanded; NULL: any */
    struct bt_conf_list permissions;                 /* struct hub_permission */
    struct hub_client_limits limits;                 /* 0: as the hub's */
};
/* Certificate files of a TLS listener, PEM. */
enum hub_tls_version { HUB_TLS_12, HUB_TLS_13 };
struct hub_cert_conf {
    char *ca, *cert, *key, *crl;
    uint32_t require; /* of clients: enum bt_tls_require */
    uint32_t version; /* at least: enum hub_tls_version */
};
struct hub_listener_conf {
    char *address;
    uint32_t anonymous;             /* enum hub_anonymous */
    uint32_t max_connections;       /* 0 = that of the hub */
    uint64_t max_packet;            /* 0 = that of the hub */
    struct hub_cert_conf cert;      /* what is not given comes from the hub's */
    char *path;                     /* WebSocket: the only one; NULL = all */
    struct bt_conf_strings origins; /* WebSocket: none = all */
};
struct hub_rule_end {
    char *topic;
    uint32_t qos;
};
struct hub_rule_conf {
    struct hub_rule_end source, target;
};
struct hub_conf {
    struct bt_conf_strings listen;
    struct bt_conf_list listeners;  /* struct hub_listener_conf */
    struct hub_cert_conf cert;      /* of all TLS listeners without their own */
    bool anonymous;                 /* allow clients without a user name */
    struct bt_conf_list principals; /* struct hub_principal_conf */
    struct bt_conf_list rules;      /* struct hub_rule_conf, key `subscriptions` */
    uint32_t workers;               /* 0 = by the number of CPUs */
    uint64_t max_packet;            /* message.length.max */
    uint32_t max_levels;            /* topic levels */
    uint32_t max_topic;             /* topic bytes */
    uint32_t max_aliases;           /* topic aliases of one client */
    uint32_t max_client_id;         /* bytes */
    bool plain_client_id;           /* only 0-9 A-Z a-z _ - */
    bool check_payload;             /* of messages that say they are UTF-8 */
    char *response_topic;           /* told to clients that ask; NULL: nothing */
    int64_t max_session_expiry;     /* ms, 0 = no limit */
    int64_t max_keepalive;          /* ms, 0 = no limit */
    uint32_t max_connections;
    struct hub_client_limits client;             /* of every client */
    uint32_t connect_rate, connect_address_rate; /* a second, 0 = no limit */
    uint32_t connect_pending;                    /* connections without CONNECT */
    int64_t stall_receive, stall_send;           /* ms */
    uint32_t max_inflight; /* message.egress.qos1.buffer.size: unacknowledged deliveries
                              per session */
    uint32_t max_queued;   /* deliveries waiting in memory per session */
    uint64_t max_queued_bytes; /* output bytes waiting per connection before QoS 0 is
                                  dropped */
    int64_t connect_timeout;   /* ms from accept to CONNECT */
    int64_t session_expiry; /* ms a persistent 3.1.1 session is kept after disconnect; 0 =
                               for ever */
    uint32_t recorder_clients; /* clients whose last events are kept; 0 = none */
    int64_t sys_interval;      /* ms between updates of $SYS topics; 0 = none */
    char *storage_dir;
    char *durability_text;   /* as written; what it says is in the next two */
    uint32_t durability;     /* enum hub_durability */
    int64_t commit_interval; /* ms between the commits of HUB_DURABILITY_BATCHED */
    uint64_t max_memory;     /* bytes of messages, queues and output; 0 = no limit */
    uint64_t max_disk;       /* bytes of the store's files; 0 = no limit */
    uint32_t max_session_messages;         /* waiting for one session; 0 = no limit */
    uint64_t max_session_bytes;            /* the same, of payload and topics */
    uint32_t overflow_qos1, overflow_qos2; /* enum hub_overflow */
    int64_t retention, cleanup_interval;   /* ms; retention 0 = for ever */
    int64_t shutdown_timeout;              /* ms */
    bool status_logging;
    int64_t status_interval; /* ms */
    char *ports_file;        /* not a YAML key: set by --ports-file */
    uint64_t ignored_u64;    /* accepted, without effect */
    char *ignored_str;
    bool ignored_bool;
    int64_t ignored_ms;
};
extern const struct bt_conf_table hub_conf_table;
/* Certificates and folders as they are now, for `baetyl check`; blocks. conf is a struct
 * hub_conf that the table filled; reports to ctx. */
void hub_conf_check_files(struct bt_conf_ctx *ctx, const void *conf);
extern const struct bt_module_ops hub_module; /* instance type: struct hub */

/* ---- In-process client: the same session as a network client, without the socket. ----
 * All calls and callbacks on the loop given at open; payloads are shared, never copied.
 */
struct hub;
struct hub_client;
struct hub_msg;

/* One delivery. The receiver owns it and must pass it to hub_client_ack, or to
 * hub_delivery_free, exactly once. */
struct hub_delivery {
    struct bt_slice topic, payload;
    uint8_t qos; /* as delivered: min(message, subscription) */
    bool dup, retain;
    bool answered;         /* hub_client_answer has it */
    uint16_t pid;          /* 0 at QoS 0 */
    uint64_t token;        /* of the session's window */
    struct bt_slice props; /* of the message, encoded: bt_mqtt_props_read */
    struct hub_msg *msg;   /* holds topic, payload and properties */
};

struct hub_sub {
    const char *filter;
    uint8_t qos;
};
struct hub_client_opts {
    const char *client_id; /* required */
    const char *username;  /* NULL: trusted, everything permitted */
    const char *password;
    bool clean;
    uint16_t window; /* unacknowledged QoS 1 and 2 deliveries, 1..65535 */
    const struct hub_sub *subs;
    size_t n_subs;
    /* It answers by Response Topic: the hub refuses messages to its subscriptions whose
     * publisher may not itself publish to the Response Topic that they name. */
    bool guards;
    struct bt_loop *loop;
    void *arg;
    /* reason: BT_MQTT_SUCCESS or why the login or a subscription was refused. */
    void (*on_ready)(void *arg, unsigned reason);
    void (*on_message)(void *arg, struct hub_delivery *d);
    /* What an earlier client of the session had and did not acknowledge has been
     * delivered again. Of what has not come by now the result was safe, or it was
     * dropped. NULL: not asked for. */
    void (*on_resent)(void *arg);
    /* The publish with this token is safe (after the commit) or was refused (reason >=
     * 0x80). */
    void (*on_published)(void *arg, uint64_t token, unsigned reason);
    /* Taken over or hub stopping; no callback follows. Still call hub_client_close. */
    void (*on_closed)(void *arg, unsigned reason);
};

/* 0 or BT_ENOMEM/BT_EINVAL. Strings are copied. on_ready follows. */
int hub_client_open(struct hub *hub, const struct hub_client_opts *opts,
                    struct hub_client **out) BT_MUST_CHECK;
/* Publish; topic and payload are copied once. on_published(token) follows for QoS 1 and
 * 2.
 * BT_EINVAL for a bad topic, BT_ELIMIT when the message is larger than hub_max_payload,
 * BT_ECLOSED. */
int hub_client_publish(struct hub_client *c, const char *topic, struct bt_slice payload,
                       uint8_t qos, bool retain, uint64_t token) BT_MUST_CHECK;
/* The same, at QoS 1 or 2, for the result of a delivery of this client at QoS 1 or 2: it
 * is acknowledged when the result is safe, at QoS 2 in the same transaction, so that a
 * crash does not double the result. input stays the caller's: hub_client_ack it after
 * on_published all the same. A result is published once only: for a delivery that an
 * earlier one, by this or an earlier client of the session, has acknowledged, nothing is
 * published and on_published says success; while the earlier one is on its way, refused
 * (BT_MQTT_PID_IN_USE). */
int hub_client_answer(struct hub_client *c, struct hub_delivery *input, const char *topic,
                      struct bt_slice payload, uint8_t qos, uint64_t token) BT_MUST_CHECK;
/* The two above with properties: the block that bt_mqtt_encode_props makes, without its
 * length. They count as payload where the size is limited. */
struct hub_publish {
    struct bt_slice topic, payload, props;
    uint8_t qos;
    bool retain;
    uint64_t token;
    struct hub_delivery *input; /* NULL, or as for hub_client_answer */
};
int hub_client_send(struct hub_client *c, const struct hub_publish *p) BT_MUST_CHECK;
/* Takes d. ok false: not processed; QoS 1 and 2 are delivered again when the session next
 * connects. ok true at QoS 2: PUBREC and PUBCOMP in one. */
void hub_client_ack(struct hub_client *c, struct hub_delivery *d, bool ok);
/* After on_ready: the hub had no session of this client id and user, so nothing will be
 * delivered again. */
bool hub_client_is_new(const struct hub_client *c);
/* Takes d without acknowledging it; also after its client was closed. */
void hub_delivery_free(struct hub_delivery *d);
/* Disconnect (a persistent session stays) and free; also from inside a callback. What is
 * still held goes to hub_delivery_free. No callback follows. */
void hub_client_close(struct hub_client *c);
/* Whether a listener of this hub has this TCP port; port 0: this path as a Unix socket.
 * Any thread, between create and free. */
bool hub_has_listener(const struct hub *hub, unsigned port, const char *path);
/* Largest payload that a publish to a topic of this length may have. */
size_t hub_max_payload(const struct hub *hub, size_t topic_len);

#endif
