/* Shared subscriptions. Members are asked in turn, but only the best of them: a member
 * whose window is full is passed over while another has room, and one that is away gets
 * something only when nobody is there. What a member can take stands in its address,
 * where every worker can read it.
 *
 * A queue entry remembers its subscription by a hash of the filter. When the session ends
 * the entries that were not acknowledged are routed again, to the members that remain.
 * If they had rows, the session stays until the others have theirs: its row says that it
 * has ended, so a crash in between ends it again at the next start (twice delivered is
 * allowed at QoS 1, lost is not). A QoS 2 message that was sent before is not moved
 * ([MQTT-4.8.2-5]).
 *
 *   ends -> READ -> rows routed -> READ ... -> ticket -> session's rows deleted
 *              \-- no room -> pause --/
 *
 * Failure modes: without memory for the way the messages end with their session. */
#include "hub/session/share.h"

#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/observe/recorder.h"
#include "hub/session/move.h"
#include "hub/worker.h"

#define SHARE_ROWS     64u /* rows moved at once */
#define SHARE_RETRY_MS 20u

/* A session on its way; in its worker's list. */
struct hub_leaving {
    struct hub_ticket ticket; /* what its entries became */
    struct hub_leaving *next;
    struct hub_session *session;
    struct bt_timer retry; /* while the others have no room */
};

int32_t hub_share_pick(const struct hub_group *g, uint32_t turn)
{
    uint32_t best = HUB_ADDR_GONE, n = 0;

    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t state = hub_addr_state(g->members[i].addr);

        if (state > best) {
            best = state;
            n = 0;
        }
        n += state == best;
    }
    if (best == HUB_ADDR_GONE)
        return -1;
    turn %= n;
    for (uint32_t i = 0; i < g->n; i++)
        if (hub_addr_state(g->members[i].addr) >= best && turn-- == 0)
            return (int32_t)i;
    return 0; /* they changed meanwhile: anyone will do */
}

bool hub_share_has_room(const struct hub_group *g)
{
    uint32_t best = HUB_ADDR_GONE;

    for (uint32_t i = 0; i < g->n; i++) {
        uint32_t state = hub_addr_state(g->members[i].addr);

        if (state == HUB_ADDR_READY ||
            (state != HUB_ADDR_GONE && (g->members[i].flags & HUB_SUB_PERSISTENT) != 0))
            return true;
        best = BT_MAX(best, state);
    }
    return best == HUB_ADDR_GONE;
}

void hub_share_mark(struct hub_session *s)
{
    enum hub_addr_state state = s->link == NULL      ? HUB_ADDR_OFFLINE
                                : s->waiting != NULL ? HUB_ADDR_BUSY
                                                     : HUB_ADDR_READY;

    if (hub_addr_state(s->addr) != state)
        atomic_store_explicit(&s->addr->state, (uint8_t)state, memory_order_relaxed);
}

static bool is_share(const struct hub_filter *f)
{
    return hub_match_is_share((struct bt_slice){ (const uint8_t *)f->text, f->len });
}

static bool may_move(const struct hub_qentry *e)
{
    return e->share != 0 && e->msg != NULL && (e->qos == 1 || !e->sent);
}

/* To the other members of its group. false: they have no room. */
static bool route_again(struct hub_session *s, struct hub_qentry *e, bool force,
                        struct hub_ticket *ticket)
{
    struct hub_pub pub = {
        .topic = hub_msg_topic(e->msg),
        .payload = hub_msg_payload(e->msg),
        .props = hub_msg_props(e->msg),
        .qos = e->msg->qos,
        .retain = e->msg->retain,
        .msg = hub_msg_ref(e->msg),
    };

    bool done = hub_route_share(s->worker, &pub, e->share, force, ticket);

    hub_pub_deinit(&pub);
    return done;
}

/* ---- A filter was left, the session stays ---- */

/* As route_again, and its row goes when theirs are there. Not what a gather holds: it has
 * no row yet. */
