/* An outgoing byte stream on a loop that never waits: TCP, TLS over TCP, or a Unix
 * socket. Protocols are written against the table of operations, so that tests give them
 * a stream in memory. All calls and callbacks on the loop's thread. */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include <sys/types.h>

#include "core/base.h"
#include "core/loop.h"

struct bt_resolver;
struct bt_tls_ctx;
struct bt_stream;

#define BT_STREAM_WHY_LEN  384u
#define BT_STREAM_HOST_LEN 256u
#define BT_STREAM_PORT_LEN 8u

/* An address taken apart. scheme://HOST[:PORT][/] with tcp, mqtt, ssl, tls, mqtts;
 * HOST:PORT alone is tcp; unix:///PATH. */
struct bt_stream_address {
    bool tls, local;               /* local: host is a path */
    char host[BT_STREAM_HOST_LEN]; /* without brackets */
    char port[BT_STREAM_PORT_LEN]; /* 1883, or 8883 with TLS, when none is given */
};
/* 0, or BT_EINVAL: it is none of these, or too long. */
int bt_stream_parse(const char *text, struct bt_stream_address *out) BT_MUST_CHECK;

struct bt_stream_conf {
    struct bt_stream_address address;
    struct bt_tls_ctx *tls; /* a client's; needed when address.tls. Referenced */
    struct bt_loop *loop;
    struct bt_resolver *resolver;
    uint32_t timeout_ms; /* for the lookup, for all addresses of the name together, for
                            the TLS handshake: each */
    void *arg;
    /* Once: bytes can be written. */
    void (*on_open)(void *arg);
    /* Something that was asked for with `want` can be done. */
    void (*on_ready)(void *arg, unsigned events);
    /* It could not be opened; the text says why in one line. Nothing else follows. */
    void (*on_failed)(void *arg, const char *why);
};

struct bt_stream_ops {
    /* Begin to open. No callback comes from inside. BT_ENOMEM, BT_EIO, ... */
    int (*open)(const struct bt_stream_conf *conf, struct bt_stream **out) BT_MUST_CHECK;
    /* After on_open. Up to room (> 0) bytes. 0: none now; < 0: the stream has ended, see
     * `why`. Whoever stops before 0 calls again by itself: what a layer holds is not
     * announced. */
    ssize_t (*read)(struct bt_stream *s, uint8_t *to, size_t room);
    /* Takes up to n bytes; how many are on their way. 0: none now; < 0 as read. n = 0
     * sends what the layer holds. */
    ssize_t (*write)(struct bt_stream *s, const uint8_t *p, size_t n);
    /* After on_open: what on_ready shall tell, BT_READ and BT_WRITE. What the layer needs
     * for itself it sees to. */
    void (*want)(struct bt_stream *s, unsigned events);
    /* Say goodbye as far as that needs no waiting, close, free. No callback follows.
     * Also from inside a callback. */
    void (*close)(struct bt_stream *s);
};
struct bt_stream {
    const struct bt_stream_ops *ops;
    char why[BT_STREAM_WHY_LEN]; /* after < 0 */
};

/* The one for the network: core/stream_net.c. */
extern const struct bt_stream_ops bt_stream_net;

#endif
