/* A pool of instances: the calls. Starts and ends of instances are in pool_start.c.
 *
 * Happy path: a call takes the instance that was used last; when none is idle, one that
 * may run several calls and has a free place; when there is none, it waits, and an
 * instance is started for it as long as there are fewer than the maximum. When no more
 * may be started and calls are short, it is sent ahead to an instance that is busy. An
 * answer takes the first call that waits.
 * Failure modes: a call that ran in an instance that broke is tried again, in front of
 * all others and at last alone, until its attempts or its time are used up; a call that
 * timed out or was too large is not. Calls that had only been sent ahead go back to the
 * front of the queue, in their order. Beyond FM_POOL_MAX_WAITING calls are refused,
 * except those of rules at QoS 1, which the rules' windows bound. */
#include "funcmgr/pool/pool.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/mem.h"
#include "funcmgr/pool/pool_priv.h"
#include "funcmgr/stats.h"

static const struct fm_result stopped = {
    .outcome = FM_STOPPED,
    .message = "rpc error: code = Canceled desc = the function manager stops",
    .type = FM_STATUS_ERROR,
};

/* Every call of the pool ends here. */
static void end_call(struct fm_pool *p, struct fm_call *call,
                     const struct fm_result *result)
{
    fm_stats_end(p->stats, call, result->outcome, bt_loop_us(p->env->loop));
    call->done(call, result);
}

static void finish(struct fm_pool *p, struct fm_call *call, enum fm_outcome outcome,
                   const char *message, const char *type)
{
    struct fm_result result = { .outcome = outcome, .message = message, .type = type };

    end_call(p, call, &result);
}

/* ---- The queue ---- */

static void unqueue(struct fm_pool *p, struct fm_call *call)
{
    bt_list_remove(&call->link);
    p->n_waiting--;
    p->waiting_bytes -= call->charged;
}

static struct fm_call *first_waiting(const struct fm_pool *p)
{
    struct bt_list *node = bt_list_first(&p->waiting);

    return node == NULL ? NULL : bt_list_entry(node, struct fm_call, link);
}

static void put_waiting(struct fm_pool *p, struct fm_call *call, bool front)
{
    call->in = NULL;
    call->begun = false;
    p->n_waiting++;
    call->charged = call->message.payload.len;
    p->waiting_bytes += call->charged;
    if (front)
        bt_list_push_front(&p->waiting, &call->link);
    else
        bt_list_push_back(&p->waiting, &call->link);
}

static struct fm_call *first_impatient(const struct fm_pool *p)
{
    struct bt_list *it;

    bt_list_for_each (it, &p->waiting) {
        struct fm_call *call = bt_list_entry(it, struct fm_call, link);

        if (!call->patient)
            return call;
    }
    return NULL;
}

/* Only the calls that wait now: an answer may bring new ones. */
void fm_pool_fail_waiting(struct fm_pool *p, const char *message)
{
    for (size_t n = p->n_waiting; n > 0; n--) {
        struct fm_call *call = first_impatient(p);

        if (call == NULL)
            return;
        unqueue(p, call);
        finish(p, call, FM_NOT_STARTED, message, FM_START_ERROR);
    }
}

/* ---- Calls to instances ---- */

static void call_too_large(struct fm_pool *p, struct fm_call *call, size_t len)
{
    char message[160];

    snprintf(
        message, sizeof(message),
        "rpc error: code = ResourceExhausted desc = grpc: trying to send message larger "
        "than max (%zu vs. %zu)",
        len, (size_t)p->conf->max_message);
    finish(p, call, FM_TOO_LARGE, message, FM_STATUS_ERROR);
}

/* The one with the fewest calls of those that may take this one. */
static struct fm_instance *least_busy(const struct fm_pool *p,
                                      bool (*may)(const struct fm_instance *in))
{
    struct fm_instance *best = NULL;
    struct bt_list *it;

    bt_list_for_each (it, &p->busy) {
        struct fm_instance *in = bt_list_entry(it, struct fm_instance, link);

        if (!in->exclusive && may(in) && (best == NULL || in->n_calls < best->n_calls))
            best = in;
    }
    return best;
}

