/* Any bytes as a request: head, then body. A head that is whole must be found whole in
 * no shorter prefix, must be refused in none, and its slices must lie in it. A body must
 * come out the same in one piece and byte by byte. */
#include "core/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_BODY 4096

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void inside(struct bt_slice s, const uint8_t *data, size_t n)
{
    bool root = s.len == 1 && s.ptr[0] == '/'; /* of a target without a path */

    require(s.ptr == NULL || root || (s.ptr >= data && s.ptr + s.len <= data + n));
}

static size_t read_body(const struct bt_http_request *r, struct bt_slice in, size_t step,
                        uint8_t *out, int *result)
{
    struct bt_http_body b;
    size_t len = 0, at = 0;

    *result = bt_http_body_init(&b, r, MAX_BODY);
    if (*result != 0)
        return 0;
    *result = BT_HTTP_MORE;
    while (*result == BT_HTTP_MORE && at < in.len) {
        struct bt_slice piece;
        size_t used = 0;

        *result =
            bt_http_body_feed(&b, in.ptr + at, BT_MIN(step, in.len - at), &used, &piece);
        require(used > 0 || *result != BT_HTTP_MORE);
        require(len + piece.len <= MAX_BODY);
        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
        at += used;
    }
    return len;
}

static void try_text(const struct bt_http_request *r)
{
    char out[64];
    struct bt_slice v, list = bt_http_field(r, "Upgrade");

    if (bt_http_decode(r->path, false, out, sizeof(out)))
        require(strlen(out) < sizeof(out));
    if (bt_http_query(r->query, "a", &v))
        (void)!bt_http_decode(v, true, out, sizeof(out));
    while (bt_http_next_token(&list, &v))
        require(v.len > 0);
    (void)bt_http_has_token(r, "Connection", "upgrade");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t one[MAX_BODY], two[MAX_BODY];
    static struct bt_http_request r, part;
    int status = bt_http_parse(data, size, &r), first, second;
    size_t n, m;

    require(status == 0 || status == BT_HTTP_MORE || (status >= 400 && status <= 505));
    if (status != 0)
        return 0;
    require(r.head_len <= BT_HTTP_MAX_HEAD && r.head_len <= size);
    for (size_t i = 0; i < r.head_len; i += 1 + r.head_len / 64)
        require(bt_http_parse(data, i, &part) == BT_HTTP_MORE);
    inside(r.method, data, r.head_len);
    inside(r.path, data, r.head_len);
    inside(r.query, data, r.head_len);
    for (uint32_t i = 0; i < r.n_fields; i++) {
        inside(r.fields[i].name, data, r.head_len);
        inside(r.fields[i].value, data, r.head_len);
    }
    try_text(&r);
    struct bt_slice rest = { data + r.head_len, size - r.head_len };

    n = read_body(&r, rest, size, one, &first);
    m = read_body(&r, rest, 1, two, &second);
    require(first == second && n == m && memcmp(one, two, n) == 0);
    return 0;
}
