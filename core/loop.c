/* The idea: libev's loop with a fixed order inside a turn. libev runs pending watchers by
 * priority, so one check watcher of the highest priority runs first after each poll: it
 * reads the clock and empties the mailboxes; descriptors and timers of normal priority
 * follow; one prepare watcher flushes what the turn produced and marks the loop as
 * parked.
 *
 *   poll -> on_check: clock, mailboxes -> descriptors, timers, signals -> on_prepare:
 * flush -> poll
 *
 * One ev_async per loop wakes it for all its mailboxes. What is posted before a peer's
 * bytes were sent is in its mailbox when those bytes make the poll return, hence handled
 * before them.
 *
 * Every loop comes from ev_loop_new: libev's default loop would install a reaper that
 * waits for any child of the process, and children are waited for by core/child.c, one by
 * one.
 *
 * Failure: a new loop needs two descriptors and memory, or it is NULL; afterwards nothing
 * fails (a descriptor that libev cannot watch is reported to its owner as readable and
 * writable). */
#include "core/loop.h"

#include <ev.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/loop_priv.h"
#include "core/mem.h"
#include "core/sys.h"

_Static_assert(BT_READ == EV_READ && BT_WRITE == EV_WRITE,
               "events are passed as they are");
_Static_assert(sizeof(ev_io) <= sizeof(((struct bt_io *)0)->priv_),
               "bt_io holds an ev_io");
_Static_assert(sizeof(ev_timer) <= sizeof(((struct bt_timer *)0)->priv_),
               "bt_timer holds an ev_timer");
_Static_assert(sizeof(ev_signal) <= sizeof(((struct bt_signal *)0)->priv_),
               "bt_signal holds an ev_signal");
_Static_assert(_Alignof(ev_timer) <= _Alignof(uint64_t) &&
                   _Alignof(ev_io) <= _Alignof(uint64_t),
               "the opaque storage is aligned");

/* third_party/libev_unit.c */
void bt_ev_forget(struct ev_loop *loop, int fd, int closed);

#define NAME_MAX_LEN 16
#define EVENTS       (BT_READ | BT_WRITE)

struct bt_loop {
    struct ev_loop *ev;
    ev_prepare prepare;
    ev_check check;
    ev_async wake;
    struct bt_list inboxes;
    struct bt_list *next_inbox; /* while draining: the one after the current */
    void (*flush)(void *arg);
    void *flush_arg;
    uint64_t now_us;
    _Atomic uint64_t busy_since;
    bool is_default, running, stop;
    char name[NAME_MAX_LEN];
};

static void set_now(struct bt_loop *l)
{
    l->now_us = bt_clock_us();
}

static void drain_all(struct bt_loop *l)
{
    struct bt_list *it;

    for (it = l->inboxes.next; it != &l->inboxes; it = l->next_inbox) {
        struct bt_inbox *box = bt_list_entry(it, struct bt_inbox, link);

        l->next_inbox = it->next;
        if (atomic_load_explicit(&box->full, memory_order_acquire))
            box->drain(box);
    }
    l->next_inbox = NULL;
}

static void on_check(struct ev_loop *ev, ev_check *w, int revents)
{
    struct bt_loop *l = w->data;

    (void)ev;
    (void)revents;
    set_now(l);
    atomic_store_explicit(&l->busy_since, l->now_us / 1000u, memory_order_relaxed);
    drain_all(l);
}

static void on_prepare(struct ev_loop *ev, ev_prepare *w, int revents)
{
    struct bt_loop *l = w->data;

    (void)ev;
    (void)revents;
    if (l->flush != NULL)
        l->flush(l->flush_arg);
    atomic_store_explicit(&l->busy_since, UINT64_MAX, memory_order_relaxed);
}

/* The check watcher has drained already, but it runs before libev takes the wake-up back:
 * a message posted in between would find the wake-up still pending and wake nobody. */
static void on_wake(struct ev_loop *ev, ev_async *w, int revents)
{
    (void)ev;
    (void)revents;
    drain_all(w->data);
}

/* libev aborts the process when it cannot make its wake-up descriptor: find out before.
 */
static bool descriptors_left(void)
{
    int fds[2];

    if (bt_sys_pipe(fds) != 0)
        return false;
    close(fds[0]);
    close(fds[1]);
    return true;
}

static void start_own_watchers(struct bt_loop *l)
{
    ev_prepare_init(&l->prepare, on_prepare);
    ev_set_priority(&l->prepare, EV_MINPRI);
    l->prepare.data = l;
    ev_prepare_start(l->ev, &l->prepare);
    ev_check_init(&l->check, on_check);
    ev_set_priority(&l->check, EV_MAXPRI);
    l->check.data = l;
    ev_check_start(l->ev, &l->check);
    ev_async_init(&l->wake, on_wake);
    ev_set_priority(&l->wake, EV_MAXPRI);
    l->wake.data = l;
    ev_async_start(l->ev, &l->wake);
}

struct bt_loop *bt_loop_new(const char *name, bool is_default)
{
    struct bt_loop *l = bt_calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    l->ev = descriptors_left() ? ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV) : NULL;
    if (l->ev == NULL) {
        (void)bt_origin(BT_EIO, "cannot create an event loop");
        bt_free(l);
        return NULL;
    }
    strncpy(l->name, name, sizeof(l->name) - 1);
    l->is_default = is_default;
    bt_list_init(&l->inboxes);
    atomic_init(&l->busy_since, UINT64_MAX);
    set_now(l);
    start_own_watchers(l);
    return l;
}

