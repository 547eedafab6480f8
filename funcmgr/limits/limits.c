/* Who holds a function to its limits.
 *
 * Happy path: control groups hold memory, processor and processes, where the machine has
 * them and lets us; the process's own limits hold open files. Failure modes: without
 * control groups memory falls back to a limit of the process (Python and other programs)
 * or an option (Node, which reserves far more address space than it uses), processes to a
 * limit of the user, and the processor to a low priority. What is only half of what was
 * asked for is said in the log at every start. */
#include "funcmgr/limits/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/landlock.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/limits/cell.h"
#include "funcmgr/limits/sandbox.h"

#define GRAVE_MS 200u

static const char *const limit_names[FM_N_LIMITS] = {
    [FM_LIMIT_MEMORY] = "memory",
    [FM_LIMIT_CPU] = "cpu",
    [FM_LIMIT_PIDS] = "pids",
    [FM_LIMIT_FILES] = "files",
};
static const char *const by_names[FM_N_LIMIT_BY] = {
    [FM_BY_NOBODY] = "none",        [FM_BY_CGROUP2] = "cgroup2",
    [FM_BY_CGROUP1] = "cgroup1",    [FM_BY_RLIMIT] = "rlimit",
    [FM_BY_RUNTIME] = "runtime",    [FM_BY_NICE] = "priority",
    [FM_BY_NOTHING] = "unenforced",
};

const char *fm_limit_name(enum fm_limit limit)
{
    return limit_names[limit];
}

const char *fm_limit_by_name(enum fm_limit_by by)
{
    return by_names[by];
}

uint64_t fm_limit_value(const struct fm_function_conf *conf, enum fm_limit limit)
{
    const struct fm_limits_conf *c = &conf->limits;
    const uint64_t values[FM_N_LIMITS] = { c->memory, c->cpu_milli, c->pids, c->files };

    return values[limit];
}

/* ---- The backend ---- */

static void free_cell(struct fm_cell *cell)
{
    fm_limits_unref(cell->limits);
    bt_free(cell);
}

static void on_graves(struct bt_timer *t)
{
    struct fm_backend *b = bt_container_of(t, struct fm_backend, timer);
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &b->graves) {
        struct fm_cell *cell = bt_list_entry(it, struct fm_cell, link);

        if (fm_cgroup_remove(&cell->group) != 0)
            continue;
        bt_list_remove(&cell->link);
        free_cell(cell);
    }
    if (bt_list_empty(&b->graves))
        bt_timer_stop(b->loop, &b->timer);
}

void fm_backend_init(struct fm_backend *b, struct bt_loop *loop, const char *root,
                     const char *work_dir, enum fm_backend_choice choice)
{
    *b = (struct fm_backend){
        .loop = loop, .root = root, .work_dir = work_dir, .choice = choice
    };
    bt_list_init(&b->graves);
    bt_timer_init(&b->timer, on_graves);
}

/* Once, when the first function needs it. */
static int open_backend(struct fm_backend *b)
{
    static const unsigned versions[] = {
        [FM_BACKEND_AUTO] = FM_CGROUP_V1 | FM_CGROUP_V2,
        [FM_BACKEND_CGROUP2] = FM_CGROUP_V2,
        [FM_BACKEND_CGROUP1] = FM_CGROUP_V1,
        [FM_BACKEND_RLIMIT] = 0,
    };
    unsigned may = versions[b->choice];
    int r;

    if (b->open)
        return 0;
    if (may == 0)
        r = bt_buf_printf(&b->why, "; functions.limits.backend is rlimit");
    else
        r = fm_cgroups_open(&b->cgroups, b->root, b->work_dir, may, &b->why);
    b->open = r == 0;
    for (size_t i = 0; i < b->cgroups.n_mounts; i++)
        fm_guard_folder(&b->guard, b->cgroups.mounts[i].ours);
    if (b->open)
        bt_log(BT_LOG_INFO, "FUNC-BACKEND", "limits of functions", "backend=%s",
               fm_backend_name(b));
    return r;
}

