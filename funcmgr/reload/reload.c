/* A new configuration while functions run. The main thread finds what differs and looks
 * up interpreters; one task carries that to the manager's thread, which applies it:
 *
 * - a changed function's pool takes the new configuration: what runs ends in the old
 *   instances, what waits goes to new ones. A new one gets a pool. One that was removed
 *   is closed when no rule uses it any more;
 * - a changed rule takes the new configuration in place. When its subscription, its login
 *   or its window is another one its session is opened again; jobs that run go on and
 *   meet their messages again (funcmgr/rule/rule_again.c). A rule is known by its client
 * id, one without by its subscription and its function or its target;
 * - a rule that was removed takes no more messages, finishes those it has, and closes its
 *   session. A persistent session stays in the hub with what waits in it, as after a
 *   restart without the rule.
 *
 * Instances and jobs borrow from the configuration they began with, so each one that
 * brought a change is kept; after FM_MAX_KEPT of them a restart is due.
 *
 * Failure modes: a function that is wrong is logged and stays as it was, or away; nothing
 * else is affected. What concerns brokers elsewhere needs a restart. */
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/conf/conf_priv.h"
#include "funcmgr/manager.h"
#include "funcmgr/task.h"

#define FM_MAX_KEPT 256u
#define SWEEP_MS    200u

struct kept {
    struct bt_list link;
    struct bt_conf_ctx *owner;
};

/* A function that is new or changed. */
struct change {
    const struct fm_function_conf *conf;
    struct fm_interp interp;
};

struct plan {
    struct fm_task task;
    struct fm_manager *m;
    const struct fm_conf *conf;
    size_t n;
    struct change changes[];
};

/* ---- What differs; any thread ---- */

static void count(void *arg, const char *key, const struct bt_conf_row *row)
{
    size_t *n = arg;

    (void)key, (void)row;
    (*n)++;
}

