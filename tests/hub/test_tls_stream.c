/* The TLS layer over a stream that is in memory: what waits when the other side is slow,
 * what waits when the reader has no room, ends. */
#include "tests/harness.h"

#include "hub/net/tls_stream.c"
#include "tests/core/tls_certs.h"

#define YEAR_2050 INT64_C(2524608000000) /* ms */

#include "core/clock.h"

/* What lies below: bytes that came, bytes that went, and how many more may go. */
static struct {
    struct hub_stream base;
    struct bt_buf in, out;
    size_t room;
    bool ended;
} below;

static ssize_t below_read(struct hub_stream *s, uint8_t *to, size_t room)
{
    size_t n = BT_MIN(room, below.in.len);

    (void)s;
    if (n == 0)
        return below.ended ? BT_ECLOSED : 0;
    memcpy(to, below.in.data, n);
    bt_buf_consume(&below.in, n);
    return (ssize_t)n;
}

static ssize_t below_write(struct hub_stream *s, const struct iovec *iov, int n)
{
    size_t done = 0;

    (void)s;
    for (int i = 0; i < n && below.room > 0; i++) {
        size_t take = BT_MIN(iov[i].iov_len, below.room);

        CHECK_INT(bt_buf_append(&below.out, iov[i].iov_base, take), 0);
        below.room -= take;
        done += take;
    }
    return (ssize_t)done;
}

static void below_free(struct hub_stream *s)
{
    (void)s;
}

static const struct hub_stream_ops below_ops = { .read = below_read,
                                                 .write = below_write,
                                                 .free = below_free };

static const char *put(const char *text)
{
    static char paths[5][40];
    static int n;
    char *path = paths[n++ % 5];
    int fd;

    (void)snprintf(path, sizeof(paths[0]), "/tmp/baetyl-tls-XXXXXX");
    fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

static struct hub_stream *stream;
static struct bt_tls *client;

static void close_all(void)
{
    hub_stream_free(stream);
    bt_tls_free(client);
    stream = NULL;
    client = NULL;
    bt_buf_deinit(&below.in);
    bt_buf_deinit(&below.out);
    bt_clock_fake_stop();
}

static struct bt_tls_ctx *context(bool server)
{
    struct bt_tls_conf conf = { .server = server,
                                .require = BT_TLS_REQUIRED,
                                .ca = put(pem_ca),
                                .cert = put(server ? pem_server : pem_client),
                                .key = put(server ? pem_server_key : pem_client_key) };
    char error[BT_TLS_ERROR_LEN];
    struct bt_tls_ctx *ctx;

    CHECK_INT(bt_tls_ctx_new(&conf, &ctx, error), 0);
    (void)unlink(conf.ca);
    (void)unlink(conf.cert);
    (void)unlink(conf.key);
    return ctx;
}

/* What went out comes to the client; its plain bytes to `to`. */
static ssize_t client_read(uint8_t *to, size_t room)
{
    struct bt_slice in = { below.out.data, below.out.len };
    ssize_t n = bt_tls_read(client, &in, to, room, &below.in);

    bt_buf_consume(&below.out, below.out.len - in.len);
    return n;
}

static void client_write(const void *p, size_t n)
{
    struct iovec iov = { (void *)(uintptr_t)p, n };

    CHECK_INT(bt_tls_write(client, &iov, 1, n, &below.in), n);
}

static void open_all(void)
{
    struct bt_tls_ctx *server_ctx, *client_ctx;
    struct bt_slice none = { NULL, 0 };
    uint8_t byte;

    bt_clock_fake_start(1000000, YEAR_2050);
    server_ctx = context(true);
    client_ctx = context(false);
    below.base.ops = &below_ops;
    below.room = SIZE_MAX;
    below.ended = false;
    CHECK_INT(hub_tls_stream_new(server_ctx, -1, "ssl://test", &stream), 0);
    CHECK_INT(bt_tls_new(client_ctx, "hub.test", &client), 0);
    bt_tls_ctx_unref(server_ctx);
    bt_tls_ctx_unref(client_ctx);
    stream->lower = &below.base;
    CHECK_INT(bt_tls_handshake(client, &none, &below.in), 0);
    while (below.in.len > 0 || below.out.len > 0) {
        CHECK_INT(hub_stream_read(stream, -1, &byte, 1), 0);
        CHECK_INT(client_read(&byte, 1), 0);
    }
}

TEST(a_slow_peer)
{
    static uint8_t bytes[300000], got[300000];
    struct iovec iov = { bytes, sizeof(bytes) };
    size_t taken = 0, at = 0;
    ssize_t n;

    open_all();
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)test_random();
    below.room = 100;
    n = hub_stream_write(stream, -1, &iov, 1);
    CHECK_INT(n, WRITE_MAX);
    taken = (size_t)n;
    /* Nothing more until that is gone. */
    CHECK_INT(hub_stream_wants(stream), BT_WRITE);
    iov = (struct iovec){ bytes + taken, sizeof(bytes) - taken };
    CHECK_INT(hub_stream_write(stream, -1, &iov, 1), 0);
    below.room = 1000;
    CHECK_INT(hub_stream_write(stream, -1, NULL, 0), 0);
    CHECK_INT(hub_stream_wants(stream), BT_WRITE);
    below.room = SIZE_MAX;
    CHECK_INT(hub_stream_write(stream, -1, NULL, 0), 0);
    CHECK_INT(hub_stream_wants(stream), 0);
    CHECK(tls_of(stream)->unsent.data == NULL);
    while (taken < sizeof(bytes)) {
        iov = (struct iovec){ bytes + taken, sizeof(bytes) - taken };
        n = hub_stream_write(stream, -1, &iov, 1);
        CHECK(n > 0);
        taken += (size_t)n;
    }
    while (at < sizeof(got)) {
        n = client_read(got + at, sizeof(got) - at);
        CHECK(n > 0);
        at += (size_t)n;
    }
    CHECK_MEM(got, bytes, sizeof(bytes));
    close_all();
}

