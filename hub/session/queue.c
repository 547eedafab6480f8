/* Sessions: the queue of deliveries. The list holds, in order, what is in flight, then
 * what waits. A persistent session gives every QoS 1 entry to the store as well; when the
 * list is full, or the client is away, entries are kept on disk only (on_disk) and read
 * back in order when there is room.
 *
 * Happy path: deliver -> list and store -> sent -> acknowledged before the store came to
 * it: the entry is marked dropped and never written. Failure modes: out of memory drops
 * one delivery, counted; a clean session whose list is full drops the newest, counted; a
 * failing read is tried again on the next acknowledgement. */
#include "hub/session/queue.h"

#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/observe/recorder.h"
#include "hub/session/gather.h"
#include "hub/session/quota.h"
#include "hub/session/replay.h"

#include "hub/session/share.h"
#include "hub/worker.h"

static void unlink_entries(struct hub_session *s, struct hub_qentry *from)
{
    while (from != NULL) {
        struct hub_qentry *next = from->next;

        s->n_queued--;
        s->worker->counts.queued--;
        hub_qentry_unref(from);
        from = next;
    }
}

void hub_queue_drop(struct hub_session *s)
{
    unlink_entries(s, s->head);
    s->head = s->waiting = s->tail = NULL;
    s->worker->counts.inflight -= s->n_inflight;
    s->n_inflight = 0;
}

/* ---- Entries of a gather, until they are in the store ---- */

static void hold(struct hub_session *s, struct hub_qentry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    e->next_held = s->held != NULL ? s->held->next_held : e;
    if (s->held != NULL)
        s->held->next_held = e;
    s->held = e;
}

static void unhold(struct hub_session *s)
{
    struct hub_qentry *first = s->held->next_held;

    if (first == s->held)
        s->held = NULL;
    else
        s->held->next_held = first->next_held;
    hub_qentry_unref(first);
}

/* Every entry up to this one is known to the store. */
static uint64_t stored_upto(const struct hub_session *s)
{
    return s->held != NULL ? s->held->next_held->qseq - 1 : s->qseq;
}

void hub_session_stored(struct hub_session *s, struct hub_qentry *e, bool refused)
{
    e->committed = true;
    e->refused = refused;
    while (s->held != NULL && s->held->next_held->committed)
        unhold(s);
    hub_session_pump(s);
}

/* What a gather has not submitted yet must not become a row of a session that is gone. */
void hub_queue_drop_held(struct hub_session *s)
{
    while (s->held != NULL) {
        uint32_t state = HUB_Q_NEW;

        atomic_compare_exchange_strong(&s->held->next_held->state, &state, HUB_Q_DROPPED);
        unhold(s);
    }
}

/* ---- Sending ---- */

static void send_publish(struct hub_session *s, struct hub_qentry *e)
{
    struct hub_pub pub = {
        .topic = hub_msg_topic(e->msg),
        .payload = hub_msg_payload(e->msg),
        .props = hub_msg_props(e->msg),
        .qos = e->qos,
        .msg = e->msg,
    };
    struct hub_out out = {
        .pub = &pub,
        .qos = e->qos,
        .n_subids = e->n_subids,
        .subids = hub_qentry_subids(e),
        .dup = e->sent,
        .retain = e->retain,
        .pid = hub_qseq_pid(e->qseq),
        .token = e->qseq,
    };

    e->sent = true;
    e->unsure = false;
    s->link->ops->publish(s->link, &out);
}

static void send_entry(struct hub_session *s, struct hub_qentry *e)
{
    if (e->phase == HUB_Q_PUBLISH)
        send_publish(s, e);
    else if (e->phase == HUB_Q_RELEASED)
        s->link->ops->acked(s->link, BT_MQTT_PUBREL, hub_qseq_pid(e->qseq), 0, 0);
}

/* Whether the next one may leave. At QoS 2 not before its row is on disk: after a crash
 * its identifier would mean another message. */
static bool may_send(const struct hub_session *s)
{
    const struct hub_qentry *e = s->waiting;

    if (s->link == NULL || e == NULL || s->n_inflight >= s->window)
        return false;
    if (e->qos == 2 && s->persistent && !e->committed)
        return false;
    return e->qseq - s->head->qseq < HUB_PIDS && s->link->ops->ready(s->link);
}

/* The store may drop QoS 2 rows behind those that can be in flight
 * (hub/store/store_limit.h): there must be none of those in memory. */
