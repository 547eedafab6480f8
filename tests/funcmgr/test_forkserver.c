/* Templates that are not processes: the test has the other end of the socket. */
#include "funcmgr/process/forkserver.c"

#include "tests/harness.h"

static struct {
    int programs, expected, spawned, failed, adopted, gone;
    int last_signal;
    pid_t pid;
    char why[MAX_WHY];
} saw;
static uint8_t chunk[FM_READ_CHUNK];
static struct fm_env env = { .chunk = chunk };
static struct fm_fork server;
static struct fm_template *made;
static struct fm_launch launches[4];
static int other = -1; /* the template's end */
static bool program_fails;

/* ---- What it stands on ---- */

void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t))
{
    t->fn = fn;
}
void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after,
                    uint64_t repeat)
{
    (void)l;
    (void)repeat;
    t->priv_[0] = after + 1;
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
void bt_io_stop(struct bt_loop *l, struct bt_io *io)
{
    (void)l;
    io->priv_[1] = 0;
}
void fm_output_start(struct fm_output *o, struct bt_loop *loop, const char *name,
                     uint8_t *data, int fd)
{
    (void)loop;
    (void)name;
    (void)data;
    o->fd = fd;
}
void fm_output_close(struct fm_output *o)
{
    close(o->fd);
}
void fm_output_log(struct fm_output *o, uint32_t level, struct bt_slice said)
{
    (void)o;
    CHECK_INT(level, 2);
    snprintf(saw.why, sizeof(saw.why), "%.*s", (int)said.len, (const char *)said.ptr);
}
void fm_cell_free(struct fm_cell *cell)
{
    CHECK(cell == NULL);
}
int bt_child_adopt_orphans(void)
{
    return 0;
}
void bt_child_expect(int change)
{
    saw.expected += change;
}
void bt_child_kill(pid_t pid, bool group, int signum)
{
    CHECK(pid == 500 && group);
    saw.last_signal = signum;
}
int fm_launch_program(struct fm_launch *l, pid_t *pid)
{
    if (program_fails)
        return BT_EIO;
    CHECK_STR(l->name, "f.template");
    if (other >= 0)
        close(other);
    other = dup(l->call_fd);
    CHECK(other >= 0 && l->call_fd == l->reply_fd);
    made = bt_container_of(l->on_exit, struct fm_template, exit);
    saw.programs++;
    *pid = 500;
    return 0;
}
static void ended(struct fm_launch *l)
{
    CHECK(l->pending);
    bt_list_remove(&l->link);
    l->pending = false;
}
void fm_launch_spawn(struct fm_launch *l)
{
    ended(l);
    saw.spawned += !l->cancelled;
}
void fm_launch_fail(struct fm_launch *l, int r, const char *why)
{
    ended(l);
    CHECK(r < 0);
    saw.failed++;
    snprintf(saw.why, sizeof(saw.why), "%s", why);
}
void fm_launch_adopt(struct fm_launch *l, pid_t pid)
{
    ended(l);
    saw.adopted++;
    saw.pid = pid;
    bt_child_expect(-1);
}

/* ---- The template ---- */

static void turn(void)
{
    if (made->io.priv_[1] != 0)
        made->io.fn(&made->io, BT_READ);
}
static void say(const char *packet)
{
    CHECK(send(other, packet, strlen(packet), 0) == (ssize_t)strlen(packet));
    turn();
}
static void say_frame(const struct fm_frame *frame)
{
    struct bt_buf out = { 0 };

    CHECK_INT(fm_frame_encode(frame, FM_FRAME_MAX_HELLO, &out, NULL), 0);
    CHECK(send(other, out.data, out.len, 0) == (ssize_t)out.len);
    bt_buf_deinit(&out);
    turn();
}
static void hello(const char *error, const char *cannot)
{
    struct fm_frame f = { .kind = FM_HELLO };

    f.hello.version = FM_FRAME_VERSION;
    f.hello.error = bt_slice_of(error);
    f.hello.cannot_fork = bt_slice_of(cannot);
    say_frame(&f);
}
/* The name in the next packet, "" when there is none; its descriptors are counted. */
static const char *asked(void)
{
    static char name[64];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int) * N_FDS)];
    } control;
    struct iovec iov = { name, sizeof(name) - 1 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.space,
                          .msg_controllen = sizeof(control.space) };
    ssize_t n = recvmsg(other, &msg, MSG_DONTWAIT);
    int fds[N_FDS];

    name[n > 0 ? n : 0] = '\0';
    if (n <= 0)
        return name;
    CHECK(CMSG_FIRSTHDR(&msg)->cmsg_len == CMSG_LEN(sizeof(fds)));
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fds));
    for (int i = 0; i < N_FDS; i++)
        CHECK_INT(close(fds[i]), 0);
    return name;
}
static void skip_hello(void)
{
    char data[512];

    CHECK(recv(other, data, sizeof(data), MSG_DONTWAIT) > 0);
}
static void exited(void)
{
    fm_fork_exited(&made->exit.msg);
}

