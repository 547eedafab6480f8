/* One value of a tree into one member, and the sentences that say what was expected
 * instead.
 *
 * Failure modes: another kind, out of range, no match: reported with the place of the
 * value; the member keeps what it had. The text of a secret is never repeated. */
#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"

bool bt_conf_join(char out[BT_CONF_MAX_PATH], const char *a, const char *b)
{
    int n = snprintf(out, BT_CONF_MAX_PATH, "%s%s%s", a,
                     *a != '\0' && *b != '\0' && *b != '[' ? "." : "", b);

    return n >= 0 && n < (int)BT_CONF_MAX_PATH;
}

static void format_range(const struct bt_conf_row *row, char *out, size_t n)
{
    char lo[BT_CONF_VALUE_LEN], hi[BT_CONF_VALUE_LEN];

    snprintf(lo, sizeof(lo), "%" PRId64, row->min);
    snprintf(hi, sizeof(hi), "%" PRId64, row->max);
    if (row->kind == BT_CONF_MS) {
        bt_conf_format_ms(row->min, lo);
        bt_conf_format_ms(row->max, hi);
    } else if (row->kind == BT_CONF_BYTES) {
        bt_conf_format_bytes((uint64_t)row->min, lo);
        bt_conf_format_bytes((uint64_t)row->max, hi);
    }
    if (row->max != 0)
        snprintf(out, n, " from %s to %s", lo, hi);
    else if (row->min != 0)
        snprintf(out, n, " of at least %s", lo);
    else
        out[0] = '\0';
}

static void format_expected(const struct bt_conf_row *row, char *out, size_t n)
{
    static const char *const kinds[] = {
        [BT_CONF_BOOL] = "true or false",
        [BT_CONF_U32] = "a whole number",
        [BT_CONF_BYTES] = "a size like 32k or 4m",
        [BT_CONF_MS] = "a duration like 20s or 1m30s",
        [BT_CONF_STRING] = "a text",
        [BT_CONF_ENUM] = "one of",
        [BT_CONF_STRINGS] = "a list of texts",
        [BT_CONF_SECTION] = "a mapping",
        [BT_CONF_LIST] = "a list of mappings",
    };
    bool numeric =
        row->kind == BT_CONF_U32 || row->kind == BT_CONF_BYTES || row->kind == BT_CONF_MS;
    char range[3 * BT_CONF_VALUE_LEN] = "";
    size_t at;

    if (numeric)
        format_range(row, range, sizeof(range));
    at = (size_t)snprintf(out, n, "%s%s", kinds[row->kind], range);
    for (size_t i = 0; row->kind == BT_CONF_ENUM && row->choices[i] != NULL && at < n;
         i++)
        at += (size_t)snprintf(out + at, n - at, "%s%s", i > 0 ? ", " : " ",
                               row->choices[i]);
}

static void format_found(const struct bt_conf_row *row, const struct bt_yaml_node *node,
                         char *out, size_t n)
{
    if (node->kind == BT_YAML_LIST)
        snprintf(out, n, "a list");
    else if (node->kind == BT_YAML_MAP)
        snprintf(out, n, "a mapping");
    else if (bt_yaml_is_null(node))
        snprintf(out, n, "nothing");
    else if ((row->flags & BT_CONF_SECRET) != 0)
        snprintf(out, n, "another text");
    else
        snprintf(out, n, "\"%.60s\"", node->text);
}

void bt_conf_report_value(const struct bt_conf_target *t, const struct bt_yaml_node *node,
                          const char *expected)
{
    char path[BT_CONF_MAX_PATH], found[80], kind[160];

    if (expected == NULL) {
        format_expected(t->row, kind, sizeof(kind));
        expected = kind;
    }
    format_found(t->row, node, found, sizeof(found));
    if (bt_conf_join(path, t->scope->path, t->path))
        bt_conf_report(t->scope->ctx, true, node->pos, "%s: expected %s, found %s", path,
                       expected, found);
}

/* ---- single values ---- */

static int read_bool(const struct bt_conf_row *row, const char *s, void *member)
{
    (void)row;
    return bt_conf_parse_bool(s, member);
}

static int read_u32(const struct bt_conf_row *row, const char *s, void *member)
{
    uint32_t *out = member;
    int r = bt_conf_parse_u32(s, out);

    if (r == 0 && (*out < row->min || (row->max != 0 && *out > row->max)))
        return BT_EINVAL;
    return r;
}

static int read_bytes(const struct bt_conf_row *row, const char *s, void *member)
{
    uint64_t *out = member;
    int r = bt_conf_parse_bytes(s, out);

    if (r == 0 &&
        (*out < (uint64_t)row->min || (row->max != 0 && *out > (uint64_t)row->max)))
        return BT_EINVAL;
    return r;
}

