/* What the files core/conf*.c and core/app_conf.c share; nobody else includes it. Main
 * thread. */
#ifndef CORE_CONF_PRIV_H
#define CORE_CONF_PRIV_H

#include <stdatomic.h>

#include "core/conf.h"
#include "core/yaml.h"

/* ---- core/conf_value.c ---- */
int bt_conf_parse_bool(const char *s, bool *out) BT_MUST_CHECK;
/* Decimal, or hexadecimal with 0x. BT_EINVAL also when it does not fit. */
int bt_conf_parse_u32(const char *s, uint32_t *out) BT_MUST_CHECK;
/* True for digits alone with an optional sign: as a duration these are nanoseconds. */
bool bt_conf_is_integer(const char *s);
/* Exact texts that parse to the same value: "1m30s", "32k". out holds BT_CONF_VALUE_LEN.
 */
#define BT_CONF_VALUE_LEN 48
void bt_conf_format_ms(int64_t ms, char out[BT_CONF_VALUE_LEN]);
void bt_conf_format_bytes(uint64_t n, char out[BT_CONF_VALUE_LEN]);
/* Number of single edits (insert, delete, replace, swap of neighbours) from a to b; at
 * most BT_CONF_FAR, also when a text is longer than 63 bytes. */
#define BT_CONF_FAR 64u
unsigned bt_conf_distance(const char *a, const char *b);

/* ---- core/conf_template.c ---- */
/* One replaced {{.NAME}}: where it was and what it became, in characters from 1. */
struct bt_conf_patch {
    struct bt_yaml_pos from, from_end, to, to_end;
};
struct bt_conf_patches {
    struct bt_conf_patch *items;
    size_t n, cap;
};
/* Append text to out with every {{.NAME}} replaced by lookup(arg, NAME). Unknown names
 * are reported at their place in text and stay. Lines that are comments are left alone.
 * 0, BT_ECONF, BT_ENOMEM, BT_ELIMIT. */
typedef const char *(*bt_conf_lookup_fn)(void *arg, const char *name);
int bt_conf_expand(struct bt_slice text, bt_conf_lookup_fn lookup,
                   bt_yaml_report_fn report, void *arg, struct bt_buf *out,
                   struct bt_conf_patches *patches) BT_MUST_CHECK;
void bt_conf_patches_deinit(struct bt_conf_patches *patches);
/* The place in the file of a place in the expanded text. */
struct bt_yaml_pos bt_conf_origin(const struct bt_conf_patches *patches,
                                  struct bt_yaml_pos pos);

/* ---- core/conf.c ---- */
#define BT_CONF_MAX_MESSAGES 200u
#define BT_CONF_MAX_PATH     256u

struct bt_conf_message {
    struct bt_conf_pos pos;
    bool is_error;
    char *text; /* of ctx */
};
/* What was written in a file, and where. */
struct bt_conf_record {
    const void *obj;
    const char *key;  /* NULL: the object itself */
    const char *path; /* of the object: "hub.principals[0]", "" at the top; of ctx */
    struct bt_conf_pos pos;
};
/* How a text names things: the files and variables of a service are not those of this
 * process. Both functions may be NULL. */
struct bt_conf_view {
    /* A path of the text as one of this process, of ctx, or NULL when out of memory. pos:
     * where it is written, or line 0 for a default. */
    const char *(*path)(void *arg, struct bt_conf_ctx *ctx, const char *path,
                        struct bt_yaml_pos pos);
    /* {{.NAME}}; NULL: not set. */
    const char *(*variable)(void *arg, const char *name);
    void *arg;
};
/* One text that was read. */
struct bt_conf_source {
    const char *file;
    struct bt_conf_patches patches;
    const struct bt_conf_view *view; /* NULL: as this process */
};
#define BT_CONF_MAX_SOURCES 4096u
struct bt_conf_block;
struct bt_conf_doc;
struct bt_conf_ctx {
    _Atomic uint32_t refs;
    struct bt_conf_block *blocks;
    struct bt_conf_doc *docs;
    struct bt_conf_message
        messages[BT_CONF_MAX_MESSAGES]; /* in order of file and place */
    size_t n_messages, n_errors, n_dropped;
    struct bt_conf_record *records;
    size_t n_records, cap_records;
    struct bt_conf_source *sources; /* in order of reading */
    size_t n_sources, cap_sources;
    const struct bt_conf_view *view; /* of the texts read from now on */
    struct bt_buf text;              /* the messages as one text */
    bool no_memory;                  /* an allocation failed; the result is BT_ENOMEM */
};

