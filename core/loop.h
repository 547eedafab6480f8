/* One event loop per thread (libev underneath; core/loop.c and core/mbox.c are the only
 * files that know it). Everything here is for the loop's own thread unless it says
 * otherwise. Within one turn the order is: poll, mailboxes, then I/O and timers, then the
 * prepare callback just before the next poll. So a message posted before a peer's bytes
 * were sent is always handled before those bytes. */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include "core/base.h"

struct bt_loop;

#define BT_READ  1u
#define BT_WRITE 2u

/* Embeddable watchers. Storage is opaque; zero-initialise, then bt_x_init, then start. */
struct bt_io {
    void (*fn)(struct bt_io *io, unsigned events);
    uint64_t priv_[6];
};
struct bt_timer {
    void (*fn)(struct bt_timer *t);
    uint64_t priv_[7];
};

/* is_default: main's loop, the only one that may watch signals. NULL when out of memory.
 */
struct bt_loop *bt_loop_new(const char *name, bool is_default);
/* No watcher may be active. NULL is fine. */
void bt_loop_free(struct bt_loop *l);
/* Run until bt_loop_stop. */
void bt_loop_run(struct bt_loop *l);
/* From the loop's own thread only; other threads post a message. */
void bt_loop_stop(struct bt_loop *l);
/* Monotonic milliseconds/microseconds, cached at the start of the turn: free to read. */
uint64_t bt_loop_ms(const struct bt_loop *l);
uint64_t bt_loop_us(const struct bt_loop *l);
/* Called once per turn just before polling (flush work here); one per loop, NULL removes
 * it. */
void bt_loop_on_prepare(struct bt_loop *l, void (*fn)(void *arg), void *arg);
/* Any thread: monotonic ms of the last turn, or UINT64_MAX while the loop is parked in
 * poll (a parked loop is healthy). The watchdog uses it. */
uint64_t bt_loop_busy_since(const struct bt_loop *l);
const char *bt_loop_name(const struct bt_loop *l);

void bt_io_init(struct bt_io *io, int fd, void (*fn)(struct bt_io *io, unsigned events));
void bt_io_start(struct bt_loop *l, struct bt_io *io, unsigned events);
/* Change what is watched; 0 pauses. Cheap when unchanged. */
void bt_io_set(struct bt_loop *l, struct bt_io *io, unsigned events);
/* Idempotent. Must be called before the descriptor is closed. */
void bt_io_stop(struct bt_loop *l, struct bt_io *io);
/* Stop, and let another loop watch the descriptor from now on. */
void bt_io_leave(struct bt_loop *l, struct bt_io *io);
/* Stop, and close the descriptor. */
void bt_io_close(struct bt_loop *l, struct bt_io *io);
int bt_io_fd(const struct bt_io *io);

void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t));
/* Fire once after `after_ms`, then every `repeat_ms` (0 = once). Restarts a running
 * timer. */
void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after_ms,
                    uint64_t repeat_ms);
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t);
bool bt_timer_active(const struct bt_timer *t);

/* Default loop only. fn runs on the loop, not in signal context. */
struct bt_signal {
    void (*fn)(struct bt_signal *s, int signum);
    uint64_t priv_[7];
};
void bt_signal_start(struct bt_loop *l, struct bt_signal *s, int signum,
                     void (*fn)(struct bt_signal *s, int signum));
void bt_signal_stop(struct bt_loop *l, struct bt_signal *s);

#endif
