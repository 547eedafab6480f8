/* Log lines that clients can cause are bounded: so many a second of one kind and worker,
 * the rest counted and told with the next line. One thread. */
#ifndef HUB_QUIET_H
#define HUB_QUIET_H

#include "core/base.h"

#define HUB_QUIET_LINES 10u /* a second */

enum hub_quiet_kind {
    HUB_QUIET_REFUSED, /* logins */
    HUB_QUIET_CLOSED,  /* connections closed by the hub */
    HUB_QUIET_ACCEPT,  /* connections not accepted */
    HUB_QUIET_LIMITED, /* a client reached a limit */
    HUB_QUIET_N,
};
struct hub_quiet {
    uint64_t since_ms;
    uint32_t n, hidden;
};

/* Whether a line may be written now; *hidden is how many were not since the last one. */
static inline bool hub_quiet(struct hub_quiet *q, uint64_t now_ms, uint32_t *hidden)
{
    if (now_ms - q->since_ms >= 1000) {
        q->since_ms = now_ms;
        q->n = 0;
    }
    if (q->n >= HUB_QUIET_LINES) {
        q->hidden++;
        return false;
    }
    q->n++;
    *hidden = q->hidden;
    q->hidden = 0;
    return true;
}

#endif
