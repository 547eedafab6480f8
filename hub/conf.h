/* Checks of the hub's configuration that look at more than one value. Private to
 * hub/conf*.c. */
#ifndef HUB_CONF_H
#define HUB_CONF_H

#include "hub/hub.h"

extern const char *const hub_conf_requires[]; /* by enum bt_tls_require */
extern const char *const hub_conf_versions[]; /* by enum hub_tls_version */
/* The rows of a struct hub_cert_conf member `cert` of type. */
#define HUB_CERT_ROWS(type)                                                           \
    BT_CONF_ROW(type, "certificate.ca", STRING, cert.ca, NULL,                        \
                "TLS: file of the CA whose client certificates are accepted.",        \
                .flags = BT_CONF_PATH),                                               \
        BT_CONF_ROW(type, "certificate.cert", STRING, cert.cert, NULL,                \
                    "TLS: file of the certificate that is shown, with its chain.",    \
                    .flags = BT_CONF_PATH),                                           \
        BT_CONF_ROW(type, "certificate.key", STRING, cert.key, NULL,                  \
                    "TLS: file of its private key.", .flags = BT_CONF_PATH),          \
        BT_CONF_ROW(type, "certificate.crl", STRING, cert.crl, NULL,                  \
                    "TLS: file of the client certificates that the CA has revoked.",  \
                    .flags = BT_CONF_PATH),                                           \
        BT_CONF_ROW(type, "certificate.require", ENUM, cert.require, "optional",      \
                    "TLS: whether a client must show a certificate (none: it is not " \
                    "asked). Without a CA none is asked for.",                        \
                    .choices = hub_conf_requires),                                    \
        BT_CONF_ROW(type, "certificate.version", ENUM, cert.version, "1.2",           \
                    "TLS: the lowest version that is spoken.",                        \
                    .choices = hub_conf_versions)

/* The rows of a struct hub_client_limits member `l` of type. zero: what 0 stands for. */
#define HUB_CLIENT_ROWS(type, prefix, l, zero, ...)                                    \
    BT_CONF_ROW(type, prefix "connections", U32, l.connections, "0",                   \
                "Connections of one user at a time" zero, __VA_ARGS__),                \
        BT_CONF_ROW(                                                                   \
            type, prefix "messages.rate", U32, l.messages_rate, "0",                   \
            "PUBLISH packets a second; a client that is faster is made to wait" zero,  \
            __VA_ARGS__),                                                              \
        BT_CONF_ROW(                                                                   \
            type, prefix "messages.burst", U32, l.messages_burst, "0",                 \
            "PUBLISH packets that may come at once (without: those of a second)" zero, \
            __VA_ARGS__),                                                              \
        BT_CONF_ROW(type, prefix "bytes.rate", BYTES, l.bytes_rate, "0",               \
                    "Bytes a second; a client that is faster is made to wait" zero,    \
                    __VA_ARGS__, .max = INT64_MAX),                                    \
        BT_CONF_ROW(type, prefix "packet", BYTES, l.packet, "0",                       \
                    "Largest packet that a client may send" zero, __VA_ARGS__,         \
                    .max = INT64_MAX),                                                 \
        BT_CONF_ROW(type, prefix "subscriptions", U32, l.subscriptions, "0",           \
                    "Subscriptions of one client, at most 4096" zero, __VA_ARGS__),    \
        BT_CONF_ROW(type, prefix "inflight", U32, l.inflight, "0",                     \
                    "Unacknowledged deliveries of one client" zero, __VA_ARGS__),      \
        BT_CONF_ROW(type, prefix "queue", U32, l.queue, "0",                           \
                    "Deliveries waiting in memory for one client" zero, __VA_ARGS__)

/* The rules of spec A.5 that concern configured topics, for limits of conf. wild: filters
 * are allowed. */
bool hub_conf_topic_ok(const char *topic, bool wild);
/* Addresses. The first reports one that is wrong to ctx and returns whether it is right.
 */
bool hub_conf_check_address(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                            const char *text);
void hub_conf_check_listen(struct bt_conf_ctx *ctx, struct hub_conf *conf);
extern const struct bt_conf_table hub_listener_table;
/* Rules: pairs given twice, and cycles. Every rule by itself is valid. Reports to ctx. */
void hub_conf_check_rules(struct bt_conf_ctx *ctx, const struct hub_conf *conf);
/* Durability and budgets (hub/conf_store.c): fills what durability_text says. */
void hub_conf_check_store(struct bt_conf_ctx *ctx, struct hub_conf *conf);

#endif
