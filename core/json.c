/* The idea: yyjson parses into an array of values; numbers stay text, so that what only
 * passes through is never rounded. Writing walks the tree with a bounded depth and sorts
 * the members of each object: most are few and many are in order already, so they are
 * inserted one by one; large objects are sorted at the end. Failures: out of memory, too
 * deep. */
#include "core/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "core/error.h"
#include "core/json_put.h"
#include "core/mem.h"

#define FEW           24u /* members that are sorted by insertion */
#define NUMBER_LEN    64u
#define WRITE_SCRATCH 1024u

static yyjson_val *val(const struct bt_json_val *v)
{
    return (yyjson_val *)(uintptr_t)v;
}

static const struct bt_json_val *mine(yyjson_val *v)
{
    return (const struct bt_json_val *)(const void *)v;
}

/* ---- Reading ---- */

static void *alc_malloc(void *ctx, size_t n)
{
    (void)ctx;
    return bt_malloc(n);
}

static void *alc_realloc(void *ctx, void *p, size_t old, size_t n)
{
    (void)ctx;
    (void)old;
    return bt_realloc(p, n);
}

static void alc_free(void *ctx, void *p)
{
    (void)ctx;
    bt_free(p);
}

int bt_json_parse(struct bt_slice text, struct bt_json **out)
{
    static const yyjson_alc alc = { alc_malloc, alc_realloc, alc_free, NULL };
    yyjson_read_err err = { 0 };
    /* Without the flag for reading in place the text is not written to. */
    char *p = (char *)(uintptr_t)text.ptr;
    yyjson_doc *doc = NULL;

    if (text.len > 0)
        doc = yyjson_read_opts(p, text.len, YYJSON_READ_NUMBER_AS_RAW, &alc, &err);
    *out = (struct bt_json *)(void *)doc;
    if (doc != NULL)
        return 0;
    return err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? BT_ENOMEM : BT_EINVAL;
}

void bt_json_free(struct bt_json *json)
{
    yyjson_doc_free((yyjson_doc *)(void *)json);
}

const struct bt_json_val *bt_json_root(const struct bt_json *json)
{
    return mine(((const yyjson_doc *)(const void *)json)->root);
}

enum bt_json_kind bt_json_kind(const struct bt_json_val *v)
{
    switch (unsafe_yyjson_get_type((void *)(uintptr_t)v)) {
    case YYJSON_TYPE_BOOL:
        return BT_JSON_BOOL;
    case YYJSON_TYPE_RAW:
        return BT_JSON_NUMBER;
    case YYJSON_TYPE_STR:
        return BT_JSON_STRING;
    case YYJSON_TYPE_ARR:
        return BT_JSON_ARRAY;
    case YYJSON_TYPE_OBJ:
        return BT_JSON_OBJECT;
    default:
        return BT_JSON_NULL;
    }
}

bool bt_json_is_true(const struct bt_json_val *v)
{
    return yyjson_is_true(val(v));
}

static struct bt_slice text_of(yyjson_val *v)
{
    return (struct bt_slice){ (const uint8_t *)v->uni.str, unsafe_yyjson_get_len(v) };
}

struct bt_slice bt_json_text(const struct bt_json_val *v)
{
    return text_of(val(v));
}

void bt_json_number(const struct bt_json_val *v, bool *is_int, int64_t *whole,
                    double *real)
{
    const char *s = val(v)->uni.str;
    yyjson_val number = { 0 };

    *is_int = false;
    *whole = 0;
    *real = 0;
    if (strpbrk(s, ".eE") == NULL) {
        errno = 0;
        *whole = strtoll(s, NULL, 10);
        *is_int = errno == 0;
        if (*is_int)
            return;
    }
    if (yyjson_read_number(s, &number, YYJSON_READ_ALLOW_INF_AND_NAN, NULL, NULL))
        *real = yyjson_get_num(&number);
}

const struct bt_json_val *bt_json_member(const struct bt_json_val *v,
                                         struct bt_slice name)
{
    yyjson_obj_iter it;
    yyjson_val *key, *found = NULL;

    if (v == NULL || !yyjson_obj_iter_init(val(v), &it))
        return NULL;
    while ((key = yyjson_obj_iter_next(&it)) != NULL) {
        if (unsafe_yyjson_get_len(key) == name.len &&
            memcmp(key->uni.str, name.ptr, name.len) == 0)
            found = key + 1;
    }
    return mine(found);
}

const struct bt_json_val *bt_json_item(const struct bt_json_val *v, int64_t index)
{
    size_t n = yyjson_arr_size(val(v));

    if (index < 0)
        index += (int64_t)n;
    if (index < 0 || (uint64_t)index >= n)
        return NULL;
    return mine(yyjson_arr_get(val(v), (size_t)index));
}

/* ---- Sorting ---- */

/* Values lie in memory as they were written. */
static int compare(const struct bt_json_member *a, const struct bt_json_member *b)
{
    size_t n = BT_MIN(a->name.len, b->name.len);
    int c = n > 0 ? memcmp(a->name.ptr, b->name.ptr, n) : 0;

    if (c == 0 && a->name.len != b->name.len)
        c = a->name.len < b->name.len ? -1 : 1;
    return c;
}

