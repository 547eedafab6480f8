/* One child process and the conversation with it.
 *
 * Happy path: spawn with descriptors 3 (calls) and 4 (replies), write our hello, read the
 * runtime's, be ready; then call frames out and reply frames in. What a turn of the loop
 * brings is encoded into one buffer and written once, at the end of the turn; a read
 * takes all replies that are there. The oldest calls, as many as may run at once, are
 * those that run: a reply makes the next one begin, and its time passes from then on.
 * Failure modes: no hello in time, no reply in time, end of file, a frame that is wrong,
 * too long or not due. All lead to one place, fault(), which tells the owner at once, and
 * then the process is ended without anybody waiting for it: SIGTERM to its whole group,
 * after FM_TERM_MS SIGKILL. Nothing a child does ends more than that child. */
#include "funcmgr/instance.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"

/* Texts of one error. */
#define MAX_ERROR_TEXT ((size_t)4096)
#define MAX_TYPE       32

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

static void set_state(struct fm_instance *in, enum fm_state to)
{
    bool allowed = (transitions[in->state] & TO(to)) != 0;

    assert(allowed);
    (void)allowed;
    bt_log(BT_LOG_DEBUG, "FUNC-STATE", "instance", "instance=%s pid=%d from=%s to=%s",
           in->name, (int)in->pid, state_names[in->state], state_names[to]);
    in->state = to;
}

static struct bt_loop *loop_of(const struct fm_instance *in)
{
    return in->opts.env->loop;
}

/* ---- Ending ---- */

static void close_pipes(struct fm_instance *in)
{
    bt_io_stop(loop_of(in), &in->call_io);
    bt_io_stop(loop_of(in), &in->reply_io);
    if (in->call_fd >= 0)
        close(in->call_fd);
    if (in->reply_fd >= 0)
        close(in->reply_fd);
    in->call_fd = in->reply_fd = -1;
}

static void begin_stop(struct fm_instance *in)
{
    set_state(in, FM_STOPPING);
    bt_list_remove(&in->unsent);
    close_pipes(in);
    fm_launch_cancel(&in->launch);
    bt_child_kill(in->pid, true, SIGTERM);
    bt_timer_start(loop_of(in), &in->timer, FM_TERM_MS, FM_TERM_MS);
}

