/* The function manager: its pools and rules, as its own files see them. */
#ifndef FUNCMGR_MANAGER_H
#define FUNCMGR_MANAGER_H

#include <pthread.h>

#include "funcmgr/calls/requests.h"
#include "funcmgr/reload/code.h"
#include "funcmgr/rule/link_remote.h"
#include "funcmgr/rule/rule.h"

struct fm_manager;

struct fm_pool_slot {
    struct bt_list link; /* the manager's pools */
    struct fm_manager *m;
    struct fm_pool pool;
    bool removed; /* from the configuration; closed when no rule uses it */
    bool drained;
};
struct fm_rule_slot {
    struct bt_list link; /* the manager's rules */
    struct fm_manager *m;
    struct fm_rule rule;
    const struct fm_rule_conf *takes; /* what it becomes, while a reload is applied */
    bool drained;
};

struct fm_manager {
    const struct fm_conf *conf; /* that of the start */
    struct fm_env env;
    struct bt_list unsent; /* env.unsent */
    struct hub *hub;
    struct bt_list pools, rules; /* slots, in the configuration's order */
    struct fm_backend backend;
    struct fm_remotes remotes;
    struct fm_calls calls;
    struct fm_requests requests; /* unused without a topic */
    struct fm_watch *watch;      /* NULL: no code to watch */
    pthread_t thread;
    bool has_thread, watched;
    int answered_fds[2]; /* closed by the thread when every rule has its answer */
    size_t n_unanswered;
    unsigned n_rules; /* that were ever made */
    struct bt_msg stop_msg;
    struct bt_timer drain_timer;
    unsigned drain_rounds;
    bool stopping;
    size_t n_draining; /* pools and rules that are not drained, while stopping */
    /* Reload. The main thread's: */
    const struct fm_conf *latest; /* the configuration that was handed over last */
    struct bt_list kept;          /* configurations, as long as the manager lives */
    size_t n_kept;
    /* The manager's thread: */
    struct bt_timer sweep_timer;
};

static inline bool fm_takes_requests(const struct fm_manager *m)
{
    return m->conf->calls.topic != NULL && m->conf->calls.topic[0] != '\0';
}

/* ---- funcmgr/module.c ---- */
/* A pool or a rule has drained. */
void fm_manager_drained(struct fm_manager *m);

/* ---- funcmgr/build.c: from the configuration to pools and rules. ---- */
/* What runs a function, if its code is there. 0, or BT_ECONF/BT_ENOMEM, logged. Reads the
 * disk; main thread. */
int fm_build_interp(const struct fm_manager *m, const struct fm_function_conf *c,
                    struct fm_interp *out) BT_MUST_CHECK;
/* A slot at the end of the list; interp is taken. 0 or a fatal code, logged: no slot. */
int fm_build_pool(struct fm_manager *m, const struct fm_function_conf *c,
                  struct fm_interp *interp, struct fm_pool_slot **out) BT_MUST_CHECK;
int fm_build_rule(struct fm_manager *m, const struct fm_rule_conf *c,
                  struct fm_rule_slot **out) BT_MUST_CHECK;
void fm_build_free_pool(struct fm_pool_slot *slot);
void fm_build_free_rule(struct fm_rule_slot *slot);
/* The function of this name in the configuration, or NULL. */
struct fm_pool_slot *fm_build_find(struct fm_manager *m, struct bt_slice name);

/* ---- funcmgr/reload/reload.c ---- */
void fm_reload_init(struct fm_manager *m);
/* Main thread, bt_module_ops.reload. */
int fm_reload(struct fm_manager *m, const struct fm_conf *conf,
              struct bt_conf_ctx *owner) BT_MUST_CHECK;
/* A pool or a rule that drained while the manager runs can go. */
void fm_reload_sweep_soon(struct fm_manager *m);
/* After the thread has ended. */
void fm_reload_deinit(struct fm_manager *m);

#endif
