/* A log line about the hub every so often, when status.logging.enable asks for it. Main
 * thread. */
#ifndef HUB_STATUS_H
#define HUB_STATUS_H

#include "core/loop.h"

struct hub_status;

/* NULL: out of memory. */
struct hub_status *hub_status_new(struct bt_loop *main_loop,
                                  int64_t interval_ms) BT_MUST_CHECK;
/* NULL is fine. */
void hub_status_free(struct hub_status *s);

#endif
