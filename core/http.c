/* The head of a request: request line, fields, and what follows from them.
 *
 * The bytes are gone through line by line with a cursor; a line that is not whole is
 * still checked as far as it goes where that is cheap, so that a peer that does not speak
 * HTTP is told at once. Then the fields that say where the request ends are read
 * together: two lengths, a length and chunks, or chunks in HTTP/1.0 are refused (RFC 9112
 * section 6.3), because an intermediary might have read them the other way. For the same
 * reason there is no obsolete line folding, no bare line feed, no space before a colon.
 *
 * Failure modes: only statuses to answer with; the caller answers and closes. */
#include "core/http.h"

#include <string.h>

/* RFC 9110 section 5.6.2: what a token is made of. */
static bool is_token_char(uint8_t c)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(others, c) != NULL);
}

static bool is_target_char(uint8_t c)
{
    return c > 0x20 && c < 0x7f;
}

static bool is_value_char(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static size_t span(const uint8_t *p, size_t n, bool (*in)(uint8_t c))
{
    size_t i = 0;

    while (i < n && in(p[i]))
        i++;
    return i;
}

static uint8_t lower(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool bt_http_is(struct bt_slice s, const char *text)
{
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.ptr, text, s.len) == 0);
}

bool bt_http_is_nocase(struct bt_slice s, const char *text)
{
    if (s.len != strlen(text))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (lower(s.ptr[i]) != lower((uint8_t)text[i]))
            return false;
    return true;
}

static struct bt_slice trim(struct bt_slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* ---- Lines ---- */

/* The line at p without its CRLF; *used with it. 0, BT_HTTP_MORE, or 400 for a line feed
 * alone or a carriage return in the middle. */
static int get_line(const uint8_t *p, size_t n, struct bt_slice *out, size_t *used)
{
    const uint8_t *lf = n > 0 ? memchr(p, '\n', n) : NULL;
    const uint8_t *cr = n > 0 ? memchr(p, '\r', n) : NULL;

    *out = (struct bt_slice){ p, n };
    if (lf == NULL && (cr == NULL || cr == p + n - 1)) {
        out->len -= cr != NULL ? 1 : 0;
        return BT_HTTP_MORE;
    }
    if (lf == NULL || cr == NULL || cr + 1 != lf)
        return 400;
    out->len = (size_t)(cr - p);
    *used = out->len + 2;
    return 0;
}

/* ---- Request line ---- */

/* "http://host/path?query", as proxies are asked: what counts here is the path. */
static struct bt_slice origin_form(struct bt_slice target)
{
    static const char *const schemes[] = { "http://", "https://", "ws://", "wss://" };

    for (size_t i = 0; i < BT_ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i]);
        const uint8_t *slash;

        if (target.len <= n ||
            !bt_http_is_nocase((struct bt_slice){ target.ptr, n }, schemes[i]))
            continue;
        slash = memchr(target.ptr + n, '/', target.len - n);
        if (slash == NULL)
            return (struct bt_slice){ (const uint8_t *)"/", 1 };
        return (struct bt_slice){ slash, target.len - (size_t)(slash - target.ptr) };
    }
    return target;
}

static int take_target(struct bt_slice target, struct bt_http_request *out)
{
    const uint8_t *mark;

    target = origin_form(target);
    if (target.ptr[0] != '/' &&
        !(bt_http_is(target, "*") && bt_http_is(out->method, "OPTIONS")))
        return 400;
    mark = memchr(target.ptr, '?', target.len);
    out->path = target;
    if (mark != NULL) {
        out->path.len = (size_t)(mark - target.ptr);
        out->query = (struct bt_slice){ mark + 1, target.len - out->path.len - 1 };
    }
    return 0;
}

static int take_version(struct bt_slice v, struct bt_http_request *out)
{
    if (v.len != 8 || memcmp(v.ptr, "HTTP/", 5) != 0 || v.ptr[6] != '.' ||
        v.ptr[5] < '0' || v.ptr[5] > '9' || v.ptr[7] < '0' || v.ptr[7] > '9')
        return 400;
    if (v.ptr[5] != '1' || v.ptr[7] > '1')
        return 505;
    out->minor = (uint8_t)(v.ptr[7] - '0');
    return 0;
}

/* METHOD SP target SP HTTP/1.x; whole: the line has come to its end. */
static int request_line(struct bt_slice line, bool whole, struct bt_http_request *out)
{
    size_t method = span(line.ptr, line.len, is_token_char), target, at = method + 1;
    int r;

    if (method == line.len && !whole)
        return BT_HTTP_MORE;
    if (method == 0 || method == line.len || line.ptr[method] != ' ')
        return 400;
    target = span(line.ptr + at, line.len - at, is_target_char);
    if (at + target == line.len && !whole)
        return BT_HTTP_MORE;
    if (target == 0 || at + target == line.len || line.ptr[at + target] != ' ')
        return 400;
    if (!whole)
        return BT_HTTP_MORE;
    out->method = (struct bt_slice){ line.ptr, method };
    r = take_target((struct bt_slice){ line.ptr + at, target }, out);
    at += target + 1;
    return r != 0 ? r
                  : take_version((struct bt_slice){ line.ptr + at, line.len - at }, out);
}

/* ---- Fields ---- */

