/* Starting a process.
 *
 * Happy path: three pipes (calls, replies, output), then a spawn with the runtime's
 * descriptors, our few environment variables and the function's own.
 * Failure modes: no descriptors, no memory, a program that cannot be run. What was opened
 * is closed again; the caller only hears the code. */
#include "funcmgr/launch.h"

#include <fcntl.h>
#include <unistd.h>

#include "core/error.h"
#include "core/sys.h"
#include "funcmgr/instance_env.h"

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

static int spawn(const struct fm_instance_opts *o, const char *name,
                 const struct pipes *p, struct bt_child_exit *on_exit,
                 struct fm_process *out)
{
    bool has_source = o->interp->language < FM_N_LANGUAGES;
    const struct bt_child_fd fds[] = {
        { o->env->null_fd, 0 },
        { p->output[1], 1 },
        { p->output[1], 2 },
        { p->calls[0], FM_CALL_FD },
        { p->replies[1], FM_REPLY_FD },
        { has_source ? o->env->source_fds[o->interp->language] : -1, FM_SOURCE_FD },
    };
    struct fm_limits *l = o->limits;
    char *argv[FM_INTERP_ARGS + 1], option[FM_CELL_OPTION];
    struct fm_child_env child_env bt_cleanup(fm_child_env_deinit) = { 0 };
    struct bt_child_opts opts = { .file = o->interp->path, .argv = argv };
    int r = fm_child_env_init(&child_env, name, o->function,
                              l != NULL ? l->env : o->extra_env,
                              l != NULL ? l->n_env : o->n_extra_env);

    if (r == 0)
        r = fm_cell_new(l, name, &out->cell);
    if (r != 0)
        return r;
    fm_interp_argv(o->interp, argv);
    fm_cell_argv(l, argv, option);
    opts.envp = child_env.envp;
    opts.cwd = o->env->work_dir;
    opts.fds = fds;
    opts.n_fds = BT_ARRAY_LEN(fds) - (has_source ? 0 : 1);
    opts.new_group = true;
    opts.confine = fm_cell_confine(out->cell);
    opts.no_wait = fm_cell_is_slow(out->cell);
    r = bt_child_spawn(o->env->super, &opts, o->env->mbox, on_exit, &out->pid);
    fm_cell_started(out->cell);
    return r;
}

int fm_launch(const struct fm_instance_opts *opts, const char *name,
              struct bt_child_exit *on_exit, struct fm_process *out)
{
    struct fm_instance_opts with = *opts;
    struct fm_interp found bt_cleanup(fm_interp_deinit) = { 0 };
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    struct pipes p;
    int r;

    out->cell = NULL;
    if (opts->interp->missing != NULL) { /* somebody may have installed it since */
        if (fm_interp_lookup(opts->interp->path, &found, &why) != 0)
            return BT_ECONF;
        with.interp = &found;
    }
    r = open_pipes(&p);
    if (r == 0)
        r = spawn(&with, name, &p, on_exit, out);
    if (r != 0) {
        fm_cell_free(bt_steal(out->cell));
    } else {
        out->call_fd = take_fd(&p.calls[1]);
        out->reply_fd = take_fd(&p.replies[0]);
        out->output_fd = take_fd(&p.output[0]);
    }
    close_pipes(&p);
    return r;
}
