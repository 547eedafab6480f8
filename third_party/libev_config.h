/* Options of libev, included before ev.c: left alone it finds neither epoll nor eventfd
 * under musl. The back end is the system's best one, the clock is the monotonic one,
 * nothing is probed. */
#ifndef BAETYL_LIBEV_CONFIG_H
#define BAETYL_LIBEV_CONFIG_H

#define EV_VERIFY            0
#define EV_USE_SELECT        0
#define EV_USE_POLL          1
#define EV_USE_MONOTONIC     1
#define EV_USE_REALTIME      0
#define EV_USE_NANOSLEEP     1
#define EV_USE_CLOCK_SYSCALL 0
#define EV_USE_LINUXAIO      0
#define EV_USE_IOURING       0
#define EV_USE_PORT          0
#define EV_USE_TIMERFD       0
#define EV_USE_SIGNALFD      0
#ifdef __APPLE__
#    define EV_USE_KQUEUE  1
#    define EV_USE_EPOLL   0
#    define EV_USE_EVENTFD 0
#    define EV_USE_INOTIFY 0
#else
#    define EV_USE_KQUEUE  0
#    define EV_USE_EPOLL   1
#    define EV_USE_EVENTFD 1
#    define EV_USE_INOTIFY 0
#endif

#endif
