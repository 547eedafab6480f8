/* Tables written out: the effective configuration as YAML that reads back to the same
 * values, and the option lists of docs/config.md. Failure modes: BT_ENOMEM or BT_ELIMIT
 * of the buffer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"

/* ---- YAML ---- */

struct printer {
    struct bt_buf *out;
    const struct bt_conf_table *table;
    const char *obj;
};

static int print_table(struct bt_buf *out, const struct bt_conf_table *table,
                       const void *obj, int indent);

static bool is_plain(const char *s)
{
    static const char inner[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_./-";
    bool truth;
    uint32_t number;

    return ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '/') &&
           strspn(s, inner) == strlen(s) && strcmp(s, "null") != 0 &&
           strcmp(s, "Null") != 0 && strcmp(s, "NULL") != 0 &&
           bt_conf_parse_bool(s, &truth) != 0 && bt_conf_parse_u32(s, &number) != 0;
}

/* Characters of more than one byte that YAML does not take as they are, or folds: C1
 * controls with the next-line character, line and paragraph separators, the byte order
 * mark, non-characters. */
static size_t escape_wide(const char *s, unsigned *out)
{
    static const struct {
        const char *bytes;
        unsigned code;
    } wide[] = {
        { "\xe2\x80\xa8", 0x2028 }, { "\xe2\x80\xa9", 0x2029 },
        { "\xef\xbb\xbf", 0xfeff }, { "\xef\xbf\xbe", 0xfffe },
        { "\xef\xbf\xbf", 0xffff },
    };
    unsigned char next = (unsigned char)s[1];

    if ((unsigned char)s[0] == 0xc2 && next >= 0x80 && next < 0xa0) {
        *out = next;
        return 2;
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(wide); i++) {
        if (strncmp(s, wide[i].bytes, 3) == 0) {
            *out = wide[i].code;
            return 3;
        }
    }
    return 0;
}

static int print_text(struct bt_buf *out, const char *s)
{
    int r;

    if (is_plain(s))
        return bt_buf_append_str(out, s);
    r = bt_buf_append_u8(out, '"');
    while (r == 0 && *s != '\0') {
        unsigned char c = (unsigned char)*s;
        unsigned code = c;
        size_t n = c >= 0x80 ? escape_wide(s, &code) : 1;

        if (c == '"' || c == '\\')
            r = bt_buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && n > 0))
            r = bt_buf_printf(out, "\\u%04x", code);
        else
            r = bt_buf_append_u8(out, c);
        s += n > 0 ? n : 1;
    }
    return r != 0 ? r : bt_buf_append_u8(out, '"');
}

static int print_strings(struct bt_buf *out, const struct bt_conf_strings *list)
{
    int r = bt_buf_append_u8(out, '[');

    for (size_t i = 0; r == 0 && i < list->n; i++) {
        if (i > 0)
            r = bt_buf_append_str(out, ", ");
        if (r == 0)
            r = print_text(out, list->items[i] != NULL ? list->items[i] : "");
    }
    return r != 0 ? r : bt_buf_append_u8(out, ']');
}

static int print_list(struct bt_buf *out, const struct bt_conf_row *row,
                      const struct bt_conf_list *list, int indent)
{
    const char *item = list->items;
    int r = list->n == 0 ? bt_buf_append_str(out, " []\n") : bt_buf_append_u8(out, '\n');

    for (size_t i = 0; r == 0 && i < list->n; i++, item += row->sub->size) {
        size_t start = out->len;

        r = print_table(out, row->sub, item, indent + 4);
        if (r != 0)
            return r;
        if (out->len == start)
            r = bt_buf_printf(out, "%*s- {}\n", indent + 2, "");
        else
            out->data[start + (size_t)indent + 2] = '-';
    }
    return r;
}

static int print_scalar(struct bt_buf *out, const struct bt_conf_row *row,
                        const void *member)
{
    char text[BT_CONF_VALUE_LEN];

    switch (row->kind) {
    case BT_CONF_BOOL:
        return bt_buf_append_str(out, *(const bool *)member ? "true" : "false");
    case BT_CONF_U32:
        return bt_buf_printf(out, "%" PRIu32, *(const uint32_t *)member);
    case BT_CONF_ENUM:
        return bt_buf_append_str(out, row->choices[*(const uint32_t *)member]);
    case BT_CONF_BYTES:
        bt_conf_format_bytes(*(const uint64_t *)member, text);
        return bt_buf_append_str(out, text);
    case BT_CONF_MS:
        bt_conf_format_ms(*(const int64_t *)member, text);
        return bt_buf_append_str(out, text);
    case BT_CONF_STRING:
        return print_text(out, *(char *const *)member);
    case BT_CONF_STRINGS:
        return print_strings(out, member);
    case BT_CONF_SECTION:
    case BT_CONF_LIST:
        break;
    }
    return BT_EBUG;
}