static int field_line(struct bt_slice line, struct bt_http_request *out)
{
    size_t n = span(line.ptr, line.len, is_token_char);
    struct bt_http_field *f = &out->fields[out->n_fields];
    struct bt_slice value;

    if (n == 0 || n == line.len || line.ptr[n] != ':')
        return 400;
    value = (struct bt_slice){ line.ptr + n + 1, line.len - n - 1 };
    if (span(value.ptr, value.len, is_value_char) != value.len)
        return 400;
    if (out->n_fields == BT_HTTP_MAX_HEADERS)
        return 431;
    *f = (struct bt_http_field){ { line.ptr, n }, trim(value) };
    out->n_fields++;
    return 0;
}

struct bt_slice bt_http_field(const struct bt_http_request *r, const char *name)
{
    for (uint32_t i = 0; i < r->n_fields; i++)
        if (bt_http_is_nocase(r->fields[i].name, name))
            return r->fields[i].value;
    return (struct bt_slice){ NULL, 0 };
}

uint32_t bt_http_count(const struct bt_http_request *r, const char *name)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->n_fields; i++)
        n += bt_http_is_nocase(r->fields[i].name, name) ? 1 : 0;
    return n;
}

bool bt_http_next_token(struct bt_slice *list, struct bt_slice *out)
{
    while (list->len > 0) {
        const uint8_t *comma = memchr(list->ptr, ',', list->len);
        size_t n = comma == NULL ? list->len : (size_t)(comma - list->ptr);

        *out = trim((struct bt_slice){ list->ptr, n });
        n += comma == NULL ? 0 : 1;
        list->ptr += n;
        list->len -= n;
        if (out->len > 0)
            return true;
    }
    return false;
}

bool bt_http_has_token(const struct bt_http_request *r, const char *name,
                       const char *token)
{
    for (uint32_t i = 0; i < r->n_fields; i++) {
        struct bt_slice list = r->fields[i].value, word;

        if (!bt_http_is_nocase(r->fields[i].name, name))
            continue;
        while (bt_http_next_token(&list, &word))
            if (bt_http_is_nocase(word, token))
                return true;
    }
    return false;
}

static int take_length(struct bt_slice v, struct bt_http_request *out)
{
    /* 18 digits fit, and nobody sends more. */
    if (v.len == 0 || v.len > 18)
        return 400;
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9')
            return 400;
        out->content_length = out->content_length * 10 + (uint64_t)(v.ptr[i] - '0');
    }
    return 0;
}

/* Where the request ends, and what is to happen with the connection after it. */
static int interpret(struct bt_http_request *out)
{
    struct bt_slice coding = bt_http_field(out, "Transfer-Encoding");
    uint32_t n_codings = bt_http_count(out, "Transfer-Encoding");
    uint32_t n_lengths = bt_http_count(out, "Content-Length");
    uint32_t n_hosts = bt_http_count(out, "Host");
    struct bt_slice expect = bt_http_field(out, "Expect");

    if (n_hosts > 1 || (out->minor == 1 && n_hosts == 0))
        return 400;
    if (n_codings > 1 || n_lengths > 1 || (n_codings == 1 && n_lengths == 1))
        return 400;
    if (n_codings == 1) {
        if (out->minor == 0)
            return 400;
        if (!bt_http_is_nocase(coding, "chunked"))
            return 501;
        out->chunked = true;
    }
    if (expect.ptr != NULL && !bt_http_is_nocase(expect, "100-continue"))
        return 417;
    out->expect_continue = expect.ptr != NULL && out->minor == 1;
    out->keep_alive = out->minor == 1
                          ? !bt_http_has_token(out, "Connection", "close")
                          : bt_http_has_token(out, "Connection", "keep-alive");
    return n_lengths == 1 ? take_length(bt_http_field(out, "Content-Length"), out) : 0;
}

static int fields(const uint8_t *p, size_t n, size_t at, struct bt_http_request *out)
{
    for (;;) {
        struct bt_slice line;
        size_t used = 0;
        int r = get_line(p + at, n - at, &line, &used);

        if (r != 0)
            return r == BT_HTTP_MORE && n >= BT_HTTP_MAX_HEAD ? 431 : r;
        at += used;
        if (at > BT_HTTP_MAX_HEAD)
            return 431;
        if (line.len == 0) {
            out->head_len = at;
            return interpret(out);
        }
        r = field_line(line, out);
        if (r != 0)
            return r;
    }
}

int bt_http_parse(const uint8_t *p, size_t n, struct bt_http_request *out)
{
    struct bt_slice line;
    size_t at = 0, used = 0;
    int r;

    out->query = (struct bt_slice){ NULL, 0 };
    out->n_fields = 0;
    out->content_length = 0;
    out->chunked = false;
    /* RFC 9112 section 2.2: an empty line before the request is overlooked. */
    if (n >= 2 && p[0] == '\r' && p[1] == '\n')
        at = 2;
    r = get_line(p + at, n - at, &line, &used);
    if (r == BT_HTTP_MORE) {
        r = request_line(line, false, out);
        return r == BT_HTTP_MORE && n >= BT_HTTP_MAX_HEAD ? 414 : r;
    }
    if (r == 0)
        r = request_line(line, true, out);
    return r != 0 ? r : fields(p, n, at + used, out);
}
