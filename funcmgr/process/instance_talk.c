/* The conversation with a child process, see docs/frames.md.
 *
 * Happy path: write our hello, read the runtime's, be ready; then call frames out and
 * reply frames in. What a turn of the loop brings is encoded into one buffer and written
 * once, at the end of the turn; a read takes all replies that are there. The oldest
 * calls, as many as may run at once, are those that run: a reply makes the next one
 * begin, and its time passes from then on. Failure modes: whatever is wrong ends in
 * fm_instance_fault() (funcmgr/process/instance.c). */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "funcmgr/process/instance_priv.h"

/* Texts of one error. */
#define MAX_ERROR_TEXT ((size_t)4096)
#define MAX_TYPE       32

/* ---- The calls that run ---- */

static void wake_at(struct fm_instance *in, uint64_t at)
{
    uint64_t now = bt_loop_ms(fm_instance_loop(in));

    if (in->wake_at != 0 && in->wake_at <= at)
        return;
    in->wake_at = at;
    bt_timer_start(fm_instance_loop(in), &in->timer, at > now ? at - now : 0, 0);
}

/* The oldest calls that have not begun, as far as the runtime may run them. */
static void begin_calls(struct fm_instance *in)
{
    uint64_t now = bt_loop_ms(fm_instance_loop(in));

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

void fm_instance_look_for_late_calls(struct fm_instance *in)
{
    uint64_t now = bt_loop_ms(fm_instance_loop(in)), first = UINT64_MAX;
    struct bt_list *it;

    in->wake_at = 0;
    bt_list_for_each (it, &in->calls) {
        const struct fm_call *call = bt_list_entry(it, struct fm_call, link);

        if (!call->begun)
            break;
        first = BT_MIN(first, call->deadline);
    }
    if (first <= now)
        fm_instance_fault(in, FM_TIMEOUT, "DeadlineExceeded",
                          "context deadline exceeded");
    else if (first != UINT64_MAX)
        wake_at(in, first);
}

/* Fast up, slowly down: a function that was slow once gets nothing sent ahead for a
 * while. */
static void measure(struct fm_instance *in, uint64_t since, uint64_t n_replies)
{
    uint64_t now = bt_loop_us(fm_instance_loop(in));
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

/* ---- Frames in ---- */

static void bad_frame(struct fm_instance *in)
{
    fm_instance_fault(in, FM_BROKEN, "Internal", "the runtime sent an invalid frame");
}

static void reply_too_large(struct fm_instance *in, size_t len)
{
    char desc[96];

    snprintf(desc, sizeof(desc), "grpc: received message larger than max (%zu vs. %zu)",
             len, in->opts.max_message);
    /* Of several calls that run nobody knows whose it is. */
    fm_instance_fault(in, in->n_begun == 1 ? FM_TOO_LARGE : FM_BROKEN,
                      "ResourceExhausted", desc);
}

static void got_hello(struct fm_instance *in, const struct fm_hello *hello)
{
    const struct fm_instance_owner *owner = in->opts.owner;
    char why[1024];

    if (hello->version != FM_FRAME_VERSION) {
        snprintf(why, sizeof(why), "the runtime speaks version %u, not %u",
                 (unsigned)hello->version, FM_FRAME_VERSION);
        fm_instance_fault(in, FM_NOT_STARTED, "Unavailable", why);
        return;
    }
    if (hello->error.len > 0) {
        snprintf(why, sizeof(why), "%.*s", (int)BT_MIN(hello->error.len, sizeof(why) - 1),
                 (const char *)hello->error.ptr);
        fm_instance_fault(in, FM_NOT_STARTED, "Unavailable", why);
        return;
    }
    bt_log(BT_LOG_INFO, "FUNC-READY", "instance ready",
           "instance=%s pid=%d runtime=\"%.*s\"", in->name, (int)in->pid,
           (int)BT_MIN(hello->runtime.len, 64), (const char *)hello->runtime.ptr);
    bt_timer_stop(fm_instance_loop(in), &in->timer);
    in->in.max = in->opts.max_message;
    fm_instance_set_state(in, FM_READY);
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
        fm_instance_set_state(in, FM_READY);
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
bool fm_instance_read(struct fm_instance *in)
{
    ssize_t n = read(in->reply_fd, in->opts.env->chunk, FM_READ_CHUNK);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0)
        fm_instance_closed(in);
    else if (fm_frame_in_feed(&in->in, in->opts.env->chunk, (size_t)n) != 0)
        bad_frame(in);
    else
        read_frames(in);
    return in->state != FM_STOPPING;
}

void fm_instance_on_reply(struct bt_io *io, unsigned events)
{
    (void)events;
    (void)fm_instance_read(bt_container_of(io, struct fm_instance, reply_io));
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
    bt_io_set(fm_instance_loop(in), &in->call_io, in->out.len > 0 ? BT_WRITE : 0);
    return true;
}

void fm_instance_on_writable(struct bt_io *io, unsigned events)
{
    struct fm_instance *in = bt_container_of(io, struct fm_instance, call_io);
    const struct fm_instance_owner *owner = in->opts.owner;

    (void)events;
    if (!write_some(in))
        fm_instance_closed(in);
    else if (in->state == FM_BUSY)
        owner->room(owner->arg, in);
}

/* A broken pipe is found again by fm_instance_on_writable: no callback from inside a
 * flush. */
void fm_instances_flush(const struct fm_env *env)
{
    struct bt_list *node;

    while ((node = bt_list_first(env->unsent)) != NULL) {
        struct fm_instance *in = bt_list_entry(node, struct fm_instance, unsent);

        bt_list_remove(node);
        if (!write_some(in))
            bt_io_set(fm_instance_loop(in), &in->call_io, BT_WRITE);
    }
}

/* Frames have been added to out. */
static void queue_output(struct fm_instance *in, size_t old_len)
{
    in->queued += in->out.len - old_len;
    if (!bt_list_linked(&in->unsent))
        bt_list_push_back(in->opts.env->unsent, &in->unsent);
}

int fm_instance_send_hello(struct fm_instance *in)
{
    struct fm_frame frame = { .kind = FM_HELLO };

    frame.hello.version = FM_FRAME_VERSION;
    frame.hello.max_message = in->opts.max_message;
    frame.hello.concurrency = in->opts.concurrency;
    frame.hello.function = bt_slice_of(in->opts.function);
    frame.hello.handler = bt_slice_of(in->opts.handler);
    frame.hello.codedir = bt_slice_of(in->opts.codedir);
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
        fm_instance_set_state(in, FM_BUSY);
        in->progress_us = bt_loop_us(fm_instance_loop(in));
    }
    if (in->first_ahead == &in->calls)
        in->first_ahead = &call->link;
    begin_calls(in);
    return 0;
}
