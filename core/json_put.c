/* Strings go byte by byte into a stack block that is appended when it is full; what JSON
 * wants escaped is escaped. */
#include "core/json_put.h"

#include <stdio.h>
#include <string.h>

#include "core/mqtt.h"

#define BLOCK   256u
#define LONGEST 8u /* of what one byte becomes */

static size_t escape(uint8_t c, bool utf8, char out[LONGEST])
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = c == '\0' ? NULL : strchr(plain, c);

    if (at != NULL)
        return (size_t)snprintf(out, LONGEST, "\\%c", letters[at - plain]);
    if (c < 0x20 || c == 0x7f)
        return (size_t)snprintf(out, LONGEST, "\\u%04x", c);
    if (c >= 0x80 && !utf8)
        return (size_t)snprintf(out, LONGEST, "\\ufffd");
    out[0] = (char)c;
    return 1;
}

int bt_json_put_string(struct bt_buf *out, struct bt_slice text)
{
    bool utf8 = bt_mqtt_utf8_ok(text);
    char block[BLOCK];
    size_t n = 0;
    int r = 0;

    block[n++] = '"';
    for (size_t i = 0; i < text.len && r == 0; i++) {
        if (n + LONGEST > BLOCK) {
            r = bt_buf_append(out, block, n);
            n = 0;
        }
        n += escape(text.ptr[i], utf8, block + n);
    }
    if (r == 0)
        r = bt_buf_append(out, block, n);
    return r == 0 ? bt_buf_append_u8(out, '"') : r;
}

int bt_json_put_str(struct bt_buf *out, const char *text)
{
    return bt_json_put_string(out,
                              (struct bt_slice){ (const uint8_t *)text, strlen(text) });
}
