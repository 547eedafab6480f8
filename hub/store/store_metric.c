/* What the store tells about itself: commits and their time, rows, and what all of it
 * costs the device. Bytes and synchronisations come from below SQLite, so they hold the
 * log, its transfer into the file, and everything else that wears a flash device out. */
#include "hub/store/store_metric.h"

#include "hub/observe/stats.h"

#define METRIC struct bt_metric

struct bt_metric hub_m_store_commits =
    BT_METRIC("baetyl_store_commits_total", BT_COUNTER, "Transactions made durable.");
struct bt_metric hub_m_store_ops = BT_METRIC("baetyl_store_operations_total", BT_COUNTER,
                                             "Operations the store has completed.");
struct bt_metric hub_m_store_written = BT_METRIC(
    "baetyl_store_rows_written_total", BT_COUNTER, "Rows inserted or replaced.");
struct bt_metric hub_m_store_skipped =
    BT_METRIC("baetyl_store_writes_skipped_total", BT_COUNTER,
              "Queue entries acknowledged, and retained messages replaced, before they "
              "had to be written.");
struct bt_metric hub_m_store_failures = BT_METRIC(
    "baetyl_store_failures_total", BT_COUNTER, "Transactions that were rolled back.");
struct bt_metric hub_m_store_waiting =
    BT_METRIC("baetyl_store_waiting", BT_GAUGE, "Operations that wait for the store.");
struct bt_metric hub_m_store_degraded =
    BT_METRIC("baetyl_store_degraded", BT_GAUGE,
              "1 while the store cannot write and publishers wait.");
static struct bt_metric m_messages =
    BT_METRIC("baetyl_store_messages_written_total", BT_COUNTER,
              "Messages written, each once whatever its receivers.");
static struct bt_metric m_slowest =
    BT_METRIC_US("baetyl_store_commit_seconds_max", BT_GAUGE,
                 "The longest transaction since the start.");
static struct bt_histogram commit_times = {
    .bounds = { 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
                1000000 },
};
static struct bt_metric m_commit_times = {
    .name = "baetyl_store_commit_seconds",
    .help = "How long transactions took, commits and the log's transfer included.",
    .kind = BT_HISTOGRAM,
    .per = 1000000u,
    .hist = &commit_times,
};
static struct bt_metric m_syncs = BT_METRIC("baetyl_store_syncs_total", BT_COUNTER,
                                            "Synchronisations of the disk (fdatasync).");
static struct bt_metric m_sync_us = BT_METRIC_US(
    "baetyl_store_sync_seconds_total", BT_COUNTER, "Time spent in synchronisations.");
static struct bt_metric m_log_bytes = BT_METRIC(
    "baetyl_store_log_bytes_total", BT_COUNTER, "Bytes written to the write-ahead log.");
static struct bt_metric m_file_bytes =
    BT_METRIC("baetyl_store_file_bytes_total", BT_COUNTER,
              "Bytes carried over into the database file.");
static struct bt_metric m_per_message =
    BT_METRIC("baetyl_store_bytes_per_message", BT_GAUGE,
              "Bytes written to the device per message written, since the start.");

static struct bt_metric *const metrics[] = {
    &hub_m_store_commits,
    &hub_m_store_ops,
    &hub_m_store_written,
    &hub_m_store_skipped,
    &hub_m_store_waiting,
    &hub_m_store_degraded,
    &hub_m_store_failures,
    &m_messages,
    &m_slowest,
    &m_commit_times,
    &m_syncs,
    &m_sync_us,
    &m_log_bytes,
    &m_file_bytes,
    &m_per_message,
};

void hub_store_metric_register(void)
{
    size_t i;

    for (i = 0; i < BT_ARRAY_LEN(metrics); i++)
        bt_metric_register(metrics[i]);
}

static void count_drops(const struct hub_store_tx *tx)
{
    hub_count_drops(HUB_DROP_RETENTION, tx->clean.removed);
    hub_count_drops(HUB_DROP_QUEUE_FULL, tx->limiter.dropped);
}

void hub_store_metric_commit(const struct hub_store_tx *tx, uint64_t us, bool durable)
{
    struct bt_db_io io;
    int64_t messages;

    bt_metric_add(&hub_m_store_commits, durable);
    bt_metric_add(&hub_m_store_written, (int64_t)tx->written);
    bt_metric_add(&hub_m_store_skipped, (int64_t)tx->skipped);
    bt_metric_add(&m_messages, (int64_t)tx->messages);
    count_drops(tx);
    if (!durable)
        return;
    bt_metric_observe(&m_commit_times, (int64_t)us);
    if ((int64_t)us > bt_metric_get(&m_slowest))
        bt_metric_set(&m_slowest, (int64_t)us);
    bt_db_io_get(&io);
    bt_metric_set(&m_syncs, (int64_t)io.syncs);
    bt_metric_set(&m_sync_us, (int64_t)io.sync_us);
    bt_metric_set(&m_log_bytes, (int64_t)io.log_bytes);
    bt_metric_set(&m_file_bytes, (int64_t)io.file_bytes);
    messages = bt_metric_get(&m_messages);
    if (messages > 0)
        bt_metric_set(&m_per_message, (int64_t)(io.log_bytes + io.file_bytes) / messages);
}
