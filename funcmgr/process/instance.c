/* One child process: its states, its start and its end. What is said with it is in
 * funcmgr/process/instance_talk.c.
 *
 * Happy path: spawn with descriptors 3 (calls) and 4 (replies), be ready when the runtime
 * has said hello, serve until the owner stops it.
 * Failure modes: no hello in time, no reply in time, end of file, a frame that is wrong,
 * too long or not due. All lead to one place, fm_instance_fault(), which tells the owner
 * at once, and then the process is ended without anybody waiting for it: SIGTERM to its
 * whole group, after FM_TERM_MS SIGKILL. Nothing a child does ends more than that child.
 */
#include "funcmgr/process/instance.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "funcmgr/process/instance_priv.h"

static const char *const state_names[FM_N_STATES] = {
    [FM_STARTING] = "starting", [FM_READY] = "ready", [FM_BUSY] = "busy",
    [FM_STOPPING] = "stopping", [FM_DEAD] = "dead",
};

#define TO(state) (1u << (state))
static const unsigned transitions[FM_N_STATES] = {
    [FM_STARTING] = TO(FM_READY) | TO(FM_STOPPING),
    [FM_READY] = TO(FM_BUSY) | TO(FM_STOPPING),
    [FM_BUSY] = TO(FM_READY) | TO(FM_STOPPING),
    [FM_STOPPING] = TO(FM_DEAD),
    [FM_DEAD] = 0,
};

void fm_instance_set_state(struct fm_instance *in, enum fm_state to)
{
    bool allowed = (transitions[in->state] & TO(to)) != 0;

    assert(allowed);
    (void)allowed;
    bt_log(BT_LOG_DEBUG, "FUNC-STATE", "instance", "instance=%s pid=%d from=%s to=%s",
           in->name, (int)in->pid, state_names[in->state], state_names[to]);
    in->state = to;
}

/* ---- Ending ---- */

static void close_pipes(struct fm_instance *in)
{
    bt_io_stop(fm_instance_loop(in), &in->call_io);
    bt_io_stop(fm_instance_loop(in), &in->reply_io);
    if (in->call_fd >= 0)
        close(in->call_fd);
    if (in->reply_fd >= 0)
        close(in->reply_fd);
    in->call_fd = in->reply_fd = -1;
}

static void begin_stop(struct fm_instance *in)
{
    fm_instance_set_state(in, FM_STOPPING);
    bt_list_remove(&in->unsent);
    close_pipes(in);
    fm_launch_cancel(&in->launch);
    bt_child_kill(in->pid, true, SIGTERM);
    bt_timer_start(fm_instance_loop(in), &in->timer, FM_TERM_MS, FM_TERM_MS);
}

void fm_instance_fault(struct fm_instance *in, enum fm_outcome outcome, const char *code,
                       const char *desc)
{
    const struct fm_instance_owner *owner = in->opts.owner;
    enum fm_state was = in->state;
    char text[256];
    struct fm_result result = { .outcome = outcome, .message = text };

    result.type = FM_STATUS_ERROR;
    snprintf(text, sizeof(text), "rpc error: code = %s desc = %s", code, desc);
    begin_stop(in);
    bt_log(BT_LOG_WARN, "FUNC-FAULT", "a function's instance is ended",
           "instance=%s pid=%d state=%s calls=%u reason=\"%s\"", in->name, (int)in->pid,
           state_names[was], in->n_calls, desc);
    if (was == FM_STARTING)
        owner->failed(owner->arg, in, desc);
    else
        owner->lost(owner->arg, in, &result);
}

void fm_instance_closed(struct fm_instance *in)
{
    char why[128];

    if (!in->exited && fm_cell_tells_by_status(in->cell)) {
        bt_io_stop(fm_instance_loop(in), &in->reply_io);
        bt_child_kill(in->pid, true, SIGKILL); /* it may only have closed its pipe */
        return;
    }
    if (fm_cell_why(in->cell, in->exited ? in->exit.status : 0, why, sizeof(why))) {
        fm_instance_fault(in, FM_BROKEN, "Unavailable", why);
        return;
    }
    fm_instance_fault(in, FM_BROKEN, "Unavailable",
                      in->state == FM_STARTING ? "the process ended before it was ready"
                                               : "transport is closing");
}

static void on_timer(struct bt_timer *t)
{
    struct fm_instance *in = bt_container_of(t, struct fm_instance, timer);

    switch (in->state) {
    case FM_STARTING:
        fm_instance_fault(in, FM_NOT_STARTED, "DeadlineExceeded",
                          "the instance was not ready in time");
        break;
    case FM_BUSY:
    case FM_READY:
        fm_instance_look_for_late_calls(in);
        break;
    case FM_STOPPING:
        bt_child_kill(in->pid, true, SIGKILL);
        fm_cell_kill(in->cell);
        break;
    case FM_DEAD:
        break;
    }
}

/* ---- Life ---- */

struct fm_instance *fm_instance_new(const struct fm_instance_opts *opts)
{
    struct fm_instance *in = bt_calloc(1, sizeof(*in));
    struct bt_buf name = { 0 };

