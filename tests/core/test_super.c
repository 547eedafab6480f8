#include "core/super.c"

#include <stdlib.h>
#include <unistd.h>

#include "tests/harness.h"

static char calls[128];
static struct bt_super *super;
static int fail_create, fail_start; /* the module's digit */
static bool hang;

static void note(char what, char who)
{
    size_t n = strlen(calls);

    if (n + 3 < sizeof(calls)) {
        calls[n] = what;
        calls[n + 1] = who;
        calls[n + 2] = ' ';
        calls[n + 3] = '\0';
    }
}

static int create(const struct bt_module_env *env, void **out)
{
    const char *who = env->conf;

    note('c', *who);
    if (fail_create == *who)
        return BT_EIO;
    *out = bt_strdup(who);
    return *out != NULL ? 0 : BT_ENOMEM;
}

static int start(void *self)
{
    note('s', *(char *)self);
    return fail_start == *(char *)self ? BT_EIO : 0;
}

static void stop(void *self)
{
    note('t', *(char *)self);
    if (!hang)
        bt_super_stopped(super, self);
}

static void free_it(void *self)
{
    note('f', *(char *)self);
    bt_free(self);
}

static void open_it(void *self)
{
    note('o', *(char *)self);
}

#define OPS(name_, open_)                                                               \
    {                                                                                   \
        .name = (name_), .help = "", .create = create, .start = start, .open = (open_), \
        .stop = stop, .free = free_it                                                   \
    }
static const struct bt_module_ops ops_1 = OPS("one", open_it);
static const struct bt_module_ops ops_2 = OPS("two", NULL);
static const struct bt_module_ops ops_3 = OPS("three", NULL);

static void begin(const struct bt_super_opts *opts)
{
    bt_log_set_level(BT_LOG_ERROR);
    calls[0] = '\0';
    fail_create = fail_start = 0;
    hang = false;
    super = bt_super_new(opts);
    CHECK(super != NULL);
    CHECK_INT(bt_super_add(super, &ops_1, "1"), 0);
    CHECK_INT(bt_super_add(super, &ops_2, "2"), 0);
    CHECK_INT(bt_super_add(super, &ops_3, "3"), 0);
}

static void raise_term(void *arg)
{
    (void)arg;
    note('r', 'y');
    raise(SIGTERM);
}

static struct bt_timer again;

static void raise_late(struct bt_timer *t)
{
    (void)t;
    CHECK_INT(super->status, BT_EXIT_OK);
    bt_clock_fake_advance(BT_SUPER_SAME_MS * 1000u);
    raise(SIGTERM);
}

/* The second comes at once and is the same wish; the third is meant. */
static void raise_three(void *arg)
{
    (void)arg;
    raise(SIGTERM);
    raise(SIGINT);
    bt_timer_init(&again, raise_late);
    bt_timer_start(super->loop, &again, 5, 0);
}

static void fail_now(void *arg)
{
    (void)arg;
    bt_super_fail(super, "test");
    bt_super_fail(super, "test again");
}

static void restart_now(void *arg)
{
    (void)arg;
    bt_super_restart(super, "test");
    bt_super_restart(super, "test again");
}

static void restart_and_raise(void *arg)
{
    bt_super_restart(super, "test");
    raise_term(arg);
}

static void drain_two(void *arg)
{
    (void)arg;
    CHECK(super->entries[0].env.find(super, "two") == super->entries[1].self);
    CHECK(super->entries[0].env.find(super, "none") == NULL);
    bt_super_stopped(super, super->entries[1].self);
    bt_super_stop(super);
}

/* Works. */

TEST(starts_in_order_and_stops_in_reverse)
{
    struct bt_super_opts opts = { .work_dir = "/", .on_ready = raise_term };

    begin(&opts);
    CHECK_INT(bt_super_run(super), BT_EXIT_OK);
    CHECK_STR(calls, "c1 c2 c3 s1 s2 s3 o1 ry t3 f3 t2 f2 t1 f1 ");
    bt_super_free(super);
}

TEST(a_module_that_drained_by_itself_is_not_asked)
{
    struct bt_super_opts opts = { .work_dir = "/", .on_ready = drain_two };

    begin(&opts);
    CHECK_INT(bt_super_run(super), BT_EXIT_OK);
    CHECK_STR(calls, "c1 c2 c3 s1 s2 s3 o1 t3 f3 f2 t1 f1 ");
    bt_super_free(super);
}

static void hup_seen(void *arg)
{
    (void)arg;
    note('h', 'h');
    bt_super_stop(super);
}

static void raise_hup(void *arg)
{
    (void)arg;
    raise(SIGHUP);
}

TEST(hup_calls_back)
{
    struct bt_super_opts opts = { .work_dir = "/",
                                  .on_ready = raise_hup,
                                  .on_hup = hup_seen };

    begin(&opts);
    CHECK_INT(bt_super_run(super), BT_EXIT_OK);
    CHECK(strstr(calls, "s3 o1 hh t3") != NULL);
    bt_super_free(super);
}

