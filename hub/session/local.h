/* In-process clients, the worker's side. hub/hub.h has the module's side. */
#ifndef HUB_LOCAL_H
#define HUB_LOCAL_H

#include "core/mbox.h"

struct hub_worker;

/* HUB_W_LOCAL: a request from a module's loop. Takes msg. */
void hub_local_handle(struct hub_worker *w, struct bt_msg *msg);
/* The hub stops: tell every client of this worker and let go of it. */
void hub_local_close_all(struct hub_worker *w, uint8_t reason);

#endif