/* The instance cannot go on. Tells whoever waits for it, last of all. */
static void fault(struct fm_instance *in, enum fm_outcome outcome, const char *code,
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

static void closed_by_child(struct fm_instance *in)
{
    char why[128];

    if (!in->exited && fm_cell_tells_by_status(in->cell)) {
        bt_io_stop(loop_of(in), &in->reply_io);
        bt_child_kill(in->pid, true, SIGKILL); /* it may only have closed its pipe */
        return;
    }
    if (fm_cell_why(in->cell, in->exited ? in->exit.status : 0, why, sizeof(why))) {
        fault(in, FM_BROKEN, "Unavailable", why);
        return;
    }
    fault(in, FM_BROKEN, "Unavailable",
          in->state == FM_STARTING ? "the process ended before it was ready"
                                   : "transport is closing");
}

static void bad_frame(struct fm_instance *in)
{
    fault(in, FM_BROKEN, "Internal", "the runtime sent an invalid frame");
}

static void reply_too_large(struct fm_instance *in, size_t len)
{
    char desc[96];

    snprintf(desc, sizeof(desc), "grpc: received message larger than max (%zu vs. %zu)",
             len, in->opts.max_message);
    /* Of several calls that run nobody knows whose it is. */
    fault(in, in->n_begun == 1 ? FM_TOO_LARGE : FM_BROKEN, "ResourceExhausted", desc);
}

/* ---- The calls that run ---- */

static void wake_at(struct fm_instance *in, uint64_t at)
{
    uint64_t now = bt_loop_ms(loop_of(in));

    if (in->wake_at != 0 && in->wake_at <= at)
        return;
    in->wake_at = at;
    bt_timer_start(loop_of(in), &in->timer, at > now ? at - now : 0, 0);
}

/* The oldest calls that have not begun, as far as the runtime may run them. */
static void begin_calls(struct fm_instance *in)
{
    uint64_t now = bt_loop_ms(loop_of(in));

    while (in->n_begun < in->n_calls && in->n_begun < in->opts.concurrency) {
        struct fm_call *call = bt_list_entry(in->first_ahead, struct fm_call, link);

        in->first_ahead = in->first_ahead->next;
        in->n_begun++;
        in->begun_end = call->end;
        call->begun = true;
        if (call->deadline == 0)
            call->deadline =
                now + (call->left != 0 ? call->left : (uint64_t)in->opts.timeout);
        wake_at(in, call->deadline);
    }
}

/* The timer is not moved at every reply, so it may come too early. */
static void look_for_late_calls(struct fm_instance *in)
{
    uint64_t now = bt_loop_ms(loop_of(in)), first = UINT64_MAX;
    struct bt_list *it;

    in->wake_at = 0;
    bt_list_for_each (it, &in->calls) {
        const struct fm_call *call = bt_list_entry(it, struct fm_call, link);

        if (!call->begun)
            break;
        first = BT_MIN(first, call->deadline);
    }
    if (first <= now)
        fault(in, FM_TIMEOUT, "DeadlineExceeded", "context deadline exceeded");
    else if (first != UINT64_MAX)
        wake_at(in, first);
}

/* Fast up, slowly down: a function that was slow once gets nothing sent ahead for a
 * while. */
static void measure(struct fm_instance *in, uint64_t since, uint64_t n_replies)
{
    uint64_t now = bt_loop_us(loop_of(in));
    uint64_t each = (now - since) / n_replies;

    in->progress_us = now;
    if (in->service_us == UINT64_MAX || each > in->service_us)
        in->service_us = each;
    else
        in->service_us -= (in->service_us - each + 7) / 8;
}

bool fm_instance_free_slot(const struct fm_instance *in)
{
    return in->n_calls < in->opts.concurrency &&
           in->out.len - in->out_off < FM_UNSENT_BYTES;
}

bool fm_instance_may_queue(const struct fm_instance *in)
{
    unsigned ahead = in->n_calls - in->n_begun;
    uint64_t waited = bt_loop_us(in->opts.env->loop) - in->progress_us;

    return in->state == FM_BUSY && in->service_us < FM_AHEAD_CALL_US &&
           ahead < FM_AHEAD_CALLS && in->queued - in->begun_end < FM_AHEAD_BYTES &&
           ahead * in->service_us < FM_AHEAD_US && waited < FM_AHEAD_CALL_US;
}

static void on_timer(struct bt_timer *t)
{
    struct fm_instance *in = bt_container_of(t, struct fm_instance, timer);

    switch (in->state) {
    case FM_STARTING:
        fault(in, FM_NOT_STARTED, "DeadlineExceeded",
              "the instance was not ready in time");
        break;
    case FM_BUSY:
    case FM_READY:
        look_for_late_calls(in);
        break;
    case FM_STOPPING:
        bt_child_kill(in->pid, true, SIGKILL);
        fm_cell_kill(in->cell);
        break;
    case FM_DEAD:
        break;
    }
}

/* ---- Frames in ---- */

static void got_hello(struct fm_instance *in, const struct fm_hello *hello)
{
    const struct fm_instance_owner *owner = in->opts.owner;
    char why[1024];

    if (hello->version != FM_FRAME_VERSION) {
        snprintf(why, sizeof(why), "the runtime speaks version %u, not %u",
                 (unsigned)hello->version, FM_FRAME_VERSION);
        fault(in, FM_NOT_STARTED, "Unavailable", why);
        return;
    }
    if (hello->error.len > 0) {
        snprintf(why, sizeof(why), "%.*s", (int)BT_MIN(hello->error.len, sizeof(why) - 1),
                 (const char *)hello->error.ptr);
        fault(in, FM_NOT_STARTED, "Unavailable", why);
        return;
    }
    bt_log(BT_LOG_INFO, "FUNC-READY", "instance ready",
           "instance=%s pid=%d runtime=\"%.*s\"", in->name, (int)in->pid,
           (int)BT_MIN(hello->runtime.len, 64), (const char *)hello->runtime.ptr);
    bt_timer_stop(loop_of(in), &in->timer);
    in->in.max = in->opts.max_message;
    set_state(in, FM_READY);
    owner->ready(owner->arg, in);
}

/* A status name as gRPC has them; anything else a runtime sends is Unknown. */
static void code_of(const struct fm_reply *reply, char out[MAX_TYPE])
{
    size_t n = reply->error_type.len;

    snprintf(out, MAX_TYPE, "Unknown");
    if (n == 0 || n >= MAX_TYPE)
        return;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = reply->error_type.ptr[i] | 0x20;

        if (c < 'a' || c > 'z')
            return;
    }
    memcpy(out, reply->error_type.ptr, n);
    out[n] = '\0';
}

