/* Something that may happen very often is said at most once a second, with the number of
 * times. Embedded; the loop's thread only. */
#ifndef FUNCMGR_QUIET_H
#define FUNCMGR_QUIET_H

#include "core/loop.h"

#define FM_QUIET_MS 1000u

struct fm_quiet {
    struct bt_loop *loop;
    struct bt_timer timer; /* runs for FM_QUIET_MS after a line */
    uint64_t n;            /* not said yet */
    void *arg;
    void (*say)(void *arg, uint64_t n);
};

void fm_quiet_init(struct fm_quiet *q, struct bt_loop *loop,
                   void (*say)(void *arg, uint64_t n), void *arg);
/* It happened: say is called now or within a second. */
void fm_quiet_hit(struct fm_quiet *q);
/* Say the rest and stop. Idempotent. */
void fm_quiet_stop(struct fm_quiet *q);

#endif
