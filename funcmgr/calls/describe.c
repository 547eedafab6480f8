/* GET /v1/functions and GET /v1/functions/NAME: what the pools are doing.
 *
 * A task on the function manager's thread reads its pools and writes the answer, as JSON
 * or, with format=text, as lines for people. Failure modes: out of memory is 503. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/json_put.h"
#include "core/mem.h"
#include "core/sys.h"
#include "funcmgr/calls/calls.h"
#include "funcmgr/pool/pool_priv.h"
#include "funcmgr/task.h"

#define MAX_COLUMN 32

struct query {
    struct fm_task task;
    struct fm_face *face;
    struct bt_api_req *req;
    bool text, one;
    uint64_t memory; /* of the instances of one function */
    struct bt_buf out;
    int r; /* of the writing so far */
};

/* ---- Writing ---- */

static void put(struct query *q, const char *fmt, ...) BT_PRINTF(2, 3);

static void put(struct query *q, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (q->r == 0)
        q->r = bt_buf_append_str(&q->out, text);
}

/* ,"key":"value" */
static void put_str(struct query *q, const char *key, const char *value)
{
    put(q, ",\"%s\":", key);
    if (q->r == 0)
        q->r = bt_json_put_str(&q->out, value);
}

static void put_int(struct query *q, const char *key, uint64_t value)
{
    put(q, ",\"%s\":%" PRIu64, key, value);
}

/* ---- What there is to say ---- */

static const char *state_of(const struct fm_pool *p)
{
    if (p->closing)
        return "stopping";
    if (p->sql != NULL)
        return "ready";
    switch (fm_pool_health(p)) {
    case FM_DEGRADED:
        return "degraded";
    case FM_HEALTH_STARTING:
        return "starting";
    default:
        return p->n_live + p->n_old > 0 ? "ready" : "idle";
    }
}

static const char *instance_state(const struct fm_instance *in)
{
    static const char *const places[] = { [FM_AT_START] = "starting",
                                          [FM_AT_IDLE] = "idle",
                                          [FM_AT_BUSY] = "busy",
                                          [FM_AT_RETIRING] = "retiring",
                                          [FM_AT_STOP] = "stopping" };

    return places[in->place];
}

static void each_instance(struct query *q, const struct fm_pool *p,
                          void (*fn)(struct query *q, const struct fm_pool *p,
                                     const struct fm_instance *in, unsigned i))
{
    const struct bt_list *const lists[] = { &p->idle, &p->busy, &p->others };
    unsigned n = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(lists); i++)
        for (const struct bt_list *it = lists[i]->next; it != lists[i]; it = it->next)
            fn(q, p, bt_container_of(it, struct fm_instance, link), n++);
}

static uint64_t errors_of(const struct fm_stats *s)
{
    int64_t n = 0;

    for (size_t i = 0; i < FM_N_OUTCOMES; i++)
        n += bt_metric_get(&s->errors[i]);
    return (uint64_t)n;
}

/* ---- JSON ---- */

static void json_instance(struct query *q, const struct fm_pool *p,
                          const struct fm_instance *in, unsigned i)
{
    put(q, "%s{\"number\":%u", i > 0 ? "," : "", in->opts.number);
    put_int(q, "pid", (uint64_t)in->pid);
    put_str(q, "state", instance_state(in));
    put_int(q, "running", in->n_begun);
    put_int(q, "ahead", in->n_calls - in->n_begun);
    put_int(q, "served", in->served);
    if (in->place == FM_AT_IDLE)
        put_int(q, "idle_ms", bt_loop_ms(p->env->loop) - in->idle_since);
    put_int(q, "memory_bytes", bt_sys_rss_of(in->pid));
    put(q, "}");
}

static void json_counts(struct query *q, const struct fm_stats *s)
{
    put_int(q, "calls", (uint64_t)bt_metric_get(&s->calls));
    put_int(q, "errors", errors_of(s));
    put(q, ",\"outcomes\":{\"ok\":%" PRId64,
        bt_metric_get(&s->calls) - (int64_t)errors_of(s));
    for (size_t i = 0; i < FM_N_OUTCOMES; i++)
        if (bt_metric_get(&s->errors[i]) > 0)
            put_int(q, fm_outcome_name((enum fm_outcome)i),
                    (uint64_t)bt_metric_get(&s->errors[i]));
    put(q, "}");
    put_int(q, "retries", (uint64_t)bt_metric_get(&s->retries));
    put_int(q, "dropped", (uint64_t)bt_metric_get(&s->dropped));
    put_int(q, "start_failures", (uint64_t)bt_metric_get(&s->start_failures));
    put(q, ",\"latency_us\":{\"p50\":%" PRIu64, fm_stats_time(s, 500));
    put_int(q, "p99", fm_stats_time(s, 990));
    put_int(q, "max", s->max_us);
    put(q, "}");
}

