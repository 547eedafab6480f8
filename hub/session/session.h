/* A session (MQTT 5.0 §4.1): one client id, its subscriptions and what waits for it. It
 * lives on one worker for ever, chosen by a hash of the client id, so taking over is a
 * matter of one thread. All functions: home worker only. */
#ifndef HUB_SESSION_H
#define HUB_SESSION_H

#include "core/list.h"
#include "core/mqtt.h"
#include "hub/access/auth.h"
#include "hub/route/addr.h"
#include "hub/route/match.h"
#include "hub/route/msg.h"
#include "hub/session/incoming.h"
#include "hub/store/store.h"

struct hub_worker;
struct hub_session;
struct hub_link;
struct hub_will;
struct hub_conf;

#define HUB_MAX_CLIENT_ID 1024u
#define HUB_MAX_FILTERS   4096u /* per session */
/* Publishes of one client that wait for their commit, and for version 5 all that are not
 * completed: the receive maximum. */
#define HUB_MAX_UNACKED 1024u
#define HUB_READ_ROWS   256u /* entries asked of the store at once */

/* One delivery about to leave. */
struct hub_out {
    struct hub_pub *pub;
    uint8_t qos, n_subids;
    bool dup, retain;
    uint16_t pid;
    uint64_t token;
    const uint32_t *subids;
};

/* Where a session's output goes: a network connection or an in-process client. */
struct hub_link_ops {
    /* Room for a delivery that can wait (QoS > 0). */
    bool (*ready)(struct hub_link *l);
    /* QoS 0 may be dropped (and is counted) when there is no room. */
    void (*publish)(struct hub_link *l, const struct hub_out *o);
    /* PUBACK, PUBREC, PUBREL or PUBCOMP. */
    void (*acked)(struct hub_link *l, enum bt_mqtt_type type, uint16_t pid,
                  uint64_t token, uint8_t reason);
    /* Bytes of an answer that waited for a commit (network only). */
    void (*answer)(struct hub_link *l, struct bt_slice bytes);
    /* Publishes waiting for their commit fell below the limit again. */
    void (*resume)(struct hub_link *l);
    /* What was sent by an earlier link and is not acknowledged has been sent again, once
     * after the session was attached. NULL: not asked for. */
    void (*resent)(struct hub_link *l);
    /* The session lets go of the link: say why and close. l->session is NULL already. */
    void (*close)(struct hub_link *l, uint8_t reason);
};
struct hub_link {
    const struct hub_link_ops *ops;
    struct hub_session *session;
};

struct hub_filter { /* one subscription of the session */
    struct hub_filter *next;
    struct hub_sub_opts opts;
    uint8_t retain_handling;
    uint16_t len;
    char text[];
};

/* A publish of this client that is not acknowledged yet: answers leave in the order of
 * arrival (MQTT 5.0 §4.6), so a finished one waits for the ones before it. */
struct hub_unacked {
    struct hub_ticket ticket;
    struct hub_unacked *next;
    struct hub_addr *addr;
    uint64_t token;
    uint64_t
        input; /* in-process: the delivery (qseq) that it is the result of, 0: none */
    uint16_t pid;
    uint8_t reason, qos;
    bool done, orphan;
    bool stale;    /* came by an earlier connection, whose client sends it again */
    bool incoming; /* QoS 2: its identifier is in the session's set */
};

