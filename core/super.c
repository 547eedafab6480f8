/* The idea: modules live in a table; create, start and stop are walks over it. Stopping
 * is a chain: ask the last running module, wait for its message, free it, ask the one
 * before. All that other threads want from here are messages that are part of the table,
 * so nothing can fail for lack of memory.
 *
 *   NEW -> create -> CREATED -> start -> RUNNING -> stop -> STOPPING -> (drained) -> free
 * -> NEW
 *
 * Failure: a module that cannot be created or started: those before it are stopped and
 * freed, exit status BT_EXIT_FAILED. A module that does not drain within `grace`, or a
 * second signal: children are killed, nothing is freed, BT_EXIT_FORCED. A loop that
 * stalls: reported, and the service manager is no longer fed, so that it restarts us. */
#include "core/super.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/child_priv.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mbox.h"
#include "core/mem.h"
#include "core/notify.h"

#define MAX_LOOPS 64u
#define TICK_MS   2500u /* half of BT_WATCHDOG_MS: an idle process hardly wakes */

enum state { NEW, CREATED, RUNNING, STOPPING };
enum kind { MSG_DRAINED, MSG_STOP, MSG_FAIL, MSG_AGAIN };

/* A message that is posted at most once. */
struct once {
    struct bt_msg msg;
    _Atomic bool posted;
};
struct entry {
    struct once drained;
    struct bt_super *super;
    const struct bt_module_ops *ops;
    struct bt_module_env env;
    void *self;
    enum state state;
    bool is_drained;
};
struct watched {
    struct bt_loop *loop;
    bool stalled;
};

struct bt_super {
    struct bt_super_opts opts;
    struct bt_loop *loop;
    struct bt_mbox *box;
    struct bt_signal term, intr, hup;
    struct bt_timer tick, grace;
    struct entry entries[BT_SUPER_MAX_MODULES];
    size_t n_entries;
    struct once stop, fail, again;
    int status;
    bool stopping, signalled;
    uint64_t signalled_ms;
    uint64_t feed_ms, fed_ms; /* the service manager's watchdog; 0 = none */
    pthread_mutex_t
        watch_lock; /* guards the two below: loops come and go on any thread */
    struct watched watched[MAX_LOOPS];
    size_t n_watched;
};

/* --- from any thread --- */

static void post_once(struct bt_super *s, struct once *o)
{
    if (!atomic_exchange(&o->posted, true))
        (void)!bt_mbox_post(s->box, &o->msg);
}

void bt_super_stopped(struct bt_super *super, void *module)
{
    size_t i;

    for (i = 0; i < super->n_entries; i++)
        if (super->entries[i].self == module)
            post_once(super, &super->entries[i].drained);
}

void bt_super_stop(struct bt_super *super)
{
    post_once(super, &super->stop);
}

void bt_super_fail(struct bt_super *super, const char *why)
{
    bt_log(BT_LOG_ERROR, "CORE-FAIL", "beyond repair, stopping", "why=" BT_LOG_Q, why);
    post_once(super, &super->fail);
}

void bt_super_restart(struct bt_super *super, const char *why)
{
    bt_log(BT_LOG_ERROR, "CORE-AGAIN", "starting all modules again", "why=" BT_LOG_Q,
           why);
    post_once(super, &super->again);
}

int bt_super_watch(struct bt_super *super, struct bt_loop *loop)
{
    int r = 0;

    pthread_mutex_lock(&super->watch_lock);
    if (super->n_watched < MAX_LOOPS)
        super->watched[super->n_watched++] = (struct watched){ .loop = loop };
    else
        r = BT_ELIMIT;
    pthread_mutex_unlock(&super->watch_lock);
    return r;
}

void bt_super_unwatch(struct bt_super *super, struct bt_loop *loop)
{
    size_t i;

    pthread_mutex_lock(&super->watch_lock);
    for (i = 0; i < super->n_watched; i++)
        if (super->watched[i].loop == loop)
            break;
    if (i < super->n_watched)
        super->watched[i] = super->watched[--super->n_watched];
    pthread_mutex_unlock(&super->watch_lock);
}