void fm_backend_deinit(struct fm_backend *b)
{
    struct bt_list *it, *next;

    if (b->loop == NULL)
        return;
    bt_timer_stop(b->loop, &b->timer);
    on_graves(&b->timer);
    bt_list_for_each_safe (it, next, &b->graves) {
        struct fm_cell *cell = bt_list_entry(it, struct fm_cell, link);

        bt_list_remove(&cell->link);
        bt_free(cell->group.name); /* the folder goes with ours, below */
        free_cell(cell);
    }
    fm_cgroups_close(&b->cgroups);
    fm_guard_stop(&b->guard);
    bt_buf_deinit(&b->why);
    *b = (struct fm_backend){ 0 };
}

const char *fm_backend_name(const struct fm_backend *b)
{
    const struct fm_cgroups *c = &b->cgroups;

    if (c->v2 != 0)
        return c->v1 != 0 ? "cgroup2+cgroup1" : "cgroup2";
    return c->v1 != 0 ? "cgroup1" : "rlimit";
}

/* ---- One function ---- */

static enum fm_limit_by by_cgroup(const struct fm_backend *b, enum fm_controller c,
                                  enum fm_limit_by otherwise)
{
    if ((b->cgroups.v2 & FM_CTL(c)) != 0)
        return FM_BY_CGROUP2;
    return (b->cgroups.v1 & FM_CTL(c)) != 0 ? FM_BY_CGROUP1 : otherwise;
}

static void choose(struct fm_limits *l)
{
    const struct fm_backend *b = l->backend;
    bool node = l->interp != NULL && l->interp->language == FM_NODE;
    uid_t uid = l->user.set ? l->user.uid : geteuid();

    l->by[FM_LIMIT_MEMORY] =
        by_cgroup(b, FM_CTL_MEMORY, node ? FM_BY_RUNTIME : FM_BY_RLIMIT);
    l->by[FM_LIMIT_CPU] = by_cgroup(b, FM_CTL_CPU, FM_BY_NICE);
    l->by[FM_LIMIT_PIDS] =
        by_cgroup(b, FM_CTL_PIDS, uid != 0 ? FM_BY_RLIMIT : FM_BY_NOTHING);
    l->by[FM_LIMIT_FILES] = FM_BY_RLIMIT;
    for (unsigned i = 0; i < FM_N_LIMITS; i++)
        if (fm_limit_value(l->conf, (enum fm_limit)i) == 0)
            l->by[i] = FM_BY_NOBODY;
}

static int report(const struct fm_limits *l)
{
    struct bt_buf text bt_cleanup(bt_buf_deinit) = { 0 };
    int r = 0;

    for (unsigned i = 0; r == 0 && i < FM_N_LIMITS; i++) {
        if (l->by[i] == FM_BY_NOBODY)
            continue;
        r = bt_buf_printf(&text, " %s=%llu %s_by=%s", limit_names[i],
                          (unsigned long long)fm_limit_value(l->conf, (enum fm_limit)i),
                          limit_names[i], by_names[l->by[i]]);
        if (l->by[i] >= FM_BY_NICE)
            bt_log(BT_LOG_WARN, "FUNC-LIMIT",
                   "a limit cannot be enforced on this machine",
                   "function=%s limit=%s instead=\"%s\" reason=\"no control group%.*s\"",
                   l->conf->name, limit_names[i],
                   l->by[i] == FM_BY_NICE ? "a lower priority" : "nothing",
                   (int)l->backend->why.len, (const char *)l->backend->why.data);
    }
    if (r == 0 && (text.len > 0 || l->user.set || l->sandboxed))
        bt_log(BT_LOG_INFO, "FUNC-LIMITS", "limits of a function",
               "function=%s%.*s user=%s sandbox=%s", l->conf->name, (int)text.len,
               (const char *)text.data, l->user.set ? l->conf->user : "-",
               l->sandboxed ? "landlock" : "-");
    return r;
}

