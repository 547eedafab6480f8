/* The tree of levels. Every node but the root is in one open-addressing table under the
 * hash of its parent and its name; a path is followed by one look-up per level. The table
 * grows at three quarters and shrinks at one eighth. Adding a path makes missing levels
 * one after the other; when memory ends half way, what was made is pruned again, so that
 * a failure leaves no trace. */
#include "hub/route/trie.h"

#include "core/error.h"
#include "core/mem.h"
#include "hub/route/hash.h"

#define TRIE_MIN_CAP 16u

static uint8_t *level_bytes(const struct hub_trie *t, const struct hub_trie_node *n)
{
    return (uint8_t *)(uintptr_t)n + t->ops->node_size;
}

struct bt_slice hub_trie_level(const struct hub_trie *t, const struct hub_trie_node *n)
{
    return (struct bt_slice){ level_bytes(t, n), n->len };
}

static uint32_t child_hash(const struct hub_trie *t, const struct hub_trie_node *parent,
                           struct bt_slice level)
{
    uint64_t h = hub_hash(level.ptr, level.len, t->seed);

    h = (h ^ (uint64_t)(uintptr_t)parent) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

static struct hub_trie_node *new_node(const struct hub_trie *t, struct bt_slice level)
{
    struct hub_trie_node *n;

    if (level.len > UINT16_MAX)
        return NULL;
    n = bt_calloc(1, t->ops->node_size + level.len);
    if (n == NULL)
        return NULL;
    n->len = (uint16_t)level.len;
    if (level.len > 0)
        memcpy(level_bytes(t, n), level.ptr, level.len);
    return n;
}

int hub_trie_init(struct hub_trie *t, const struct hub_trie_ops *ops)
{
    *t = (struct hub_trie){ .ops = ops, .cap = TRIE_MIN_CAP, .seed = hub_hash_seed() };
    t->slots = bt_calloc(t->cap, sizeof(struct hub_trie_node *));
    t->root = new_node(t, (struct bt_slice){ NULL, 0 });
    if (t->slots != NULL && t->root != NULL)
        return 0;
    bt_free(t->slots);
    bt_free(t->root);
    *t = (struct hub_trie){ .ops = ops };
    return BT_ENOMEM;
}

void hub_trie_deinit(struct hub_trie *t, void (*drop)(struct hub_trie_node *node))
{
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i] != NULL) {
            drop(t->slots[i]);
            bt_free(t->slots[i]);
        }
    bt_free(t->slots);
    bt_free(t->root);
    *t = (struct hub_trie){ .ops = t->ops };
}

struct hub_trie_node *hub_trie_child(const struct hub_trie *t,
                                     const struct hub_trie_node *parent,
                                     struct bt_slice level)
{
    uint32_t h = child_hash(t, parent, level);
    size_t mask = t->cap - 1;

    for (size_t i = h & mask; t->slots[i] != NULL; i = (i + 1) & mask) {
        struct hub_trie_node *n = t->slots[i];

        if (n->hash == h && n->parent == parent && n->len == level.len &&
            (n->len == 0 || memcmp(level_bytes(t, n), level.ptr, n->len) == 0))
            return n;
    }
    return NULL;
}

static void place(struct hub_trie_node **slots, size_t cap, struct hub_trie_node *n)
{
    size_t i = n->hash & (cap - 1);

    while (slots[i] != NULL)
        i = (i + 1) & (cap - 1);
    slots[i] = n;
}

static int resize(struct hub_trie *t, size_t cap)
{
    struct hub_trie_node **slots = bt_calloc(cap, sizeof(struct hub_trie_node *));

    if (slots == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i] != NULL)
            place(slots, cap, t->slots[i]);
    bt_free(t->slots);
    t->slots = slots;
    t->cap = cap;
    return 0;
}

static uint8_t wild_bit(const struct hub_trie *t, const struct hub_trie_node *n)
{
    if (n->len != 1)
        return 0;
    return level_bytes(t, n)[0] == '+'   ? HUB_TRIE_HAS_PLUS
           : level_bytes(t, n)[0] == '#' ? HUB_TRIE_HAS_HASH
                                         : 0;
}

static struct hub_trie_node *add_child(struct hub_trie *t, struct hub_trie_node *parent,
                                       struct bt_slice level)
{
    struct hub_trie_node *n;

    if ((t->n + 1) * 4 > t->cap * 3 && resize(t, t->cap * 2) != 0)
        return NULL;
    n = new_node(t, level);
    if (n == NULL)
        return NULL;
    n->parent = parent;
    n->hash = child_hash(t, parent, level);
    place(t->slots, t->cap, n);
    t->n++;
    parent->n_children++;
    parent->wild |= wild_bit(t, n);
    if (t->ops->on_add != NULL)
        t->ops->on_add(n);
    return n;
}

struct hub_trie_node *hub_trie_find(const struct hub_trie *t, struct bt_slice path)
{
    struct hub_trie_node *n = t->root;
    struct bt_slice level;

    while (n != NULL && hub_level_next(&path, &level))
        n = hub_trie_child(t, n, level);
    return n;
}

struct hub_trie_node *hub_trie_add(struct hub_trie *t, struct bt_slice path)
{
    struct hub_trie_node *n = t->root, *child;
    struct bt_slice level;

    while (hub_level_next(&path, &level)) {
        child = hub_trie_child(t, n, level);
        if (child == NULL)
            child = add_child(t, n, level);
        if (child == NULL) {
            hub_trie_prune(t, n);
            return NULL;
        }
        n = child;
    }
    return n;
}

/* Empty n's slot and move later nodes of the same run up, so that no gap breaks their
 * search. */
static void unplace(struct hub_trie *t, const struct hub_trie_node *n)
{
    size_t mask = t->cap - 1, gap = n->hash & mask, i;

    while (t->slots[gap] != n)
        gap = (gap + 1) & mask;
    for (i = (gap + 1) & mask; t->slots[i] != NULL; i = (i + 1) & mask) {
        size_t home = t->slots[i]->hash & mask;

        if (((i - home) & mask) >= ((i - gap) & mask)) {
            t->slots[gap] = t->slots[i];
            gap = i;
        }
    }
    t->slots[gap] = NULL;
}

void hub_trie_prune(struct hub_trie *t, struct hub_trie_node *n)
{
    while (n->parent != NULL && n->n_children == 0 && t->ops->empty(n)) {
        struct hub_trie_node *parent = n->parent;

        if (t->ops->on_remove != NULL)
            t->ops->on_remove(n);
        unplace(t, n);
        t->n--;
        parent->n_children--;
        parent->wild &= (uint8_t)~wild_bit(t, n);
        bt_free(n);
        n = parent;
    }
    /* Staying large is fine when there is no memory to become small with. */
    if (t->cap > TRIE_MIN_CAP && t->n * 8 < t->cap)
        (void)!resize(t, t->cap / 2);
}
