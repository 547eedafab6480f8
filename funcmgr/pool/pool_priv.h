/* Between the files of the pool. */
#ifndef FUNCMGR_POOL_PRIV_H
#define FUNCMGR_POOL_PRIV_H

#include "funcmgr/pool/pool.h"

/* What the pool takes an instance for; fm_instance.place. */
enum fm_place { FM_AT_START, FM_AT_IDLE, FM_AT_BUSY, FM_AT_RETIRING, FM_AT_STOP };

/* pool.c */
/* Calls that wait to instances that are free, then instances for those that still wait.
 */
void fm_pool_pump(struct fm_pool *p);
/* Answer the calls that wait now and are not patient. */
void fm_pool_fail_waiting(struct fm_pool *p, const char *message);

/* pool_start.c */
/* What all instances of the pool have in common. */
struct fm_instance_opts fm_pool_opts(struct fm_pool *p);
bool fm_pool_wants_fork(const struct fm_pool *p);
bool fm_pool_may_start(const struct fm_pool *p);
/* Instances for the calls that wait and for the minimum; spares a little later. */
void fm_pool_start_wanted(struct fm_pool *p);
/* What a call is told while none can be started. */
void fm_pool_start_message(const struct fm_pool *p, char *out, size_t size);
/* A start failed: pause, degrade, answer who does not want to wait. */
void fm_pool_start_failed(struct fm_pool *p, const char *why);
/* An instance got ready: those before it can go. */
void fm_pool_started(struct fm_pool *p);
/* An instance ended by itself before its first call. */
void fm_pool_ended_early(struct fm_pool *p);
/* An instance broke while it ran calls; an instance answered one. */
void fm_pool_crashed(struct fm_pool *p, const char *why);
void fm_pool_well(struct fm_pool *p);
/* It is no longer live: it is stopping, or about to be stopped. */
void fm_pool_leave(struct fm_pool *p, struct fm_instance *in);
/* End an instance that has no calls. */
void fm_pool_retire(struct fm_pool *p, struct fm_instance *in);
void fm_pool_on_backoff(struct bt_timer *t);
void fm_pool_on_evict(struct bt_timer *t);
void fm_pool_on_spare(struct bt_timer *t);

#endif
