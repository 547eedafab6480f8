/* A WebSocket over a fake lower stream: input in pieces of any size, output that takes
 * only so much. */
#include "hub/net/ws_stream.c"

#include "tests/harness.h"

struct fake {
    struct hub_stream base;
    const uint8_t *in;
    size_t n_in, at, step; /* what the peer sent; read gives at most step bytes a call */
    uint8_t out[400000];
    size_t n_out, take; /* write takes at most `take` bytes a call, 0 blocks */
    int freed;
    bool gone;
};
static struct fake fake;

static ssize_t fake_read(struct hub_stream *s, uint8_t *to, size_t room)
{
    size_t n = BT_MIN(BT_MIN(room, fake.step), fake.n_in - fake.at);

    (void)s;
    if (n == 0)
        return fake.gone ? BT_ECLOSED : 0;
    memcpy(to, fake.in + fake.at, n);
    fake.at += n;
    return (ssize_t)n;
}

static ssize_t fake_write(struct hub_stream *s, const struct iovec *iov, int n)
{
    size_t left = fake.take, sent = 0;

    (void)s;
    for (int i = 0; i < n; i++) {
        size_t k = BT_MIN(left, iov[i].iov_len);

        memcpy(fake.out + fake.n_out, iov[i].iov_base, k);
        fake.n_out += k;
        left -= k;
        sent += k;
    }
    return fake.gone ? BT_EIO : (ssize_t)sent;
}

static unsigned fake_wants(const struct hub_stream *s)
{
    (void)s;
    return 0;
}

static bool fake_pending(const struct hub_stream *s)
{
    (void)s;
    return false;
}

static void fake_goodbye(struct hub_stream *s, uint8_t reason)
{
    (void)s;
    (void)reason;
}

static void fake_peer(const struct hub_stream *s, struct hub_peer *out)
{
    (void)s;
    out->tls = true;
}

static void fake_free(struct hub_stream *s)
{
    (void)s;
    fake.freed++;
}

static const struct hub_stream_ops fake_ops = {
    fake_read, fake_write, fake_wants, fake_pending, fake_goodbye, fake_peer, fake_free,
};

static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: h\r\n"
                              "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";
static const struct hub_ws_rules no_rules;
static struct hub_stream *s;
static uint8_t wire[300000], got[300000];
static size_t n_wire, n_got;

/* Appends to what the client sends. */
static void client(uint8_t first, const void *payload, size_t n)
{
    static const uint8_t key[4] = { 1, 2, 3, 4 };
    size_t len = hub_ws_encode_head(wire + n_wire, HUB_WS_BINARY, n);

    wire[n_wire] = first;
    wire[n_wire + 1] |= 0x80;
    n_wire += len;
    memcpy(wire + n_wire, key, 4);
    hub_ws_unmask(wire + n_wire + 4, payload, n, key);
    n_wire += 4 + n;
    fake.n_in = n_wire;
}

static void text(const char *t)
{
    memcpy(wire + n_wire, t, strlen(t));
    n_wire += strlen(t);
    fake.n_in = n_wire;
}

static void start(size_t step)
{
    hub_stream_free(s);
    memset(&fake, 0, sizeof(fake));
    fake.base.ops = &fake_ops;
    fake.in = wire;
    fake.step = step;
    fake.take = sizeof(fake.out);
    n_wire = n_got = 0;
    CHECK_INT(hub_ws_stream_new(&no_rules, &fake.base, -1, &s), 0);
}

/* Reads until nothing comes: 0, or how the stream ended. */
static int drain(size_t room)
{
    for (;;) {
        size_t before = fake.at;
        ssize_t n = hub_stream_read(s, -1, got + n_got, room);

        if (n < 0)
            return (int)n;
        CHECK((size_t)n <= room);
        n_got += (size_t)n;
        if (n == 0 && fake.at == before && fake.at == fake.n_in && !hub_stream_pending(s))
            return 0;
    }
}

static void open_one(size_t step)
{
    start(step);
    text(request);
    CHECK_INT(drain(4096), 0);
    CHECK(memcmp(fake.out, "HTTP/1.1 101 ", 13) == 0);
    fake.n_out = 0;
}

/* The close frame is the last thing sent. */
static unsigned close_sent(void)
{
    CHECK(fake.n_out >= 4 && fake.out[0] == (0x80 | HUB_WS_CLOSE));
    CHECK_INT(fake.n_out, 2 + fake.out[1]);
    return (unsigned)fake.out[2] << 8 | fake.out[3];
}

/* Works. */