static bool same(const struct bt_conf_table *table, const void *a, const void *b)
{
    size_t n = 0;
    const struct bt_conf_diff d = { .fn = count, .arg = &n };

    bt_conf_each_change(table, a, b, &d);
    return n == 0;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool same_login(const struct fm_hub_conf *a, const struct fm_hub_conf *b)
{
    return a == b || same(&fm_hub_table, a, b);
}

static bool same_rule(const struct fm_rule_conf *a, const struct fm_rule_conf *b)
{
    return same(&fm_rule_table, a, b) && same_login(a->hub, b->hub);
}

/* The same session: one may become the other. */
static bool same_session(const struct fm_rule_conf *a, const struct fm_rule_conf *b)
{
    if (!same_text(a->clientid, b->clientid))
        return false;
    return (a->clientid != NULL && a->clientid[0] != '\0') ||
           (same_text(a->subscribe.topic, b->subscribe.topic) &&
            (same_text(a->function, b->function) ||
             same_text(a->publish.topic, b->publish.topic)));
}

static const struct fm_function_conf *function_named(const struct fm_conf *conf,
                                                     const char *name)
{
    const struct fm_function_conf *f = conf->functions.items;

    for (size_t i = 0; i < conf->functions.n; i++) {
        if (strcmp(f[i].name, name) == 0)
            return &f[i];
    }
    return NULL;
}

/* ---- The manager's thread ---- */

/* Another kind of runtime is another pool. */
static bool can_become(const struct fm_pool *pool, const struct fm_function_conf *c)
{
    return (pool->sql != NULL) == fm_sql_is_runtime(c->runtime);
}

static void apply_function(struct fm_manager *m, struct change *c)
{
    struct fm_pool_slot *old = fm_build_find(m, bt_slice_of(c->conf->name)), *slot;
    int r;

    if (old != NULL && can_become(&old->pool, c->conf)) {
        r = fm_pool_reconfigure(&old->pool, c->conf, &c->interp);
    } else {
        r = fm_build_pool(m, c->conf, &c->interp, &slot);
        if (r == 0)
            fm_pool_start(&slot->pool);
        if (r == 0 && old != NULL)
            old->removed = true;
    }
    if (r != 0)
        bt_log(BT_LOG_ERROR, "FUNC-CONF", "a function's configuration is not taken over",
               "function=%s reason=\"%s\"", c->conf->name, bt_error_text(r));
    else
        bt_log(BT_LOG_INFO, "FUNC-CONF",
               old != NULL ? "function changed" : "function added", "function=%s",
               c->conf->name);
}

static void say_rule(const char *what, const struct fm_rule_conf *c)
{
    bt_log(BT_LOG_INFO, "FUNC-CONF", what, "function=%s filter=\"%s\" client=\"%s\"",
           c->function, c->subscribe.topic, c->clientid != NULL ? c->clientid : "");
}

static void say_restart(const struct fm_rule_conf *c)
{
    bt_log(BT_LOG_WARN, "FUNC-RESTART", "a changed rule needs a restart",
           "function=%s filter=\"%s\"", c->function, c->subscribe.topic);
}

static void add_rule(struct fm_manager *m, const struct fm_rule_conf *c)
{
    struct fm_rule_slot *slot;

    if (fm_hub_is_remote(c->hub, m->hub)) {
        say_restart(c);
        return;
    }
    if (fm_build_rule(m, c, &slot) != 0)
        return;
    slot->takes = c;
    say_rule("rule added", c);
    fm_rule_open(&slot->rule);
}

static void change_rule(struct fm_manager *m, struct fm_rule *rule,
                        const struct fm_rule_conf *c)
{
    struct fm_pool_slot *pool = fm_build_find(m, bt_slice_of(c->function));
    bool changed = !same_rule(rule->conf, c);

    if (pool == NULL)
        return; /* its function was not taken over */
    if (changed && (rule->remote != NULL || fm_hub_is_remote(c->hub, m->hub)) &&
        !same_login(rule->conf->hub, c->hub)) {
        say_restart(c);
        return;
    }
    if (changed)
        say_rule("rule changed", c);
    if (fm_rule_reconfigure(rule, changed ? c : rule->conf, &pool->pool) != 0)
        bt_log(BT_LOG_ERROR, "FUNC-CONF", "a rule's configuration is not taken over",
               "function=%s reason=\"out of memory\"", c->function);
}

/* A rule of the configuration for each one there is, and the other way round. Of rules
 * without a client id several may look alike. */
static bool takes(const struct fm_rule_slot *slot, const struct fm_rule_conf *c,
                  bool unchanged)
{
    const struct fm_rule *rule = &slot->rule;

    return slot->takes == NULL && !rule->closing && same_session(rule->conf, c) &&
           (!unchanged || same_rule(rule->conf, c));
}

static struct fm_rule_slot *find_rule(struct fm_manager *m, const struct fm_rule_conf *c)
{
    struct bt_list *it;

    bt_list_for_each (it, &m->rules) {
        struct fm_rule_slot *slot = bt_list_entry(it, struct fm_rule_slot, link);

        if (slot->takes == c)
            return slot;
    }
    return NULL;
}

static void match_rule(struct fm_manager *m, const struct fm_rule_conf *c, bool unchanged)
{
    struct bt_list *it;

    if (find_rule(m, c) != NULL)
        return;
    bt_list_for_each (it, &m->rules) {
        struct fm_rule_slot *slot = bt_list_entry(it, struct fm_rule_slot, link);

        if (takes(slot, c, unchanged)) {
            slot->takes = c;
            return;
        }
    }
}

/* Those that stay as they are come first. */
static void match_rules(struct fm_manager *m, const struct fm_conf *conf)
{
    const struct fm_rule_conf *c = conf->rules.items;
    struct bt_list *it;

    bt_list_for_each (it, &m->rules)
        bt_list_entry(it, struct fm_rule_slot, link)->takes = NULL;
    for (size_t i = 0; i < conf->rules.n; i++)
        match_rule(m, &c[i], true);
    for (size_t i = 0; i < conf->rules.n; i++)
        match_rule(m, &c[i], false);
}

static void remove_old(struct fm_manager *m, const struct fm_conf *conf)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &m->rules) {
        struct fm_rule_slot *slot = bt_list_entry(it, struct fm_rule_slot, link);

        if (slot->rule.closing || slot->takes != NULL)
            continue;
        say_rule("rule removed", slot->rule.conf);
        fm_rule_close(&slot->rule);
    }
    bt_list_for_each (it, &m->pools) {
        struct fm_pool_slot *slot = bt_list_entry(it, struct fm_pool_slot, link);

        if (slot->removed || function_named(conf, slot->pool.conf->name) != NULL)
            continue;
        bt_log(BT_LOG_INFO, "FUNC-CONF", "function removed", "function=%s",
               slot->pool.conf->name);
        slot->removed = true;
    }
}

