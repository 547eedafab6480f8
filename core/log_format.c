/* The idea: the caller's pairs are formatted by printf as a whole, then taken apart here
 * and written again with escapes, so that no value from outside can end its quotes, begin
 * a new pair or a new line. A value between BT_LOG_Q's marks may hold anything; one in
 * plain quotes ends at the last quote before a space or the end; any other ends at a
 * space.
 *
 * Failure: a line that is too long is cut; room for the closing bytes is kept aside. */
#include "core/log_format.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"

#define MARK_OPEN  '\xfe'
#define MARK_CLOSE '\xff'
#define TAIL       4 /* closing quote, brace, newline */

struct line {
    char *out;
    size_t len;
    bool cut;
};
struct pair {
    struct bt_slice key, value;
    bool quoted;
};

static const char *const level_texts[] = { "error", "warn", "info", "debug" };

const char *bt_log_level_text(enum bt_log_level level)
{
    return (size_t)level < BT_ARRAY_LEN(level_texts) ? level_texts[level] : "error";
}

/* All or nothing, so that escapes and UTF-8 sequences are never cut in two. */
static void put(struct line *l, const void *p, size_t n)
{
    if (l->cut || n > BT_LOG_LINE_MAX - TAIL - l->len) {
        l->cut = true;
        return;
    }
    memcpy(l->out + l->len, p, n);
    l->len += n;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

static void put_end(struct line *l, const char *s)
{
    size_t n = strlen(s);

    memcpy(l->out + l->len, s, n);
    l->len += n;
}

/* Length of the well-formed UTF-8 sequence at p, or 0. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    size_t want = p[0] < 0x80   ? 1
                  : p[0] < 0xc2 ? 0
                  : p[0] < 0xe0 ? 2
                  : p[0] < 0xf0 ? 3
                                : 4;
    size_t i;

    if (want == 0 || want > n || p[0] > 0xf4)
        return 0;
    for (i = 1; i < want; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return want;
}

static void put_escaped(struct line *l, struct bt_slice s)
{
    size_t i, n;

    for (i = 0; i < s.len; i += BT_MAX(n, (size_t)1)) {
        uint8_t c = s.ptr[i];
        char escape[8];

        n = utf8_len(s.ptr + i, s.len - i);
        if (c == '"' || c == '\\') {
            escape[0] = '\\';
            escape[1] = (char)c;
            put(l, escape, 2);
        } else if (n == 0 || c < 0x20 || c == 0x7f) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
            put(l, escape, 6);
        } else {
            put(l, s.ptr + i, n);
        }
    }
}

static bool is_plain(struct bt_slice s)
{
    size_t i;

    for (i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f || strchr("\"\\=", s.ptr[i]) != NULL)
            return false;
    return s.len > 0;
}

static void put_quoted(struct line *l, struct bt_slice s)
{
    put_str(l, "\"");
    put_escaped(l, s);
    /* The reserve holds the quote of the one string that is cut. */
    if (l->cut)
        put_end(l, "\"");
    else
        put_str(l, "\"");
}

/* Where the value that begins at p ends; *next is where the following pair may begin. */
static const char *value_end(const char *p, bool marked, const char **next)
{
    const char *end;

    if (marked) {
        end = strchr(p, MARK_CLOSE);
        end = end != NULL ? end : p + strlen(p);
        *next = end + (*end != '\0');
        return end;
    }
    for (end = p; *end != '\0'; end++)
        if (*end == '"' && (end[1] == ' ' || end[1] == '\0'))
            break;
    *next = end + (*end != '\0');
    return end;
}

/* Take the next pair off *p; false at the end. A word without '=' gives a pair without
 * value. */