void bt_loop_free(struct bt_loop *l)
{
    if (l == NULL)
        return;
    ev_async_stop(l->ev, &l->wake);
    ev_check_stop(l->ev, &l->check);
    ev_prepare_stop(l->ev, &l->prepare);
    ev_loop_destroy(l->ev);
    bt_free(l);
}

void bt_loop_run(struct bt_loop *l)
{
    /* libev forgets a break that comes before the run. */
    if (!l->stop) {
        l->running = true;
        set_now(l);
        ev_run(l->ev, 0);
        l->running = false;
    }
    l->stop = false;
    atomic_store_explicit(&l->busy_since, UINT64_MAX, memory_order_relaxed);
}

void bt_loop_stop(struct bt_loop *l)
{
    l->stop = true;
    ev_break(l->ev, EVBREAK_ALL);
}

uint64_t bt_loop_ms(const struct bt_loop *l)
{
    return l->now_us / 1000u;
}

uint64_t bt_loop_us(const struct bt_loop *l)
{
    return l->now_us;
}

void bt_loop_on_prepare(struct bt_loop *l, void (*fn)(void *arg), void *arg)
{
    l->flush = fn;
    l->flush_arg = arg;
}

uint64_t bt_loop_busy_since(const struct bt_loop *l)
{
    return atomic_load_explicit(&l->busy_since, memory_order_relaxed);
}

const char *bt_loop_name(const struct bt_loop *l)
{
    return l->name;
}

void bt_loop_add_inbox(struct bt_loop *l, struct bt_inbox *box)
{
    bt_list_push_back(&l->inboxes, &box->link);
}

void bt_loop_remove_inbox(struct bt_loop *l, struct bt_inbox *box)
{
    if (l->next_inbox == &box->link)
        l->next_inbox = box->link.next;
    bt_list_remove(&box->link);
}

void bt_loop_wake(struct bt_loop *l)
{
    ev_async_send(l->ev, &l->wake);
}

/* Descriptors. */

static ev_io *io_watcher(struct bt_io *io)
{
    return (ev_io *)(void *)io->priv_;
}

static void on_io(struct ev_loop *ev, ev_io *w, int revents)
{
    struct bt_io *io = bt_container_of(w, struct bt_io, priv_);

    (void)ev;
    io->fn(io, (unsigned)revents & EVENTS);
}

void bt_io_init(struct bt_io *io, int fd, void (*fn)(struct bt_io *io, unsigned events))
{
    io->fn = fn;
    ev_io_init(io_watcher(io), on_io, fd, 0);
}

void bt_io_start(struct bt_loop *l, struct bt_io *io, unsigned events)
{
    bt_io_set(l, io, events);
}

void bt_io_set(struct bt_loop *l, struct bt_io *io, unsigned events)
{
    ev_io *w = io_watcher(io);

    if (ev_is_active(w) ? ((unsigned)w->events & EVENTS) == events : events == 0)
        return;
    ev_io_stop(l->ev, w);
    if (events == 0)
        return;
    ev_io_set(w, w->fd, (int)events);
    ev_io_start(l->ev, w);
}

void bt_io_stop(struct bt_loop *l, struct bt_io *io)
{
    ev_io_stop(l->ev, io_watcher(io));
}

void bt_io_leave(struct bt_loop *l, struct bt_io *io)
{
    bt_io_stop(l, io);
    bt_ev_forget(l->ev, bt_io_fd(io), 0);
}

void bt_io_close(struct bt_loop *l, struct bt_io *io)
{
    bt_io_stop(l, io);
    (void)close(bt_io_fd(io));
    bt_ev_forget(l->ev, bt_io_fd(io), 1);
}

int bt_io_fd(const struct bt_io *io)
{
    const ev_io *w = (const void *)io->priv_;

    return w->fd;
}

/* Timers. */

static ev_timer *timer_watcher(struct bt_timer *t)
{
    return (ev_timer *)(void *)t->priv_;
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int revents)
{
    struct bt_timer *t = bt_container_of(w, struct bt_timer, priv_);

    (void)ev;
    (void)revents;
    t->fn(t);
}

void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t))
{
    t->fn = fn;
    ev_timer_init(timer_watcher(t), on_timer, 0., 0.);
}

void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after_ms,
                    uint64_t repeat_ms)
{
    ev_timer *w = timer_watcher(t);

    /* Outside a turn libev's idea of now may be old, and the timer would fire too early.
     */
    if (!l->running)
        ev_now_update(l->ev);
    ev_timer_stop(l->ev, w);
    ev_timer_set(w, (double)after_ms / 1e3, (double)repeat_ms / 1e3);
    ev_timer_start(l->ev, w);
}

void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    ev_timer_stop(l->ev, timer_watcher(t));
}

bool bt_timer_active(const struct bt_timer *t)
{
    const ev_timer *w = (const void *)t->priv_;

    return ev_is_active(w);
}

/* Signals. */

static ev_signal *signal_watcher(struct bt_signal *s)
{
    return (ev_signal *)(void *)s->priv_;
}

static void on_signal(struct ev_loop *ev, ev_signal *w, int revents)
{
    struct bt_signal *s = bt_container_of(w, struct bt_signal, priv_);

    (void)ev;
    (void)revents;
    s->fn(s, w->signum);
}

void bt_signal_start(struct bt_loop *l, struct bt_signal *s, int signum,
                     void (*fn)(struct bt_signal *s, int signum))
{
    ev_signal *w = signal_watcher(s);

    if (!l->is_default)
        return;
    s->fn = fn;
    ev_signal_init(w, on_signal, signum);
    ev_signal_start(l->ev, w);
}

void bt_signal_stop(struct bt_loop *l, struct bt_signal *s)
{
    if (s->fn != NULL)
        ev_signal_stop(l->ev, signal_watcher(s));
}
