/* The hub's metrics: tables, one row a metric, and the walk that adds a worker's locals
 * to them. The arrays of struct hub_counts are walked only in a turn that touched them,
 * which a turn of QoS 0 traffic does not. */
#include "hub/observe/stats.h"

#include <string.h>

#include "core/mqtt.h"
#include "hub/hub.h"

#define HUB_METRIC(name, kind, help) BT_METRIC("baetyl_hub_" name, kind, help)

/* ---- Plain counters and levels of a worker ---- */

static struct bt_metric m_received =
    HUB_METRIC("messages_received_total", BT_COUNTER, "PUBLISH packets accepted.");
static struct bt_metric m_sent =
    HUB_METRIC("messages_sent_total", BT_COUNTER, "PUBLISH packets sent.");
static struct bt_metric m_bytes_in =
    HUB_METRIC("bytes_received_total", BT_COUNTER, "Bytes read from clients.");
static struct bt_metric m_bytes_out =
    HUB_METRIC("bytes_sent_total", BT_COUNTER, "Bytes written to clients.");
static struct bt_metric m_payload_in = HUB_METRIC(
    "payload_bytes_received_total", BT_COUNTER, "Payload bytes of accepted messages.");
static struct bt_metric m_payload_out =
    HUB_METRIC("payload_bytes_sent_total", BT_COUNTER, "Payload bytes of messages sent.");
static struct bt_metric m_queued =
    HUB_METRIC("queued_messages", BT_GAUGE,
               "Deliveries in memory that are not acknowledged yet, in flight included.");
static struct bt_metric m_inflight =
    HUB_METRIC("inflight_messages", BT_GAUGE, "Deliveries sent and not acknowledged.");
static struct bt_metric m_output = HUB_METRIC(
    "output_bytes", BT_GAUGE, "Bytes waiting for sockets that take no more for now.");

/* ---- Counted where it happens ---- */

struct bt_metric hub_m_conns =
    HUB_METRIC("connections", BT_GAUGE, "Network connections open now.");
struct bt_metric hub_m_accepted =
    HUB_METRIC("connections_accepted_total", BT_COUNTER, "Network connections opened.");
struct bt_metric hub_m_online =
    BT_METRIC_OF("baetyl_hub_sessions", BT_GAUGE, "state=\"online\"", "Sessions.");
struct bt_metric hub_m_offline =
    BT_METRIC_OF("baetyl_hub_sessions", BT_GAUGE, "state=\"offline\"", "Sessions.");
struct bt_metric hub_m_online_max = HUB_METRIC(
    "sessions_online_max", BT_GAUGE, "Most sessions online at once since the start.");
struct bt_metric hub_m_expired = HUB_METRIC("sessions_expired_total", BT_COUNTER,
                                            "Sessions that expired while offline.");
struct bt_metric hub_m_subs =
    HUB_METRIC("subscriptions", BT_GAUGE, "Subscriptions, shared ones included.");
struct bt_metric hub_m_shared_subs =
    HUB_METRIC("shared_subscriptions", BT_GAUGE, "Members of shared subscriptions.");
struct bt_metric hub_m_retained =
    HUB_METRIC("retained_messages", BT_GAUGE, "Retained messages.");
struct bt_metric hub_m_retained_bytes = HUB_METRIC(
    "retained_bytes", BT_GAUGE, "Topics, properties and payloads of retained messages.");

#define TRANSPORT(label)                                       \
    BT_METRIC_OF("baetyl_hub_transport_connections", BT_GAUGE, \
                 "transport=\"" label "\"", "Network connections by transport.")
struct bt_metric hub_m_transport[HUB_N_TRANSPORTS] = {
    [HUB_TRANSPORT_TCP] = TRANSPORT("tcp"),   [HUB_TRANSPORT_TLS] = TRANSPORT("tls"),
    [HUB_TRANSPORT_WS] = TRANSPORT("ws"),     [HUB_TRANSPORT_WSS] = TRANSPORT("wss"),
    [HUB_TRANSPORT_UNIX] = TRANSPORT("unix"),
};

/* ---- Drops ---- */

#define DROP_METRIC(name, label, text)                            \
    BT_METRIC_OF("baetyl_hub_messages_dropped_total", BT_COUNTER, \
                 "reason=\"" label "\"", "Deliveries that did not happen, by reason."),
