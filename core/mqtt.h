/* MQTT 3.1, 3.1.1 and 5.0 packets: encode and decode, no I/O, no allocation in the
 * decoder. Decoded strings and payloads are slices that borrow the input. Any thread.
 * Used by the hub, the bridge, the agent and the command-line clients, so it lives in
 * core. */
#ifndef CORE_MQTT_H
#define CORE_MQTT_H

#include "core/base.h"
#include "core/buf.h"

/* MQTT 5.0 §2.1.2 */
enum bt_mqtt_type {
    BT_MQTT_CONNECT = 1,
    BT_MQTT_CONNACK,
    BT_MQTT_PUBLISH,
    BT_MQTT_PUBACK,
    BT_MQTT_PUBREC,
    BT_MQTT_PUBREL,
    BT_MQTT_PUBCOMP,
    BT_MQTT_SUBSCRIBE,
    BT_MQTT_SUBACK,
    BT_MQTT_UNSUBSCRIBE,
    BT_MQTT_UNSUBACK,
    BT_MQTT_PINGREQ,
    BT_MQTT_PINGRESP,
    BT_MQTT_DISCONNECT,
    BT_MQTT_AUTH,
};
enum bt_mqtt_version { BT_MQTT_31 = 3, BT_MQTT_311 = 4, BT_MQTT_50 = 5 };
#define BT_MQTT_MAX_REMAINING 268435455u

/* Conditions of the decoder (> 0): the standard's reason code to answer with (MQTT 5.0
 * §2.4). */
enum bt_mqtt_reason {
    BT_MQTT_SUCCESS = 0x00,
    BT_MQTT_GRANTED_QOS1 = 0x01,
    BT_MQTT_GRANTED_QOS2 = 0x02,
    BT_MQTT_DISCONNECT_WITH_WILL = 0x04,
    BT_MQTT_NO_MATCHING_SUBSCRIBERS = 0x10,
    BT_MQTT_NO_SUBSCRIPTION_EXISTED = 0x11,
    BT_MQTT_CONTINUE_AUTH = 0x18,
    BT_MQTT_REAUTHENTICATE = 0x19,
    BT_MQTT_UNSPECIFIED = 0x80,
    BT_MQTT_MALFORMED = 0x81,
    BT_MQTT_PROTOCOL_ERROR = 0x82,
    BT_MQTT_IMPLEMENTATION = 0x83,
    BT_MQTT_BAD_VERSION = 0x84,
    BT_MQTT_BAD_CLIENT_ID = 0x85,
    BT_MQTT_BAD_LOGIN = 0x86,
    BT_MQTT_NOT_AUTHORIZED = 0x87,
    BT_MQTT_UNAVAILABLE = 0x88,
    BT_MQTT_BUSY = 0x89,
    BT_MQTT_BANNED = 0x8a,
    BT_MQTT_SHUTTING_DOWN = 0x8b,
    BT_MQTT_BAD_AUTH_METHOD = 0x8c,
    BT_MQTT_KEEPALIVE_TIMEOUT = 0x8d,
    BT_MQTT_TAKEN_OVER = 0x8e,
    BT_MQTT_BAD_FILTER = 0x8f,
    BT_MQTT_BAD_TOPIC = 0x90,
    BT_MQTT_PID_IN_USE = 0x91,
    BT_MQTT_PID_NOT_FOUND = 0x92,
    BT_MQTT_RECEIVE_MAX = 0x93,
    BT_MQTT_BAD_ALIAS = 0x94,
    BT_MQTT_TOO_LARGE = 0x95,
    BT_MQTT_RATE = 0x96,
    BT_MQTT_QUOTA = 0x97,
    BT_MQTT_ADMIN = 0x98,
    BT_MQTT_BAD_PAYLOAD = 0x99,
    BT_MQTT_NO_RETAIN = 0x9a,
    BT_MQTT_NO_QOS = 0x9b,
    BT_MQTT_USE_ANOTHER = 0x9c,
    BT_MQTT_MOVED = 0x9d,
    BT_MQTT_NO_SHARED = 0x9e,
    BT_MQTT_CONN_RATE = 0x9f,
    BT_MQTT_MAX_CONNECT_TIME = 0xa0,
    BT_MQTT_NO_SUBIDS = 0xa1,
    BT_MQTT_NO_WILDCARDS = 0xa2,
};
/* Fixed English text of a reason code; never NULL. */
const char *bt_mqtt_reason_text(unsigned reason);
/* The CONNACK return code of MQTT 3.1.1 §3.2.2.3 (1..5) for a version 5 reason. */
uint8_t bt_mqtt_connack_v3(unsigned reason);
/* The other way round. */
uint8_t bt_mqtt_connack_v5(unsigned code);

