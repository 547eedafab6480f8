/* Linux: the calls with the flags we need exist; older kernels lack memfd_create with
 * noexec, close_range (5.9) and its flag (5.11), and get a fallback. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/sys.h"

/* Stable numbers of the kernel's interface; some C libraries' headers are older. */
#define NR_CLOSE_RANGE 436
#define RANGE_CLOEXEC  4u
/* Our own descriptors are all close-on-exec: the fallback is a second net with a bound.
 */
#define FALLBACK_MAX_FD 65536

int bt_sys_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC);
}

int bt_sys_socket(int domain, int type)
{
    return socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int bt_sys_socketpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

int bt_sys_packetpair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

int bt_sys_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return accept4(fd, addr, len, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static int unlinked_file(void)
{
    char path[] = "/tmp/baetyl-XXXXXX"; /* NOLINT: a pattern */
    int fd = mkostemp(path, O_CLOEXEC);

    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

int bt_sys_memfd(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    return fd >= 0 || errno != ENOSYS ? fd : unlinked_file();
}

static int fallback_end(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FALLBACK_MAX_FD)
        return (int)limit.rlim_cur;
    return FALLBACK_MAX_FD;
}

void bt_sys_cloexec_from(int lowest)
{
    int fd, end;

    if (syscall(NR_CLOSE_RANGE, (unsigned)lowest, ~0u, RANGE_CLOEXEC) == 0)
        return;
    end = fallback_end();
    for (fd = lowest; fd < end; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void bt_sys_close_from(int lowest)
{
    int fd, end;

    if (syscall(NR_CLOSE_RANGE, (unsigned)lowest, ~0u, 0u) == 0)
        return;
    end = fallback_end();
    for (fd = lowest; fd < end; fd++)
        (void)close(fd);
}

int bt_sys_pdeathsig(int signum)
{
    return prctl(PR_SET_PDEATHSIG, (unsigned long)signum, 0UL, 0UL, 0UL);
}

int bt_sys_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL);
}

int bt_sys_no_new_privs(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
}

int bt_sys_random(void *out, size_t n)
{
    uint8_t *p = out;

    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

void bt_sys_thread_name(const char *name)
{
    char cut[16] = "";

    strncpy(cut, name, sizeof(cut) - 1);
    (void)pthread_setname_np(pthread_self(), cut);
}

int64_t bt_sys_thread_cpu_us(pthread_t thread)
{
    clockid_t clock;
    struct timespec ts;

    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &ts) != 0)
        return 0;
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static uint64_t rss_in(const char *statm)
{
    char text[128] = "";
    char *end;
    unsigned long long pages;
    ssize_t n;
    int fd = open(statm, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return 0;
    /* The second number; the first is the size of the address space. */
    (void)strtoull(text, &end, 10);
    pages = strtoull(end, NULL, 10);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t bt_sys_rss_bytes(void)
{
    return rss_in("/proc/self/statm");
}

uint64_t bt_sys_rss_of(pid_t pid)
{
    char path[40];

    (void)snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    return rss_in(path);
}

unsigned bt_sys_online_cpus(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    return (unsigned)BT_MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L);
}

int bt_sys_groups(const char *user, gid_t gid, gid_t *groups, int *n)
{
    return getgrouplist(user, gid, groups, n);
}

int bt_sys_fdatasync(int fd)
{
    return fdatasync(fd);
}

int64_t bt_sys_mtime_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + (int64_t)st->st_mtim.tv_nsec;
}
