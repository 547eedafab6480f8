/* The worker's thread: its mailbox, the end of each loop turn, and the tick.
 *
 * One turn: messages from other threads, then sockets; at its end the store operations,
 * the batches for other workers and all output leave together. The tick runs only while
 * something needs it. */
#include "hub/worker.h"

#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/access/login.h"
#include "hub/net/conn.h"
#include "hub/net/listener.h"
#include "hub/observe/query.h"
#include "hub/observe/recorder.h"
#include "hub/observe/sys.h"
#include "hub/session/local.h"
#include "hub/session/move.h"
#include "hub/session/share.h"
#include "hub/session/will.h"

#define SWEEP_NODES 512u /* of the retained tree, each tick */

static void on_accept(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_accepted *a = bt_container_of(msg, struct hub_accepted, msg);

    hub_conn_accept(w, a->fd, a->opts, false);
    bt_free(a);
}

static void on_adopt(struct hub_worker *w, struct bt_msg *msg)
{
    hub_conn_adopt(w, bt_container_of(msg, struct hub_conn, msg));
}

static void on_deliver(struct hub_worker *w, struct bt_msg *msg)
{
    hub_route_batch(w, bt_container_of(msg, struct hub_xbatch, msg));
}

static void on_published(struct hub_worker *w, struct bt_msg *msg)
{
    (void)w;
    hub_session_published(bt_container_of(msg, struct hub_unacked, ticket.msg));
}

static void on_answer(struct hub_worker *w, struct bt_msg *msg)
{
    (void)w;
    hub_answer_done(bt_container_of(msg, struct hub_answer, ticket.msg));
}

static void on_rows(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_store_rows *rows = bt_container_of(msg, struct hub_store_rows, msg);
    struct hub_session *s = hub_worker_find_sid(w, rows->sid);

    if (s != NULL) {
        hub_session_rows(s, rows);
        return;
    }
    while (rows->head != NULL) {
        struct hub_qentry *next = rows->head->next;

        hub_qentry_unref(rows->head);
        rows->head = next;
    }
    bt_free(rows);
}

static void on_left(struct hub_worker *w, struct bt_msg *msg)
{
    (void)w;
    hub_share_done(hub_share_of_ticket(msg));
}

static void on_done(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_op *op = bt_container_of(msg, struct hub_op, link);
    struct hub_session *s = hub_worker_find_sid(w, op->sid);

    if (s != NULL)
        hub_session_committed(s, op);
    hub_op_free(op);
}

static void close_all(struct hub_worker *w, uint8_t reason)
{
    struct bt_list *it, *tmp;

    bt_list_for_each_safe (it, tmp, &w->fresh)
        hub_conn_close(bt_list_entry(it, struct hub_conn, all), reason, false);
    bt_list_for_each_safe (it, tmp, &w->conns)
        hub_conn_close(bt_list_entry(it, struct hub_conn, all), reason, true);
    hub_local_close_all(w, reason);
}

static void on_stop(struct hub_worker *w, struct bt_msg *msg)
{
    (void)msg;
    w->stopping = true;
    if (w->index == 0)
        hub_listeners_close(w->hub);
    close_all(w, BT_MQTT_SHUTTING_DOWN);
    bt_timer_start(w->loop, &w->stopped, 0, 0);
}

/* Only now what the wills gave other workers is in their mailboxes, before their QUIT. */
static void on_stopped(struct bt_timer *t)
{
    struct hub_worker *w = bt_container_of(t, struct hub_worker, stopped);

    if (atomic_fetch_sub(&w->hub->n_running, 1) == 1)
        bt_super_stopped(w->hub->super, w->hub);
}

static void on_open(struct hub_worker *w, struct bt_msg *msg)
{
    (void)msg;
    if (!w->stopping)
        hub_listeners_start(w->hub);
}

static void on_room(struct hub_worker *w, struct bt_msg *msg)
{
    (void)msg;
    hub_transit_room(w);
}

static void on_quit(struct hub_worker *w, struct bt_msg *msg)
{
    (void)msg;
    close_all(w, BT_MQTT_SHUTTING_DOWN);
    bt_loop_stop(w->loop);
}