/* The key is there already. A section without values still says that it is there. */
static int print_section(const struct printer *p, const struct bt_conf_row *row,
                         int indent)
{
    size_t start = p->out->len;
    int r = bt_buf_append_u8(p->out, '\n');

    if (r == 0)
        r = print_table(p->out, row->sub, p->obj + row->offset, indent + 2);
    if (r != 0 || p->out->len > start + 1)
        return r;
    p->out->len = start;
    return bt_buf_append_str(p->out, " {}\n");
}

/* `name` is the last part of the row's key. */
static int print_row(const struct printer *p, const struct bt_conf_row *row,
                     const char *name, int indent)
{
    const char *member = p->obj + row->offset;
    const char *text =
        row->kind == BT_CONF_STRING ? *(char *const *)(const void *)member : "";
    int r;

    if (text == NULL || (row->flags & BT_CONF_IGNORED) != 0 ||
        (row->is_given != NULL && !row->is_given(p->obj)))
        return 0;
    r = bt_buf_printf(p->out, "%*s%s:", indent, "", name);
    if (r != 0)
        return r;
    if (row->kind == BT_CONF_SECTION)
        return print_section(p, row, indent);
    if (row->kind == BT_CONF_LIST)
        return print_list(p->out, row, (const void *)member, indent);
    r = bt_buf_append_u8(p->out, ' ');
    if (r == 0 && (row->flags & BT_CONF_SECRET) != 0)
        r = bt_buf_append_str(p->out, *text != '\0' ? "'***'" : "\"\"");
    else if (r == 0)
        r = print_scalar(p->out, row, member);
    return r != 0 ? r : bt_buf_append_u8(p->out, '\n');
}

/* Whether a row in front of this one has the same path down to and with `len` characters.
 */
static bool was_printed(const struct bt_conf_table *table, size_t row, size_t len)
{
    const char *key = table->rows[row].key;

    for (size_t i = 0; i < row; i++) {
        if (strncmp(table->rows[i].key, key, len) == 0 && table->rows[i].key[len] == '.')
            return true;
    }
    return false;
}

/* Whether a row has the first `len` characters as its whole key: a value cannot be a
 * mapping, too, so what lies below it keeps its dots. */
static bool is_value(const struct bt_conf_table *table, const char *key, size_t len)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        if (strncmp(table->rows[i].key, key, len) == 0 &&
            table->rows[i].key[len] == '\0' && table->rows[i].kind != BT_CONF_SECTION)
            return true;
    }
    return false;
}

static int print_level(const struct printer *p, const char *prefix, size_t len,
                       int indent);

/* A mapping for the part of a key from `from` to `to`; nothing when it would be empty. */
static int print_group(const struct printer *p, const char *key, size_t from, size_t to,
                       int indent)
{
    size_t start = p->out->len, first;
    int r = bt_buf_printf(p->out, "%*s%.*s:\n", indent, "", (int)(to - from), key + from);

    first = p->out->len;
    if (r == 0)
        r = print_level(p, key, to + 1, indent + 2);
    if (r == 0 && p->out->len == first)
        p->out->len = start;
    return r;
}

/* All rows whose key begins with the first `len` characters of `prefix`. */
static int print_level(const struct printer *p, const char *prefix, size_t len,
                       int indent)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < p->table->n_rows; i++) {
        const struct bt_conf_row *row = &p->table->rows[i];
        const char *dot;
        size_t n;

        if (strncmp(row->key, prefix, len) != 0)
            continue;
        dot = strchr(row->key + len, '.');
        if (dot == NULL) {
            r = print_row(p, row, row->key + len, indent);
            continue;
        }
        n = (size_t)(dot - row->key);
        if (is_value(p->table, row->key, n))
            r = print_row(p, row, row->key + len, indent);
        else if (!was_printed(p->table, i, n))
            r = print_group(p, row->key, len, n, indent);
    }
    return r;
}

static int print_table(struct bt_buf *out, const struct bt_conf_table *table,
                       const void *obj, int indent)
{
    struct printer p = { out, table, obj };

    return print_level(&p, "", 0, indent);
}

int bt_conf_print(const struct bt_conf_table *table, const void *obj, struct bt_buf *out)
{
    return print_table(out, table, obj, 0);
}

/* ---- Markdown ---- */

static const char *const kind_names[] = {
    [BT_CONF_BOOL] = "true or false",
    [BT_CONF_U32] = "number",
    [BT_CONF_BYTES] = "size",
    [BT_CONF_MS] = "duration",
    [BT_CONF_STRING] = "text",
    [BT_CONF_ENUM] = "one of",
    [BT_CONF_STRINGS] = "list of texts",
    [BT_CONF_SECTION] = "mapping",
    [BT_CONF_LIST] = "list of mappings",
};