static struct fm_instance *pick(const struct fm_pool *p, const struct fm_call *call)
{
    struct fm_instance *in = NULL;

    /* With one instance order is kept, also while another one takes its place. */
    if (p->n_retiring > 0 && p->conf->max == 1)
        return NULL;
    if (!bt_list_empty(&p->idle))
        return bt_list_entry(bt_list_first(&p->idle), struct fm_instance, link);
    if (call->alone)
        return NULL;
    if (p->conf->concurrency > 1)
        in = least_busy(p, fm_instance_free_slot);
    /* What is sent ahead cannot be taken back, so that is for calls whose time has not
     * begun. */
    if (in == NULL && call->deadline == 0 && !fm_pool_may_start(p))
        in = least_busy(p, fm_instance_may_queue);
    return in;
}

static void move_to_busy(struct fm_pool *p, struct fm_instance *in)
{
    in->place = FM_AT_BUSY;
    if (in->generation == p->generation)
        p->n_idle--;
    bt_list_remove(&in->link);
    bt_list_push_back(&p->busy, &in->link);
}

static void dispatch(struct fm_pool *p, struct fm_instance *in, struct fm_call *call)
{
    bool was_idle = in->n_calls == 0;
    size_t len = 0;
    int r;

    unqueue(p, call);
    if (call->deadline != 0 && bt_loop_ms(p->env->loop) >= call->deadline) {
        finish(p, call, FM_TIMEOUT,
               "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
               FM_STATUS_ERROR);
        return;
    }
    r = fm_instance_call(in, call, &len);
    if (r == 0) {
        in->exclusive = call->alone;
        if (was_idle)
            move_to_busy(p, in);
    } else if (r == BT_ELIMIT) {
        call_too_large(p, call, len);
    } else {
        finish(p, call, FM_BROKEN,
               "rpc error: code = ResourceExhausted desc = out of memory",
               FM_STATUS_ERROR);
    }
}

void fm_pool_pump(struct fm_pool *p)
{
    struct fm_call *call;
    struct fm_instance *in;

    while ((call = first_waiting(p)) != NULL && (in = pick(p, call)) != NULL)
        dispatch(p, in, call);
    fm_pool_start_wanted(p);
}

static bool is_full(const struct fm_pool *p, const struct fm_call *call)
{
    return !call->patient &&
           (p->n_waiting >= FM_POOL_MAX_WAITING ||
            p->waiting_bytes + call->message.payload.len > FM_POOL_MAX_BYTES);
}

void fm_pool_call(struct fm_pool *p, struct fm_call *call)
{
    char message[1200];

    fm_stats_begin(p->stats, call,
                   p->sql != NULL ? bt_clock_us() : bt_loop_us(p->env->loop));
    if (p->closing) {
        finish(p, call, FM_STOPPED, "the function manager stops", FM_START_ERROR);
    } else if (p->sql != NULL) {
        fm_sql_call(p->sql, call, (size_t)p->conf->max_message);
    } else if (is_full(p, call)) {
        snprintf(message, sizeof(message),
                 "rpc error: code = ResourceExhausted desc = too many calls wait for "
                 "function %s",
                 p->conf->name);
        finish(p, call, FM_OVERLOADED, message, FM_STATUS_ERROR);
    } else if (p->paused && p->cannot_start && !call->patient &&
               p->n_live + p->n_old == 0) {
        fm_pool_start_message(p, message, sizeof(message));
        finish(p, call, FM_NOT_STARTED, message, FM_START_ERROR);
    } else {
        put_waiting(p, call, false);
        fm_pool_pump(p);
    }
}