static void json_limits(struct query *q, const struct fm_pool *p)
{
    const struct fm_function_conf *c = p->conf;

    put(q, ",\"limits\":{\"timeout_ms\":%" PRId64, c->timeout);
    put_int(q, "message_bytes", c->max_message);
    for (unsigned i = 0; p->limits != NULL && i < FM_N_LIMITS; i++) {
        if (p->limits->by[i] == FM_BY_NOBODY)
            continue;
        put(q, ",\"%s\":{\"value\":%" PRIu64, fm_limit_name((enum fm_limit)i),
            fm_limit_value(c, (enum fm_limit)i));
        put_str(q, "by", fm_limit_by_name(p->limits->by[i]));
        put(q, "}");
    }
    if (p->limits != NULL)
        put(q, ",\"sandbox\":%s", p->limits->sandboxed ? "true" : "false");
    put(q, "}");
}

static void json_one(struct query *q, const struct fm_pool *p)
{
    const struct fm_function_conf *c = p->conf;
    char since[BT_CLOCK_TEXT_LEN];

    put(q, "{\"name\":");
    if (q->r == 0)
        q->r = bt_json_put_str(&q->out, c->name);
    put_str(q, "state", state_of(p));
    if (fm_pool_health(p) == FM_DEGRADED) {
        put_str(q, "reason", p->reason);
        bt_clock_text(p->degraded_since, since);
        put_str(q, "since", since);
    }
    put_str(q, "runtime", c->runtime != NULL ? c->runtime : "");
    put_str(q, "program", p->interp.path != NULL ? p->interp.path : "");
    put_str(q, "handler", c->handler != NULL ? c->handler : "");
    put_str(q, "codedir", c->codedir != NULL ? c->codedir : "");
    put_int(q, "min", c->min);
    put_int(q, "max", c->max);
    put_int(q, "concurrency", c->concurrency);
    put(q, ",\"instances\":[");
    each_instance(q, p, json_instance);
    put(q, "]");
    put_int(q, "waiting", p->n_waiting);
    put_int(q, "waiting_bytes", p->waiting_bytes);
    json_counts(q, p->stats);
    json_limits(q, p);
    put(q, "}");
}

static void json_all(struct query *q, const struct fm_calls_env *env)
{
    const struct fm_pool *p;

    put(q, "{\"functions\":[");
    for (size_t i = 0; (p = env->at(env->arg, i)) != NULL; i++) {
        put(q, "%s", i > 0 ? "," : "");
        json_one(q, p);
    }
    put(q, "]}\n");
}

/* ---- Lines for people ---- */

static void put_time(struct query *q, int width, uint64_t us)
{
    char text[32];

    if (us < 1000)
        (void)snprintf(text, sizeof(text), "%" PRIu64 "us", us);
    else if (us < 1000000)
        (void)snprintf(text, sizeof(text), "%.1fms", (double)us / 1e3);
    else
        (void)snprintf(text, sizeof(text), "%.1fs", (double)us / 1e6);
    put(q, "%*s", width, text);
}

/* One line whatever the text holds. */
static void put_plain(struct query *q, const char *text, int width)
{
    char plain[FM_MAX_REASON + 64];
    size_t n = 0;

    for (; text[n] != '\0' && n < sizeof(plain) - 1; n++)
        plain[n] = (uint8_t)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
    plain[n] = '\0';
    put(q, "%-*s", width, plain);
}

static void add_memory(struct query *q, const struct fm_pool *p,
                       const struct fm_instance *in, unsigned i)
{
    (void)p;
    (void)i;
    q->memory += bt_sys_rss_of(in->pid);
}

static void text_row(struct query *q, const struct fm_pool *p, int width)
{
    const struct fm_stats *s = p->stats;
    char instances[32];

    (void)snprintf(instances, sizeof(instances), p->sql != NULL ? "-" : "%u/%u",
                   p->n_live + p->n_old, (unsigned)p->conf->max);
    put_plain(q, p->conf->name, width);
    put(q, "  %-8s  %-10s  %-9s %8zu %10" PRId64 " %8" PRIu64, state_of(p),
        p->conf->runtime != NULL ? p->conf->runtime : "", instances, p->n_waiting,
        bt_metric_get(&s->calls), errors_of(s));
    put_time(q, 9, fm_stats_time(s, 500));
    put_time(q, 9, fm_stats_time(s, 990));
    put_time(q, 9, s->max_us);
    q->memory = 0;
    each_instance(q, p, add_memory);
    put(q, " %7.1fM\n", (double)q->memory / 1048576);
}

static void text_all(struct query *q, const struct fm_calls_env *env)
{
    const struct fm_pool *p;
    int width = 4;

    for (size_t i = 0; (p = env->at(env->arg, i)) != NULL; i++)
        width = BT_MAX(width, (int)BT_MIN(strlen(p->conf->name), MAX_COLUMN));
    put(q, "%-*s  %-8s  %-10s  %-9s %8s %10s %8s %8s %8s %8s %8s\n", width, "NAME",
        "STATE", "RUNTIME", "INSTANCES", "WAITING", "CALLS", "ERRORS", "P50", "P99",
        "MAX", "MEMORY");
    for (size_t i = 0; (p = env->at(env->arg, i)) != NULL; i++)
        text_row(q, p, width);
}