static int read_ms(const struct bt_conf_row *row, const char *s, void *member)
{
    int64_t *out = member;
    int r = bt_conf_parse_ms(s, out);

    if (r == 0 && (*out < row->min || (row->max != 0 && *out > row->max)))
        return BT_EINVAL;
    return r;
}

static int read_enum(const struct bt_conf_row *row, const char *s, void *member)
{
    for (uint32_t i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], s) == 0) {
            *(uint32_t *)member = i;
            return 0;
        }
    }
    return BT_EINVAL;
}

typedef int (*reader_fn)(const struct bt_conf_row *row, const char *s, void *member);

/* NULL: the kind is no scalar of fixed size. */
static const reader_fn scalar_readers[BT_CONF_LIST + 1] = {
    [BT_CONF_BOOL] = read_bool, [BT_CONF_U32] = read_u32,   [BT_CONF_BYTES] = read_bytes,
    [BT_CONF_MS] = read_ms,     [BT_CONF_ENUM] = read_enum,
};

bool bt_conf_is_scalar(enum bt_conf_kind kind)
{
    return scalar_readers[kind] != NULL;
}

static bool is_zero(const char *s)
{
    uint64_t n = 1;
    int64_t ms = 1;

    return (bt_conf_parse_bytes(s, &n) == 0 && n == 0) ||
           (bt_conf_parse_ms(s, &ms) == 0 && ms == 0);
}

int bt_conf_read_plain(const struct bt_conf_row *row, const char *s, void *member)
{
    if ((row->flags & BT_CONF_ZERO) != 0 && is_zero(s))
        s = row->def;
    return scalar_readers[row->kind](row, s, member);
}

static bool is_match(const char *pattern, const char *s)
{
    regex_t re;
    bool ok;

    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    ok = regexec(&re, s, 0, NULL, 0) == 0;
    regfree(&re);
    return ok;
}

static char *copy_text(const struct bt_conf_target *t, const struct bt_yaml_node *node,
                       const char *text)
{
    struct bt_conf_ctx *ctx = t->scope->ctx;
    const struct bt_conf_view *view =
        node->pos.source < ctx->n_sources ? ctx->sources[node->pos.source].view : NULL;

    if ((t->row->flags & BT_CONF_PATH) == 0 || *text == '\0' || view == NULL ||
        view->path == NULL)
        return bt_conf_copy(ctx, text);
    text = view->path(view->arg, ctx, text, node->pos);
    return text != NULL ? bt_conf_copy(ctx, text) : NULL;
}

/* A text of the file into *out, owned by the context. */
void bt_conf_read_string(const struct bt_conf_target *t, const struct bt_yaml_node *node,
                         char **out)
{
    const struct bt_conf_row *row = t->row;
    char expected[160];

    if (node->kind != BT_YAML_SCALAR) {
        bt_conf_report_value(t, node, NULL);
    } else if (row->kind == BT_CONF_STRING && row->max != 0 &&
               strlen(node->text) > (size_t)row->max) {
        snprintf(expected, sizeof(expected), "a text of at most %" PRId64 " bytes",
                 row->max);
        bt_conf_report_value(t, node, expected);
    } else if (row->match != NULL && !is_match(row->match, node->text) &&
               ((row->flags & BT_CONF_REQUIRED) == 0 || *node->text != '\0')) {
        snprintf(expected, sizeof(expected), "a text that matches %s", row->match);
        bt_conf_report_value(t, node, expected);
    } else {
        bool by_default = (row->flags & BT_CONF_ZERO) != 0 && *node->text == '\0';

        *out = copy_text(t, node, by_default ? row->def : node->text);
    }
}

static void warn_nanoseconds(const struct bt_conf_target *t,
                             const struct bt_yaml_node *node)
{
    char path[BT_CONF_MAX_PATH];

    if (*(int64_t *)t->member == 1 && bt_conf_is_integer(node->text) &&
        bt_conf_join(path, t->scope->path, t->path))
        bt_conf_report(t->scope->ctx, false, node->pos,
                       "%s: %s without a unit is nanoseconds; write %ss for seconds",
                       path, node->text, node->text);
}

void bt_conf_read_scalar(const struct bt_conf_target *t, const struct bt_yaml_node *node)
{
    if (node->kind != BT_YAML_SCALAR ||
        bt_conf_read_plain(t->row, node->text, t->member) != 0)
        bt_conf_report_value(t, node, NULL);
    else if (t->row->kind == BT_CONF_MS)
        warn_nanoseconds(t, node);
}
