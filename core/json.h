/* JSON (RFC 8259): a text as a tree of values, and values as text again. Numbers keep the
 * form they were written in. A document is read-only after parsing; any thread. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "core/buf.h"

/* Values deeper than this are not written. */
#define BT_JSON_MAX_DEPTH 128u

struct bt_json;     /* a parsed text; owns its values */
struct bt_json_val; /* a value; lives as long as its document */

enum bt_json_kind {
    BT_JSON_NULL,
    BT_JSON_BOOL,
    BT_JSON_NUMBER,
    BT_JSON_STRING,
    BT_JSON_ARRAY,
    BT_JSON_OBJECT,
};

/* 0, BT_ENOMEM, or BT_EINVAL when the text is not one JSON value in UTF-8 (not logged).
 * The document takes up to 16 times the length of the text. */
int bt_json_parse(struct bt_slice text, struct bt_json **out) BT_MUST_CHECK;
void bt_json_free(struct bt_json *json); /* NULL is fine */
const struct bt_json_val *bt_json_root(const struct bt_json *json);

enum bt_json_kind bt_json_kind(const struct bt_json_val *v);
bool bt_json_is_true(const struct bt_json_val *v);
/* The characters of a string, or a number as it was written; followed by a NUL. */
struct bt_slice bt_json_text(const struct bt_json_val *v);
/* A number: as an integer where it is one of 64 bits, else *is_int is false and *real
 * holds the nearest double (infinite when it is too large). */
void bt_json_number(const struct bt_json_val *v, bool *is_int, int64_t *whole,
                    double *real);
/* The member of an object; the last one when there are several of the name. NULL: there
 * is none, or v is NULL or no object. */
const struct bt_json_val *bt_json_member(const struct bt_json_val *v,
                                         struct bt_slice name);
/* The item of an array, from 0; a negative index counts from the end, -1 is the last.
 * NULL as above. */
const struct bt_json_val *bt_json_item(const struct bt_json_val *v, int64_t index);

struct bt_json_member {
    struct bt_slice name;
    const struct bt_json_val *value;
};
/* Room for sorting, kept from call to call. Zero-initialise. */
struct bt_json_sorter {
    struct bt_json_member *items;
    size_t n, cap;
};
void bt_json_sorter_deinit(struct bt_json_sorter *s);
/* Append the members of an object at s->items[s->n], in order of their names (bytes);
 * of several of one name the last. Who calls it sets s->n back when done. */
int bt_json_sort(struct bt_json_sorter *s, const struct bt_json_val *v) BT_MUST_CHECK;

/* Append a value: compact, members in order of their names. 0, BT_ENOMEM, or BT_ELIMIT
 * when it nests deeper than BT_JSON_MAX_DEPTH or out is full. */
int bt_json_put(struct bt_buf *out, struct bt_json_sorter *s,
                const struct bt_json_val *v) BT_MUST_CHECK;
/* Append the shortest text that reads as the same number; `null` when it is not finite.
 */
int bt_json_put_double(struct bt_buf *out, double v) BT_MUST_CHECK;

#endif
