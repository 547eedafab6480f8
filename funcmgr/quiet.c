/* The first time is said at once, what follows within the second together at its end. */
#include "funcmgr/quiet.h"

static void say(struct fm_quiet *q)
{
    uint64_t n = q->n;

    if (n == 0)
        return;
    q->n = 0;
    q->say(q->arg, n);
    bt_timer_start(q->loop, &q->timer, FM_QUIET_MS, 0);
}

static void on_timer(struct bt_timer *t)
{
    say(bt_container_of(t, struct fm_quiet, timer));
}

void fm_quiet_init(struct fm_quiet *q, struct bt_loop *loop,
                   void (*fn)(void *arg, uint64_t n), void *arg)
{
    *q = (struct fm_quiet){ .loop = loop, .say = fn, .arg = arg };
    bt_timer_init(&q->timer, on_timer);
}

void fm_quiet_hit(struct fm_quiet *q)
{
    q->n++;
    if (!bt_timer_active(&q->timer))
        say(q);
}

void fm_quiet_stop(struct fm_quiet *q)
{
    say(q);
    bt_timer_stop(q->loop, &q->timer);
}
