/* One frame for each packet. The standard lets a frame hold several packets, but clients
 * that are in use (paho's for C, version 1.3) do not look for a second one, so the hub
 * does as other brokers do. To send many small packets by one system call all the same,
 * they are copied with their heads into one piece; large ones are not. */
#include "hub/net/ws_pack.h"

#include <string.h>

#include "core/mqtt.h"
#include "hub/net/ws_frame.h"

#define MQTT_HEAD 5u /* the longest: type and four bytes of length */

struct cursor {
    const struct iovec *iov;
    int n;
    size_t at; /* in the first of them */
};

/* Copies up to n bytes and moves on behind them; returns how many there were. */
static size_t copy(struct cursor *c, uint8_t *to, size_t n)
{
    size_t done = 0;

    while (done < n && c->n > 0) {
        size_t k = BT_MIN(n - done, c->iov->iov_len - c->at);

        if (k > 0)
            memcpy(to + done, (const uint8_t *)c->iov->iov_base + c->at, k);
        done += k;
        c->at += k;
        if (c->at == c->iov->iov_len) {
            c->iov++;
            c->n--;
            c->at = 0;
        }
    }
    return done;
}

/* The length of the packet at c; 0 when it cannot be told. */
static size_t packet_len(struct cursor c)
{
    uint8_t head[MQTT_HEAD] = { 0 };
    size_t n = copy(&c, head, sizeof(head)), len = 0;

    return bt_mqtt_frame(head, n, &len) == 0 ? len : 0;
}

static size_t total_of(const struct iovec *iov, int n)
{
    size_t total = 0;

    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

size_t hub_ws_packet_len(const struct iovec *iov, int n)
{
    size_t len = packet_len((struct cursor){ iov, n, 0 });

    return len > 0 ? len : total_of(iov, n);
}

size_t hub_ws_pack(const struct iovec *iov, int n, uint8_t *out, size_t room,
                   size_t *taken)
{
    struct cursor c = { iov, n, 0 };
    size_t used = 0, left = total_of(iov, n);

    *taken = 0;
    for (;;) {
        size_t len = packet_len(c);

        if (len == 0 || len > left || used + HUB_WS_MAX_HEAD + len > room)
            return used;
        used += hub_ws_encode_head(out + used, HUB_WS_BINARY, len);
        used += copy(&c, out + used, len);
        left -= len;
        *taken += len;
    }
}
