/* Questions of the control socket about what workers own: clients, decisions. A question
 * travels as a message from worker to worker and collects its answer; no thread waits for
 * it, and each worker does a bounded part of it at a time. */
#ifndef HUB_QUERY_H
#define HUB_QUERY_H

#include "core/api.h"
#include "core/mbox.h"

struct hub;
struct hub_worker;

#define HUB_QUERY_CLIENTS     100u /* of one answer, when not asked for another number */
#define HUB_QUERY_MAX_CLIENTS 10000u /* of one answer */
#define HUB_QUERY_STEP        256u   /* sessions looked at in one loop turn */
#define HUB_QUERY_MAX_ANSWER  ((size_t)8 * 1024 * 1024)

/* Main thread. Registers GET /v1/hub/clients, /v1/hub/why, /v1/hub/store. */
int hub_query_add(struct hub *hub, struct bt_api *api) BT_MUST_CHECK;
/* Worker's thread: HUB_W_QUERY. */
void hub_query_handle(struct hub_worker *w, struct bt_msg *msg);

#endif
