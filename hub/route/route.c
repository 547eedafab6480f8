/* Routing: from one publish to every receiver. The matched set comes from the worker's
 * cache; sessions of this worker are served now, those of other workers by one batch per
 * loop turn and worker that carries the message by reference.
 *
 * Acknowledged means safe: a publish is charged to its ticket once per stored entry, once
 * per batch item that still has to be stored on another worker, and once for the retained
 * copy. Failure modes: out of memory drops deliveries, counted; a ticket is then marked
 * failed. */
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/observe/recorder.h"
#include "hub/session/gather.h"
#include "hub/session/share.h"
#include "hub/worker.h"

static bool any_persistent(const struct hub_target *t, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if ((t[i].flags & HUB_SUB_PERSISTENT) != 0 && t[i].qos > 0)
            return true;
    return false;
}

bool hub_route_must_store(struct hub_worker *w, const struct hub_pub *pub)
{
    const struct hub_match *m;

    if (pub->qos == 0)
        return false;
    if (pub->retain)
        return true;
    m = hub_cache_lookup(w->cache, pub->topic);
    if (m == NULL)
        return true; /* out of memory: only a ticket can say that it failed */
    if (any_persistent(m->targets, m->n_targets))
        return true;
    for (uint32_t g = 0; g < m->n_groups; g++)
        if (any_persistent(m->groups[g].members, m->groups[g].n))
            return true;
    return w->conf->rules.n > 0 && hub_rules_must_store(w, pub);
}

static void charge(struct hub_ticket *ticket)
{
    if (ticket != NULL)
        atomic_fetch_add(&ticket->pending, 1);
}

static void fail(struct hub_ticket *ticket)
{
    if (ticket != NULL)
        atomic_store(&ticket->failed, true);
}

/* group -1: the sessions of worker `to`; otherwise one member of a shared subscription.
 */
static void send_away(struct hub_worker *w, struct hub_pub *pub, struct hub_match *m,
                      uint32_t to, int32_t group, uint32_t member,
                      struct hub_ticket *ticket)
{
    struct hub_xbatch *b = w->out[to];
    struct hub_xitem *it;

    if (b == NULL)
        b = w->out[to] = hub_xbatch_new();
    it = b == NULL ? NULL : hub_xbatch_add(b, pub, ticket != NULL);
    if (it == NULL) {
        hub_drop_all(w, pub->topic, HUB_DROP_NO_MEMORY);
        fail(ticket);
        return;
    }
    if (b->bytes >= HUB_TRANSIT_MAX) /* the end of the turn looks again */
        atomic_store(&w->transit.congested, true);
    charge(ticket);
    if (ticket != NULL && ticket->gather != NULL) {
        hub_gather_hold(ticket->gather);
        w->gathered = true;
    }
    it->ticket = ticket;
    it->group = group;
    it->member = member;
    /* A session that subscribes from now on gets a retained message by its SUBACK: who
     * gets it on its way is settled here. Everything else the other worker looks up by
     * itself, so that the two do not share the set's counter. */
    if (group >= 0 || pub->retain)
        it->match = hub_match_ref(m);
}

static void deliver_to(struct hub_worker *w, struct hub_pub *pub,
                       const struct hub_target *t, struct hub_ticket *ticket)
{
    struct hub_session *s = t->addr->session;

    (void)w;
    if (s != NULL)
        hub_session_deliver(s, pub, t, ticket);
}

static void deliver_slice(struct hub_worker *w, struct hub_pub *pub, struct hub_match *m,
                          struct hub_ticket *ticket)
{
    for (uint32_t i = m->first[w->index]; i < m->first[w->index + 1]; i++)
        deliver_to(w, pub, &m->targets[i], ticket);
}

static void deliver_group(struct hub_worker *w, struct hub_pub *pub, struct hub_match *m,
                          uint32_t g, struct hub_ticket *ticket)
{
    struct hub_group *group = &m->groups[g];
    uint32_t turn = atomic_fetch_add_explicit(&group->turn, 1, memory_order_relaxed);
    int32_t member = hub_share_pick(group, turn);
    const struct hub_target *t;

    if (member < 0)
        return; /* they all ended; so has the subscription */
    t = &group->members[member];
    if (t->addr->worker == w->index)
        deliver_to(w, pub, t, ticket);
    else
        send_away(w, pub, m, t->addr->worker, (int32_t)g, (uint32_t)member, ticket);
}

bool hub_route_share(struct hub_worker *w, struct hub_pub *pub, uint32_t share,
                     bool force, struct hub_ticket *ticket)
{
    struct hub_match *m = hub_cache_lookup(w->cache, pub->topic);
    bool done = true;

    if (m == NULL)
        return false;
    hub_match_ref(m);
    for (uint32_t g = 0; g < m->n_groups && done; g++) {
        if (m->groups[g].share != share)
            continue;
        done = force || hub_share_has_room(&m->groups[g]);
        if (done)
            deliver_group(w, pub, m, g, ticket);
    }
    hub_match_unref(m);
    return done;
}

/* The member chosen by another worker; it may have gone meanwhile. */
static void deliver_member(struct hub_worker *w, struct hub_pub *pub,
                           const struct hub_xitem *it)
{
    struct hub_group *group = &it->match->groups[it->group];
    const struct hub_target *t = &group->members[it->member];

    if (hub_addr_state(t->addr) > HUB_ADDR_OFFLINE ||
        hub_share_pick(group, it->member) == (int32_t)it->member)
        deliver_to(w, pub, t, it->ticket);
    else
        deliver_group(w, pub, it->match, (uint32_t)it->group, it->ticket);
}