/* All properties of MQTT 5.0 §2.2.2.2. Bit BT_MQTT_P_x of `present` says which were
 * there; a member without its bit is 0, which is not always the standard's default. */
enum bt_mqtt_prop {
    BT_MQTT_P_PAYLOAD_FORMAT,
    BT_MQTT_P_MESSAGE_EXPIRY,
    BT_MQTT_P_CONTENT_TYPE,
    BT_MQTT_P_RESPONSE_TOPIC,
    BT_MQTT_P_CORRELATION_DATA,
    BT_MQTT_P_SUBSCRIPTION_ID,
    BT_MQTT_P_SESSION_EXPIRY,
    BT_MQTT_P_ASSIGNED_CLIENT_ID,
    BT_MQTT_P_SERVER_KEEPALIVE,
    BT_MQTT_P_AUTH_METHOD,
    BT_MQTT_P_AUTH_DATA,
    BT_MQTT_P_REQUEST_PROBLEM,
    BT_MQTT_P_WILL_DELAY,
    BT_MQTT_P_REQUEST_RESPONSE,
    BT_MQTT_P_RESPONSE_INFO,
    BT_MQTT_P_SERVER_REFERENCE,
    BT_MQTT_P_REASON_STRING,
    BT_MQTT_P_RECEIVE_MAX,
    BT_MQTT_P_TOPIC_ALIAS_MAX,
    BT_MQTT_P_TOPIC_ALIAS,
    BT_MQTT_P_MAX_QOS,
    BT_MQTT_P_RETAIN_AVAILABLE,
    BT_MQTT_P_USER,
    BT_MQTT_P_MAX_PACKET,
    BT_MQTT_P_WILDCARDS_AVAILABLE,
    BT_MQTT_P_SUBIDS_AVAILABLE,
    BT_MQTT_P_SHARED_AVAILABLE,
    BT_MQTT_P_COUNT,
};
#define BT_MQTT_MAX_SUBIDS 16
struct bt_mqtt_props {
    uint32_t present; /* bit per enum bt_mqtt_prop */
    uint8_t payload_format, request_problem, request_response, max_qos, retain_available;
    uint8_t wildcards_available, subids_available, shared_available;
    uint16_t server_keepalive, receive_max, topic_alias_max, topic_alias;
    uint32_t message_expiry, session_expiry, will_delay, max_packet;
    struct bt_slice content_type, response_topic, correlation_data, assigned_client_id;
    struct bt_slice auth_method, auth_data, response_info, server_reference;
    struct bt_slice reason_string;
    /* Decoder: the whole block as received, without its length; bt_mqtt_user_next reads
     * the user properties from it. The encoder does not look at it. */
    struct bt_slice raw;
    /* The first BT_MQTT_MAX_SUBIDS subscription identifiers. The encoder writes n_subids
     * of them and n_users of users, whatever `present` says. */
    uint32_t subids[BT_MQTT_MAX_SUBIDS];
    uint8_t n_subids;
    const struct bt_mqtt_user *users; /* encoder only */
    uint16_t n_users;
};
struct bt_mqtt_user {
    struct bt_slice name, value;
};
/* Iterate user properties of a decoded block: *pos starts at 0; false at the end. */
bool bt_mqtt_user_next(struct bt_slice raw, size_t *pos, struct bt_mqtt_user *out);

