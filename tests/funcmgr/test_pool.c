/* The pool with instances that are not processes, on a clock that the test moves. */
#include "funcmgr/pool.c"

#include "tests/harness.h"

static uint64_t now = 1000;
static struct fm_instance *made[64];
static size_t n_made;
static bool start_fails;
static struct fm_env env;
static struct fm_function_conf conf;
static struct fm_pool pool;
static int n_drained;

/* ---- What the pool stands on ---- */

uint64_t bt_loop_ms(const struct bt_loop *l)
{
    (void)l;
    return now;
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
    t->priv_[0] = after;
}
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    (void)l;
    t->priv_[0] = 0;
}
void fm_interp_deinit(struct fm_interp *interp)
{
    (void)interp;
}
struct fm_instance *fm_instance_new(const struct fm_instance_opts *opts)
{
    struct fm_instance *in = bt_calloc(1, sizeof(*in));

    CHECK(in != NULL && n_made < BT_ARRAY_LEN(made));
    in->opts = *opts;
    return made[n_made++] = in;
}
void fm_instance_free(struct fm_instance *in)
{
    for (size_t i = 0; i < n_made; i++)
        made[i] = made[i] == in ? NULL : made[i];
    bt_free(in);
}
int fm_instance_start(struct fm_instance *in)
{
    in->state = FM_STARTING;
    return start_fails ? BT_EIO : 0;
}
int fm_instance_call(struct fm_instance *in, struct fm_call *call, uint64_t timeout_ms,
                     size_t *len)
{
    *len = 99;
    if (call->message.payload.len > 50)
        return BT_ELIMIT;
    CHECK(in->state == FM_READY && timeout_ms > 0);
    in->state = FM_BUSY;
    in->call = call;
    return 0;
}
void fm_instance_stop(struct fm_instance *in)
{
    struct fm_result r = { .outcome = FM_STOPPED, .message = "stop", .type = "" };
    bool busy = in->state == FM_BUSY;

    in->state = FM_STOPPING;
    if (busy)
        in->opts.owner->answered(in->opts.owner->arg, in, bt_steal(in->call), &r);
}

/* ---- What happens to an instance ---- */

static void ready(struct fm_instance *in)
{
    in->state = FM_READY;
    in->opts.owner->ready(in->opts.owner->arg, in);
}
static void answered(struct fm_instance *in, enum fm_outcome outcome)
{
    struct fm_result r = { .outcome = outcome, .message = "m", .type = "t" };

    in->served++;
    in->state = outcome == FM_OK || outcome == FM_FAILED ? FM_READY : FM_STOPPING;
    in->opts.owner->answered(in->opts.owner->arg, in, bt_steal(in->call), &r);
}
static void failed(struct fm_instance *in)
{
    in->state = FM_STOPPING;
    in->opts.owner->failed(in->opts.owner->arg, in, "no such file");
}
static void gone(struct fm_instance *in)
{
    in->state = FM_DEAD;
    in->opts.owner->gone(in->opts.owner->arg, in);
}

/* ---- Calls ---- */

struct test_call {
    struct fm_call call;
    int done;
    enum fm_outcome outcome;
    char message[200];
};

static void on_done(struct fm_call *call, const struct fm_result *result)
{
    struct test_call *t = bt_container_of(call, struct test_call, call);

    t->done++;
    t->outcome = result->outcome;
    if (result->message != NULL)
        snprintf(t->message, sizeof(t->message), "%s", result->message);
}
static void call(struct test_call *t, uint32_t attempts)
{
    *t = (struct test_call){ .call = { .attempts = attempts, .done = on_done } };
    fm_pool_call(&pool, &t->call);
}
static void on_drained(void *arg)
{
    (void)arg;
    n_drained++;
}
static void begin(uint32_t min, uint32_t max)
{
    static char name[] = "f";
    struct fm_interp interp = { 0 };

    now = 1000;
    n_made = 0;
    n_drained = 0;
    start_fails = false;
    conf = (struct fm_function_conf){ .name = name,
                                      .min = min,
                                      .max = max,
                                      .idle = 600,
                                      .evict = 60,
                                      .max_message = 50,
                                      .timeout = 300,
                                      .backoff_max = 350 };
    CHECK_INT(fm_pool_init(&pool, &conf, &env, &interp), 0);
    pool.drained = on_drained;
    fm_pool_start(&pool);
}
static void finish_all(void)
{
    fm_pool_close(&pool);
    fm_pool_kill(&pool);
    for (size_t i = 0; i < n_made; i++) {
        if (made[i] != NULL)
            gone(made[i]);
    }
    CHECK_INT(n_drained, 1);
    fm_pool_deinit(&pool);
}

