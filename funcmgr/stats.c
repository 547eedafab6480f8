/* The idea: metrics never go away, so they are in structs that never go away either,
 * found by the function's name. Errors of one outcome are registered when the first one
 * comes: most functions never have most of them. Failure modes: out of memory, or more
 * names than FM_MAX_STATS, count in a struct for all such functions. */
#include "funcmgr/stats.h"

#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/mem.h"

static struct fm_stats *all;
static size_t n_all;

static const char *const outcome_names[FM_N_OUTCOMES] = {
    [FM_OK] = "ok",
    [FM_FAILED] = "failed",
    [FM_TIMEOUT] = "timeout",
    [FM_BROKEN] = "broken",
    [FM_TOO_LARGE] = "too_large",
    [FM_NOT_STARTED] = "not_started",
    [FM_STOPPED] = "stopped",
    [FM_OVERLOADED] = "overloaded",
};

const char *fm_outcome_name(enum fm_outcome outcome)
{
    return outcome_names[outcome];
}

/* ---- The struct of a name ---- */

static struct bt_metric metric(const char *name, enum bt_metric_kind kind,
                               const char *labels, const char *help)
{
    struct bt_metric m = { .name = name, .kind = kind, .labels = labels, .help = help };

    return m;
}

static void set_metrics(struct fm_stats *s)
{
    static const int64_t bounds[BT_HISTOGRAM_BOUNDS] = { 200,     500,     1000,
                                                         2000,    5000,    10000,
                                                         25000,   100000,  500000,
                                                         1000000, 5000000, 30000000 };
    const char *l = s->labels;

    s->calls = metric("baetyl_function_calls_total", BT_COUNTER, l,
                      "Calls of the function that ended.");
    s->retries = metric("baetyl_function_retries_total", BT_COUNTER, l,
                        "Calls that were tried again after their instance broke.");
    s->dropped = metric("baetyl_function_dropped_total", BT_COUNTER, l,
                        "QoS 0 messages dropped because too many calls were waiting.");
    s->start_failures = metric("baetyl_function_start_failures_total", BT_COUNTER, l,
                               "Instances that did not start.");
    s->instances = metric("baetyl_function_instances", BT_GAUGE, l,
                          "Processes of the function that run now.");
    s->degraded = metric("baetyl_function_degraded", BT_GAUGE, l,
                         "1: it cannot start, or instances break one after the other.");
    s->latency = metric("baetyl_function_seconds", BT_HISTOGRAM, l,
                        "Time from a call to its result, waiting included.");
    s->latency.per = 1000000u;
    s->latency.hist = &s->histogram;
    memcpy(s->histogram.bounds, bounds, sizeof(bounds));
}

static void register_metrics(struct fm_stats *s)
{
    struct bt_metric *const list[] = { &s->calls,          &s->retries,   &s->dropped,
                                       &s->start_failures, &s->instances, &s->degraded,
                                       &s->latency };

    for (size_t i = 0; i < BT_ARRAY_LEN(list); i++)
        bt_metric_register(list[i]);
}

/* function="NAME" with what the text format escapes; more follows. NULL: no memory. */
static char *make_labels(const char *function, const char *more)
{
    struct bt_buf b = { 0 };
    int r = bt_buf_append_str(&b, "function=\"");

    for (const char *p = function; r == 0 && *p != '\0'; p++) {
        if (*p == '\n')
            r = bt_buf_append_str(&b, "\\n");
        else if (*p == '"' || *p == '\\')
            r = bt_buf_printf(&b, "\\%c", *p);
        else
            r = bt_buf_append_u8(&b, (uint8_t)*p);
    }
    r = r != 0 ? r : bt_buf_append_str(&b, "\"");
    r = r != 0 ? r : bt_buf_append_str(&b, more);
    if (r == 0)
        return bt_buf_steal_str(&b);
    bt_buf_deinit(&b);
    return NULL;
}

static struct fm_stats *others(void)
{
    static char none[] = "", labels[] = "function=\"\"";
    static struct fm_stats s;

    if (s.function == NULL) {
        s.function = none;
        s.labels = labels;
        set_metrics(&s);
        register_metrics(&s);
    }
    return &s;
}

struct fm_stats *fm_stats_of(const char *function)
{
    struct fm_stats *s = all;

    while (s != NULL && strcmp(s->function, function) != 0)
        s = s->next;
    if (s != NULL)
        return s;
    s = n_all < FM_MAX_STATS ? bt_calloc(1, sizeof(*s)) : NULL;
    if (s == NULL)
        return others();
    s->function = bt_strdup(function);
    s->labels = make_labels(function, "");
    if (s->function == NULL || s->labels == NULL) {
        bt_free(s->function);
        bt_free(s->labels);
        bt_free(s);
        return others();
    }
    s->next = all;
    all = s;
    n_all++;
    set_metrics(s);
    register_metrics(s);
    return s;
}

/* ---- Times ---- */

static size_t range_of(uint64_t us)
{
    unsigned bits = 0;

    while (us >> bits > (1u << FM_TIME_BITS) * 2 - 1)
        bits++;
    if (bits > FM_TIME_OCTAVE - FM_TIME_BITS)
        return FM_TIME_RANGES - 1;
    /* The first two rows are one range a microsecond. */
    return ((size_t)bits << FM_TIME_BITS) + (size_t)(us >> bits);
}

/* The longest time of a range. */
static uint64_t end_of(size_t range)
{
    size_t row = range >> FM_TIME_BITS;
    unsigned bits = row < 2 ? 0 : (unsigned)row - 1;
    uint64_t first = range - ((size_t)bits << FM_TIME_BITS);

    return ((first + 1) << bits) - 1;
}

uint64_t fm_stats_time(const struct fm_stats *s, unsigned thousandths)
{
    uint64_t want = (s->n_times * thousandths + 999) / 1000, seen = 0;

    if (s->n_times == 0)
        return 0;
    for (size_t i = 0; i < FM_TIME_RANGES; i++) {
        seen += s->times[i];
        if (seen >= want)
            return BT_MIN(end_of(i), s->max_us);
    }
    return s->max_us;
}

static void count_error(struct fm_stats *s, enum fm_outcome outcome)
{
    struct bt_metric *m = &s->errors[outcome];

    if (m->name == NULL) {
        struct bt_buf more = { 0 };
        char *labels = NULL;

        if (bt_buf_printf(&more, ",outcome=\"%s\"", fm_outcome_name(outcome)) == 0 &&
            bt_buf_append_u8(&more, 0) == 0)
            labels = make_labels(s->function, (const char *)more.data);
        bt_buf_deinit(&more);
        if (labels == NULL)
            return;
        *m = metric("baetyl_function_errors_total", BT_COUNTER, labels,
                    "Calls that ended without a result, by how.");
        bt_metric_register(m);
    }
    bt_metric_add(m, 1);
}

void fm_stats_end(struct fm_stats *s, const struct fm_call *call, enum fm_outcome outcome,
                  uint64_t now_us)
{
    uint64_t us = now_us - call->began_us;

    bt_metric_add(&s->calls, 1);
    if (outcome != FM_OK)
        count_error(s, outcome);
    bt_metric_observe(&s->latency, (int64_t)us);
    s->times[range_of(us)]++;
    s->n_times++;
    s->max_us = BT_MAX(s->max_us, us);
}

void fm_stats_done(struct fm_call *call, const struct fm_result *result)
{
    if (call->stats != NULL)
        fm_stats_end(call->stats, call, result->outcome, bt_clock_us());
    call->done(call, result);
}
