/* The supervisor: the main thread's loop, the signals, the life cycle of the modules, the
 * children and the watchdog. One per process. See core/module.h for what modules call. */
#ifndef CORE_SUPER_H
#define CORE_SUPER_H

#include "core/module.h"

struct bt_super_opts {
    const char *work_dir; /* absolute; borrowed, lives longer than the supervisor */
    uint32_t grace_ms;    /* time for all modules to stop; 0 means BT_SUPER_GRACE_MS */
    /* Main thread, on SIGHUP: reopen logs, reload. May be NULL. */
    void (*on_hup)(void *arg);
    /* Main thread, once, when every module has started. May be NULL. */
    void (*on_ready)(void *arg);
    void *arg;
};

#define BT_SUPER_GRACE_MS 30000u
/* A signal this soon after the first one is the same wish, delivered twice (to the
 * process and to its group). */
#define BT_SUPER_SAME_MS     100u
#define BT_SUPER_MAX_MODULES 16u

/* Exit statuses of bt_super_run. */
#define BT_EXIT_OK     0 /* stopped by SIGTERM or SIGINT, or nothing was left to run */
#define BT_EXIT_FAILED 1 /* a module could not start, or bt_super_fail was called */
/* A second signal, or `grace` ran out before all had drained. */
#define BT_EXIT_FORCED 3
/* bt_super_restart was called: the caller builds a new supervisor and runs it. */
#define BT_EXIT_AGAIN 100

/* Main thread, before any other thread runs. Blocks nothing, watches SIGTERM, SIGINT,
 * SIGHUP and SIGCHLD, ignores SIGPIPE. NULL when out of memory or out of descriptors
 * (logged). */
struct bt_super *bt_super_new(const struct bt_super_opts *opts) BT_MUST_CHECK;
/* Add a module in start order, before bt_super_run. `ops` and `conf` are borrowed and
 * live longer than the supervisor. 0, or BT_ELIMIT after BT_SUPER_MAX_MODULES. */
int bt_super_add(struct bt_super *super, const struct bt_module_ops *ops,
                 const void *conf) BT_MUST_CHECK;
/* Create all modules in order, start all in order, tell the service manager READY, run
 * until a signal or bt_super_fail, then stop in reverse order one after the other: each
 * drains and is freed before the next is asked. A module that drains without being asked
 * stays until then. Returns the process's exit status. When it is forced, modules that
 * did not drain are not freed: their threads still run; the caller only exits. */
int bt_super_run(struct bt_super *super) BT_MUST_CHECK;
#define BT_SUPER_NO_RELOAD 1 /* the module does not run, or knows no reload */
/* Main thread: hand a new configuration to the module with these operations. 0,
 * BT_SUPER_NO_RELOAD, or what its reload returned. */
int bt_super_reload(struct bt_super *super, const struct bt_module_ops *ops,
                    const void *conf, struct bt_conf_ctx *owner) BT_MUST_CHECK;
/* Any thread: stop as SIGTERM does; a second call is not a second signal. */
void bt_super_stop(struct bt_super *super);
/* Before bt_super_run: what the modules find as `api`; borrowed, outlives the modules. */
void bt_super_api(struct bt_super *super, struct bt_api *api);
/* The main loop, for timers and mailboxes of the main thread. */
struct bt_loop *bt_super_loop(struct bt_super *super);
/* After bt_super_run, or without it. NULL is fine. Does nothing after a forced stop. */
void bt_super_free(struct bt_super *super);

#endif
