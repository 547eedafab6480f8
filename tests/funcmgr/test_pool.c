/* The pool with instances that are not processes, on a clock that the test moves. */
#include "funcmgr/pool/pool.c"
#include "funcmgr/pool/pool_start.c"

#include "tests/harness.h"

static uint64_t now = 1000;
static struct fm_instance *made[64];
static size_t n_made;
static bool start_fails, short_calls;
static struct fm_env env;
static struct fm_function_conf conf;
static struct fm_pool pool;
static int n_drained, n_rests;

/* ---- What the pool stands on ---- */

uint64_t bt_loop_ms(const struct bt_loop *l)
{
    (void)l;
    return now;
}
uint64_t bt_loop_us(const struct bt_loop *l)
{
    return bt_loop_ms(l) * 1000;
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
bool bt_timer_active(const struct bt_timer *t)
{
    return t->priv_[0] != 0;
}
void fm_interp_deinit(struct fm_interp *interp)
{
    (void)interp;
}
void fm_fork_init(struct fm_fork *f, const struct fm_instance_opts *opts, bool wanted)
{
    *f = (struct fm_fork){ .opts = *opts, .wanted = wanted };
}
void fm_fork_deinit(struct fm_fork *f)
{
    CHECK(f->n_processes == 0);
}
void fm_fork_rest(struct fm_fork *f)
{
    n_rests += f->wanted;
}
void fm_fork_renew(struct fm_fork *f, const struct fm_instance_opts *opts, bool wanted)
{
    fm_fork_init(f, opts, wanted);
}
void fm_fork_close(struct fm_fork *f)
{
    f->closing = true;
}
bool fm_fork_has_process(const struct fm_fork *f)
{
    return f->n_processes > 0;
}
struct fm_instance *fm_instance_new(const struct fm_instance_opts *opts)
{
    struct fm_instance *in = bt_calloc(1, sizeof(*in));

    CHECK(in != NULL && n_made < BT_ARRAY_LEN(made));
    in->opts = *opts;
    bt_list_init(&in->calls);
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
const char *fm_launch_why(struct fm_launch *l, int r)
{
    CHECK(l != NULL);
    return bt_error_text(r);
}
int fm_instance_call(struct fm_instance *in, struct fm_call *call, size_t *len)
{
    *len = 99;
    if (call->message.payload.len > 50)
        return BT_ELIMIT;
    CHECK(in->state == FM_READY || in->state == FM_BUSY);
    in->state = FM_BUSY;
    call->in = in;
    call->begun = in->n_calls < in->opts.concurrency;
    if (call->begun) {
        in->n_begun++;
        if (call->deadline == 0)
            call->deadline = now + (call->left != 0 ? call->left : 300);
    }
    in->n_calls++;
    bt_list_push_back(&in->calls, &call->link);
    return 0;
}
void fm_instance_stop(struct fm_instance *in)
{
    in->state = FM_STOPPING;
}
bool fm_instance_free_slot(const struct fm_instance *in)
{
    return in->n_calls < in->opts.concurrency;
}
bool fm_instance_may_queue(const struct fm_instance *in)
{
    return short_calls && in->n_calls < in->opts.concurrency + 3;
}

/* ---- What happens to an instance ---- */

static struct fm_call *nth_call(const struct fm_instance *in, unsigned n)
{
    struct bt_list *it;

    bt_list_for_each (it, &in->calls) {
        if (n-- == 0)
            return bt_list_entry(it, struct fm_call, link);
    }
    return NULL;
}
static struct fm_call *first_call(const struct fm_instance *in)
{
    return nth_call(in, 0);
}
static void ready(struct fm_instance *in)
{
    in->state = FM_READY;
    in->opts.owner->ready(in->opts.owner->arg, in);
}
static void lost(struct fm_instance *in, enum fm_outcome outcome)
{
    struct fm_result r = { .outcome = outcome, .message = "m", .type = "t" };

    in->state = FM_STOPPING;
    in->opts.owner->lost(in->opts.owner->arg, in, &r);
}
static void answered_call(struct fm_instance *in, struct fm_call *call,
                          enum fm_outcome outcome)
{
    struct fm_result r = { .outcome = outcome, .message = "m", .type = "t" };
    struct fm_call *next;

    bt_list_remove(&call->link);
    call->in = NULL;
    in->served++;
    in->n_calls--;
    next = nth_call(in, in->opts.concurrency - 1);
    if (next != NULL) {
        next->begun = true;
        next->deadline = now + 300;
    }
    in->state = in->n_calls == 0 ? FM_READY : FM_BUSY;
    in->opts.owner->answered(in->opts.owner->arg, in, call, &r);
}
static void answered(struct fm_instance *in, enum fm_outcome outcome)
{
    if (outcome == FM_OK || outcome == FM_FAILED)
        answered_call(in, first_call(in), outcome);
    else
        lost(in, outcome);
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
    start_fails = short_calls = false;
    conf = (struct fm_function_conf){ .name = name,
                                      .min = min,
                                      .max = max,
                                      .concurrency = 1,
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
    CHECK(first_call(made[0]) == &c[0].call && first_call(made[1]) == &c[1].call);
    answered(made[1], FM_OK);
    CHECK(c[1].done == 1 && first_call(made[1]) == &c[2].call);
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
    CHECK(first_call(made[1]) == &c.call);
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
    fm_pool_on_evict(&pool.evict_timer);
    CHECK_INT(pool.n_live, 3);
    now += 1;
    fm_pool_on_evict(&pool.evict_timer);
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
    CHECK(first_call(made[1]) == &a.call);
    answered(made[1], FM_BROKEN);
    CHECK(a.done == 1 && a.outcome == FM_BROKEN);
    gone(made[0]);
    CHECK_INT(n_made, 3);
    ready(made[2]);
    CHECK(first_call(made[2]) == &b.call);
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
    CHECK(first_call(made[1]) == &b.call);
    finish_all();
    CHECK(b.done == 1 && b.outcome == FM_STOPPED);
}

TEST(retries_share_one_deadline)
{
    struct test_call a;

    begin(0, 1);
    call(&a, 3);
    ready(made[0]);
    now += 100;
    answered(made[0], FM_BROKEN);
    now += 500;
    ready(made[1]);
    CHECK(first_call(made[1]) == &a.call && a.call.deadline == now + 200);
    now += 200;
    answered(made[1], FM_BROKEN);
    CHECK(a.done == 1 && a.outcome == FM_BROKEN);
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
        fm_pool_on_backoff(&pool.backoff_timer);
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
    CHECK_INT(bt_metric_get(&fm_stats_of("f")->degraded), 1);
    finish_all(); /* one that is no more is not degraded */
    CHECK_INT(bt_metric_get(&fm_stats_of("f")->degraded), 0);
}

TEST(ending_before_the_first_call_backs_off)
{
    begin(1, 1);
    ready(made[0]);
    lost(made[0], FM_BROKEN);
    CHECK(pool.paused);
    CHECK_INT(n_made, 1);
    gone(made[0]);
    CHECK_INT(n_made, 1);
    fm_pool_on_backoff(&pool.backoff_timer);
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

TEST(several_at_once_in_one_instance)
{
    struct test_call c[5];

    begin(0, 1);
    conf.concurrency = 2;
    for (int i = 0; i < 3; i++)
        call(&c[i], 2);
    CHECK_INT(n_made, 1);
    ready(made[0]);
    CHECK(made[0]->n_calls == 2 && pool.n_waiting == 1);
    answered_call(made[0], &c[1].call, FM_OK);
    CHECK(c[1].done == 1 && c[0].done == 0 && made[0]->n_calls == 2);
    /* Both that ran count an attempt and run alone from now on. */
    lost(made[0], FM_BROKEN);
    CHECK(c[0].call.attempts == 1 && c[2].call.attempts == 1 && pool.n_waiting == 2);
    ready(made[1]);
    CHECK(first_call(made[1]) == &c[0].call && made[1]->n_calls == 1);
    call(&c[3], 2);
    CHECK_INT(made[1]->n_calls, 1);
    answered(made[1], FM_OK);
    CHECK(first_call(made[1]) == &c[2].call && made[1]->n_calls == 1);
    answered(made[1], FM_OK);
    CHECK(first_call(made[1]) == &c[3].call);
    call(&c[4], 2);
    CHECK_INT(made[1]->n_calls, 2);
    finish_all();
}

TEST(only_the_last_attempt_runs_alone)
{
    struct test_call c[2];

    begin(0, 1);
    conf.concurrency = 2;
    call(&c[0], 3);
    call(&c[1], 3);
    ready(made[0]);
    lost(made[0], FM_BROKEN);
    ready(made[1]);
    CHECK_INT(made[1]->n_calls, 2);
    lost(made[1], FM_BROKEN);
    gone(made[0]);
    ready(made[2]);
    CHECK_INT(made[2]->n_calls, 1);
    finish_all();
}

TEST(time_out_of_one_of_several)
{
    struct test_call c[3];

    begin(0, 1);
    conf.concurrency = 2;
    call(&c[0], 2);
    ready(made[0]);
    now += 200;
    call(&c[1], 2);
    call(&c[2], 2);
    now += 100;
    lost(made[0], FM_TIMEOUT);
    CHECK(c[0].done == 1 && c[0].outcome == FM_TIMEOUT);
    CHECK(c[1].done == 0 && c[1].call.attempts == 1 && c[2].call.attempts == 2);
    ready(made[1]);
    CHECK(first_call(made[1]) == &c[1].call);
    answered(made[1], FM_OK);
    CHECK(first_call(made[1]) == &c[2].call);
    finish_all();
}

TEST(short_calls_are_sent_ahead)
{
    struct test_call c[6];

    begin(0, 1);
    call(&c[0], 2);
    ready(made[0]);
    call(&c[1], 2);
    CHECK_INT(made[0]->n_calls, 1);
    short_calls = true;
    for (int i = 2; i < 6; i++)
        call(&c[i], 2);
    CHECK(made[0]->n_calls == 4 && pool.n_waiting == 2);
    /* Those that had not begun go back in their order and have lost nothing. */
    lost(made[0], FM_BROKEN);
    CHECK(pool.n_waiting == 6 && c[0].call.attempts == 1 && c[1].call.attempts == 2);
    ready(made[1]);
    CHECK_INT(made[1]->n_calls, 1);
    for (int i = 0; i < 6; i++) {
        CHECK(first_call(made[1]) == &c[i].call);
        answered(made[1], FM_OK);
        CHECK_INT(c[i].done, 1);
    }
    finish_all();
}

TEST(nothing_is_sent_ahead_while_an_instance_may_be_started)
{
    struct test_call c[4];

    begin(0, 2);
    short_calls = true;
    call(&c[0], 1);
    ready(made[0]);
    call(&c[1], 1);
    CHECK(made[0]->n_calls == 1 && n_made == 2);
    ready(made[1]);
    CHECK(first_call(made[1]) == &c[1].call);
    call(&c[2], 1);
    call(&c[3], 1);
    CHECK(made[0]->n_calls == 2 && made[1]->n_calls == 2);
    finish_all();
}

/* The time of the spares has come. */
static void start_spares(void)
{
    CHECK_INT(pool.spare_timer.priv_[0], FM_SPARE_MS);
    pool.spare_timer.priv_[0] = 0;
    fm_pool_on_spare(&pool.spare_timer);
}

TEST(spares_are_ready_beyond_the_busy_ones)
{
    struct test_call c[3];

    begin(0, 3);
    conf.spare = 1;
    fm_pool_pump(&pool);
    CHECK_INT(n_made, 0);
    start_spares();
    CHECK_INT(n_made, 1);
    ready(made[0]);
    /* The next spare does not hold up the answer of the call that took this one. */
    call(&c[0], 1);
    CHECK(first_call(made[0]) == &c[0].call && n_made == 1);
    start_spares();
    CHECK_INT(n_made, 2);
    ready(made[1]);
    call(&c[1], 1);
    CHECK_INT(n_made, 2);
    call(&c[2], 1); /* a call that waits does not wait for that */
    CHECK_INT(n_made, 3);
    start_spares();
    CHECK_INT(n_made, 3);
    ready(made[2]);
    for (int i = 0; i < 3; i++)
        answered(made[i], FM_OK);
    now += 600;
    fm_pool_on_evict(&pool.evict_timer);
    CHECK_INT(pool.n_live, 1);
    finish_all();
}

TEST(patient_calls_wait_for_a_start_that_works)
{
    struct test_call a, b, late;

    begin(0, 1);
    a = (struct test_call){ .call = { .attempts = 1, .patient = true, .done = on_done } };
    fm_pool_call(&pool, &a.call);
    call(&b, 1);
    failed(made[0]);
    CHECK(a.done == 0 && b.done == 1 && b.outcome == FM_NOT_STARTED);
    CHECK_INT(fm_pool_health(&pool), FM_DEGRADED);
    CHECK_STR(pool.reason, "no such file");
    /* Without a new attempt the others are told at once. */
    call(&late, 1);
    CHECK(late.done == 1 && late.outcome == FM_NOT_STARTED && n_made == 1);
    gone(made[0]);
    fm_pool_on_backoff(&pool.backoff_timer);
    CHECK_INT(n_made, 2);
    ready(made[1]);
    CHECK(first_call(made[1]) == &a.call);
    CHECK_INT(fm_pool_health(&pool), FM_HEALTHY);
    answered(made[1], FM_OK);
    CHECK(a.done == 1 && a.outcome == FM_OK);
    finish_all();
}

TEST(crash_loop_degrades_and_an_answer_ends_it)
{
    struct test_call c;

    begin(0, 1);
    for (size_t i = 0; i < FM_CRASH_LOOP; i++) {
        CHECK_INT(fm_pool_health(&pool), FM_HEALTHY);
        call(&c, 1);
        ready(made[i]);
        lost(made[i], FM_BROKEN);
        CHECK(c.done == 1 && c.outcome == FM_BROKEN);
        gone(made[i]);
    }
    CHECK(fm_pool_health(&pool) == FM_DEGRADED && pool.paused);
    CHECK_INT(pool.backoff, 100);
    call(&c, 1);
    CHECK(c.done == 0 && n_made == FM_CRASH_LOOP);
    fm_pool_on_backoff(&pool.backoff_timer);
    ready(made[FM_CRASH_LOOP]);
    CHECK_INT(fm_pool_health(&pool), FM_DEGRADED);
    answered(made[FM_CRASH_LOOP], FM_OK);
    CHECK(fm_pool_health(&pool) == FM_HEALTHY && pool.backoff == 0);
    finish_all();
}

TEST(renewal_keeps_the_old_ones_until_a_new_one_is_ready)
{
    struct test_call a, b, c;

    begin(0, 2);
    call(&a, 1);
    call(&b, 1);
    ready(made[0]);
    ready(made[1]);
    answered(made[1], FM_OK);
    fm_pool_renew(&pool);
    CHECK(n_made == 3 && pool.n_old == 2);
    failed(made[2]);
    CHECK(pool.paused && made[1]->state == FM_READY);
    call(&b, 1);
    CHECK(first_call(made[1]) == &b.call);
    answered(made[1], FM_OK);
    fm_pool_on_backoff(&pool.backoff_timer);
    CHECK_INT(n_made, 4);
    ready(made[3]);
    CHECK(made[1]->state == FM_STOPPING && made[0]->state == FM_BUSY);
    CHECK_INT(pool.n_old, 1);
    call(&c, 1);
    CHECK(first_call(made[3]) == &c.call);
    answered(made[0], FM_OK);
    CHECK(a.done == 1 && made[0]->state == FM_STOPPING && pool.n_old == 0);
    finish_all();
}

TEST(renewal_keeps_order_with_one_instance)
{
    struct test_call a, b;

    begin(0, 1);
    call(&a, 1);
    ready(made[0]);
    fm_pool_renew(&pool);
    ready(made[1]);
    call(&b, 1);
    CHECK_INT(made[1]->n_calls, 0);
    answered(made[0], FM_OK);
    CHECK(first_call(made[1]) == &b.call);
    finish_all();
}

TEST(what_starts_during_a_renewal_is_ended)
{
    begin(1, 1);
    fm_pool_renew(&pool);
    CHECK(n_made == 2 && made[0]->state == FM_STOPPING && pool.n_old == 0);
    ready(made[1]);
    CHECK_INT(pool.n_idle, 1);
    finish_all();
}

TEST(queue_is_bounded_except_for_patient_calls)
{
    struct test_call a, b, c;

    begin(0, 1);
    call(&a, 1);
    pool.waiting_bytes += FM_POOL_MAX_BYTES;
    b = (struct test_call){ .call = { .attempts = 1, .done = on_done } };
    b.call.message.payload.len = 1;
    fm_pool_call(&pool, &b.call);
    CHECK(b.done == 1 && b.outcome == FM_OVERLOADED);
    c = (struct test_call){ .call = { .attempts = 1, .patient = true, .done = on_done } };
    c.call.message.payload.len = 1;
    fm_pool_call(&pool, &c.call);
    CHECK_INT(c.done, 0);
    pool.waiting_bytes -= FM_POOL_MAX_BYTES;
    finish_all();
    CHECK(c.done == 1 && c.outcome == FM_STOPPED);
}

TEST(cancelled_call_is_not_tried_again)
{
    struct test_call a, b;

    begin(0, 1);
    short_calls = true;
    call(&a, 3);
    ready(made[0]);
    call(&b, 3);
    CHECK_INT(made[0]->n_calls, 2);
    fm_pool_cancel(&pool, &a.call);
    fm_pool_cancel(&pool, &b.call);
    CHECK(a.done == 0 && b.done == 0);
    lost(made[0], FM_BROKEN);
    CHECK(a.done == 1 && b.done == 1 && pool.n_waiting == 0);
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

TEST(what_breaks_while_stopping_is_not_done)
{
    struct test_call c[3];

    begin(0, 1);
    short_calls = true;
    call(&c[0], 2);
    ready(made[0]);
    call(&c[1], 1);
    call(&c[2], 1);
    fm_pool_close(&pool);
    CHECK(c[1].done == 0 && made[0]->n_calls == 3);
    lost(made[0], FM_BROKEN);
    for (int i = 0; i < 3; i++)
        CHECK(c[i].done == 1 && c[i].outcome == FM_STOPPED);
    finish_all();
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

/* ---- The template ---- */

TEST(who_is_forked)
{
    static char path[] = "/usr/bin/python3";

    begin(0, 2);
    CHECK(!fm_pool_wants_fork(&pool)); /* sql has no program */
    pool.interp.path = path;
    CHECK(fm_pool_wants_fork(&pool));
    conf.max = 1;
    CHECK(!fm_pool_wants_fork(&pool));
    conf.fork = FM_FORK_ON;
    CHECK(fm_pool_wants_fork(&pool));
    pool.interp.language = FM_NODE;
    CHECK(!fm_pool_wants_fork(&pool));
    pool.interp.language = FM_PYTHON;
    conf.max = 2;
    conf.fork = FM_FORK_OFF;
    CHECK(!fm_pool_wants_fork(&pool));
    pool.interp.path = NULL;
    fm_pool_close(&pool);
    fm_pool_deinit(&pool);
}

TEST(template_of_an_empty_pool_rests)
{
    struct test_call c;

    begin(0, 2);
    pool.fork.wanted = true;
    n_rests = 0;
    fm_pool_on_evict(&pool.evict_timer);
    now += 599;
    fm_pool_on_evict(&pool.evict_timer);
    CHECK_INT(n_rests, 0);
    call(&c, 1);
    fm_pool_on_evict(&pool.evict_timer);
    now += 600;
    fm_pool_on_evict(&pool.evict_timer);
    CHECK_INT(n_rests, 0);
    ready(made[0]);
    answered(made[0], FM_OK);
    now += 600;
    fm_pool_on_evict(&pool.evict_timer); /* evicts the instance */
    CHECK_INT(pool.n_live, 0);
    gone(made[0]);
    fm_pool_on_evict(&pool.evict_timer);
    now += 600;
    fm_pool_on_evict(&pool.evict_timer);
    CHECK_INT(n_rests, 1);
    fm_pool_close(&pool);
    fm_pool_deinit(&pool);
}

TEST(pool_is_drained_after_its_template)
{
    begin(0, 2);
    pool.fork.n_processes = 1;
    fm_pool_close(&pool);
    CHECK(pool.fork.closing && n_drained == 0);
    pool.fork.n_processes = 0;
    pool.fork.gone(pool.fork.arg);
    CHECK_INT(n_drained, 1);
    fm_pool_deinit(&pool);
}

/* ---- A statement ---- */

TEST(a_statement_needs_no_instances)
{
    static char name[] = "f", runtime[] = "sql", first[] = "select 1 as x";
    static char second[] = "select abs(-9223372036854775808) as x", wrong[] = "select";
    struct fm_function_conf other = conf;
    struct fm_interp interp = { 0 };
    struct bt_buf why = { 0 };
    struct test_call c;

    begin(0, 1);
    finish_all();
    n_drained = 0;
    conf.name = name;
    conf.runtime = runtime;
    conf.min = conf.spare = 1;
    CHECK_INT(fm_pool_init(&pool, &conf, &env, &interp), 0);
    pool.drained = on_drained;
    CHECK_INT(fm_sql_new(first, &pool.sql, &why), 0);
    fm_pool_start(&pool);
    fm_pool_renew(&pool);
    call(&c, 1);
    CHECK(c.done == 1 && c.outcome == FM_OK);
    other = conf;
    other.handler = wrong;
    CHECK_INT(fm_pool_reconfigure(&pool, &other, &interp), BT_EINVAL);
    call(&c, 1);
    CHECK(c.done == 1 && c.outcome == FM_OK);
    other.handler = second;
    CHECK_INT(fm_pool_reconfigure(&pool, &other, &interp), 0);
    call(&c, 1);
    CHECK(c.done == 1 && c.outcome == FM_FAILED);
    CHECK_STR(c.message, "rpc error: code = Unknown desc = integer overflow");
    CHECK_INT(n_made, 0);
    fm_pool_close(&pool);
    call(&c, 1);
    CHECK(c.done == 1 && c.outcome == FM_STOPPED);
    finish_all();
}