static void (*const handlers[])(struct hub_worker *w, struct bt_msg *msg) = {
    [HUB_W_ACCEPT] = on_accept,
    [HUB_W_ADOPT] = on_adopt,
    [HUB_W_DELIVER] = on_deliver,
    [HUB_W_PUBLISHED] = on_published,
    [HUB_W_ANSWER] = on_answer,
    [HUB_W_ROWS] = on_rows,
    [HUB_W_MOVED] = hub_move_done,
    [HUB_W_DONE] = on_done,
    [HUB_W_LOCAL] = hub_local_handle,
    [HUB_W_LEFT] = on_left,
    [HUB_W_CHECKED] = hub_login_checked,
    [HUB_W_SETTINGS] = hub_worker_settings,
    [HUB_W_QUERY] = hub_query_handle,
    [HUB_W_SYS] = hub_sys_start,
    [HUB_W_STOP] = on_stop,
    [HUB_W_QUIT] = on_quit,
    [HUB_W_OPEN] = on_open,
    [HUB_W_ROOM] = on_room,
};

static void on_message(void *arg, struct bt_msg *msg)
{
    struct hub_worker *w = arg;

    w->counts.messages++;
    handlers[msg->kind](w, msg);
}

static void on_prepare(void *arg)
{
    struct hub_worker *w = arg;
    struct bt_list *it;

    if (w->gathered) {
        hub_store_submit(w->hub->store, &w->batch);
        w->gathered = false;
    }
    hub_route_flush(w);
    /* Flushing may make room, and so more output, but never a new dirty connection for
     * ever: a connection that is full waits for its socket. */
    while ((it = bt_list_first(&w->dirty)) != NULL)
        hub_conn_flush(bt_list_entry(it, struct hub_conn, dirty));
    hub_route_flush(w);
    while ((it = bt_list_first(&w->graveyard)) != NULL)
        hub_conn_free(bt_list_entry(it, struct hub_conn, all));
    if (w->batch.n > 0)
        hub_store_submit(w->hub->store, &w->batch);
    hub_counts_add(&w->counts, w->index);
}

/* Wills whose delay has passed and sessions that expire; true when there will be more. */
static bool expire_sessions(struct hub_worker *w)
{
    int64_t now = bt_clock_wall_ms();
    uint64_t now_loop = bt_loop_ms(w->loop);
    bool waiting = false;

    for (uint32_t i = 0; i < w->sessions.cap; i++) {
        struct hub_session *s = w->sessions.by_id[i], *next;

        for (; s != NULL; s = next) {
            next = s->next_by_id;
            if (s->will != NULL)
                waiting |= hub_will_check(s, now_loop);
            if (s->expires_ms == 0)
                continue;
            if (s->expires_ms <= now) {
                bt_metric_add(&hub_m_expired, 1);
                hub_session_end(s);
            } else
                waiting = true;
        }
    }
    return waiting;
}

/* Retained messages that have expired: a part of the tree each time. */
static bool expire_retained(struct hub_worker *w)
{
    struct hub_retain_set gone;
    bool more = hub_retain_sweep(w->hub->retain, bt_clock_wall_ms(), SWEEP_NODES, &gone);

    for (size_t i = 0; i < gone.n; i++) {
        struct bt_slice topic = hub_msg_topic(gone.items[i]);
        struct hub_op *op = hub_op_new(HUB_OP_RETAIN_DEL, 0);

        if (op != NULL)
            op->text = bt_strndup(topic.ptr, topic.len);
        if (op == NULL || op->text == NULL) {
            hub_op_free(op); /* the next start finds it expired again */
            continue;
        }
        op->when = gone.items[i]->expires_ms;
        hub_batch_add(&w->batch, op);
    }
    hub_retain_set_deinit(&gone);
    return more;
}

static void on_tick(struct bt_timer *t)
{
    struct hub_worker *w = bt_container_of(t, struct hub_worker, tick);
    struct bt_list *it, *tmp;
    uint64_t now = bt_loop_ms(w->loop);
    bool needed = expire_sessions(w);

    needed |= expire_retained(w);
    bt_list_for_each_safe (it, tmp, &w->fresh)
        needed |= hub_conn_check_time(bt_list_entry(it, struct hub_conn, all), now);
    bt_list_for_each_safe (it, tmp, &w->conns)
        needed |= hub_conn_check_time(bt_list_entry(it, struct hub_conn, all), now);
    if (!needed)
        bt_timer_stop(w->loop, &w->tick);
}

