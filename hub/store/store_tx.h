/* The store's rows: one open database and the transaction in progress. Private to the
 * store; the store thread's alone once it runs. */
#ifndef HUB_STORE_TX_H
#define HUB_STORE_TX_H

#include "core/db.h"
#include "core/lock.h"
#include "hub/store/store.h"
#include "hub/store/store_limit.h"

#define HUB_STORE_GROUP 4096u /* most operations of one transaction */
#define HUB_STORE_GROUP_BYTES \
    ((size_t)8 * 1024 * 1024) /* and payload, unless one has more */
#define HUB_STORE_SLOTS 8192u /* a power of two above HUB_STORE_GROUP */
#define HUB_STORE_REAP  1024u /* rows of an ended session deleted at once */

/* Statements, in the order of the table in store_load.c. */
enum hub_store_stmt {
    HUB_S_QUEUE_PUT,
    HUB_S_QUEUE_MID,
    HUB_S_QUEUE_DEL,
    HUB_S_QUEUE_READ,
    HUB_S_QUEUE_RELEASE,
    HUB_S_INCOMING_PUT,
    HUB_S_INCOMING_DEL,
    HUB_S_INCOMINGS_DEL,
    HUB_S_QUEUE_HEAD,
    HUB_S_QUEUE_TRIM,
    HUB_S_MESSAGE_PUT,
    HUB_S_MESSAGE_DEL,
    HUB_S_MESSAGE_LESS,
    HUB_S_SESSION_PUT,
    HUB_S_SESSION_DEL,
    HUB_S_SUB_PUT,
    HUB_S_SUB_DEL,
    HUB_S_SUBS_DEL,
    HUB_S_RETAIN_PUT,
    HUB_S_RETAIN_DEL,
    HUB_S_WILL_PUT,
    HUB_S_WILL_DEL,
    HUB_S_LOAD_SESSIONS,
    HUB_S_LOAD_SUBS,
    HUB_S_LOAD_RETAINED,
    HUB_S_LOAD_WILLS,
    HUB_S_LOAD_INCOMING,
    HUB_S_QUEUE_FIRST,
    HUB_S_QUEUE_LAST,
    HUB_S_QUEUE_COUNT,
    HUB_S_QUEUE_NEXT_SID,
    HUB_S_QUEUE_AGE,
    HUB_S_QUEUE_SIZE,
    HUB_S_QUEUE_OLDEST,
    HUB_S_MESSAGE_SIZE,
    HUB_S_COUNT,
};

/* What the transaction does to the number of rows that point at one message. */
struct hub_store_delta {
    uint64_t mid;
    int64_t rows;
    struct hub_msg *msg; /* borrowed from the operation; NULL when rows only went */
};

/* The last change of each retained topic in this transaction. */
struct hub_store_retains {
    uint64_t seed;
    uint32_t n;
    uint16_t slots[HUB_STORE_SLOTS]; /* hash of the topic: 1 + place in ops, 0 = free */
    struct hub_op *ops[HUB_STORE_GROUP]; /* borrowed until the commit */
};

/* The round that removes what is older than the retention time. */
struct hub_store_clean {
    int64_t retention_ms; /* 0 = nothing is too old */
    int64_t before_ms;    /* wall clock */
    uint64_t sid;         /* the last queue that is done */
    uint64_t from;        /* of the next one, what is looked at */
    uint32_t kept;        /* its QoS 2 rows so far, which may be in flight */
    uint64_t removed;     /* rows, since somebody reset it */
    bool running;
};

/* A session that ended with a long queue: its rows go bit by bit. */
struct hub_store_reap {
    struct hub_store_reap *next;
    uint64_t sid;
    bool fresh; /* ended in this transaction; forgotten when it is rolled back */
    bool done;  /* emptied in this transaction; forgotten once it is committed */
};

struct hub_store_tx {
    struct bt_db *db;
    struct bt_lock lock; /* nobody else even looks at the files */
    bool locked;
    bool begun;
    uint64_t next_mid, max_sid;
    uint64_t written, skipped; /* rows, since somebody reset them */
    uint64_t messages;         /* of those, messages; the same */
    struct hub_store_reap *reap;
    uint32_t n_deltas;
    uint16_t slots[HUB_STORE_SLOTS]; /* hash of mid: 1 + place in deltas, 0 = free */
    struct hub_store_delta deltas[HUB_STORE_GROUP];
    struct hub_store_retains retains;
    struct hub_retain *retain; /* NULL: see struct hub_store_opts */
    struct hub_store_clean clean;
    struct hub_store_limiter limiter;
    size_t group_bytes, group_most; /* payload of one transaction: now, with room */
    bool shrinking;                 /* free pages are given back */
};

/* Does one operation. 0 or a fatal code; then the caller rolls back and may do all again.
 * A read's answer is left in op->rows. */
int hub_store_tx_apply(struct hub_store_tx *tx, struct hub_op *op) BT_MUST_CHECK;
/* 0 when everything is on the disk. Without a write there is nothing to wait for. */
int hub_store_tx_commit(struct hub_store_tx *tx) BT_MUST_CHECK;
void hub_store_tx_rollback(struct hub_store_tx *tx);
/* Undoes what apply did to the operation itself, so that it can be applied again. */
void hub_store_tx_restore(struct hub_op *op);