/* ---- A test ---- */

static void on_gone(void *arg)
{
    (void)arg;
    saw.gone++;
}
static struct fm_instance_opts options(void)
{
    return (struct fm_instance_opts){ .env = &env,
                                      .function = "f",
                                      .handler = "index.handler",
                                      .codedir = "f",
                                      .max_message = 4096,
                                      .timeout = 1000 };
}
static void begin_test(void)
{
    struct fm_instance_opts opts = options();

    memset(&saw, 0, sizeof(saw));
    memset(launches, 0, sizeof(launches));
    program_fails = false;
    fm_fork_init(&server, &opts, true);
    server.gone = on_gone;
}
static bool launch(unsigned i)
{
    static const char *const names[] = { "f.1", "f.2", "f.3", "f.4" };
    struct fm_launch *l = &launches[i];

    *l = (struct fm_launch){ .name = names[i] };
    l->call_fd = l->reply_fd = l->output_fd = 0;
    l->pending = fm_fork_launch(&server, l);
    return l->pending;
}
static void ready(void)
{
    skip_hello();
    hello("", "");
}
static void end(void)
{
    CHECK_INT(saw.expected, 0);
    CHECK(bt_list_empty(&server.waiting));
    fm_fork_close(&server);
    if (fm_fork_has_process(&server)) {
        exited();
        CHECK_INT(saw.gone, 1);
    }
    fm_fork_deinit(&server);
    close(other);
    other = -1;
}

/* Works. */

TEST(one_request_at_a_time)
{
    begin_test();
    CHECK(launch(0) && launch(1) && saw.programs == 1);
    skip_hello();
    CHECK_STR(asked(), "");
    hello("", "");
    CHECK_STR(asked(), "f.1");
    CHECK_STR(asked(), "");
    CHECK_INT(made->timer.priv_[0], FM_START_MS / 2 + 1);
    CHECK_INT(saw.expected, 1);
    say("P77");
    CHECK(saw.adopted == 1 && saw.pid == 77);
    CHECK_STR(asked(), "f.2");
    say("P78");
    CHECK(saw.adopted == 2 && saw.pid == 78);
    CHECK(launch(2) && saw.programs == 1);
    CHECK_STR(asked(), "f.3");
    say("P79");
    end();
}

TEST(what_it_reports_is_logged)
{
    struct fm_frame f = { .kind = FM_LOG };

    begin_test();
    CHECK(launch(0));
    f.log.level = 2;
    f.log.text = bt_slice_of("words");
    say_frame(&f);
    CHECK_STR(saw.why, "words");
    ready();
    say("P77");
    end();
}

TEST(rest_and_renewal)
{
    struct fm_instance_opts opts = options();

    begin_test();
    CHECK(launch(0));
    fm_fork_rest(&server); /* not while a launch waits */
    CHECK(server.current != NULL);
    ready();
    fm_fork_renew(&server, &opts, true); /* after the answer */
    CHECK(server.current == NULL && saw.last_signal == 0);
    say("P77");
    CHECK(saw.adopted == 1 && saw.last_signal == SIGTERM);
    exited();
    CHECK(launch(0) && saw.programs == 2);
    ready();
    say("P78");
    fm_fork_rest(&server);
    CHECK(server.current == NULL);
    exited();
    CHECK(!fm_fork_has_process(&server));
    end();
}

