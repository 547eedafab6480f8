/* The idea: a byte array that doubles, with a ceiling that is checked before any
 * allocation, so that a length from outside cannot make it grow without bound. Consuming
 * moves the rest to the front; callers consume once per batch, not per item. Failure:
 * BT_ENOMEM or BT_ELIMIT; the contents stay as they were. */
#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

#define MIN_CAP 64

void bt_buf_deinit(struct bt_buf *b)
{
    bt_free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

int bt_buf_reserve(struct bt_buf *b, size_t n)
{
    size_t max = b->max != 0 ? b->max : BT_BUF_DEFAULT_MAX;
    size_t cap;
    uint8_t *data;

    if (bt_likely(n <= b->cap - b->len && b->len + n <= max))
        return 0;
    if (b->len > max || n > max - b->len)
        return BT_ELIMIT;
    cap = b->cap > max / 2 ? max : b->cap * 2;
    cap = BT_MAX(cap, b->len + n);
    cap = BT_MIN(BT_MAX(cap, (size_t)MIN_CAP), BT_MAX(max, b->len + n));
    data = bt_realloc(b->data, cap);
    if (data == NULL)
        return BT_ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int bt_buf_append(struct bt_buf *b, const void *p, size_t n)
{
    int r = bt_buf_reserve(b, n);

    if (r != 0)
        return r;
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    return 0;
}

int bt_buf_append_str(struct bt_buf *b, const char *s)
{
    return bt_buf_append(b, s, strlen(s));
}

int bt_buf_append_u8(struct bt_buf *b, uint8_t v)
{
    return bt_buf_append(b, &v, 1);
}

BT_PRINTF(2, 0)
static int append_formatted(struct bt_buf *b, const char *fmt, va_list args)
{
    va_list again;
    int need, r;

    va_copy(again, args);
    need = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (need < 0)
        return BT_EINVAL;
    /* vsnprintf writes a NUL, which is not part of the contents. */
    r = bt_buf_reserve(b, (size_t)need + 1);
    if (r != 0)
        return r;
    (void)vsnprintf((char *)b->data + b->len, (size_t)need + 1, fmt, args);
    b->len += (size_t)need;
    return 0;
}

int bt_buf_printf(struct bt_buf *b, const char *fmt, ...)
{
    va_list args;
    int r;

    va_start(args, fmt);
    r = append_formatted(b, fmt, args);
    va_end(args);
    return r;
}

void bt_buf_consume(struct bt_buf *b, size_t n)
{
    b->len -= n;
    if (n > 0 && b->len > 0)
        memmove(b->data, b->data + n, b->len);
}

int bt_buf_keep(struct bt_buf *b, struct bt_slice rest)
{
    int r = 0;

    if (b->len > 0)
        bt_buf_consume(b, b->len - rest.len);
    else if (rest.len > 0)
        r = bt_buf_append(b, rest.ptr, rest.len);
    if (b->len == 0)
        bt_buf_deinit(b);
    return r;
}

char *bt_buf_steal_str(struct bt_buf *b)
{
    uint8_t *data = bt_realloc(b->data, b->len + 1);

    if (data == NULL)
        return NULL;
    data[b->len] = '\0';
    b->data = NULL;
    b->len = b->cap = 0;
    return (char *)data;
}