static struct bt_metric m_dropped[HUB_N_DROPS] = { HUB_DROPS(DROP_METRIC) };

#define DROP_LABEL(name, label, text) label,
#define DROP_TEXT(name, label, text)  text,

const char *hub_drop_label(enum hub_drop why)
{
    static const char *const labels[] = { HUB_DROPS(DROP_LABEL) };

    return labels[why];
}

const char *hub_drop_text(enum hub_drop why)
{
    static const char *const texts[] = { HUB_DROPS(DROP_TEXT) };

    return texts[why];
}

void hub_count_drops(enum hub_drop why, uint64_t n)
{
    if (n > 0)
        bt_metric_add(&m_dropped[why], (int64_t)n);
}

/* ---- Refusals ---- */

#define CONNECT_L   "connect"
#define PUBLISH_L   "publish"
#define SUBSCRIBE_L "subscribe"
#define REFUSED(what, code, label)                                            \
    {                                                                         \
        HUB_REFUSED_##what, code,                                             \
            BT_METRIC_OF("baetyl_hub_refused_total", BT_COUNTER,              \
                         "what=\"" what##_L "\",reason=\"" label "\"",        \
                         "Refused connections, publishes and subscriptions.") \
    }
/* Code 0 ends the rows of one kind and counts all that have no row. */
static struct {
    enum hub_refusal what;
    uint8_t code;
    struct bt_metric metric;
} refusals[] = {
    REFUSED(CONNECT, BT_MQTT_BAD_LOGIN, "bad_login"),
    REFUSED(CONNECT, BT_MQTT_NOT_AUTHORIZED, "not_authorized"),
    REFUSED(CONNECT, BT_MQTT_BAD_CLIENT_ID, "bad_client_id"),
    REFUSED(CONNECT, BT_MQTT_BAD_VERSION, "bad_version"),
    REFUSED(CONNECT, BT_MQTT_BAD_AUTH_METHOD, "bad_auth_method"),
    REFUSED(CONNECT, BT_MQTT_QUOTA, "quota"),
    REFUSED(CONNECT, BT_MQTT_BUSY, "busy"),
    REFUSED(CONNECT, BT_MQTT_CONN_RATE, "rate"),
    REFUSED(CONNECT, BT_MQTT_BANNED, "banned"),
    REFUSED(CONNECT, BT_MQTT_BAD_TOPIC, "bad_will_topic"),
    REFUSED(CONNECT, BT_MQTT_UNAVAILABLE, "unavailable"),
    REFUSED(CONNECT, BT_MQTT_MALFORMED, "malformed"),
    REFUSED(CONNECT, BT_MQTT_PROTOCOL_ERROR, "protocol_error"),
    REFUSED(CONNECT, BT_MQTT_KEEPALIVE_TIMEOUT, "timeout"),
    REFUSED(CONNECT, BT_MQTT_TOO_LARGE, "too_large"),
    REFUSED(CONNECT, 0, "other"),
    REFUSED(PUBLISH, BT_MQTT_NOT_AUTHORIZED, "not_authorized"),
    REFUSED(PUBLISH, BT_MQTT_BAD_TOPIC, "bad_topic"),
    REFUSED(PUBLISH, BT_MQTT_BAD_ALIAS, "bad_alias"),
    REFUSED(PUBLISH, BT_MQTT_QUOTA, "quota"),
    REFUSED(PUBLISH, BT_MQTT_RATE, "rate"),
    REFUSED(PUBLISH, BT_MQTT_RECEIVE_MAX, "receive_maximum"),
    REFUSED(PUBLISH, BT_MQTT_NO_QOS, "qos"),
    REFUSED(PUBLISH, BT_MQTT_TOO_LARGE, "too_large"),
    REFUSED(PUBLISH, 0, "other"),
    REFUSED(SUBSCRIBE, BT_MQTT_NOT_AUTHORIZED, "not_authorized"),
    REFUSED(SUBSCRIBE, BT_MQTT_BAD_FILTER, "bad_filter"),
    REFUSED(SUBSCRIBE, BT_MQTT_QUOTA, "quota"),
    REFUSED(SUBSCRIBE, 0, "other"),
};

void hub_count_refusal(enum hub_refusal what, uint8_t reason)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(refusals); i++)
        if (refusals[i].what == what &&
            (refusals[i].code == reason || refusals[i].code == 0)) {
            bt_metric_add(&refusals[i].metric, 1);
            return;
        }
}

