/* The conversation with a process that is not there: the test holds its ends of the pipes
 * and moves the clock. */
#include "funcmgr/process/instance.c"
#include "funcmgr/process/instance_talk.c"

#include <fcntl.h>

#include "tests/harness.h"

static uint64_t now_ms, now_us;
static int child_calls, child_replies; /* what the process would have as 3 and 4 */
static int last_signal;
static bool launch_later;
static struct bt_list unsent;
static uint8_t chunk[FM_READ_CHUNK];
static struct fm_env env = { .unsent = &unsent, .chunk = chunk };
static struct fm_instance *in;

static struct {
    int ready, answered, room, failed, lost, gone;
    uint64_t order[256]; /* ids, as they were answered */
    enum fm_outcome outcome;
    char text[300];
} saw;

/* ---- What an instance stands on ---- */

uint64_t bt_loop_ms(const struct bt_loop *l)
{
    (void)l;
    return now_ms;
}
uint64_t bt_loop_us(const struct bt_loop *l)
{
    (void)l;
    return now_us;
}
void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t))
{
    t->fn = fn;
}
void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after,
                    uint64_t repeat)
{
    (void)l;
    (void)repeat;
    t->priv_[0] = now_ms + after + 1;
}
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    (void)l;
    t->priv_[0] = 0;
}
void bt_io_init(struct bt_io *io, int fd, void (*fn)(struct bt_io *io, unsigned events))
{
    io->fn = fn;
    io->priv_[0] = (uint64_t)fd;
}
void bt_io_start(struct bt_loop *l, struct bt_io *io, unsigned events)
{
    (void)l;
    io->priv_[1] = events;
}
void bt_io_set(struct bt_loop *l, struct bt_io *io, unsigned events)
{
    (void)l;
    io->priv_[1] = events;
}
void bt_io_stop(struct bt_loop *l, struct bt_io *io)
{
    (void)l;
    io->priv_[1] = 0;
}
void bt_child_kill(pid_t pid, bool group, int signum)
{
    if (pid == 0)
        return; /* not launched yet: nobody has this id */
    CHECK(pid == 77 && group);
    last_signal = signum;
}
void fm_launch_cancel(struct fm_launch *l)
{
    l->cancelled = l->pending;
}
static void open_pipe(int *read_end, int *write_end)
{
    int fds[2];

    CHECK_INT(pipe(fds), 0);
    CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0 &&
          fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
    *read_end = fds[0];
    *write_end = fds[1];
}
int fm_launch(struct fm_launch *l, struct fm_process *out)
{
    CHECK_STR(l->name, "f.3");
    CHECK_INT(l->on_exit->msg.kind, FM_MSG_EXIT);
    l->pending = launch_later;
    *out = (struct fm_process){ .pid = launch_later ? 0 : 77, .output_fd = -1 };
    open_pipe(&child_calls, &out->call_fd);
    open_pipe(&out->reply_fd, &child_replies);
    return 0;
}

/* ---- The owner ---- */

static void on_ready(void *arg, struct fm_instance *i)
{
    (void)arg;
    CHECK(i == in && i->state == FM_READY);
    saw.ready++;
}
static void on_answered(void *arg, struct fm_instance *i, struct fm_call *call,
                        const struct fm_result *result)
{
    (void)arg;
    CHECK(i == in && call->in == NULL && !bt_list_linked(&call->link));
    saw.order[saw.answered++] = call->id;
    saw.outcome = result->outcome;
    snprintf(saw.text, sizeof(saw.text), "%.*s",
             result->outcome == FM_OK ? (int)result->payload.len : 299,
             result->outcome == FM_OK ? (const char *)result->payload.ptr
                                      : result->message);
}
static void on_room(void *arg, struct fm_instance *i)
{
    (void)arg;
    CHECK(i == in);
    saw.room++;
}
static void on_failed(void *arg, struct fm_instance *i, const char *why)
{
    (void)arg;
    CHECK(i == in && i->state == FM_STOPPING);
    saw.failed++;
    snprintf(saw.text, sizeof(saw.text), "%s", why);
}
static void on_lost(void *arg, struct fm_instance *i, const struct fm_result *result)
{
    (void)arg;
    CHECK(i == in && i->state == FM_STOPPING);
    saw.lost++;
    saw.outcome = result->outcome;
    snprintf(saw.text, sizeof(saw.text), "%s", result->message);
}
static void on_gone(void *arg, struct fm_instance *i)
{
    (void)arg;
    CHECK(i == in && i->state == FM_DEAD);
    saw.gone++;
}
static const struct fm_instance_owner owner = { NULL,      on_ready, on_answered, on_room,
                                                on_failed, on_lost,  on_gone };