/* --- watchdog --- */

/* Whether the loop is turning; says so when that changes. */
static bool turns(struct watched *w, uint64_t now_ms)
{
    uint64_t since = bt_loop_busy_since(w->loop);
    bool stalled =
        since != UINT64_MAX && now_ms > since && now_ms - since > BT_WATCHDOG_MS;

    if (stalled && !w->stalled)
        bt_log(BT_LOG_ERROR, "CORE-STALL", "a loop does not turn", "loop=%s ms=%llu",
               bt_loop_name(w->loop), (unsigned long long)(now_ms - since));
    if (!stalled && w->stalled)
        bt_log(BT_LOG_WARN, "CORE-STALL-END", "a loop turns again", "loop=%s",
               bt_loop_name(w->loop));
    w->stalled = stalled;
    return !stalled;
}

static bool all_turn(struct bt_super *s, uint64_t now_ms)
{
    bool all = true;
    size_t i;

    pthread_mutex_lock(&s->watch_lock);
    for (i = 0; i < s->n_watched; i++)
        all &= turns(&s->watched[i], now_ms);
    pthread_mutex_unlock(&s->watch_lock);
    return all;
}

static void on_tick(struct bt_timer *t)
{
    struct bt_super *s = bt_container_of(t, struct bt_super, tick);
    uint64_t now_ms = bt_clock_ms();

    if (all_turn(s, now_ms) && s->feed_ms != 0 && now_ms - s->fed_ms >= s->feed_ms / 3) {
        (void)bt_notify("WATCHDOG=1");
        s->fed_ms = now_ms;
    }
}

/* --- stopping --- */

static void status_text(const char *verb, const char *what)
{
    char text[128];

    (void)snprintf(text, sizeof(text), "STATUS=%s %s", verb, what);
    (void)bt_notify(text);
}

static void free_module(struct entry *e)
{
    e->ops->free(e->self);
    e->self = NULL;
    e->state = NEW;
}

/* Ask the last one that runs; when none is left, end the run. */
static void stop_next(struct bt_super *s)
{
    size_t i;

    for (i = s->n_entries; i-- > 0;) {
        struct entry *e = &s->entries[i];

        if (e->state == STOPPING)
            return;
        if (e->state != RUNNING)
            continue;
        if (!e->is_drained) {
            e->state = STOPPING;
            status_text("stopping", e->ops->name);
            bt_log(BT_LOG_DEBUG, "CORE-STOPPING", "stopping a module", "module=%s",
                   e->ops->name);
            e->ops->stop(e->self);
            return;
        }
        free_module(e);
    }
    bt_loop_stop(s->loop);
}

static void begin_stop(struct bt_super *s, const char *why)
{
    if (s->stopping)
        return;
    s->stopping = true;
    bt_log(BT_LOG_INFO, "CORE-STOP", "stopping", "reason=%s grace_ms=%u", why,
           s->opts.grace_ms);
    (void)bt_notify(s->status == BT_EXIT_AGAIN ? "STATUS=starting again" : "STOPPING=1");
    bt_timer_start(s->loop, &s->grace, s->opts.grace_ms, 0);
    stop_next(s);
}

static void force(struct bt_super *s, const char *why)
{
    size_t i;

    for (i = 0; i < s->n_entries; i++)
        if (s->entries[i].state == STOPPING)
            bt_log(BT_LOG_ERROR, "CORE-FORCED", "leaving before a module has drained",
                   "module=%s reason=" BT_LOG_Q, s->entries[i].ops->name, why);
    bt_child_kill_all();
    s->status = BT_EXIT_FORCED;
    bt_loop_stop(s->loop);
}

static void on_grace(struct bt_timer *t)
{
    force(bt_container_of(t, struct bt_super, grace), "grace is over");
}