static bool may_lose_rows(const struct hub_session *s)
{
    const struct hub_conf *conf = s->worker->conf;

    return conf->overflow_qos2 == HUB_OVERFLOW_OLDEST && s->persistent &&
           (conf->max_session_messages != 0 || conf->max_session_bytes != 0);
}

static uint64_t max_queued(const struct hub_session *s)
{
    const struct hub_conf *conf = s->worker->conf;
    uint32_t own = hub_principal_limits(s->principal)->queue;
    uint64_t n = hub_quota_scaled(own != 0 ? own : conf->max_queued);

    return may_lose_rows(s) ? BT_MIN(n, conf->max_inflight) : n;
}

static void read_more(struct hub_session *s)
{
    struct hub_op *op;

    if (!s->on_disk || s->reading || s->link == NULL || s->n_queued > max_queued(s) / 2 ||
        stored_upto(s) < s->disk_from)
        return;
    op = hub_op_new(HUB_OP_READ, s->sid);
    if (op == NULL)
        return;
    op->qseq = s->disk_from;
    op->u32 = may_lose_rows(s)
                  ? (uint32_t)BT_MIN(HUB_READ_ROWS, BT_MAX(max_queued(s) / 2, 1))
                  : HUB_READ_ROWS;
    op->reply = s->worker->mbox;
    op->reply_kind = HUB_W_ROWS;
    s->read_upto = stored_upto(s);
    s->reading = true;
    hub_batch_add(&s->worker->batch, op);
}

void hub_session_dequeue(struct hub_session *s, struct hub_qentry *e)
{
    uint32_t state = HUB_Q_NEW;
    struct hub_op *op;

    if (!s->persistent ||
        atomic_compare_exchange_strong(&e->state, &state, HUB_Q_DROPPED) ||
        state == HUB_Q_DROPPED)
        return;
    op = hub_op_new(HUB_OP_DEQUEUE, s->sid);
    if (op == NULL)
        return;
    op->qseq = e->qseq;
    hub_batch_add(&s->worker->batch, op);
}

/* Remove an entry that was sent or passed over; by an earlier link, too: then it may wait
 * to be sent again. */
static void take_out(struct hub_session *s, struct hub_qentry *e)
{
    struct hub_qentry **at = &s->head, *prev = NULL;
    bool waits = e == s->waiting;

    while (*at != e) {
        waits |= *at == s->waiting;
        prev = *at;
        at = &prev->next;
    }
    *at = e->next;
    if (s->waiting == e)
        s->waiting = e->next;
    if (s->tail == e)
        s->tail = prev;
    s->n_queued--;
    s->worker->counts.queued--;
    if (!waits && s->n_inflight > 0) { /* 0: no link has sent it again yet */
        s->n_inflight--;
        s->worker->counts.inflight--;
    }
    hub_session_dequeue(s, e);
    hub_qentry_unref(e);
}

/* After permissions were narrowed: what waits may have been let in by the old ones. */
static bool is_forbidden(struct hub_session *s, const struct hub_qentry *e)
{
    if ((e->sent && !e->unsure) || e->phase != HUB_Q_PUBLISH)
        return false; /* the client has it already */
    if (e->next == NULL && !s->on_disk)
        s->recheck = false; /* the last one */
    return !hub_session_may_subscribe(s, hub_msg_topic(e->msg));
}

/* Delivery had not begun in time (MQTT 5.0 §3.3.2.3.3). An interval of 0 allows for the
 * millisecond it came in. */
static bool is_expired(const struct hub_qentry *e)
{
    return e->msg != NULL && e->msg->expires_ms != 0 && (!e->sent || e->unsure) &&
           e->msg->expires_ms < bt_clock_wall_ms();
}

/* Drop it instead of sending it? */
static bool pass_over(struct hub_session *s, struct hub_qentry *e)
{
    if (bt_unlikely(s->recheck) && is_forbidden(s, e))
        hub_drop(s, hub_msg_topic(e->msg), HUB_DROP_FORBIDDEN);
    else if (bt_unlikely(e->refused) && e->qos == 2)
        hub_drop(s, hub_msg_topic(e->msg), HUB_DROP_QUEUE_FULL);
    else if (bt_unlikely(hub_quota_too_old(e)))
        hub_drop(s, hub_msg_topic(e->msg), HUB_DROP_RETENTION);
    else if (is_expired(e))
        hub_drop(s, hub_msg_topic(e->msg), HUB_DROP_EXPIRED);
    else
        return false;
    /* A client that may have it waits for PUBREL; one that has not says so. */
    if (e->unsure && e->qos == 2 && hub_session_release(s, e) == 0)
        return true;
    take_out(s, e);
    return true;
}

