/* A WebSocket client that sends any bytes. The first two choose whether the handshake is
 * done for it and in what steps the rest arrives. In whatever steps: the same MQTT bytes
 * come out, the same are answered or the stream ends the same way, and no more is kept or
 * answered than was sent. */
#include "hub/net/ws_frame.h"
#include "hub/net/ws_stream.h"

#include "core/log.h"
#include "core/mqtt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_INPUT 65536

static const char request[] = "GET /mqtt HTTP/1.1\r\nHost: h\r\n"
                              "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: mqtt\r\n\r\n";

static void require(bool ok)
{
    if (!ok)
        abort();
}

static struct lower {
    struct hub_stream base;
    const uint8_t *in;
    size_t left, step, written;
} lower;

static ssize_t lower_read(struct hub_stream *s, uint8_t *to, size_t room)
{
    size_t n = BT_MIN(BT_MIN(room, lower.step), lower.left);

    (void)s;
    memcpy(to, lower.in, n);
    lower.in += n;
    lower.left -= n;
    return (ssize_t)n;
}

static ssize_t lower_write(struct hub_stream *s, const struct iovec *iov, int n)
{
    size_t sum = 0;

    (void)s;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    lower.written += sum;
    return (ssize_t)sum;
}

static unsigned lower_wants(const struct hub_stream *s)
{
    (void)s;
    return 0;
}

static bool lower_pending(const struct hub_stream *s)
{
    (void)s;
    return false;
}

static void lower_goodbye(struct hub_stream *s, uint8_t reason)
{
    (void)s;
    (void)reason;
}

static void lower_free(struct hub_stream *s)
{
    (void)s;
}

static const struct hub_stream_ops lower_ops = {
    .read = lower_read,
    .write = lower_write,
    .wants = lower_wants,
    .pending = lower_pending,
    .goodbye = lower_goodbye,
    .free = lower_free,
};

struct result {
    uint8_t out[MAX_INPUT + sizeof(request)];
    size_t n;
    bool ended;
};

static void run(const uint8_t *data, size_t size, size_t step, struct result *r)
{
    static const struct hub_ws_rules rules;
    struct hub_stream *s;

    lower = (struct lower){ { .ops = &lower_ops }, data, size, step, 0 };
    require(hub_ws_stream_new(&rules, &lower.base, -1, &s) == 0);
    r->n = 0;
    r->ended = false;
    while (!r->ended && (lower.left > 0 || hub_stream_pending(s))) {
        size_t before = lower.left;
        ssize_t n = hub_stream_read(s, -1, r->out + r->n, 1 + step * 3);

        require(n > 0 || n < 0 || lower.left < before || hub_stream_pending(s));
        require(n <= (ssize_t)(1 + step * 3));
        if (n > 0)
            r->n += (size_t)n;
        r->ended = n < 0;
        require(r->n <= size);
        if ((hub_stream_wants(s) & 2u) != 0)
            require(hub_stream_write(s, -1, NULL, 0) >= 0);
    }
    hub_stream_goodbye(s, BT_MQTT_SUCCESS);
    require(lower.written <= 512 + 2 * size);
    hub_stream_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t input[MAX_INPUT + sizeof(request)];
    static struct result one, two;
    size_t n = 0;

    if (size < 2 || size > MAX_INPUT)
        return 0;
    bt_log_set_level(BT_LOG_ERROR);
    if ((data[0] & 1) != 0) {
        n = sizeof(request) - 1;
        memcpy(input, request, n);
    }
    memcpy(input + n, data + 2, size - 2);
    n += size - 2;
    run(input, n, MAX_INPUT, &one);
    run(input, n, 1 + data[1], &two);
    /* A request that is none may be told later when no line has ended. */
    require(one.n == two.n && (one.ended == two.ended || (data[0] & 1) == 0));
    require(memcmp(one.out, two.out, one.n) == 0);
    return 0;
}
