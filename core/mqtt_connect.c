/* From an address to a connected socket: tcp:// by the resolver, each of its addresses in
 * turn, or unix:// by path. Connecting does not block longer than the time allowed in
 * all. Failures are a sentence that says what to do. */
#include "core/mqtt_connect.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ADVICE                                                                        \
    "Is a broker running there? Start one with `baetyl start`, or name another with " \
    "--address."

static const char *after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

_Static_assert(BT_CLIENT_HOST_LEN == BT_STREAM_HOST_LEN && BT_STREAM_PORT_LEN == 8,
               "parts of addresses are copied");

/* -1: it begins like none of them; else whether that is with TLS. What follows is not
 * looked at. */
static int scheme_of(const char *address)
{
    static const char *const schemes[] = { "tcp://", "mqtt://", "ssl://", "tls://",
                                           "mqtts://" };

    for (size_t i = 0; i < BT_ARRAY_LEN(schemes); i++)
        if (after(address, schemes[i]) != NULL)
            return i >= 2;
    return -1;
}

bool bt_client_is_tls(const char *address)
{
    return scheme_of(address) == 1;
}

bool bt_client_split_tcp(const char *address, char host[BT_CLIENT_HOST_LEN], char port[8])
{
    struct bt_stream_address a;

    if (scheme_of(address) < 0 || bt_stream_parse(address, &a) != 0)
        return false;
    memcpy(host, a.host, sizeof(a.host));
    memcpy(port, a.port, sizeof(a.port));
    return true;
}

/* Connect fd by until. 0 or an errno. */
static int connect_by(int fd, const struct sockaddr *sa, socklen_t len, uint64_t until)
{
    struct pollfd pfd = { fd, POLLOUT, 0 };
    int error = 0, r;
    socklen_t error_len = sizeof(error);

    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return errno;
    if (connect(fd, sa, len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    do {
        uint64_t now = bt_clock_ms();

        if (now >= until)
            return ETIMEDOUT;
        r = poll(&pfd, 1, (int)(until - now));
    } while (r == 0 || (r < 0 && errno == EINTR));
    if (r < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) != 0)
        return errno;
    return error;
}

/* A connected socket, or -1 with errno. */
static int try_one(const struct sockaddr *sa, socklen_t len, uint64_t until)
{
    int fd = socket(sa->sa_family, SOCK_STREAM, 0), error, on = 1;

    if (fd < 0)
        return -1;
    error = connect_by(fd, sa, len, until);
    if (error != 0) {
        close(fd);
        errno = error;
        return -1;
    }
    if (sa->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static int open_tcp(const char *address, uint64_t until, char *error)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    char host[BT_CLIENT_HOST_LEN], port[8];
    int fd = -1, r;

    if (!bt_client_split_tcp(address, host, port)) {
        snprintf(error, BT_CLIENT_ERROR_LEN,
                 "the address %s is not of the form tcp://HOST:PORT", address);
        return -1;
    }
    r = getaddrinfo(host, port, &hints, &list);
    if (r != 0) {
        snprintf(error, BT_CLIENT_ERROR_LEN, "the host %s cannot be found: %s", host,
                 gai_strerror(r));
        return -1;
    }
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        fd = try_one(a->ai_addr, a->ai_addrlen, until);
    if (fd < 0)
        snprintf(error, BT_CLIENT_ERROR_LEN, "cannot connect to %s: %s. " ADVICE, address,
                 strerror(errno));
    freeaddrinfo(list);
    return fd;
}

static int open_unix(const char *path, uint64_t until, char *error)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd;

    if (path[0] == '\0' || strlen(path) >= sizeof(sa.sun_path)) {
        snprintf(error, BT_CLIENT_ERROR_LEN,
                 "the path of a Unix socket has 1 to %zu bytes; this one has %zu",
                 sizeof(sa.sun_path) - 1, strlen(path));
        return -1;
    }
    memcpy(sa.sun_path, path, strlen(path));
    fd = try_one((const struct sockaddr *)&sa, sizeof(sa), until);
    if (fd < 0)
        snprintf(error, BT_CLIENT_ERROR_LEN, "cannot connect to unix://%s: %s. " ADVICE,
                 path, strerror(errno));
    return fd;
}

int bt_client_open_socket(const char *address, uint32_t timeout_ms, int *out,
                          char error[BT_CLIENT_ERROR_LEN])
{
    uint64_t until = bt_clock_ms() + timeout_ms;
    const char *path = after(address, "unix://");

    if (path == NULL && scheme_of(address) < 0) {
        snprintf(error, BT_CLIENT_ERROR_LEN,
                 "the address %s is not of a kind this program can use: write "
                 "tcp://HOST:PORT, ssl://HOST:PORT or unix:///PATH",
                 address);
        return BT_EINVAL;
    }
    *out = path != NULL ? open_unix(path, until, error) : open_tcp(address, until, error);
    return *out >= 0 ? 0 : BT_EIO;
}
