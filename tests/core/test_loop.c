#include "core/loop.c"

#include <sys/resource.h>

#include "core/log.h"
#include "core/mbox.h"
#include "tests/harness.h"

static struct bt_loop *loop;
static char order[32];
static int fds[2];

static void note(char c)
{
    size_t n = strlen(order);

    if (n + 1 < sizeof(order)) {
        order[n] = c;
        order[n + 1] = '\0';
    }
}

static void begin(void)
{
    order[0] = '\0';
    loop = bt_loop_new("a name that is too long", false);
    CHECK(loop != NULL);
    CHECK_INT(bt_sys_pipe(fds), 0);
}

static void end(void)
{
    close(fds[0]);
    close(fds[1]);
    bt_loop_free(loop);
}

static void on_read(struct bt_io *io, unsigned events)
{
    char c;

    note(events == BT_READ && read(bt_io_fd(io), &c, 1) == 1 ? 'r' : '?');
    bt_io_stop(loop, io);
}

static void on_msg(void *arg, struct bt_msg *msg)
{
    (void)arg;
    (void)msg;
    note('m');
}

static void on_flush(void *arg)
{
    (void)arg;
    note('p');
    if (strchr(order, 'r') != NULL)
        bt_loop_stop(loop);
}

/* Works. */

TEST(messages_come_before_descriptors_and_the_flush_last)
{
    struct bt_io io = { 0 };
    struct bt_msg msg = { 0 };
    struct bt_mbox *box;

    begin();
    box = bt_mbox_new(loop, on_msg, NULL);
    bt_loop_on_prepare(loop, on_flush, NULL);
    bt_io_init(&io, fds[0], on_read);
    bt_io_start(loop, &io, BT_READ);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(bt_mbox_post(box, &msg), 0);
    bt_loop_run(loop);
    CHECK_STR(order, "pmrp");
    bt_mbox_free(box);
    end();
}

static struct bt_timer first, second;

static void on_first(struct bt_timer *t)
{
    note('1');
    CHECK(t == &first);
}

static void on_second(struct bt_timer *t)
{
    note('2');
    CHECK(bt_timer_active(t));
    if (strlen(order) >= 4) {
        bt_timer_stop(loop, t);
        bt_loop_stop(loop);
    }
}

TEST(timers_fire_once_or_repeat)
{
    uint64_t before;

    begin();
    before = bt_clock_ms();
    bt_timer_init(&first, on_first);
    bt_timer_init(&second, on_second);
    CHECK(!bt_timer_active(&first));
    bt_timer_start(loop, &second, 5, 2);
    bt_timer_start(loop, &first, 1000000, 0);
    bt_timer_start(loop, &first, 1, 0);
    bt_loop_run(loop);
    CHECK_STR(order, "1222");
    CHECK(!bt_timer_active(&first) && !bt_timer_active(&second));
    CHECK(bt_loop_ms(loop) >= before + 5 && bt_loop_us(loop) / 1000 == bt_loop_ms(loop));
    end();
}

TEST(pausing_a_descriptor)
{
    struct bt_io io = { 0 };

    begin();
    bt_io_init(&io, fds[0], on_read);
    bt_io_start(loop, &io, 0);
    bt_io_set(loop, &io, BT_READ);
    bt_io_set(loop, &io, BT_READ);
    CHECK_INT(write(fds[1], "x", 1), 1);
    bt_io_set(loop, &io, 0);
    bt_timer_init(&second, on_second);
    strcpy(order, "...");
    bt_timer_start(loop, &second, 1, 1);
    bt_loop_run(loop);
    CHECK_STR(order, "...2");
    bt_io_stop(loop, &io);
    bt_io_stop(loop, &io);
    end();
}

/* How many of the process's epoll sets hold the descriptor; -1: the system does not say.
 */
static int sets_with(int fd)
{
    char path[64], line[256];
    int n = 0, seen = 0, other;

    for (int i = 0; i < 64; i++) {
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", i);
        f = fopen(path, "r");
        for (seen += f != NULL; f != NULL && fgets(line, sizeof(line), f) != NULL;)
            n += sscanf(line, "tfd: %d", &other) == 1 && other == fd;
        if (f != NULL)
            fclose(f);
    }
    return seen == 0 ? -1 : n;
}

static void on_leave(struct bt_io *io, unsigned events)
{
    (void)events;
    note('l');
    bt_io_leave(loop, io);
    bt_loop_stop(loop);
}

TEST(a_descriptor_that_leaves_is_in_no_set)
{
    struct bt_io io = { 0 };

    begin();
    bt_io_init(&io, fds[0], on_leave);
    bt_io_start(loop, &io, BT_READ);
    CHECK_INT(write(fds[1], "x", 1), 1);
    bt_loop_run(loop);
    CHECK(strchr(order, 'l') != NULL);
    CHECK(sets_with(fds[0]) <= 0);
    /* And it can come back. */
    bt_io_init(&io, fds[0], on_read);
    bt_io_start(loop, &io, BT_READ);
    bt_loop_on_prepare(loop, on_flush, NULL);
    bt_loop_run(loop);
    CHECK(strchr(order, 'r') != NULL);
    end();
}

static uint64_t seen_busy;

static void look_busy(struct bt_timer *t)
{
    (void)t;
    seen_busy = bt_loop_busy_since(loop);
    bt_loop_stop(loop);
}

TEST(busy_in_a_turn_parked_outside)
{
    begin();
    CHECK(bt_loop_busy_since(loop) == UINT64_MAX);
    bt_timer_init(&first, look_busy);
    bt_timer_start(loop, &first, 0, 0);
    bt_loop_run(loop);
    CHECK(seen_busy != UINT64_MAX && bt_clock_ms() - seen_busy < 5000);
    CHECK(bt_loop_busy_since(loop) == UINT64_MAX);
    CHECK_STR(bt_loop_name(loop), "a name that is ");
    end();
}

TEST(a_stop_before_the_run_counts)
{
    begin();
    bt_loop_stop(loop);
    bt_loop_run(loop);
    end();
}

static void on_usr1(struct bt_signal *s, int signum)
{
    note(signum == SIGUSR1 ? 's' : '?');
    bt_signal_stop(loop, s);
    bt_loop_stop(loop);
}

TEST(signals_come_on_the_loop)
{
    struct bt_signal s = { 0 };

    order[0] = '\0';
    loop = bt_loop_new("main", true);
    CHECK(loop != NULL);
    bt_signal_start(loop, &s, SIGUSR1, on_usr1);
    raise(SIGUSR1);
    CHECK_STR(order, "");
    bt_loop_run(loop);
    CHECK_STR(order, "s");
    bt_loop_free(loop);
}

/* Fails. */

TEST(no_memory_or_no_descriptors)
{
    struct rlimit before, none;
    struct bt_loop *l;

    bt_mem_fail_from(1);
    l = bt_loop_new("x", false);
    bt_mem_fail_from(0);
    CHECK(l == NULL);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    bt_log_set_level(BT_LOG_ERROR);
    l = bt_loop_new("x", false);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK(l == NULL);
    bt_loop_free(NULL);
}
