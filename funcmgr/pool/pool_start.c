/* A pool of instances: their starts and ends.
 *
 * Happy path: instances are started for calls that wait, for the minimum and for the
 * spares, never more than the maximum; those that were idle for long end. After a renewal
 * one instance of the new generation is started beside the old ones; when it is ready the
 * old ones end, each after what it runs.
 * Failure modes: a start that fails pauses all starts (doubling, up to backoff.max); when
 * no instance lives, the calls that wait are told why, except those that would rather
 * wait (QoS 1). An instance that ends before it served anything counts as a failing
 * start, and so do FM_CRASH_LOOP that broke in a row, or they would be restarted in a
 * tight loop. The function is degraded then, until a start works, or a call. Processes
 * that are being ended do not count as live, so that a stuck one is replaced at once, but
 * there are never more of them than the maximum before the next start. */
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "funcmgr/pool/pool_priv.h"
#include "funcmgr/stats.h"

/* ---- Health ---- */

enum fm_health fm_pool_health(const struct fm_pool *p)
{
    if (p->degraded)
        return FM_DEGRADED;
    return p->n_starting > 0 && p->n_starting == p->n_live && p->n_old == 0
               ? FM_HEALTH_STARTING
               : FM_HEALTHY;
}

static void degrade(struct fm_pool *p, const char *why)
{
    bool news = !p->degraded || strncmp(p->reason, why, sizeof(p->reason) - 1) != 0;

    snprintf(p->reason, sizeof(p->reason), "%s", why);
    if (news)
        bt_log(BT_LOG_ERROR, "FUNC-DEGRADED", "a function does not work",
               "function=%s reason=\"%s\"", p->conf->name, p->reason);
    if (p->degraded)
        return;
    p->degraded = true;
    p->degraded_since = bt_clock_wall_ms();
    bt_metric_set(&p->stats->degraded, 1);
}

static void recover(struct fm_pool *p)
{
    if (!p->degraded)
        return;
    p->degraded = false;
    bt_metric_set(&p->stats->degraded, 0);
    bt_log(BT_LOG_INFO, "FUNC-RECOVERED", "a function works again",
           "function=%s after_ms=%lld", p->conf->name,
           (long long)(bt_clock_wall_ms() - p->degraded_since));
}

static void pause_starts(struct fm_pool *p)
{
    uint64_t max = (uint64_t)p->conf->backoff_max;

    p->backoff = p->backoff == 0 ? FM_BACKOFF_MIN_MS : p->backoff * 2;
    p->backoff = BT_MIN(p->backoff, max);
    p->paused = true;
    bt_timer_start(p->env->loop, &p->backoff_timer, p->backoff, 0);
}

void fm_pool_start_message(const struct fm_pool *p, char *out, size_t size)
{
    snprintf(out, size, "failed to start an instance of function %s: %s", p->conf->name,
             p->reason);
}

void fm_pool_start_failed(struct fm_pool *p, const char *why)
{
    char message[1200];

    bt_metric_add(&p->stats->start_failures, 1);
    if (p->closing)
        return;
    degrade(p, why);
    p->cannot_start = true;
    pause_starts(p);
    fm_pool_start_message(p, message, sizeof(message));
    if (p->n_live + p->n_old == 0)
        fm_pool_fail_waiting(p, message);
}

void fm_pool_crashed(struct fm_pool *p, const char *why)
{
    if (++p->crashes < FM_CRASH_LOOP || p->closing)
        return;
    degrade(p, why);
    pause_starts(p);
}

void fm_pool_ended_early(struct fm_pool *p)
{
    bt_metric_add(&p->stats->start_failures, 1);
    fm_pool_crashed(p, "an instance ended before its first call");
    if (!p->closing && !p->paused)
        pause_starts(p);
}

void fm_pool_well(struct fm_pool *p)
{
    p->crashes = 0;
    p->backoff = 0;
    if (p->degraded)
        recover(p);
}

/* ---- Ends ---- */

void fm_pool_leave(struct fm_pool *p, struct fm_instance *in)
{
    if (in->generation != p->generation) {
        p->n_old--;
        p->n_retiring -= in->place == FM_AT_RETIRING;
    } else {
        p->n_live--;
        p->n_starting -= in->place == FM_AT_START;
        p->n_idle -= in->place == FM_AT_IDLE;
    }
    in->place = FM_AT_STOP;
    bt_list_remove(&in->link);
    bt_list_push_back(&p->others, &in->link);
    p->n_stopping++;
}

void fm_pool_retire(struct fm_pool *p, struct fm_instance *in)
{
    fm_pool_leave(p, in);
    fm_instance_stop(in);
}

static bool may_evict(const struct fm_pool *p, const struct fm_instance *in)
{
    return in->generation == p->generation && p->n_live > p->conf->min &&
           p->n_idle > p->conf->spare &&
           bt_loop_ms(p->env->loop) - in->idle_since >= (uint64_t)p->conf->idle;
}

/* A template is for those to come: without any for long it goes, too. */
static void look_for_rest(struct fm_pool *p)
{
    uint64_t now = bt_loop_ms(p->env->loop);

    if (p->n_live + p->n_old > 0)
        p->empty_since = 0;
    else if (p->empty_since == 0)
        p->empty_since = now;
    else if (now - p->empty_since >= (uint64_t)p->conf->idle)
        fm_fork_rest(&p->fork);
}