/* ---- Works ---- */

TEST(minimum_is_started_at_once)
{
    begin(2, 4);
    CHECK_INT(n_made, 2);
    finish_all();
}

TEST(started_on_demand_up_to_the_maximum)
{
    struct test_call c[3];

    begin(0, 2);
    CHECK_INT(n_made, 0);
    for (int i = 0; i < 3; i++)
        call(&c[i], 1);
    CHECK_INT(n_made, 2);
    ready(made[0]);
    ready(made[1]);
    CHECK(made[0]->call == &c[0].call && made[1]->call == &c[1].call);
    answered(made[1], FM_OK);
    CHECK(c[1].done == 1 && made[1]->call == &c[2].call);
    answered(made[0], FM_OK);
    answered(made[1], FM_OK);
    CHECK(c[0].done == 1 && c[2].done == 1);
    finish_all();
}

TEST(last_used_first)
{
    struct test_call c;

    begin(2, 2);
    ready(made[0]);
    ready(made[1]);
    call(&c, 1);
    CHECK(made[1]->call == &c.call);
    answered(made[1], FM_OK);
    finish_all();
}

TEST(idle_ones_are_evicted_down_to_the_minimum)
{
    struct test_call c[3];

    begin(1, 3);
    for (int i = 0; i < 3; i++)
        call(&c[i], 1);
    for (int i = 0; i < 3; i++)
        ready(made[i]);
    for (int i = 0; i < 3; i++)
        answered(made[i], FM_OK);
    now += 599;
    on_evict(&pool.evict_timer);
    CHECK_INT(pool.n_live, 3);
    now += 1;
    on_evict(&pool.evict_timer);
    CHECK_INT(pool.n_live, 1);
    CHECK(made[0]->state == FM_STOPPING && made[1]->state == FM_STOPPING);
    CHECK_INT(n_made, 3);
    finish_all();
}

/* ---- Fails ---- */

TEST(exception_keeps_the_instance_and_is_not_retried)
{
    struct test_call c;

    begin(0, 1);
    call(&c, 3);
    ready(made[0]);
    answered(made[0], FM_FAILED);
    CHECK(c.done == 1 && c.outcome == FM_FAILED);
    CHECK_INT(n_made, 1);
    CHECK_INT(pool.n_live, 1);
    finish_all();
}

TEST(broken_is_retried_first_on_a_new_instance)
{
    struct test_call a, b;

    begin(0, 1);
    call(&a, 2);
    call(&b, 1);
    ready(made[0]);
    answered(made[0], FM_BROKEN);
    CHECK_INT(a.done, 0);
    CHECK_INT(n_made, 2);
    ready(made[1]);
    CHECK(made[1]->call == &a.call);
    answered(made[1], FM_BROKEN);
    CHECK(a.done == 1 && a.outcome == FM_BROKEN);
    gone(made[0]);
    CHECK_INT(n_made, 3);
    ready(made[2]);
    CHECK(made[2]->call == &b.call);
    answered(made[2], FM_OK);
    finish_all();
}

TEST(timeout_is_answered_at_once_and_replaced_at_once)
{
    struct test_call a, b;

    begin(0, 1);
    call(&a, 3);
    call(&b, 3);
    ready(made[0]);
    now += 300;
    answered(made[0], FM_TIMEOUT);
    CHECK(a.done == 1 && a.outcome == FM_TIMEOUT);
    CHECK_INT(n_made, 2);
    CHECK_INT(pool.n_stopping, 1);
    ready(made[1]);
    CHECK(made[1]->call == &b.call);
    finish_all();
    CHECK(b.done == 1 && b.outcome == FM_STOPPED);
}

