/* A tree of topic levels whose nodes are found by one hash table over (parent, level), so
 * that a node costs a few words however many children it has. The user embeds struct
 * hub_trie_node as first member of its own node. Not thread-safe: the user locks. Only
 * memory can fail. */
#ifndef HUB_TRIE_H
#define HUB_TRIE_H

#include <string.h>

#include "core/base.h"

#define HUB_TRIE_HAS_PLUS 1u /* there is a child "+" */
#define HUB_TRIE_HAS_HASH 2u /* there is a child "#" */

/* The level's bytes follow the user's struct. */
struct hub_trie_node {
    struct hub_trie_node *parent; /* NULL: the root */
    uint32_t hash;
    uint32_t n_children;
    uint16_t len;
    uint8_t wild;  /* HUB_TRIE_HAS_x */
    uint32_t user; /* free for the user; kept here because it fits the gap */
};

struct hub_trie;
struct hub_trie_ops {
    size_t node_size;                                /* of the user's struct */
    void (*on_add)(struct hub_trie_node *node);      /* linked and zeroed; NULL is fine */
    void (*on_remove)(struct hub_trie_node *node);   /* about to be freed; NULL is fine */
    bool (*empty)(const struct hub_trie_node *node); /* nothing of the user's is there */
};
struct hub_trie {
    const struct hub_trie_ops *ops;
    struct hub_trie_node **slots; /* open addressing, a power of two */
    size_t cap, n;
    uint64_t seed;
    struct hub_trie_node *root;
};

/* 0 or BT_ENOMEM. */
int hub_trie_init(struct hub_trie *t, const struct hub_trie_ops *ops) BT_MUST_CHECK;
/* Calls drop for every node, in no order, and frees all. May run twice and on a zeroed
 * struct. */
void hub_trie_deinit(struct hub_trie *t, void (*drop)(struct hub_trie_node *node));

/* The child of that name or NULL. */
struct hub_trie_node *hub_trie_child(const struct hub_trie *t,
                                     const struct hub_trie_node *parent,
                                     struct bt_slice level);
/* The node of a whole topic or filter, or NULL. */
struct hub_trie_node *hub_trie_find(const struct hub_trie *t, struct bt_slice path);
/* Found or made with all levels above it; NULL when out of memory, and nothing has
 * changed. A node that the user leaves empty must be given to hub_trie_prune. */
struct hub_trie_node *hub_trie_add(struct hub_trie *t,
                                   struct bt_slice path) BT_MUST_CHECK;
/* Remove node and the nodes above it as far as they are empty and without children. */
void hub_trie_prune(struct hub_trie *t, struct hub_trie_node *node);
struct bt_slice hub_trie_level(const struct hub_trie *t,
                               const struct hub_trie_node *node);

/* Split off the first level of *rest; false when there is none left. "a//b" has the
 * levels "a", "", "b". */
static inline bool hub_level_next(struct bt_slice *rest, struct bt_slice *level)
{
    const uint8_t *slash;

    if (rest->ptr == NULL)
        return false;
    *level = *rest;
    slash = rest->len == 0 ? NULL : memchr(rest->ptr, '/', rest->len);
    if (slash == NULL) {
        rest->ptr = NULL;
        return true;
    }
    level->len = (size_t)(slash - rest->ptr);
    rest->ptr = slash + 1;
    rest->len -= level->len + 1;
    return true;
}

#endif