static bool next_pair(const char **p, struct pair *out)
{
    const char *key, *end, *value;

    while (**p == ' ')
        (*p)++;
    if (**p == '\0')
        return false;
    key = *p;
    end = key + strcspn(key, "= ");
    out->key = (struct bt_slice){ (const uint8_t *)key, (size_t)(end - key) };
    value = *end == '=' ? end + 1 : end;
    out->quoted = *value == '"' || *value == MARK_OPEN;
    if (out->quoted) {
        const char *begin = value + 1;

        end = value_end(begin, *value == MARK_OPEN, p);
        value = begin;
    } else {
        end = value + strcspn(value, " ");
        *p = end;
    }
    out->value = (struct bt_slice){ (const uint8_t *)value, (size_t)(end - value) };
    return true;
}

size_t bt_log_format_text(const struct bt_log_record *r, char out[BT_LOG_LINE_MAX])
{
    struct line l = { .out = out };
    char part[BT_CLOCK_TEXT_LEN + 64], time[BT_CLOCK_TEXT_LEN];
    const char *p = r->pairs;
    struct pair pair;

    bt_clock_text(r->wall_ms, time);
    (void)snprintf(part, sizeof(part), "time=\"%s\" level=%s id=", time,
                   bt_log_level_text(r->level));
    put_str(&l, part);
    put_str(&l, r->id);
    put_str(&l, " msg=");
    put_quoted(&l, bt_slice_of(r->text));
    if (r->held > 0) {
        (void)snprintf(part, sizeof(part), " held_back=%llu",
                       (unsigned long long)r->held);
        put_str(&l, part);
    }
    while (!l.cut && next_pair(&p, &pair)) {
        put_str(&l, " ");
        put_escaped(&l, pair.key);
        put_str(&l, "=");
        if (is_plain(pair.value))
            put(&l, pair.value.ptr, pair.value.len);
        else if (!l.cut)
            put_quoted(&l, pair.value);
    }
    put_end(&l, "\n");
    return l.len;
}

/* A number as JSON knows it, of at most 15 digits so that every reader keeps it exactly.
 */
static bool is_number(struct bt_slice s)
{
    size_t i = s.len > 0 && s.ptr[0] == '-' ? 1 : 0, digits = s.len - i;

    if (digits == 0 || digits > 15 || (digits > 1 && s.ptr[i] == '0'))
        return false;
    for (; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return true;
}

/* A whole member or nothing of it, but for a long string, which is cut. */
static void put_member(struct line *l, const struct pair *pair)
{
    size_t before = l->len;

    put_str(l, ",\"");
    put_escaped(l, pair->key);
    put_str(l, "\":");
    if (!pair->quoted && is_number(pair->value))
        put(l, pair->value.ptr, pair->value.len);
    else if (BT_LOG_LINE_MAX - TAIL - l->len > 1)
        put_quoted(l, pair->value);
    else
        l->cut = true;
    /* Cut anywhere but inside the value's quotes: drop the member. */
    if (l->cut && (l->out[l->len - 1] != '"' || l->out[before + 1] != '"' ||
                   memchr(l->out + before, ':', l->len - before) == NULL))
        l->len = before;
}

size_t bt_log_format_json(const struct bt_log_record *r, char out[BT_LOG_LINE_MAX])
{
    struct line l = { .out = out };
    char part[BT_CLOCK_TEXT_LEN + 64], time[BT_CLOCK_TEXT_LEN];
    const char *p = r->pairs;
    struct pair pair;

    bt_clock_text(r->wall_ms, time);
    (void)snprintf(part, sizeof(part), "{\"time\":\"%s\",\"level\":\"%s\",\"id\":", time,
                   bt_log_level_text(r->level));
    put_str(&l, part);
    put_quoted(&l, bt_slice_of(r->id));
    put_str(&l, ",\"msg\":");
    put_quoted(&l, bt_slice_of(r->text));
    if (r->held > 0) {
        (void)snprintf(part, sizeof(part), ",\"held_back\":%llu",
                       (unsigned long long)r->held);
        put_str(&l, part);
    }
    while (!l.cut && next_pair(&p, &pair))
        put_member(&l, &pair);
    put_end(&l, "}\n");
    return l.len;
}