/* ---- Subscriptions ---- */

void hub_count_sub(struct bt_slice filter, int n)
{
    static const char share[] = "$share/";

    bt_metric_add(&hub_m_subs, n);
    if (filter.len >= sizeof(share) - 1 &&
        memcmp(filter.ptr, share, sizeof(share) - 1) == 0)
        bt_metric_add(&hub_m_shared_subs, n);
}

void hub_count_online(int n)
{
    int64_t now, most = bt_metric_get(&hub_m_online_max);

    bt_metric_add(&hub_m_offline, -n);
    now = atomic_fetch_add(&hub_m_online.value, n) + n;
    while (now > most &&
           !atomic_compare_exchange_weak(&hub_m_online_max.value, &most, now))
        ;
}

/* ---- Packets by type ---- */

#define PACKETS(dir, name, text)                                                      \
    BT_METRIC_OF("baetyl_hub_packets_" dir "_total", BT_COUNTER, "type=\"" name "\"", \
                 "MQTT packets " text ", by type.")
#define PACKET_TYPES(dir, text)                                    \
    {                                                              \
        [BT_MQTT_CONNECT] = PACKETS(dir, "connect", text),         \
        [BT_MQTT_CONNACK] = PACKETS(dir, "connack", text),         \
        [BT_MQTT_PUBLISH] = PACKETS(dir, "publish", text),         \
        [BT_MQTT_PUBACK] = PACKETS(dir, "puback", text),           \
        [BT_MQTT_PUBREC] = PACKETS(dir, "pubrec", text),           \
        [BT_MQTT_PUBREL] = PACKETS(dir, "pubrel", text),           \
        [BT_MQTT_PUBCOMP] = PACKETS(dir, "pubcomp", text),         \
        [BT_MQTT_SUBSCRIBE] = PACKETS(dir, "subscribe", text),     \
        [BT_MQTT_SUBACK] = PACKETS(dir, "suback", text),           \
        [BT_MQTT_UNSUBSCRIBE] = PACKETS(dir, "unsubscribe", text), \
        [BT_MQTT_UNSUBACK] = PACKETS(dir, "unsuback", text),       \
        [BT_MQTT_PINGREQ] = PACKETS(dir, "pingreq", text),         \
        [BT_MQTT_PINGRESP] = PACKETS(dir, "pingresp", text),       \
        [BT_MQTT_DISCONNECT] = PACKETS(dir, "disconnect", text),   \
        [BT_MQTT_AUTH] = PACKETS(dir, "auth", text),               \
    }
static struct bt_metric m_packets_in[HUB_PACKET_TYPES] =
    PACKET_TYPES("received", "from clients");
static struct bt_metric m_packets_out[HUB_PACKET_TYPES] =
    PACKET_TYPES("sent", "to clients");

/* ---- By worker ---- */

#define WORKER(i) "worker=\"" #i "\""
static const char *const worker_labels[HUB_MAX_WORKERS] = {
    WORKER(0),  WORKER(1),  WORKER(2),  WORKER(3),  WORKER(4),  WORKER(5),
    WORKER(6),  WORKER(7),  WORKER(8),  WORKER(9),  WORKER(10), WORKER(11),
    WORKER(12), WORKER(13), WORKER(14), WORKER(15),
};
enum by_worker { TURNS, MAILED, CPU, MAILBOX, N_BY_WORKER };
static const struct bt_metric by_worker_rows[N_BY_WORKER] = {
    [TURNS] = HUB_METRIC("worker_turns_total", BT_COUNTER, "Turns of the loop."),
    [MAILED] = HUB_METRIC("worker_mailbox_total", BT_COUNTER,
                          "Messages from other threads that were handled."),
    [CPU] = BT_METRIC_US("baetyl_hub_worker_cpu_seconds_total", BT_COUNTER,
                         "Processor time of the thread."),
    [MAILBOX] = HUB_METRIC("worker_mailbox_waiting", BT_GAUGE,
                           "Messages from other threads that wait."),
};
static struct bt_metric by_worker[N_BY_WORKER][HUB_MAX_WORKERS];

void hub_stats_worker(uint32_t worker, int64_t cpu_us, int64_t mailbox)
{
    bt_metric_set(&by_worker[CPU][worker], cpu_us);
    bt_metric_set(&by_worker[MAILBOX][worker], mailbox);
}

