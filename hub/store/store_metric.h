/* The store's metrics. Private to the store. */
#ifndef HUB_STORE_METRIC_H
#define HUB_STORE_METRIC_H

#include "core/metric.h"
#include "hub/store/store_tx.h"

extern struct bt_metric hub_m_store_commits, hub_m_store_ops, hub_m_store_written,
    hub_m_store_skipped, hub_m_store_failures, hub_m_store_waiting, hub_m_store_degraded;

/* Main thread; may be called again. */
void hub_store_metric_register(void);
/* Store thread: a group was committed; durable: it cost a commit of the database. */
void hub_store_metric_commit(const struct hub_store_tx *tx, uint64_t us, bool durable);

#endif
