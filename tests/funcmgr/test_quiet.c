/* At most one line a second. */
#include "funcmgr/quiet.c"

#include "tests/harness.h"

static unsigned lines;
static uint64_t last;

static void say_it(void *arg, uint64_t n)
{
    (void)arg;
    lines++;
    last = n;
}

TEST(the_first_at_once_the_others_together)
{
    struct bt_loop *loop = bt_loop_new("test", false);
    struct fm_quiet q;

    fm_quiet_init(&q, loop, say_it, NULL);
    fm_quiet_hit(&q);
    CHECK(lines == 1 && last == 1);
    for (int i = 0; i < 1000; i++)
        fm_quiet_hit(&q);
    CHECK_INT(lines, 1);
    q.timer.fn(&q.timer);
    CHECK(lines == 2 && last == 1000);
    bt_timer_stop(loop, &q.timer);
    fm_quiet_hit(&q);
    CHECK(lines == 3 && last == 1);
    fm_quiet_hit(&q);
    fm_quiet_stop(&q);
    CHECK(lines == 4 && last == 1);
    fm_quiet_stop(&q);
    CHECK_INT(lines, 4);
    bt_loop_free(loop);
}
