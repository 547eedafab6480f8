/* The store's thread: a loop, a mailbox and group commit.
 *
 * Batches that arrive are chained. At the end of a turn one transaction takes what is
 * there, at most HUB_STORE_GROUP operations, and commits; what arrived meanwhile is the
 * next group. So a group is as large as the disk is slow, without a timer. After the
 * commit reads are answered and tickets completed, in order.
 *
 * When the database fails (disk full, I/O error) the group is rolled back, its operations
 * get back the state they had, and all of it is tried again after a growing pause;
 * nothing is acknowledged and nothing is dropped. What waits is bounded by what
 * publishers may have unacknowledged. Damage does not get better by waiting: it leaves a
 * note and has all modules started again, which salvages what can be read.
 *
 * With an interval (durability: batched) operations are accepted as they come, their
 * tickets complete at once, and the groups wait for a timer. What is accepted is bounded;
 * beyond that, and while the store fails, tickets wait for the commit as they do without
 * an interval. A read is answered from what is committed, or else commits what waits.
 *
 *   IDLE --batch--> GROUP --commit--> IDLE     GROUP --failure--> PAUSE --timer--> GROUP
 */
#include "hub/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/session/quota.h"
#include "hub/store/store_metric.h"
#include "hub/store/store_salvage.h"
#include "hub/store/store_tx.h"

#define STORE_RETRY_MIN_MS 100u
#define STORE_RETRY_MAX_MS 5000u
#define STORE_REFUSE_MS    400u   /* failing for so long is as bad as being full */
#define STORE_REAP_BELOW   1024u  /* groups up to this also reap a chunk */
#define STORE_ACCEPT_OPS   65536u /* accepted before their commit, at most */
#define STORE_ACCEPT_BYTES ((size_t)32 * 1024 * 1024) /* and their payload */

enum store_msg { STORE_OPS, STORE_WAKE, STORE_STOP };

struct hub_store {
    struct bt_loop *loop;
    struct bt_mbox *mbox;
    struct bt_super *super;
    char *path; /* NULL in memory */
    pthread_t thread;
    bool running, watched;
    struct hub_op *head, **tail; /* waiting */
    struct bt_msg wake, stop;
    bool woken, stopping;
    bool arrived; /* something, since the last turn */
    bool damage_told;
    struct bt_timer retry;
    uint32_t retry_ms; /* 0 = the last group was committed */
    struct bt_timer clean;
    struct bt_timer interval;
    uint32_t clean_ms;
    uint32_t interval_ms; /* 0 = a group is committed as soon as the last one is */
    bool due;             /* commit now, interval or not */
    bool read_waits;      /* something is to be read, since the last turn */
    uint32_t n_waiting;
    size_t accepted_bytes;
    struct hub_store_tx tx;
};

/* Answers, completes and frees one operation whose fate is settled. */
static void finish_op(struct hub_op *op, bool ok)
{
    struct hub_store_rows *rows = op->rows;

    op->rows = NULL;
    if (op->kind == HUB_OP_READ && rows == NULL) {
        rows = bt_calloc(1, sizeof(*rows));
        if (rows != NULL)
            *rows = (struct hub_store_rows){ .sid = op->sid, .failed = true };
    }
    if (rows != NULL) {
        rows->msg.kind = op->reply_kind;
        if (bt_mbox_post(op->reply, &rows->msg) == BT_MBOX_CLOSED)
            hub_store_rows_free(rows);
    }
    if (op->ticket != NULL)
        hub_ticket_done(op->ticket, ok);
    if (ok && op->kind != HUB_OP_READ && op->reply != NULL) {
        op->link.kind = op->reply_kind;
        if (bt_mbox_post(op->reply, &op->link) == 0)
            return;
    }
    hub_op_free(op);
}

static void left_queue(struct hub_store *s, uint32_t n, bool ok)
{
    s->n_waiting -= n;
    bt_metric_add(&hub_m_store_waiting, -(int64_t)n);
    bt_metric_add(&hub_m_store_ops, ok ? (int64_t)n : 0);
}

/* Settles the first n waiting operations. */
static void finish_ops(struct hub_store *s, uint32_t n, bool ok)
{
    uint32_t i;

    for (i = 0; i < n; i++) {
        struct hub_op *op = s->head;

        s->head = op->next;
        finish_op(op, ok);
    }
    if (s->head == NULL) {
        s->tail = &s->head;
        s->accepted_bytes = 0;
    }
    left_queue(s, n, ok);
}