/* A block without its length, as the hub keeps it with a message: checked for packets of
 * type `where`. *out must be zero and borrows raw. 0 or a reason code. */
int bt_mqtt_props_read(struct bt_slice raw, unsigned where,
                       struct bt_mqtt_props *out) BT_MUST_CHECK;
/* Set one property from text, for command lines. name is the standard's with dashes
 * ("content-type"), where a packet type or 0 for the will. The text is borrowed.
 * BT_EINVAL: unknown name (user properties go by users), not allowed there, or the value
 * is wrong. */
int bt_mqtt_prop_set_text(struct bt_mqtt_props *props, unsigned where, const char *name,
                          const char *value) BT_MUST_CHECK;

struct bt_mqtt_will {
    bool present, retain;
    uint8_t qos;
    struct bt_slice topic, payload;
    struct bt_mqtt_props props;
};
struct bt_mqtt_connect {
    uint8_t version; /* enum bt_mqtt_version */
    bool clean, has_username, has_password;
    uint16_t keepalive; /* seconds, 0 = off */
    struct bt_slice client_id, username, password;
    struct bt_mqtt_will will;
};
struct bt_mqtt_publish {
    bool dup, retain;
    uint8_t qos;
    uint16_t pid; /* 0 at QoS 0 */
    struct bt_slice topic, payload;
};
struct bt_mqtt_sub { /* SUBSCRIBE entry, MQTT 5.0 §3.8.3.1 */
    struct bt_slice filter;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling;
};

/* One decoded packet. */
struct bt_mqtt_packet {
    uint8_t type, flags; /* fixed header nibbles */
    uint16_t pid;        /* acks, (un)subscribe, (un)suback */
    uint8_t reason; /* CONNACK, acks, DISCONNECT, AUTH; v3 CONNACK: its return code */
    bool session_present; /* CONNACK */
    struct bt_mqtt_props props;
    union {
        struct bt_mqtt_connect connect;
        struct bt_mqtt_publish publish;
    };
    /* SUBSCRIBE, UNSUBSCRIBE: entries for bt_mqtt_sub_next and bt_mqtt_filter_next;
     * SUBACK, UNSUBACK: reason bytes (none in a version 3 UNSUBACK). */
    struct bt_slice list;
};

/* Frame: looks at the start of a stream. Returns 0 and the whole packet's length in *out
 * (header included; the bytes may not all be there yet), 1 when more bytes are needed to
 * know, or BT_MQTT_MALFORMED when the length is not a valid variable byte integer
 * (§1.5.5) or the fixed header flags are wrong for the type (§2.1.3). */
int bt_mqtt_frame(const uint8_t *p, size_t n, size_t *out);
#define BT_MQTT_MORE 1

/* Decode one whole packet of exactly n bytes. version: 0 before CONNECT (which is then
 * the only packet accepted), else the connection's (CONNECT is then a protocol error).
 * Either side's packets are read; what only one side may send is the caller's to check.
 * 0, or a reason code (> 0) and *out is filled as far as it was read:
 *
 * BT_MQTT_MALFORMED, BT_MQTT_PROTOCOL_ERROR: all that the standard calls so within one
 * packet, UTF-8 included.
 *
 * BT_MQTT_BAD_VERSION: out->connect.version holds the level that was asked for.
 *
 * BT_MQTT_BAD_CLIENT_ID: empty, at 3.1.1 without clean session, at 3.1 always.
 *
 * BT_MQTT_BAD_TOPIC: a wildcard in a topic name (will included), an empty will topic.
 *
 * BT_MQTT_BAD_ALIAS: topic alias 0. */
int bt_mqtt_decode(const uint8_t *p, size_t n, uint8_t version,
                   struct bt_mqtt_packet *out);
/* The hot path: PUBLISH only, same checks. Fills *out and, for version 5, *props (which
 * may be NULL before version 5). An empty topic comes with a topic alias. */
