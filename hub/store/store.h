/* The store: one thread, one SQLite database, group commit. Workers post batches of
 * operations; the store commits all that has arrived, then completes the tickets. Reads
 * are answered by a message to the asking worker.
 *
 * Tables: message (one row per message whatever the fan-out), queue (one row per
 * persistent session that waits for a message), session, subscription, incoming (one row
 * per QoS 2 publish that waits for PUBREL), retained, will. A commit
 * is durable (synchronous=FULL) before any ticket of it completes. An entry that its
 * receiver acknowledged before the store came to it is never written. */
#ifndef HUB_STORE_H
#define HUB_STORE_H

#include <stdatomic.h>

#include "core/mbox.h"
#include "core/module.h"
#include "hub/route/msg.h"
#include "hub/store/store_limit.h"

struct hub_retain;
struct hub_store;

/* Something waits for the commit of one or more operations. pending starts at the number
 * of operations that carry it, plus one for the owner while it still hands them out
 * (hub_ticket_done drops it). At zero `msg` is posted to `to`. failed is set when one
 * could not be made safe. */
struct hub_gather;
struct hub_ticket {
    struct bt_msg msg;
    struct bt_mbox *to;
    void (*on_refused)(
        struct hub_ticket *t); /* `to` is closed: free it here; may be NULL */
    struct hub_gather *gather; /* its entries go to the store together; may be NULL */
    _Atomic uint32_t pending;
    _Atomic bool failed;
};
/* Any thread: one less to wait for; posts the ticket at zero, or gives it to on_refused.
 */
void hub_ticket_done(struct hub_ticket *t, bool ok);

/* A queue entry known to its session (home worker) and to the store: two references. */
enum hub_qstate { HUB_Q_NEW, HUB_Q_STORED, HUB_Q_DROPPED };
struct hub_qentry {
    struct bt_msg read_link; /* used only while travelling in a read's answer */
    _Atomic uint32_t refs;
    _Atomic uint32_t state; /* enum hub_qstate: the store moves NEW->STORED, the session
                               NEW->DROPPED (both by compare-and-swap) */
    uint64_t qseq;          /* place in the session's queue, from 1, strictly rising */
    struct hub_msg *msg;    /* one reference owned by the entry; NULL once released */
    uint8_t qos;            /* of the delivery */
    bool retain;            /* deliver with the retain flag */
    uint8_t n_subids;
    bool sent;      /* session: was sent at least once (DUP on the next) */
    bool unsure;    /* session: read after a start, which does not know sent */
    bool committed; /* session: its row is on disk */
    bool refused;   /* session: no, it has none, the queue is full (limits.session) */
    bool answering; /* session: a result of it waits for its commit */
    uint8_t phase;  /* session: enum hub_qphase */
    uint32_t share; /* hub_match_share_id, 0: not by a shared subscription */
    union {         /* subscription identifiers, see hub_qentry_subids */
        uint32_t subids[2];
        uint32_t *more_subids; /* when there are more than two */
    };
    struct hub_qentry *next;      /* session's window */
    struct hub_qentry *next_held; /* session: gathered, not yet in the store */
};
/* QoS 2: the receiver said PUBREC and the message is let go of, then PUBREL left. */
enum hub_qphase { HUB_Q_PUBLISH, HUB_Q_RELEASING, HUB_Q_RELEASED };
#define HUB_PIDS 65535u
/* The packet identifier of a delivery follows from its place in the queue, so it is the
 * same after a restart and needs no memory. Two that are in flight at once must be less
 * than HUB_PIDS apart. */
static inline uint16_t hub_qseq_pid(uint64_t qseq)
{
    return (uint16_t)(1 + (qseq - 1) % HUB_PIDS);
}
struct hub_qentry *hub_qentry_new(struct hub_msg *msg, uint64_t qseq)
    BT_MUST_CHECK; /* takes a new reference on msg; refs 1 */
void hub_qentry_unref(struct hub_qentry *e);
/* The n_subids subscription identifiers of the delivery (version 5). */
static inline const uint32_t *hub_qentry_subids(const struct hub_qentry *e)
{
    return e->n_subids > 2 ? e->more_subids : e->subids;
}
/* Once, on a new entry. BT_ENOMEM. */
int hub_qentry_set_subids(struct hub_qentry *e, const uint32_t *ids,
                          uint8_t n) BT_MUST_CHECK;