/* Settles operations that were done out of turn. */
static void finish_chain(struct hub_store *s, struct hub_op *op)
{
    uint32_t n = 0;

    while (op != NULL) {
        struct hub_op *next = op->next;

        finish_op(op, true);
        op = next;
        n++;
    }
    left_queue(s, n, true);
}

/* While the store cannot write: what can be done all the same. */
static void relieve(struct hub_store *s)
{
    finish_chain(s, hub_store_relieve(&s->tx, &s->head, &s->tail));
}

static void told_damage(struct hub_store *s)
{
    if (s->damage_told)
        return;
    s->damage_told = true;
    if (s->path != NULL)
        hub_store_note(s->path);
    if (s->super != NULL)
        bt_super_restart(s->super, "the hub's store is damaged");
}

static void group_failed(struct hub_store *s, uint32_t n)
{
    struct hub_op *op = s->head;
    uint32_t i;

    hub_store_tx_rollback(&s->tx);
    s->tx.clean.running = s->tx.shrinking = false; /* the next round goes on */
    if (bt_db_full(s->tx.db) || s->retry_ms >= STORE_REFUSE_MS)
        hub_quota_disk(true);
    for (i = 0; i < n; i++, op = op->next)
        hub_store_tx_restore(op);
    bt_metric_add(&hub_m_store_failures, 1);
    bt_metric_set(&hub_m_store_degraded, 1);
    if (bt_db_damaged(s->tx.db))
        told_damage(s);
    bt_db_checkpoint(s->tx.db, false);
    s->retry_ms = s->retry_ms == 0 ? STORE_RETRY_MIN_MS
                                   : BT_MIN(s->retry_ms * 2, STORE_RETRY_MAX_MS);
    if (s->stopping)
        return;
    relieve(s);
    bt_timer_start(s->loop, &s->retry, s->retry_ms, 0);
}

/* Whether there is something to store and no room to do it. */
static bool no_room(struct hub_store *s)
{
    if (s->path == NULL || s->head == NULL || hub_store_space_left(&s->tx, s->path))
        return false;
    if (s->retry_ms == 0)
        bt_log(BT_LOG_ERROR, "HUB-STORE-FULL", "no room on the disk, publishers wait",
               "waiting=%u", s->n_waiting);
    hub_quota_disk(true);
    group_failed(s, 0);
    return true;
}

/* The last failure is over. */
static void recovered(struct hub_store *s)
{
    s->retry_ms = 0;
    hub_quota_disk(false);
    bt_metric_set(&hub_m_store_degraded, 0);
    bt_log(BT_LOG_INFO, "HUB-STORE-RECOVERED", "store writes again", "waiting=%u",
           s->n_waiting);
}

static void group_done(struct hub_store *s, uint64_t began_us, bool durable)
{
    hub_store_metric_commit(&s->tx, bt_clock_us() - began_us, durable);
    if (s->retry_ms != 0)
        recovered(s);
}

static size_t op_bytes(const struct hub_op *op)
{
    const struct hub_msg *m = op->entry != NULL ? op->entry->msg : op->retained;

    return m != NULL ? m->payload_len : 0;
}

/* What is done when there is time. */
static int background(struct hub_store_tx *tx, bool idle)
{
    int r = hub_store_reap_step(tx);

    if (r == 0)
        r = hub_store_clean_step(tx);
    return r == 0 && idle ? hub_store_shrink_step(tx) : r;
}

/* One transaction with the start of what waits. 0, or the failure. */
static int commit_group(struct hub_store *s)
{
    uint64_t began_us = bt_clock_us();
    struct hub_op *op = s->head;
    size_t bytes = 0;
    uint32_t n = 0;
    bool durable, tied = false;
    int r = 0;

    if (no_room(s))
        return BT_ELIMIT;
    s->tx.written = s->tx.skipped = s->tx.messages = s->tx.clean.removed = 0;
    s->tx.limiter.dropped = 0;
    while (r == 0 && op != NULL &&
           (tied || (n < HUB_STORE_GROUP && bytes < s->tx.group_bytes))) {
        r = hub_store_tx_apply(&s->tx, op);
        tied = op->tied;
        bytes += op_bytes(op);
        op = op->next;
        n++;
    }
    if (r == 0 && n <= STORE_REAP_BELOW)
        r = background(&s->tx, n == 0);
    durable = s->tx.begun;
    if (r == 0)
        r = hub_store_tx_commit(&s->tx);
    if (r < 0) {
        group_failed(s, n);
        return r;
    }
    group_done(s, began_us, durable);
    finish_ops(s, n, true);
    return 0;
}