/* Entries that were sent are in front of all others. */
static void tell_resent(struct hub_session *s)
{
    if (s->link == NULL || (s->waiting != NULL && s->waiting->sent))
        return;
    s->resending = false;
    s->link->ops->resent(s->link);
}

void hub_session_pump(struct hub_session *s)
{
    while (may_send(s)) {
        struct hub_qentry *e = s->waiting;

        s->waiting = e->next;
        s->n_inflight++;
        s->worker->counts.inflight++;
        if (!pass_over(s, e))
            send_entry(s, e);
    }
    hub_share_mark(s);
    if (bt_unlikely(s->resending))
        tell_resent(s);
    read_more(s);
    if (bt_unlikely(s->replay != NULL))
        hub_replay_pump(s);
}

static void append(struct hub_session *s, struct hub_qentry *e)
{
    e->next = NULL;
    if (s->tail != NULL)
        s->tail->next = e;
    else
        s->head = e;
    s->tail = e;
    if (s->waiting == NULL)
        s->waiting = e;
    s->n_queued++;
    s->worker->counts.queued++;
}

static void to_disk(struct hub_session *s, uint64_t from)
{
    if (!s->on_disk) {
        s->on_disk = true;
        s->disk_from = from;
        hub_record(s, &(struct hub_fact){ .kind = HUB_EV_ON_DISK });
    }
}

/* Hand the entry to the store; it completes the ticket after the commit. waits: for its
 * commit. */
static bool store_entry(struct hub_session *s, struct hub_qentry *e,
                        struct hub_ticket *ticket, bool waits)
{
    struct hub_op *op = hub_op_new(HUB_OP_ENQUEUE, s->sid);
    bool gathered = ticket != NULL && ticket->gather != NULL;

    if (op == NULL) {
        if (ticket != NULL)
            atomic_store(&ticket->failed, true);
        return false;
    }
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    op->entry = e;
    op->qseq = e->qseq;
    op->ticket = ticket;
    if (ticket != NULL)
        atomic_fetch_add(&ticket->pending, 1);
    if (gathered || waits) {
        op->reply = s->worker->mbox;
        op->reply_kind = HUB_W_DONE;
    }
    if (gathered) {
        hold(s, e);
        hub_gather_add(ticket->gather, op);
    } else {
        hub_batch_add(&s->worker->batch, op);
    }
    return true;
}

static void deliver_queued(struct hub_session *s, struct hub_pub *pub,
                           const struct hub_target *t, const struct hub_out *out,
                           struct hub_ticket *ticket)
{
    uint64_t limit = max_queued(s);
    struct hub_msg *msg;
    struct hub_qentry *e = NULL;
    bool spill;

    if (!s->persistent && (s->link == NULL || s->n_queued >= limit)) {
        hub_drop(s, pub->topic, s->link == NULL ? HUB_DROP_OFFLINE : HUB_DROP_QUEUE_FULL);
        return;
    }
    msg = hub_pub_msg(pub);
    if (msg != NULL) {
        e = hub_qentry_new(msg, s->qseq + 1);
        hub_msg_unref(msg);
    }
    if (e != NULL && hub_qentry_set_subids(e, t->subids, t->n_subids) != 0) {
        hub_qentry_unref(e);
        e = NULL;
    }
    if (e == NULL) {
        hub_drop(s, pub->topic, HUB_DROP_NO_MEMORY);
        if (ticket != NULL)
            atomic_store(&ticket->failed, true);
        return;
    }
    s->qseq++;
    e->qos = out->qos;
    e->retain = out->retain;
    e->share = t->share;
    spill = s->persistent && (s->on_disk || s->link == NULL || s->n_queued >= limit);
    if (s->persistent && !store_entry(s, e, ticket, e->qos == 2 && !spill)) {
        hub_qentry_unref(e);
        return;
    }
    if (spill) {
        to_disk(s, e->qseq);
        hub_qentry_unref(e);
        return;
    }
    hub_trace(s, HUB_EV_QUEUED, out->qos, pub->topic);
    append(s, e);
    hub_session_pump(s);
}