static bool move(struct hub_session *s, struct hub_qentry *e, bool force)
{
    struct hub_ticket *t = NULL;
    bool done;

    if (s->held != NULL && e->qseq >= s->held->next_held->qseq)
        return false;
    if (s->persistent) {
        t = hub_move_begin(s, e);
        if (t == NULL)
            return false;
    }
    done = route_again(s, e, force, t);
    hub_move_end(s->worker, t, done);
    return done;
}

void hub_share_left(struct hub_session *s, struct bt_slice filter)
{
    uint32_t share = hub_match_share_id(filter);
    struct hub_qentry **at = &s->head, *last = NULL;
    bool waiting = false;

    while (*at != NULL) {
        struct hub_qentry *e = *at;

        waiting |= e == s->waiting;
        if (!waiting || e->share != share || e->sent || !move(s, e, true)) {
            last = e;
            at = &e->next;
            continue;
        }
        if (s->waiting == e)
            s->waiting = e->next;
        *at = e->next;
        s->n_queued--;
        s->worker->counts.queued--;
        hub_qentry_unref(e);
    }
    s->tail = last;
}

static bool subscribed(const struct hub_session *s, uint32_t share)
{
    const struct hub_filter *f = s->filters;

    while (f != NULL &&
           (!is_share(f) || hub_match_share_id((struct bt_slice){
                                (const uint8_t *)f->text, f->len }) != share))
        f = f->next;
    return f != NULL;
}

void hub_share_sort_rows(struct hub_session *s, struct hub_store_rows *rows)
{
    struct hub_qentry **at = &rows->head;

    while (*at != NULL) {
        struct hub_qentry *e = *at;

        if (e->share == 0 || e->msg == NULL || e->sent || subscribed(s, e->share) ||
            !move(s, e, false)) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        hub_qentry_unref(e);
    }
}

/* ---- The session ends ---- */

static struct hub_leaving *find(const struct hub_session *s)
{
    struct hub_leaving *l = s->worker->leaving;

    while (l->session != s)
        l = l->next;
    return l;
}

static void unlist(struct hub_worker *w, struct hub_leaving *l)
{
    struct hub_leaving **at = &w->leaving;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
}

/* Nobody routes to it or counts it as a member any more. true: it had shared ones. */
static bool leave_index(struct hub_session *s)
{
    bool shared = false;

    for (const struct hub_filter *f = s->filters; f != NULL; f = f->next)
        shared |= is_share(f);
    if (!shared)
        return false;
    for (const struct hub_filter *f = s->filters; f != NULL; f = f->next)
        hub_index_remove(s->worker->hub->index,
                         (struct bt_slice){ (const uint8_t *)f->text, f->len }, s->addr);
    atomic_store_explicit(&s->addr->state, HUB_ADDR_GONE, memory_order_relaxed);
    return true;
}

/* Of a session with rows only QoS 2: whether it was sent is not written there. */
static void route_memory(struct hub_session *s, struct hub_ticket *ticket)
{
    for (struct hub_qentry *e = s->head; e != NULL; e = e->next)
        if (may_move(e) && (ticket == NULL || e->qos == 2) &&
            !route_again(s, e, true, ticket))
            hub_drop(s, hub_msg_topic(e->msg), HUB_DROP_QUEUE_FULL);
}

static bool in_memory(const struct hub_session *s, const struct hub_qentry *e)
{
    const struct hub_qentry *it = s->head;

    while (it != NULL && it != e)
        it = it->next;
    return it != NULL;
}

/* What a gather has not given to the store yet is no row, and will be none. */
static void route_held(struct hub_session *s, struct hub_ticket *ticket)
{
    struct hub_qentry *e = s->held;

    if (e == NULL)
        return;
    do {
        uint32_t fresh = HUB_Q_NEW;

        e = e->next_held;
        if (!may_move(e) ||
            !atomic_compare_exchange_strong(&e->state, &fresh, HUB_Q_DROPPED))
            continue;
        if ((e->qos == 1 || !in_memory(s, e)) && !route_again(s, e, true, ticket))
            hub_drop(s, hub_msg_topic(e->msg), HUB_DROP_QUEUE_FULL);
    } while (e != s->held);
}

