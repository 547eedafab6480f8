/* One line of the log as bytes: text or JSON. No state, any thread. */
#ifndef CORE_LOG_FORMAT_H
#define CORE_LOG_FORMAT_H

#include "core/log.h"

struct bt_log_record {
    int64_t wall_ms;
    enum bt_log_level level;
    const char *id, *text;
    const char *pairs; /* formatted "key=value key=value"; values may be between
                          BT_LOG_Q's marks */
    uint64_t held;     /* lines of this kind held back before this one */
};

/* Writes at most BT_LOG_LINE_MAX bytes, the last is '\n'; returns how many. Well-formed
 * also when cut: JSON is closed, UTF-8 whole. */
size_t bt_log_format_text(const struct bt_log_record *r, char out[BT_LOG_LINE_MAX]);
size_t bt_log_format_json(const struct bt_log_record *r, char out[BT_LOG_LINE_MAX]);
const char *bt_log_level_text(enum bt_log_level level);

#endif