/* Text for a cell of a table: a bar would end it. */
static int print_cell(struct bt_buf *out, const char *s)
{
    int r = 0;

    for (; r == 0 && *s != '\0'; s++)
        r = *s == '|' ? bt_buf_append_str(out, "\\|")
                      : bt_buf_append_u8(out, (uint8_t)*s);
    return r;
}

static int print_limits(struct bt_buf *out, const struct bt_conf_row *row)
{
    char lo[BT_CONF_VALUE_LEN], hi[BT_CONF_VALUE_LEN];

    if (row->kind == BT_CONF_MS) {
        bt_conf_format_ms(row->min, lo);
        bt_conf_format_ms(row->max, hi);
    } else if (row->kind == BT_CONF_BYTES) {
        bt_conf_format_bytes((uint64_t)row->min, lo);
        bt_conf_format_bytes((uint64_t)row->max, hi);
    } else {
        snprintf(lo, sizeof(lo), "%" PRId64, row->min);
        snprintf(hi, sizeof(hi), "%" PRId64, row->max);
    }
    if (row->kind == BT_CONF_STRING)
        return row->max != 0 ? bt_buf_printf(out, ", at most %s bytes", hi) : 0;
    if (row->max != 0)
        return bt_buf_printf(out, ", %s to %s", lo, hi);
    return row->min != 0 ? bt_buf_printf(out, ", at least %s", lo) : 0;
}

static int print_kind(struct bt_buf *out, const struct bt_conf_row *row)
{
    int r = bt_buf_append_str(out, kind_names[row->kind]);

    for (size_t i = 0; r == 0 && row->kind == BT_CONF_ENUM && row->choices[i] != NULL;
         i++)
        r = bt_buf_printf(out, "%s`%s`", i > 0 ? ", " : " ", row->choices[i]);
    if (r == 0 && row->kind != BT_CONF_ENUM && row->kind != BT_CONF_LIST &&
        row->kind != BT_CONF_STRINGS)
        r = print_limits(out, row);
    if (r == 0 && row->match != NULL) {
        r = bt_buf_append_str(out, ", matches `");
        if (r == 0)
            r = print_cell(out, row->match);
        if (r == 0)
            r = bt_buf_append_u8(out, '`');
    }
    return r;
}

static int print_notes(struct bt_buf *out, unsigned flags)
{
    static const struct {
        unsigned flag;
        const char *note;
    } notes[] = {
        { BT_CONF_REQUIRED, " Required." },
        { BT_CONF_ZERO, " Zero or empty is the default." },
        { BT_CONF_RELOAD, " Taken over by a reload." },
        { BT_CONF_SECRET, " Never printed." },
        { BT_CONF_IGNORED, " Accepted for compatibility; has no effect." },
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < BT_ARRAY_LEN(notes); i++) {
        if ((flags & notes[i].flag) != 0)
            r = bt_buf_append_str(out, notes[i].note);
    }
    return r;
}

static int print_option(struct bt_buf *out, const struct bt_conf_row *row,
                        const char *path)
{
    const char *def = row->def != NULL && *row->def != '\0' ? row->def : NULL;
    int r = bt_buf_printf(out, "| `%s` | ", path);

    if (r == 0)
        r = print_kind(out, row);
    if (r == 0)
        r = bt_buf_printf(out, " | %s", def != NULL ? "`" : "");
    if (r == 0 && def != NULL)
        r = print_cell(out, def);
    if (r == 0)
        r = bt_buf_printf(out, "%s | ", def != NULL ? "`" : "");
    if (r == 0 && row->doc != NULL)
        r = print_cell(out, row->doc);
    if (r == 0)
        r = print_notes(out, row->flags);
    return r != 0 ? r : bt_buf_append_str(out, " |\n");
}

static int print_options(struct bt_buf *out, const struct bt_conf_table *table,
                         const char *prefix)
{
    char path[BT_CONF_MAX_PATH];
    int r = 0;

    for (size_t i = 0; r == 0 && i < table->n_rows; i++) {
        const struct bt_conf_row *row = &table->rows[i];
        bool is_list = row->kind == BT_CONF_LIST;

        snprintf(path, sizeof(path), "%s%s", prefix, row->key);
        if (row->kind != BT_CONF_SECTION)
            r = print_option(out, row, path);
        if (r == 0 && (is_list || row->kind == BT_CONF_SECTION)) {
            snprintf(path, sizeof(path), "%s%s%s", prefix, row->key,
                     is_list ? "[]." : ".");
            r = print_options(out, row->sub, path);
        }
    }
    return r;
}

int bt_conf_markdown(const struct bt_conf_table *table, struct bt_buf *out)
{
    int r = bt_buf_printf(out,
                          "## %s\n\n%s\n\n| key | value | default | meaning |\n"
                          "|---|---|---|---|\n",
                          table->name, table->doc != NULL ? table->doc : "");

    return r != 0 ? r : print_options(out, table, "");
}
