/* A database file that SQLite cannot read any more, read without it: the pages one after
 * the other, with the newest version from the log, and every row that can be found in
 * them. What a row belongs to must be told by its shape. One thread.
 *
 * A row may come twice, and one that was deleted may come back when the list of free
 * pages is damaged, too. */
#ifndef CORE_DB_RAW_H
#define CORE_DB_RAW_H

#include "core/base.h"

struct bt_db_raw;

#define BT_DB_RAW_ROW     1   /* condition of bt_db_raw_next */
#define BT_DB_RAW_DAMAGED 2   /* condition of bt_db_raw_probe */
#define BT_DB_RAW_COLUMNS 16u /* rows with more are none of ours */
#define BT_DB_RAW_MAX     ((size_t)280 * 1024 * 1024) /* bytes of a row */

enum bt_db_raw_kind {
    BT_DB_RAW_NULL,
    BT_DB_RAW_INT,
    BT_DB_RAW_REAL,
    BT_DB_RAW_BLOB,
    BT_DB_RAW_TEXT
};
struct bt_db_raw_value {
    enum bt_db_raw_kind kind;
    int64_t i;             /* INT */
    struct bt_slice bytes; /* BLOB, TEXT: borrowed until the next row */
};
struct bt_db_raw_row {
    bool has_rowid; /* false: of a table WITHOUT ROWID, or of an index */
    int64_t rowid;
    uint32_t n;
    struct bt_db_raw_value v[BT_DB_RAW_COLUMNS];
};
struct bt_db_raw_stats {
    uint32_t pages, pages_done; /* for progress */
    uint32_t bad_pages;         /* that could not be read, or make no sense */
    uint64_t bad_cells;         /* of readable pages */
    uint32_t log_frames, bad_log_frames;
};

/* What can be seen without reading all: 0, or BT_DB_RAW_DAMAGED when the file is no
 * database, is shorter than it should be, or its log is damaged; BT_EIO, BT_ENOMEM. A
 * file that is not there is fine. Nobody else may have the database open. */
int bt_db_raw_probe(const char *path) BT_MUST_CHECK;
/* The database must not be open. 0, BT_EIO or BT_ENOMEM. */
int bt_db_raw_open(const char *path, struct bt_db_raw **out) BT_MUST_CHECK;
/* NULL is fine. */
void bt_db_raw_close(struct bt_db_raw *raw);
/* BT_DB_RAW_ROW, 0 at the end, BT_ENOMEM. */
int bt_db_raw_next(struct bt_db_raw *raw, struct bt_db_raw_row *row) BT_MUST_CHECK;
const struct bt_db_raw_stats *bt_db_raw_stats(const struct bt_db_raw *raw);

#endif