void hub_session_deliver(struct hub_session *s, struct hub_pub *pub,
                         const struct hub_target *t, struct hub_ticket *ticket)
{
    struct hub_out out = {
        .pub = pub,
        .qos = BT_MIN(pub->qos, t->qos),
        .retain = pub->retain && (t->flags & HUB_SUB_RETAIN_AS_PUBLISHED) != 0,
        .n_subids = t->n_subids,
        .subids = t->subids,
    };

    if ((t->flags & HUB_SUB_NO_LOCAL) != 0 && pub->origin == s->addr) {
        hub_record(s, &(struct hub_fact){ HUB_EV_NO_LOCAL, .text = pub->topic });
        return;
    }
    if (out.qos > 0)
        deliver_queued(s, pub, t, &out, ticket);
    else if (s->link != NULL)
        s->link->ops->publish(s->link, &out);
    else
        hub_drop(s, pub->topic, HUB_DROP_OFFLINE);
}

/* ---- Acknowledgements ---- */

struct hub_qentry *hub_session_inflight(const struct hub_session *s, uint16_t pid)
{
    struct hub_qentry *e = s->head;

    while (e != s->waiting && hub_qseq_pid(e->qseq) != pid)
        e = e->next;
    return e != s->waiting ? e : NULL;
}

void hub_session_complete(struct hub_session *s, struct hub_qentry *e)
{
    if (bt_unlikely(s->traced)) /* a QoS 2 entry lets go of its message before */
        hub_record_text(s, HUB_EV_ACKED, hub_qseq_pid(e->qseq),
                        e->msg != NULL ? hub_msg_topic(e->msg)
                                       : (struct bt_slice){ NULL, 0 });
    take_out(s, e);
    hub_session_pump(s);
}

bool hub_session_ack(struct hub_session *s, uint16_t pid)
{
    struct hub_qentry *e = hub_session_inflight(s, pid);

    if (e == NULL || e->qos != 1)
        return false;
    hub_session_complete(s, e);
    return true;
}

void hub_session_ack_local(struct hub_session *s, uint16_t pid)
{
    struct hub_qentry *e = hub_session_inflight(s, pid);

    if (e != NULL && !e->answering)
        hub_session_complete(s, e);
}

void hub_session_skip(struct hub_session *s, uint64_t token)
{
    struct hub_qentry *e = hub_session_inflight(s, hub_qseq_pid(token));

    if (e != NULL)
        hub_session_complete(s, e);
}

/* ---- A connection comes and goes ---- */

void hub_session_resume(struct hub_session *s)
{
    hub_session_pump(s);
}

/* While the client is away only what was sent stays in memory; the rest is on disk. */
void hub_queue_trim(struct hub_session *s)
{
    struct hub_qentry *e = s->head, *last = NULL;

    while (e != NULL && e->sent) {
        last = e;
        e = e->next;
    }
    s->waiting = NULL;
    if (e == NULL)
        return;
    if (!s->on_disk || e->qseq < s->disk_from) {
        s->on_disk = true;
        s->disk_from = e->qseq;
    }
    s->tail = last;
    if (last != NULL)
        last->next = NULL;
    else
        s->head = NULL;
    unlink_entries(s, e);
}

/* ---- What was read back ---- */

/* The first rows read after a start may have been sent before it. */
static void mark_unsure(struct hub_session *s, struct hub_store_rows *rows)
{
    struct hub_qentry *e = rows->head;

    for (; e != NULL && s->n_unsure > 0; e = e->next) {
        e->sent = e->unsure = true;
        s->n_unsure--;
    }
}

static void take_rows(struct hub_session *s, struct hub_store_rows *rows)
{
    struct hub_qentry *e = rows->head;

    /* What is behind read_upto may be behind something that is not in the store yet. */
    while (e != NULL && e->qseq <= s->read_upto) {
        struct hub_qentry *next = e->next;

        s->disk_from = e->qseq + 1;
        append(s, e);
        e = next;
    }
    rows->head = e;
    if (!rows->more || e != NULL) {
        s->disk_from = s->read_upto + 1;
        s->on_disk = s->qseq > s->read_upto;
    }
}

void hub_session_rows(struct hub_session *s, struct hub_store_rows *rows)
{
    bool stale;

    if (s->leaving) {
        hub_share_rows(s, rows);
        return;
    }
    stale = s->read_stale || s->link == NULL || rows->failed;

    s->reading = s->read_stale = false;
    if (!stale) {
        mark_unsure(s, rows);
        hub_share_sort_rows(s, rows);
        take_rows(s, rows);
    }
    while (rows->head != NULL) {
        struct hub_qentry *next = rows->head->next;

        hub_qentry_unref(rows->head);
        rows->head = next;
    }
    bt_free(rows);
    if (s->link != NULL)
        hub_session_pump(s);
}
