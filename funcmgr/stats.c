/* The counters in one table, so that registering is a loop. */
#include "funcmgr/stats.h"

struct bt_metric fm_stat_calls = BT_METRIC("baetyl_function_calls_total", BT_COUNTER,
                                           "Messages that went through a function.");
struct bt_metric fm_stat_errors =
    BT_METRIC("baetyl_function_errors_total", BT_COUNTER,
              "Calls that were answered with an error message.");
struct bt_metric fm_stat_retries =
    BT_METRIC("baetyl_function_retries_total", BT_COUNTER,
              "Calls that were tried again after their instance broke.");
struct bt_metric fm_stat_dropped =
    BT_METRIC("baetyl_function_dropped_total", BT_COUNTER,
              "QoS 0 messages dropped because too many calls were waiting.");
struct bt_metric fm_stat_start_failures = BT_METRIC(
    "baetyl_function_start_failures_total", BT_COUNTER, "Instances that did not start.");
struct bt_metric fm_stat_instances = BT_METRIC("baetyl_function_instances", BT_GAUGE,
                                               "Processes of functions that run now.");

struct bt_metric fm_stat_degraded = BT_METRIC(
    "baetyl_functions_degraded", BT_GAUGE,
    "Functions that cannot start, or whose instances break one after the other.");

static struct bt_metric *const all[] = {
    &fm_stat_calls,          &fm_stat_errors,    &fm_stat_retries,  &fm_stat_dropped,
    &fm_stat_start_failures, &fm_stat_instances, &fm_stat_degraded,
};

void fm_stats_register(void)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(all); i++)
        bt_metric_register(all[i]);
}
