/* Configuration by tables. One row per option: key, kind, member, range, default, flags,
 * sentence. The same rows parse, validate, print defaults and write docs/config.md. Never
 * compare an option's name by hand. Main thread; the parsed structs are read-only
 * afterwards.
 *
 * Rules of the original that are kept: durations (`20s`, `1m30s`, `500ms`; a bare integer
 * is nanoseconds), sizes (`32k`, `4m`; a bare number is bytes; powers of 1024),
 * `{{.NAME}}` is replaced by the environment variable, per occurrence. Unknown keys are
 * warnings. What is different: an unknown variable is an error, an explicit zero is a
 * zero, and all errors are reported at once, each with file, line, column and the nearest
 * valid key. */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include "core/base.h"
#include "core/buf.h"

enum bt_conf_kind {
    BT_CONF_BOOL,    /* bool */
    BT_CONF_U32,     /* uint32_t, in [min, max] */
    BT_CONF_BYTES,   /* uint64_t, bytes, in [min, max] */
    BT_CONF_MS,      /* int64_t, milliseconds, in [min, max]; below 1 ms rounds up to 1 */
    BT_CONF_STRING,  /* char *, NULL when absent and def is NULL; max = length limit when
                        not 0 */
    BT_CONF_ENUM,    /* uint32_t index into choices */
    BT_CONF_STRINGS, /* struct bt_conf_strings; a single scalar is a list of one; max =
                        items */
    BT_CONF_SECTION, /* an embedded struct, described by sub */
    BT_CONF_LIST,    /* struct bt_conf_list of structs, described by sub; max = items */
};

#define BT_CONF_RELOAD   1u /* taken over by a reload */
#define BT_CONF_SECRET   2u /* never printed */
#define BT_CONF_REQUIRED 4u /* absent or empty is an error */
#define BT_CONF_IGNORED \
    8u /* accepted for compatibility, has no effect; documented as such */
#define BT_CONF_ZERO \
    16u /* an explicit zero (or empty text) is the default, as in the original */

#define BT_CONF_PATH 32u /* names a file; a service's own view of paths applies */

struct bt_conf_strings {
    char **items;
    size_t n;
};
struct bt_conf_list {
    void *items; /* array of the sub-table's struct */
    size_t n;
};
#define BT_CONF_MAX_ITEMS 65536u
#define BT_CONF_MAX_FILE  ((size_t)16 * 1024 * 1024)

struct bt_conf_table;
struct bt_conf_ctx; /* one parse: collects errors and warnings, owns the memory */
struct bt_conf_pos {
    const char *file;
    unsigned line, column; /* from 1; 0 = unknown */
};

struct bt_conf_row {
    const char *key; /* dotted for nested maps: "message.length.max" */
    enum bt_conf_kind kind;
    size_t offset;
    int64_t min, max;
    const char *def; /* as it would be written in YAML; NULL = none */
    unsigned flags;
    const char *doc;                 /* one sentence */
    const char *const *choices;      /* ENUM: NULL-terminated */
    const struct bt_conf_table *sub; /* SECTION, LIST */
    /* SECTION: whether the table's object has it, for those that mean something by being
     * there; NULL: always. Asked after the checks. */
    bool (*is_given)(const void *obj);
    const char *match; /* STRING/STRINGS: POSIX extended regular expression each value
                          must match, or NULL */
};

/* check runs after all rows of one object are filled and valid; it reports by
 * bt_conf_error_at(ctx, obj, key, ...). */
struct bt_conf_table {
    const char *name; /* "hub", "hub.principals" */
    const char *doc;
    size_t size; /* sizeof the struct */
    const struct bt_conf_row *rows;
    size_t n_rows;
    void (*check)(struct bt_conf_ctx *ctx, void *obj);
};

