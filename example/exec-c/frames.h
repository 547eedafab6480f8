/* Baetyl's frames (docs/frames.md) for a function in C: copy this file beside yours.
 *
 *     struct frames f;
 *     struct frames_call call;
 *
 *     if (frames_open(&f, "average 1") != 0)
 *         return 1;
 *     while (frames_next(&f, &call) > 0)
 *         frames_reply(&f, &call, call.payload, call.payload_len);
 *     return 0;
 *
 * Standard output is for the log: what you print there never disturbs a frame. */
#ifndef FRAMES_H
#define FRAMES_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct frames_call {
    uint64_t id, packet_id, qos;
    int64_t timestamp; /* seconds since 1970 */
    /* Bytes without a 0 at the end; valid until the next frames_next. */
    const uint8_t *topic, *payload, *function, *invoke_id;
    size_t topic_len, payload_len, function_len, invoke_id_len;
};

struct frames {
    uint8_t *in, *out;
    size_t max;     /* longest message, both ways */
    char name[256]; /* of the function */
};

/* ---- Protobuf ---- */

struct frames_cursor {
    const uint8_t *p, *end;
};

/* One field: its number in *key, a number in *value, or bytes as a cursor in *sub. 1, 0 at
 * the end, -1 when it is wrong. */
static int frames_varint(struct frames_cursor *c, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && c->p < c->end; shift += 7) {
        *out |= (uint64_t)(*c->p & 127) << shift;
        if (*c->p++ < 128)
            return 0;
    }
    return -1;
}

static int frames_field(struct frames_cursor *c, unsigned *key, uint64_t *value,
                        struct frames_cursor *sub)
{
    uint64_t head;

    *sub = (struct frames_cursor){ NULL, NULL };
    *value = 0;
    if (c->p == c->end)
        return 0;
    if (frames_varint(c, &head) != 0)
        return -1;
    *key = (unsigned)(head >> 3);
    if ((head & 7) == 0)
        return frames_varint(c, value) == 0 ? 1 : -1;
    if ((head & 7) != 2 || frames_varint(c, value) != 0 ||
        *value > (uint64_t)(c->end - c->p))
        return -1;
    *sub = (struct frames_cursor){ c->p, c->p + *value };
    c->p += *value;
    return 1;
}

static uint8_t *frames_put_varint(uint8_t *p, uint64_t v)
{
    for (; v > 127; v >>= 7)
        *p++ = (uint8_t)(v | 128);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *frames_put_bytes(uint8_t *p, unsigned key, const void *data, size_t n)
{
    p = frames_put_varint(p, key << 3 | 2);
    p = frames_put_varint(p, n);
    memcpy(p, data, n);
    return p + n;
}

static size_t frames_varint_len(uint64_t v)
{
    uint8_t scratch[10];

    return (size_t)(frames_put_varint(scratch, v) - scratch);
}

/* ---- The pipes ---- */

/* 1, 0 at the end of the file, -1 */
static int frames_read_all(uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t got = read(3, p, n);

        if (got <= 0)
            return (int)got;
        p += got;
        n -= (size_t)got;
    }
    return 1;
}