static int find_user(struct fm_limits *l)
{
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    int r;

    if (l->conf->user == NULL || l->conf->user[0] == '\0')
        return 0;
    r = fm_user_find(l->conf->user, &l->user, &why);
    if (r != BT_EINVAL)
        return r;
    bt_log(BT_LOG_ERROR, "FUNC-USER", "a function's user cannot be used",
           "function=%s reason=" BT_LOG_Q, l->conf->name, (const char *)why.data);
    return BT_ECONF;
}

static int add_env(struct fm_limits *l, const char *name, const char *value)
{
    struct bt_buf text = { 0 };

    if (value != NULL && bt_buf_printf(&text, "%s=%s", name, value) != 0) {
        bt_buf_deinit(&text);
        return BT_ENOMEM;
    }
    if (value != NULL)
        l->env[l->n_env++] = (struct bt_slice){ text.data, text.len };
    return 0;
}

/* The function's own come last: they win. */
static int make_env(struct fm_limits *l)
{
    const struct bt_conf_strings *own = &l->conf->env;
    int r;

    l->env = bt_calloc(own->n + 4, sizeof(*l->env));
    if (l->env == NULL)
        return BT_ENOMEM;
    r = l->backend->guard.pid != 0 ? add_env(l, FM_GUARD_VARIABLE, l->backend->guard.run)
                                   : 0;
    if (r == 0)
        r = add_env(l, "HOME", l->user.set && l->user.home == NULL ? "/" : l->user.home);
    if (r == 0)
        r = add_env(l, "TMPDIR", l->data_dir);
    for (size_t i = 0; r == 0 && i < own->n; i++) {
        char *copy = bt_strdup(own->items[i]);

        if (copy == NULL)
            return BT_ENOMEM;
        l->env[l->n_env++] = (struct bt_slice){ (uint8_t *)copy, strlen(copy) };
    }
    return r;
}

static int init(struct fm_limits *l)
{
    int r = find_user(l);

    if (r == 0)
        r = fm_sandbox_init(l);
    if (r == 0 && (l->want.memory > 0 || l->want.cpu_milli > 0 || l->want.pids > 0))
        r = open_backend(l->backend);
    if (r != 0)
        return r;
    choose(l);
    r = make_env(l);
    return r == 0 ? report(l) : r;
}

int fm_limits_new(struct fm_backend *b, const struct fm_function_conf *conf,
                  const char *work_dir, const struct fm_interp *interp,
                  struct fm_limits **out)
{
    struct fm_limits *l = b != NULL ? bt_calloc(1, sizeof(*l)) : NULL;
    int r;

    *out = NULL;
    if (l == NULL)
        return b != NULL ? BT_ENOMEM : 0;
    *l = (struct fm_limits){ .refs = 1,
                             .backend = b,
                             .conf = conf,
                             .work_dir = work_dir,
                             .interp = interp,
                             .want = conf->limits };
    l->want.cpu = NULL;
    r = init(l);
    if (r == 0)
        *out = l;
    else
        fm_limits_unref(l);
    return r;
}

struct fm_limits *fm_limits_ref(struct fm_limits *l)
{
    l->refs++;
    return l;
}

void fm_limits_unref(struct fm_limits *l)
{
    if (l == NULL || --l->refs > 0)
        return;
    fm_user_deinit(&l->user);
    for (size_t i = 0; i < l->n_env; i++)
        bt_free((void *)(uintptr_t)l->env[i].ptr);
    bt_free(l->env);
    bt_free(l->data_dir);
    bt_free(l);
}

void fm_limits_bury(struct fm_backend *b, struct fm_cell *cell)
{
    if (fm_cgroup_remove(&cell->group) == 0) {
        free_cell(cell);
        return;
    }
    if (bt_list_empty(&b->graves))
        bt_timer_start(b->loop, &b->timer, GRAVE_MS, GRAVE_MS);
    bt_list_push_back(&b->graves, &cell->link);
}