static void free_plan(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        fm_interp_deinit(&p->changes[i].interp);
    bt_free(p);
}

static void apply(struct fm_task *task)
{
    struct plan *p = bt_container_of(task, struct plan, task);
    const struct fm_rule_conf *c = p->conf->rules.items;
    struct fm_manager *m = p->m;

    if (!m->stopping) {
        for (size_t i = 0; i < p->n; i++)
            apply_function(m, &p->changes[i]);
        match_rules(m, p->conf);
        for (size_t i = 0; i < p->conf->rules.n; i++) {
            struct fm_rule_slot *slot = find_rule(m, &c[i]);

            if (slot != NULL)
                change_rule(m, &slot->rule, &c[i]);
            else
                add_rule(m, &c[i]);
        }
        remove_old(m, p->conf);
        fm_reload_sweep_soon(m);
    }
    free_plan(p);
}

/* ---- What is left over ---- */

static bool is_used(const struct fm_manager *m, const struct fm_pool *pool)
{
    const struct bt_list *it;

    bt_list_for_each (it, &m->rules) {
        if (fm_rule_uses(&bt_list_entry(it, struct fm_rule_slot, link)->rule, pool))
            return true;
    }
    return false;
}

static void on_sweep(struct bt_timer *t)
{
    struct fm_manager *m = bt_container_of(t, struct fm_manager, sweep_timer);
    struct bt_list *it, *next;
    bool waiting = false;

    bt_list_for_each_safe (it, next, &m->rules) {
        struct fm_rule_slot *slot = bt_list_entry(it, struct fm_rule_slot, link);

        if (slot->drained)
            fm_build_free_rule(slot);
    }
    bt_list_for_each_safe (it, next, &m->pools) {
        struct fm_pool_slot *slot = bt_list_entry(it, struct fm_pool_slot, link);

        if (slot->drained) {
            fm_build_free_pool(slot);
        } else if (slot->removed) {
            if (!is_used(m, &slot->pool))
                fm_pool_close(&slot->pool);
            waiting = true;
        }
    }
    if (waiting)
        bt_timer_start(m->env.loop, &m->sweep_timer, SWEEP_MS, 0);
}

void fm_reload_sweep_soon(struct fm_manager *m)
{
    bt_timer_start(m->env.loop, &m->sweep_timer, 0, 0);
}

/* ---- The main thread ---- */

/* The functions that are new or changed, with their interpreters. NULL: logged. */
static struct plan *make_plan(struct fm_manager *m, const struct fm_conf *conf)
{
    const struct fm_function_conf *f = conf->functions.items;
    struct plan *p = bt_calloc(1, sizeof(*p) + conf->functions.n * sizeof(p->changes[0]));
    bool ok = true;

