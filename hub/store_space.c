/* How much room the store takes. With a budget, a part of it is for the log and what a
 * group may add to it, the rest is the largest size of the file; SQLite then says that
 * the disk is full, and all goes as it does when the disk is full indeed: what is to be
 * stored waits, what is delivered makes room. Pages that became free are used again.
 *
 * When most of a large file is free its end is given back, a few pages a step while there
 * is nothing else to do. A file made without the maps that this needs stays as it is. */
#include "core/db.h"
#include "hub/store_tx.h"

#include <stdio.h>

#define PAGE        4096u
#define LOG_MOST    ((uint64_t)BT_DB_WAL_PAGES * PAGE)
#define SHRINK_FROM INT64_C(2048) /* free pages */
#define SHRINK_STEP 256

int hub_store_space_limit(struct hub_store_tx *tx, uint64_t bytes)
{
    uint64_t log = BT_MIN(bytes / 8, LOG_MOST);
    char sql[128];

    if (bytes == 0)
        return 0;
    tx->group_bytes = (size_t)BT_MIN((uint64_t)HUB_STORE_GROUP_BYTES, bytes / 8);
    /* A group's rows and headers are counted as much as its payload. */
    snprintf(sql, sizeof(sql),
             "PRAGMA wal_autocheckpoint=%llu; PRAGMA max_page_count=%llu",
             (unsigned long long)(log / PAGE),
             (unsigned long long)((bytes - log - 2 * tx->group_bytes) / PAGE));
    return bt_db_exec(tx->db, sql);
}

static int count_pages(struct hub_store_tx *tx, int64_t *all, int64_t *unused)
{
    int r = bt_db_query_int(tx->db, "PRAGMA page_count", all);

    return r < 0 ? r : bt_db_query_int(tx->db, "PRAGMA freelist_count", unused);
}

int hub_store_shrink_begin(struct hub_store_tx *tx)
{
    int64_t all, unused;
    int r = count_pages(tx, &all, &unused);

    tx->shrinking = r == 0 && unused >= SHRINK_FROM && unused > all / 2;
    return r;
}

int hub_store_shrink_step(struct hub_store_tx *tx)
{
    int64_t all, unused, before;
    char sql[64];
    int r;

    if (!tx->shrinking)
        return 0;
    r = count_pages(tx, &before, &unused);
    if (r == 0)
        r = hub_store_tx_begin(tx);
    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", SHRINK_STEP);
    if (r == 0)
        r = bt_db_exec(tx->db, sql);
    if (r == 0)
        r = count_pages(tx, &all, &unused);
    tx->shrinking = r == 0 && all < before && unused > all / 4;
    return r;
}