/* ---- The process ---- */

static struct bt_slice text(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}
static void turn(void)
{
    fm_instances_flush(&env);
    if (in->reply_io.priv_[1] != 0)
        in->reply_io.fn(&in->reply_io, BT_READ);
}
static void write_bytes(const void *data, size_t len)
{
    CHECK_INT(write(child_replies, data, len), len);
}
static void say(const struct fm_frame *frame)
{
    struct bt_buf out = { 0 };

    CHECK_INT(fm_frame_encode(frame, FM_FRAME_MAX_HELLO, &out, NULL), 0);
    write_bytes(out.data, out.len);
    bt_buf_deinit(&out);
}
static void hello(uint32_t version, const char *error)
{
    struct fm_frame f = { .kind = FM_HELLO };

    f.hello.version = version;
    f.hello.error = text(error);
    say(&f);
}
static void reply(uint64_t id, const char *payload)
{
    struct fm_frame f = { .kind = FM_REPLY };

    f.reply = (struct fm_reply){ .id = id, .payload = text(payload) };
    say(&f);
}
/* Calls that the process finds in its pipe. */
static unsigned read_calls(uint32_t *concurrency)
{
    static struct fm_frame_in frames;
    struct fm_frame f;
    uint8_t data[8192];
    ssize_t n;
    unsigned calls = 0;

    frames.max = 1 << 20;
    while ((n = read(child_calls, data, sizeof(data))) > 0)
        CHECK_INT(fm_frame_in_feed(&frames, data, (size_t)n), 0);
    while (fm_frame_in_next(&frames, &f) == 0) {
        if (f.kind == FM_HELLO)
            *concurrency = f.hello.concurrency;
        calls += f.kind == FM_CALL;
    }
    fm_frame_in_deinit(&frames);
    return calls;
}

/* ---- A test ---- */

static void begin_start(uint32_t concurrency)
{
    struct fm_instance_opts opts = {
        .env = &env,
        .owner = &owner,
        .number = 3,
        .function = "f",
        .handler = "index.handler",
        .codedir = "f",
        .max_message = 4096,
        .timeout = 1000,
        .concurrency = concurrency,
    };

    memset(&saw, 0, sizeof(saw));
    now_ms = 5000;
    now_us = 5000000;
    bt_list_init(&unsent);
    in = fm_instance_new(&opts);
    CHECK(in != NULL);
    CHECK_INT(fm_instance_start(in), 0);
}
static void prepare(uint32_t concurrency)
{
    begin_start(concurrency);
    hello(1, "");
    turn();
    CHECK(saw.ready == 1 && in->state == FM_READY);
}
static void end(void)
{
    fm_instance_stop(in);
    close(child_calls);
    close(child_replies);
    in->exit.pid = 77;
    fm_instance_exited(&in->exit.msg);
    while (in->n_calls > 0) {
        bt_list_remove(in->calls.next);
        in->n_calls--;
    }
    fm_instance_free(in);
}
static void call(struct fm_call *c, const char *payload)
{
    size_t len = 0;

    memset(c, 0, sizeof(*c));
    c->message.function = text("f");
    c->message.payload = text(payload);
    CHECK_INT(fm_instance_call(in, c, &len), 0);
}

/* ---- Works ---- */

TEST(one_call_after_the_other)
{
    struct fm_call c;
    uint32_t concurrency = 0;

    prepare(1);
    in->call_io.fn(&in->call_io, BT_WRITE);
    CHECK(read_calls(&concurrency) == 0 && concurrency == 1);
    for (uint64_t id = 1; id <= 3; id++) {
        call(&c, "in");
        CHECK(in->state == FM_BUSY && !fm_instance_free_slot(in));
        CHECK_INT(c.deadline, 6000);
        turn();
        CHECK_INT(read_calls(&concurrency), 1);
        reply(id, "out");
        turn();
        CHECK(saw.answered == (int)id && saw.outcome == FM_OK);
        CHECK_STR(saw.text, "out");
        CHECK(in->state == FM_READY);
    }
    end();
}