TEST(a_reader_without_room)
{
    uint8_t bytes[3000], got[3000];
    size_t at = 0;

    open_all();
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)test_random();
    for (size_t i = 0; i < sizeof(bytes); i += 100)
        client_write(bytes + i, 100);
    while (at < sizeof(got)) {
        ssize_t n = hub_stream_read(stream, -1, got + at, BT_MIN(70, sizeof(got) - at));

        CHECK(n >= 0 && (n > 0 || below.in.len > 0));
        at += (size_t)n;
    }
    CHECK_MEM(got, bytes, sizeof(bytes));
    CHECK(!hub_stream_pending(stream));
    CHECK(tls_of(stream)->rest.data == NULL);
    CHECK_INT(hub_stream_read(stream, -1, got, 100), 0);
    close_all();
}

TEST(names_and_ends)
{
    struct hub_peer peer;
    uint8_t byte;

    open_all();
    hub_stream_peer(stream, &peer);
    CHECK(peer.tls && peer.certificate);
    CHECK_STR(peer.common_name, "pump-1");
    CHECK_INT(strlen(peer.fingerprint), 64);
    hub_stream_goodbye(stream, 0);
    CHECK_INT(client_read(&byte, 1), BT_ECLOSED);
    below.ended = true;
    CHECK_INT(hub_stream_read(stream, -1, &byte, 1), BT_ECLOSED);
    close_all();
    /* The client says goodbye after its last bytes. */
    open_all();
    client_write("x", 1);
    bt_tls_close(client, &below.in);
    CHECK_INT(hub_stream_read(stream, -1, &byte, 1), 1);
    while (!hub_stream_pending(stream))
        CHECK_INT(hub_stream_read(stream, -1, &byte, 1), 0);
    CHECK_INT(hub_stream_read(stream, -1, &byte, 1), BT_ECLOSED);
    close_all();
}

TEST(out_of_memory)
{
    static uint8_t bytes[100000];
    struct iovec iov = { bytes, sizeof(bytes) };
    ssize_t n = -1;

    for (unsigned long nth = 1; n < 0 && nth < 50; nth++) {
        open_all();
        below.room = 10;
        bt_mem_fail_from(nth);
        n = hub_stream_write(stream, -1, &iov, 1);
        bt_mem_fail_from(0);
        CHECK(n < 0 || n == WRITE_MAX);
        close_all();
    }
    CHECK(n > 0);
}
