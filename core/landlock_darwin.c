/* Darwin has no Landlock. */
#include <errno.h>

#include "core/landlock.h"

static int none(void)
{
    errno = ENOTSUP;
    return -1;
}

int bt_landlock_abi(void)
{
    return 0;
}

int bt_landlock_new(void)
{
    return none();
}

int bt_landlock_allow(int rules_fd, const char *path, enum bt_landlock_access access)
{
    (void)rules_fd;
    (void)path;
    (void)access;
    return none();
}

int bt_landlock_enter(int rules_fd)
{
    (void)rules_fd;
    return none();
}