TEST(frames_of_a_turn_are_written_at_its_end)
{
    struct fm_call c[3];
    uint32_t concurrency;

    prepare(1);
    for (int i = 0; i < 3; i++)
        call(&c[i], "x");
    CHECK_INT(read_calls(&concurrency), 0);
    turn();
    CHECK_INT(read_calls(&concurrency), 3);
    end();
}

TEST(several_at_once_answered_in_any_order)
{
    struct fm_call c[4];
    uint32_t concurrency = 0;

    prepare(3);
    for (int i = 0; i < 4; i++)
        call(&c[i], "x");
    CHECK(c[2].begun && !c[3].begun && in->n_begun == 3);
    turn();
    CHECK(read_calls(&concurrency) == 4 && concurrency == 3);
    reply(3, "");
    reply(1, "");
    turn();
    CHECK(saw.answered == 2 && saw.order[0] == 3 && saw.order[1] == 1);
    CHECK(c[3].begun && in->n_calls == 2 && in->n_begun == 2);
    CHECK(fm_instance_free_slot(in));
    reply(4, "");
    reply(2, "");
    turn();
    CHECK(saw.answered == 4 && in->state == FM_READY && saw.lost == 0);
    end();
}

TEST(time_begins_when_a_call_begins_to_run)
{
    struct fm_call c[2];

    prepare(1);
    call(&c[0], "x");
    call(&c[1], "x");
    turn();
    CHECK(c[0].deadline == 6000 && c[1].deadline == 0);
    now_ms += 900;
    reply(1, "");
    turn();
    CHECK_INT(c[1].deadline, 6900);
    /* The timer still stands for the first call, finds nothing late and goes on. */
    now_ms += 100;
    on_timer(&in->timer);
    CHECK(saw.lost == 0 && in->wake_at == 6900);
    now_ms = 6900;
    on_timer(&in->timer);
    CHECK(saw.lost == 1 && saw.outcome == FM_TIMEOUT && last_signal == SIGTERM);
    CHECK_INT(in->n_calls, 1);
    end();
}

TEST(what_is_left_of_the_time_counts)
{
    struct fm_call c;
    size_t len;

    prepare(1);
    c = (struct fm_call){ .left = 250 };
    CHECK_INT(fm_instance_call(in, &c, &len), 0);
    CHECK_INT(c.deadline, 5250);
    end();
}

TEST(short_calls_may_be_queued)
{
    struct fm_call c[FM_AHEAD_CALLS + 2];

    prepare(1);
    call(&c[0], "x");
    turn();
    CHECK(!fm_instance_may_queue(in)); /* how long it takes is not known */
    now_us += 50;
    reply(1, "");
    turn();
    for (unsigned i = 0; i < FM_AHEAD_CALLS + 1; i++) {
        CHECK(i == 0 || fm_instance_may_queue(in));
        call(&c[i], "x");
    }
    CHECK(in->n_calls == FM_AHEAD_CALLS + 1 && !fm_instance_may_queue(in));
    turn();
    now_us += 60;
    reply(2, "");
    turn();
    CHECK(fm_instance_may_queue(in));
    /* No progress for long: this call is not short. */
    now_us += FM_AHEAD_CALL_US;
    CHECK(!fm_instance_may_queue(in));
    /* And after its answer the instance has to show again that it is fast. */
    reply(3, "");
    turn();
    CHECK(in->service_us >= FM_AHEAD_CALL_US && !fm_instance_may_queue(in));
    end();
}

TEST(bytes_ahead_are_bounded)
{
    static char big[3000];
    struct fm_call c[40];
    unsigned n = 0;

    memset(big, 'x', sizeof(big) - 1);
    prepare(1);
    call(&c[0], "x");
    turn();
    reply(1, "");
    turn();
    call(&c[n++], big);
    while (n < BT_ARRAY_LEN(c) && fm_instance_may_queue(in))
        call(&c[n++], big);
    CHECK_INT(n, 1 + (FM_AHEAD_BYTES + 3000) / 3000 + 0);
    end();
}