static void on_stop_signal(struct bt_super *s, int signum)
{
    if (s->signalled) {
        if (bt_clock_ms() - s->signalled_ms >= BT_SUPER_SAME_MS)
            force(s, "second signal");
        return;
    }
    s->signalled = true;
    s->signalled_ms = bt_clock_ms();
    if (s->status == BT_EXIT_AGAIN)
        s->status = BT_EXIT_OK;
    begin_stop(s, signum == SIGINT ? "SIGINT" : "SIGTERM");
}

static void on_term(struct bt_signal *w, int signum)
{
    on_stop_signal(bt_container_of(w, struct bt_super, term), signum);
}

static void on_intr(struct bt_signal *w, int signum)
{
    on_stop_signal(bt_container_of(w, struct bt_super, intr), signum);
}

static void on_hup(struct bt_signal *w, int signum)
{
    struct bt_super *s = bt_container_of(w, struct bt_super, hup);

    (void)signum;
    if (s->opts.on_hup != NULL)
        s->opts.on_hup(s->opts.arg);
}

static void on_drained(struct bt_super *s, struct entry *e)
{
    e->is_drained = true;
    if (e->state == STOPPING) {
        free_module(e);
        stop_next(s);
    }
}

static void on_message(void *arg, struct bt_msg *msg)
{
    struct bt_super *s = arg;
    struct once *once = bt_container_of(msg, struct once, msg);

    switch ((enum kind)msg->kind) {
    case MSG_DRAINED:
        on_drained(s, bt_container_of(once, struct entry, drained));
        break;
    case MSG_STOP:
        begin_stop(s, "request");
        break;
    case MSG_FAIL:
        s->status = BT_EXIT_FAILED;
        begin_stop(s, "failure");
        break;
    case MSG_AGAIN:
        if (s->stopping)
            break;
        s->status = BT_EXIT_AGAIN;
        begin_stop(s, "restart");
        break;
    }
}

/* --- life cycle --- */

static void *find_module(struct bt_super *super, const char *name)
{
    size_t i;

    for (i = 0; i < super->n_entries; i++)
        if (strcmp(super->entries[i].ops->name, name) == 0)
            return super->entries[i].self;
    return NULL;
}

static void watch_signals(struct bt_super *s)
{
    struct sigaction ignore;

    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &ignore, NULL);
    bt_signal_start(s->loop, &s->term, SIGTERM, on_term);
    bt_signal_start(s->loop, &s->intr, SIGINT, on_intr);
    bt_signal_start(s->loop, &s->hup, SIGHUP, on_hup);
}

struct bt_super *bt_super_new(const struct bt_super_opts *opts)
{
    struct bt_super *s = bt_calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->opts = *opts;
    if (s->opts.grace_ms == 0)
        s->opts.grace_ms = BT_SUPER_GRACE_MS;
    pthread_mutex_init(&s->watch_lock, NULL);
    s->stop.msg.kind = MSG_STOP;
    s->fail.msg.kind = MSG_FAIL;
    s->again.msg.kind = MSG_AGAIN;
    s->loop = bt_loop_new("main", true);
    s->box = s->loop != NULL ? bt_mbox_new(s->loop, on_message, s) : NULL;
    if (s->box == NULL || bt_child_reaper_start(s->loop) != 0) {
        bt_mbox_free(s->box);
        bt_loop_free(s->loop);
        pthread_mutex_destroy(&s->watch_lock);
        bt_free(s);
        return NULL;
    }
    bt_timer_init(&s->tick, on_tick);
    bt_timer_init(&s->grace, on_grace);
    watch_signals(s);
    return s;
}

int bt_super_add(struct bt_super *super, const struct bt_module_ops *ops,
                 const void *conf)
{
    struct entry *e;

    if (super->n_entries == BT_SUPER_MAX_MODULES)
        return BT_ELIMIT;
    e = &super->entries[super->n_entries++];
    e->super = super;
    e->ops = ops;
    e->drained.msg.kind = MSG_DRAINED;
    e->env = (struct bt_module_env){ .super = super,
                                     .main_loop = super->loop,
                                     .work_dir = super->opts.work_dir,
                                     .conf = conf,
                                     .find = find_module };
    return 0;
}

