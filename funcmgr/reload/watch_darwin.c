/* Without notifications that go into folders: every item is looked at every two seconds.
 * A look reads names and times, not contents. */
#include "core/mem.h"
#include "funcmgr/reload/watch.h"

#define LOOK_MS 2000u

struct fm_notify {
    struct fm_notify_owner owner;
    struct bt_timer timer;
};

static void on_timer(struct bt_timer *t)
{
    struct fm_notify *n = bt_container_of(t, struct fm_notify, timer);

    n->owner.poke(n->owner.arg, SIZE_MAX);
}

struct fm_notify *fm_notify_new(const struct fm_notify_owner *owner)
{
    struct fm_notify *n = bt_calloc(1, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->owner = *owner;
    bt_timer_init(&n->timer, on_timer);
    bt_timer_start(owner->loop, &n->timer, LOOK_MS, LOOK_MS);
    return n;
}

void fm_notify_free(struct fm_notify *n)
{
    if (n == NULL)
        return;
    bt_timer_stop(n->owner.loop, &n->timer);
    bt_free(n);
}

void fm_notify_begin(struct fm_notify *n, size_t i)
{
    (void)n, (void)i;
}

void fm_notify_dir(struct fm_notify *n, size_t i, const char *path)
{
    (void)n, (void)i, (void)path;
}

void fm_notify_end(struct fm_notify *n, size_t i)
{
    (void)n, (void)i;
}