TEST(full_pipe_is_written_later)
{
    static char big[4000];
    struct fm_call c[80];
    uint32_t concurrency;
    unsigned n = 0, got = 0;

    memset(big, 'x', sizeof(big) - 1);
    prepare(100);
    while (n < BT_ARRAY_LEN(c) && fm_instance_free_slot(in))
        call(&c[n++], big);
    CHECK(n < BT_ARRAY_LEN(c)); /* FM_UNSENT_BYTES */
    turn();
    CHECK(in->out.len > 0 && in->call_io.priv_[1] == BT_WRITE);
    /* A call that has not been written to its end cannot be answered. */
    CHECK(c[n - 1].end > in->wrote);
    while (in->call_io.priv_[1] == BT_WRITE) {
        got += read_calls(&concurrency) > 0;
        in->call_io.fn(&in->call_io, BT_WRITE);
    }
    CHECK(got > 0 && saw.room > 0 && in->out.len == 0);
    reply(n, "");
    turn();
    CHECK(saw.answered == 1 && saw.lost == 0);
    end();
}

TEST(error_of_the_handler)
{
    struct fm_frame f = { .kind = FM_REPLY };
    struct fm_call c;

    prepare(1);
    call(&c, "x");
    turn();
    f.reply = (struct fm_reply){ .id = 1, .failed = true, .error_message = text("no") };
    f.reply.error_type = text("not a code 1");
    say(&f);
    turn();
    CHECK(saw.answered == 1 && saw.outcome == FM_FAILED && in->state == FM_READY);
    CHECK_STR(saw.text, "rpc error: code = Unknown desc = no");
    end();
}

TEST(log_frames_are_limited_like_lines)
{
    struct fm_frame f = { .kind = FM_LOG };

    prepare(1);
    in->output.max_lines = 10;
    f.log = (struct fm_log_frame){ .level = 0, .text = text("words") };
    for (int i = 0; i < 15; i++)
        say(&f);
    turn();
    CHECK(in->output.held == 5 && in->state == FM_READY);
    end();
}

/* ---- Fails ---- */

static void start_fails_with(const char *why)
{
    turn();
    CHECK(saw.failed == 1 && saw.ready == 0 && last_signal == SIGTERM);
    CHECK_STR(saw.text, why);
    end();
}

TEST(hello_with_an_error)
{
    begin_start(1);
    hello(1, "ImportError: x");
    start_fails_with("ImportError: x");
}

TEST(hello_of_another_version)
{
    begin_start(1);
    hello(2, "");
    start_fails_with("the runtime speaks version 2, not 1");
}

TEST(end_before_the_hello)
{
    begin_start(1);
    close(child_replies);
    child_replies = -1;
    start_fails_with("the process ended before it was ready");
}

TEST(no_hello_in_time)
{
    begin_start(1);
    CHECK_INT(in->timer.priv_[0], now_ms + FM_START_MS + 1); /* more than the time-out */
    on_timer(&in->timer);
    start_fails_with("the instance was not ready in time");
}

static void two_calls_then(void (*what)(void), enum fm_outcome outcome, const char *why)
{
    struct fm_call c[2];

    prepare(2);
    call(&c[0], "x");
    call(&c[1], "x");
    turn();
    what();
    turn();
    CHECK(saw.lost == 1 && saw.outcome == outcome && last_signal == SIGTERM);
    CHECK_STR(saw.text, why);
    /* The owner finds them in order. */
    CHECK(in->n_calls == 2 && in->calls.next == &c[0].link);
    end();
}

#define INVALID "rpc error: code = Internal desc = the runtime sent an invalid frame"
#define CLOSED  "rpc error: code = Unavailable desc = transport is closing"

static void another_id(void)
{
    reply(3, "x");
}
static void second_hello(void)
{
    hello(1, "");
}
static void nonsense(void)
{
    write_bytes("nonsense", 8);
}
static void huge(void)
{
    write_bytes("\0\xff\xff\xff\xff", 5);
}
static void closes(void)
{
    close(child_replies);
    child_replies = -1;
}

TEST(reply_to_another_call)
{
    two_calls_then(another_id, FM_BROKEN, INVALID);
}
TEST(second_hello_is_an_error)
{
    two_calls_then(second_hello, FM_BROKEN, INVALID);
}
TEST(bytes_that_are_no_frame)
{
    two_calls_then(nonsense, FM_BROKEN, INVALID);
}
TEST(process_that_ends)
{
    two_calls_then(closes, FM_BROKEN, CLOSED);
}
TEST(length_beyond_the_limit_of_several_calls)
{
    two_calls_then(huge, FM_BROKEN,
                   "rpc error: code = ResourceExhausted desc = grpc: received message "
                   "larger than max (4294967295 vs. 4096)");
}