/* Read a text or a file into a tree that lives as long as ctx. 0, BT_ECONF, BT_ENOMEM. */
int bt_conf_read_text(struct bt_conf_ctx *ctx, const char *name, const char *text,
                      size_t len, struct bt_yaml **out) BT_MUST_CHECK;
int bt_conf_read(struct bt_conf_ctx *ctx, const char *path,
                 struct bt_yaml **out) BT_MUST_CHECK;
/* Report at a place of a tree of ctx. */
void bt_conf_report(struct bt_conf_ctx *ctx, bool is_error, struct bt_yaml_pos pos,
                    const char *fmt, ...) BT_PRINTF(4, 5);
struct bt_conf_pos bt_conf_place(const struct bt_conf_ctx *ctx, struct bt_yaml_pos pos);
/* A copy that lives as long as ctx; NULL after marking ctx. */
char *bt_conf_copy(struct bt_conf_ctx *ctx, const char *s);
void bt_conf_record(struct bt_conf_ctx *ctx, const struct bt_conf_record *r);

/* ---- core/conf_read.c ---- */
/* One object with its own search: the whole file, or one item of a list. */
struct bt_conf_scope {
    struct bt_conf_ctx *ctx;
    struct bt_yaml_node *map; /* NULL: nothing was written */
    struct bt_yaml_pos pos;
    const char *path; /* of the object, for messages; of ctx */
    unsigned source;  /* whose view defaults are read in */
    bool quiet;       /* defaults only: nothing is required, nothing is checked */
};

/* A value on its way into a member. */
struct bt_conf_target {
    const struct bt_conf_scope *scope;
    const struct bt_conf_row *row;
    void *member;
    const char *path; /* of the key within the scope */
};

/* "a" and "b.c" are "a.b.c". False when it would be too long. */
bool bt_conf_join(char out[BT_CONF_MAX_PATH], const char *a, const char *b) BT_MUST_CHECK;
/* `expected` NULL: by the row. */
void bt_conf_report_value(const struct bt_conf_target *t, const struct bt_yaml_node *node,
                          const char *expected);
/* Whether a value of the kind is read from one text into a member of fixed size. */
bool bt_conf_is_scalar(enum bt_conf_kind kind);
/* Such a text within the row's range, or BT_EINVAL; nothing is reported. */
int bt_conf_read_plain(const struct bt_conf_row *row, const char *s,
                       void *member) BT_MUST_CHECK;
/* A node into a member, or a report. */
void bt_conf_read_scalar(const struct bt_conf_target *t, const struct bt_yaml_node *node);
/* *out lives as long as the context. */
void bt_conf_read_string(const struct bt_conf_target *t, const struct bt_yaml_node *node,
                         char **out);

/* ---- core/conf_unknown.c ---- */
/* Warn about every key of the scope that was neither used nor looked into. */
void bt_conf_warn_unknown(const struct bt_conf_scope *s,
                          const struct bt_conf_table *table);

/* ---- core/conf_fill.c ---- */
/* Fill obj from a tree of ctx; NULL or an empty tree gives defaults, with the checks. */
int bt_conf_apply(struct bt_conf_ctx *ctx, const struct bt_yaml *doc,
                  const struct bt_conf_table *table, void *obj) BT_MUST_CHECK;

#endif
