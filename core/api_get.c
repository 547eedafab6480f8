/* One request, closed by the server after its answer: so the body is all that follows the
 * head. */
#include "core/api_get.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/error.h"
#include "core/sys.h"

#define TIMEOUT_S 90 /* for a part of the answer to a GET */
#define STEP      16384u

static int connect_to(const char *path, time_t timeout_s)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = timeout_s };
    int fd, saved;

    memcpy(sa.sun_path, path, strlen(path) + 1);
    fd = bt_sys_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return -1;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
        connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return fd;
    saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

/* A server that refuses closes before it has read all; its answer is there then. */
static int send_all(int fd, struct bt_slice data)
{
    size_t sent = 0;

    while (sent < data.len) {
        ssize_t n = send(fd, data.ptr + sent, data.len - sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EPIPE || errno == ECONNRESET ? 0 : BT_EIO;
        sent += (size_t)n;
    }
    return 0;
}

static int receive(int fd, struct bt_buf *answer)
{
    for (;;) {
        int r = bt_buf_reserve(answer, STEP);
        ssize_t n;

        if (r != 0)
            return r;
        n = recv(fd, answer->data + answer->len, STEP, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return BT_EIO;
        if (n == 0)
            return 0;
        answer->len += (size_t)n;
    }
}

/* Splits status and body off the answer. */
static int understand(const struct bt_buf *answer, unsigned *status, struct bt_buf *body)
{
    static const char version[] = "HTTP/1.1 ", end[] = "\r\n\r\n";
    const uint8_t *at = answer->data;
    size_t n = sizeof(version) - 1;

    if (answer->len < n + 3 || memcmp(at, version, n) != 0)
        return BT_EINVAL;
    *status = 0;
    for (size_t i = n; i < n + 3; i++) {
        if (at[i] < '0' || at[i] > '9')
            return BT_EINVAL;
        *status = *status * 10 + (unsigned)(at[i] - '0');
    }
    for (size_t i = 0; i + 4 <= answer->len; i++)
        if (memcmp(at + i, end, 4) == 0)
            return bt_buf_append(body, at + i + 4, answer->len - i - 4);
    return BT_EINVAL;
}

static int put_request(const struct bt_api_ask *a, struct bt_buf *out)
{
    return bt_buf_printf(out,
                         "%s %s HTTP/1.1\r\nHost: baetyl\r\nConnection: close\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         a->method, a->target, a->body.len);
}

int bt_api_ask(const struct bt_api_ask *a, unsigned *status, struct bt_buf *body)
{
    struct bt_buf head bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_buf answer bt_cleanup(bt_buf_deinit) = { .max = BT_API_GET_MAX };
    int fd, r;

    if (strlen(a->socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return BT_ELIMIT;
    r = put_request(a, &head);
    if (r != 0)
        return r;
    /* How long a call may take is the function's affair. */
    fd = connect_to(a->socket_path, a->patient ? 0 : TIMEOUT_S);
    if (fd < 0)
        return BT_EIO;
    r = send_all(fd, (struct bt_slice){ head.data, head.len });
    if (r == 0)
        r = send_all(fd, a->body);
    if (r == 0)
        r = receive(fd, &answer);
    (void)close(fd);
    return r == 0 ? understand(&answer, status, body) : r;
}

int bt_api_get(const char *socket_path, const char *target, unsigned *status,
               struct bt_buf *body)
{
    struct bt_api_ask a = {
        .socket_path = socket_path, .method = "GET", .target = target, .body = { NULL, 0 }
    };

    return bt_api_ask(&a, status, body);
}

int bt_api_put_encoded(struct bt_buf *target, const char *value)
{
    static const char hex[] = "0123456789ABCDEF";
    int r = 0;

    for (const uint8_t *p = (const uint8_t *)value; *p != '\0' && r == 0; p++) {
        bool plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                     (*p >= 'A' && *p <= 'Z') || strchr("-._~", *p) != NULL;
        char text[3] = { '%', hex[*p >> 4], hex[*p & 15] };

        r = plain ? bt_buf_append_u8(target, *p) : bt_buf_append(target, text, 3);
    }
    return r;
}

int bt_api_put_param(struct bt_buf *target, const char *name, const char *value)
{
    bool first = memchr(target->data, '?', target->len) == NULL;
    int r = bt_buf_printf(target, "%c%s=", first ? '?' : '&', name);

    return r == 0 ? bt_api_put_encoded(target, value) : r;
}