static int compare_stable(const void *a, const void *b)
{
    const struct bt_json_member *ma = a, *mb = b;
    int c = compare(ma, mb);

    if (c == 0)
        c = ma->value < mb->value ? -1 : 1;
    return c;
}

static void insert(struct bt_json_member *items, size_t n, struct bt_json_member m)
{
    while (n > 0 && compare(&items[n - 1], &m) > 0) {
        items[n] = items[n - 1];
        n--;
    }
    items[n] = m;
}

static size_t drop_repeated(struct bt_json_member *items, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n || compare(&items[i], &items[i + 1]) != 0)
            items[kept++] = items[i];
    }
    return kept;
}

static int make_room(struct bt_json_sorter *s, size_t n)
{
    size_t cap = BT_MAX(s->cap * 2, s->n + n);
    void *items;

    if (n <= s->cap - s->n)
        return 0;
    items = bt_realloc(s->items, cap * sizeof(*s->items));
    if (items == NULL)
        return BT_ENOMEM;
    s->items = items;
    s->cap = cap;
    return 0;
}

void bt_json_sorter_deinit(struct bt_json_sorter *s)
{
    bt_free(s->items);
    *s = (struct bt_json_sorter){ 0 };
}

int bt_json_sort(struct bt_json_sorter *s, const struct bt_json_val *v)
{
    size_t n = yyjson_obj_size(val(v)), i = 0;
    struct bt_json_member *items;
    yyjson_obj_iter it;
    yyjson_val *key;

    if (n == 0)
        return 0;
    if (make_room(s, n) != 0)
        return BT_ENOMEM;
    items = s->items + s->n;
    (void)yyjson_obj_iter_init(val(v), &it);
    for (; (key = yyjson_obj_iter_next(&it)) != NULL; i++) {
        struct bt_json_member m = { text_of(key), mine(key + 1) };

        if (n <= FEW)
            insert(items, i, m);
        else
            items[i] = m;
    }
    if (n > FEW)
        qsort(items, n, sizeof(*items), compare_stable);
    s->n += drop_repeated(items, n);
    return 0;
}

/* ---- Writing ---- */

static int put(struct bt_buf *out, struct bt_json_sorter *s, yyjson_val *v,
               unsigned depth);

static int put_array(struct bt_buf *out, struct bt_json_sorter *s, yyjson_val *v,
                     unsigned depth)
{
    yyjson_arr_iter it;
    yyjson_val *item;
    int r = bt_buf_append_u8(out, '[');
    bool first = true;

    yyjson_arr_iter_init(v, &it);
    while (r == 0 && (item = yyjson_arr_iter_next(&it)) != NULL) {
        if (!first)
            r = bt_buf_append_u8(out, ',');
        first = false;
        if (r == 0)
            r = put(out, s, item, depth + 1);
    }
    return r != 0 ? r : bt_buf_append_u8(out, ']');
}

static int put_object(struct bt_buf *out, struct bt_json_sorter *s, yyjson_val *v,
                      unsigned depth)
{
    size_t begin = s->n;
    int r = bt_json_sort(s, mine(v));

    if (r == 0)
        r = bt_buf_append_u8(out, '{');
    for (size_t i = begin; r == 0 && i < s->n; i++) {
        struct bt_json_member m = s->items[i];

        if (i > begin)
            r = bt_buf_append_u8(out, ',');
        if (r == 0)
            r = bt_json_put_utf8(out, m.name);
        if (r == 0)
            r = bt_buf_append_u8(out, ':');
        if (r == 0)
            r = put(out, s, val(m.value), depth + 1);
    }
    s->n = begin;
    return r != 0 ? r : bt_buf_append_u8(out, '}');
}

static int put(struct bt_buf *out, struct bt_json_sorter *s, yyjson_val *v,
               unsigned depth)
{
    struct bt_slice text;

    switch (bt_json_kind(mine(v))) {
    case BT_JSON_BOOL:
        return bt_buf_append_str(out, yyjson_is_true(v) ? "true" : "false");
    case BT_JSON_NUMBER:
        text = text_of(v);
        return bt_buf_append(out, text.ptr, text.len);
    case BT_JSON_STRING:
        return bt_json_put_utf8(out, text_of(v));
    case BT_JSON_ARRAY:
        return depth >= BT_JSON_MAX_DEPTH ? BT_ELIMIT : put_array(out, s, v, depth);
    case BT_JSON_OBJECT:
        return depth >= BT_JSON_MAX_DEPTH ? BT_ELIMIT : put_object(out, s, v, depth);
    default:
        return bt_buf_append_str(out, "null");
    }
}

int bt_json_put(struct bt_buf *out, struct bt_json_sorter *s, const struct bt_json_val *v)
{
    return put(out, s, val(v), 0);
}

int bt_json_put_double(struct bt_buf *out, double v)
{
    char scratch[WRITE_SCRATCH];
    yyjson_val number = { .tag = YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL,
                          .uni = { .f64 = v } };
    yyjson_alc alc;
    size_t len = 0;
    const char *text = NULL;

    if (yyjson_alc_pool_init(&alc, scratch, sizeof(scratch)))
        text = yyjson_val_write_opts(&number, YYJSON_WRITE_INF_AND_NAN_AS_NULL, &alc,
                                     &len, NULL);
    return text != NULL ? bt_buf_append(out, text, len) : BT_ENOMEM;
}
