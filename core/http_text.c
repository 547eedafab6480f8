/* Text of HTTP: queries and percent-encoding on the way in, status lines and fields on
 * the way out. Answers carry no Date: a device may not know it (RFC 9110 section 6.6.1
 * leaves it out then). */
#include "core/http.h"

#include <inttypes.h>
#include <string.h>

#include "core/error.h"

bool bt_http_query(struct bt_slice query, const char *name, struct bt_slice *out)
{
    const uint8_t *p = query.ptr, *end = p == NULL ? p : p + query.len;
    size_t len = strlen(name);

    while (p < end) {
        const uint8_t *amp = memchr(p, '&', (size_t)(end - p));
        size_t n = (size_t)((amp != NULL ? amp : end) - p);
        const uint8_t *equals = memchr(p, '=', n);
        size_t key = equals != NULL ? (size_t)(equals - p) : n;

        if (key == len && memcmp(p, name, len) == 0) {
            *out = (struct bt_slice){ p + key, n - key };
            if (equals != NULL)
                *out = (struct bt_slice){ equals + 1, n - key - 1 };
            return true;
        }
        p += n + 1;
    }
    return false;
}

bool bt_http_decode(struct bt_slice s, bool plus, char *out, size_t room)
{
    size_t at = 0;

    for (size_t i = 0; i < s.len; i++) {
        int c = s.ptr[i];

        if (c == '%') {
            int high = i + 2 < s.len ? bt_hex_digit(s.ptr[i + 1]) : -1;
            int low = i + 2 < s.len ? bt_hex_digit(s.ptr[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == 0 || at + 1 >= room)
            return false;
        out[at++] = (char)c;
    }
    if (at >= room)
        return false;
    out[at] = '\0';
    return true;
}

static const struct status {
    unsigned code;
    const char *text;
} statuses[] = {
    { 100, "Continue" },
    { 101, "Switching Protocols" },
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 304, "Not Modified" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 411, "Length Required" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 422, "Unprocessable Content" },
    { 426, "Upgrade Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
};

const char *bt_http_status_text(unsigned status)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(statuses); i++)
        if (statuses[i].code == status)
            return statuses[i].text;
    return "Unknown";
}

int bt_http_put_status(struct bt_buf *out, unsigned status)
{
    return bt_buf_printf(out, "HTTP/1.1 %u %s\r\n", status, bt_http_status_text(status));
}

int bt_http_put_field(struct bt_buf *out, const char *name, const char *value)
{
    if (strpbrk(value, "\r\n") != NULL)
        return BT_EINVAL;
    return bt_buf_printf(out, "%s: %s\r\n", name, value);
}

int bt_http_put_end(struct bt_buf *out, uint64_t length, bool keep_alive)
{
    return bt_buf_printf(out, "Content-Length: %" PRIu64 "\r\nConnection: %s\r\n\r\n",
                         length, keep_alive ? "keep-alive" : "close");
}

int bt_http_put_answer(struct bt_buf *out, unsigned status, const char *type,
                       struct bt_slice body, bool keep_alive)
{
    int r = bt_http_put_status(out, status);

    /* RFC 9110 section 8.6: no length where there can be no body. */
    if (r == 0 && status == 204)
        return bt_buf_printf(out, "Connection: %s\r\n\r\n",
                             keep_alive ? "keep-alive" : "close");
    if (r == 0)
        r = bt_http_put_field(out, "Content-Type", type);
    if (r == 0)
        r = bt_http_put_end(out, body.len, keep_alive);
    return r != 0 ? r : bt_buf_append(out, body.ptr, body.len);
}
