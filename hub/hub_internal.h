/* The hub's own state, shared by its workers. Read-only after start but for the atomics.
 */
#ifndef HUB_HUB_INTERNAL_H
#define HUB_HUB_INTERNAL_H

#include <stdatomic.h>

#include "core/metric.h"
#include "hub/access/auth.h"
#include "hub/access/reply_guard.h"
#include "hub/access/throttle.h"
#include "hub/hub.h"
#include "hub/route/match.h"
#include "hub/route/retain.h"
#include "hub/store/store.h"

struct hub_worker;
struct hub_listener;
struct hub_settings;
struct hub_sys;
struct hub_certs;
struct hub_checker;
struct hub_status;

struct hub {
    const struct hub_conf *conf; /* of the start; a worker's own is newer */
    struct bt_super *super;
    struct hub_throttle *throttle;
    struct hub_bucket connects; /* worker 0: new connections */
    struct hub_checker *checker;
    struct hub_settings *settings; /* main thread: the newest; workers have their own */
    struct hub_index *index;
    struct hub_retain *retain;
    struct hub_sys *sys; /* the $SYS topics */
    struct hub_store *store;
    struct bt_loop *main_loop;
    struct hub_certs *certs;
    struct hub_listener *listeners; /* served by worker 0 */
    uint32_t n_workers;
    struct hub_worker *workers[HUB_MAX_WORKERS];
    struct hub_reply_guards reply_guards; /* topics with an answer by Response Topic */
    struct bt_metric_source gauges;
    struct hub_status *status; /* NULL: not asked for */
    struct bt_api *api;        /* NULL: no control socket */
    _Atomic uint64_t next_sid;
    _Atomic uint32_t n_conns;
    _Atomic uint32_t n_running; /* workers that have not drained yet */
};

/* The worker where a client id lives. Any thread. */
struct hub_worker *hub_home(const struct hub *hub, uint32_t id_hash);

#endif