TEST(handshake_in_any_steps_with_frames_behind_it)
{
    for (size_t step = 1; step < 300; step++) {
        start(step);
        text(request);
        client(0x82, "hello ", 6);
        client(0x82, "world", 5);
        CHECK_INT(drain(1 + step % 7), 0);
        CHECK_INT(n_got, 11);
        CHECK_MEM(got, "hello world", 11);
        CHECK(hub_ws_of(s)->more == NULL); /* small when idle */
    }
}

TEST(frames_and_packets_need_not_fit)
{
    static uint8_t data[100000];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)test_random();
    for (size_t step = 1; step < 70000; step = step * 3 + 1) {
        open_one(step);
        client(0x02, data, 3);
        client(0x00, data + 3, 0);
        client(0x89, "x", 1);
        client(0x80, data + 3, 70000);
        client(0x82, data + 70003, 29997);
        CHECK_INT(drain(step == 1 ? 1 : 8192), 0);
        CHECK_INT(n_got, sizeof(data));
        CHECK_MEM(got, data, sizeof(data));
    }
}

TEST(only_the_last_ping_of_a_turn_is_answered)
{
    open_one(100000);
    for (int i = 0; i < 10000; i++)
        client(0x89, i == 9999 ? "last" : "ping", 4);
    CHECK_INT(drain(100000), 0);
    CHECK_INT(fake.n_out, 6);
    CHECK_MEM(fake.out, "\x8a\x04last", 6);
    CHECK(hub_ws_of(s)->more == NULL);
}

TEST(pong_frames_are_ignored)
{
    open_one(1);
    client(0x8a, "whatever", 8);
    CHECK_INT(drain(10), 0);
    CHECK_INT(fake.n_out, 0);
    CHECK(hub_ws_of(s)->more == NULL);
}

TEST(output_is_a_frame_for_each_packet)
{
    struct iovec iov[3] = { { (char *)"\xc0\x00\x40", 3 },
                            { (char *)"", 0 },
                            { (char *)"\x02\x01\x02", 3 } };

    open_one(1000);
    CHECK_INT(hub_stream_write(s, -1, iov, 3), 6);
    CHECK_INT(fake.n_out, 10);
    CHECK_MEM(fake.out, "\x82\x02\xc0\x00\x82\x04\x40\x02\x01\x02", 10);
    CHECK_INT(hub_stream_wants(s), 0);
}

/* A PUBLISH of n bytes at `to`. */
static size_t packet(uint8_t *to, size_t n)
{
    size_t head = n < 130 ? 2 : n < 16387 ? 3 : 4, left = n - head;

    to[0] = 0x30;
    for (size_t i = 1; i < head; i++, left >>= 7)
        to[i] = (uint8_t)((left & 0x7f) | (i + 1 < head ? 0x80 : 0));
    for (size_t i = head; i < n; i++)
        to[i] = (uint8_t)test_random();
    return n;
}

/* What a client makes of the output: frames that each hold one packet of data. */
static void check_output(const uint8_t *data, size_t n_data)
{
    size_t seen = 0;

    for (size_t at = 0; at < fake.n_out;) {
        size_t n = fake.out[at + 1], head = 2, len = 0;

        CHECK_INT(fake.out[at], 0x82);
        if (n >= 126) {
            head = n == 126 ? 4 : 10;
            n = 0;
            for (size_t i = 2; i < head; i++)
                n = n << 8 | fake.out[at + i];
        }
        CHECK_MEM(fake.out + at + head, data + seen, n);
        CHECK_INT(bt_mqtt_frame(data + seen, n, &len), 0);
        CHECK_INT(len, n);
        seen += n;
        at += head + n;
    }
    CHECK_INT(seen, n_data);
}

TEST(output_that_is_taken_in_pieces)
{
    static uint8_t data[200000];
    static const size_t sizes[] = { 5, 70000, 100, 16000, 16384, 20000, 9, 300, 7 };
    size_t n_data = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(sizes); i++)
        n_data += packet(data + n_data, sizes[i]);
    for (size_t first = 1; first < 40; first++) {
        size_t sent = 0;

        open_one(1000);
        for (size_t take = first; sent < n_data || hub_stream_wants(s) != 0;
             take = take * 2 % 49999) {
            size_t cut = BT_MIN(n_data - sent, 1000 + first);
            struct iovec iov[2] = { { data + sent, cut },
                                    { data + sent + cut, n_data - sent - cut } };
            ssize_t n;

            fake.take = take;
            n = hub_stream_write(s, -1, iov, 2);
            CHECK(n >= 0);
            sent += (size_t)n;
        }
        check_output(data, n_data);
        fake.take = 100;
        hub_stream_goodbye(s, 0); /* small again: all was sent */
        CHECK(hub_ws_of(s)->left == 0);
    }
}