/* hub/store/store_reap.c. Deletes the session's queue, or the start of it and remembers
 * the rest. */
int hub_store_reap_begin(struct hub_store_tx *tx, uint64_t sid) BT_MUST_CHECK;
/* A number that is used again must not meet rows of its last life: deletes them all. */
int hub_store_reap_finish(struct hub_store_tx *tx, uint64_t sid) BT_MUST_CHECK;
/* Deletes the next HUB_STORE_REAP rows of ended sessions. */
int hub_store_reap_step(struct hub_store_tx *tx) BT_MUST_CHECK;
/* After a commit (kept) or a rollback. */
void hub_store_reap_settle(struct hub_store_tx *tx, bool kept);
/* hub/store/store_space.c. The budget of the files, 0 = none. */
int hub_store_space_limit(struct hub_store_tx *tx, uint64_t bytes) BT_MUST_CHECK;
/* Whether the disk has room for one more group. Gives back what the log holds when there
 * is little. */
bool hub_store_space_left(struct hub_store_tx *tx, const char *path);
/* Starts giving free pages back when most of the file is free. */
int hub_store_shrink_begin(struct hub_store_tx *tx) BT_MUST_CHECK;
int hub_store_shrink_step(struct hub_store_tx *tx) BT_MUST_CHECK;

/* hub/store/store_clean.c. Starts a round when there may be something to remove. */
int hub_store_clean_begin(struct hub_store_tx *tx) BT_MUST_CHECK;
/* Goes on with the round, if there is one. */
int hub_store_clean_step(struct hub_store_tx *tx) BT_MUST_CHECK;
/* 1 more or less row for a message; flushes when the table is full. Of a released row,
 * whose mid is negative, there is no message. */
int hub_store_tx_count(struct hub_store_tx *tx, uint64_t mid, int rows,
                       struct hub_msg *msg) BT_MUST_CHECK;
int hub_store_tx_begin(struct hub_store_tx *tx) BT_MUST_CHECK; /* unless begun */
/* Messages of this group that are not written yet. */
int hub_store_tx_flush(struct hub_store_tx *tx) BT_MUST_CHECK;

/* hub/store/store_retain.c. A retained message that came or went: remembered, and
 * forgotten when the same topic changes again before the commit. */
int hub_store_retain(struct hub_store_tx *tx, struct hub_op *op) BT_MUST_CHECK;
/* Writes what is remembered. */
int hub_store_retain_flush(struct hub_store_tx *tx) BT_MUST_CHECK;
void hub_store_retain_forget(struct hub_store_tx *tx);

/* hub/store/store_inflight.c: HUB_OP_RELEASE, HUB_OP_INCOMING_x, the end of a session, a
 * row told to the visitor. */
int hub_store_release(struct hub_store_tx *tx, struct hub_op *op) BT_MUST_CHECK;
int hub_store_incoming(struct hub_store_tx *tx, struct hub_op *op) BT_MUST_CHECK;
int hub_store_incoming_end(struct hub_store_tx *tx, uint64_t sid) BT_MUST_CHECK;
int hub_store_load_incoming(struct hub_store_tx *tx,
                            const struct hub_store_visitor *v) BT_MUST_CHECK;

/* hub/store/store_relief.c. Takes out of the chain, of which every operation was
 * restored, the reads and removals that can be done while nothing can be stored. Returns
 * them, done. */
struct hub_op *hub_store_relieve(struct hub_store_tx *tx, struct hub_op **head,
                                 struct hub_op ***tail) BT_MUST_CHECK;

/* Takes out the reads that are answered by what is committed; the others set left. */
struct hub_op *hub_store_answer_reads(struct hub_store_tx *tx, struct hub_op **head,
                                      struct hub_op ***tail, bool *left) BT_MUST_CHECK;

/* hub/store/store_will.c: HUB_OP_WILL_PUT and HUB_OP_WILL_DEL. */
int hub_store_will(struct hub_store_tx *tx, struct hub_op *op) BT_MUST_CHECK;

/* hub/store/store_load.c. The tables of a new database. */
int hub_store_schema(struct bt_db *db) BT_MUST_CHECK;
/* Opens, checks and prepares; salvages a damaged file. */
int hub_store_tx_open(struct hub_store_tx *tx, const char *path) BT_MUST_CHECK;
int hub_store_tx_load(struct hub_store_tx *tx,
                      const struct hub_store_visitor *v) BT_MUST_CHECK;
void hub_store_tx_close(struct hub_store_tx *tx);
/* hub/store/store_row.c. The message of a row whose columns from `column` are those of
 * message, mid excepted; whatever they hold. NULL when out of memory. */
struct hub_msg *hub_store_row_msg(struct bt_db *db, unsigned stmt,
                                  int column) BT_MUST_CHECK;
/* Its topic was none: it stands for a row that has to go. */
bool hub_store_row_spoiled(const struct hub_msg *m);
/* Values of other rows: whether they can be used, or what is used instead. */
#define HUB_STORE_LAST_KEY \
    ((uint64_t)1 << 62) /* of sid, qseq, mid: leaves room to count */
bool hub_store_row_session(uint64_t sid, const char *client, uint64_t first_qseq,
                           uint64_t last_qseq);
bool hub_store_row_filter(const char *filter);
int64_t hub_store_row_time(int64_t ms);
uint32_t hub_store_row_subid(int64_t subid); /* 0: none */

#endif