TEST(length_beyond_the_limit_of_one_call)
{
    struct fm_call c;

    prepare(1);
    call(&c, "x");
    turn();
    huge();
    turn();
    CHECK(saw.lost == 1 && saw.outcome == FM_TOO_LARGE);
    end();
}

TEST(reply_to_a_call_that_has_not_begun)
{
    struct fm_call c[2];

    prepare(1);
    call(&c[0], "x");
    call(&c[1], "x");
    turn();
    reply(2, "x");
    turn();
    CHECK(saw.lost == 1 && saw.answered == 0);
    CHECK_STR(saw.text, INVALID);
    end();
}

TEST(reply_twice)
{
    struct fm_call c[2];

    prepare(2);
    call(&c[0], "x");
    call(&c[1], "x");
    turn();
    reply(1, "x");
    reply(1, "x");
    turn();
    CHECK(saw.answered == 1 && saw.lost == 1 && in->n_calls == 1);
    end();
}

TEST(reply_just_before_the_end_is_taken)
{
    struct fm_call c;

    prepare(1);
    call(&c, "x");
    turn();
    reply(1, "last");
    close(child_replies);
    child_replies = -1;
    in->exit.pid = 77;
    fm_instance_exited(&in->exit.msg);
    CHECK(saw.answered == 1 && saw.lost == 1 && in->state == FM_DEAD);
    CHECK_STR(saw.text, CLOSED);
    close(child_calls);
    fm_instance_free(in);
}

TEST(closed_call_pipe_is_found)
{
    struct fm_call c;

    prepare(1);
    signal(SIGPIPE, SIG_IGN);
    call(&c, "x");
    turn();
    close(child_calls);
    in->queued = in->wrote;
    reply(1, "");
    turn();
    call(&c, "x");
    fm_instances_flush(&env);
    CHECK(saw.lost == 0 && in->call_io.priv_[1] == BT_WRITE);
    in->call_io.fn(&in->call_io, BT_WRITE);
    CHECK(saw.lost == 1);
    CHECK_STR(saw.text, CLOSED);
    child_calls = -1;
    end();
}

TEST(call_that_is_too_large_changes_nothing)
{
    static char big[5000];
    struct fm_call c = { 0 };
    size_t len = 0;

    memset(big, 'x', sizeof(big) - 1);
    prepare(1);
    c.message.payload = text(big);
    CHECK_INT(fm_instance_call(in, &c, &len), BT_ELIMIT);
    CHECK(len > 4999 && in->state == FM_READY && in->n_calls == 0);
    CHECK(!bt_list_linked(&in->unsent));
    end();
}

/* ---- Launched later, by a template ---- */

static void begin_later(void)
{
    launch_later = true;
    last_signal = 0;
    begin_start(1);
    launch_later = false;
    fm_instances_flush(&env);
}
static void launched(int r)
{
    in->launch.pending = false;
    in->launch.launched(&in->launch, r, r == 0 ? 77 : 0, "why");
}
static void end_later(void)
{
    close(child_calls);
    close(child_replies);
    fm_instance_free(in);
}

TEST(hello_waits_for_the_launch)
{
    begin_later();
    hello(1, "");
    turn();
    CHECK(in->pid == 0 && saw.ready == 0);
    now_ms += 7000;
    launched(0);
    CHECK(in->pid == 77);
    CHECK_INT(in->timer.priv_[0], now_ms + FM_START_MS + 1); /* it begins only now */
    turn();
    CHECK_INT(saw.ready, 1);
    end();
}

TEST(launch_that_fails)
{
    begin_later();
    launched(BT_EIO);
    CHECK(saw.failed == 1 && saw.gone == 1 && last_signal == 0);
    CHECK_STR(saw.text, "why");
    end_later();
}

TEST(stopped_before_it_was_launched)
{
    begin_later();
    fm_instance_stop(in);
    CHECK(in->launch.cancelled && saw.gone == 0);
    launched(BT_ECLOSED);
    CHECK(saw.failed == 0 && saw.gone == 1 && last_signal == 0);
    end_later();
    begin_later();
    fm_instance_stop(in);
    launched(0);
    CHECK(saw.gone == 0 && last_signal == SIGTERM);
    fm_instance_exited(&in->exit.msg);
    CHECK_INT(saw.gone, 1);
    end_later();
}
