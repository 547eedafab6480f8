/* The log: one sink per process, any thread. A line is: time, level, stable id, fixed
 * sentence, key=value pairs. Never payloads, passwords, tokens, keys. Repeats of one id
 * and sentence are limited to BT_LOG_BURST lines per BT_LOG_WINDOW_MS (level debug is
 * not); the next line that passes says how many were held back. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/base.h"

enum bt_log_level { BT_LOG_ERROR, BT_LOG_WARN, BT_LOG_INFO, BT_LOG_DEBUG };
enum bt_log_format { BT_LOG_TEXT, BT_LOG_JSON };

#define BT_LOG_BURST     20
#define BT_LOG_WINDOW_MS 1000

/* The original's `logger` block. Strings are borrowed for the call. Rotation renames the
 * file to <name>-<UTC time><extension> beside it; the old files are plain, not compressed
 * as the original's were. With a path, standard error receives the lines as well when the
 * level is debug. */
struct bt_log_conf {
    const char *path;      /* file to append to; NULL or "" = standard error only */
    uint32_t level;        /* enum bt_log_level */
    uint32_t format;       /* enum bt_log_format */
    uint32_t age_days;     /* rotated files older than this are removed */
    uint32_t size_mb;      /* rotate at this size */
    uint32_t backup_count; /* rotated files kept */
};

/* (Re)open the sink. BT_EIO when the file cannot be opened (its folder is created); the
 * previous sink stays. Before the first call lines go to standard error at level info. */
int bt_log_open(const struct bt_log_conf *conf) BT_MUST_CHECK;
void bt_log_close(void);
/* Cheap check before formatting. */
bool bt_log_enabled(enum bt_log_level level);
void bt_log_set_level(enum bt_log_level level);

/* id: stable upper-case id "HUB-QUOTA"; text: fixed sentence; fmt: "key=%s key=%d" pairs
 * or "". A value that may hold a space or a quote (all that comes from outside) is
 * written with BT_LOG_Q: "client=" BT_LOG_Q " bytes=%zu". Control bytes, quotes and
 * invalid UTF-8 are escaped by the sink; a line is cut at BT_LOG_LINE_MAX bytes. */
#define BT_LOG_LINE_MAX 4096
/* Two bytes that UTF-8 never holds mark where the value begins and ends. */
#define BT_LOG_Q "\xfe%s\xff"
#define bt_log(level, id, text, ...)                          \
    do {                                                      \
        if (bt_log_enabled(level))                            \
            bt_log_write((level), (id), (text), __VA_ARGS__); \
    } while (0)
/* The same for lines that somebody else limits: never held back. */
#define bt_log_own(level, id, text, ...)                          \
    do {                                                          \
        if (bt_log_enabled(level))                                \
            bt_log_write_own((level), (id), (text), __VA_ARGS__); \
    } while (0)
void bt_log_write(enum bt_log_level level, const char *id, const char *text,
                  const char *fmt, ...) BT_PRINTF(4, 5);
void bt_log_write_own(enum bt_log_level level, const char *id, const char *text,
                      const char *fmt, ...) BT_PRINTF(4, 5);

#endif