void fm_pool_cancel(struct fm_pool *p, struct fm_call *call)
{
    call->cancelled = true;
    if (call->in != NULL || !bt_list_linked(&call->link))
        return;
    unqueue(p, call);
    finish(p, call, FM_STOPPED, "the session at the hub was closed", FM_START_ERROR);
}

/* ---- What instances say ---- */

static void make_idle(struct fm_pool *p, struct fm_instance *in)
{
    in->place = FM_AT_IDLE;
    in->idle_since = bt_loop_ms(p->env->loop);
    bt_list_remove(&in->link);
    bt_list_push_front(&p->idle, &in->link);
    if (in->generation == p->generation)
        p->n_idle++;
}

static void on_ready(void *arg, struct fm_instance *in)
{
    struct fm_pool *p = arg;

    p->n_starting--;
    make_idle(p, in);
    fm_pool_started(p);
    fm_pool_pump(p);
}

static void on_failed(void *arg, struct fm_instance *in, const char *why)
{
    struct fm_pool *p = arg;

    fm_pool_leave(p, in);
    fm_pool_start_failed(p, why);
    fm_pool_pump(p);
}

static void on_answered(void *arg, struct fm_instance *in, struct fm_call *call,
                        const struct fm_result *result)
{
    struct fm_pool *p = arg;

    fm_pool_well(p);
    if (in->n_calls == 0) {
        in->exclusive = false;
        if (p->closing || in->place == FM_AT_RETIRING)
            fm_pool_retire(p, in);
        else
            make_idle(p, in);
    }
    end_call(p, call, result);
    fm_pool_pump(p);
}

static void on_room(void *arg, struct fm_instance *in)
{
    (void)in;
    fm_pool_pump(arg);
}

/* What becomes of the calls of an instance that ended. */
enum fate { FATE_RESULT, FATE_BROKEN, FATE_STOPPED, N_FATES };

/* One call of an instance that ended. True: it waits again, and its time stands still. */
static bool try_again(struct fm_pool *p, struct fm_call *call, enum fm_outcome outcome)
{
    uint64_t now = bt_loop_ms(p->env->loop);

    if (p->closing || call->cancelled)
        return false;
    if (call->begun) {
        if (outcome != FM_BROKEN || call->attempts <= 1 || now >= call->deadline)
            return false;
        call->attempts--;
        /* The last time nobody else can be to blame. Not before: of many calls that run
         * at once, most are innocent. */
        call->alone = call->attempts == 1;
        call->left = call->deadline - now;
        call->deadline = 0;
        bt_metric_add(&p->stats->retries, 1);
    }
    put_waiting(p, call, true);
    return true;
}

static void end_node(struct fm_pool *p, struct bt_list *node,
                     const struct fm_result *result)
{
    bt_list_remove(node);
    end_call(p, bt_list_entry(node, struct fm_call, link), result);
}

/* Of a call without another attempt. What nobody has run, or what would be tried again if
 * we did not stop, is not done: at QoS 1 it comes again. */
static enum fate fate_of(const struct fm_pool *p, const struct fm_call *call,
                         enum fm_outcome outcome, bool other)
{
    bool again = outcome == FM_BROKEN && call->attempts > 1;

    if (!call->begun || (p->closing && again))
        return FATE_STOPPED;
    return other ? FATE_BROKEN : FATE_RESULT;
}

/* Give the calls of an instance that ended an answer, or another instance. From the last
 * to the first, so that those that wait again keep their order. */