void fm_pool_on_evict(struct bt_timer *t)
{
    struct fm_pool *p = bt_container_of(t, struct fm_pool, evict_timer);

    look_for_rest(p);
    for (unsigned i = 0; i < FM_EVICT_SCAN && !bt_list_empty(&p->idle); i++) {
        struct fm_instance *oldest =
            bt_list_entry(p->idle.prev, struct fm_instance, link);

        if (!may_evict(p, oldest))
            return;
        fm_pool_retire(p, oldest);
    }
}

/* ---- Starts ---- */

bool fm_pool_wants_fork(const struct fm_pool *p)
{
    return p->interp.path != NULL && p->interp.language == FM_PYTHON &&
           (p->conf->fork == FM_FORK_ON ||
            (p->conf->fork == FM_FORK_AUTO && p->conf->max > 1 &&
             !p->conf->sandbox.enable));
}

struct fm_instance_opts fm_pool_opts(struct fm_pool *p)
{
    const struct fm_function_conf *c = p->conf;

    return (struct fm_instance_opts){
        .env = p->env,
        .owner = &p->owner,
        .interp = &p->interp,
        .function = c->name,
        .handler = c->handler,
        .codedir = c->codedir,
        .workdir = c->workdir,
        .service = c->service,
        .extra_env = p->extra_env,
        .n_extra_env = c->env.n,
        .max_message = (size_t)c->max_message,
        .timeout = c->timeout,
        .concurrency = c->concurrency,
        .limits = p->limits,
        .fork = &p->fork,
    };
}

static void start_one(struct fm_pool *p)
{
    struct fm_instance_opts opts = fm_pool_opts(p);
    struct fm_instance *in;
    int r;

    opts.number = ++p->next_number;
    in = fm_instance_new(&opts);
    r = in != NULL ? fm_instance_start(in) : BT_ENOMEM;
    if (r != 0) {
        fm_pool_start_failed(p, p->interp.missing != NULL ? p->interp.missing
                                : in != NULL              ? fm_launch_why(&in->launch, r)
                                                          : bt_error_text(r));
        fm_instance_free(in);
        return;
    }
    in->generation = p->generation;
    in->place = FM_AT_START;
    p->n_live++;
    p->n_starting++;
    bt_metric_add(&p->stats->instances, 1);
    bt_list_push_back(&p->others, &in->link);
}

bool fm_pool_may_start(const struct fm_pool *p)
{
    return p->sql == NULL && !p->closing && !p->paused && p->n_live < p->conf->max &&
           p->n_stopping <= p->conf->max;
}

/* For the minimum, for calls that wait, and for a renewal. */
static bool wants_now(const struct fm_pool *p)
{
    size_t places = (size_t)p->n_starting * p->conf->concurrency;

    return p->n_live < p->conf->min || places < p->n_waiting ||
           (p->n_old > 0 && p->n_live == 0);
}

/* What starts serves the calls that wait first; what is left becomes spare. */
static bool wants_spare(const struct fm_pool *p)
{
    size_t places = (size_t)p->n_starting * p->conf->concurrency;

    return p->n_idle + (places - p->n_waiting) / p->conf->concurrency < p->conf->spare;
}

void fm_pool_start_wanted(struct fm_pool *p)
{
    while (fm_pool_may_start(p) && wants_now(p))
        start_one(p);
    if (fm_pool_may_start(p) && wants_spare(p) && !bt_timer_active(&p->spare_timer))
        bt_timer_start(p->env->loop, &p->spare_timer, FM_SPARE_MS, 0);
}

void fm_pool_on_spare(struct bt_timer *t)
{
    struct fm_pool *p = bt_container_of(t, struct fm_pool, spare_timer);

    while (fm_pool_may_start(p) && (wants_now(p) || wants_spare(p)))
        start_one(p);
}

void fm_pool_on_backoff(struct bt_timer *t)
{
    struct fm_pool *p = bt_container_of(t, struct fm_pool, backoff_timer);

    p->paused = false;
    fm_pool_pump(p);
}

/* ---- Renewal ---- */

static void retire_old(struct fm_pool *p, struct bt_list *list)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, list) {
        struct fm_instance *in = bt_list_entry(it, struct fm_instance, link);

        if (in->generation == p->generation)
            continue;
        if (in->state == FM_READY) {
            fm_pool_retire(p, in);
            continue;
        }
        in->place = FM_AT_RETIRING;
        p->n_retiring++;
        bt_list_remove(&in->link);
        bt_list_push_back(&p->others, &in->link);
    }
}

void fm_pool_started(struct fm_pool *p)
{
    p->cannot_start = false;
    if (p->crashes == 0)
        fm_pool_well(p);
    if (p->n_old > p->n_retiring) {
        retire_old(p, &p->idle);
        retire_old(p, &p->busy);
    }
}

void fm_pool_renew(struct fm_pool *p)
{
    struct fm_instance_opts opts;
    struct bt_list *it, *next;

    if (p->closing)
        return;
    /* What starts may have read the old code or the new one. */
    bt_list_for_each_safe (it, next, &p->others) {
        struct fm_instance *in = bt_list_entry(it, struct fm_instance, link);

        if (in->state == FM_STARTING)
            fm_pool_retire(p, in);
    }
    opts = fm_pool_opts(p);
    fm_fork_renew(&p->fork, &opts, fm_pool_wants_fork(p));
    p->generation++;
    p->n_old += p->n_live;
    p->n_live = p->n_starting = p->n_idle = 0;
    p->backoff = 0;
    p->crashes = 0;
    p->paused = false;
    bt_timer_stop(p->env->loop, &p->backoff_timer);
    fm_pool_pump(p);
}
