/* A pool of instances.
 *
 * Happy path: a call takes the instance that was used last; when none is idle it
 * waits, and an instance is started for it as long as there are fewer than the
 * maximum. An answer puts the instance back and takes the first call that waits.
 * Failure modes: a call on an instance that breaks is tried again, in front of all
 * others, until its attempts or its time are used up; a call that timed out or was too
 * large is not. A start that fails pauses all starts (doubling, up to backoff.max),
 * and when no instance lives, the calls that wait are answered with the reason, so
 * that none waits for ever. An instance that ends before it served anything counts as
 * a failing start, or it would be restarted in a tight loop. Processes that are being
 * ended do not count as live, so that a stuck one is replaced at once, but there are
 * never more of them than the maximum before the next start. */
#include "funcmgr/pool.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/stats.h"

static void pump(struct fm_pool *p);

static void finish(struct fm_call *call, enum fm_outcome outcome, const char *message,
                   const char *type)
{
    struct fm_result result = { .outcome = outcome, .message = message, .type = type };

    call->done(call, &result);
}

static struct fm_call *take_waiting(struct fm_pool *p)
{
    struct bt_list *node = bt_list_first(&p->waiting);

    if (node == NULL)
        return NULL;
    bt_list_remove(node);
    p->n_waiting--;
    return bt_list_entry(node, struct fm_call, link);
}

static void put_waiting(struct fm_pool *p, struct fm_call *call, bool front)
{
    p->n_waiting++;
    if (front)
        bt_list_push_front(&p->waiting, &call->link);
    else
        bt_list_push_back(&p->waiting, &call->link);
}

/* Only the calls that wait now: an answer may bring new ones. */
static void fail_waiting(struct fm_pool *p, enum fm_outcome outcome, const char *message,
                         const char *type)
{
    for (size_t n = p->n_waiting; n > 0 && p->n_waiting > 0; n--)
        finish(take_waiting(p), outcome, message, type);
}

/* ---- Starting ---- */

static void pause_starts(struct fm_pool *p)
{
    uint64_t max = (uint64_t)p->conf->backoff_max;

    p->backoff = p->backoff == 0 ? FM_BACKOFF_MIN_MS : p->backoff * 2;
    p->backoff = BT_MIN(p->backoff, max);
    p->paused = true;
    bt_timer_start(p->env->loop, &p->backoff_timer, p->backoff, 0);
}

static void start_failed(struct fm_pool *p, const char *why)
{
    char message[1200];

    bt_metric_add(&fm_stat_start_failures, 1);
    snprintf(message, sizeof(message), "failed to start an instance of function %s: %s",
             p->conf->name, why);
    bt_log(BT_LOG_ERROR, "FUNC-START", "an instance did not start",
           "function=%s reason=\"%s\"", p->conf->name, why);
    if (p->closing)
        return;
    pause_starts(p);
    if (p->n_live == 0)
        fail_waiting(p, FM_NOT_STARTED, message, FM_START_ERROR);
}

static void start_one(struct fm_pool *p)
{
    const struct fm_function_conf *c = p->conf;
    struct fm_instance_opts opts = {
        .env = p->env,
        .owner = &p->owner,
        .interp = &p->interp,
        .number = ++p->next_number,
        .function = c->name,
        .handler = c->handler,
        .codedir = c->codedir,
        .extra_env = p->extra_env,
        .n_extra_env = c->env.n,
        .max_message = (size_t)c->max_message,
        .timeout = c->timeout,
    };
    struct fm_instance *in = fm_instance_new(&opts);
    int r = in != NULL ? fm_instance_start(in) : BT_ENOMEM;

    if (r != 0) {
        fm_instance_free(in);
        start_failed(p, bt_error_text(r));
        return;
    }
    p->n_live++;
    p->n_starting++;
    bt_metric_add(&fm_stat_instances, 1);
    bt_list_push_back(&p->others, &in->link);
}

static bool may_start(const struct fm_pool *p)
{
    return !p->closing && !p->paused && p->n_live < p->conf->max &&
           p->n_stopping <= p->conf->max;
}

