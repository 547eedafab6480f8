/* How much room the store takes. With a budget, a part of it is for the log and what a
 * group may add to it, the rest is the largest size of the file; SQLite then says that
 * the disk is full, and all goes as it does when the disk is full indeed: what is to be
 * stored waits, what is delivered makes room. Pages that became free are used again.
 *
 * A disk that is nearly full is worse than a full one: the log would take the last
 * blocks, and without any the file cannot grow by what is in the log, so that nothing
 * could ever be deleted. So a group is not begun unless there is room to carry the log
 * over after it. When it becomes tight the log is carried over at once and gives its
 * space back, and groups become smaller.
 *
 * When most of a large file is free its end is given back, a few pages a step while there
 * is nothing else to do. A file made without the maps that this needs stays as it is. */
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "core/db.h"
#include "hub/store/store_salvage.h"
#include "hub/store/store_tx.h"

#define PAGE              4096u
#define LOG_MOST          ((uint64_t)BT_DB_WAL_PAGES * PAGE)
#define SPACE_PLENTY      ((uint64_t)128 * 1024 * 1024)
#define SPACE_SPARE_LEAST ((uint64_t)1024 * 1024)
#define SPACE_SPARE_MOST  ((uint64_t)16 * 1024 * 1024)
#define SPACE_GROUP_LEAST ((uint64_t)64 * 1024)
#define SHRINK_FROM       INT64_C(2048) /* free pages */
#define SHRINK_STEP       256

/* Of the file system: bytes that are free, and those that are kept for deleting. false
 * when it cannot be told. */
static bool ask_disk(const struct hub_store_tx *tx, uint64_t *unused, uint64_t *spare)
{
    struct statvfs v;

    if (!tx->locked || fstatvfs(tx->lock.fd, &v) != 0)
        return false;
    *unused = (uint64_t)v.f_bavail * v.f_frsize;
    *spare = BT_MIN(BT_MAX((uint64_t)v.f_blocks * v.f_frsize / 8, SPACE_SPARE_LEAST),
                    SPACE_SPARE_MOST);
    return true;
}

static uint64_t log_bytes(const char *path)
{
    char log[HUB_STORE_PATH_MAX + 8];
    struct stat st;

    snprintf(log, sizeof(log), "%s-wal", path);
    return stat(log, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static int count_pages(struct hub_store_tx *tx, int64_t *all, int64_t *unused)
{
    int r = bt_db_query_int(tx->db, "PRAGMA page_count", all);

    return r < 0 ? r : bt_db_query_int(tx->db, "PRAGMA freelist_count", unused);
}

/* Whether a group fits: in the log, and then in the file, which grows unless it has free
 * pages. */
static bool fits(struct hub_store_tx *tx, const char *path)
{
    uint64_t unused, spare, group, log = log_bytes(path);
    int64_t pages, inside;

    if (!ask_disk(tx, &unused, &spare) || unused >= SPACE_PLENTY)
        return true;
    group = BT_MIN(BT_MAX(unused / 16, SPACE_GROUP_LEAST), (uint64_t)tx->group_most);
    tx->group_bytes = (size_t)group;
    if (unused >= spare + log + 3 * group)
        return true;
    return count_pages(tx, &pages, &inside) == 0 &&
           (uint64_t)inside * PAGE >= log + 4 * group && unused >= log + 4 * group;
}

bool hub_store_space_left(struct hub_store_tx *tx, const char *path)
{
    tx->group_bytes = tx->group_most;
    if (fits(tx, path))
        return true;
    bt_db_checkpoint(tx->db, true);
    return fits(tx, path);
}

int hub_store_space_limit(struct hub_store_tx *tx, uint64_t bytes)
{
    uint64_t log = BT_MIN(bytes / 8, LOG_MOST);
    char sql[128];

    if (bytes == 0)
        return 0;
    tx->group_most = (size_t)BT_MIN((uint64_t)HUB_STORE_GROUP_BYTES, bytes / 8);
    tx->group_bytes = tx->group_most;
    /* A group's rows and headers are counted as much as its payload. */
    snprintf(sql, sizeof(sql),
             "PRAGMA wal_autocheckpoint=%llu; PRAGMA max_page_count=%llu",
             (unsigned long long)(log / PAGE),
             (unsigned long long)((bytes - log - 2 * tx->group_bytes) / PAGE));
    return bt_db_exec(tx->db, sql);
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
