/* The body of a request: by length, or in chunks (RFC 9112 section 7.1).
 *
 * A small machine that eats lines byte by byte and hands out data by slices. Every line
 * has its ceiling, the sum of the chunks has one, and a chunk is ended by CRLF alone.
 * Trailer fields are eaten and forgotten, which section 7.1.2 allows. */
#include "core/http.h"

enum state { DATA, SIZE, EXTENSION, SIZE_LF, CHUNK, CHUNK_CR, CHUNK_LF, TRAILER, DONE };

int bt_http_body_init(struct bt_http_body *b, const struct bt_http_request *r,
                      uint64_t max)
{
    *b = (struct bt_http_body){ .left = r->content_length, .room = max };
    b->state = r->chunked ? SIZE : r->content_length > 0 ? DATA : DONE;
    return r->content_length > max ? 413 : 0;
}

/* One byte of a chunk's first line. */
static int on_size(struct bt_http_body *b, uint8_t c)
{
    int digit = bt_hex_digit(c);

    if (digit >= 0) {
        if (b->taken++ == 15)
            return 413;
        b->left = b->left << 4 | (uint64_t)digit;
        return BT_HTTP_MORE;
    }
    if (b->taken == 0 || (c != '\r' && c != ';'))
        return 400;
    if (b->left > b->room)
        return 413;
    b->room -= b->left;
    b->state = c == '\r' ? SIZE_LF : EXTENSION;
    return BT_HTTP_MORE;
}

static int on_extension(struct bt_http_body *b, uint8_t c)
{
    if (c == '\n' || ++b->taken > BT_HTTP_MAX_CHUNK_LINE)
        return 400;
    if (c == '\r')
        b->state = SIZE_LF;
    return BT_HTTP_MORE;
}

/* Trailer lines up to an empty one. b->left: 0 at a line's start, 1 in a line, 2 after
 * the CR of a line, 3 after the CR of the empty one. */
static int on_trailer(struct bt_http_body *b, uint8_t c)
{
    if (++b->taken > BT_HTTP_MAX_TRAILER)
        return 400;
    if (b->left >= 2) {
        if (c != '\n')
            return 400;
        if (b->left == 3) {
            b->state = DONE;
            return 0;
        }
        b->left = 0;
        return BT_HTTP_MORE;
    }
    if (c == '\n')
        return 400;
    b->left = c != '\r' ? 1 : b->left == 0 ? 3 : 2;
    return BT_HTTP_MORE;
}

static int expect_byte(struct bt_http_body *b, uint8_t c, uint8_t want, uint8_t next)
{
    b->state = next;
    b->taken = 0;
    return c == want ? BT_HTTP_MORE : 400;
}

static int on_byte(struct bt_http_body *b, uint8_t c)
{
    switch (b->state) {
    case SIZE:
        return on_size(b, c);
    case EXTENSION:
        return on_extension(b, c);
    case SIZE_LF:
        return expect_byte(b, c, '\n', b->left > 0 ? CHUNK : TRAILER);
    case CHUNK_CR:
        return expect_byte(b, c, '\r', CHUNK_LF);
    case CHUNK_LF:
        return expect_byte(b, c, '\n', SIZE);
    default:
        return on_trailer(b, c);
    }
}

int bt_http_body_feed(struct bt_http_body *b, const uint8_t *p, size_t n, size_t *used,
                      struct bt_slice *out)
{
    int r = BT_HTTP_MORE;

    *used = 0;
    *out = (struct bt_slice){ p, 0 };
    if (b->state == DONE)
        return 0;
    while (*used < n && r == BT_HTTP_MORE && b->state != DATA && b->state != CHUNK)
        r = on_byte(b, p[(*used)++]);
    if (r == BT_HTTP_MORE && *used < n) {
        *out = (struct bt_slice){ p + *used, n - *used };
        if (out->len > b->left)
            out->len = (size_t)b->left;
        *used += out->len;
        b->left -= out->len;
        if (b->left == 0) {
            r = b->state == DATA ? 0 : BT_HTTP_MORE;
            b->state = b->state == DATA ? DONE : CHUNK_CR;
        }
    }
    return r;
}