TEST(retries_share_one_deadline)
{
    struct test_call a;

    begin(0, 1);
    call(&a, 3);
    ready(made[0]);
    now += 300;
    answered(made[0], FM_BROKEN);
    ready(made[1]);
    CHECK(a.done == 1 && a.outcome == FM_TIMEOUT);
    finish_all();
}

TEST(too_large_leaves_the_instance_alone)
{
    struct test_call a = { 0 };

    begin(1, 1);
    ready(made[0]);
    a = (struct test_call){ .call = { .attempts = 3, .done = on_done } };
    a.call.message.payload.len = 51;
    fm_pool_call(&pool, &a.call);
    CHECK(a.done == 1 && a.outcome == FM_TOO_LARGE);
    CHECK_STR(a.message,
              "rpc error: code = ResourceExhausted desc = grpc: trying to send "
              "message larger than max (99 vs. 50)");
    CHECK(made[0]->state == FM_READY && !bt_list_empty(&pool.idle));
    finish_all();
}

TEST(failing_start_answers_and_backs_off)
{
    static const uint64_t pauses[] = { 100, 200, 350, 350 };
    struct test_call a;

    begin(0, 2);
    for (size_t i = 0; i < BT_ARRAY_LEN(pauses); i++) {
        call(&a, 3);
        CHECK_INT(n_made, i + 1);
        failed(made[i]);
        CHECK(a.done == 1 && a.outcome == FM_NOT_STARTED);
        CHECK_STR(a.message, "failed to start an instance of function f: no such file");
        CHECK_INT(pool.backoff_timer.priv_[0], pauses[i]);
        gone(made[i]);
        on_backoff(&pool.backoff_timer);
    }
    call(&a, 3);
    ready(made[4]);
    CHECK_INT(pool.backoff, 0);
    finish_all();
}

TEST(start_that_fails_at_once)
{
    struct test_call a;

    begin(0, 2);
    start_fails = true;
    call(&a, 3);
    CHECK(a.done == 1 && a.outcome == FM_NOT_STARTED);
    CHECK_INT(pool.n_live, 0);
    CHECK(pool.paused);
    finish_all();
}

TEST(ending_before_the_first_call_backs_off)
{
    begin(1, 1);
    ready(made[0]);
    made[0]->state = FM_STOPPING;
    on_lost(&pool, made[0]);
    CHECK(pool.paused);
    CHECK_INT(n_made, 1);
    gone(made[0]);
    CHECK_INT(n_made, 1);
    on_backoff(&pool.backoff_timer);
    CHECK_INT(n_made, 2);
    finish_all();
}

TEST(stuck_processes_are_bounded)
{
    struct test_call c[10];

    begin(0, 1);
    for (int i = 0; i < 10; i++)
        call(&c[i], 1);
    for (size_t i = 0; i < n_made; i++) {
        ready(made[i]);
        answered(made[i], FM_TIMEOUT);
    }
    CHECK_INT(n_made, 2);
    gone(made[0]);
    CHECK_INT(n_made, 3);
    finish_all();
}

TEST(close_answers_what_waits_and_lets_a_call_end)
{
    struct test_call a, b, late;

    begin(0, 1);
    call(&a, 3);
    call(&b, 3);
    ready(made[0]);
    fm_pool_close(&pool);
    CHECK(b.done == 1 && b.outcome == FM_STOPPED);
    CHECK_INT(a.done, 0);
    answered(made[0], FM_OK);
    CHECK(a.done == 1 && a.outcome == FM_OK);
    CHECK(made[0]->state == FM_STOPPING);
    call(&late, 1);
    CHECK(late.done == 1 && late.outcome == FM_STOPPED);
    CHECK_INT(n_drained, 0);
    gone(made[0]);
    CHECK_INT(n_drained, 1);
    fm_pool_deinit(&pool);
}

TEST(kill_ends_a_running_call)
{
    struct test_call a;

    begin(0, 1);
    call(&a, 3);
    ready(made[0]);
    fm_pool_close(&pool);
    fm_pool_kill(&pool);
    CHECK(a.done == 1 && a.outcome == FM_STOPPED);
    gone(made[0]);
    CHECK_INT(n_drained, 1);
    fm_pool_deinit(&pool);
}
