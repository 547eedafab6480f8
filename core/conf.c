/* One configuration being read: its memory, its messages, and where each key was written.
 * The rows are applied in conf_fill.c, single values are read in conf_value.c.
 *
 * Happy path: read the file, replace {{.NAME}}, parse the YAML, apply the table. Failure
 * modes: the file cannot be read, is too long, is not YAML, or breaks a row's rule: all
 * of it becomes messages with file, line and column, sorted by place, at most
 * BT_CONF_MAX_MESSAGES; nothing is logged here. Out of memory is remembered and wins over
 * everything else. */
#include "core/conf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conf_priv.h"
#include "core/error.h"
#include "core/mem.h"

#define MAX_TEXT 512

struct bt_conf_block {
    struct bt_conf_block *next;
    max_align_t data[];
};
struct bt_conf_doc {
    struct bt_conf_doc *next;
    struct bt_yaml *yaml;
};

struct bt_conf_ctx *bt_conf_new(void)
{
    struct bt_conf_ctx *ctx = bt_calloc(1, sizeof(*ctx));

    if (ctx != NULL)
        atomic_init(&ctx->refs, 1);
    return ctx;
}

struct bt_conf_ctx *bt_conf_ref(struct bt_conf_ctx *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void bt_conf_free(struct bt_conf_ctx *ctx)
{
    struct bt_conf_block *b, *next;

    if (ctx == NULL ||
        atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (struct bt_conf_doc *d = ctx->docs; d != NULL; d = d->next)
        bt_yaml_free(d->yaml);
    for (b = ctx->blocks; b != NULL; b = next) {
        next = b->next;
        bt_free(b);
    }
    for (size_t i = 0; i < ctx->n_sources; i++)
        bt_conf_patches_deinit(&ctx->sources[i].patches);
    bt_free(ctx->sources);
    bt_buf_deinit(&ctx->text);
    bt_free(ctx->records);
    bt_free(ctx);
}

void *bt_conf_alloc(struct bt_conf_ctx *ctx, size_t n)
{
    struct bt_conf_block *b = bt_calloc(1, sizeof(*b) + n);

    if (b == NULL) {
        ctx->no_memory = true;
        return NULL;
    }
    b->next = ctx->blocks;
    ctx->blocks = b;
    return b->data;
}

char *bt_conf_copy(struct bt_conf_ctx *ctx, const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = bt_conf_alloc(ctx, n);

    if (copy != NULL)
        memcpy(copy, s, n);
    return copy;
}

/* ---- messages ---- */

static bool is_before(const struct bt_conf_pos *a, const struct bt_conf_pos *b)
{
    if (a->file != b->file)
        return false;
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

/* Messages go to terminals: a value from the file must not bring control sequences along.
 */
static char *clean_copy(struct bt_conf_ctx *ctx, const char *text)
{
    char *copy = bt_conf_copy(ctx, text);

    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        bool c1 = (unsigned char)c[0] == 0xc2 && (unsigned char)c[1] < 0xa0;

        if ((unsigned char)*c < 0x20 || *c == 0x7f || c1)
            *c = '?';
    }
    return copy;
}

static void add_message(struct bt_conf_ctx *ctx, bool is_error,
                        const struct bt_conf_pos *pos, const char *text)
{
    size_t i = ctx->n_messages;
    char *copy;

    ctx->n_errors += is_error;
    if (ctx->n_messages == BT_CONF_MAX_MESSAGES) {
        ctx->n_dropped++;
        return;
    }
    copy = clean_copy(ctx, text);
    if (copy == NULL)
        return;
    for (; i > 0 && is_before(pos, &ctx->messages[i - 1].pos); i--)
        ctx->messages[i] = ctx->messages[i - 1];
    ctx->messages[i] =
        (struct bt_conf_message){ .pos = *pos, .is_error = is_error, .text = copy };
    ctx->n_messages++;
}

/* Of the text that is being read, or was read last. */
static struct bt_conf_source *last_source(const struct bt_conf_ctx *ctx)
{
    return &ctx->sources[ctx->n_sources - 1];
}

static const char *last_file(const struct bt_conf_ctx *ctx)
{
    return ctx->n_sources > 0 ? last_source(ctx)->file : NULL;
}

struct bt_conf_pos bt_conf_place(const struct bt_conf_ctx *ctx, struct bt_yaml_pos pos)
{
    const struct bt_conf_source *source;

    if (pos.source >= ctx->n_sources)
        return (struct bt_conf_pos){ NULL, pos.line, pos.column };
    source = &ctx->sources[pos.source];
    pos = bt_conf_origin(&source->patches, pos);
    return (struct bt_conf_pos){ source->file, pos.line, pos.column };
}

void bt_conf_report(struct bt_conf_ctx *ctx, bool is_error, struct bt_yaml_pos pos,
                    const char *fmt, ...)
{
    struct bt_conf_pos place = bt_conf_place(ctx, pos);
    char text[MAX_TEXT];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    add_message(ctx, is_error, &place, text);
}

size_t bt_conf_errors(const struct bt_conf_ctx *ctx)
{
    return ctx->n_errors;
}

static int print_message(struct bt_buf *out, const struct bt_conf_message *m)
{
    const char *file = m->pos.file != NULL ? m->pos.file : "configuration";
    const char *level = m->is_error ? "error" : "warning";

    if (m->pos.line == 0)
        return bt_buf_printf(out, "%s: %s: %s\n", file, level, m->text);
    return bt_buf_printf(out, "%s:%u:%u: %s: %s\n", file, m->pos.line, m->pos.column,
                         level, m->text);
}

const char *bt_conf_messages(const struct bt_conf_ctx *ctx)
{
    /* Only the cached text changes; a context always comes from bt_conf_new. */
    struct bt_buf *out = &((struct bt_conf_ctx *)(uintptr_t)ctx)->text;
    int r = 0;

    out->len = 0;
    for (size_t i = 0; r == 0 && i < ctx->n_messages; i++)
        r = print_message(out, &ctx->messages[i]);
    if (r == 0 && ctx->n_dropped > 0)
        r = bt_buf_printf(out, "and %zu more\n", ctx->n_dropped);
    if (r == 0)
        r = bt_buf_append_u8(out, 0);
    return r == 0 ? (const char *)out->data : "out of memory\n";
}

/* ---- where keys were written ---- */

void bt_conf_record(struct bt_conf_ctx *ctx, const struct bt_conf_record *r)
{
    if (ctx->n_records == ctx->cap_records) {
        size_t cap = ctx->cap_records > 0 ? ctx->cap_records * 2 : 64;
        void *more = bt_realloc(ctx->records, cap * sizeof(*r));

        if (more == NULL) {
            ctx->no_memory = true;
            return;
        }
        ctx->records = more;
        ctx->cap_records = cap;
    }
    ctx->records[ctx->n_records++] = *r;
}

/* Checks run right behind the object they are about, so the newest are looked at first.
 */
static const struct bt_conf_record *find_record(const struct bt_conf_ctx *ctx,
                                                const void *obj, const char *key)
{
    for (size_t i = ctx->n_records; i > 0; i--) {
        const struct bt_conf_record *r = &ctx->records[i - 1];

        if (r->obj != obj || (key == NULL) != (r->key == NULL))
            continue;
        if (key == NULL || strcmp(r->key, key) == 0)
            return r;
    }
    return NULL;
}

bool bt_conf_given(const struct bt_conf_ctx *ctx, const void *obj, const char *key)
{
    return find_record(ctx, obj, key) != NULL;
}

/* The record of the key, or of the longest part of it that has one: "a.b" for "a.b[3].c".
 */
static const struct bt_conf_record *find_nearest(const struct bt_conf_ctx *ctx,
                                                 const void *obj, const char *key)
{
    const struct bt_conf_record *r = NULL;
    char part[BT_CONF_MAX_PATH];
    size_t n;

    if (key == NULL)
        return NULL;
    snprintf(part, sizeof(part), "%s", key);
    n = strlen(part);
    while (n > 0) {
        part[n] = '\0';
        r = find_record(ctx, obj, part);
        if (r != NULL)
            break;
        while (n > 0 && part[--n] != '.' && part[n] != '[')
            ;
    }
    return r;
}

/* `text` is joined with the path of the key. */
static void report_at(struct bt_conf_ctx *ctx, bool is_error, const void *obj,
                      const char *key, const char *text)
{
    const struct bt_conf_record *object = find_record(ctx, obj, NULL);
    const struct bt_conf_record *r = find_nearest(ctx, obj, key);
    const char *path = object != NULL ? object->path : "";
    struct bt_conf_pos pos = { .file = last_file(ctx) };
    char joined[BT_CONF_MAX_PATH * 2 + MAX_TEXT];

    if (r != NULL || object != NULL)
        pos = r != NULL ? r->pos : object->pos;
    if (key == NULL)
        key = "";
    snprintf(joined, sizeof(joined), "%.*s%s%.*s%s%s", (int)BT_CONF_MAX_PATH, path,
             *path != '\0' && *key != '\0' ? "." : "", (int)BT_CONF_MAX_PATH - 4, key,
             *path != '\0' || *key != '\0' ? ": " : "", text);
    add_message(ctx, is_error, &pos, joined);
}

void bt_conf_error_at(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                      const char *fmt, ...)
{
    char text[MAX_TEXT];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    report_at(ctx, true, obj, key, text);
}

void bt_conf_warn_at(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                     const char *fmt, ...)
{
    char text[MAX_TEXT];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    report_at(ctx, false, obj, key, text);
}

/* ---- reading ---- */

static void on_yaml_problem(void *arg, struct bt_yaml_pos pos, const char *text)
{
    const struct bt_conf_ctx *ctx = arg;

    pos.source = (unsigned)ctx->n_sources - 1;
    bt_conf_report(arg, true, pos, "%s", text);
}

/* The position is in the file already: no patch applies to it. */
static void on_template_problem(void *arg, struct bt_yaml_pos pos, const char *text)
{
    struct bt_conf_ctx *ctx = arg;
    struct bt_conf_pos place = { last_file(ctx), pos.line, pos.column };

    add_message(ctx, true, &place, text);
}

static const char *look_up(void *arg, const char *name)
{
    const struct bt_conf_ctx *ctx = arg;
    const struct bt_conf_view *view = last_source(ctx)->view;

    return view != NULL && view->variable != NULL ? view->variable(view->arg, name)
                                                  : getenv(name);
}

static int add_source(struct bt_conf_ctx *ctx, const char *file)
{
    if (ctx->n_sources == BT_CONF_MAX_SOURCES)
        return bt_origin(BT_ELIMIT, "too many configuration files");
    if (ctx->n_sources == ctx->cap_sources) {
        size_t cap = ctx->cap_sources > 0 ? ctx->cap_sources * 2 : 8;
        void *more = bt_realloc(ctx->sources, cap * sizeof(*ctx->sources));

        if (more == NULL)
            return BT_ENOMEM;
        ctx->sources = more;
        ctx->cap_sources = cap;
    }
    file = bt_conf_copy(ctx, file);
    if (file == NULL)
        return BT_ENOMEM;
    ctx->sources[ctx->n_sources++] =
        (struct bt_conf_source){ .file = file, .view = ctx->view };
    return 0;
}

static int keep_doc(struct bt_conf_ctx *ctx, struct bt_yaml *yaml)
{
    struct bt_conf_doc *doc = bt_conf_alloc(ctx, sizeof(*doc));

    if (doc == NULL) {
        bt_yaml_free(yaml);
        return BT_ENOMEM;
    }
    doc->yaml = yaml;
    doc->next = ctx->docs;
    ctx->docs = doc;
    return 0;
}

static int too_long(struct bt_conf_ctx *ctx)
{
    struct bt_conf_pos place = { .file = last_file(ctx) };

    add_message(ctx, true, &place, "the file is longer than 16 MiB");
    return BT_ECONF;
}

/* Into the source that was added last. */
static int parse(struct bt_conf_ctx *ctx, const char *text, size_t len,
                 struct bt_yaml **out)
{
    struct bt_slice all = { (const uint8_t *)text, len };
    struct bt_buf expanded = { .max = BT_CONF_MAX_FILE };
    struct bt_yaml *yaml = NULL;
    int r;

    r = bt_conf_expand(all, look_up, on_template_problem, ctx, &expanded,
                       &last_source(ctx)->patches);
    if (r == BT_ELIMIT)
        r = too_long(ctx);
    if (r == 0)
        r = bt_yaml_parse(expanded.len > 0 ? (const char *)expanded.data : "",
                          expanded.len, on_yaml_problem, ctx, &yaml);
    bt_buf_deinit(&expanded);
    if (r == 0)
        r = keep_doc(ctx, yaml);
    if (r != 0)
        return r;
    bt_yaml_set_source(yaml, (unsigned)ctx->n_sources - 1);
    *out = yaml;
    return 0;
}

int bt_conf_read_text(struct bt_conf_ctx *ctx, const char *name, const char *text,
                      size_t len, struct bt_yaml **out)
{
    int r = add_source(ctx, name);

    return r != 0 ? r : parse(ctx, text, len, out);
}

static int read_stream(struct bt_conf_ctx *ctx, FILE *f, struct bt_buf *out)
{
    size_t n;
    int r;

    do {
        r = bt_buf_reserve(out, 65536);
        if (r != 0)
            break;
        n = fread(out->data + out->len, 1, 65536, f);
        out->len += n;
    } while (n > 0);
    if (r == BT_ELIMIT)
        return too_long(ctx);
    if (r == 0 && ferror(f)) {
        struct bt_conf_pos place = { .file = last_file(ctx) };
        char text[MAX_TEXT];

        snprintf(text, sizeof(text), "cannot be read: %s", strerror(errno));
        add_message(ctx, true, &place, text);
        return BT_ECONF;
    }
    return r;
}

int bt_conf_read(struct bt_conf_ctx *ctx, const char *path, struct bt_yaml **out)
{
    struct bt_buf text = { .max = BT_CONF_MAX_FILE + 65536 };
    struct bt_conf_pos place = { .file = NULL };
    char message[MAX_TEXT];
    FILE *f;
    int r;

    r = add_source(ctx, path);
    if (r != 0)
        return r;
    f = fopen(path, "re");
    if (f == NULL) {
        place.file = last_file(ctx);
        snprintf(message, sizeof(message), "cannot be read: %s", strerror(errno));
        add_message(ctx, true, &place, message);
        return BT_ECONF;
    }
    r = read_stream(ctx, f, &text);
    fclose(f);
    if (r == 0)
        r = parse(ctx, (const char *)text.data, text.len, out);
    bt_buf_deinit(&text);
    return r;
}

int bt_conf_load(struct bt_conf_ctx *ctx, const char *path,
                 const struct bt_conf_table *table, void *obj)
{
    struct bt_yaml *doc = NULL;
    int r = bt_conf_read(ctx, path, &doc);

    memset(obj, 0, table->size);
    return r != 0 ? r : bt_conf_apply(ctx, doc, table, obj);
}

int bt_conf_load_text(struct bt_conf_ctx *ctx, const char *name, const char *text,
                      size_t len, const struct bt_conf_table *table, void *obj)
{
    struct bt_yaml *doc = NULL;
    int r = bt_conf_read_text(ctx, name, text, len, &doc);

    memset(obj, 0, table->size);
    return r != 0 ? r : bt_conf_apply(ctx, doc, table, obj);
}