    if (in == NULL)
        return NULL;
    in->opts = *opts;
    in->call_fd = in->reply_fd = in->output.fd = -1;
    in->in.max = FM_FRAME_MAX_HELLO;
    in->exit.msg.kind = FM_MSG_EXIT;
    in->service_us = UINT64_MAX;
    in->first_ahead = &in->calls;
    bt_list_init(&in->calls);
    bt_timer_init(&in->timer, on_timer);
    if (bt_buf_printf(&name, "%s%s%s.%u", opts->service != NULL ? opts->service : "",
                      opts->service != NULL ? "." : "", opts->function,
                      opts->number) == 0)
        in->name = bt_buf_steal_str(&name);
    bt_buf_deinit(&name);
    if (in->name == NULL) {
        bt_free(in);
        return NULL;
    }
    return in;
}

void fm_instance_free(struct fm_instance *in)
{
    if (in == NULL)
        return;
    bt_timer_stop(fm_instance_loop(in), &in->timer);
    bt_list_remove(&in->unsent);
    fm_output_close(&in->output);
    fm_cell_free(in->cell);
    fm_frame_in_deinit(&in->in);
    bt_buf_deinit(&in->out);
    bt_free(in->name);
    bt_free(in);
}

static void gone(struct fm_instance *in)
{
    const struct fm_instance_owner *owner = in->opts.owner;

    bt_timer_stop(fm_instance_loop(in), &in->timer);
    fm_instance_set_state(in, FM_DEAD);
    owner->gone(owner->arg, in);
}

/* The end of a launch that was pending. What the process says is read only from now on:
 * it gets no call before it is registered and has its limits. */
static void on_launched(struct fm_launch *l, int r, pid_t pid, const char *why)
{
    struct fm_instance *in = bt_container_of(l, struct fm_instance, launch);

    in->pid = pid;
    in->cell = bt_steal(l->cell);
    if (r == 0 && in->opts.env->backend != NULL)
        fm_guard_add(&in->opts.env->backend->guard, pid);
    if (r == 0 && in->state == FM_STOPPING) {
        bt_child_kill(pid, true, SIGTERM);
        return;
    }
    if (r == 0) {
        bt_io_set(fm_instance_loop(in), &in->reply_io, BT_READ);
        bt_timer_start(fm_instance_loop(in), &in->timer, fm_start_ms(&in->opts), 0);
        return;
    }
    if (in->state != FM_STOPPING)
        fm_instance_fault(in, FM_NOT_STARTED, "Unavailable", why);
    gone(in);
}

static void begin(struct fm_instance *in, const struct fm_process *process)
{
    in->pid = process->pid;
    in->call_fd = process->call_fd;
    in->reply_fd = process->reply_fd;
    in->cell = process->cell;
    if (in->opts.env->backend != NULL)
        fm_guard_add(&in->opts.env->backend->guard, in->pid);
    in->state = FM_STARTING;
    if (in->opts.limits != NULL) {
        in->output.max_lines = in->opts.limits->want.log_rate;
        in->output.max_line = (size_t)in->opts.limits->want.log_line;
    }
    bt_io_init(&in->call_io, in->call_fd, fm_instance_on_writable);
    bt_io_init(&in->reply_io, in->reply_fd, fm_instance_on_reply);
    bt_io_start(fm_instance_loop(in), &in->call_io, BT_WRITE);
    in->queued = in->out.len;
    bt_io_start(fm_instance_loop(in), &in->reply_io, BT_READ);
    if (in->launch.pending)
        bt_io_set(fm_instance_loop(in), &in->reply_io, 0);
    fm_output_start(&in->output, fm_instance_loop(in), in->name, in->opts.env->chunk,
                    process->output_fd);
    bt_timer_start(fm_instance_loop(in), &in->timer, fm_start_ms(&in->opts), 0);
}

int fm_instance_start(struct fm_instance *in)
{
    struct fm_process process;
    int r = fm_instance_send_hello(in);

    in->launch.opts = &in->opts;
    in->launch.name = in->name;
    in->launch.on_exit = &in->exit;
    in->launch.launched = on_launched;
    if (r == 0)
        r = fm_launch(&in->launch, &process);
    if (r == 0)
        begin(in, &process);
    return r;
}

void fm_instance_stop(struct fm_instance *in)
{
    if (in->state != FM_STOPPING && in->state != FM_DEAD)
        begin_stop(in);
}

static void log_exit(const struct fm_instance *in, bool expected)
{
    int status = in->exit.status;
    bool signaled = WIFSIGNALED(status);

    bt_log(expected ? BT_LOG_DEBUG : BT_LOG_WARN, "FUNC-EXIT", "instance ended",
           "instance=%s pid=%d %s=%d", in->name, (int)in->pid,
           signaled ? "signal" : "status",
           signaled ? WTERMSIG(status) : WEXITSTATUS(status));
}

void fm_instance_exited(struct bt_msg *msg)
{
    struct bt_child_exit *e = bt_container_of(msg, struct bt_child_exit, msg);
    struct fm_instance *in = bt_container_of(e, struct fm_instance, exit);

    in->exited = true;
    log_exit(in, in->state == FM_STOPPING);
    /* What the handler started may still run in the group. */
    bt_child_kill(in->pid, true, SIGKILL);
    fm_cell_kill(in->cell);
    if (in->opts.env->backend != NULL)
        fm_guard_ended(&in->opts.env->backend->guard, in->pid,
                       fm_cell_holds_all(in->cell) ? NULL : in->name);
    /* A reply may have been written just before the end; a pipe holds 64 KiB to 1 MiB. */
    for (int i = 0; i < 16 && in->state != FM_STOPPING && fm_instance_read(in); i++)
        ;
    if (in->state != FM_STOPPING)
        fm_instance_closed(in);
    gone(in);
}