TEST(a_pong_waits_for_the_end_of_a_frame)
{
    static uint8_t data[20000];
    struct iovec iov = { data, packet(data, sizeof(data)) };

    open_one(1000);
    fake.take = 6; /* head and two bytes */
    CHECK_INT(hub_stream_write(s, -1, &iov, 1), 2);
    client(0x89, "", 0);
    CHECK_INT(drain(100), 0);
    CHECK_INT(fake.n_out, 6);
    CHECK_INT(hub_stream_wants(s), 0); /* nothing to write before the frame goes on */
    fake.take = 100000;
    iov = (struct iovec){ data + 2, sizeof(data) - 2 };
    CHECK_INT(hub_stream_write(s, -1, &iov, 1), sizeof(data) - 2);
    CHECK_INT(hub_stream_wants(s), BT_WRITE);
    CHECK_INT(hub_stream_write(s, -1, NULL, 0), 0);
    CHECK_INT(fake.n_out, 4 + sizeof(data) + 2);
    CHECK_MEM(fake.out + 4, data, sizeof(data));
    CHECK_MEM(fake.out + 4 + sizeof(data), "\x8a\x00", 2);
    CHECK_INT(hub_stream_wants(s), 0);
}

TEST(a_head_of_which_only_a_part_was_taken)
{
    static uint8_t data[20000];
    struct iovec iov = { data, packet(data, sizeof(data)) };

    open_one(1000);
    fake.take = 1;
    CHECK_INT(hub_stream_write(s, -1, &iov, 1), 0);
    CHECK_INT(hub_stream_wants(s), BT_WRITE);
    fake.take = 0;
    CHECK_INT(hub_stream_write(s, -1, &iov, 1), 0);
    fake.take = 100000;
    CHECK_INT(hub_stream_write(s, -1, &iov, 1), sizeof(data));
    check_output(data, sizeof(data));
}

TEST(small_packets_of_which_only_a_part_was_taken)
{
    struct iovec iov = { (char *)"\xc0\x00\x40\x02\x01\x02", 6 };

    open_one(1000);
    fake.take = 3;
    CHECK_INT(hub_stream_write(s, -1, &iov, 1), 6); /* on their way */
    CHECK_INT(hub_stream_wants(s), BT_WRITE);
    CHECK_INT(hub_stream_write(s, -1, NULL, 0), 0);
    check_output(iov.iov_base, 6);
    CHECK(hub_ws_of(s)->more == NULL);
}

TEST(a_blocked_handshake_goes_on)
{
    start(1000);
    text(request);
    fake.take = 0;
    CHECK_INT(drain(100), 0);
    CHECK_INT(hub_stream_wants(s), BT_WRITE);
    fake.take = 10;
    CHECK_INT(hub_stream_write(s, -1, NULL, 0), 0);
    CHECK(fake.n_out > 100 && hub_stream_wants(s) == 0);
}

TEST(close_is_answered_with_its_code)
{
    open_one(1);
    client(0x82, "x", 1);
    client(0x88,
           "\x0f\xa1"
           "bye",
           5);
    CHECK(drain(100) < 0);
    CHECK_INT(n_got, 1);
    CHECK_INT(close_sent(), 4001);
    open_one(1);
    client(0x88, "", 0);
    CHECK(drain(100) < 0);
    CHECK_INT(fake.n_out, 2);
    CHECK(hub_stream_write(s, -1, &(struct iovec){ (char *)"x", 1 }, 1) < 0);
}

TEST(what_came_before_the_end_is_delivered)
{
    open_one(1000);
    client(0x82, "x", 1);
    client(0x88, "", 0);
    CHECK_INT(hub_stream_read(s, -1, got, 1000), 1);
    CHECK(hub_stream_pending(s));
    CHECK(hub_stream_read(s, -1, got, 1000) < 0);
}

TEST(goodbye_says_why)
{
    static const struct {
        uint8_t reason;
        unsigned code;
    } rows[] = {
        { BT_MQTT_SUCCESS, HUB_WS_NORMAL },
        { BT_MQTT_DISCONNECT_WITH_WILL, HUB_WS_NORMAL },
        { BT_MQTT_SHUTTING_DOWN, HUB_WS_GOING_AWAY },
        { BT_MQTT_MALFORMED, HUB_WS_PROTOCOL },
        { BT_MQTT_NOT_AUTHORIZED, HUB_WS_POLICY },
        { BT_MQTT_TOO_LARGE, HUB_WS_TOO_LARGE },
        { BT_MQTT_UNSPECIFIED, HUB_WS_INTERNAL },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        open_one(1000);
        hub_stream_goodbye(s, rows[i].reason);
        CHECK_INT(close_sent(), rows[i].code);
        hub_stream_goodbye(s, rows[i].reason);
        CHECK_INT(close_sent(), rows[i].code); /* once */
    }
}

