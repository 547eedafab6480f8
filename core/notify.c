/* The idea: one socket per message, because there are a handful per run and one per
 * watchdog period. A name that begins with '@' is in Linux's abstract space: the first
 * byte is NUL and the length counts. Failure: a manager that is gone is logged; we serve
 * on without it. */
#include "core/notify.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/error.h"
#include "core/sys.h"

/* The address of `name`, or 0 when it is no socket's name. */
static socklen_t address(const char *name, struct sockaddr_un *out)
{
    size_t len = strlen(name);

    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(out->sun_path))
        return 0;
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, name, len);
    if (name[0] == '@')
        out->sun_path[0] = '\0';
    else
        len++;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int bt_notify(const char *state)
{
    const char *name =
        getenv("NOTIFY_SOCKET"); /* NOLINT(concurrency-mt-unsafe): never set */
    struct sockaddr_un addr;
    socklen_t addr_len;
    ssize_t sent;
    int fd;

    if (name == NULL || name[0] == '\0')
        return BT_NOTIFY_NONE;
    addr_len = address(name, &addr);
    if (addr_len == 0)
        return bt_origin(BT_EINVAL, "NOTIFY_SOCKET is not a socket's name");
    fd = bt_sys_socket(AF_UNIX, SOCK_DGRAM);
    if (fd < 0)
        return bt_origin(BT_EIO, "cannot notify the service manager");
    sent = sendto(fd, state, strlen(state), 0, (struct sockaddr *)&addr, addr_len);
    if (sent < 0) {
        int r = bt_origin(BT_EIO, "cannot notify the service manager");

        close(fd);
        return r;
    }
    close(fd);
    return 0;
}

static uint64_t number(const char *text)
{
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

uint64_t bt_notify_watchdog_ms(void)
{
    uint64_t usec = number(getenv("WATCHDOG_USEC")); /* NOLINT(concurrency-mt-unsafe) */
    uint64_t pid = number(getenv("WATCHDOG_PID"));   /* NOLINT(concurrency-mt-unsafe) */

    if (pid != 0 && pid != (uint64_t)getpid())
        return 0;
    return usec == 0 ? 0 : BT_MAX(usec / 1000u, 1u);
}