static void register_workers(uint32_t n_workers)
{
    for (size_t k = 0; k < N_BY_WORKER; k++)
        for (uint32_t i = 0; i < n_workers; i++) {
            struct bt_metric *m = &by_worker[k][i];

            m->name = by_worker_rows[k].name;
            m->help = by_worker_rows[k].help;
            m->kind = by_worker_rows[k].kind;
            m->per = by_worker_rows[k].per;
            m->labels = worker_labels[i];
            bt_metric_register(m);
        }
}

void hub_stats_register(uint32_t n_workers)
{
    static struct bt_metric *const single[] = {
        &m_received,
        &m_sent,
        &m_bytes_in,
        &m_bytes_out,
        &m_payload_in,
        &m_payload_out,
        &m_queued,
        &m_inflight,
        &m_output,
        &hub_m_conns,
        &hub_m_accepted,
        &hub_m_online,
        &hub_m_offline,
        &hub_m_expired,
        &hub_m_online_max,
        &hub_m_subs,
        &hub_m_shared_subs,
        &hub_m_retained,
        &hub_m_retained_bytes,
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(single); i++)
        bt_metric_register(single[i]);
    bt_metric_register_all(hub_m_transport, HUB_N_TRANSPORTS);
    bt_metric_register_all(m_dropped, HUB_N_DROPS);
    for (size_t i = 0; i < BT_ARRAY_LEN(refusals); i++)
        bt_metric_register(&refusals[i].metric);
    bt_metric_register_all(&m_packets_in[1], HUB_PACKET_TYPES - 1);
    bt_metric_register_all(&m_packets_out[1], HUB_PACKET_TYPES - 1);
    register_workers(n_workers);
}

/* ---- Once a turn ---- */

static void add(struct bt_metric *m, int64_t n)
{
    if (n != 0)
        bt_metric_add(m, n);
}

static void add_all(struct bt_metric *m, const uint32_t *counts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(&m[i], counts[i]);
}

void hub_counts_add(struct hub_counts *c, uint32_t worker)
{
    add(&m_received, (int64_t)c->received);
    add(&m_sent, (int64_t)c->sent);
    add(&m_packets_in[BT_MQTT_PUBLISH], (int64_t)c->received);
    add(&m_packets_out[BT_MQTT_PUBLISH], (int64_t)c->sent);
    add(&m_bytes_in, (int64_t)c->bytes_in);
    add(&m_bytes_out, (int64_t)c->bytes_out);
    add(&m_payload_in, (int64_t)c->payload_in);
    add(&m_payload_out, (int64_t)c->payload_out);
    add(&m_queued, c->queued);
    add(&m_inflight, c->inflight);
    add(&m_output, c->output);
    add(&by_worker[TURNS][worker], 1);
    add(&by_worker[MAILED][worker], c->messages);
    if (!c->rare) {
        memset(c, 0, offsetof(struct hub_counts, dropped));
        return;
    }
    add_all(m_dropped, c->dropped, HUB_N_DROPS);
    add_all(m_packets_in, c->packets_in, HUB_PACKET_TYPES);
    add_all(m_packets_out, c->packets_out, HUB_PACKET_TYPES);
    memset(c, 0, sizeof(*c));
}

static int64_t sum(const struct bt_metric *m, size_t n)
{
    int64_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += bt_metric_get(&m[i]);
    return total;
}

void hub_totals(struct hub_totals *out)
{
    *out = (struct hub_totals){
        .packets_in = sum(m_packets_in, HUB_PACKET_TYPES),
        .packets_out = sum(m_packets_out, HUB_PACKET_TYPES),
        .received = bt_metric_get(&m_received),
        .sent = bt_metric_get(&m_sent),
        .dropped = sum(m_dropped, HUB_N_DROPS),
        .payload_in = bt_metric_get(&m_payload_in),
        .payload_out = bt_metric_get(&m_payload_out),
        .bytes_in = bt_metric_get(&m_bytes_in),
        .bytes_out = bt_metric_get(&m_bytes_out),
        .inflight = bt_metric_get(&m_inflight),
        .queued = bt_metric_get(&m_queued),
        .connects = bt_metric_get(&m_packets_in[BT_MQTT_CONNECT]),
    };
}
