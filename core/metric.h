/* Counters and gauges: one internal table that $SYS, the REST API and Prometheus read.
 * A metric is a static object that registers itself once; adding is one relaxed atomic
 * add, so hot paths count in plain locals and add per loop turn. Any thread. */
#ifndef CORE_METRIC_H
#define CORE_METRIC_H

#include <stdatomic.h>

#include "core/base.h"

enum bt_metric_kind { BT_COUNTER, BT_GAUGE };

struct bt_metric {
    const char *name; /* Prometheus style: baetyl_hub_messages_received_total */
    const char *help; /* one sentence */
    enum bt_metric_kind kind;
    _Atomic int64_t value;
    struct bt_metric *next;
    _Atomic bool registered;
};

#define BT_METRIC(name_, kind_, help_)                    \
    {                                                     \
        .name = (name_), .help = (help_), .kind = (kind_) \
    }

void bt_metric_register(struct bt_metric *m); /* idempotent */
static inline void bt_metric_add(struct bt_metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void bt_metric_set(struct bt_metric *m, int64_t n)
{
    atomic_store_explicit(&m->value, n, memory_order_relaxed);
}
int64_t bt_metric_get(const struct bt_metric *m);
/* Calls fn for every registered metric, in order of registration. */
void bt_metric_each(void (*fn)(void *arg, const struct bt_metric *m), void *arg);

#endif
