/* The idea: libyaml's event parser feeds a small builder with a stack of open lists and
 * mappings; every node is one allocation in the document's chain, so freeing is a walk
 * along the chain.
 *
 * Happy path: events -> place() puts a node under the innermost open collection -> root.
 * Failure modes: a syntax error, a document that is too deep or has too many nodes, keys
 * that are not scalars, a second document: reported with the position, the tree is
 * dropped. A key given twice is reported, the first value stays and reading goes on, so
 * that all are reported at once. Aliases are copied against the same budget, so that a
 * small text cannot stand for a huge tree. */
#include "core/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/yaml_hint.h"

struct block {
    struct block *next;
    max_align_t data[];
};

struct bt_yaml {
    struct block *blocks;
    struct bt_yaml_node *root;
    size_t n_nodes;
};

struct anchor {
    char *name;
    struct bt_yaml_node *node;
};

struct level {
    struct bt_yaml_node *node;
    char *key; /* mapping: waiting for its value */
    struct bt_yaml_pos key_pos;
};

struct builder {
    struct bt_yaml *doc;
    bt_yaml_report_fn report;
    void *arg;
    struct level stack[BT_YAML_MAX_DEPTH];
    size_t depth, n_anchors, n_documents;
    struct anchor anchors[BT_YAML_MAX_ANCHORS];
    bool wrong; /* something was reported that does not end the reading */
};

static void *doc_alloc(struct bt_yaml *doc, size_t n)
{
    struct block *b = bt_calloc(1, sizeof(*b) + n);

    if (b == NULL)
        return NULL;
    b->next = doc->blocks;
    doc->blocks = b;
    return b->data;
}

static char *doc_copy(struct bt_yaml *doc, const void *s, size_t n)
{
    char *copy = doc_alloc(doc, n + 1);

    if (copy != NULL && n > 0)
        memcpy(copy, s, n);
    return copy;
}

static struct bt_yaml_pos position(yaml_mark_t mark)
{
    return (struct bt_yaml_pos){ .line = (unsigned)mark.line + 1,
                                 .column = (unsigned)mark.column + 1 };
}

static int reject(struct builder *b, struct bt_yaml_pos pos, const char *text)
{
    b->report(b->arg, pos, text);
    return BT_ECONF;
}

static int new_node(struct builder *b, enum bt_yaml_kind kind, struct bt_yaml_pos pos,
                    struct bt_yaml_node **out)
{
    struct bt_yaml_node *node;

    if (b->doc->n_nodes >= BT_YAML_MAX_NODES)
        return reject(b, pos, "too many values in one file");
    node = doc_alloc(b->doc, sizeof(*node));
    if (node == NULL)
        return BT_ENOMEM;
    b->doc->n_nodes++;
    node->kind = kind;
    node->pos = pos;
    *out = node;
    return 0;
}

static void append(struct bt_yaml_node *parent, struct bt_yaml_node *node)
{
    if (parent->last != NULL)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    parent->n++;
}

/* Put a value under a key that was read before. A second value of a key is dropped. */
static int place_in_map(struct builder *b, struct level *top, struct bt_yaml_node *node)
{
    const struct bt_yaml_node *before = bt_yaml_get(top->node, top->key);
    char text[200];

    node->key = bt_steal(top->key);
    node->key_pos = top->key_pos;
    if (before != NULL) {
        snprintf(text, sizeof(text), "key \"%.100s\" was given before, on line %u",
                 node->key, before->key_pos.line);
        b->report(b->arg, node->key_pos, text);
        b->wrong = true;
        return 0;
    }
    if (top->node->n >= BT_YAML_MAX_KEYS)
        return reject(b, node->key_pos, "too many keys in one mapping");
    append(top->node, node);
    return 0;
}

static int place(struct builder *b, struct bt_yaml_node *node)
{
    struct level *top;

    if (b->depth == 0) {
        b->doc->root = node;
        return 0;
    }
    top = &b->stack[b->depth - 1];
    if (top->node->kind == BT_YAML_LIST) {
        append(top->node, node);
        return 0;
    }
    if (top->key != NULL)
        return place_in_map(b, top, node);
    if (node->kind != BT_YAML_SCALAR)
        return reject(b, node->pos, "a key must be a plain text");
    top->key = node->text;
    top->key_pos = node->pos;
    return 0;
}

