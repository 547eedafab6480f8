/* The module: one thread with one loop for all functions and rules.
 *
 * Start: interpreters are looked up and code folders checked before anything runs, and
 * all that is wrong is logged, not only the first; then the thread starts the pools'
 * minimum and opens the rules' sessions. Stop: rules take nothing new and pools no
 * waiting calls; running calls have FM_DRAIN_MS, then their processes are ended, and
 * after the same time again results that the hub has not taken are given up. When no
 * process and no job is left the thread reports and ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "funcmgr/calls.h"
#include "funcmgr/code.h"
#include "funcmgr/forkserver.h"
#include "funcmgr/link_remote.h"
#include "funcmgr/requests.h"
#include "funcmgr/rule.h"
#include "funcmgr/task.h"
#include "runtime-embed/runtime_embed.h"

#define FM_DRAIN_MS 5000u
#define FM_OPEN_MS  5000 /* longest time a start waits for the rules' sessions */

struct manager {
    const struct fm_conf *conf;
    struct fm_env env;
    struct bt_list unsent; /* env.unsent */
    struct hub *hub;
    struct fm_pool *pools; /* conf->functions.n, in that order */
    struct fm_backend backend;
    struct fm_rule *rules; /* conf->rules.n */
    struct fm_remotes remotes;
    size_t n_pools; /* initialised */
    struct fm_calls calls;
    struct fm_requests requests; /* unused without a topic */
    struct fm_watch *watch;      /* NULL: no code to watch */
    pthread_t thread;
    bool has_thread, watched;
    int answered_fds[2]; /* closed by the thread when every rule has its answer */
    size_t n_unanswered;
    struct bt_msg stop_msg;
    struct bt_timer drain_timer;
    unsigned drain_rounds;
    size_t n_draining; /* pools and rules that are not drained */
};

static bool takes_requests(const struct manager *m)
{
    return m->conf->calls.topic != NULL && m->conf->calls.topic[0] != '\0';
}

/* ---- Stopping ---- */

static void on_drained(void *arg)
{
    struct manager *m = arg;

    if (--m->n_draining > 0)
        return;
    bt_timer_stop(m->env.loop, &m->drain_timer);
    bt_mbox_close(m->env.mbox);
    bt_loop_stop(m->env.loop);
}

static void on_drain_timer(struct bt_timer *t)
{
    struct manager *m = bt_container_of(t, struct manager, drain_timer);

    if (m->drain_rounds++ == 0) {
        for (size_t i = 0; i < m->n_pools; i++)
            fm_pool_kill(&m->pools[i]);
        return;
    }
    for (size_t i = 0; i < m->conf->rules.n; i++)
        fm_rule_abandon(&m->rules[i]);
    if (takes_requests(m))
        fm_requests_abandon(&m->requests);
}

static void begin_stop(struct manager *m)
{
    /* One more than there are, so that the last of them is not met inside the loops. */
    m->n_draining = m->n_pools + m->conf->rules.n + takes_requests(m) + 1;
    bt_timer_start(m->env.loop, &m->drain_timer, FM_DRAIN_MS, FM_DRAIN_MS);
    for (size_t i = 0; i < m->conf->rules.n; i++)
        fm_rule_close(&m->rules[i]);
    if (takes_requests(m))
        fm_requests_close(&m->requests);
    for (size_t i = 0; i < m->n_pools; i++)
        fm_pool_close(&m->pools[i]);
    on_drained(m);
}

static void on_msg(void *arg, struct bt_msg *msg)
{
    struct fm_task *task;

    switch ((enum fm_msg_kind)msg->kind) {
    case FM_MSG_EXIT:
        fm_instance_exited(msg);
        break;
    case FM_MSG_TEMPLATE_EXIT:
        fm_fork_exited(msg);
        break;
    case FM_MSG_STOP:
        begin_stop(arg);
        break;
    case FM_MSG_TASK:
        task = bt_container_of(msg, struct fm_task, msg);
        task->run(task);
        break;
    }
}

/* ---- The thread ---- */

static void on_answered(void *arg)
{
    struct manager *m = arg;

    if (--m->n_unanswered > 0)
        return;
    close(m->answered_fds[1]);
    m->answered_fds[1] = -1;
}