static int create_all(struct bt_super *s)
{
    size_t i;
    int r;

    for (i = 0; i < s->n_entries; i++) {
        struct entry *e = &s->entries[i];

        r = e->ops->create(&e->env, &e->self);
        if (r != 0) {
            e->self = NULL;
            bt_log(BT_LOG_ERROR, "CORE-CREATE", "a module cannot be set up",
                   "module=%s error=" BT_LOG_Q, e->ops->name, bt_error_text(r));
            return r;
        }
        e->state = CREATED;
    }
    return 0;
}

static int start_all(struct bt_super *s)
{
    size_t i;
    int r;

    for (i = 0; i < s->n_entries; i++) {
        struct entry *e = &s->entries[i];

        r = e->ops->start(e->self);
        if (r != 0) {
            bt_log(BT_LOG_ERROR, "CORE-START", "a module cannot start",
                   "module=%s error=" BT_LOG_Q, e->ops->name, bt_error_text(r));
            return r;
        }
        e->state = RUNNING;
    }
    for (i = 0; i < s->n_entries; i++)
        if (s->entries[i].ops->open != NULL)
            s->entries[i].ops->open(s->entries[i].self);
    return 0;
}

/* Those that never ran. */
static void free_created(struct bt_super *s)
{
    size_t i;

    for (i = s->n_entries; i-- > 0;)
        if (s->entries[i].state == CREATED)
            free_module(&s->entries[i]);
}

static void say_ready(struct bt_super *s)
{
    bt_log(BT_LOG_INFO, "CORE-READY", "ready", "modules=%zu", s->n_entries);
    (void)bt_notify("READY=1\nSTATUS=ready");
    if (s->opts.on_ready != NULL)
        s->opts.on_ready(s->opts.arg);
}

int bt_super_run(struct bt_super *super)
{
    if (create_all(super) != 0) {
        free_created(super);
        return BT_EXIT_FAILED;
    }
    super->feed_ms = bt_notify_watchdog_ms();
    bt_timer_start(super->loop, &super->tick, TICK_MS,
                   super->feed_ms == 0 ? TICK_MS
                                       : BT_MAX(BT_MIN(super->feed_ms / 4, TICK_MS), 1u));
    if (start_all(super) == 0) {
        say_ready(super);
    } else {
        super->status = BT_EXIT_FAILED;
        /* Those that never started depend on those that run, so they go first. */
        free_created(super);
        begin_stop(super, "failed start");
    }
    bt_loop_run(super->loop);
    return super->status;
}

int bt_super_reload(struct bt_super *super, const struct bt_module_ops *ops,
                    const void *conf, struct bt_conf_ctx *owner)
{
    for (size_t i = 0; i < super->n_entries; i++) {
        struct entry *e = &super->entries[i];

        if (e->ops == ops && e->state == RUNNING && ops->reload != NULL)
            return ops->reload(e->self, conf, owner);
    }
    return BT_SUPER_NO_RELOAD;
}

void bt_super_api(struct bt_super *super, struct bt_api *api)
{
    for (size_t i = 0; i < super->n_entries; i++)
        super->entries[i].env.api = api;
}

struct bt_loop *bt_super_loop(struct bt_super *super)
{
    return super->loop;
}

void bt_super_free(struct bt_super *super)
{
    if (super == NULL || super->status == BT_EXIT_FORCED)
        return;
    bt_signal_stop(super->loop, &super->hup);
    bt_signal_stop(super->loop, &super->intr);
    bt_signal_stop(super->loop, &super->term);
    bt_timer_stop(super->loop, &super->grace);
    bt_timer_stop(super->loop, &super->tick);
    bt_child_reaper_stop(super->loop);
    bt_mbox_free(super->box);
    bt_loop_free(super->loop);
    pthread_mutex_destroy(&super->watch_lock);
    bt_free(super);
}