static void answer(struct fm_instance *in, struct fm_call *call,
                   const struct fm_result *result)
{
    const struct fm_instance_owner *owner = in->opts.owner;

    bt_list_remove(&call->link);
    call->in = NULL;
    in->n_calls--;
    in->n_begun--;
    in->served++;
    begin_calls(in);
    if (in->n_calls == 0)
        set_state(in, FM_READY);
    owner->answered(owner->arg, in, call, result);
}

static void answer_error(struct fm_instance *in, struct fm_call *call,
                         const struct fm_reply *reply)
{
    struct fm_result result = { .outcome = FM_FAILED, .type = FM_STATUS_ERROR };
    struct bt_buf text = { 0 };
    char code[MAX_TYPE];

    code_of(reply, code);
    result.message = "rpc error: code = Unknown desc = (out of memory)";
    if (bt_buf_printf(&text, "rpc error: code = %s desc = %.*s", code,
                      (int)BT_MIN(reply->error_message.len, MAX_ERROR_TEXT),
                      (const char *)reply->error_message.ptr) == 0)
        result.message = (const char *)text.data;
    answer(in, call, &result);
    bt_buf_deinit(&text);
}

/* Only a call that runs, and that was written to its end, can be answered. */
static struct fm_call *find_call(struct fm_instance *in, uint64_t id)
{
    struct bt_list *it;

    bt_list_for_each (it, &in->calls) {
        struct fm_call *call = bt_list_entry(it, struct fm_call, link);

        if (!call->begun)
            break;
        if (call->id == id)
            return call->end <= in->wrote ? call : NULL;
    }
    return NULL;
}

static void got_reply(struct fm_instance *in, const struct fm_reply *reply)
{
    struct fm_result result = { .outcome = FM_OK, .payload = reply->payload };
    struct fm_call *call = find_call(in, reply->id);

    if (call == NULL)
        bad_frame(in);
    else if (reply->failed)
        answer_error(in, call, reply);
    else
        answer(in, call, &result);
}

static void got_frame(struct fm_instance *in, const struct fm_frame *frame)
{
    if (frame->kind == FM_LOG)
        fm_output_log(&in->output, frame->log.level, frame->log.text);
    else if (frame->kind == FM_HELLO && in->state == FM_STARTING)
        got_hello(in, &frame->hello);
    else if (frame->kind == FM_REPLY && in->state == FM_BUSY)
        got_reply(in, &frame->reply);
    else
        bad_frame(in);
}

/* Frames of one read are handled until the instance stops. */
static void read_frames(struct fm_instance *in)
{
    uint64_t served = in->served, since = in->progress_us;
    struct fm_frame frame;
    int r = 0;

    while (r == 0 && in->state != FM_STOPPING) {
        r = fm_frame_in_next(&in->in, &frame);
        if (r == 0)
            got_frame(in, &frame);
        else if (r == BT_ELIMIT && in->state == FM_BUSY)
            reply_too_large(in, in->in.oversize);
        else if (r != FM_FRAME_MORE)
            bad_frame(in);
    }
    if (in->served > served)
        measure(in, since, in->served - served);
}

/* False when there is no more for now, or the instance is being stopped. */
static bool read_some(struct fm_instance *in)
{
    ssize_t n = read(in->reply_fd, in->opts.env->chunk, FM_READ_CHUNK);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0)
        closed_by_child(in);
    else if (fm_frame_in_feed(&in->in, in->opts.env->chunk, (size_t)n) != 0)
        bad_frame(in);
    else
        read_frames(in);
    return in->state != FM_STOPPING;
}

static void on_reply(struct bt_io *io, unsigned events)
{
    (void)events;
    (void)read_some(bt_container_of(io, struct fm_instance, reply_io));
}

/* ---- Frames out ---- */

/* False when the pipe is broken. */
static bool write_some(struct fm_instance *in)
{
    while (in->out_off < in->out.len) {
        ssize_t n =
            write(in->call_fd, in->out.data + in->out_off, in->out.len - in->out_off);

        if (n >= 0) {
            in->out_off += (size_t)n;
            in->wrote += (uint64_t)n;
        } else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            return false;
    }
    /* A pipe that is always full must not make the buffer grow for ever. */
    if (in->out_off == in->out.len || in->out_off >= FM_UNSENT_BYTES) {
        bt_buf_consume(&in->out, in->out_off);
        in->out_off = 0;
        if (in->out.len == 0 && in->out.cap > 2 * FM_UNSENT_BYTES)
            bt_buf_deinit(&in->out);
    }
    bt_io_set(loop_of(in), &in->call_io, in->out.len > 0 ? BT_WRITE : 0);
    return true;
}

