/* Starting a process.
 *
 * Happy path: three pipes (calls, replies, output), then a spawn with the runtime's
 * descriptors, our few environment variables and the function's own; or the three
 * descriptors go to the function's template, which makes the process from itself.
 * Failure modes: no descriptors, no memory, a program that cannot be run. What was opened
 * is closed again; the caller only hears the code. */
#include "funcmgr/process/launch.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/sys.h"
#include "funcmgr/process/forkserver.h"
#include "funcmgr/process/instance.h"
#include "funcmgr/process/instance_env.h"
#include "funcmgr/task.h"

struct pipes {
    int calls[2], replies[2], output[2]; /* read end, write end */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* The descriptor, for the caller to own. */
static int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

static void close_pair(int fds[2])
{
    close_fd(&fds[0]);
    close_fd(&fds[1]);
}

static void close_pipes(struct pipes *p)
{
    close_pair(p->calls);
    close_pair(p->replies);
    close_pair(p->output);
}

/* The child's ends block, ours do not. */
static int open_pipes(struct pipes *p)
{
    *p = (struct pipes){ { -1, -1 }, { -1, -1 }, { -1, -1 } };
    if (bt_sys_pipe(p->calls) != 0 || bt_sys_pipe(p->replies) != 0 ||
        bt_sys_pipe(p->output) != 0 || fcntl(p->calls[1], F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(p->replies[0], F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(p->output[0], F_SETFL, O_NONBLOCK) != 0)
        return bt_origin(BT_EIO, "the pipes of an instance cannot be made");
    return 0;
}

/* The interpreter, which somebody may have installed since the start. */
static int find_program(const struct fm_interp *interp, struct fm_interp *found,
                        const struct fm_interp **out)
{
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };

    *out = interp;
    if (interp->missing == NULL)
        return 0;
    *out = found;
    return fm_interp_lookup(interp->path, found, &why) == 0 ? 0 : BT_ECONF;
}

static int spawn(struct fm_launch *l, const struct fm_interp *interp, pid_t *pid)
{
    const struct fm_instance_opts *o = l->opts;
    bool has_source = interp->language < FM_N_LANGUAGES;
    const struct bt_child_fd fds[] = {
        { o->env->null_fd, 0 },
        { l->output_fd, 1 },
        { l->output_fd, 2 },
        { l->call_fd, FM_CALL_FD },
        { l->reply_fd, FM_REPLY_FD },
        { has_source ? o->env->source_fds[interp->language] : -1, FM_SOURCE_FD },
    };
    struct fm_limits *limits = o->limits;
    char *argv[FM_INTERP_ARGS + 1], option[FM_CELL_OPTION];
    struct fm_child_env child_env bt_cleanup(fm_child_env_deinit) = { 0 };
    struct bt_child_opts opts = { .file = interp->path, .argv = argv };
    int r = fm_child_env_init(&child_env, l->name, o->function,
                              limits != NULL ? limits->env : o->extra_env,
                              limits != NULL ? limits->n_env : o->n_extra_env);

    if (r == 0)
        r = fm_cell_new(limits, l->name, &l->cell);
    if (r != 0)
        return r;
    fm_interp_argv(interp, argv);
    fm_cell_argv(limits, argv, option);
    opts.envp = child_env.envp;
    opts.cwd = o->workdir != NULL ? o->workdir : o->env->work_dir;
    opts.fds = fds;
    opts.n_fds = BT_ARRAY_LEN(fds) - (has_source ? 0 : 1);
    opts.new_group = true;
    opts.confine = fm_cell_confine(l->cell);
    opts.no_wait = fm_cell_is_slow(l->cell);
    r = bt_child_spawn(o->env->super, &opts, o->env->mbox, l->on_exit, pid);
    fm_cell_started(l->cell);
    if (r != 0)
        fm_cell_free(bt_steal(l->cell));
    return r;
}

int fm_launch_program(struct fm_launch *l, pid_t *pid)
{
    struct fm_interp found bt_cleanup(fm_interp_deinit) = { 0 };
    const struct fm_interp *interp;
    int r = find_program(l->opts->interp, &found, &interp);

    return r != 0 ? r : spawn(l, interp, pid);
}

const char *fm_launch_why(struct fm_launch *l, int r)
{
    int error = l->on_exit->error;

    if (r != BT_EIO || error == 0)
        return bt_error_text(r);
    snprintf(l->why, sizeof(l->why), "the program cannot be run: %s",
             strerror(error)); /* NOLINT(concurrency-mt-unsafe): both libcs' is safe */
    return l->why;
}

/* ---- Launches that are pending ---- */

static void close_childs_ends(struct fm_launch *l)
{
    close_fd(&l->call_fd);
    close_fd(&l->reply_fd);
    close_fd(&l->output_fd);
}

static void done(struct fm_launch *l, int r, pid_t pid, const char *why)
{
    bt_list_remove(&l->link);
    close_childs_ends(l);
    l->pending = false;
    l->launched(l, r, pid, why);
}

void fm_launch_fail(struct fm_launch *l, int r, const char *why)
{
    done(l, r, 0, why);
}

void fm_launch_spawn(struct fm_launch *l)
{
    pid_t pid = 0;
    int r = l->cancelled ? BT_ECLOSED : fm_launch_program(l, &pid);

    done(l, r, pid, fm_launch_why(l, r));
}

/* Until here the process is expected and nobody reaps it, so pid is still its own. */
static void register_process(struct fm_launch *l, pid_t pid, int locked_in)
{
    int r = bt_child_adopt(pid, l->opts->env->mbox, l->on_exit);

    if (r != 0) {
        bt_child_expect(-1);
        fm_cell_free(bt_steal(l->cell));
        done(l, r, 0, bt_error_text(r));
        return;
    }
    /* Not without its limits; its end is met as any other is. */
    if (locked_in != 0)
        bt_child_kill(pid, true, SIGKILL);
    done(l, 0, pid, NULL);
}

/* Moving a process into control groups waits for all processors: not on our thread. The
 * launch and its cell are the other thread's until it has posted. */
struct move {
    struct fm_task task;
    struct fm_launch *launch;
    pid_t pid;
    int r;
};

static void moved(struct fm_task *task)
{
    struct move *m = bt_container_of(task, struct move, task);
    struct fm_launch *l = m->launch;
    pid_t pid = m->pid;
    int r = m->r;

    bt_free(m);
    register_process(l, pid, r);
}

static void *run_move(void *arg)
{
    struct move *m = arg;

    bt_sys_thread_name("funcmgr.join");
    m->r = fm_cell_adopt(m->launch->cell, m->pid);
    if (bt_mbox_post(m->launch->opts->env->mbox, &m->task.msg) != 0)
        bt_free(m); /* cannot be: the manager waits for the launch */
    return NULL;
}

static int begin_move(struct fm_launch *l, pid_t pid)
{
    struct move *m = bt_calloc(1, sizeof(*m));
    pthread_attr_t attr;
    pthread_t thread;
    int failed;

    if (m == NULL)
        return BT_ENOMEM;
    m->task.msg.kind = FM_MSG_TASK;
    m->task.run = moved;
    m->launch = l;
    m->pid = pid;
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    failed = pthread_create(&thread, &attr, run_move, m);
    (void)pthread_attr_destroy(&attr);
    if (failed == 0)
        return 0;
    bt_free(m);
    return bt_origin(BT_EIO, "no thread to move a process into its control group");
}

void fm_launch_adopt(struct fm_launch *l, pid_t pid)
{
    bool slow;
    int r;

    bt_list_remove(&l->link);
    if (l->cancelled) { /* the limits may have gone with their configuration */
        register_process(l, pid, BT_ECLOSED);
        return;
    }
    /* The id is what the function's own code may have made of it. */
    r = bt_child_is_orphan(pid) ? fm_cell_new(l->opts->limits, l->name, &l->cell)
                                : BT_EINVAL;
    slow = r == 0 && fm_cell_is_slow(l->cell);
    if (slow)
        r = begin_move(l, pid);
    else if (r == 0)
        r = fm_cell_adopt(l->cell, pid);
    if (!slow || r != 0)
        register_process(l, pid, r);
}

void fm_launch_cancel(struct fm_launch *l)
{
    if (!l->pending || l->cancelled)
        return;
    l->cancelled = true;
    fm_fork_cancelled(l->opts->fork);
}

int fm_launch(struct fm_launch *l, struct fm_process *out)
{
    struct pipes p;
    int r = open_pipes(&p);

    *out = (struct fm_process){ 0 };
    l->call_fd = take_fd(&p.calls[0]);
    l->reply_fd = take_fd(&p.replies[1]);
    l->output_fd = take_fd(&p.output[1]);
    if (r == 0)
        l->pending = l->opts->fork != NULL && fm_fork_launch(l->opts->fork, l);
    if (r == 0 && !l->pending)
        r = fm_launch_program(l, &out->pid);
    if (!l->pending)
        close_childs_ends(l);
    if (r == 0) {
        out->call_fd = take_fd(&p.calls[1]);
        out->reply_fd = take_fd(&p.replies[0]);
        out->output_fd = take_fd(&p.output[0]);
        out->cell = bt_steal(l->cell);
    }
    close_pipes(&p);
    return r;
}