int bt_mqtt_decode_publish(const uint8_t *p, size_t n, uint8_t version,
                           struct bt_mqtt_publish *out, struct bt_mqtt_props *props);
/* *pos starts at 0; false at the end. The list was validated by bt_mqtt_decode, the
 * filters in it only as UTF-8: bt_mqtt_filter_ok is the caller's, one by one. */
bool bt_mqtt_sub_next(struct bt_slice list, uint8_t version, size_t *pos,
                      struct bt_mqtt_sub *out);
bool bt_mqtt_filter_next(struct bt_slice list, size_t *pos, struct bt_slice *filter);

/* Encode: append a whole packet to b, or nothing. 0, BT_ENOMEM, BT_ELIMIT (a text above
 * 65535 bytes, or the packet too long), BT_EINVAL (the packet cannot be said: QoS 3,
 * packet identifier 0, empty list, AUTH in version 3, ...). Texts are not checked.
 * Towards version 3 props are left out and reasons become the nearest that version knows.
 * props may be NULL. */
int bt_mqtt_encode_connect(struct bt_buf *b, const struct bt_mqtt_connect *c,
                           const struct bt_mqtt_props *props);
int bt_mqtt_encode_connack(struct bt_buf *b, uint8_t version, bool session_present,
                           uint8_t reason, const struct bt_mqtt_props *props);
int bt_mqtt_encode_publish(struct bt_buf *b, uint8_t version,
                           const struct bt_mqtt_publish *p,
                           const struct bt_mqtt_props *props);
/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
int bt_mqtt_encode_ack(struct bt_buf *b, uint8_t version, enum bt_mqtt_type type,
                       uint16_t pid, uint8_t reason, const struct bt_mqtt_props *props);
int bt_mqtt_encode_subscribe(struct bt_buf *b, uint8_t version, uint16_t pid,
                             const struct bt_mqtt_sub *subs, size_t n,
                             const struct bt_mqtt_props *props);
int bt_mqtt_encode_unsubscribe(struct bt_buf *b, uint8_t version, uint16_t pid,
                               const struct bt_slice *filters, size_t n,
                               const struct bt_mqtt_props *props);
int bt_mqtt_encode_suback(struct bt_buf *b, uint8_t version, enum bt_mqtt_type type,
                          uint16_t pid, const uint8_t *reasons, size_t n,
                          const struct bt_mqtt_props *props);
/* PINGREQ, PINGRESP; DISCONNECT and AUTH take a reason. */
int bt_mqtt_encode_simple(struct bt_buf *b, uint8_t version, enum bt_mqtt_type type,
                          uint8_t reason, const struct bt_mqtt_props *props);
/* The property block (length prefix included) alone, for callers that build packets in
 * place. */
int bt_mqtt_encode_props(struct bt_buf *b, const struct bt_mqtt_props *props);
/* Variable byte integer §1.5.5: writes 1..4 bytes to p, returns how many. */
size_t bt_mqtt_varint(uint8_t *p, uint32_t v);

/* Topic rules shared by all: MQTT 5.0 §4.7, limits by the caller. */
bool bt_mqtt_utf8_ok(struct bt_slice s); /* well-formed, no U+0000, no surrogates */
/* Non-empty, at most 65535 bytes, no wildcard, UTF-8. */
bool bt_mqtt_topic_ok(struct bt_slice topic);
/* The same with well placed wildcards; $share/name/filter must be complete. */
bool bt_mqtt_filter_ok(struct bt_slice filter);
/* Level-wise match §4.7.1; wildcards at the first level do not match topics that begin
 * with $. */
bool bt_mqtt_match(struct bt_slice filter, struct bt_slice topic);
/* True when every topic that `filter` can match is matched by `permit` (access control).
 * Of a shared subscription the part behind $share/name/ counts. */
bool bt_mqtt_covers(struct bt_slice permit, struct bt_slice filter);

#endif
