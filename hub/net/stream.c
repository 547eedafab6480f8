/* The bottom of every stack of streams: the descriptor itself. Happy path: one system
 * call. A call that would block is 0, the end of the peer is BT_ECLOSED, everything else
 * BT_EIO; neither is logged, because peers go away all the time. */
#include "hub/net/stream.h"

#include <errno.h>
#include <sys/socket.h>

#include "core/error.h"

static ssize_t outcome(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : BT_EIO;
}

ssize_t hub_stream_read(struct hub_stream *s, int fd, uint8_t *to, size_t room)
{
    ssize_t n;

    if (s != NULL)
        return s->ops->read(s, to, room);
    n = recv(fd, to, room, 0);
    return n == 0 ? BT_ECLOSED : outcome(n);
}

ssize_t hub_stream_write(struct hub_stream *s, int fd, const struct iovec *iov, int n)
{
    if (s != NULL)
        return s->ops->write(s, iov, n);
    return n == 0 ? 0 : outcome(writev(fd, iov, n));
}

unsigned hub_stream_wants(const struct hub_stream *s)
{
    return s == NULL ? 0 : s->ops->wants(s);
}

bool hub_stream_pending(const struct hub_stream *s)
{
    return s != NULL && s->ops->pending(s);
}

void hub_stream_goodbye(struct hub_stream *s, uint8_t reason)
{
    if (s != NULL)
        s->ops->goodbye(s, reason);
}

void hub_stream_peer(const struct hub_stream *s, struct hub_peer *out)
{
    *out = (struct hub_peer){ .common_name = "", .subject = "", .fingerprint = "" };
    if (s != NULL)
        s->ops->peer(s, out);
}

void hub_stream_free(struct hub_stream *s)
{
    if (s != NULL)
        s->ops->free(s);
}
