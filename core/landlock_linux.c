/* The system calls, which no C library wraps. Rights that the running kernel does not
 * know are left out: it would refuse the whole set.
 *
 * A rule that names a file may hold only rights that a file can have; a folder's may hold
 * all. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/landlock.h"

/* Stable numbers of the kernel's interface, the same on every architecture; some C
 * libraries' and distributions' headers are older than they. */
#define NR_CREATE_RULESET 444
#define NR_ADD_RULE       445
#define NR_RESTRICT_SELF  446
#define CREATE_VERSION    1u
#define RULE_PATH_BENEATH 1
#define SCOPE_SIGNAL      2u

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_ALL_V1 = (1 << 13) - 1,
    FS_REFER = 1 << 13,     /* version 2 */
    FS_TRUNCATE = 1 << 14,  /* version 3 */
    FS_IOCTL_DEV = 1 << 15, /* version 5 */
};
#define FS_OF_A_FILE \
    (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset_attr {
    uint64_t handled_fs, handled_net, scoped;
};
struct __attribute__((packed)) beneath_attr {
    uint64_t allowed;
    int32_t parent_fd;
};

static const uint64_t rights_of[] = {
    [BT_LANDLOCK_READ] = FS_EXECUTE | FS_READ_FILE | FS_READ_DIR,
    [BT_LANDLOCK_WRITE] = FS_ALL_V1 | FS_REFER | FS_TRUNCATE,
    [BT_LANDLOCK_USE] = FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
};

int bt_landlock_abi(void)
{
    long version = syscall(NR_CREATE_RULESET, NULL, (size_t)0, CREATE_VERSION);

    return version > 0 ? (int)version : 0;
}

static uint64_t handled(int abi)
{
    uint64_t all = FS_ALL_V1;

    all |= abi >= 2 ? FS_REFER : 0;
    all |= abi >= 3 ? FS_TRUNCATE : 0;
    all |= abi >= 5 ? FS_IOCTL_DEV : 0;
    return all;
}

int bt_landlock_new(void)
{
    int abi = bt_landlock_abi();
    struct ruleset_attr attr = { .handled_fs = handled(abi) };
    size_t size = sizeof(attr.handled_fs);

    if (abi == 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (abi >= 6) {
        attr.scoped = SCOPE_SIGNAL;
        size = sizeof(attr);
    }
    return (int)syscall(NR_CREATE_RULESET, &attr, size, 0u);
}

static int add_rule(int rules_fd, int fd, uint64_t rights)
{
    struct beneath_attr rule = { .allowed = rights, .parent_fd = fd };

    return (int)syscall(NR_ADD_RULE, rules_fd, RULE_PATH_BENEATH, &rule, 0u);
}

int bt_landlock_allow(int rules_fd, const char *path, enum bt_landlock_access access)
{
    uint64_t rights = rights_of[access] & handled(bt_landlock_abi());
    int fd = open(path, O_PATH | O_CLOEXEC), r = -1, saved;
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) == 0)
        r = add_rule(rules_fd, fd, S_ISDIR(st.st_mode) ? rights : rights & FS_OF_A_FILE);
    saved = errno;
    close(fd);
    errno = saved;
    return r;
}

int bt_landlock_enter(int rules_fd)
{
    /* Another folder for every process: only the process itself can name it. */
    int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (self >= 0) {
        (void)add_rule(rules_fd, self, FS_READ_FILE | FS_READ_DIR);
        (void)close(self);
    }
    return (int)syscall(NR_RESTRICT_SELF, rules_fd, 0u);
}