static int remember(struct builder *b, const yaml_char_t *name, struct bt_yaml_node *node)
{
    struct anchor *a = &b->anchors[b->n_anchors];

    if (name == NULL)
        return 0;
    if (b->n_anchors == BT_YAML_MAX_ANCHORS)
        return reject(b, node->pos, "too many anchors");
    a->name = doc_copy(b->doc, name, strlen((const char *)name));
    if (a->name == NULL)
        return BT_ENOMEM;
    a->node = node;
    b->n_anchors++;
    return 0;
}

/* The depth of a copy is bounded by that of its source plus where it is put; both are
 * checked. */
static int copy_node(struct builder *b, const struct bt_yaml_node *from, size_t depth,
                     struct bt_yaml_node **out)
{
    struct bt_yaml_node *node, *child;
    int r;

    if (depth >= BT_YAML_MAX_DEPTH)
        return reject(b, from->pos, "nested too deep");
    r = new_node(b, from->kind, from->pos, &node);
    if (r != 0)
        return r;
    node->text = from->text;
    node->key = from->key;
    node->key_pos = from->key_pos;
    node->plain = from->plain;
    for (const struct bt_yaml_node *c = from->first; c != NULL; c = c->next) {
        r = copy_node(b, c, depth + 1, &child);
        if (r != 0)
            return r;
        append(node, child);
    }
    *out = node;
    return 0;
}

static int merge(struct builder *b, const struct bt_yaml_node *from)
{
    struct bt_yaml_node *into = b->stack[b->depth - 1].node, *copy;

    if (from->kind != BT_YAML_MAP)
        return reject(b, from->pos, "only a mapping can be merged");
    for (const struct bt_yaml_node *c = from->first; c != NULL; c = c->next) {
        int r;

        if (bt_yaml_get(into, c->key) != NULL)
            continue;
        if (into->n >= BT_YAML_MAX_KEYS)
            return reject(b, c->key_pos, "too many keys in one mapping");
        r = copy_node(b, c, b->depth, &copy);
        if (r != 0)
            return r;
        append(into, copy);
    }
    return 0;
}

static const struct bt_yaml_node *find_anchor(const struct builder *b, const char *name)
{
    for (size_t i = b->n_anchors; i > 0; i--) {
        if (strcmp(b->anchors[i - 1].name, name) == 0)
            return b->anchors[i - 1].node;
    }
    return NULL;
}

static bool is_open(const struct builder *b, const struct bt_yaml_node *node)
{
    for (size_t i = 0; i < b->depth; i++) {
        if (b->stack[i].node == node)
            return true;
    }
    return false;
}

static int on_alias(struct builder *b, const yaml_event_t *e)
{
    const struct bt_yaml_node *from = find_anchor(b, (const char *)e->data.alias.anchor);
    struct level *top = b->depth > 0 ? &b->stack[b->depth - 1] : NULL;
    struct bt_yaml_node *copy;
    int r;

    if (from == NULL)
        return reject(b, position(e->start_mark), "an alias without its anchor");
    if (is_open(b, from))
        return reject(b, position(e->start_mark), "an alias inside of its anchor");
    if (top != NULL && top->key != NULL && strcmp(top->key, "<<") == 0) {
        top->key = NULL;
        return merge(b, from);
    }
    r = copy_node(b, from, b->depth, &copy);
    return r != 0 ? r : place(b, copy);
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
    const yaml_char_t *value = e->data.scalar.value;
    size_t len = e->data.scalar.length;
    struct bt_yaml_node *node;
    int r;

    if (memchr(value, 0, len) != NULL)
        return reject(b, position(e->start_mark), "a text with a NUL in it");
    r = new_node(b, BT_YAML_SCALAR, position(e->start_mark), &node);
    if (r != 0)
        return r;
    node->text = doc_copy(b->doc, value, len);
    if (node->text == NULL)
        return BT_ENOMEM;
    node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    r = remember(b, e->data.scalar.anchor, node);
    return r != 0 ? r : place(b, node);
}