static void on_turn_end(void *arg)
{
    struct manager *m = arg;

    fm_instances_flush(&m->env);
}

static void *run(void *arg)
{
    struct manager *m = arg;

    bt_sys_thread_name("funcmgr");
    for (size_t i = 0; i < m->n_pools; i++)
        fm_pool_start(&m->pools[i]);
    for (size_t i = 0; i < m->conf->rules.n; i++)
        fm_rule_open(&m->rules[i]);
    if (takes_requests(m))
        fm_requests_open(&m->requests);
    bt_loop_on_prepare(m->env.loop, on_turn_end, m);
    bt_loop_run(m->env.loop);
    bt_loop_on_prepare(m->env.loop, NULL, NULL);
    bt_super_stopped(m->env.super, m);
    return NULL;
}

/* ---- Creating ---- */

static int check_codedir(const struct manager *m, const struct fm_function_conf *c)
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

/* After its initialisation. */
static void count_pool(struct manager *m)
{
    struct fm_pool *pool = &m->pools[m->n_pools++];

    pool->arg = m;
    pool->drained = on_drained;
}

static int create_sql(struct manager *m, const struct fm_function_conf *c)
{
    struct fm_interp none = { 0 };
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    struct fm_pool *pool = &m->pools[m->n_pools];
    int r = fm_pool_init(pool, c, &m->env, &none);

    count_pool(m);
    if (r == 0)
        r = fm_sql_new(c->handler, &pool->sql, &why);
    if (r == BT_EINVAL)
        bt_log(BT_LOG_ERROR, "FUNC-SQL", "a function's statement is wrong",
               "function=%s reason=\"%.*s\"", c->name, (int)why.len,
               (const char *)why.data);
    if (r == 0)
        bt_log(BT_LOG_INFO, "FUNC-RUNTIME", "function", "function=%s runtime=sql",
               c->name);
    return r == BT_EINVAL ? BT_ECONF : r;
}

static int create_process(struct manager *m, const struct fm_function_conf *c)
{
    struct fm_interp interp bt_cleanup(fm_interp_deinit) = { 0 };
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    int r = check_codedir(m, c);
    int found = fm_interp_of(c, m->env.work_dir, &interp, &why);

    if (found == BT_EINVAL)
        found = without_runtime(c, &why, &interp);
    if (found != 0 || r != 0)
        return found != 0 ? found : r;
    if (interp.missing == NULL)
        bt_log(BT_LOG_INFO, "FUNC-RUNTIME", "function",
               "function=%s runtime=%s program=%s", c->name, c->runtime, interp.path);
    r = fm_pool_init(&m->pools[m->n_pools], c, &m->env, &interp);
    count_pool(m);
    return r;
}

static int create_pool(struct manager *m, const struct fm_function_conf *c)
{
    return fm_sql_is_runtime(c->runtime) ? create_sql(m, c) : create_process(m, c);
}

static int create_pools(struct manager *m)
{
    const struct fm_function_conf *c = m->conf->functions.items;
    int result = 0;

    m->pools = bt_calloc(m->conf->functions.n + 1, sizeof(*m->pools));
    if (m->pools == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < m->conf->functions.n; i++) {
        int r = create_pool(m, &c[i]);

        if (r != 0)
            result = r;
    }
    return result;
}

static struct fm_pool *find_pool(struct manager *m, const char *name)
{
    for (size_t i = 0; i < m->n_pools; i++) {
        if (strcmp(m->pools[i].conf->name, name) == 0)
            return &m->pools[i];
    }
    return NULL;
}

static struct fm_pool *pool_named(void *arg, struct bt_slice name)
{
    struct manager *m = arg;

    for (size_t i = 0; i < m->n_pools; i++) {
        const char *have = m->pools[i].conf->name;

        if (strlen(have) == name.len && memcmp(have, name.ptr, name.len) == 0)
            return &m->pools[i];
    }
    return NULL;
}

static struct fm_pool *pool_at(void *arg, size_t i)
{
    struct manager *m = arg;

    return i < m->n_pools ? &m->pools[i] : NULL;
}

