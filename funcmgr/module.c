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
#include "funcmgr/manager.h"
#include "funcmgr/process/forkserver.h"
#include "funcmgr/task.h"
#include "runtime-embed/runtime_embed.h"

#define FM_DRAIN_MS 5000u
#define FM_OPEN_MS  5000 /* longest time a start waits for the rules' sessions */

/* ---- Stopping ---- */

void fm_manager_drained(struct fm_manager *m)
{
    if (!m->stopping) {
        fm_reload_sweep_soon(m);
        return;
    }
    if (--m->n_draining > 0)
        return;
    bt_timer_stop(m->env.loop, &m->sweep_timer);
    bt_timer_stop(m->env.loop, &m->drain_timer);
    bt_mbox_close(m->env.mbox);
    bt_loop_stop(m->env.loop);
}

static void on_drain_timer(struct bt_timer *t)
{
    struct fm_manager *m = bt_container_of(t, struct fm_manager, drain_timer);
    struct bt_list *it;

    if (m->drain_rounds++ == 0) {
        bt_list_for_each (it, &m->pools)
            fm_pool_kill(&bt_list_entry(it, struct fm_pool_slot, link)->pool);
        return;
    }
    bt_list_for_each (it, &m->rules)
        fm_rule_abandon(&bt_list_entry(it, struct fm_rule_slot, link)->rule);
    if (fm_takes_requests(m))
        fm_requests_abandon(&m->requests);
}

