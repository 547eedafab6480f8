/* Lookups with a resolver that answers when the test lets it. */
#include "core/resolve.c"

#include "tests/harness.h"

static struct bt_loop *loop;
static struct bt_resolver *resolver;
static unsigned n_answers;
static char answers[64][64];

/* The gate: names that begin with "slow" wait for it. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool is_open;
static unsigned n_inside;

static int fake(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **out)
{
    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return getaddrinfo(host, port, hints, out);
    if (strncmp(host, "slow", 4) == 0) {
        pthread_mutex_lock(&gate);
        n_inside++;
        pthread_cond_broadcast(&moved);
        while (!is_open)
            pthread_cond_wait(&moved, &gate);
        n_inside--;
        pthread_cond_broadcast(&moved);
        pthread_mutex_unlock(&gate);
    }
    if (strcmp(host, "none") == 0)
        return EAI_NONAME;
    return getaddrinfo("127.0.0.1", port, hints, out);
}

static void set_gate(bool open)
{
    pthread_mutex_lock(&gate);
    is_open = open;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&gate);
}

static void wait_inside(unsigned n)
{
    pthread_mutex_lock(&gate);
    while (n_inside != n)
        pthread_cond_wait(&moved, &gate);
    pthread_mutex_unlock(&gate);
}

static unsigned wanted;

static void on_answer(void *arg, const struct bt_address *addresses, size_t n,
                      const char *why)
{
    snprintf(answers[n_answers++ % 64], 64, "%s %zu %d %s", (const char *)arg, n,
             n > 0 ? addresses[0].sa.ss_family == AF_INET : -1, n == 0 ? why : "");
    if (n_answers == wanted)
        bt_loop_stop(loop);
}

static void start(void)
{
    look_up = fake;
    set_gate(false);
    n_answers = 0;
    loop = bt_loop_new("test", false);
    resolver = bt_resolver_new(loop);
    CHECK(resolver != NULL);
}

static void end(void)
{
    bt_resolver_free(resolver);
    set_gate(true);
    wait_inside(0);
    bt_loop_free(loop);
}

static struct bt_lookup *ask_for(const char *host)
{
    struct bt_lookup *l = NULL;

    CHECK_INT(bt_resolve(resolver, host, "1883", on_answer, (void *)(uintptr_t)host, &l),
              0);
    CHECK(l != NULL);
    return l;
}

static void run_until(unsigned n)
{
    wanted = n;
    if (n_answers < n)
        bt_loop_run(loop);
    CHECK_INT(n_answers, n);
}

/* Works. */

TEST(names_and_numbers)
{
    start();
    (void)ask_for("name");
    run_until(1);
    CHECK_STR(answers[0], "name 1 1 ");
    (void)ask_for("10.0.0.1");
    run_until(2);
    CHECK_STR(answers[1], "10.0.0.1 1 1 ");
    (void)ask_for("::1");
    run_until(3);
    CHECK_STR(answers[2], "::1 1 0 ");
    end();
}

TEST(a_slow_name_holds_nobody_up)
{
    start();
    (void)ask_for("slow");
    wait_inside(1);
    (void)ask_for("name");
    (void)ask_for("127.0.0.1");
    run_until(2);
    set_gate(true);
    run_until(3);
    CHECK_STR(answers[2], "slow 1 1 ");
    end();
}

TEST(cancelled)
{
    struct bt_lookup *running[BT_RESOLVE_THREADS], *waiting, *posted;

    start();
    for (unsigned i = 0; i < BT_RESOLVE_THREADS; i++)
        running[i] = ask_for("slow");
    wait_inside(BT_RESOLVE_THREADS);
    waiting = ask_for("slow-too");
    posted = ask_for("127.0.0.1");
    bt_resolve_cancel(running[0]);
    bt_resolve_cancel(waiting);
    bt_resolve_cancel(posted);
    (void)ask_for("127.0.0.2");
    run_until(1);
    CHECK_STR(answers[0], "127.0.0.2 1 1 ");
    set_gate(true);
    run_until(1 + BT_RESOLVE_THREADS - 1);
    CHECK_INT(n_waiting, 0);
    end();
}

TEST(freed_while_it_works)
{
    start();
    for (unsigned i = 0; i < BT_RESOLVE_THREADS + 2; i++)
        (void)ask_for("slow");
    (void)ask_for("127.0.0.1");
    wait_inside(BT_RESOLVE_THREADS);
    end();
    CHECK_INT(n_answers, 0);
}

/* Fails. */

TEST(no_such_name)
{
    char text[64];

    start();
    (void)ask_for("none");
    run_until(1);
    snprintf(text, sizeof(text), "none 0 -1 %s", gai_strerror(EAI_NONAME));
    CHECK_STR(answers[0], text);
    end();
}

TEST(too_many_at_once)
{
    struct bt_lookup *l;
    int r = 0;
    unsigned n = 0;

    start();
    for (unsigned i = 0; i < BT_RESOLVE_THREADS; i++)
        (void)ask_for("slow");
    wait_inside(BT_RESOLVE_THREADS);
    while (r == 0 && n < 1000) {
        r = bt_resolve(resolver, "slow", "1", on_answer, NULL, &l);
        n += r == 0;
    }
    CHECK_INT(r, BT_ELIMIT);
    CHECK(l == NULL);
    CHECK_INT(n, BT_RESOLVE_QUEUE);
    end();
    CHECK_INT(n_waiting, 0);
}

TEST(too_long)
{
    struct bt_lookup *l;
    char name[300];

    memset(name, 'a', sizeof(name));
    name[299] = '\0';
    start();
    CHECK_INT(bt_resolve(resolver, name, "1", on_answer, NULL, &l), BT_EINVAL);
    CHECK_INT(bt_resolve(resolver, "a", "12345678", on_answer, NULL, &l), BT_EINVAL);
    end();
}

TEST(no_memory)
{
    struct bt_lookup *l;

    start();
    (void)bt_mem_fail_from(1);
    CHECK_INT(bt_resolve(resolver, "a", "1", on_answer, NULL, &l), BT_ENOMEM);
    CHECK(bt_resolver_new(loop) == NULL);
    (void)bt_mem_fail_from(0);
    for (unsigned long i = 1; i < 3; i++) {
        struct bt_resolver *r;

        (void)bt_mem_fail_once(i);
        r = bt_resolver_new(loop);
        (void)bt_mem_fail_once(0);
        bt_resolver_free(r);
    }
    end();
}