enum hub_op_kind {
    HUB_OP_ENQUEUE,     /* sid, entry (reference passes) */
    HUB_OP_DEQUEUE,     /* sid, qseq: delivered; removes the row, and the message with its
                           last row */
    HUB_OP_SESSION_PUT, /* sid, text = client id, u32 = expiry in s (UINT32_MAX never),
                           when = wall ms of disconnect or 0, text2 = principal */
    HUB_OP_SESSION_DEL, /* sid: with its subscriptions and queue */
    HUB_OP_SUB_PUT,     /* sid, text = filter, u32 = options byte of SUBSCRIBE, u32b =
                           subscription id */
    HUB_OP_SUB_DEL,     /* sid, text = filter */
    HUB_OP_RETAIN_PUT,  /* retained: message of its topic (reference passes) */
    HUB_OP_RETAIN_DEL,  /* text = topic; when = its expiry in wall ms: only the message
                           that expired then; 0: any */
    HUB_OP_WILL_PUT,    /* sid, retained = the will (reference passes), u32 = delay in s,
                           u32b = message expiry in s */
    HUB_OP_WILL_DEL,    /* sid */
    HUB_OP_RELEASE, /* sid, qseq, entry (reference passes): its receiver said PUBREC, the
                       message is no longer needed */
    HUB_OP_INCOMING_PUT, /* sid, u32 = packet identifier: a QoS 2 publish was taken */
    HUB_OP_INCOMING_DEL, /* the same: PUBREL came */
    HUB_OP_READ, /* sid, qseq = first wanted, u32 = most entries: answered by struct
                    hub_store_rows */
};
struct hub_op {
    struct hub_op *next;
    enum hub_op_kind kind;
    uint64_t sid, qseq;
    struct hub_qentry *entry;
    struct hub_msg *retained;
    char *text, *text2; /* owned, bt_malloc */
    uint32_t u32, u32b;
    int64_t when;
    struct hub_ticket *ticket; /* or NULL */
    struct bt_mbox *reply;     /* READ; of others: where the operation itself is posted,
                                  by `link`, after its commit */
    uint32_t reply_kind;       /* msg.kind of that */
    struct bt_msg link;        /* store: the first of a batch carries all of it */
    struct hub_op **batch_end; /* store: on the first, the end of the chain */
    uint32_t batch_n;          /* store: on the first, the length */
    bool tied;                 /* in one transaction with the next one */
    bool refused;              /* store: the entry got no row, the queue is full */
    bool moved;                /* store: its entry became STORED, or its row was there */
    struct hub_store_rows *rows; /* store: READ's answer until it is posted */
};
struct hub_op *hub_op_new(enum hub_op_kind kind, uint64_t sid) BT_MUST_CHECK;
void hub_op_free(struct hub_op *op); /* with everything it owns, tickets excepted */

/* Operations of one loop turn, in order. */
struct hub_batch {
    struct hub_op *head, **tail;
    uint32_t n;
};
void hub_batch_init(struct hub_batch *b);
void hub_batch_add(struct hub_batch *b, struct hub_op *op);
/* Moves all operations of `from` behind those of b. */
void hub_batch_append(struct hub_batch *b, struct hub_batch *from);
/* Free the operations; their tickets are told they failed. */
void hub_batch_discard(struct hub_batch *b);
/* Any thread: passes all operations to the store and empties the batch. */
void hub_store_submit(struct hub_store *s, struct hub_batch *b);

/* Answer to HUB_OP_READ: up to u32 entries with qseq >= wanted, in order, state STORED,
 * committed, one reference each; without a message when released. */
struct hub_store_rows {
    struct bt_msg msg;
    uint64_t sid;
    struct hub_qentry *head; /* linked by next */
    uint32_t n;
    bool more; /* rows remain after the last one */
    bool failed;
};
/* An answer cut at this many payload bytes has `more` set; the first entry always fits.
 */
#define HUB_STORE_READ_BYTES ((size_t)1024 * 1024)
/* With the entries it still holds. NULL is fine. */
void hub_store_rows_free(struct hub_store_rows *rows);

/* What was on disk, told once at start, on the caller's thread, before the store thread
 * runs. Strings are borrowed. */
struct hub_store_visitor {
    void *arg;
    int (*session)(void *arg, uint64_t sid, const char *client_id, const char *principal,
                   uint32_t expiry_s, int64_t disconnected_ms, uint64_t first_qseq,
                   uint64_t last_qseq, uint64_t rows);
    int (*subscription)(void *arg, uint64_t sid, const char *filter, uint32_t options,
                        uint32_t subid);
    int (*retained)(void *arg, struct hub_msg *msg); /* takes the reference */
    /* Takes the reference. May be NULL. */
    int (*will)(void *arg, uint64_t sid, struct hub_msg *msg, uint32_t delay_s,
                uint32_t expiry_s);
    /* A QoS 2 publish that waits for PUBREL. May be NULL. */
    int (*incoming)(void *arg, uint64_t sid, uint16_t pid);
};
#define HUB_STORE_CLOCK_FLOOR \
    INT64_C(1704067200000) /* 2024: the clock was not set before */
struct hub_store_opts {
    const char *dir; /* created 0755; the database is dir/hub.db, mode 0600 */
    bool memory;     /* durability: memory: an in-memory database, nothing survives */
    uint32_t interval_ms; /* durability: batched: longest time from acceptance, which
                             completes a ticket, to the commit; 0 = tickets wait for it */
    int64_t retention_ms; /* older messages are removed from queues; 0 = never */
    uint32_t clean_ms;    /* time between two searches for them */
    uint64_t max_disk;    /* bytes of all files; 0 = no limit */
    struct hub_store_limits limits; /* of one session's queue */
    struct hub_retain *retain; /* what holds when workers told of one topic at the same
                                  time; NULL: the operation that came last */
    struct bt_super *super;
};
/* Opens or creates the database and its schema; a damaged file is set aside as
 * hub.db.damaged-<time> and a new one is started, with an error logged. BT_EBUSY when
 * another process has it. */
int hub_store_open(const struct hub_store_opts *opts,
                   struct hub_store **out) BT_MUST_CHECK;
int hub_store_load(struct hub_store *s, const struct hub_store_visitor *v) BT_MUST_CHECK;
uint64_t hub_store_max_sid(const struct hub_store *s);  /* after load */
int hub_store_start(struct hub_store *s) BT_MUST_CHECK; /* spawn the thread */
/* For a test that gives it turns instead of starting the thread. */
struct bt_loop *hub_store_loop(struct hub_store *s);
/* Commits what was submitted, completes the tickets, ends the thread, closes the
 * database, frees. No submit may follow. */
void hub_store_stop(struct hub_store *s);

#endif
