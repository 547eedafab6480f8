/* A YAML document as a tree with positions. Owner of libyaml. Any thread; a document
 * belongs to one. Bounded: depth, number of nodes, keys of one mapping. Aliases are
 * copied and count as what they stand for; `<<` merges. Only the first document of a text
 * may be there. */
#ifndef CORE_YAML_H
#define CORE_YAML_H

#include "core/base.h"

#define BT_YAML_MAX_DEPTH   64u
#define BT_YAML_MAX_NODES   1000000u
#define BT_YAML_MAX_KEYS    1024u
#define BT_YAML_MAX_ANCHORS 256u

enum bt_yaml_kind { BT_YAML_SCALAR, BT_YAML_LIST, BT_YAML_MAP };

struct bt_yaml_pos {
    unsigned line, column; /* from 1, in characters */
    unsigned source;       /* of several texts, which; bt_yaml_parse sets 0 */
};

struct bt_yaml_node {
    enum bt_yaml_kind kind;
    struct bt_yaml_pos pos;
    struct bt_yaml_pos key_pos;        /* of its key, when in a mapping */
    char *key;                         /* NULL outside of a mapping */
    char *text;                        /* scalar; NUL-terminated, holds no NUL */
    struct bt_yaml_node *first, *last; /* children of a list or mapping */
    struct bt_yaml_node *next;         /* sibling */
    size_t n;                          /* number of children */
    bool plain;                        /* scalar without quotes */
    bool used, entered;                /* for the reader: taken whole; looked into */
};

struct bt_yaml;
/* Called once for each thing that is wrong. */
typedef void (*bt_yaml_report_fn)(void *arg, struct bt_yaml_pos pos, const char *text);

/* 0 and *out (owned by the caller), BT_ECONF after reports, or BT_ENOMEM. A syntax error
 * ends the reading; a key that is there twice is reported and the rest is read. */
int bt_yaml_parse(const char *text, size_t len, bt_yaml_report_fn report, void *arg,
                  struct bt_yaml **out) BT_MUST_CHECK;
/* NULL is fine. */
void bt_yaml_free(struct bt_yaml *doc);
/* NULL for an empty document. */
struct bt_yaml_node *bt_yaml_root(const struct bt_yaml *doc);
/* A null: nothing, `~` or `null` without quotes. NULL counts as one. */
bool bt_yaml_is_null(const struct bt_yaml_node *node);
/* The value of a key, or NULL. */
struct bt_yaml_node *bt_yaml_get(const struct bt_yaml_node *map, const char *key);
/* Whether the mapping has this key, also as the first part of a key with dots. */
bool bt_yaml_has(const struct bt_yaml_node *map, const char *key);
/* Take the value of a key out of the mapping; it stays alive with the document. NULL when
 * not there. */
struct bt_yaml_node *bt_yaml_take(struct bt_yaml_node *map, const char *key);
/* A new node of the document at a position: an empty mapping, an empty list, a text in
 * quotes (copied). NULL when out of memory. */
struct bt_yaml_node *bt_yaml_new_map(struct bt_yaml *doc, struct bt_yaml_pos pos);
struct bt_yaml_node *bt_yaml_new_list(struct bt_yaml *doc, struct bt_yaml_pos pos);
struct bt_yaml_node *bt_yaml_new_text(struct bt_yaml *doc, const char *text,
                                      struct bt_yaml_pos pos);
/* Append an item to a list. */
void bt_yaml_append(struct bt_yaml_node *list, struct bt_yaml_node *item);
/* Mark every position of the tree as one of this source. */
void bt_yaml_set_source(struct bt_yaml *doc, unsigned source);
/* Append value under a key (copied). 0, or BT_ENOMEM. */
int bt_yaml_put(struct bt_yaml *doc, struct bt_yaml_node *map, const char *key,
                struct bt_yaml_node *value) BT_MUST_CHECK;
void bt_yaml_set_root(struct bt_yaml *doc, struct bt_yaml_node *root);

#endif