static void take_calls(struct fm_pool *p, struct fm_instance *in,
                       const struct fm_result *result)
{
    static const struct fm_result broken = {
        .outcome = FM_BROKEN,
        .message = "rpc error: code = Unavailable desc = transport is closing",
        .type = FM_STATUS_ERROR,
    };
    const struct fm_result *results[N_FATES] = { result, &broken, &stopped };
    uint64_t now = bt_loop_ms(p->env->loop);
    struct bt_list ended[N_FATES], *node;

    for (int i = 0; i < N_FATES; i++)
        bt_list_init(&ended[i]);
    while (!bt_list_empty(&in->calls)) {
        struct fm_call *call = bt_list_entry(in->calls.prev, struct fm_call, link);
        bool other = result->outcome == FM_TIMEOUT && now < call->deadline;
        enum fm_outcome outcome = other ? FM_BROKEN : result->outcome;

        bt_list_remove(&call->link);
        call->in = NULL;
        if (!try_again(p, call, outcome))
            bt_list_push_front(&ended[fate_of(p, call, outcome, other)], &call->link);
    }
    in->n_calls = in->n_begun = 0;
    for (int i = 0; i < N_FATES; i++)
        while ((node = bt_list_first(&ended[i])) != NULL)
            end_node(p, node, results[i]);
}

static void on_lost(void *arg, struct fm_instance *in, const struct fm_result *result)
{
    struct fm_pool *p = arg;

    fm_pool_leave(p, in);
    if (in->n_calls > 0 && result->outcome == FM_BROKEN)
        fm_pool_crashed(p, result->message);
    else if (in->n_calls == 0 && in->served == 0)
        fm_pool_ended_early(p);
    take_calls(p, in, result);
    fm_pool_pump(p);
}

static bool is_empty(const struct fm_pool *p)
{
    return p->n_live + p->n_old + p->n_stopping == 0 && !fm_fork_has_process(&p->fork);
}

static void on_fork_gone(void *arg)
{
    struct fm_pool *p = arg;

    if (p->closing && is_empty(p))
        p->drained(p->arg);
}

static void on_gone(void *arg, struct fm_instance *in)
{
    struct fm_pool *p = arg;

    bt_list_remove(&in->link);
    fm_instance_free(in);
    p->n_stopping--;
    bt_metric_add(&p->stats->instances, -1);
    if (p->closing && is_empty(p))
        p->drained(p->arg);
    else
        fm_pool_pump(p);
}

/* ---- Life ---- */

static int copy_env(const struct fm_function_conf *conf, struct bt_slice **out)
{
    const struct bt_conf_strings *env = &conf->env;
    struct bt_slice *copy = bt_calloc(env->n + 1, sizeof(*copy));

    if (copy == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < env->n; i++)
        copy[i] =
            (struct bt_slice){ (const uint8_t *)env->items[i], strlen(env->items[i]) };
    *out = copy;
    return 0;
}

int fm_pool_init(struct fm_pool *p, const struct fm_function_conf *conf,
                 const struct fm_env *env, struct fm_interp *interp)
{
    struct fm_instance_opts opts;
    int r;

    *p = (struct fm_pool){ .conf = conf, .env = env, .interp = *interp };
    *interp = (struct fm_interp){ 0 };
    p->stats = fm_stats_of(conf->name);
    p->owner = (struct fm_instance_owner){ p,         on_ready, on_answered, on_room,
                                           on_failed, on_lost,  on_gone };
    bt_list_init(&p->idle);
    bt_list_init(&p->busy);
    bt_list_init(&p->others);
    bt_list_init(&p->waiting);
    bt_timer_init(&p->evict_timer, fm_pool_on_evict);
    bt_timer_init(&p->backoff_timer, fm_pool_on_backoff);
    bt_timer_init(&p->spare_timer, fm_pool_on_spare);
    opts = fm_pool_opts(p);
    fm_fork_init(&p->fork, &opts, fm_pool_wants_fork(p));
    p->fork.arg = p;
    p->fork.gone = on_fork_gone;
    if (fm_sql_is_runtime(conf->runtime))
        return 0;
    r = fm_limits_new(env->backend, conf, env->work_dir, &p->interp, &p->limits);
    if (r == 0)
        r = copy_env(conf, &p->extra_env);
    p->fork.opts = fm_pool_opts(p);
    return r;
}

