/* WebSocket frames.
 *
 * The decoder is fed whatever the socket gave and hands out one part at a time: the bytes
 * of a frame's head are kept when they come in pieces (14 of them at most), payload is
 * never kept. So a connection holds 28 bytes for it, and neither a frame nor a message
 * needs to be gathered: MQTT has its own lengths, and its packets may span frames or
 * share one (MQTT-6.0.0-2).
 *
 * Failure modes: a close code for each broken rule; the caller closes. */
#include "hub/net/ws_frame.h"

#include <string.h>

#include "core/mqtt.h"

#define FIN      0x80u
#define RESERVED 0x70u
#define OP_MASK  0x0fu
#define MASKED   0x80u

/* ---- From the client ---- */

static size_t head_size(uint8_t second)
{
    uint8_t len = second & 0x7f;

    return 2 + (len == 126 ? 2u : len == 127 ? 8u : 0) + 4;
}

/* The first byte against what is under way. */
static unsigned check_first(struct hub_ws_decoder *d, uint8_t first)
{
    uint8_t op = first & OP_MASK;

    if ((first & RESERVED) != 0)
        return HUB_WS_PROTOCOL; /* no extension was agreed */
    d->op = op;
    d->final = (first & FIN) != 0;
    switch (op) {
    case HUB_WS_MORE_OF:
        return d->message ? 0 : HUB_WS_PROTOCOL;
    case HUB_WS_TEXT:
    case HUB_WS_BINARY:
        if (d->message)
            return HUB_WS_PROTOCOL;
        return op == HUB_WS_TEXT ? HUB_WS_WRONG_TYPE : 0; /* MQTT-6.0.0-1 */
    case HUB_WS_CLOSE:
    case HUB_WS_PING:
    case HUB_WS_PONG:
        return d->final ? 0 : HUB_WS_PROTOCOL;
    default:
        return HUB_WS_PROTOCOL;
    }
}

static unsigned check_second(const struct hub_ws_decoder *d, uint8_t second)
{
    if ((second & MASKED) == 0)
        return HUB_WS_PROTOCOL;
    return d->op >= HUB_WS_CLOSE && (second & 0x7f) > HUB_WS_MAX_SHORT ? HUB_WS_PROTOCOL
                                                                       : 0;
}

/* The head is whole: length and mask. */
static unsigned take_head(struct hub_ws_decoder *d)
{
    const uint8_t *p = d->head + 2;
    size_t n = head_size(d->head[1]) - 6;
    uint64_t len = d->head[1] & 0x7f;

    if (n > 0) {
        uint64_t least = n == 2 ? 126 : 65536;

        len = 0;
        for (size_t i = 0; i < n; i++)
            len = len << 8 | *p++;
        if (len < least || len >> 63 != 0)
            return HUB_WS_PROTOCOL; /* section 5.2: the shortest form, no sign */
        if (len > HUB_WS_MAX_FRAME)
            return HUB_WS_TOO_LARGE;
    }
    d->left = (uint32_t)len;
    memcpy(d->mask, p, 4);
    d->n_head = 0;
    d->payload = true;
    return 0;
}

/* Gathers the head; each byte is checked as it comes. *used of the input. */
static unsigned gather_head(struct hub_ws_decoder *d, const uint8_t *p, size_t n,
                            size_t *used)
{
    while (*used < n) {
        unsigned code = 0;

        d->head[d->n_head++] = p[(*used)++];
        if (d->n_head == 1)
            code = check_first(d, d->head[0]);
        else if (d->n_head == 2)
            code = check_second(d, d->head[1]);
        else if (d->n_head == head_size(d->head[1]))
            return take_head(d);
        if (code != 0)
            return code;
    }
    return 0;
}

static void turn_mask(uint8_t mask[4], size_t by)
{
    uint8_t old[4];

    memcpy(old, mask, 4);
    for (size_t i = 0; i < 4; i++)
        mask[i] = old[(i + by) % 4];
}

unsigned hub_ws_decode(struct hub_ws_decoder *d, const uint8_t *p, size_t n,
                       struct hub_ws_part *out)
{
    unsigned code;

    *out = (struct hub_ws_part){ .payload = p };
    if (!d->payload) {
        code = gather_head(d, p, n, &out->used);
        if (code != 0 || !d->payload)
            return code;
    }
    out->op = d->op;
    out->control = d->op >= HUB_WS_CLOSE;
    out->payload = p + out->used;
    out->len = BT_MIN(n - out->used, (size_t)d->left);
    memcpy(out->mask, d->mask, 4);
    out->used += out->len;
    d->left -= (uint32_t)out->len;
    turn_mask(d->mask, out->len);
    out->end = d->left == 0;
    if (out->end) {
        d->payload = false;
        if (!out->control)
            d->message = !d->final;
    }
    return 0;
}

void hub_ws_unmask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t mask[4])
{
    uint64_t wide, word;
    size_t i = 0;

    memcpy(&wide, mask, 4);
    memcpy((uint8_t *)&wide + 4, mask, 4);
    /* Forward, a word is read before anything at or behind it is written. */
    for (; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, from + i, sizeof(word));
        word ^= wide;
        memcpy(to + i, &word, sizeof(word));
    }
    for (; i < n; i++)
        to[i] = from[i] ^ mask[i % 4];
}

/* ---- To the client ---- */

size_t hub_ws_encode_head(uint8_t out[HUB_WS_MAX_HEAD], enum hub_ws_op op, uint64_t len)
{
    size_t n = len < 126 ? 0 : len < 65536 ? 2 : 8;

    out[0] = (uint8_t)(FIN | op);
    out[1] = (uint8_t)(n == 0 ? len : n == 2 ? 126 : 127);
    for (size_t i = 0; i < n; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (n - 1 - i)));
    return 2 + n;
}

size_t hub_ws_encode_close(uint8_t out[HUB_WS_MAX_SHORT], unsigned code,
                           const char *reason)
{
    size_t n = BT_MIN(strlen(reason), (size_t)HUB_WS_MAX_SHORT - 2);

    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    memcpy(out + 2, reason, n);
    return 2 + n;
}

/* Section 7.4: registered codes that may be sent, and those of applications. */
static bool may_be_sent(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

unsigned hub_ws_decode_close(const uint8_t *p, size_t n, unsigned *code)
{
    *code = HUB_WS_NO_CODE;
    if (n == 0)
        return 0;
    if (n == 1)
        return HUB_WS_PROTOCOL;
    *code = (unsigned)p[0] << 8 | p[1];
    if (!may_be_sent(*code))
        return HUB_WS_PROTOCOL;
    return bt_mqtt_utf8_ok((struct bt_slice){ p + 2, n - 2 }) ? 0 : HUB_WS_BAD_DATA;
}
