/* What differs between systems: core/sys_linux.c and core/sys_darwin.c. Thin and
 * stateless; errors are errno and -1 as in the calls behind it, nothing is logged. Any
 * thread. */
#ifndef CORE_SYS_H
#define CORE_SYS_H

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "core/base.h"

/* All descriptors from here are close-on-exec. */
int bt_sys_pipe(int fds[2]) BT_MUST_CHECK; /* blocking; 0 is the reading end */
/* Non-blocking. type: SOCK_STREAM or SOCK_DGRAM. */
int bt_sys_socket(int domain, int type) BT_MUST_CHECK;
int bt_sys_socketpair(int fds[2]) BT_MUST_CHECK; /* Unix stream, blocking */
/* Unix packets that keep their bounds, blocking. -1 where there is no such thing. */
int bt_sys_packetpair(int fds[2]) BT_MUST_CHECK;
/* Non-blocking. addr and len may be NULL. */
int bt_sys_accept(int fd, struct sockaddr *addr, socklen_t *len) BT_MUST_CHECK;
/* An anonymous file in memory where there is one, else an unlinked temporary file. */
int bt_sys_memfd(const char *name) BT_MUST_CHECK;

/* The four for a child between fork and exec: async-signal-safe. */
void bt_sys_cloexec_from(int lowest); /* close all from `lowest` on at exec */
void bt_sys_close_from(int lowest);   /* close all from `lowest` on, now */
/* The signal arrives when the parent's *thread* that forked ends. Darwin: does nothing.
 */
int bt_sys_pdeathsig(int signum);
int bt_sys_no_new_privs(void); /* Darwin: does nothing */

/* Orphans below this process become its children. -1 where there is no such thing. */
int bt_sys_subreaper(void) BT_MUST_CHECK;
/* n bytes from the kernel's generator; blocks only before it was ever seeded. 0 or -1. */
int bt_sys_random(void *out, size_t n) BT_MUST_CHECK;
void bt_sys_thread_name(const char *name); /* of the calling thread; cut at 15 bytes */
int64_t bt_sys_thread_cpu_us(pthread_t thread); /* used by a running thread; 0 unknown */
uint64_t bt_sys_rss_bytes(void);                /* resident now; 0 when unknown */
uint64_t bt_sys_rss_of(pid_t pid);              /* of another process of this user */
unsigned bt_sys_online_cpus(void); /* that this process may use; at least 1 */
int64_t bt_sys_mtime_ns(const struct stat *st); /* since 1970 */
/* All groups of a user, at most *n, which becomes their number. -1: there are more. */
int bt_sys_groups(const char *user, gid_t gid, gid_t *groups, int *n);
/* The file's contents are on the medium when this returns 0. */
int bt_sys_fdatasync(int fd) BT_MUST_CHECK;

#endif