static bool read_next(struct hub_session *s)
{
    struct hub_op *op = hub_op_new(HUB_OP_READ, s->sid);

    if (op == NULL)
        return false;
    op->qseq = s->disk_from;
    op->u32 = SHARE_ROWS;
    op->reply = s->worker->mbox;
    op->reply_kind = HUB_W_ROWS;
    hub_batch_add(&s->worker->batch, op);
    return true;
}

static void on_retry(struct bt_timer *t)
{
    struct hub_leaving *l = bt_container_of(t, struct hub_leaving, retry);

    if (!read_next(l->session))
        hub_ticket_done(&l->ticket, false);
}

bool hub_share_end(struct hub_session *s)
{
    struct hub_leaving *l;

    if (s->leaving || !leave_index(s))
        return false;
    l = s->stored && (s->head != NULL || s->on_disk) ? bt_calloc(1, sizeof(*l)) : NULL;
    if (l == NULL) {
        route_memory(s, NULL);
        return false;
    }
    l->ticket.msg.kind = HUB_W_LEFT;
    l->ticket.to = s->worker->mbox;
    atomic_init(&l->ticket.pending, 1);
    l->session = s;
    bt_timer_init(&l->retry, on_retry);
    l->next = s->worker->leaving;
    s->worker->leaving = l;
    s->leaving = true;
    s->expires_ms = 0;
    s->expiry_s = 0;
    hub_session_store(s, bt_clock_wall_ms());
    hub_session_disown(s);
    route_memory(s, &l->ticket);
    route_held(s, &l->ticket);
    if (s->head != NULL)
        s->disk_from = s->head->qseq;
    if (!read_next(s))
        hub_ticket_done(&l->ticket, false);
    return true;
}

void hub_share_rows(struct hub_session *s, struct hub_store_rows *rows)
{
    struct hub_leaving *l = find(s);
    struct hub_qentry *e = rows->head;
    bool failed = rows->failed, more = rows->more;

    if (s->read_stale) { /* asked for before the session ended; ours follows */
        s->read_stale = false;
        hub_store_rows_free(rows);
        return;
    }
    for (; e != NULL; e = e->next) {
        if (e->qos == 1 && may_move(e) && !route_again(s, e, false, &l->ticket))
            break;
        s->disk_from = e->qseq + 1;
    }
    if (e != NULL)
        bt_timer_start(s->worker->loop, &l->retry, SHARE_RETRY_MS, 0);
    hub_store_rows_free(rows);
    if (e == NULL && (failed || !more || !read_next(s)))
        hub_ticket_done(&l->ticket, !failed && !more);
}

struct hub_leaving *hub_share_of_ticket(struct bt_msg *msg)
{
    return bt_container_of(msg, struct hub_leaving, ticket.msg);
}

void hub_share_done(struct hub_leaving *l)
{
    struct hub_session *s = l->session;
    struct hub_op *op = NULL;

    if (atomic_load(&l->ticket.failed))
        bt_log(BT_LOG_WARN, "HUB-SHARE",
               "shared messages of an ended session wait for the next start", "client=%s",
               s->id);
    else
        op = hub_op_new(HUB_OP_SESSION_DEL, s->sid);
    if (op != NULL)
        hub_batch_add(&s->worker->batch, op);
    unlist(s->worker, l);
    hub_session_free(s);
    bt_free(l);
}

void hub_share_free_all(struct hub_worker *w)
{
    while (w->leaving != NULL) {
        struct hub_leaving *l = w->leaving;

        w->leaving = l->next;
        bt_timer_stop(w->loop, &l->retry);
        bt_free(l);
    }
}