TEST(cancelled_launches_are_not_sent)
{
    begin_test();
    CHECK(launch(0) && launch(1));
    launches[0].cancelled = true;
    fm_fork_cancelled(&server);
    ready();
    CHECK_STR(asked(), "f.2");
    CHECK(server.cancel_timer.priv_[0] != 0 && saw.failed == 0);
    server.cancel_timer.fn(&server.cancel_timer);
    CHECK_INT(saw.failed, 1);
    say("P77");
    end();
}

/* Fails. */

TEST(code_that_cannot_be_forked)
{
    struct fm_instance_opts opts = options();

    begin_test();
    CHECK(launch(0) && launch(1));
    hello("", "a thread runs");
    CHECK(saw.spawned == 2 && saw.last_signal == SIGTERM);
    exited();
    CHECK(!launch(0) && saw.programs == 1);
    fm_fork_renew(&server, &opts, true);
    CHECK(launch(0) && saw.programs == 2);
    ready();
    say("Na thread runs by now");
    CHECK_INT(saw.spawned, 3);
    end();
}

TEST(code_that_cannot_be_loaded)
{
    begin_test();
    CHECK(launch(0) && launch(1));
    hello("SyntaxError", "");
    CHECK(saw.failed == 2 && saw.spawned == 0);
    CHECK_STR(saw.why, "SyntaxError");
    exited();
    CHECK(launch(0) && saw.programs == 2);
    ready();
    say("P77");
    end();
}

TEST(template_that_ends)
{
    begin_test();
    CHECK(launch(0) && launch(1));
    ready();
    close(other);
    other = -1;
    turn();
    CHECK(saw.spawned == 2 && saw.expected == 0);
    exited();
    end();
}

TEST(template_that_is_late)
{
    begin_test();
    CHECK(launch(0));
    CHECK(made->timer.priv_[0] == FM_START_MS + 1);
    made->timer.fn(&made->timer);
    CHECK(saw.spawned == 1 && saw.last_signal == SIGTERM);
    made->timer.fn(&made->timer);
    CHECK_INT(saw.last_signal, SIGKILL);
    exited();
    end();
}

TEST(template_that_is_late_at_the_end)
{
    begin_test();
    CHECK(launch(0));
    ready();
    launches[0].cancelled = true;
    fm_fork_cancelled(&server);
    fm_fork_close(&server);
    CHECK(made->state == READY && made->timer.priv_[0] == FM_TERM_MS + 1);
    made->timer.fn(&made->timer);
    CHECK(saw.spawned == 0 && !launches[0].pending && saw.last_signal == SIGTERM);
    end();
}

TEST(templates_that_never_forked)
{
    begin_test();
    for (unsigned i = 0; i < FM_FORK_TRIES; i++) {
        CHECK(launch(0));
        exited();
    }
    CHECK(!launch(0) && saw.spawned == (int)FM_FORK_TRIES);
    end();
}

TEST(invalid_answers)
{
    static const char *const answers[] = { "Px", "P", "P1", "P-5", "P7 ", "Q", "Eno" };

    begin_test();
    for (unsigned i = 0; i < BT_ARRAY_LEN(answers); i++) {
        server.n_failed = 0;
        CHECK(launch(0));
        ready();
        say(answers[i]);
        CHECK_INT(saw.spawned, i + 1);
        exited();
    }
    CHECK_INT(saw.adopted, 0);
    CHECK(launch(0));
    ready();
    say("P77");
    say("P78"); /* not due */
    CHECK(saw.adopted == 1 && server.current == NULL);
    exited();
    end();
}

TEST(program_that_cannot_be_started)
{
    begin_test();
    program_fails = true;
    CHECK(!launch(0) && !fm_fork_has_process(&server));
    server.wanted = false;
    program_fails = false;
    CHECK(!launch(0) && saw.programs == 0);
    end();
}
