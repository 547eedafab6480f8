/* The function manager's counters. Any thread may read them. */
#ifndef FUNCMGR_STATS_H
#define FUNCMGR_STATS_H

#include "core/metric.h"

extern struct bt_metric fm_stat_calls;
extern struct bt_metric fm_stat_errors;
extern struct bt_metric fm_stat_retries;
extern struct bt_metric fm_stat_dropped;
extern struct bt_metric fm_stat_start_failures;
extern struct bt_metric fm_stat_instances;
extern struct bt_metric fm_stat_degraded;

void fm_stats_register(void);

#endif
