/* Strings go in runs: what needs no escape is copied as it is, up to the next character
 * that JSON wants escaped. */
#include "core/json_put.h"

#include <stdio.h>
#include <string.h>

#include "core/mqtt.h"

#define LONGEST 8u /* of what one byte becomes */

static bool is_plain(uint8_t c, bool utf8)
{
    return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && (c < 0x80 || utf8);
}

static size_t escape(uint8_t c, char out[LONGEST])
{
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *at = c == '\0' ? NULL : strchr(plain, c);

    if (at != NULL)
        return (size_t)snprintf(out, LONGEST, "\\%c", letters[at - plain]);
    if (c < 0x80)
        return (size_t)snprintf(out, LONGEST, "\\u%04x", c);
    return (size_t)snprintf(out, LONGEST, "\\ufffd");
}

static int put(struct bt_buf *out, struct bt_slice text, bool utf8)
{
    size_t from = 0;
    int r = bt_buf_reserve(out, text.len + 2);

    if (r == 0)
        r = bt_buf_append_u8(out, '"');
    for (size_t i = 0; i < text.len && r == 0; i++) {
        char code[LONGEST];

        if (bt_likely(is_plain(text.ptr[i], utf8)))
            continue;
        r = bt_buf_append(out, text.ptr + from, i - from);
        if (r == 0)
            r = bt_buf_append(out, code, escape(text.ptr[i], code));
        from = i + 1;
    }
    if (r == 0 && text.len > 0)
        r = bt_buf_append(out, text.ptr + from, text.len - from);
    return r == 0 ? bt_buf_append_u8(out, '"') : r;
}

int bt_json_put_utf8(struct bt_buf *out, struct bt_slice text)
{
    return put(out, text, true);
}

int bt_json_put_string(struct bt_buf *out, struct bt_slice text)
{
    return put(out, text, bt_mqtt_utf8_ok(text));
}

int bt_json_put_str(struct bt_buf *out, const char *text)
{
    return bt_json_put_string(out,
                              (struct bt_slice){ (const uint8_t *)text, strlen(text) });
}