static void keep_retained(struct hub_worker *w, struct hub_pub *pub,
                          struct hub_ticket *ticket)
{
    struct hub_msg *msg = NULL;
    struct hub_op *op;

    if (pub->payload.len == 0) {
        if (!hub_retain_del(w->hub->retain, pub->topic))
            return;
        op = hub_op_new(HUB_OP_RETAIN_DEL, 0);
        if (op != NULL)
            op->text = bt_strndup(pub->topic.ptr, pub->topic.len);
        if (op == NULL || op->text == NULL) {
            hub_op_free(op);
            fail(ticket);
            return;
        }
    } else {
        msg = hub_pub_msg(pub);
        op = msg == NULL ? NULL : hub_op_new(HUB_OP_RETAIN_PUT, 0);
        if (op == NULL || hub_retain_put(w->hub->retain, msg) != 0) {
            hub_msg_unref(msg);
            hub_op_free(op);
            fail(ticket);
            return;
        }
        op->retained = msg;
        if (msg->expires_ms != 0)
            hub_worker_need_tick(w); /* it goes when it has expired */
    }
    op->ticket = ticket;
    charge(ticket);
    hub_batch_add(&w->batch, op);
}

uint32_t hub_route(struct hub_worker *w, struct hub_pub *pub, struct hub_ticket *ticket)
{
    struct hub_match *m;
    uint32_t n;

    if (pub->retain)
        keep_retained(w, pub, ticket);
    m = hub_cache_lookup(w->cache, pub->topic);
    if (m == NULL) {
        hub_drop_all(w, pub->topic, HUB_DROP_NO_MEMORY);
        fail(ticket);
        return 0;
    }
    n = m->n_targets + m->n_groups;
    hub_match_ref(m); /* a delivery may change the index and so the cache */
    deliver_slice(w, pub, m, ticket);
    for (uint32_t i = 0; i < m->n_workers; i++) {
        uint32_t first = m->first[i], len = m->first[i + 1] - first;

        if (i == w->index || len == 0)
            continue;
        send_away(w, pub, m, i, -1, 0,
                  any_persistent(&m->targets[first], len) ? ticket : NULL);
    }
    for (uint32_t g = 0; g < m->n_groups; g++)
        deliver_group(w, pub, m, g, ticket);
    hub_match_unref(m);
    if (w->conf->rules.n > 0)
        hub_rules_route(w, pub, ticket);
    return n;
}

/* The sessions of this worker, found by the item's topic. */
static void deliver_found(struct hub_worker *w, struct hub_pub *pub,
                          struct hub_ticket *ticket)
{
    struct hub_match *m = hub_cache_lookup(w->cache, pub->topic);

    if (m == NULL) {
        hub_drop_all(w, pub->topic, HUB_DROP_NO_MEMORY);
        fail(ticket);
        return;
    }
    hub_match_ref(m);
    deliver_slice(w, pub, m, ticket);
    hub_match_unref(m);
}

static void take_item(struct hub_worker *w, struct hub_xitem *it)
{
    struct hub_pub pub;

    hub_xitem_pub(it, &pub);
    if (it->group >= 0)
        deliver_member(w, &pub, it);
    else if (it->match != NULL)
        deliver_slice(w, &pub, it->match, it->ticket);
    else
        deliver_found(w, &pub, it->ticket);
    hub_pub_deinit(&pub);
    hub_match_unref(it->match);
    if (it->ticket == NULL)
        return;
    if (it->ticket->gather != NULL)
        hub_gather_done(it->ticket->gather, &w->batch);
    hub_ticket_done(it->ticket, true);
}

void hub_route_batch(struct hub_worker *w, struct hub_xbatch *b)
{
    struct hub_xitem *it = NULL;

    while ((it = hub_xbatch_next(b, it)) != NULL)
        take_item(w, it);
    hub_transit_done(w, b->bytes);
    hub_xbatch_free(b);
}

static void discard(struct hub_worker *w, struct hub_xbatch *b)
{
    struct hub_xitem *it = NULL;

    while ((it = hub_xbatch_next(b, it)) != NULL) {
        struct hub_gather *g = it->ticket != NULL ? it->ticket->gather : NULL;

        if (g != NULL) {
            atomic_store(&g->broken, true);
            hub_gather_done(g, &w->batch);
        }
        if (it->ticket != NULL)
            hub_ticket_done(it->ticket, false);
        hub_msg_unref(it->msg);
        hub_match_unref(it->match);
    }
    hub_xbatch_free(b);
}

void hub_route_flush(struct hub_worker *w)
{
    for (uint32_t i = 0; i < w->hub->n_workers; i++) {
        struct hub_xbatch *b = bt_steal(w->out[i]);

        if (b == NULL)
            continue;
        b->msg.kind = HUB_W_DELIVER;
        hub_transit_add(w, w->hub->workers[i], b->bytes);
        /* A closed mailbox means the hub is ending: what must survive is in the store. */
        if (bt_mbox_post(w->hub->workers[i]->mbox, &b->msg) != 0) {
            hub_transit_done(w->hub->workers[i], b->bytes);
            discard(w, b);
        }
    }
}
