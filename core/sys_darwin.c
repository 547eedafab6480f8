/* Darwin: flags are set after the fact, which leaves a moment in which a fork of another
 * thread inherits the descriptor; core/child.c marks everything again before exec. */
#include <errno.h>
#include <fcntl.h>
#include <libproc.h>
#include <mach/mach.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/sys.h"

#define MAX_FD        65536
#define ENTROPY_CHUNK 256u

/* Close-on-exec and, when asked, non-blocking. fd, or -1 with fd closed. */
static int flagged(int fd, bool nonblock)
{
    int saved;

    if (fd < 0)
        return -1;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
        (!nonblock || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0))
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int bt_sys_pipe(int fds[2])
{
    if (pipe(fds) != 0)
        return -1;
    (void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

int bt_sys_socket(int domain, int type)
{
    return flagged(socket(domain, type, 0), true);
}

int bt_sys_socketpair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return -1;
    (void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    return 0;
}

int bt_sys_packetpair(int fds[2])
{
    fds[0] = fds[1] = -1;
    errno = ENOSYS;
    return -1;
}

int bt_sys_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return flagged(accept(fd, addr, len), true);
}

int bt_sys_memfd(const char *name)
{
    char path[] = "/tmp/baetyl-XXXXXX"; /* NOLINT: a pattern */
    int fd = flagged(mkstemp(path), false);

    (void)name;
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

void bt_sys_cloexec_from(int lowest)
{
    struct rlimit limit;
    int fd, end = MAX_FD;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < MAX_FD)
        end = (int)limit.rlim_cur;
    for (fd = lowest; fd < end; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void bt_sys_close_from(int lowest)
{
    struct rlimit limit;
    int fd, end = MAX_FD;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < MAX_FD)
        end = (int)limit.rlim_cur;
    for (fd = lowest; fd < end; fd++)
        (void)close(fd);
}

int bt_sys_pdeathsig(int signum)
{
    (void)signum;
    return 0;
}

int bt_sys_subreaper(void)
{
    errno = ENOSYS;
    return -1;
}

int bt_sys_no_new_privs(void)
{
    return 0;
}

int bt_sys_random(void *out, size_t n)
{
    uint8_t *p = out;

    while (n > 0) {
        size_t part = BT_MIN(n, (size_t)ENTROPY_CHUNK);

        if (getentropy(p, part) != 0)
            return -1;
        p += part;
        n -= part;
    }
    return 0;
}

void bt_sys_thread_name(const char *name)
{
    char cut[16] = "";

    strncpy(cut, name, sizeof(cut) - 1);
    (void)pthread_setname_np(cut);
}

int64_t bt_sys_thread_cpu_us(pthread_t thread)
{
    struct thread_basic_info info;
    mach_msg_type_number_t count = THREAD_BASIC_INFO_COUNT;

    if (thread_info(pthread_mach_thread_np(thread), THREAD_BASIC_INFO,
                    (thread_info_t)&info, &count) != 0)
        return 0;
    return (int64_t)(info.user_time.seconds + info.system_time.seconds) * 1000000 +
           info.user_time.microseconds + info.system_time.microseconds;
}

uint64_t bt_sys_rss_bytes(void)
{
    struct mach_task_basic_info info;
    mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;

    if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count) !=
        0)
        return 0;
    return info.resident_size;
}

uint64_t bt_sys_rss_of(pid_t pid)
{
    struct proc_taskinfo info;

    if (proc_pidinfo(pid, PROC_PIDTASKINFO, 0, &info, sizeof(info)) != sizeof(info))
        return 0;
    return info.pti_resident_size;
}

unsigned bt_sys_online_cpus(void)
{
    return (unsigned)BT_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

/* Groups are ints here. */
int bt_sys_groups(const char *user, gid_t gid, gid_t *groups, int *n)
{
    return getgrouplist(user, (int)gid, (int *)(void *)groups, n);
}

/* fsync leaves the bytes in the drive's cache there; this one does not. */
int bt_sys_fdatasync(int fd)
{
    return fcntl(fd, F_FULLFSYNC) != -1 ? 0 : fsync(fd);
}

int64_t bt_sys_mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtimespec.tv_sec * 1000000000 +
           (int64_t)st->st_mtimespec.tv_nsec;
}
