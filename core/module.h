/* A module is a set of threads with one life cycle. core/main.c holds the table of
 * modules in start order; the supervisor (core/super.c) creates, starts, stops (reverse
 * order) and frees them, and watches their loops. All functions of a module run on the
 * main thread. */
#ifndef CORE_MODULE_H
#define CORE_MODULE_H

#include "core/base.h"
#include "core/loop.h"

struct bt_conf_ctx;
struct bt_super;
struct bt_api;

/* What a module is given. Lives longer than the module. */
struct bt_module_env {
    struct bt_super *super;
    struct bt_loop *main_loop;
    struct bt_api *api;   /* core/api.h; NULL: there is no control socket */
    const char *work_dir; /* absolute */
    const void *conf;     /* the module's own parsed configuration struct, read-only */
    /* Another module's instance, by name, or NULL when it does not run: funcmgr asks for
     * "hub". */
    void *(*find)(struct bt_super *super, const char *name);
};

struct bt_module_ops {
    const char *name; /* "hub" */
    const char *help; /* one sentence for --help */
    /* Allocate, open files and sockets, spawn nothing. 0 or a fatal code, logged. */
    int (*create)(const struct bt_module_env *env, void **out);
    /* Start threads. After 0 the module is ready to serve the other modules. */
    int (*start)(void *self);
    /* All modules have started: let the world in. NULL: nothing to let in. */
    void (*open)(void *self);
    /* Take over a new configuration, checked like the first one; NULL: the module knows
     * no reload. It lives as long as `owner`: whoever keeps it takes a reference. Called
     * only between start and stop. 0, or a fatal code, logged: nothing has changed. */
    int (*reload)(void *self, const void *conf, struct bt_conf_ctx *owner);
    /* Ask to stop; returns at once. The module calls bt_super_stopped(super, self) from
     * any thread when its work is drained; the supervisor then calls free. Called at most
     * once, only after start. */
    void (*stop)(void *self);
    /* Join threads and release all; also after a failed start. */
    void (*free)(void *self);
};

/* Any thread: the module has drained and its threads are about to end. */
void bt_super_stopped(struct bt_super *super, void *module);
/* Any thread: a loop to watch; must be removed before the loop is freed. A loop that does
 * not turn for BT_WATCHDOG_MS is logged (id CORE-STALL) and the sd_notify watchdog is no
 * longer fed. */
#define BT_WATCHDOG_MS 5000
int bt_super_watch(struct bt_super *super, struct bt_loop *loop) BT_MUST_CHECK;
void bt_super_unwatch(struct bt_super *super, struct bt_loop *loop);
/* Any thread: something is broken beyond repair; stop the process with a non-zero exit
 * status. */
void bt_super_fail(struct bt_super *super, const char *why);
/* Any thread: something is broken that a new start mends; stop all modules and start them
 * again, within the process. */
void bt_super_restart(struct bt_super *super, const char *why);

#endif