struct hub_session {
    struct hub_worker *worker;
    struct hub_addr *addr;
    struct hub_link *link; /* NULL: offline */
    const struct hub_principal *principal;
    struct hub_session *next_by_id, *next_by_sid;
    struct hub_filter *filters;
    struct hub_replay *replay;                /* retained messages that wait for room */
    struct hub_qentry *head, *waiting, *tail; /* in flight, then not yet sent */
    struct hub_unacked *unacked, *unacked_tail;
    struct hub_incoming *incoming; /* QoS 2 publishes that are not completed */
    struct hub_qentry *held; /* the last of a ring of gathered entries, in order, the
                                first of which is not in the store */
    struct hub_will *will;
    uint64_t sid, qseq; /* qseq: the newest given out */
    uint64_t disk_from,
        read_upto;        /* queue entries from disk_from on are only in the store */
    uint64_t link_serial; /* grows with every link */
    int64_t expires_ms;   /* wall clock while offline, 0 = never */
    uint32_t expiry_s;    /* UINT32_MAX = never */
    uint32_t hash;
    uint32_t n_queued; /* in memory, in flight included */
    uint32_t n_unacked, n_filters;
    uint32_t since_s; /* loop time when it was last connected, or left */
    uint32_t n_owed;  /* publishes of this connection that are not completed */
    uint16_t n_inflight, window;
    uint16_t n_unsure; /* rows still to be read that may have been sent before a crash */
    uint16_t id_len;
    bool recheck;    /* what waits may no longer be permitted: check before sending */
    bool persistent; /* entries go to the store; it may end with its connection all the
                        same, by expiry_s 0 */
    bool on_disk, reading, read_stale, stored, replaying;
    bool leaving;   /* ended but for its shared messages (hub/session/share.c) */
    bool traced;    /* hub/observe/recorder.h */
    bool resending; /* the link is to be told when all is sent again */
    char id[];
};

/* The session expiry (s) that a client gets when it asks for this one. */
uint32_t hub_expiry_granted(const struct hub_conf *conf, uint32_t asked);
static inline struct bt_slice hub_session_id(const struct hub_session *s)
{
    return (struct bt_slice){ (const uint8_t *)s->id, s->id_len };
}
static inline bool hub_session_may_publish(const struct hub_session *s,
                                           struct bt_slice topic)
{
    return hub_principal_may_publish(s->principal, hub_session_id(s), topic);
}
/* As hub_principal_may_subscribe, for a filter or for one topic. */
static inline bool hub_session_may_subscribe(const struct hub_session *s,
                                             struct bt_slice filter)
{
    return hub_principal_may_subscribe(s->principal, hub_session_id(s), filter);
}

uint32_t hub_id_hash(struct bt_slice id);
struct hub_session *hub_session_new(struct hub_worker *w, struct bt_slice id,
                                    uint64_t sid) BT_MUST_CHECK;
/* End the session: subscriptions, queue, and (when stored) its rows. */
void hub_session_end(struct hub_session *s);
/* Of an ending session: nobody finds it by its address, publishes are not answered. */
void hub_session_disown(struct hub_session *s);
/* Free the memory only (hub shutdown): rows stay. */
void hub_session_free(struct hub_session *s);

/* Attach a link. window: deliveries it takes unacknowledged. */
void hub_session_attach(struct hub_session *s, struct hub_link *l, uint16_t window);
/* Call after CONNACK: what was in flight is sent again (PUBLISH with DUP, PUBREL), then
 * what waits. */
void hub_session_resume(struct hub_session *s);
/* The link is gone. will: publish the will. Ends the session when it does not persist. */
void hub_session_detach(struct hub_session *s, bool will);

/* Deliver one message to this session. ticket may be NULL; it is charged per stored
 * entry. */
void hub_session_deliver(struct hub_session *s, struct hub_pub *pub,
                         const struct hub_target *t, struct hub_ticket *ticket);
/* Send what waits as far as the window and the link allow. */
void hub_session_pump(struct hub_session *s);
/* Its row is no longer needed, or need not be written. */
void hub_session_dequeue(struct hub_session *s, struct hub_qentry *e);
/* PUBACK of a QoS 1 delivery. false: unknown identifier. */
bool hub_session_ack(struct hub_session *s, uint16_t pid);
/* In-process: PUBACK, or PUBREC and PUBCOMP in one. */
void hub_session_ack_local(struct hub_session *s, uint16_t pid);
/* The link cannot send the delivery with this token at all: done with, as if
 * acknowledged. */