static int create_calls(struct manager *m, const struct bt_module_env *env)
{
    const struct fm_calls_env calls_env = { m->env.loop, m->env.mbox, m, pool_named,
                                            pool_at };

    int r = fm_calls_init(&m->calls, &calls_env, m->conf, env->main_loop, env->api);

    if (r != 0 || !takes_requests(m))
        return r;
    if (m->hub == NULL) {
        bt_log(BT_LOG_ERROR, "FUNC-NO-HUB",
               "functions.calls needs the hub, and it does not run in this process",
               "topic=%s", m->conf->calls.topic);
        return BT_ECONF;
    }
    r = fm_requests_init(&m->requests, m->conf, &calls_env, m->hub);
    m->requests.arg = m;
    m->requests.answered = on_answered;
    m->requests.drained = on_drained;
    return r;
}

/* The hub of this process, or a broker elsewhere. */
static int choose_link(struct manager *m, struct fm_rule *rule)
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

static int create_rules(struct manager *m)
{
    const struct fm_rule_conf *c = m->conf->rules.items;

    m->rules = bt_calloc(m->conf->rules.n + 1, sizeof(*m->rules));
    if (m->rules == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < m->conf->rules.n; i++) {
        struct fm_pool *pool = find_pool(m, c[i].function);
        int r;

        if (pool == NULL)
            return bt_origin(BT_ECONF, "a rule names a function that does not exist");
        r = fm_rule_init(&m->rules[i], &c[i], c[i].hub, m->hub, m->env.loop, pool);
        if (r != 0)
            return r;
        m->rules[i].number = (unsigned)i + 1;
        m->rules[i].arg = m;
        m->rules[i].drained = on_drained;
        m->rules[i].answered = on_answered;
        r = choose_link(m, &m->rules[i]);
        if (r != 0)
            return r;
    }
    return 0;
}