void hub_worker_need_tick(struct hub_worker *w)
{
    if (!bt_timer_active(&w->tick))
        bt_timer_start(w->loop, &w->tick, HUB_TICK_MS, HUB_TICK_MS);
}

struct hub_worker *hub_worker_new(struct hub *hub, uint32_t index)
{
    static const char *const names[HUB_MAX_WORKERS] = {
        "hub.0", "hub.1", "hub.2",  "hub.3",  "hub.4",  "hub.5",  "hub.6",  "hub.7",
        "hub.8", "hub.9", "hub.10", "hub.11", "hub.12", "hub.13", "hub.14", "hub.15",
    };
    struct hub_worker *w = bt_calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->hub = hub;
    w->settings = hub_settings_ref(hub->settings);
    w->conf = w->settings->conf;
    w->index = index;
    bt_list_init(&w->fresh);
    bt_list_init(&w->conns);
    bt_list_init(&w->dirty);
    bt_list_init(&w->graveyard);
    bt_list_init(&w->locals);
    hub_batch_init(&w->batch);
    bt_timer_init(&w->tick, on_tick);
    bt_timer_init(&w->stopped, on_stopped);
    w->stop_msg.kind = HUB_W_STOP;
    w->quit_msg.kind = HUB_W_QUIT;
    w->open_msg.kind = HUB_W_OPEN;
    w->transit.room.kind = HUB_W_ROOM;
    w->loop = bt_loop_new(names[index], false);
    w->mbox = w->loop == NULL ? NULL : bt_mbox_new(w->loop, on_message, w);
    w->cache = hub_cache_new(hub->index);
    w->scratch = bt_malloc(HUB_SCRATCH);
    if (w->mbox == NULL || w->cache == NULL || w->scratch == NULL) {
        hub_worker_free(w);
        return NULL;
    }
    bt_loop_on_prepare(w->loop, on_prepare, w);
    return w;
}

static void free_sessions(struct hub_worker *w)
{
    for (uint32_t i = 0; i < w->sessions.cap; i++)
        while (w->sessions.by_id[i] != NULL)
            hub_session_free(w->sessions.by_id[i]);
    bt_free(w->sessions.by_id);
    bt_free(w->sessions.by_sid);
    hub_share_free_all(w);
}

void hub_worker_close(struct hub_worker *w)
{
    if (w->mbox != NULL)
        bt_mbox_close(w->mbox); /* completes what the store still said */
    hub_batch_discard(&w->batch);
}

void hub_worker_free(struct hub_worker *w)
{
    if (w == NULL)
        return;
    hub_worker_close(w);
    free_sessions(w);
    hub_batch_discard(&w->batch);
    if (w->loop != NULL) {
        bt_timer_stop(w->loop, &w->tick);
        bt_timer_stop(w->loop, &w->stopped);
        if (w->index == 0)
            hub_sys_stop(w->hub->sys, w->loop);
        bt_loop_on_prepare(w->loop, NULL, NULL);
    }
    bt_mbox_free(w->mbox);
    bt_loop_free(w->loop);
    hub_cache_free(w->cache);
    hub_recorder_free(w->recorder);
    hub_settings_unref(w->settings);
    hub_proofs_free(w->proofs);
    bt_free(w->scratch);
    bt_free(w);
}

static void *run(void *arg)
{
    struct hub_worker *w = arg;

    bt_sys_thread_name(bt_loop_name(w->loop));
    bt_loop_run(w->loop);
    on_prepare(w);
    return NULL;
}

int hub_worker_start(struct hub_worker *w)
{
    if (bt_super_watch(w->hub->super, w->loop) != 0)
        return BT_ENOMEM;
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        bt_super_unwatch(w->hub->super, w->loop);
        return bt_origin(BT_EIO, "cannot start a hub thread");
    }
    w->running = true;
    return 0;
}

void hub_worker_join(struct hub_worker *w)
{
    if (!w->running)
        return;
    if (bt_mbox_post(w->mbox, &w->quit_msg) == 0)
        (void)pthread_join(w->thread, NULL);
    w->running = false;
    bt_super_unwatch(w->hub->super, w->loop);
}
