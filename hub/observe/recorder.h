/* What was decided about a client and its messages, kept for the question "why did this
 * message not arrive?". Each worker has a recorder with one small ring of events for a
 * client, made at the first event worth keeping, so that a client about which there is
 * nothing to say costs nothing. Worker's thread only.
 *
 * Only what is unusual is recorded: drops, refusals, publishes nobody wanted, how
 * connections ended. A client that is being traced (hub_recorder_trace) has every
 * publish, delivery and acknowledgement recorded for a while. Topics are kept as a hash
 * and their first HUB_EVENT_TEXT bytes; the same event again only counts up. */
#ifndef HUB_RECORDER_H
#define HUB_RECORDER_H

#include "hub/observe/stats.h"
#include "hub/session/session.h"

#define HUB_EVENT_TEXT     40u
#define HUB_RING_EVENTS    16u  /* of a client */
#define HUB_RING_TRACED    256u /* of a client that is being traced */
#define HUB_RING_STRANGERS 64u  /* refused logins of clients without a ring, together */
#define HUB_MAX_TRACED     4u   /* clients of one worker at a time */
#define HUB_MAX_TRACE_S    3600u

enum hub_event_kind {
    HUB_EV_CONNECTED,     /* n: protocol version */
    HUB_EV_LOGIN_REFUSED, /* why: MQTT reason; text: the client id */
    HUB_EV_DISCONNECTED,  /* why: MQTT reason; n: enum hub_end */
    HUB_EV_SUBSCRIBED,    /* n: granted QoS */
    HUB_EV_SUB_REFUSED,   /* why: MQTT reason */
    HUB_EV_UNSUBSCRIBED,
    HUB_EV_PUB_REFUSED, /* why: MQTT reason */
    HUB_EV_ROUTED,      /* n: receivers (sessions here, other workers, groups) */
    HUB_EV_NOBODY,
    HUB_EV_SENT,    /* n: QoS */
    HUB_EV_QUEUED,  /* n: QoS */
    HUB_EV_ON_DISK, /* the queue in memory is full or the client is away */
    HUB_EV_DROPPED, /* why: enum hub_drop */
    HUB_EV_NO_LOCAL,
    HUB_EV_ACKED,   /* n: packet identifier */
    HUB_EV_LIMITED, /* why: enum hub_limit */
    HUB_N_EVENTS,
};

/* How a connection ended. */
enum hub_end { HUB_END_DISCONNECT, HUB_END_LOST, HUB_END_HUB };

struct hub_event {
    uint64_t when_ms; /* loop time of the last one */
    uint32_t times;   /* the same one in a row */
    uint32_t hash;    /* of the whole text */
    uint32_t n;
    uint16_t text_len; /* of the whole text; text holds what fits */
    uint8_t kind, why;
    char text[HUB_EVENT_TEXT];
};
_Static_assert(sizeof(struct hub_event) == 64, "one cache line");

/* What to record. */
struct hub_fact {
    enum hub_event_kind kind;
    uint8_t why;
    uint32_t n;
    struct bt_slice text; /* topic or filter; borrowed */
};

struct hub_recorder;
/* NULL is fine. */
void hub_recorder_free(struct hub_recorder *r);
/* About the client of this session. Out of memory: nothing is recorded. */
void hub_record(struct hub_session *s, const struct hub_fact *f);
/* About a client that has no session. */
void hub_record_id(struct hub_worker *w, struct bt_slice id, const struct hub_fact *f);

/* The same with plain arguments. */
void hub_record_text(struct hub_session *s, enum hub_event_kind kind, uint32_t n,
                     struct bt_slice text);
/* The hot path's form: nothing but a branch unless the client is being traced. */
static inline void hub_trace(struct hub_session *s, enum hub_event_kind kind, uint32_t n,
                             struct bt_slice text)
{
    if (bt_unlikely(s->traced))
        hub_record_text(s, kind, n, text);
}

/* A delivery to this session will not happen: counted by reason and recorded. */
void hub_drop(struct hub_session *s, struct bt_slice topic, enum hub_drop why);
/* The same when no session is known. */
void hub_drop_all(struct hub_worker *w, struct bt_slice topic, enum hub_drop why);
/* The session ends: what it still holds in memory and never sent on is dropped. */
void hub_drop_rest(struct hub_session *s);
/* A publish or a subscription of this session was refused: counted and recorded. */
void hub_refused(struct hub_session *s, enum hub_refusal what, struct bt_slice text,
                 uint8_t reason);
/* A login was refused: counted and recorded. */
void hub_refused_login(struct hub_worker *w, struct bt_slice id, uint8_t reason);

/* Record everything about this client for so many seconds (at most HUB_MAX_TRACE_S; 0
 * ends it). BT_ELIMIT: HUB_MAX_TRACED others are being traced. */
int hub_recorder_trace(struct hub_session *s, uint32_t seconds) BT_MUST_CHECK;
/* A new session of a client that is being traced. */
void hub_recorder_attach(struct hub_session *s);

/* Calls fn for what is known about this client id, oldest first. topic: only events with
 * this text and those without one; empty: all. */
void hub_recorder_each(struct hub_worker *w, struct bt_slice id, struct bt_slice topic,
                       void (*fn)(void *arg, const struct hub_event *e), void *arg);
/* The same over all clients of the worker: events with this text, with their client. */
void hub_recorder_each_topic(struct hub_worker *w, struct bt_slice topic,
                             void (*fn)(void *arg, struct bt_slice id,
                                        const struct hub_event *e),
                             void *arg);
/* One sentence, for people: "dropped: the client did not read fast enough". */
#define HUB_EVENT_SENTENCE 160u
void hub_event_sentence(const struct hub_event *e, char out[HUB_EVENT_SENTENCE]);
/* "dropped", "login_refused": the name in JSON. */
const char *hub_event_name(enum hub_event_kind kind);

#endif
