/* What the hub counts. Each worker counts in plain locals (struct hub_counts) and adds
 * them to the shared metrics once a loop turn; what is rare is added at once. The table
 * of all metrics is in docs/observe.md. */
#ifndef HUB_STATS_H
#define HUB_STATS_H

#include "core/metric.h"

/* Why a delivery, or all deliveries of a publish, did not happen: X(name, the `reason`
 * label, a sentence's end). A new cause is a new row, nothing else. */
#define HUB_DROPS(X)                                                          \
    X(QUEUE_FULL, "queue_full", "the queue of the session was full")          \
    X(SLOW_READER, "slow_reader", "the client did not read fast enough")      \
    X(OFFLINE, "qos0_offline", "QoS 0 and the client was not connected")      \
    X(EXPIRED, "expired", "the message expired before it could be sent")      \
    X(TOO_LARGE, "too_large", "larger than the client's maximum packet size") \
    X(RETENTION, "retention", "it waited longer than the retention time")     \
    X(MEMORY_LIMIT, "memory_limit", "the memory budget was used up")          \
    X(FORBIDDEN, "forbidden", "it is no longer permitted")                    \
    X(SESSION_ENDED, "session_ended", "the session ended while it waited")    \
    X(NO_MEMORY, "no_memory", "out of memory")
#define HUB_DROP_ENUM(name, label, text) HUB_DROP_##name,
enum hub_drop { HUB_DROPS(HUB_DROP_ENUM) HUB_N_DROPS };
const char *hub_drop_label(enum hub_drop why);
const char *hub_drop_text(enum hub_drop why);

/* What was refused. */
enum hub_refusal { HUB_REFUSED_CONNECT, HUB_REFUSED_PUBLISH, HUB_REFUSED_SUBSCRIBE };
/* Any thread. reason: of MQTT 5.0 §2.4; those without a row of their own are counted as
 * "other". */
void hub_count_refusal(enum hub_refusal what, uint8_t reason);

/* A subscription was made (1) or removed (-1). Any thread. */
void hub_count_sub(struct bt_slice filter, int n);

/* A session got (1) or lost (-1) its client. Any thread. */
void hub_count_online(int n);

/* How a connection came; the `transport` label. */
enum hub_transport {
    HUB_TRANSPORT_TCP,
    HUB_TRANSPORT_TLS,
    HUB_TRANSPORT_WS,
    HUB_TRANSPORT_WSS,
    HUB_TRANSPORT_UNIX,
    HUB_N_TRANSPORTS,
};

#define HUB_PACKET_TYPES 16u

/* One worker's, since the last turn; its thread only. */
struct hub_counts {
    uint64_t received, sent; /* PUBLISH */
    uint64_t bytes_in, bytes_out;
    uint64_t payload_in, payload_out;
    int64_t queued, inflight, output; /* changes of levels */
    uint32_t messages;                /* that came through the mailbox */
    bool rare;                        /* one of the arrays below has something */
    uint32_t dropped[HUB_N_DROPS];
    uint32_t packets_in[HUB_PACKET_TYPES]; /* PUBLISH excepted: received, sent */
    uint32_t packets_out[HUB_PACKET_TYPES];
};
static inline void hub_count_drop(struct hub_counts *c, enum hub_drop why, uint32_t n)
{
    c->dropped[why] += n;
    c->rare = true;
}
/* At once; any thread. */
void hub_count_drops(enum hub_drop why, uint64_t n);
static inline void hub_count_in(struct hub_counts *c, unsigned type)
{
    c->packets_in[type]++;
    c->rare = true;
}
static inline void hub_count_out(struct hub_counts *c, unsigned type)
{
    c->packets_out[type]++;
    c->rare = true;
}
/* Adds to the shared metrics and empties c. worker: its index, for what is counted by
 * worker. */
void hub_counts_add(struct hub_counts *c, uint32_t worker);

extern struct bt_metric hub_m_conns, hub_m_accepted, hub_m_online, hub_m_online_max,
    hub_m_offline, hub_m_expired, hub_m_subs, hub_m_shared_subs, hub_m_retained,
    hub_m_retained_bytes;
extern struct bt_metric hub_m_transport[HUB_N_TRANSPORTS];

/* Once, before a worker runs. */
void hub_stats_register(uint32_t n_workers);

/* Totals that are made of several metrics. Any thread. */
struct hub_totals {
    int64_t packets_in, packets_out, received, sent, dropped, payload_in, payload_out,
        bytes_in, bytes_out, inflight, queued, connects;
};
void hub_totals(struct hub_totals *out);
/* For the gauges by worker: thread CPU time and messages waiting in the mailbox. */
void hub_stats_worker(uint32_t worker, int64_t cpu_us, int64_t mailbox);

#endif
