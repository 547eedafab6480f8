/* The idea: the texts of the codes come from the same list as the codes; a failure is
 * logged here and nowhere on its way up. errno survives the logging, so that a caller may
 * still look at it. */
#include "core/error.h"

#include <errno.h>
#include <string.h>

#include "core/log.h"

static const struct {
    int code;
    const char *text;
} texts[] = {
#define BT_X(name, value, text) { (value), (text) },
    BT_FATAL_CODES(BT_X)
#undef BT_X
};

const char *bt_error_text(int code)
{
    size_t i;

    for (i = 0; i < BT_ARRAY_LEN(texts); i++)
        if (texts[i].code == code)
            return texts[i].text;
    return code == 0 ? "success" : "unknown result";
}

int bt_origin_(int code, const char *file, int line, const char *what)
{
    int saved = errno;

    if (code == BT_EIO)
        bt_log(BT_LOG_ERROR, "CORE-ORIGIN", what, "at=%s:%d code=%d error=" BT_LOG_Q,
               file, line, code,
               strerror(saved)); /* NOLINT(concurrency-mt-unsafe): both libcs' is safe */
    else
        bt_log(BT_LOG_ERROR, "CORE-ORIGIN", what, "at=%s:%d code=%d error=" BT_LOG_Q,
               file, line, code, bt_error_text(code));
    errno = saved;
    return code;
}

int bt_fold_(int r, const char *file, int line)
{
    if (bt_likely(r <= 0))
        return r;
    bt_log(BT_LOG_ERROR, "CORE-FOLD", "a condition that nobody handles",
           "at=%s:%d value=%d", file, line, r);
    return BT_EBUG;
}