static bool has_work(const struct hub_store *s)
{
    return s->head != NULL ||
           ((s->tx.reap != NULL || s->tx.clean.running || s->tx.shrinking) &&
            !s->stopping);
}

/* Reads of what is committed need not wait for the interval; others end it. */
static void read_early(struct hub_store *s)
{
    bool left = false;

    finish_chain(s, hub_store_answer_reads(&s->tx, &s->head, &s->tail, &left));
    s->due = s->due || left;
}

/* With an interval: whether a group may begin now. */
static bool is_due(struct hub_store *s)
{
    if (s->interval_ms == 0 || s->stopping || s->retry_ms != 0)
        return true;
    if (s->due)
        return true;
    if (!bt_timer_active(&s->interval))
        bt_timer_start(s->loop, &s->interval, s->interval_ms, 0);
    return false;
}

/* Whether anything can be committed in this turn. */
static bool can_commit(struct hub_store *s)
{
    return has_work(s) && !bt_timer_active(&s->retry) && is_due(s);
}

/* End of a turn. One group, then the loop looks at the mailbox again. */
static void on_turn(void *arg)
{
    struct hub_store *s = arg;
    bool arrived = s->arrived;

    s->arrived = false;
    if (arrived && bt_timer_active(&s->retry))
        relieve(s);
    else if (s->read_waits)
        read_early(s);
    s->read_waits = false;
    if (s->retry_ms != 0 && s->head == NULL && !bt_timer_active(&s->retry))
        recovered(s); /* all that failed was done out of turn */
    if (can_commit(s) && commit_group(s) < 0 && s->stopping) {
        while (s->head != NULL)
            finish_ops(s, 1, false);
    }
    s->due = s->due && s->head != NULL;
    if (s->stopping && s->head == NULL) {
        bt_loop_stop(s->loop);
        return;
    }
    if (can_commit(s) && !s->woken)
        s->woken = bt_mbox_post(s->mbox, &s->wake) == 0;
}

/* The end of a turn does the work. */
static void on_retry(struct bt_timer *t)
{
    (void)t;
}

static void on_interval(struct bt_timer *t)
{
    bt_container_of(t, struct hub_store, interval)->due = true;
}

static void on_clean(struct bt_timer *t)
{
    struct hub_store *s = bt_container_of(t, struct hub_store, clean);

    int r = 0;

    if (bt_timer_active(&s->retry))
        return;
    r = hub_store_clean_begin(&s->tx);
    if (r == 0)
        r = hub_store_shrink_begin(&s->tx);
    if (r < 0 && bt_db_damaged(s->tx.db))
        told_damage(s);
}

/* With an interval: what came is as good as safe. */
static void accept_batch(struct hub_store *s, struct hub_op *op)
{
    for (; op != NULL; op = op->next) {
        s->read_waits = s->read_waits || op->kind == HUB_OP_READ;
        /* The next packet of an exchange at QoS 2 waits for this one. */
        s->due = s->due || (op->reply != NULL && op->kind != HUB_OP_READ);
        s->accepted_bytes += op_bytes(op);
        if (s->n_waiting > STORE_ACCEPT_OPS || s->accepted_bytes > STORE_ACCEPT_BYTES)
            s->due = true;
        else if (op->ticket != NULL)
            hub_ticket_done(bt_steal(op->ticket), true);
    }
}

static void on_msg(void *arg, struct bt_msg *msg)
{
    struct hub_store *s = arg;
    struct hub_op *op;

    switch ((enum store_msg)msg->kind) {
    case STORE_OPS:
        op = bt_container_of(msg, struct hub_op, link);
        *s->tail = op;
        s->tail = op->batch_end;
        s->arrived = true;
        s->n_waiting += op->batch_n;
        bt_metric_add(&hub_m_store_waiting, op->batch_n);
        if (s->interval_ms != 0 && s->retry_ms == 0)
            accept_batch(s, op);
        break;
    case STORE_WAKE:
        s->woken = false;
        break;
    case STORE_STOP:
        s->stopping = true;
        bt_timer_stop(s->loop, &s->retry);
        break;
    }
}

void hub_store_submit(struct hub_store *s, struct hub_batch *b)
{
    struct hub_op *op = b->head;

    if (op == NULL)
        return;
    op->batch_end = b->tail;
    op->batch_n = b->n;
    op->link.kind = STORE_OPS;
    hub_batch_init(b);
    if (bt_mbox_post(s->mbox, &op->link) == 0)
        return;
    while (op != NULL) {
        struct hub_op *next = op->next;

        finish_op(op, false);
        op = next;
    }
}

