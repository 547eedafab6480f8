/* The log's file: appends, rotates by size, removes old files by age and count. Not
 * thread-safe: the log's lock guards it. Errors are BT_EIO with errno, not logged (the
 * log cannot log itself). */
#ifndef CORE_LOG_ROTATE_H
#define CORE_LOG_ROTATE_H

#include <limits.h>

#include "core/base.h"

#define BT_LOG_MAX_OLD_FILES 4096 /* looked at in one rotation */

struct bt_log_file {
    int fd; /* -1 = none */
    uint64_t size, max_size;
    uint32_t age_days, backup_count;
    char path[PATH_MAX];
};

/* Open for appending; creates the folder (and its parents) and the file. Zero limits mean
 * none. */
int bt_log_file_open(struct bt_log_file *f, const char *path) BT_MUST_CHECK;
void bt_log_file_close(struct bt_log_file *f);
/* Append a line; rotates first when it would pass max_size. wall_ms names the rotated
 * file. */
int bt_log_file_write(struct bt_log_file *f, const char *line, size_t n,
                      int64_t wall_ms) BT_MUST_CHECK;

#endif