/* Fails. */

TEST(a_failed_create_frees_those_before)
{
    struct bt_super_opts opts = { .work_dir = "/" };

    begin(&opts);
    fail_create = '3';
    CHECK_INT(bt_super_run(super), BT_EXIT_FAILED);
    CHECK_STR(calls, "c1 c2 c3 f2 f1 ");
    bt_super_free(super);
}

TEST(a_failed_start_stops_those_before)
{
    struct bt_super_opts opts = { .work_dir = "/" };

    begin(&opts);
    fail_start = '2';
    CHECK_INT(bt_super_run(super), BT_EXIT_FAILED);
    CHECK_STR(calls, "c1 c2 c3 s1 s2 f3 f2 t1 f1 ");
    bt_super_free(super);
}

TEST(beyond_repair_stops_with_a_failure)
{
    struct bt_super_opts opts = { .work_dir = "/", .on_ready = fail_now };

    begin(&opts);
    CHECK_INT(bt_super_run(super), BT_EXIT_FAILED);
    CHECK(strstr(calls, "t3 f3 t2 f2 t1 f1") != NULL);
    bt_super_free(super);
}

TEST(a_restart_stops_all_and_says_so)
{
    struct bt_super_opts opts = { .work_dir = "/", .on_ready = restart_now };

    begin(&opts);
    CHECK_INT(bt_super_run(super), BT_EXIT_AGAIN);
    CHECK(strstr(calls, "t3 f3 t2 f2 t1 f1") != NULL);
    bt_super_free(super);
}

TEST(a_signal_ends_a_restart)
{
    struct bt_super_opts opts = { .work_dir = "/", .on_ready = restart_and_raise };

    begin(&opts);
    CHECK_INT(bt_super_run(super), BT_EXIT_OK);
    bt_super_free(super);
}

/* After a forced stop nothing may be freed: the test does it for the leak checker. */
static void free_forced(void)
{
    size_t i;

    for (i = 0; i < super->n_entries; i++)
        bt_free(super->entries[i].self);
    super->status = BT_EXIT_OK;
    bt_super_free(super);
}

TEST(a_second_signal_forces)
{
    struct bt_super_opts opts = { .work_dir = "/", .on_ready = raise_three };

    bt_clock_fake_start(1000000, 0);
    begin(&opts);
    hang = true;
    CHECK_INT(bt_super_run(super), BT_EXIT_FORCED);
    bt_clock_fake_stop();
    CHECK(strstr(calls, "f") == NULL);
    bt_super_free(super);
    free_forced();
}

TEST(grace_runs_out)
{
    struct bt_super_opts opts = { .work_dir = "/",
                                  .grace_ms = 5,
                                  .on_ready = raise_term };

    begin(&opts);
    hang = true;
    CHECK_INT(bt_super_run(super), BT_EXIT_FORCED);
    CHECK_STR(calls, "c1 c2 c3 s1 s2 s3 o1 ry t3 ");
    free_forced();
}

TEST(too_many_modules)
{
    struct bt_super_opts opts = { .work_dir = "/" };
    unsigned i;

    begin(&opts);
    for (i = 3; i < BT_SUPER_MAX_MODULES; i++)
        CHECK_INT(bt_super_add(super, &ops_1, "1"), 0);
    CHECK_INT(bt_super_add(super, &ops_1, "1"), BT_ELIMIT);
    bt_super_free(super);
}

static void stall(struct bt_timer *t)
{
    uint64_t now;

    (void)t;
    /* Busy since the start of this turn. */
    now = bt_clock_ms();
    CHECK(all_turn(super, now + BT_WATCHDOG_MS - 1000));
    CHECK(!all_turn(super, now + BT_WATCHDOG_MS + 1000));
    CHECK(super->watched[0].stalled);
    CHECK(all_turn(super, now));
    CHECK(!super->watched[0].stalled);
    bt_loop_stop(super->loop);
}

TEST(a_loop_that_does_not_turn_is_noticed)
{
    struct bt_super_opts opts = { .work_dir = "/" };
    struct bt_timer t = { 0 };

    begin(&opts);
    CHECK_INT(bt_super_watch(super, super->loop), 0);
    CHECK(all_turn(super, UINT64_MAX / 2)); /* parked */
    bt_timer_init(&t, stall);
    bt_timer_start(super->loop, &t, 0, 0);
    bt_loop_run(super->loop);
    bt_super_unwatch(super, super->loop);
    CHECK_INT(super->n_watched, 0);
    bt_super_free(super);
}

TEST(no_memory)
{
    struct bt_super_opts opts = { .work_dir = "/" };
    unsigned long nth;

    for (nth = 1; nth <= 4; nth++) {
        bt_mem_fail_from(nth);
        super = bt_super_new(&opts);
        bt_mem_fail_from(0);
        CHECK(super == NULL);
    }
}
