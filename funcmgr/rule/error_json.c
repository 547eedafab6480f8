/* A writer for one fixed shape of JSON, because that is all this module ever writes.
 * Member names, their order and base64 for the payload are the original's. */
#include "funcmgr/rule/error_json.h"

#include <inttypes.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Length of the UTF-8 sequence at p (of n bytes), or 0 when there is none. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    static const struct {
        uint8_t mask, lead;
        size_t len;
        uint32_t min;
    } forms[] = { { 0xe0, 0xc0, 2, 0x80 },
                  { 0xf0, 0xe0, 3, 0x800 },
                  { 0xf8, 0xf0, 4, 0x10000 } };

    if (p[0] < 0x80)
        return 1;
    for (size_t i = 0; i < BT_ARRAY_LEN(forms); i++) {
        uint32_t code = p[0] & (uint8_t)~forms[i].mask;

        if ((p[0] & forms[i].mask) != forms[i].lead || forms[i].len > n)
            continue;
        for (size_t k = 1; k < forms[i].len; k++) {
            if ((p[k] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (p[k] & 0x3f);
        }
        return code < forms[i].min || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)
                   ? 0
                   : forms[i].len;
    }
    return 0;
}

static int put_escaped(struct bt_buf *out, uint8_t c)
{
    static const char short_names[] = "b\bf\fn\nr\rt\t\"\"\\\\";

    for (const char *s = short_names; *s != '\0'; s += 2) {
        if ((uint8_t)s[1] == c)
            return bt_buf_printf(out, "\\%c", s[0]);
    }
    return bt_buf_printf(out, "\\u%04x", (unsigned)c);
}

static int put_string(struct bt_buf *out, struct bt_slice text)
{
    int r = bt_buf_append_u8(out, '"');
    size_t i = 0;

    while (r == 0 && i < text.len) {
        size_t len = utf8_len(text.ptr + i, text.len - i);

        if (len == 0)
            r = bt_buf_append_str(out, REPLACEMENT);
        else if (len > 1 || (text.ptr[i] >= 0x20 && text.ptr[i] != '"' &&
                             text.ptr[i] != '\\' && text.ptr[i] != 0x7f))
            r = bt_buf_append(out, text.ptr + i, len);
        else
            r = put_escaped(out, text.ptr[i]);
        i += len > 0 ? len : 1;
    }
    return r != 0 ? r : bt_buf_append_u8(out, '"');
}

static int put_base64(struct bt_buf *out, struct bt_slice bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int r = bt_buf_reserve(out, (bytes.len + 2) / 3 * 4 + 2);
    uint8_t *p;

    if (r != 0)
        return r;
    p = out->data + out->len;
    *p++ = '"';
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = BT_MIN(bytes.len - i, 3);
        uint32_t v = (uint32_t)bytes.ptr[i] << 16;

        v |= n > 1 ? (uint32_t)bytes.ptr[i + 1] << 8 : 0;
        v |= n > 2 ? bytes.ptr[i + 2] : 0;
        *p++ = (uint8_t)digits[v >> 18];
        *p++ = (uint8_t)digits[v >> 12 & 63];
        *p++ = n > 1 ? (uint8_t)digits[v >> 6 & 63] : '=';
        *p++ = n > 2 ? (uint8_t)digits[v & 63] : '=';
    }
    *p++ = '"';
    out->len = (size_t)(p - out->data);
    return 0;
}

/* ---- Members; an empty one is left out, and so is its comma ---- */

static int put_name(struct bt_buf *out, const char *name, bool *first)
{
    int r = bt_buf_printf(out, "%s\"%s\":", *first ? "" : ",", name);

    *first = false;
    return r;
}

static int put_number(struct bt_buf *out, const char *name, int64_t v, bool *first)
{
    int r = 0;

    if (v != 0)
        r = put_name(out, name, first);
    return r != 0 || v == 0 ? r : bt_buf_printf(out, "%" PRId64, v);
}

static int put_text(struct bt_buf *out, const char *name, struct bt_slice v, bool *first)
{
    int r = 0;

    if (v.len > 0)
        r = put_name(out, name, first);
    return r != 0 || v.len == 0 ? r : put_string(out, v);
}

static int put_bytes(struct bt_buf *out, const char *name, struct bt_slice v, bool *first)
{
    int r = 0;

    if (v.len > 0)
        r = put_name(out, name, first);
    return r != 0 || v.len == 0 ? r : put_base64(out, v);
}

static int put_input(struct bt_buf *out, const struct fm_message *m, bool with_payload)
{
    bool first = true;
    int r = bt_buf_append_u8(out, '{');

    r = r != 0 ? r : put_number(out, "ID", (int64_t)m->id, &first);
    r = r != 0 ? r : put_number(out, "QOS", m->qos, &first);
    r = r != 0 ? r : put_text(out, "Topic", m->topic, &first);
    if (with_payload)
        r = r != 0 ? r : put_bytes(out, "Payload", m->payload, &first);
    r = r != 0 ? r : put_number(out, "Timestamp", m->timestamp, &first);
    r = r != 0 ? r : put_text(out, "FunctionName", m->function, &first);
    r = r != 0 ? r : put_text(out, "FunctionInvokeID", m->invoke_id, &first);
    return r != 0 ? r : bt_buf_append_u8(out, '}');
}

int fm_error_json(struct bt_buf *out, const char *message, const char *type,
                  const struct fm_message *input, bool with_payload)
{
    int r = bt_buf_append_str(out, "{\"errorMessage\":");

    r = r != 0 ? r : put_string(out, bt_slice_of(message));
    r = r != 0 ? r : bt_buf_append_str(out, ",\"errorType\":");
    r = r != 0 ? r : put_string(out, bt_slice_of(type));
    r = r != 0 ? r : bt_buf_append_str(out, ",\"functionMessage\":");
    r = r != 0 ? r : put_input(out, input, with_payload);
    return r != 0 ? r : bt_buf_append_u8(out, '}');
}
