/* From the configuration to pools and rules. What reads the disk is apart: it is done on
 * the main thread, also when the configuration is read again.
 *
 * Failure modes: everything that is wrong is logged where it is found; nothing of the
 * pool or the rule is left then. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/manager.h"

static void on_pool_drained(void *arg)
{
    struct fm_pool_slot *slot = arg;

    slot->drained = true;
    fm_manager_drained(slot->m);
}

static void on_rule_drained(void *arg)
{
    struct fm_rule_slot *slot = arg;

    slot->drained = true;
    fm_manager_drained(slot->m);
}

/* ---- Functions ---- */

static int check_codedir(const struct fm_manager *m, const struct fm_function_conf *c)
{
    int base = open(m->env.work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    bool ok = base >= 0 && fstatat(base, c->codedir, &st, 0) == 0 && S_ISDIR(st.st_mode);

    if (base >= 0)
        close(base);
    if (ok)
        return 0;
    bt_log(BT_LOG_ERROR, "FUNC-CODEDIR", "a function's code folder does not exist",
           "function=%s codedir=\"%s\" in=\"%s\"", c->name, c->codedir, m->env.work_dir);
    return BT_ECONF;
}

/* A function of the original's application.yml does not keep its neighbours from running:
 * its messages wait until the interpreter is there. */
static int without_runtime(const struct fm_function_conf *c, const struct bt_buf *why,
                           struct fm_interp *interp)
{
    bt_log(BT_LOG_ERROR, "FUNC-RUNTIME",
           fm_interp_is_exec(c->runtime) ? "a function's program cannot be run"
           : c->service != NULL ? "a function's runtime is not installed; the others run"
                                : "a function's runtime is not installed",
           "function=%s runtime=%s reason=\"%.*s\"", c->name, c->runtime, (int)why->len,
           (const char *)why->data);
    return c->service != NULL ? fm_interp_absent(c->runtime, why, interp) : BT_ECONF;
}

int fm_build_interp(const struct fm_manager *m, const struct fm_function_conf *c,
                    struct fm_interp *out)
{
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    int r, found;

    *out = (struct fm_interp){ 0 };
    if (fm_sql_is_runtime(c->runtime))
        return 0;
    r = check_codedir(m, c);
    found = fm_interp_of(c, m->env.work_dir, out, &why);
    if (found == BT_EINVAL)
        found = without_runtime(c, &why, out);
    if (found == 0 && r == 0)
        return 0;
    fm_interp_deinit(out);
    return found != 0 ? found : r;
}

static int make_sql(struct fm_pool *pool)
{
    const struct fm_function_conf *c = pool->conf;
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    int r = fm_sql_new(c->handler, &pool->sql, &why);

    if (r == BT_EINVAL)
        bt_log(BT_LOG_ERROR, "FUNC-SQL", "a function's statement is wrong",
               "function=%s reason=\"%.*s\"", c->name, (int)why.len,
               (const char *)why.data);
    return r == BT_EINVAL ? BT_ECONF : r;
}

static void log_runtime(const struct fm_pool *pool)
{
    const struct fm_function_conf *c = pool->conf;

    if (pool->sql != NULL)
        bt_log(BT_LOG_INFO, "FUNC-RUNTIME", "function", "function=%s runtime=sql",
               c->name);
    else if (pool->interp.missing == NULL)
        bt_log(BT_LOG_INFO, "FUNC-RUNTIME", "function",
               "function=%s runtime=%s program=%s", c->name, c->runtime,
               pool->interp.path);
}

int fm_build_pool(struct fm_manager *m, const struct fm_function_conf *c,
                  struct fm_interp *interp, struct fm_pool_slot **out)
{
    struct fm_pool_slot *slot = bt_calloc(1, sizeof(*slot));
    int r;

    if (slot == NULL) {
        fm_interp_deinit(interp);
        return bt_origin(BT_ENOMEM, "a function does not fit in memory");
    }
    slot->m = m;
    r = fm_pool_init(&slot->pool, c, &m->env, interp);
    if (r == 0 && fm_sql_is_runtime(c->runtime))
        r = make_sql(&slot->pool);
    slot->pool.arg = slot;
    slot->pool.drained = on_pool_drained;
    bt_list_push_back(&m->pools, &slot->link);
    if (r != 0) {
        fm_build_free_pool(slot);
        return r;
    }
    log_runtime(&slot->pool);
    *out = slot;
    return 0;
}

void fm_build_free_pool(struct fm_pool_slot *slot)
{
    bt_list_remove(&slot->link);
    fm_pool_deinit(&slot->pool);
    bt_free(slot);
}

struct fm_pool_slot *fm_build_find(struct fm_manager *m, struct bt_slice name)
{
    struct bt_list *it;

    bt_list_for_each (it, &m->pools) {
        struct fm_pool_slot *slot = bt_list_entry(it, struct fm_pool_slot, link);
        const char *have = slot->pool.conf->name;

        if (!slot->removed && strlen(have) == name.len &&
            memcmp(have, name.ptr, name.len) == 0)
            return slot;
    }
    return NULL;
}

/* ---- Rules ---- */

/* The hub of this process, or a broker elsewhere. */
static int choose_link(struct fm_manager *m, struct fm_rule *rule)
{
    if (fm_hub_is_remote(rule->hub_conf, m->hub)) {
        rule->link_ops = &fm_link_remote_ops;
        return fm_remotes_get(&m->remotes, m->env.loop, rule->hub_conf, &rule->remote);
    }
    if (m->hub != NULL)
        return 0;
    bt_log(BT_LOG_ERROR, "FUNC-NO-HUB",
           "a rule needs the hub, and it does not run in this process",
           "function=%s advice=\"run it, or give the rules an address under hub:\"",
           rule->conf->function);
    return BT_ECONF;
}

int fm_build_rule(struct fm_manager *m, const struct fm_rule_conf *c,
                  struct fm_rule_slot **out)
{
    struct fm_pool_slot *pool = fm_build_find(
        m, (struct bt_slice){ (const uint8_t *)c->function, strlen(c->function) });
    struct fm_rule_slot *slot;
    int r;

    if (pool == NULL)
        return bt_origin(BT_ECONF, "a rule names a function that does not exist");
    slot = bt_calloc(1, sizeof(*slot));
    if (slot == NULL)
        return bt_origin(BT_ENOMEM, "a rule does not fit in memory");
    slot->m = m;
    r = fm_rule_init(&slot->rule, c, c->hub, m->hub, m->env.loop, &pool->pool);
    slot->rule.number = ++m->n_rules;
    slot->rule.arg = slot;
    slot->rule.drained = on_rule_drained;
    bt_list_push_back(&m->rules, &slot->link);
    if (r == 0)
        r = choose_link(m, &slot->rule);
    if (r != 0) {
        fm_build_free_rule(slot);
        return r;
    }
    *out = slot;
    return 0;
}

void fm_build_free_rule(struct fm_rule_slot *slot)
{
    bt_list_remove(&slot->link);
    fm_rule_deinit(&slot->rule);
    bt_free(slot);
}