/* Instances for the calls that wait, and for the minimum. */
static void start_wanted(struct fm_pool *p)
{
    while (may_start(p) && (p->n_live < p->conf->min || p->n_starting < p->n_waiting))
        start_one(p);
}

/* ---- Calls ---- */

static void call_too_large(struct fm_pool *p, struct fm_call *call, size_t len)
{
    char message[160];

    snprintf(
        message, sizeof(message),
        "rpc error: code = ResourceExhausted desc = grpc: trying to send message larger "
        "than max (%zu vs. %zu)",
        len, (size_t)p->conf->max_message);
    finish(call, FM_TOO_LARGE, message, FM_STATUS_ERROR);
}

static void dispatch(struct fm_pool *p, struct fm_instance *in, struct fm_call *call)
{
    uint64_t now = bt_loop_ms(p->env->loop);
    size_t len = 0;
    int r;

    if (call->deadline == 0)
        call->deadline = now + (uint64_t)p->conf->timeout;
    if (now >= call->deadline) {
        finish(call, FM_TIMEOUT,
               "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
               FM_STATUS_ERROR);
        return;
    }
    bt_list_remove(&in->link);
    bt_list_push_back(&p->others, &in->link);
    r = fm_instance_call(in, call, call->deadline - now, &len);
    if (r == 0)
        return;
    bt_list_remove(&in->link);
    bt_list_push_front(&p->idle, &in->link);
    if (r == BT_ELIMIT)
        call_too_large(p, call, len);
    else
        finish(call, FM_BROKEN,
               "rpc error: code = ResourceExhausted desc = out of memory",
               FM_STATUS_ERROR);
}

static void pump(struct fm_pool *p)
{
    while (p->n_waiting > 0 && !bt_list_empty(&p->idle)) {
        struct fm_instance *in =
            bt_list_entry(bt_list_first(&p->idle), struct fm_instance, link);

        dispatch(p, in, take_waiting(p));
    }
    start_wanted(p);
}

void fm_pool_call(struct fm_pool *p, struct fm_call *call)
{
    if (p->closing) {
        finish(call, FM_STOPPED, "the function manager stops", FM_START_ERROR);
        return;
    }
    put_waiting(p, call, false);
    pump(p);
}

void fm_pool_cancel(struct fm_pool *p, struct fm_call *call)
{
    bt_list_remove(&call->link);
    p->n_waiting--;
    finish(call, FM_STOPPED, "the session at the hub was closed", FM_START_ERROR);
}

/* ---- What instances say ---- */

static void count_stopping(struct fm_pool *p, struct fm_instance *in)
{
    bt_list_remove(&in->link);
    bt_list_push_back(&p->others, &in->link);
    p->n_live--;
    p->n_stopping++;
}

static void make_idle(struct fm_pool *p, struct fm_instance *in)
{
    if (p->closing) {
        count_stopping(p, in);
        fm_instance_stop(in);
        return;
    }
    in->idle_since = bt_loop_ms(p->env->loop);
    bt_list_remove(&in->link);
    bt_list_push_front(&p->idle, &in->link);
}

static void on_ready(void *arg, struct fm_instance *in)
{
    struct fm_pool *p = arg;

    p->n_starting--;
    p->backoff = 0;
    make_idle(p, in);
    pump(p);
}

static void on_failed(void *arg, struct fm_instance *in, const char *why)
{
    struct fm_pool *p = arg;

    p->n_starting--;
    count_stopping(p, in);
    start_failed(p, why);
}

static void on_lost(void *arg, struct fm_instance *in)
{
    struct fm_pool *p = arg;

    count_stopping(p, in);
    if (in->served == 0)
        start_failed(p, "it ended before its first call");
    pump(p);
}

static void on_answered(void *arg, struct fm_instance *in, struct fm_call *call,
                        const struct fm_result *result)
{
    struct fm_pool *p = arg;

    if (in->state == FM_READY)
        make_idle(p, in);
    else
        count_stopping(p, in);
    if (result->outcome == FM_BROKEN && call->attempts > 1 && !p->closing) {
        call->attempts--;
        bt_metric_add(&fm_stat_retries, 1);
        put_waiting(p, call, true);
    } else {
        call->done(call, result);
    }
    pump(p);
}

