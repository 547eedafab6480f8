/* Results. 0 is success. Negative codes are fatal for the operation and are forwarded
 * unchanged. Positive values are conditions that a function documents and its direct
 * caller handles. A failure is logged once, where a foreign failure becomes ours
 * (bt_origin). Any thread. */
#ifndef CORE_ERROR_H
#define CORE_ERROR_H

#include "core/base.h"

#define BT_FATAL_CODES(X)                     \
    X(BT_ENOMEM, -1, "out of memory")         \
    X(BT_EIO, -2, "system call failed")       \
    X(BT_EDB, -3, "database failed")          \
    X(BT_ETLS, -4, "TLS failed")              \
    X(BT_EBUG, -5, "unhandled condition")     \
    X(BT_EINVAL, -6, "invalid input")         \
    X(BT_ELIMIT, -7, "limit exceeded")        \
    X(BT_ECONF, -8, "configuration is wrong") \
    X(BT_EBUSY, -9, "already in use")         \
    X(BT_ETIMEOUT, -10, "timed out")          \
    X(BT_ECLOSED, -11, "closed")

enum bt_error {
#define BT_X(name, value, text) name = (value),
    BT_FATAL_CODES(BT_X)
#undef BT_X
};

/* Raise: the one place where a foreign failure becomes ours, and the one place where it
 * is logged (level error, id "CORE-ORIGIN", with errno's text when `code` is BT_EIO).
 * `what` is a fixed sentence. Returns `code`. */
#define bt_origin(code, what) bt_origin_((code), __FILE__, __LINE__, (what))
/* Forward a result we have no answer for: 0 and <0 pass, >0 becomes BT_EBUG and is
 * logged. */
#define bt_fold(r) bt_fold_((r), __FILE__, __LINE__)

int bt_origin_(int code, const char *file, int line, const char *what);
int bt_fold_(int r, const char *file, int line);
/* The text of a code; never NULL, static storage. */
const char *bt_error_text(int code);

#endif