TEST(goodbye_in_the_handshake_is_http)
{
    start(20);
    text("GET / HTTP/1.1\r\nHost: h");
    CHECK_INT(drain(100), 0);
    hub_stream_goodbye(s, BT_MQTT_KEEPALIVE_TIMEOUT);
    CHECK(memcmp(fake.out, "HTTP/1.1 408 ", 13) == 0);
    start(20); /* to one that said nothing, nothing is said */
    hub_stream_goodbye(s, BT_MQTT_KEEPALIVE_TIMEOUT);
    CHECK_INT(fake.n_out, 0);
}

TEST(the_stack_is_asked_and_freed)
{
    struct hub_peer peer;

    open_one(1);
    hub_stream_peer(s, &peer);
    CHECK(peer.tls);
    hub_stream_free(s);
    s = NULL;
    CHECK_INT(fake.freed, 1);
}

/* Fails. */

TEST(broken_rules)
{
    static const struct {
        uint8_t first;
        const char *payload;
        unsigned code;
    } rows[] = {
        { 0x81, "text", HUB_WS_WRONG_TYPE },
        { 0x83, "", HUB_WS_PROTOCOL },
        { 0xc2, "", HUB_WS_PROTOCOL },
        { 0x88, "x", HUB_WS_PROTOCOL },
        { 0x88, "\x03\xe8\xff", HUB_WS_BAD_DATA },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        open_one(1);
        client(0x82, "x", 1);
        client(rows[i].first, rows[i].payload, strlen(rows[i].payload));
        CHECK(drain(100) < 0);
        CHECK_INT(n_got, 1);
        CHECK_INT(close_sent(), rows[i].code);
        CHECK(hub_stream_wants(s) == 0 && hub_stream_pending(s));
    }
}

TEST(no_handshake)
{
    static const struct {
        const char *text, *answer;
    } rows[] = {
        { "\x10\x0cMQTT", "HTTP/1.1 400 " },
        { "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 426 " },
        { "POST / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 " },
        { "GET / HTTP/1.1\r\nHost : h\r\n", "HTTP/1.1 400 " },
    };
    size_t steps[] = { 1, 3, 1000 };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows) * BT_ARRAY_LEN(steps); i++) {
        size_t row = i / BT_ARRAY_LEN(steps);

        start(steps[i % BT_ARRAY_LEN(steps)]);
        text(rows[row].text);
        CHECK(drain(100) < 0);
        CHECK(memcmp(fake.out, rows[row].answer, strlen(rows[row].answer)) == 0);
        CHECK(hub_stream_read(s, -1, got, 100) < 0);
    }
}

TEST(a_request_without_an_end)
{
    size_t steps[] = { 1, 1000, 100000 };

    for (size_t i = 0; i < BT_ARRAY_LEN(steps); i++) {
        start(steps[i]);
        memset(wire, 'a', 20000);
        fake.n_in = 20000;
        CHECK(drain(100000) < 0);
        CHECK(memcmp(fake.out, "HTTP/1.1 414 ", 13) == 0);
        CHECK(fake.at <= BT_HTTP_MAX_HEAD);
    }
}

TEST(the_peer_goes)
{
    open_one(1);
    fake.gone = true;
    CHECK_INT(drain(100), BT_ECLOSED);
    CHECK(hub_stream_write(s, -1, &(struct iovec){ (char *)"x", 1 }, 1) < 0);
    start(10);
    fake.gone = true;
    CHECK_INT(drain(100), BT_ECLOSED);
}

TEST(no_memory)
{
    struct hub_stream *x = NULL;
    unsigned long failed = 0;
    int r;

    for (unsigned long nth = 1; nth <= 2; nth++) {
        bt_mem_fail_from(nth);
        CHECK_INT(hub_ws_stream_new(&no_rules, NULL, -1, &x), BT_ENOMEM);
        bt_mem_fail_from(0);
    }
    for (r = BT_ENOMEM; r != 0; failed++) {
        start(20);
        text(request);
        client(0x89, "ping", 4);
        bt_mem_fail_from(failed + 1);
        r = drain(100);
        bt_mem_fail_from(0);
        CHECK(r == 0 || r == BT_ENOMEM);
    }
    CHECK(failed > 3);
    open_one(1000);
    client(0x89, "ping", 4);
    bt_mem_fail_from(1);
    CHECK_INT(drain(100), BT_ENOMEM);
    bt_mem_fail_from(0);
    open_one(1000);
    fake.take = 1;
    bt_mem_fail_from(1);
    CHECK_INT(hub_stream_write(s, -1, &(struct iovec){ (char *)"x", 1 }, 1), BT_ENOMEM);
    bt_mem_fail_from(0);
    hub_stream_free(s);
    s = NULL;
}
