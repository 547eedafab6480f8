/* The numbers that tell at a glance how the hub is, in one line; all others are metrics.
 * A family with labels is told as its sum. Failure modes: none. */
#include "hub/observe/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/metric.h"

#define LINE_MAX_LEN 512

struct hub_status {
    struct bt_loop *loop;
    struct bt_timer timer;
};

static const struct {
    const char *key, *metric;
} rows[] = {
    { "connections", "baetyl_hub_connections" },
    { "sessions", "baetyl_hub_sessions" },
    { "subscriptions", "baetyl_hub_subscriptions" },
    { "received", "baetyl_hub_messages_received_total" },
    { "sent", "baetyl_hub_messages_sent_total" },
    { "dropped", "baetyl_hub_messages_dropped_total" },
    { "queued", "baetyl_hub_queued_messages" },
    { "memory", "baetyl_hub_memory_bytes" },
};

static void add(void *arg, const struct bt_metric *m)
{
    int64_t *sums = arg;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        if (strcmp(m->name, rows[i].metric) == 0)
            sums[i] += bt_metric_get(m);
}

static void on_timer(struct bt_timer *t)
{
    int64_t sums[BT_ARRAY_LEN(rows)] = { 0 };
    char line[LINE_MAX_LEN] = "";
    size_t n = 0;

    (void)t;
    bt_metric_each(add, sums);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows) && n < sizeof(line); i++)
        n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%s=%" PRId64,
                              i > 0 ? " " : "", rows[i].key, sums[i]);
    bt_log(BT_LOG_INFO, "HUB-STATUS", "status", "%s", line);
}

struct hub_status *hub_status_new(struct bt_loop *main_loop, int64_t interval_ms)
{
    struct hub_status *s = bt_calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->loop = main_loop;
    bt_timer_init(&s->timer, on_timer);
    bt_timer_start(s->loop, &s->timer, (uint32_t)interval_ms, (uint32_t)interval_ms);
    return s;
}

void hub_status_free(struct hub_status *s)
{
    if (s == NULL)
        return;
    bt_timer_stop(s->loop, &s->timer);
    bt_free(s);
}