/* Makes the folder and those above it. */
static int make_dir(char *path)
{
    char *p;

    for (p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            bt_log(BT_LOG_ERROR, "HUB-STORE", "cannot create the folder of storage.dir",
                   "path=%s error=" BT_LOG_Q, path, strerror(errno));
            return BT_EIO;
        }
        *p = '/';
    }
    return 0;
}

static int make_path(struct hub_store *s, const char *dir)
{
    size_t n = strlen(dir) + sizeof("/hub.db");

    s->path = bt_malloc(n);
    if (s->path == NULL)
        return BT_ENOMEM;
    snprintf(s->path, n, "%s/hub.db", dir);
    return make_dir(s->path);
}

static void store_free(struct hub_store *s)
{
    if (s->watched)
        bt_super_unwatch(s->super, s->loop);
    if (s->mbox != NULL)
        bt_mbox_close(s->mbox);
    while (s->head != NULL)
        finish_ops(s, 1, false);
    bt_mbox_free(s->mbox);
    bt_loop_free(s->loop);
    hub_store_tx_close(&s->tx);
    bt_free(s->path);
    bt_free(s);
}

int hub_store_open(const struct hub_store_opts *opts, struct hub_store **out)
{
    struct hub_store *s = bt_calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        return BT_ENOMEM;
    hub_store_metric_register();
    hub_quota_disk(false);
    s->super = opts->super;
    s->tail = &s->head;
    s->wake.kind = STORE_WAKE;
    s->stop.kind = STORE_STOP;
    s->interval_ms = opts->interval_ms;
    bt_timer_init(&s->retry, on_retry);
    bt_timer_init(&s->interval, on_interval);
    bt_timer_init(&s->clean, on_clean);
    s->clean_ms = opts->clean_ms;
    s->tx.clean.retention_ms = opts->retention_ms;
    s->tx.limiter.limits = opts->limits;
    s->tx.retain = opts->retain;
    r = opts->memory ? 0 : make_path(s, opts->dir);
    if (r == 0)
        r = hub_store_tx_open(&s->tx, s->path);
    if (r == 0)
        r = hub_store_space_limit(&s->tx, opts->max_disk);
    if (r == 0) {
        s->loop = bt_loop_new("store", false);
        s->mbox = s->loop != NULL ? bt_mbox_new(s->loop, on_msg, s) : NULL;
        r = s->mbox != NULL ? 0 : BT_ENOMEM;
    }
    if (r < 0) {
        store_free(s);
        return r;
    }
    bt_loop_on_prepare(s->loop, on_turn, s);
    atomic_store_explicit(
        &hub_quota.oldest_ms,
        opts->retention_ms != 0 ? bt_clock_wall_ms() - opts->retention_ms : 0,
        memory_order_relaxed);
    hub_quota_disk(false); /* what an earlier store of this process said */
    bt_metric_set(&hub_m_store_degraded, 0);
    *out = s;
    return 0;
}

int hub_store_load(struct hub_store *s, const struct hub_store_visitor *v)
{
    return hub_store_tx_load(&s->tx, v);
}

uint64_t hub_store_max_sid(const struct hub_store *s)
{
    return s->tx.max_sid;
}

static void *run(void *arg)
{
    struct hub_store *s = arg;

    bt_sys_thread_name("store");
    if (s->clean_ms != 0)
        bt_timer_start(s->loop, &s->clean, s->clean_ms, s->clean_ms);
    bt_loop_run(s->loop);
    bt_timer_stop(s->loop, &s->clean);
    bt_timer_stop(s->loop, &s->interval);
    return NULL;
}

struct bt_loop *hub_store_loop(struct hub_store *s)
{
    return s->loop;
}

int hub_store_start(struct hub_store *s)
{
    if (s->super != NULL) {
        int r = bt_super_watch(s->super, s->loop);

        if (r < 0)
            return r;
        s->watched = true;
    }
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        return bt_origin(BT_EIO, "starting the store's thread");
    s->running = true;
    return 0;
}

void hub_store_stop(struct hub_store *s)
{
    if (s == NULL)
        return;
    if (s->running && bt_mbox_post(s->mbox, &s->stop) == 0)
        pthread_join(s->thread, NULL);
    store_free(s);
}