static int write_all(int fd, const unsigned char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return bt_origin(BT_EIO, "a runtime's source cannot be written");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int open_source(struct manager *m, enum fm_language language)
{
    int fd = bt_sys_memfd("baetyl-runtime");

    if (fd < 0)
        return bt_origin(BT_EIO, "no file in memory for a runtime's source");
    m->env.source_fds[language] = fd;
    return language == FM_PYTHON ? write_all(fd, re_python_source, re_python_source_len)
                                 : write_all(fd, re_node_source, re_node_source_len);
}

static int create_env(struct manager *m)
{
    int r = 0;

    bt_list_init(&m->unsent);
    m->env.unsent = &m->unsent;
    m->env.loop = bt_loop_new("funcmgr", false);
    if (m->env.loop != NULL)
        m->env.mbox = bt_mbox_new(m->env.loop, on_msg, m);
    m->env.chunk = bt_malloc(FM_READ_CHUNK);
    if (m->env.mbox == NULL || m->env.chunk == NULL)
        return BT_ENOMEM;
    m->env.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (m->env.null_fd < 0)
        return bt_origin(BT_EIO, "/dev/null cannot be opened");
    for (int i = 0; r == 0 && i < FM_N_LANGUAGES; i++)
        r = open_source(m, (enum fm_language)i);
    fm_backend_init(&m->backend, m->env.loop, "", m->env.work_dir,
                    (enum fm_backend_choice)m->conf->limits_backend);
    m->env.backend = &m->backend;
    if (r == 0 && m->conf->functions.n > 0)
        r = fm_guard_start(&m->backend.guard);
    return r;
}

static void free_manager(void *self)
{
    struct manager *m = self;

    if (m == NULL)
        return;
    if (m->has_thread)
        pthread_join(m->thread, NULL);
    fm_watch_free(m->watch);
    fm_calls_deinit(&m->calls);
    fm_requests_deinit(&m->requests);
    if (m->watched)
        bt_super_unwatch(m->env.super, m->env.loop);
    for (size_t i = 0; m->rules != NULL && i < m->conf->rules.n; i++)
        fm_rule_deinit(&m->rules[i]);
    for (size_t i = 0; i < m->n_pools; i++)
        fm_pool_deinit(&m->pools[i]);
    fm_backend_deinit(&m->backend);
    fm_remotes_deinit(&m->remotes);
    bt_mbox_free(m->env.mbox);
    bt_loop_free(m->env.loop);
    for (int i = 0; i < FM_N_LANGUAGES; i++) {
        if (m->env.source_fds[i] >= 0)
            close(m->env.source_fds[i]);
    }
    if (m->env.null_fd >= 0)
        close(m->env.null_fd);
    for (int i = 0; i < 2; i++)
        if (m->answered_fds[i] >= 0)
            close(m->answered_fds[i]);
    bt_free(m->env.chunk);
    bt_free(m->pools);
    bt_free(m->rules);
    bt_free(m);
}

static int create(const struct bt_module_env *env, void **out)
{
    struct manager *m = bt_calloc(1, sizeof(*m));
    int r;

    if (m == NULL)
        return bt_origin(BT_ENOMEM, "the function manager does not fit in memory");
    m->conf = env->conf;
    m->env.super = env->super;
    m->env.work_dir = env->work_dir;
    m->env.null_fd = m->env.source_fds[FM_PYTHON] = m->env.source_fds[FM_NODE] = -1;
    m->answered_fds[0] = m->answered_fds[1] = -1;
    m->hub = env->find(env->super, "hub");
    m->stop_msg.kind = FM_MSG_STOP;
    bt_timer_init(&m->drain_timer, on_drain_timer);
    r = create_env(m);
    if (r == 0)
        r = create_pools(m);
    if (r == 0)
        r = create_rules(m);
    if (r == 0)
        r = create_calls(m, env);
    if (r != 0) {
        free_manager(m);
        return r;
    }
    *out = m;
    return 0;
}

/* Rules subscribe before the first device is let in: what it publishes would be lost. */
static void wait_for_rules(const struct manager *m)
{
    struct pollfd p = { .fd = m->answered_fds[0], .events = POLLIN };
    int n;

    if (m->conf->rules.n + takes_requests(m) == 0)
        return;
    do
        n = poll(&p, 1, FM_OPEN_MS);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        bt_log(BT_LOG_WARN, "FUNC-SLOW", "rules are not ready, clients are let in",
               "waited_ms=%d", FM_OPEN_MS);
}

static int start(void *self)
{
    struct manager *m = self;
    int r = bt_super_watch(m->env.super, m->env.loop);

    if (r != 0)
        return r;
    m->watched = true;
    m->n_unanswered = m->conf->rules.n + takes_requests(m);
    if (bt_sys_pipe(m->answered_fds) != 0)
        return bt_origin(BT_EIO, "no descriptors for the function manager");
    r = fm_code_watch(m->conf, m->env.work_dir, &m->calls.env, &m->watch);
    if (r != 0)
        return r;
    if (pthread_create(&m->thread, NULL, run, m) != 0)
        return bt_origin(BT_EIO, "the function manager's thread cannot be started");
    m->has_thread = true;
    wait_for_rules(m);
    return 0;
}

static void open_calls(void *self)
{
    struct manager *m = self;

    fm_calls_open(&m->calls);
}

static void needs_restart(void *arg, const char *key, const struct bt_conf_row *row)
{
    (void)arg;
    if ((row->flags & BT_CONF_RELOAD) != 0)
        return;
    bt_log(BT_LOG_WARN, "FUNC-RESTART", "a changed key needs a restart",
           "key=functions.%s", key);
}

static int reload(void *self, const void *conf, struct bt_conf_ctx *owner)
{
    const struct bt_conf_diff d = { .fn = needs_restart };
    struct manager *m = self;

    (void)owner;
    bt_conf_each_change(&fm_conf_table, m->conf, conf, &d);
    fm_calls_reload(&m->calls, conf);
    if (m->watch != NULL)
        fm_watch_look(m->watch);
    return 0;
}

static void stop(void *self)
{
    struct manager *m = self;

    /* The mailbox is closed only by this message's consequences. */
    if (bt_mbox_post(m->env.mbox, &m->stop_msg) != 0)
        bt_super_fail(m->env.super, "the function manager cannot be stopped");
}

const struct bt_module_ops fm_module = {
    .name = "funcmgr",
    .help = "Sends messages through functions in Python and Node.",
    .create = create,
    .start = start,
    .open = open_calls,
    .reload = reload,
    .stop = stop,
    .free = free_manager,
};
