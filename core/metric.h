/* Counters and gauges: one internal table that $SYS, the REST API and Prometheus read.
 * A metric is a static object that registers itself once; adding is one relaxed atomic
 * add, so hot paths count in plain locals and add per loop turn. Any thread. */
#ifndef CORE_METRIC_H
#define CORE_METRIC_H

#include <stdatomic.h>

#include "core/base.h"

enum bt_metric_kind { BT_COUNTER, BT_GAUGE, BT_HISTOGRAM };

#define BT_HISTOGRAM_BOUNDS 12u
/* How many observations fell into each range. */
struct bt_histogram {
    /* Rising upper bounds, inclusive, in the unit of the metric's value; 0 ends them. */
    int64_t bounds[BT_HISTOGRAM_BOUNDS];
    _Atomic int64_t counts[BT_HISTOGRAM_BOUNDS + 1]; /* the last: above all bounds */
};

/* Members of one name (a family) differ in their labels; they share kind, help and unit.
 */
struct bt_metric {
    const char *name;   /* Prometheus style: baetyl_hub_messages_received_total */
    const char *help;   /* one sentence */
    const char *labels; /* fixed text as it is shown: reason="expired"; or NULL */
    enum bt_metric_kind kind;
    uint32_t per; /* the value is shown divided by this, 0 = 1: microseconds as seconds */
    _Atomic int64_t value;     /* HISTOGRAM: the sum of all observations */
    struct bt_histogram *hist; /* HISTOGRAM only */
    struct bt_metric *next;
    _Atomic bool registered;
};

#define BT_METRIC(name_, kind_, help_)                    \
    {                                                     \
        .name = (name_), .help = (help_), .kind = (kind_) \
    }
#define BT_METRIC_OF(name_, kind_, labels_, help_)                             \
    {                                                                          \
        .name = (name_), .help = (help_), .labels = (labels_), .kind = (kind_) \
    }
/* Counted in microseconds, shown in seconds. */
#define BT_METRIC_US(name_, kind_, help_)                                   \
    {                                                                       \
        .name = (name_), .help = (help_), .kind = (kind_), .per = 1000000u, \
    }

/* Idempotent. A metric joins the end of its family. */
void bt_metric_register(struct bt_metric *m);
void bt_metric_register_all(struct bt_metric *m, size_t n);
static inline void bt_metric_add(struct bt_metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void bt_metric_set(struct bt_metric *m, int64_t n)
{
    atomic_store_explicit(&m->value, n, memory_order_relaxed);
}
int64_t bt_metric_get(const struct bt_metric *m);
/* Counts one observation. */
void bt_metric_observe(struct bt_metric *m, int64_t n);
/* Calls fn for every registered metric, families together, families in order of
 * registration. */
void bt_metric_each(void (*fn)(void *arg, const struct bt_metric *m), void *arg);

/* Gauges that somebody must ask for: fn brings them up to date and is called by
 * bt_metric_refresh, on its caller's thread. */
struct bt_metric_source {
    void (*fn)(void *arg);
    void *arg;
    struct bt_metric_source *next;
};
void bt_metric_source_add(struct bt_metric_source *s);
/* After this fn is not running and will not be called. */
void bt_metric_source_remove(struct bt_metric_source *s);
/* Before reading. Any thread, one at a time; fn must not wait. */
void bt_metric_refresh(void);

/* All metrics as Prometheus reads them (text format 0.0.4). 0, BT_ENOMEM or BT_ELIMIT. */
struct bt_buf;
int bt_metric_text(struct bt_buf *out) BT_MUST_CHECK;
/* The value as text, divided by `per`: "17", "0.000250". */
#define BT_METRIC_VALUE_MAX 32u
void bt_metric_format(const struct bt_metric *m, int64_t value,
                      char out[BT_METRIC_VALUE_MAX]);

#endif