#define BT_CONF_CTYPE_BOOL    bool
#define BT_CONF_CTYPE_U32     uint32_t
#define BT_CONF_CTYPE_BYTES   uint64_t
#define BT_CONF_CTYPE_MS      int64_t
#define BT_CONF_CTYPE_STRING  char *
#define BT_CONF_CTYPE_ENUM    uint32_t
#define BT_CONF_CTYPE_STRINGS struct bt_conf_strings
#define BT_CONF_CTYPE_LIST    struct bt_conf_list
/* offsetof that does not build when the member's type does not fit the kind. */
#define BT_CONF_AT(type, member, kind) \
    _Generic(((type *)0)->member, BT_CONF_CTYPE_##kind : offsetof(type, member))
/* Designated rest: BT_CONF_ROW(struct x, "key", U32, member, "10", "Doc.", .min = 1, .max
 * = 9) */
#define BT_CONF_ROW(type, key_, kind_, member_, def_, doc_, ...)                  \
    {                                                                             \
        .key = (key_), .kind = BT_CONF_##kind_,                                   \
        .offset = BT_CONF_AT(type, member_, kind_), .def = (def_), .doc = (doc_), \
        __VA_ARGS__                                                               \
    }
#define BT_CONF_SECTION_ROW(type, key_, member_, sub_, doc_, ...)                  \
    {                                                                              \
        .key = (key_), .kind = BT_CONF_SECTION, .offset = offsetof(type, member_), \
        .doc = (doc_), .sub = (sub_), __VA_ARGS__                                  \
    }

struct bt_conf_ctx *bt_conf_new(void) BT_MUST_CHECK;
/* Who goes on reading the parsed structs, perhaps on another thread, holds a reference;
 * any thread. Returns ctx. */
struct bt_conf_ctx *bt_conf_ref(struct bt_conf_ctx *ctx);
/* Drops a reference; the last one frees every struct member it allocated. NULL is fine.
 */
void bt_conf_free(struct bt_conf_ctx *ctx);
/* Parse a file or text as `table` into obj (zeroed by the call; members live as long as
 * ctx). 0, or BT_ECONF after collecting every error, or BT_ENOMEM. */
int bt_conf_load(struct bt_conf_ctx *ctx, const char *path,
                 const struct bt_conf_table *table, void *obj) BT_MUST_CHECK;
int bt_conf_load_text(struct bt_conf_ctx *ctx, const char *name, const char *text,
                      size_t len, const struct bt_conf_table *table,
                      void *obj) BT_MUST_CHECK;
/* Fill obj with defaults only. */
int bt_conf_defaults(struct bt_conf_ctx *ctx, const struct bt_conf_table *table,
                     void *obj) BT_MUST_CHECK;
/* Report from a check function: position of `key` in obj when known. */
void bt_conf_error_at(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                      const char *fmt, ...) BT_PRINTF(4, 5);
void bt_conf_warn_at(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                     const char *fmt, ...) BT_PRINTF(4, 5);
/* Whether the key was written in the file (as opposed to defaulted). */
bool bt_conf_given(const struct bt_conf_ctx *ctx, const void *obj, const char *key);
/* Memory that lives as long as ctx. */
void *bt_conf_alloc(struct bt_conf_ctx *ctx, size_t n) BT_MUST_CHECK;
size_t bt_conf_errors(const struct bt_conf_ctx *ctx);
/* All messages, one per line: "file:line:column: error|warning: text". */
const char *bt_conf_messages(const struct bt_conf_ctx *ctx);
/* The effective configuration as YAML (secrets as ***), and the table as Markdown. */
int bt_conf_print(const struct bt_conf_table *table, const void *obj,
                  struct bt_buf *out) BT_MUST_CHECK;
int bt_conf_markdown(const struct bt_conf_table *table, struct bt_buf *out) BT_MUST_CHECK;

/* Calls fn for every key whose value differs, in the table's order; sections are looked
 * into, a list counts as one value. key: "limits.connections". */
struct bt_conf_diff {
    void (*fn)(void *arg, const char *key, const struct bt_conf_row *row);
    void *arg;
};
void bt_conf_each_change(const struct bt_conf_table *table, const void *before,
                         const void *after, const struct bt_conf_diff *d);

/* Values, also for command-line options. 0 or BT_EINVAL. */
int bt_conf_parse_ms(const char *s, int64_t *out) BT_MUST_CHECK;
int bt_conf_parse_bytes(const char *s, uint64_t *out) BT_MUST_CHECK;

#endif