static void on_gone(void *arg, struct fm_instance *in)
{
    struct fm_pool *p = arg;

    bt_list_remove(&in->link);
    fm_instance_free(in);
    p->n_stopping--;
    bt_metric_add(&fm_stat_instances, -1);
    if (p->closing && p->n_live + p->n_stopping == 0)
        p->drained(p->arg);
    else
        pump(p);
}

/* ---- Timers ---- */

static void on_backoff(struct bt_timer *t)
{
    struct fm_pool *p = bt_container_of(t, struct fm_pool, backoff_timer);

    p->paused = false;
    pump(p);
}

static void on_evict(struct bt_timer *t)
{
    struct fm_pool *p = bt_container_of(t, struct fm_pool, evict_timer);
    uint64_t now = bt_loop_ms(p->env->loop);

    for (unsigned i = 0; i < FM_EVICT_SCAN && !bt_list_empty(&p->idle); i++) {
        struct fm_instance *oldest =
            bt_list_entry(p->idle.prev, struct fm_instance, link);

        if (p->n_live <= p->conf->min ||
            now - oldest->idle_since < (uint64_t)p->conf->idle)
            return;
        count_stopping(p, oldest);
        fm_instance_stop(oldest);
    }
}

/* ---- Life ---- */

static int copy_env(struct fm_pool *p)
{
    const struct bt_conf_strings *env = &p->conf->env;

    if (env->n == 0)
        return 0;
    p->extra_env = bt_calloc(env->n, sizeof(*p->extra_env));
    if (p->extra_env == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < env->n; i++)
        p->extra_env[i] =
            (struct bt_slice){ (const uint8_t *)env->items[i], strlen(env->items[i]) };
    return 0;
}

int fm_pool_init(struct fm_pool *p, const struct fm_function_conf *conf,
                 const struct fm_env *env, struct fm_interp *interp)
{
    *p = (struct fm_pool){ .conf = conf, .env = env, .interp = *interp };
    *interp = (struct fm_interp){ 0 };
    p->owner = (struct fm_instance_owner){ p,         on_ready, on_answered,
                                           on_failed, on_lost,  on_gone };
    bt_list_init(&p->idle);
    bt_list_init(&p->others);
    bt_list_init(&p->waiting);
    bt_timer_init(&p->evict_timer, on_evict);
    bt_timer_init(&p->backoff_timer, on_backoff);
    return copy_env(p);
}

void fm_pool_deinit(struct fm_pool *p)
{
    if (p->conf == NULL)
        return;
    bt_timer_stop(p->env->loop, &p->evict_timer);
    bt_timer_stop(p->env->loop, &p->backoff_timer);
    fm_interp_deinit(&p->interp);
    bt_free(p->extra_env);
    *p = (struct fm_pool){ 0 };
}

void fm_pool_start(struct fm_pool *p)
{
    uint64_t evict = (uint64_t)p->conf->evict;

    bt_timer_start(p->env->loop, &p->evict_timer, evict, evict);
    start_wanted(p);
}

static void stop_all(struct fm_pool *p, struct bt_list *list, bool busy_too)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, list) {
        struct fm_instance *in = bt_list_entry(it, struct fm_instance, link);

        if (in->state == FM_STOPPING)
            continue;
        if (in->state == FM_BUSY) {
            /* Answering moves it to the end of the same list, where it is met as
             * stopping. */
            if (busy_too)
                fm_instance_stop(in);
            continue;
        }
        if (in->state == FM_STARTING)
            p->n_starting--;
        count_stopping(p, in);
        fm_instance_stop(in);
    }
}

void fm_pool_close(struct fm_pool *p)
{
    if (p->closing)
        return;
    p->closing = true;
    bt_timer_stop(p->env->loop, &p->evict_timer);
    bt_timer_stop(p->env->loop, &p->backoff_timer);
    while (p->n_waiting > 0)
        finish(take_waiting(p), FM_STOPPED, "the function manager stops", FM_START_ERROR);
    stop_all(p, &p->idle, false);
    stop_all(p, &p->others, false);
    if (p->n_live + p->n_stopping == 0)
        p->drained(p->arg);
}

void fm_pool_kill(struct fm_pool *p)
{
    stop_all(p, &p->others, true);
}