static int frames_write_all(const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(4, p, n);

        if (put < 0)
            return -1;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

/* One message: the body of its member `key` of Frame. As frames_read_all. */
static int frames_read(struct frames *f, unsigned want, struct frames_cursor *body)
{
    uint8_t prefix[5];
    struct frames_cursor c;
    unsigned key;
    uint64_t n;
    int r = frames_read_all(prefix, sizeof(prefix));

    if (r <= 0)
        return r;
    n = (uint64_t)prefix[1] << 24 | (uint64_t)prefix[2] << 16 | (uint64_t)prefix[3] << 8 |
        prefix[4];
    if (prefix[0] != 0 || n > f->max || frames_read_all(f->in, (size_t)n) != 1)
        return -1;
    c = (struct frames_cursor){ f->in, f->in + n };
    while ((r = frames_field(&c, &key, &n, body)) == 1) {
        if (key == want && body->p != NULL)
            return 1;
    }
    return -1;
}

/* Send f->out, in which the first 5 bytes are room for the prefix. */
static int frames_send(struct frames *f, const uint8_t *end)
{
    size_t n = (size_t)(end - f->out) - 5;

    f->out[0] = 0;
    for (int i = 0; i < 4; i++)
        f->out[1 + i] = (uint8_t)(n >> (24 - 8 * i));
    return frames_write_all(f->out, n + 5);
}

/* ---- For the function ---- */

/* Take the manager's hello and say that we are ready. runtime: name and version for the
 * log. 0 or -1. */
static inline int frames_open(struct frames *f, const char *runtime)
{
    struct frames_cursor hello, sub;
    uint8_t body[300], *p;
    uint64_t value, version = 0;
    unsigned key;
    int r;

    f->max = 64 * 1024;
    f->in = malloc(f->max);
    f->out = malloc(f->max);
    /* Programs that we start must not hold the pipes. */
    if (f->in == NULL || f->out == NULL || fcntl(3, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(4, F_SETFD, FD_CLOEXEC) != 0 || frames_read(f, 1, &hello) != 1)
        return -1;
    f->name[0] = '\0';
    while ((r = frames_field(&hello, &key, &value, &sub)) == 1) {
        if (key == 1)
            version = value;
        else if (key == 2)
            f->max = (size_t)value;
        else if (key == 3 && value < sizeof(f->name)) {
            memcpy(f->name, sub.p, (size_t)value);
            f->name[value] = '\0';
        }
    }
    free(f->in);
    free(f->out);
    f->in = malloc(f->max);
    f->out = malloc(f->max + 64);
    if (r != 0 || version != 1 || f->in == NULL || f->out == NULL ||
        strlen(runtime) > 200)
        return -1;
    p = frames_put_varint(body, 1 << 3);
    p = frames_put_varint(p, 1);
    p = frames_put_bytes(p, 6, runtime, strlen(runtime));
    return frames_send(f, frames_put_bytes(f->out + 5, 1, body, (size_t)(p - body)));
}

/* The call failed: an error message is published. type: NULL or a gRPC status name. */
static inline int frames_fail(struct frames *f, const struct frames_call *call,
                              const char *message, const char *type)
{
    size_t n = strlen(message), m = type != NULL ? strlen(type) : 0, error;
    uint8_t *p = f->out + 5;

    n = n < 4096 ? n : 4096;
    m = m < 64 ? m : 64;
    error = 1 + frames_varint_len(n) + n + (m > 0 ? 2 + m : 0);
    p = frames_put_varint(p, 3 << 3 | 2);
    p = frames_put_varint(p, 1 + frames_varint_len(call->id) + 1 +
                                 frames_varint_len(error) + error);
    p = frames_put_varint(p, 1 << 3);
    p = frames_put_varint(p, call->id);
    p = frames_put_varint(p, 3 << 3 | 2);
    p = frames_put_varint(p, error);
    p = frames_put_bytes(p, 1, message, n);
    if (m > 0)
        p = frames_put_bytes(p, 2, type, m);
    return frames_send(f, p);
}

/* The result; n 0: nothing is published. */
static inline int frames_reply(struct frames *f, const struct frames_call *call,
                               const void *data, size_t n)
{
    size_t body = 1 + frames_varint_len(call->id) + 1 + frames_varint_len(n) + n;
    size_t all = 1 + frames_varint_len(body) + body;
    uint8_t *p = f->out + 5;

    if (n > f->max || all > f->max) {
        char text[128];

        snprintf(text, sizeof(text), "grpc: received message larger than max (%zu vs. %zu)",
                 all, f->max);
        return frames_fail(f, call, text, "ResourceExhausted");
    }
    p = frames_put_varint(p, 3 << 3 | 2);
    p = frames_put_varint(p, body);
    p = frames_put_varint(p, 1 << 3);
    p = frames_put_varint(p, call->id);
    return frames_send(f, frames_put_bytes(p, 2, n > 0 ? data : "", n));
}

/* The next call. 1, 0 when there are no more (exit), -1 (exit with status 1). */
static inline int frames_next(struct frames *f, struct frames_call *call)
{
    struct frames_cursor body, message = { NULL, NULL }, sub;
    uint64_t value;
    unsigned key;
    int r = frames_read(f, 2, &body);

    if (r <= 0)
        return r;
    memset(call, 0, sizeof(*call));
    while ((r = frames_field(&body, &key, &value, &sub)) == 1) {
        if (key == 1)
            call->id = value;
        else if (key == 2)
            message = sub;
    }
    while (r == 0 && (r = frames_field(&message, &key, &value, &sub)) == 1) {
        switch (key) {
        case 1:
            call->packet_id = value;
            break;
        case 2:
            call->qos = value;
            break;
        case 3:
            call->topic = sub.p;
            call->topic_len = (size_t)value;
            break;
        case 4:
            call->payload = sub.p;
            call->payload_len = (size_t)value;
            break;
        case 10: /* zig-zag */
            call->timestamp = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            break;
        case 11:
            call->function = sub.p;
            call->function_len = (size_t)value;
            break;
        case 12:
            call->invoke_id = sub.p;
            call->invoke_id_len = (size_t)value;
            break;
        default:
            break;
        }
        r = 0;
    }
    if (r != 0)
        return -1;
    if (call->function_len == strlen(f->name) &&
        memcmp(call->function, f->name, call->function_len) == 0)
        return 1;
    r = frames_fail(f, call, "Exception calling application: function not found", NULL);
    return r == 0 ? frames_next(f, call) : -1;
}

#endif
