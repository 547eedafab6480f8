/* {{.NAME}} in a configuration is the environment variable NAME. The whole text is
 * expanded before YAML sees it, so that a variable may hold a list or a number; what was
 * replaced is kept, so that positions in the expanded text can be told as positions in
 * the file.
 *
 * Happy path: copy up to "{{", read the name, append the value. Failure modes: an unknown
 * name is reported and left as it is; anything else between braces is not ours (a YAML
 * flow mapping in a flow mapping, another program's template) and is copied. */
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"
#include "core/mem.h"

#define MAX_NAME    256u
#define MAX_PATCHES 65536u

static void advance(struct bt_yaml_pos *pos, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n') {
            pos->line++;
            pos->column = 1;
        } else if (((unsigned char)s[i] & 0xc0) != 0x80) {
            pos->column++;
        }
    }
}

static bool is_name(char c, bool first)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (!first && c >= '0' && c <= '9');
}

static size_t skip_blanks(const char *s, size_t n, size_t i)
{
    while (i < n && (s[i] == ' ' || s[i] == '\t'))
        i++;
    return i;
}

/* The length of a {{.NAME}} at the start of s, or 0. */
static size_t match(const char *s, size_t n, char name[MAX_NAME])
{
    size_t i, len = 0;

    if (n < 2 || s[0] != '{' || s[1] != '{')
        return 0;
    i = skip_blanks(s, n, 2);
    if (i == n || s[i++] != '.')
        return 0;
    while (i < n && len < MAX_NAME - 1 && is_name(s[i], len == 0))
        name[len++] = s[i++];
    name[len] = '\0';
    i = skip_blanks(s, n, i);
    if (len == 0 || n - i < 2 || s[i] != '}' || s[i + 1] != '}')
        return 0;
    return i + 2;
}

static int add_patch(struct bt_conf_patches *patches, const struct bt_conf_patch *p)
{
    if (patches->n == MAX_PATCHES)
        return BT_ELIMIT;
    if (patches->n == patches->cap) {
        size_t cap = patches->cap > 0 ? patches->cap * 2 : 16;
        void *more = bt_realloc(patches->items, cap * sizeof(*p));

        if (more == NULL)
            return BT_ENOMEM;
        patches->items = more;
        patches->cap = cap;
    }
    patches->items[patches->n++] = *p;
    return 0;
}

struct expansion {
    bt_conf_lookup_fn lookup;
    bt_yaml_report_fn report;
    void *arg;
    struct bt_buf *out;
    struct bt_conf_patches *patches;
    struct bt_yaml_pos from, to; /* where we are in the file and in the expanded text */
    bool wrong;
};

static int copy(struct expansion *e, const char *s, size_t n)
{
    advance(&e->from, s, n);
    advance(&e->to, s, n);
    return n > 0 ? bt_buf_append(e->out, s, n) : 0;
}

static int replace(struct expansion *e, const char *s, size_t n, const char *name)
{
    const char *value = e->lookup(e->arg, name);
    struct bt_conf_patch p = { .from = e->from, .to = e->to };
    struct bt_buf text = { 0 };
    int r;

    if (value == NULL) {
        e->wrong = true;
        r = bt_buf_printf(&text, "environment variable %s is not set", name);
        if (r == 0) {
            char *message = bt_buf_steal_str(&text);

            e->report(e->arg, e->from, message != NULL ? message : "out of memory");
            bt_free(message);
        }
        bt_buf_deinit(&text);
        return r != 0 ? r : copy(e, s, n);
    }
    advance(&e->from, s, n);
    advance(&e->to, value, strlen(value));
    p.from_end = e->from;
    p.to_end = e->to;
    r = add_patch(e->patches, &p);
    return r != 0 ? r : bt_buf_append_str(e->out, value);
}

/* One line, with its end. */
static int expand_line(struct expansion *e, const char *s, size_t n)
{
    size_t i = skip_blanks(s, n, 0), start = 0;
    char name[MAX_NAME];
    int r = 0;

    if (i < n && s[i] == '#')
        return copy(e, s, n);
    while (r == 0 && i < n) {
        size_t len = match(s + i, n - i, name);

        if (len == 0) {
            i++;
            continue;
        }
        r = copy(e, s + start, i - start);
        if (r == 0)
            r = replace(e, s + i, len, name);
        i += len;
        start = i;
    }
    return r != 0 ? r : copy(e, s + start, n - start);
}

int bt_conf_expand(struct bt_slice text, bt_conf_lookup_fn lookup,
                   bt_yaml_report_fn report, void *arg, struct bt_buf *out,
                   struct bt_conf_patches *patches)
{
    struct expansion e = { .lookup = lookup,
                           .report = report,
                           .arg = arg,
                           .out = out,
                           .patches = patches,
                           .from = { .line = 1, .column = 1 },
                           .to = { .line = 1, .column = 1 } };
    const char *at = (const char *)text.ptr;
    size_t left = text.len;
    int r = 0;

    while (r == 0 && left > 0) {
        const char *end = memchr(at, '\n', left);
        size_t n = end != NULL ? (size_t)(end - at) + 1 : left;

        r = expand_line(&e, at, n);
        at += n;
        left -= n;
    }
    return r == 0 && e.wrong ? BT_ECONF : r;
}

void bt_conf_patches_deinit(struct bt_conf_patches *patches)
{
    bt_free(patches->items);
    *patches = (struct bt_conf_patches){ 0 };
}

static bool before(struct bt_yaml_pos a, struct bt_yaml_pos b)
{
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

struct bt_yaml_pos bt_conf_origin(const struct bt_conf_patches *patches,
                                  struct bt_yaml_pos pos)
{
    size_t lo = 0, hi = patches->n;
    const struct bt_conf_patch *p;

    while (lo < hi) { /* the first patch that begins behind pos */
        size_t mid = lo + (hi - lo) / 2;

        if (before(pos, patches->items[mid].to))
            hi = mid;
        else
            lo = mid + 1;
    }
    if (lo == 0)
        return pos;
    p = &patches->items[lo - 1];
    if (before(pos, p->to_end))
        return p->from;
    if (pos.line == p->to_end.line)
        pos.column = p->from_end.column + (pos.column - p->to_end.column);
    pos.line = p->from_end.line + (pos.line - p->to_end.line);
    return pos;
}