static void begin_stop(struct fm_manager *m)
{
    struct bt_list *it;

    /* One more than there are, so that the last of them is not met inside the loops. */
    m->n_draining = 1 + (size_t)fm_takes_requests(m);
    bt_list_for_each (it, &m->pools)
        m->n_draining += !bt_list_entry(it, struct fm_pool_slot, link)->drained;
    bt_list_for_each (it, &m->rules)
        m->n_draining += !bt_list_entry(it, struct fm_rule_slot, link)->drained;
    m->stopping = true;
    bt_timer_start(m->env.loop, &m->drain_timer, FM_DRAIN_MS, FM_DRAIN_MS);
    bt_list_for_each (it, &m->rules)
        fm_rule_close(&bt_list_entry(it, struct fm_rule_slot, link)->rule);
    if (fm_takes_requests(m))
        fm_requests_close(&m->requests);
    bt_list_for_each (it, &m->pools)
        fm_pool_close(&bt_list_entry(it, struct fm_pool_slot, link)->pool);
    fm_manager_drained(m);
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

static void answered(struct fm_manager *m)
{
    if (--m->n_unanswered > 0)
        return;
    close(m->answered_fds[1]);
    m->answered_fds[1] = -1;
}

static void on_rule_answered(void *arg)
{
    answered(((struct fm_rule_slot *)arg)->m);
}

static void on_requests_answered(void *arg)
{
    answered(arg);
}

static void on_requests_drained(void *arg)
{
    fm_manager_drained(arg);
}

static void on_turn_end(void *arg)
{
    struct fm_manager *m = arg;

    fm_instances_flush(&m->env);
}

static void *run(void *arg)
{
    struct fm_manager *m = arg;
    struct bt_list *it;

    bt_sys_thread_name("funcmgr");
    bt_list_for_each (it, &m->pools)
        fm_pool_start(&bt_list_entry(it, struct fm_pool_slot, link)->pool);
    bt_list_for_each (it, &m->rules)
        fm_rule_open(&bt_list_entry(it, struct fm_rule_slot, link)->rule);
    if (fm_takes_requests(m))
        fm_requests_open(&m->requests);
    bt_loop_on_prepare(m->env.loop, on_turn_end, m);
    bt_loop_run(m->env.loop);
    bt_loop_on_prepare(m->env.loop, NULL, NULL);
    bt_super_stopped(m->env.super, m);
    return NULL;
}

/* ---- Creating ---- */

static int create_pools(struct fm_manager *m)
{
    const struct fm_function_conf *c = m->conf->functions.items;
    int result = 0;

    for (size_t i = 0; i < m->conf->functions.n; i++) {
        struct fm_pool_slot *slot;
        struct fm_interp interp;
        int r = fm_build_interp(m, &c[i], &interp);

        if (r == 0)
            r = fm_build_pool(m, &c[i], &interp, &slot);
        if (r != 0)
            result = r;
    }
    return result;
}

static struct fm_pool *pool_named(void *arg, struct bt_slice name)
{
    struct fm_pool_slot *slot = fm_build_find(arg, name);

    return slot != NULL ? &slot->pool : NULL;
}

static struct fm_pool *pool_at(void *arg, size_t i)
{
    struct fm_manager *m = arg;
    struct bt_list *it;

    bt_list_for_each (it, &m->pools) {
        struct fm_pool_slot *slot = bt_list_entry(it, struct fm_pool_slot, link);

        if (!slot->removed && i-- == 0)
            return &slot->pool;
    }
    return NULL;
}

static int create_calls(struct fm_manager *m, const struct bt_module_env *env)
{
    const struct fm_calls_env calls_env = { m->env.loop, m->env.mbox, m, pool_named,
                                            pool_at };

    int r = fm_calls_init(&m->calls, &calls_env, m->conf, env->main_loop, env->api);

    if (r != 0 || !fm_takes_requests(m))
        return r;
    if (m->hub == NULL) {
        bt_log(BT_LOG_ERROR, "FUNC-NO-HUB",
               "functions.calls needs the hub, and it does not run in this process",
               "topic=%s", m->conf->calls.topic);
        return BT_ECONF;
    }
    r = fm_requests_init(&m->requests, m->conf, &calls_env, m->hub);
    m->requests.arg = m;
    m->requests.answered = on_requests_answered;
    m->requests.drained = on_requests_drained;
    return r;
}

static int create_rules(struct fm_manager *m)
{
    const struct fm_rule_conf *c = m->conf->rules.items;

    for (size_t i = 0; i < m->conf->rules.n; i++) {
        struct fm_rule_slot *slot;
        int r = fm_build_rule(m, &c[i], &slot);

        if (r != 0)
            return r;
        slot->rule.answered = on_rule_answered;
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

static int open_source(struct fm_manager *m, enum fm_language language)
{
    int fd = bt_sys_memfd("baetyl-runtime");

    if (fd < 0)
        return bt_origin(BT_EIO, "no file in memory for a runtime's source");
    m->env.source_fds[language] = fd;
    return language == FM_PYTHON ? write_all(fd, re_python_source, re_python_source_len)
                                 : write_all(fd, re_node_source, re_node_source_len);
}

static int create_env(struct fm_manager *m)
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
    struct fm_manager *m = self;
    struct bt_list *it, *next;

    if (m == NULL)
        return;
    if (m->has_thread)
        pthread_join(m->thread, NULL);
    fm_watch_free(m->watch);
    fm_calls_deinit(&m->calls);
    fm_requests_deinit(&m->requests);
    if (m->watched)
        bt_super_unwatch(m->env.super, m->env.loop);
    bt_list_for_each_safe (it, next, &m->rules)
        fm_build_free_rule(bt_list_entry(it, struct fm_rule_slot, link));
    bt_list_for_each_safe (it, next, &m->pools)
        fm_build_free_pool(bt_list_entry(it, struct fm_pool_slot, link));
    fm_reload_deinit(m);
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
    bt_free(m);
}

static int create(const struct bt_module_env *env, void **out)
{
    struct fm_manager *m = bt_calloc(1, sizeof(*m));
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
    bt_list_init(&m->pools);
    bt_list_init(&m->rules);
    fm_reload_init(m);
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
static void wait_for_rules(const struct fm_manager *m)
{
    struct pollfd p = { .fd = m->answered_fds[0], .events = POLLIN };
    int n;

    if (m->conf->rules.n + fm_takes_requests(m) == 0)
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
    struct fm_manager *m = self;
    int r = bt_super_watch(m->env.super, m->env.loop);

    if (r != 0)
        return r;
    m->watched = true;
    m->n_unanswered = m->conf->rules.n + fm_takes_requests(m);
    if (bt_sys_pipe(m->answered_fds) != 0)
        return bt_origin(BT_EIO, "no descriptors for the function manager");
    r = fm_code_watch(m->conf, m->env.work_dir, &m->calls.env, NULL, &m->watch);
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
    struct fm_manager *m = self;

    fm_calls_open(&m->calls);
}

static int reload(void *self, const void *conf, struct bt_conf_ctx *owner)
{
    return fm_reload(self, conf, owner);
}

static void stop(void *self)
{
    struct fm_manager *m = self;

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
