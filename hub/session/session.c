/* Sessions: how one begins, gets and loses its connection, and ends. What waits in it is
 * queue.c's.
 *
 * Happy path: new -> attach -> detach -> attach ... -> end. A session that does not
 * persist ends when it is detached. Failure modes: out of memory makes no session; a row
 * that could not be asked for is asked for at the next change. */
#include "hub/session/session.h"

#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/observe/recorder.h"
#include "hub/observe/sys.h"
#include "hub/session/queue.h"
#include "hub/session/replay.h"
#include "hub/session/share.h"
#include "hub/session/will.h"
#include "hub/worker.h"

uint32_t hub_id_hash(struct bt_slice id)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < id.len; i++)
        h = (h ^ id.ptr[i]) * 16777619u;
    return h ^ (h >> 15);
}

uint32_t hub_expiry_granted(const struct hub_conf *conf, uint32_t asked)
{
    int64_t most = conf->max_session_expiry / 1000;

    return most != 0 && asked > most ? (uint32_t)most : asked;
}

struct hub_session *hub_session_new(struct hub_worker *w, struct bt_slice id,
                                    uint64_t sid)
{
    struct hub_session *s = bt_calloc(1, sizeof(*s) + id.len + 1);

    if (s == NULL)
        return NULL;
    s->addr = hub_addr_new(w->index, s);
    if (s->addr == NULL) {
        bt_free(s);
        return NULL;
    }
    bt_metric_add(&hub_m_offline, 1);
    memcpy(s->id, id.ptr, id.len);
    s->id_len = (uint16_t)id.len;
    s->hash = hub_id_hash(id);
    s->worker = w;
    s->since_s = (uint32_t)(bt_loop_ms(w->loop) / 1000);
    s->sid = sid;
    if (hub_worker_add_session(w, s) != 0) {
        bt_metric_add(&hub_m_offline, -1);
        hub_addr_unref(s->addr);
        bt_free(s);
        return NULL;
    }
    hub_recorder_attach(s);
    return s;
}

void hub_session_disown(struct hub_session *s)
{
    while (s->unacked != NULL) {
        struct hub_unacked *u = s->unacked;

        s->unacked = u->next;
        if (u->done)
            hub_unacked_free(u);
        else
            u->orphan = true; /* freed when its commit completes */
    }
    s->unacked_tail = NULL;
    s->n_unacked = 0;
    s->addr->session = NULL;
}

void hub_session_free(struct hub_session *s)
{
    hub_queue_drop(s);
    hub_queue_drop_held(s);
    hub_replay_drop(s);
    hub_session_disown(s);
    while (s->filters != NULL) {
        struct hub_filter *f = s->filters;

        s->filters = f->next;
        hub_count_sub((struct bt_slice){ (const uint8_t *)f->text, f->len }, -1);
        hub_sys_subscribed(s->worker->hub->sys,
                           (struct bt_slice){ (const uint8_t *)f->text, f->len }, -1);
        hub_index_remove(s->worker->hub->index,
                         (struct bt_slice){ (const uint8_t *)f->text, f->len }, s->addr);
        bt_free(f);
    }
    bt_free(s->incoming);
    hub_will_free(s);
    bt_metric_add(s->link != NULL ? &hub_m_online : &hub_m_offline, -1);
    hub_worker_remove_session(s->worker, s);
    atomic_store_explicit(&s->addr->state, HUB_ADDR_GONE, memory_order_relaxed);
    hub_addr_unref(s->addr);
    bt_free(s);
}

void hub_session_end(struct hub_session *s)
{
    hub_will_publish(s); /* at the latest now (MQTT 5.0 §3.1.3.2.2) */
    if (hub_share_end(s))
        return;
    hub_drop_rest(s);
    if (s->stored) {
        struct hub_op *op = hub_op_new(HUB_OP_SESSION_DEL, s->sid);

        if (op != NULL)
            hub_batch_add(&s->worker->batch, op);
    }
    hub_session_free(s);
}

void hub_session_store(struct hub_session *s, int64_t disconnected_ms)
{
    struct hub_op *op = hub_op_new(HUB_OP_SESSION_PUT, s->sid);

    if (op == NULL)
        return;
    op->text = bt_strndup(s->id, s->id_len);
    op->text2 = bt_strdup(s->principal != NULL ? hub_principal_name(s->principal) : "");
    op->u32 = s->expiry_s;
    op->when = disconnected_ms;
    if (op->text == NULL || op->text2 == NULL) {
        hub_op_free(op);
        return;
    }
    s->stored = true;
    hub_batch_add(&s->worker->batch, op);
}

/* ---- Coming and going ---- */

void hub_session_attach(struct hub_session *s, struct hub_link *l, uint16_t window)
{
    if (s->link == NULL) {
        hub_count_online(1);
    }
    s->since_s = (uint32_t)(bt_loop_ms(s->worker->loop) / 1000);
    s->link = l;
    l->session = s;
    s->link_serial++;
    s->window = window;
    s->expires_ms = 0;
    /* All is sent again, as far as the new connection's window allows. */
    s->waiting = s->head;
    s->resending = l->ops->resent != NULL;
    s->worker->counts.inflight -= s->n_inflight;
    s->n_inflight = 0;
    /* And the client sends again what was not acknowledged to it. */
    s->n_owed = 0;
    for (struct hub_unacked *u = s->unacked; u != NULL; u = u->next)
        u->stale = true;
    hub_incoming_mark(&s->incoming, HUB_IN_OLD);
    hub_share_mark(s);
}

void hub_session_detach(struct hub_session *s, bool will)
{
    int64_t now = bt_clock_wall_ms();

    hub_replay_drop(s);
    if (s->link != NULL)
        s->link->session = NULL;
    if (s->link != NULL) {
        hub_count_online(-1);
    }
    s->since_s = (uint32_t)(bt_loop_ms(s->worker->loop) / 1000);
    s->link = NULL;
    s->link_serial++;
    hub_share_mark(s);
    s->read_stale = s->reading; /* an answer under way is for the old queue position */
    if (will)
        hub_will_lost(s);
    else
        hub_will_cancel(s);
    hub_incoming_mark(&s->incoming, HUB_IN_OLD);
    if (!s->persistent || s->expiry_s == 0) {
        hub_session_end(s);
        return;
    }
    hub_queue_trim(s);
    if (s->expiry_s != UINT32_MAX) {
        s->expires_ms = now + (int64_t)s->expiry_s * 1000;
        hub_worker_need_tick(s->worker);
    }
    hub_session_store(s, now);
}
