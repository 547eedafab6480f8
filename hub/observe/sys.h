/* The $SYS topics: what the hub counts, as messages. Under $SYS/broker/ the names that
 * mosquitto uses, under $SYS/baetyl/<module>/ every metric. A subscription gets the
 * values of that moment as retained messages, then, every sys.interval, those that
 * changed. While nobody subscribes nothing is computed and no timer runs. */
#ifndef HUB_SYS_H
#define HUB_SYS_H

#include "core/mbox.h"
#include "hub/route/retain.h"

struct hub;
struct hub_sys;
struct hub_worker;

#define HUB_SYS_MAX_TOPICS 1024u /* metrics beyond that have no topic */
#define HUB_SYS_FRESH_MS   1000u /* values younger than this are not computed again */

struct hub_sys *hub_sys_new(struct hub *hub) BT_MUST_CHECK;
/* NULL is fine. */
void hub_sys_free(struct hub_sys *sys);
/* Whether the filter, or the one in a shared subscription, begins with $SYS. Any thread.
 */
bool hub_sys_is(struct bt_slice filter);
/* A subscription was made (1) or is gone (-1); others than to $SYS are passed over. Any
 * thread. */
void hub_sys_subscribed(struct hub_sys *sys, struct bt_slice filter, int n);
/* The values now, as a retained tree. Any thread. */
struct hub_retain *hub_sys_tree(struct hub_sys *sys);
/* Worker 0: HUB_W_SYS, somebody subscribed. */
void hub_sys_start(struct hub_worker *w, struct bt_msg *msg);
/* Worker 0: no timer runs after this. */
void hub_sys_stop(struct hub_sys *sys, struct bt_loop *loop);

#endif