    if (p == NULL) {
        (void)bt_origin(BT_ENOMEM, "cannot take over the new configuration");
        return NULL;
    }
    p->m = m;
    p->conf = conf;
    p->task.run = apply;
    p->task.msg.kind = FM_MSG_TASK;
    for (size_t i = 0; i < conf->functions.n; i++) {
        const struct fm_function_conf *old = function_named(m->latest, f[i].name);

        if (old != NULL && same(&fm_function_table, old, &f[i]))
            continue;
        p->changes[p->n].conf = &f[i];
        ok &= fm_build_interp(m, &f[i], &p->changes[p->n].interp) == 0;
        p->n++;
    }
    if (ok)
        return p;
    free_plan(p);
    return NULL;
}

static bool any_rule_changed(const struct fm_conf *a, const struct fm_conf *b)
{
    const struct fm_rule_conf *ra = a->rules.items, *rb = b->rules.items;
    bool changed = a->rules.n != b->rules.n;

    for (size_t i = 0; !changed && i < a->rules.n; i++)
        changed = !same_rule(&ra[i], &rb[i]);
    return changed;
}

static int keep(struct fm_manager *m, struct bt_conf_ctx *owner)
{
    struct kept *k;

    if (m->n_kept >= FM_MAX_KEPT)
        return bt_origin(BT_ELIMIT,
                         "too many changes of the functions without a restart");
    k = bt_calloc(1, sizeof(*k));
    if (k == NULL)
        return bt_origin(BT_ENOMEM, "cannot take over the new configuration");
    k->owner = bt_conf_ref(owner);
    bt_list_push_back(&m->kept, &k->link);
    m->n_kept++;
    return 0;
}

static void tell_restart(void *arg, const char *key, const struct bt_conf_row *row)
{
    (void)arg;
    if ((row->flags & BT_CONF_RELOAD) == 0 && strncmp(key, "hub.", 4) != 0)
        bt_log(BT_LOG_WARN, "FUNC-RESTART", "a changed key needs a restart",
               "key=functions.%s", key);
}

/* Watch the folders that there are now; what changed just before is not forgotten. */
static void watch_again(struct fm_manager *m, const struct fm_conf *conf)
{
    struct fm_watch *old = m->watch;

    m->watch = NULL;
    if (fm_code_watch(conf, m->env.work_dir, &m->calls.env, old, &m->watch) != 0)
        m->watch = NULL;
    fm_watch_free(old);
}

int fm_reload(struct fm_manager *m, const struct fm_conf *conf, struct bt_conf_ctx *owner)
{
    const struct bt_conf_diff d = { .fn = tell_restart };
    struct plan *p = make_plan(m, conf);
    bool functions_changed;
    int r = 0;

    if (p == NULL)
        return BT_ECONF;
    functions_changed = p->n > 0 || conf->functions.n != m->latest->functions.n;
    if (functions_changed || any_rule_changed(m->latest, conf))
        r = keep(m, owner);
    else
        p->conf = NULL;
    if (r != 0) {
        free_plan(p);
        return r;
    }
    bt_conf_each_change(&fm_conf_table, m->conf, conf, &d);
    if (p->conf == NULL) {
        free_plan(p);
    } else {
        m->latest = conf;
        if (bt_mbox_post(m->env.mbox, &p->task.msg) != 0)
            free_plan(p); /* the manager is stopping */
    }
    fm_calls_reload(&m->calls, conf);
    if (functions_changed)
        watch_again(m, conf);
    if (m->watch != NULL)
        fm_watch_look(m->watch);
    return 0;
}

void fm_reload_init(struct fm_manager *m)
{
    m->latest = m->conf;
    bt_list_init(&m->kept);
    bt_timer_init(&m->sweep_timer, on_sweep);
}

void fm_reload_deinit(struct fm_manager *m)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &m->kept) {
        struct kept *k = bt_list_entry(it, struct kept, link);

        bt_list_remove(&k->link);
        bt_conf_free(k->owner);
        bt_free(k);
    }
}