static int open_collection(struct builder *b, const yaml_event_t *e,
                           enum bt_yaml_kind kind, const yaml_char_t *anchor)
{
    struct bt_yaml_node *node;
    int r;

    if (b->depth == BT_YAML_MAX_DEPTH)
        return reject(b, position(e->start_mark), "nested too deep");
    r = new_node(b, kind, position(e->start_mark), &node);
    if (r == 0)
        r = remember(b, anchor, node);
    if (r == 0)
        r = place(b, node);
    if (r == 0)
        b->stack[b->depth++] = (struct level){ .node = node };
    return r;
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->n_documents++ > 0)
            return reject(b, position(e->start_mark), "only one document may be here");
        return 0;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, e);
    case YAML_ALIAS_EVENT:
        return on_alias(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(b, e, BT_YAML_LIST, e->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        return open_collection(b, e, BT_YAML_MAP, e->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return 0;
    }
    return 0;
}

/* The reader's errors (bytes that are no text) have no line, only an offset. */
static struct bt_yaml_pos reader_position(const yaml_parser_t *p, const char *text,
                                          size_t len)
{
    struct bt_yaml_pos pos = { .line = 1, .column = 1 };

    for (size_t i = 0; i < len && i < p->problem_offset; i++) {
        if (text[i] == '\n') {
            pos.line++;
            pos.column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            pos.column++;
        }
    }
    return pos;
}

/* libyaml counts characters, not bytes. */
static char char_at(const char *text, size_t len, size_t index)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80 && index-- == 0)
            return text[i];
    return '\0';
}

static int syntax_error(struct builder *b, const yaml_parser_t *p, const char *text,
                        size_t len)
{
    char message[200];
    size_t at = p->problem_mark.index;
    struct bt_yaml_pos pos = position(p->problem_mark);
    const struct bt_yaml_hint *hint;

    if (p->error == YAML_MEMORY_ERROR)
        return BT_ENOMEM;
    if (p->error == YAML_READER_ERROR) {
        snprintf(message, sizeof(message), "the file is not UTF-8 text: %s", p->problem);
        return reject(b, reader_position(p, text, len), message);
    }
    hint = bt_yaml_hint(p->problem, p->context, char_at(text, len, at));
    if (hint != NULL) {
        if (hint->at_beginning && p->context != NULL)
            pos = position(p->context_mark);
        snprintf(message, sizeof(message), "not valid YAML: %s", hint->text);
        return reject(b, pos, message);
    }
    snprintf(message, sizeof(message), "not valid YAML: %s%s%s",
             p->problem != NULL ? p->problem : "cannot be read",
             p->context != NULL ? " " : "", p->context != NULL ? p->context : "");
    return reject(b, pos, message);
}