static void on_writable(struct bt_io *io, unsigned events)
{
    struct fm_instance *in = bt_container_of(io, struct fm_instance, call_io);
    const struct fm_instance_owner *owner = in->opts.owner;

    (void)events;
    if (!write_some(in))
        closed_by_child(in);
    else if (in->state == FM_BUSY)
        owner->room(owner->arg, in);
}

/* A broken pipe is found again by on_writable: no callback from inside a flush. */
void fm_instances_flush(const struct fm_env *env)
{
    struct bt_list *node;

    while ((node = bt_list_first(env->unsent)) != NULL) {
        struct fm_instance *in = bt_list_entry(node, struct fm_instance, unsent);

        bt_list_remove(node);
        if (!write_some(in))
            bt_io_set(loop_of(in), &in->call_io, BT_WRITE);
    }
}

/* Frames have been added to out. */
static void queue_output(struct fm_instance *in, size_t old_len)
{
    in->queued += in->out.len - old_len;
    if (!bt_list_linked(&in->unsent))
        bt_list_push_back(in->opts.env->unsent, &in->unsent);
}

static struct bt_slice slice_of(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

static int send_hello(struct fm_instance *in)
{
    struct fm_frame frame = { .kind = FM_HELLO };

    frame.hello.version = FM_FRAME_VERSION;
    frame.hello.max_message = in->opts.max_message;
    frame.hello.concurrency = in->opts.concurrency;
    frame.hello.function = slice_of(in->opts.function);
    frame.hello.handler = slice_of(in->opts.handler);
    frame.hello.codedir = slice_of(in->opts.codedir);
    return fm_frame_encode(&frame, FM_FRAME_MAX_HELLO, &in->out, NULL);
}

int fm_instance_call(struct fm_instance *in, struct fm_call *call, size_t *len)
{
    struct fm_frame frame = { .kind = FM_CALL };
    size_t old_len = in->out.len;
    int r;

    assert(in->state == FM_READY || in->state == FM_BUSY);
    frame.call.id = in->call_id + 1;
    frame.call.message = call->message;
    r = fm_frame_encode(&frame, in->opts.max_message, &in->out, len);
    if (r != 0)
        return r;
    queue_output(in, old_len);
    call->id = ++in->call_id;
    call->end = in->queued;
    call->in = in;
    call->begun = false;
    bt_list_push_back(&in->calls, &call->link);
    if (in->n_calls++ == 0) {
        set_state(in, FM_BUSY);
        in->progress_us = bt_loop_us(loop_of(in));
    }
    if (in->first_ahead == &in->calls)
        in->first_ahead = &call->link;
    begin_calls(in);
    return 0;
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
    if (bt_buf_printf(&name, "%s.%u", opts->function, opts->number) == 0)
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
    bt_timer_stop(loop_of(in), &in->timer);
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

    bt_timer_stop(loop_of(in), &in->timer);
    set_state(in, FM_DEAD);
    owner->gone(owner->arg, in);
}

/* The end of a launch that was pending. The process waits for our hello, so it runs
 * nothing of the function before it is registered. */
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
        bt_io_set(loop_of(in), &in->call_io, BT_WRITE);
        return;
    }
    if (in->state != FM_STOPPING)
        fault(in, FM_NOT_STARTED, "Unavailable", why);
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
    bt_io_init(&in->call_io, in->call_fd, on_writable);
    bt_io_init(&in->reply_io, in->reply_fd, on_reply);
    bt_io_start(loop_of(in), &in->call_io, BT_WRITE);
    if (in->launch.pending)
        bt_io_set(loop_of(in), &in->call_io, 0);
    in->queued = in->out.len;
    bt_io_start(loop_of(in), &in->reply_io, BT_READ);
    fm_output_start(&in->output, loop_of(in), in->name, in->opts.env->chunk,
                    process->output_fd);
    bt_timer_start(loop_of(in), &in->timer, (uint64_t)in->opts.timeout, 0);
}

int fm_instance_start(struct fm_instance *in)
{
    struct fm_process process;
    int r = send_hello(in);

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
    for (int i = 0; i < 16 && in->state != FM_STOPPING && read_some(in); i++)
        ;
    if (in->state != FM_STOPPING)
        closed_by_child(in);
    gone(in);
}