void hub_session_skip(struct hub_session *s, uint64_t token);
/* The delivery that is in flight under this identifier; NULL: none. */
struct hub_qentry *hub_session_inflight(const struct hub_session *s, uint16_t pid);
/* The row of an entry that waited for it is on disk, or was refused. */
void hub_session_stored(struct hub_session *s, struct hub_qentry *e, bool refused);
/* It is done with: leaves the queue, and the store. */
void hub_session_complete(struct hub_session *s, struct hub_qentry *e);

/* hub/session/session_qos2.c: QoS 2 deliveries (MQTT 5.0 §4.3.3). */
/* PUBREC: the message is the client's now, PUBREL answers; with an error it is done. 0,
 * or the reason to close with (out of memory). */
int hub_session_pubrec(struct hub_session *s, uint16_t pid, uint8_t reason);
/* Let go of the message; PUBREL follows. As hub_session_pubrec. */
int hub_session_release(struct hub_session *s, struct hub_qentry *e) BT_MUST_CHECK;
/* PUBCOMP. false: unknown identifier. */
bool hub_session_pubcomp(struct hub_session *s, uint16_t pid);
/* QoS 2 publishes of this client. */
/* PUBREL: the identifier is free again, PUBCOMP answers. As hub_session_pubrec. */
int hub_session_pubrel(struct hub_session *s, uint16_t pid);
/* true: the PUBLISH with this identifier came before; it is answered when it is time. */
bool hub_session_repeated(struct hub_session *s, uint16_t pid);
/* The publish is safe, or could not be made so. stored: a row says that it came. */
void hub_session_incoming_done(struct hub_session *s, uint16_t pid, uint8_t reason,
                               bool stored);
/* A publish that was read from the store at start. */
int hub_session_incoming_restore(struct hub_session *s, uint16_t pid) BT_MUST_CHECK;
/* An operation of this session that asked for it was committed (HUB_W_DONE). */
void hub_session_committed(struct hub_session *s, struct hub_op *op);
/* Whether one more publish is more than the receive maximum (MQTT 5.0 §3.3.4) allows. */
bool hub_session_over_quota(struct hub_session *s, uint8_t qos, uint16_t pid);
/* Answer to HUB_OP_READ. Takes rows. */
void hub_session_rows(struct hub_session *s, struct hub_store_rows *rows);

/* A publish of this client: pid and token come back by link->acked when it is safe. */
void hub_session_publish(struct hub_session *s, struct hub_pub *pub, uint16_t pid,
                         uint64_t token, uint8_t refused);
/* The same for an in-process client, at QoS 1 or 2: a publish cannot be lost on its way,
 * so it has no identifier. input: 0, or the place in the queue of the delivery that it
 * is the result of, which is acknowledged with it, at QoS 2 in one transaction. When that
 * is in flight no more, an earlier result is safe and this one is not published; while an
 * earlier one is on its way it is refused (BT_MQTT_PID_IN_USE). */
void hub_session_publish_local(struct hub_session *s, struct hub_pub *pub, uint64_t input,
                               uint64_t token, uint8_t refused);
void hub_session_published(struct hub_unacked *u);
void hub_unacked_free(struct hub_unacked *u);

/* 0 or HUB_INDEX_REPLACED; BT_ENOMEM, BT_ELIMIT. Adds store operations charged to ticket.
 */
int hub_session_subscribe(struct hub_session *s, const struct bt_mqtt_sub *sub,
                          uint32_t subid, struct hub_ticket *ticket) BT_MUST_CHECK;
bool hub_session_unsubscribe(struct hub_session *s, struct bt_slice filter,
                             struct hub_ticket *ticket);
/* A subscription that was read from the store at start. */
int hub_session_restore(struct hub_session *s, struct bt_slice filter, uint8_t options,
                        uint32_t subid) BT_MUST_CHECK;
/* Record the session's row (new, or changed expiry); disconnected_ms 0 while connected.
 */
void hub_session_store(struct hub_session *s, int64_t disconnected_ms);

#endif