static int build(struct builder *b, yaml_parser_t *p, const char *text, size_t len)
{
    yaml_event_t event;
    bool end = false;
    int r = 0;

    while (r == 0 && !end) {
        if (!yaml_parser_parse(p, &event))
            return syntax_error(b, p, text, len);
        r = on_event(b, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    return r == 0 && b->wrong ? BT_ECONF : r;
}

int bt_yaml_parse(const char *text, size_t len, bt_yaml_report_fn report, void *arg,
                  struct bt_yaml **out)
{
    struct bt_yaml *doc = bt_calloc(1, sizeof(*doc));
    struct builder *b = bt_calloc(1, sizeof(*b));
    yaml_parser_t parser;
    int r = BT_ENOMEM;

    if (doc != NULL && b != NULL && yaml_parser_initialize(&parser)) {
        b->doc = doc;
        b->report = report;
        b->arg = arg;
        yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
        r = build(b, &parser, text, len);
        yaml_parser_delete(&parser);
    }
    bt_free(b);
    if (r != 0) {
        bt_yaml_free(doc);
        return r;
    }
    *out = doc;
    return 0;
}

void bt_yaml_free(struct bt_yaml *doc)
{
    struct block *b, *next;

    if (doc == NULL)
        return;
    for (b = doc->blocks; b != NULL; b = next) {
        next = b->next;
        bt_free(b);
    }
    bt_free(doc);
}

struct bt_yaml_node *bt_yaml_root(const struct bt_yaml *doc)
{
    return doc->root;
}

void bt_yaml_set_root(struct bt_yaml *doc, struct bt_yaml_node *root)
{
    doc->root = root;
}

bool bt_yaml_is_null(const struct bt_yaml_node *node)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

    if (node == NULL)
        return true;
    if (node->kind != BT_YAML_SCALAR || !node->plain)
        return false;
    for (size_t i = 0; i < BT_ARRAY_LEN(nulls); i++) {
        if (strcmp(node->text, nulls[i]) == 0)
            return true;
    }
    return false;
}

struct bt_yaml_node *bt_yaml_get(const struct bt_yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != BT_YAML_MAP)
        return NULL;
    for (struct bt_yaml_node *c = map->first; c != NULL; c = c->next) {
        if (strcmp(c->key, key) == 0)
            return c;
    }
    return NULL;
}

bool bt_yaml_has(const struct bt_yaml_node *map, const char *key)
{
    size_t n = strlen(key);

    for (const struct bt_yaml_node *c = map->first; c != NULL; c = c->next) {
        if (strncmp(c->key, key, n) == 0 && (c->key[n] == '\0' || c->key[n] == '.'))
            return true;
    }
    return false;
}

struct bt_yaml_node *bt_yaml_take(struct bt_yaml_node *map, const char *key)
{
    struct bt_yaml_node *node = bt_yaml_get(map, key), *before = NULL;

    if (node == NULL)
        return NULL;
    for (struct bt_yaml_node *c = map->first; c != node; c = c->next)
        before = c;
    if (before != NULL)
        before->next = node->next;
    else
        map->first = node->next;
    if (map->last == node)
        map->last = before;
    map->n--;
    node->next = NULL;
    return node;
}

static struct bt_yaml_node *new_free_node(struct bt_yaml *doc, enum bt_yaml_kind kind,
                                          struct bt_yaml_pos pos)
{
    struct bt_yaml_node *node = doc_alloc(doc, sizeof(*node));

    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->pos = node->key_pos = pos;
    return node;
}

struct bt_yaml_node *bt_yaml_new_map(struct bt_yaml *doc, struct bt_yaml_pos pos)
{
    return new_free_node(doc, BT_YAML_MAP, pos);
}

struct bt_yaml_node *bt_yaml_new_list(struct bt_yaml *doc, struct bt_yaml_pos pos)
{
    return new_free_node(doc, BT_YAML_LIST, pos);
}

struct bt_yaml_node *bt_yaml_new_text(struct bt_yaml *doc, const char *text,
                                      struct bt_yaml_pos pos)
{
    struct bt_yaml_node *node = new_free_node(doc, BT_YAML_SCALAR, pos);

    if (node != NULL)
        node->text = doc_copy(doc, text, strlen(text));
    return node != NULL && node->text != NULL ? node : NULL;
}

void bt_yaml_append(struct bt_yaml_node *list, struct bt_yaml_node *item)
{
    item->next = NULL;
    append(list, item);
}

/* The depth is bounded by that of what was parsed. */
static void set_source(struct bt_yaml_node *node, unsigned source)
{
    node->pos.source = node->key_pos.source = source;
    for (struct bt_yaml_node *c = node->first; c != NULL; c = c->next)
        set_source(c, source);
}

void bt_yaml_set_source(struct bt_yaml *doc, unsigned source)
{
    if (doc->root != NULL)
        set_source(doc->root, source);
}

int bt_yaml_put(struct bt_yaml *doc, struct bt_yaml_node *map, const char *key,
                struct bt_yaml_node *value)
{
    char *copy = doc_copy(doc, key, strlen(key));

    if (copy == NULL)
        return BT_ENOMEM;
    value->key = copy;
    append(map, value);
    return 0;
}