static void text_instance(struct query *q, const struct fm_pool *p,
                          const struct fm_instance *in, unsigned i)
{
    put(q, "%s%u: %s, process %ld, %" PRIu64 " calls, %.1fM",
        i == 0 ? "instances   " : "            ", in->opts.number, instance_state(in),
        (long)in->pid, in->served, (double)bt_sys_rss_of(in->pid) / 1048576);
    if (in->n_calls > 0)
        put(q, ", %u running, %u ahead", in->n_begun, in->n_calls - in->n_begun);
    if (in->place == FM_AT_IDLE)
        put(q, ", idle for %" PRIu64 " s",
            (bt_loop_ms(p->env->loop) - in->idle_since) / 1000);
    put(q, "\n");
}

static void text_limits(struct query *q, const struct fm_pool *p)
{
    put(q, "limits      timeout %" PRId64 " ms, messages %" PRIu64 " bytes",
        p->conf->timeout, p->conf->max_message);
    for (unsigned i = 0; p->limits != NULL && i < FM_N_LIMITS; i++)
        if (p->limits->by[i] != FM_BY_NOBODY)
            put(q, ", %s %" PRIu64 " by %s", fm_limit_name((enum fm_limit)i),
                fm_limit_value(p->conf, (enum fm_limit)i),
                fm_limit_by_name(p->limits->by[i]));
    put(q, "%s\n", p->limits != NULL && p->limits->sandboxed ? ", sandbox" : "");
}

static void text_one(struct query *q, const struct fm_pool *p)
{
    const struct fm_stats *s = p->stats;

    put(q, "name        ");
    put_plain(q, p->conf->name, 0);
    put(q, "\nstate       %s", state_of(p));
    if (fm_pool_health(p) == FM_DEGRADED) {
        put(q, ": ");
        put_plain(q, p->reason, 0);
    }
    put(q, "\nruntime     %s, %.200s\n", p->conf->runtime != NULL ? p->conf->runtime : "",
        p->interp.path != NULL ? p->interp.path : "");
    each_instance(q, p, text_instance);
    put(q, "            %u live, %u to %u wanted\n", p->n_live + p->n_old,
        (unsigned)p->conf->min, (unsigned)p->conf->max);
    put(q, "waiting     %zu calls, %zu bytes\n", p->n_waiting, p->waiting_bytes);
    put(q,
        "calls       %" PRId64 ", errors %" PRIu64 ", retries %" PRId64
        ", dropped %" PRId64 "\n",
        bt_metric_get(&s->calls), errors_of(s), bt_metric_get(&s->retries),
        bt_metric_get(&s->dropped));
    for (size_t i = 0; i < FM_N_OUTCOMES; i++)
        if (bt_metric_get(&s->errors[i]) > 0)
            put(q, "            %s %" PRId64 "\n", fm_outcome_name((enum fm_outcome)i),
                bt_metric_get(&s->errors[i]));
    put(q, "time        half within ");
    put_time(q, 0, fm_stats_time(s, 500));
    put(q, ", 99 %% within ");
    put_time(q, 0, fm_stats_time(s, 990));
    put(q, ", longest ");
    put_time(q, 0, s->max_us);
    put(q, "\n");
    text_limits(q, p);
}

/* ---- Requests ---- */

static void run(struct fm_task *task)
{
    struct query *q = bt_container_of(task, struct query, task);
    const struct fm_calls_env *env = &q->face->calls->env;
    struct bt_slice name = { (const uint8_t *)q->req->rest, strlen(q->req->rest) };
    const struct fm_pool *p = q->one ? env->find(env->arg, name) : NULL;

    if (q->one && p == NULL) {
        bt_api_refuse(q->req, 404, "there is no such function");
        bt_free(q);
        return;
    }
    if (q->one && q->text)
        text_one(q, p);
    else if (q->one)
        json_one(q, p);
    else if (q->text)
        text_all(q, env);
    else
        json_all(q, env);
    if (q->r == 0)
        bt_api_answer(q->req, 200, q->text ? BT_API_TEXT : BT_API_JSON, &q->out);
    else
        bt_api_refuse(q->req, 503, "out of memory");
    bt_buf_deinit(&q->out);
    bt_free(q);
}

static void ask(struct fm_face *face, struct bt_api_req *req, bool one)
{
    struct query *q = bt_calloc(1, sizeof(*q));
    char format[8];

    if (q == NULL) {
        bt_api_refuse(req, 503, "out of memory");
        return;
    }
    q->face = face;
    q->req = req;
    q->one = one;
    q->text = bt_api_param(req, "format", format, sizeof(format)) == 0 &&
              strcmp(format, "text") == 0;
    q->task.run = run;
    q->task.msg.kind = FM_MSG_TASK;
    if (bt_mbox_post(face->calls->env.mbox, &q->task.msg) == 0)
        return;
    bt_api_refuse(req, 503, "the function manager stops");
    bt_free(q);
}

void fm_http_list(void *arg, struct bt_api_req *req)
{
    ask(arg, req, false);
}

void fm_http_one(void *arg, struct bt_api_req *req)
{
    ask(arg, req, true);
}
