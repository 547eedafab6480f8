/* The order of password checks: addresses take turns, a flood waits for itself. */
#include "hub/access/check.c"

#include "tests/harness.h"

static struct hub_checker k;
static struct bt_loop *loop;
static struct bt_mbox *box;
static struct hub_settings settings;
static uint32_t n_busy, n_back;

static void on_reply(void *arg, struct bt_msg *msg)
{
    struct hub_check *c = bt_container_of(msg, struct hub_check, msg);

    (void)arg;
    n_busy += c->busy;
    n_back++;
    hub_check_free(c);
}

static void setup(void)
{
    memset(&k, 0, sizeof(k));
    n_busy = n_back = 0;
    atomic_init(&settings.refs, 1);
    loop = bt_loop_new("test", false);
    box = bt_mbox_new(loop, on_reply, NULL);
}

static void teardown(void)
{
    for (uint32_t i = 0; i < k.n; i++)
        hub_check_free(k.waiting[i]);
    bt_mbox_close(box);
    bt_mbox_free(box);
    bt_loop_free(loop);
}

static struct hub_check *ask(uint8_t address)
{
    static const struct bt_slice password = { (const uint8_t *)"x", 1 };
    struct hub_check *c = hub_check_new(&settings, password);

    CHECK(c != NULL);
    c->reply_to = box;
    c->ip.b[3] = address;
    return c;
}

static uint8_t next(void)
{
    struct hub_check *c = take_next(&k);
    uint8_t address = c->ip.b[3];

    hub_check_free(c);
    return address;
}

TEST(one_address_is_served_in_order)
{
    struct hub_check *c[5];

    setup();
    for (size_t i = 0; i < 5; i++)
        take_in(&k, c[i] = ask(1));
    for (size_t i = 0; i < 5; i++) {
        CHECK(take_next(&k) == c[i]);
        hub_check_free(c[i]);
    }
    CHECK_INT(k.n, 0);
    teardown();
}

TEST(addresses_take_turns)
{
    static const uint8_t want[] = { 1, 2, 3, 1, 2, 1, 1 };

    setup();
    for (int i = 0; i < 4; i++)
        take_in(&k, ask(1));
    take_in(&k, ask(2));
    take_in(&k, ask(3));
    take_in(&k, ask(2));
    for (size_t i = 0; i < sizeof(want); i++)
        CHECK_INT(next(), want[i]);
    teardown();
}

TEST(a_newcomer_passes_a_flood)
{
    setup();
    for (int i = 0; i < 100; i++)
        take_in(&k, ask(1));
    for (int i = 0; i < 50; i++)
        CHECK_INT(next(), 1);
    take_in(&k, ask(2));
    CHECK(next() == 2 || next() == 2);
    teardown();
}

TEST(a_flood_is_refused_for_the_sake_of_others)
{
    setup();
    for (uint32_t i = 0; i < HUB_CHECK_MAX + 10; i++)
        take_in(&k, ask(1));
    CHECK_INT(k.n, HUB_CHECK_MAX);
    for (int i = 0; i < 5; i++)
        take_in(&k, ask(2));
    CHECK_INT(k.n, HUB_CHECK_MAX);
    CHECK_INT(next(), 1);
    CHECK_INT(next(), 2);
    bt_mbox_close(box); /* delivers what was posted */
    CHECK_INT(n_busy, 15);
    CHECK_INT(n_back, 15);
    teardown();
}

TEST(the_thread_answers)
{
    struct hub_checker *real;
    struct bt_password right;
    char text[BT_PASSWORD_TEXT];
    struct hub_check *good, *bad, *unknown;
    /* Never looked into: only whether there is one counts. */
    const struct hub_principal *somebody = (const struct hub_principal *)&right;

    setup();
    CHECK_INT(bt_password_make((struct bt_slice){ (const uint8_t *)"x", 1 }, 10, text),
              0);
    CHECK_INT(bt_password_parse(text, &right), 0);
    good = ask(1);
    unknown = ask(1);
    bad = hub_check_new(&settings, (struct bt_slice){ (const uint8_t *)"y", 1 });
    bad->reply_to = box;
    good->principal = bad->principal = somebody;
    good->work = bad->work = unknown->work = &right;
    good->good = false;
    bt_mbox_close(box); /* so that they come back to us: nobody takes them */
    CHECK(bt_password_check(good->work, (struct bt_slice){ good->password, 1 }));
    CHECK(!bt_password_check(bad->work, (struct bt_slice){ bad->password, 1 }));
    CHECK_INT(hub_checker_start(&real), 0);
    hub_checker_submit(real, good);
    hub_checker_submit(real, bad);
    hub_checker_submit(real, unknown);
    hub_checker_stop(real); /* frees what cannot be given back */
    hub_checker_stop(NULL);
    CHECK_INT(atomic_load(&settings.refs), 1);
    teardown();
}
