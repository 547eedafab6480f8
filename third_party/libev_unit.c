/* libev as one unit with the one thing its interface lacks. libev never takes a
 * descriptor out of an epoll set: it expects it to be closed. A descriptor that goes on
 * living in another loop must leave the set, or the old loop wakes for it and, later, for
 * whatever file gets its number. */
#include "ev.c"
#include "ev_wrap.h" /* names of the loop's members */

void bt_ev_forget(struct ev_loop *loop, int fd, int closed);

/* The loop's thread. No watcher of the loop may watch fd. closed: it was closed already,
 * so the kernel has taken it out of the set. */
void bt_ev_forget(struct ev_loop *loop, int fd, int closed)
{
#if EV_USE_EPOLL
    if (backend == EVBACKEND_EPOLL && fd < anfdmax && anfds[fd].emask != 0) {
        if (!closed)
            (void)epoll_ctl(backend_fd, EPOLL_CTL_DEL, fd, NULL);
        anfds[fd].emask = 0;
        ++anfds[fd].egen;
    }
#else
    (void)loop;
    (void)fd;
    (void)closed;
#endif
}
