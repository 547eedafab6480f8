/* What lies between a connection and its descriptor: TLS, WebSocket, or WebSocket over
 * TLS. A plain connection has none (NULL) and pays nothing for it. A stream belongs to
 * its connection and moves with it to another worker; only that worker's thread calls it.
 *
 * A layer never blocks and never reads ahead of what it was asked for by more than one
 * record or frame. Streams stack: a WebSocket over TLS holds the TLS stream as `lower`.
 */
#ifndef HUB_STREAM_H
#define HUB_STREAM_H

#include <sys/types.h>
#include <sys/uio.h>

#include "core/base.h"

struct hub_stream;

/* Who is at the other end, as far as the transport knows. Strings are owned by the
 * stream, NUL-terminated, "" when absent. */
struct hub_peer {
    bool tls;                /* encrypted */
    bool certificate;        /* and it showed a certificate that was verified */
    const char *common_name; /* of the certificate's subject */
    const char *subject;     /* all of it, "CN=x,O=y" */
    const char *fingerprint; /* SHA-256 of the certificate, 64 hexadecimal digits */
};

struct hub_stream_ops {
    /* Up to room (> 0) bytes of MQTT to `to`. > 0: how many; 0: none yet, the descriptor
     * would block; < 0: the peer is gone, or broke the layer's rules (logged by the
     * layer). The first reads and writes do the handshake. */
    ssize_t (*read)(struct hub_stream *s, uint8_t *to, size_t room);
    /* Takes MQTT bytes from iov in order. > 0: how many are on their way (they need not
     * be offered again); 0: none, would block; < 0: as read. */
    ssize_t (*write)(struct hub_stream *s, const struct iovec *iov, int n);
    /* What the layer itself waits for, beside what the connection wants: BT_READ and
     * BT_WRITE (unsent handshake, close or pong bytes). BT_WRITE makes the connection
     * call write with n = 0 when the descriptor is writable. */
    unsigned (*wants)(const struct hub_stream *s);
    /* Bytes wait in the layer (or below it), so that read would return some without
     * asking the descriptor: the descriptor will not announce them. read is called again
     * until this is false, so it must become so. */
    bool (*pending)(const struct hub_stream *s);
    /* Say goodbye as far as that needs no waiting (close frame with the code that fits
     * the MQTT reason, close_notify). After the last write. */
    void (*goodbye)(struct hub_stream *s, uint8_t reason);
    void (*peer)(const struct hub_stream *s, struct hub_peer *out);
    /* With its lower streams. The descriptor is the connection's to close. */
    void (*free)(struct hub_stream *s);
};
struct hub_stream {
    const struct hub_stream_ops *ops;
    struct hub_stream *lower; /* NULL: fd */
    int fd;
};

/* The descriptor itself behaves like a stream: use these on `lower` (which may be NULL)
 * of a layer, and on a connection's stream. */
ssize_t hub_stream_read(struct hub_stream *s, int fd, uint8_t *to, size_t room);
ssize_t hub_stream_write(struct hub_stream *s, int fd, const struct iovec *iov, int n);
unsigned hub_stream_wants(const struct hub_stream *s);
bool hub_stream_pending(const struct hub_stream *s);
void hub_stream_goodbye(struct hub_stream *s, uint8_t reason);
/* All members set; a plain connection has no names. */
void hub_stream_peer(const struct hub_stream *s, struct hub_peer *out);
void hub_stream_free(struct hub_stream *s); /* NULL is fine */

#endif
