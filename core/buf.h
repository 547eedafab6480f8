/* A growable byte buffer with a ceiling. Owner: whoever embeds it; not thread-safe. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include "core/base.h"

/* Zero-initialise to use ({0}); `max` 0 means BT_BUF_DEFAULT_MAX. */
struct bt_buf {
    uint8_t *data;
    size_t len, cap, max;
};

#define BT_BUF_DEFAULT_MAX ((size_t)512 * 1024 * 1024)

void bt_buf_deinit(struct bt_buf *b);
/* Make room for n more bytes. BT_ENOMEM, or BT_ELIMIT when len + n > max. */
int bt_buf_reserve(struct bt_buf *b, size_t n) BT_MUST_CHECK;
int bt_buf_append(struct bt_buf *b, const void *p, size_t n) BT_MUST_CHECK;
int bt_buf_append_str(struct bt_buf *b, const char *s) BT_MUST_CHECK;
int bt_buf_append_u8(struct bt_buf *b, uint8_t v) BT_MUST_CHECK;
int bt_buf_printf(struct bt_buf *b, const char *fmt, ...) BT_PRINTF(2, 3) BT_MUST_CHECK;
/* Drop n bytes (n <= len) from the front. */
void bt_buf_consume(struct bt_buf *b, size_t n);
/* Make rest, the end of what b holds or, when b is empty, other bytes, all that b holds;
 * nothing of it frees the memory. As bt_buf_append. */
int bt_buf_keep(struct bt_buf *b, struct bt_slice rest) BT_MUST_CHECK;
/* A NUL-terminated string owned by the caller; empties the buffer. NULL when out of
 * memory. */
char *bt_buf_steal_str(struct bt_buf *b) BT_MUST_CHECK;

#endif