void fm_pool_deinit(struct fm_pool *p)
{
    if (p->conf == NULL)
        return;
    bt_timer_stop(p->env->loop, &p->evict_timer);
    bt_timer_stop(p->env->loop, &p->backoff_timer);
    bt_timer_stop(p->env->loop, &p->spare_timer);
    fm_fork_deinit(&p->fork);
    fm_interp_deinit(&p->interp);
    fm_sql_free(p->sql);
    bt_free(p->extra_env);
    fm_limits_unref(p->limits);
    *p = (struct fm_pool){ 0 };
}

void fm_pool_start(struct fm_pool *p)
{
    uint64_t evict = (uint64_t)p->conf->evict;

    if (p->sql != NULL)
        return;
    bt_timer_start(p->env->loop, &p->evict_timer, evict, evict);
    fm_pool_start_wanted(p);
}

static int replace_statement(struct fm_pool *p, const struct fm_function_conf *conf)
{
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    struct fm_sql *sql;
    int r = fm_sql_new(conf->handler, &sql, &why);

    if (r != 0)
        return r;
    fm_sql_free(p->sql);
    p->sql = sql;
    p->conf = conf;
    return 0;
}

int fm_pool_reconfigure(struct fm_pool *p, const struct fm_function_conf *conf,
                        struct fm_interp *interp)
{
    struct bt_slice *extra_env;
    struct fm_limits *limits = NULL;
    int r;

    if (p->sql != NULL) {
        fm_interp_deinit(interp);
        return replace_statement(p, conf);
    }
    r = copy_env(conf, &extra_env);
    if (r == 0)
        r = fm_limits_new(p->env->backend, conf, p->env->work_dir, interp, &limits);
    if (r != 0) {
        bt_free(extra_env);
        fm_interp_deinit(interp);
        return r;
    }
    fm_limits_unref(p->limits);
    p->limits = limits;
    fm_interp_deinit(&p->interp);
    bt_free(p->extra_env);
    p->interp = *interp;
    *interp = (struct fm_interp){ 0 };
    if (limits != NULL)
        limits->interp = &p->interp;
    p->extra_env = extra_env;
    p->conf = conf;
    bt_timer_start(p->env->loop, &p->evict_timer, (uint64_t)conf->evict,
                   (uint64_t)conf->evict);
    fm_pool_renew(p);
    return 0;
}

/* Those without calls. */
static void retire_all(struct fm_pool *p, struct bt_list *list)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, list) {
        struct fm_instance *in = bt_list_entry(it, struct fm_instance, link);

        if (in->state == FM_STARTING || in->state == FM_READY)
            fm_pool_retire(p, in);
    }
}

void fm_pool_close(struct fm_pool *p)
{
    if (p->closing)
        return;
    p->closing = true;
    p->degraded = false;
    bt_metric_set(&p->stats->degraded, 0); /* it may be removed by a reload */
    bt_timer_stop(p->env->loop, &p->evict_timer);
    bt_timer_stop(p->env->loop, &p->backoff_timer);
    bt_timer_stop(p->env->loop, &p->spare_timer);
    while (p->n_waiting > 0) {
        struct fm_call *call = first_waiting(p);

        unqueue(p, call);
        finish(p, call, FM_STOPPED, "the function manager stops", FM_START_ERROR);
    }
    retire_all(p, &p->idle);
    retire_all(p, &p->others);
    fm_fork_close(&p->fork);
    if (is_empty(p))
        p->drained(p->arg);
}

/* An answer may change the lists, so each round begins anew. */
static bool kill_one(struct fm_pool *p, struct bt_list *list)
{
    struct bt_list *it;

    bt_list_for_each (it, list) {
        struct fm_instance *in = bt_list_entry(it, struct fm_instance, link);

        if (in->state == FM_BUSY) {
            fm_pool_retire(p, in);
            take_calls(p, in, &stopped);
            return true;
        }
    }
    return false;
}

void fm_pool_kill(struct fm_pool *p)
{
    while (kill_one(p, &p->busy) || kill_one(p, &p->others))
        ;
}
