/* The subscription index: a tree of filter levels. A node holds the sessions subscribed
 * with exactly that filter (one of them in place, more in an array, because most filters
 * have one subscriber) and the shared groups of that filter.
 *
 * Matching walks the tree one topic level at a time with the set of nodes that still fit
 * (literal child, "+", and "#" which is done at once), so it needs no recursion and
 * visits a node once. What it finds becomes an immutable hub_match: targets sorted by
 * worker, one per session.
 *
 * Failure: only memory; then nothing has changed. */
#include "hub/route/match.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/route/match_set.h"
#include "hub/route/trie.h"

struct sub {
    struct hub_addr *addr;
    uint32_t subid;
    uint8_t qos, flags;
};

/* A grown array of subscribers; room is always the power of two that holds n. */
struct subs {
    struct sub *items;
    uint32_t n;
};

struct share {
    struct share *next;
    struct subs members;
    uint32_t id; /* hub_match_share_id */
    uint16_t name_len;
    char name[];
};

/* trie.user is the number of subscribers: 0, 1 (one) or more (many). */
struct node {
    struct hub_trie_node trie;
    struct share *shares;
    union {
        struct sub one;
        struct sub *many;
    };
};

struct hub_index {
    /* Written on subscribe and unsubscribe, read when a worker's cache misses: never once
     * per message, so a lock is cheap here, and all workers must see one order of
     * subscriptions. */
    pthread_rwlock_t lock;
    _Atomic uint64_t version;
    _Atomic uint64_t size;
    _Atomic uint32_t turn;
    uint32_t n_workers;
    struct hub_trie trie;
};

static struct node *as_node(struct hub_trie_node *n)
{
    return bt_container_of(n, struct node, trie);
}

static bool node_empty(const struct hub_trie_node *n)
{
    const struct node *node = (const struct node *)(const void *)n;

    return n->user == 0 && node->shares == NULL;
}

static const struct hub_trie_ops index_ops = {
    .node_size = sizeof(struct node),
    .empty = node_empty,
};

struct hub_index *hub_index_new(uint32_t n_workers)
{
    struct hub_index *ix = bt_calloc(1, sizeof(*ix));

    if (ix == NULL)
        return NULL;
    if (hub_trie_init(&ix->trie, &index_ops) != 0) {
        bt_free(ix);
        return NULL;
    }
    if (pthread_rwlock_init(&ix->lock, NULL) != 0) {
        hub_trie_deinit(&ix->trie, NULL);
        bt_free(ix);
        return NULL;
    }
    atomic_init(&ix->version, 1);
    ix->n_workers = n_workers;
    return ix;
}

static void subs_drop(struct sub *items, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        hub_addr_unref(items[i].addr);
}

static void share_free(struct share *s)
{
    subs_drop(s->members.items, s->members.n);
    bt_free(s->members.items);
    bt_free(s);
}

static void node_drop(struct hub_trie_node *n)
{
    struct node *node = as_node(n);

    subs_drop(n->user > 1 ? node->many : &node->one, n->user);
    if (n->user > 1)
        bt_free(node->many);
    while (node->shares != NULL) {
        struct share *s = node->shares;

        node->shares = s->next;
        share_free(s);
    }
}

void hub_index_free(struct hub_index *ix)
{
    if (ix == NULL)
        return;
    hub_trie_deinit(&ix->trie, node_drop);
    pthread_rwlock_destroy(&ix->lock);
    bt_free(ix);
}

bool hub_match_is_share(struct bt_slice filter)
{
    return filter.len > 7 && memcmp(filter.ptr, "$share/", 7) == 0;
}

uint32_t hub_match_share_id(struct bt_slice filter)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < filter.len; i++)
        h = (h ^ filter.ptr[i]) * 16777619u;
    return h == 0 ? 1 : h;
}

/* "$share/name/filter" becomes name and filter; any other filter stays, with an empty
 * name. */
static struct bt_slice split_share(struct bt_slice *filter)
{
    static const char prefix[] = "$share/";
    struct bt_slice rest = *filter, name = { NULL, 0 };
    const uint8_t *slash;

    if (rest.len < sizeof(prefix) - 1 ||
        memcmp(rest.ptr, prefix, sizeof(prefix) - 1) != 0)
        return name;
    rest.ptr += sizeof(prefix) - 1;
    rest.len -= sizeof(prefix) - 1;
    slash = memchr(rest.ptr, '/', rest.len);
    if (slash == NULL)
        return name;
    name = (struct bt_slice){ rest.ptr, (size_t)(slash - rest.ptr) };
    filter->ptr = slash + 1;
    filter->len = rest.len - name.len - 1;
    return name;
}

static struct sub *find_sub(struct sub *items, uint32_t n, const struct hub_addr *addr)
{
    for (uint32_t i = 0; i < n; i++)
        if (items[i].addr == addr)
            return &items[i];
    return NULL;
}

static struct share **find_share(struct node *node, struct bt_slice name)
{
    struct share **at = &node->shares;

    while (*at != NULL &&
           ((*at)->name_len != name.len || memcmp((*at)->name, name.ptr, name.len) != 0))
        at = &(*at)->next;
    return at;
}

static int subs_append(struct subs *s, const struct sub *sub)
{
    if ((s->n & (s->n - 1)) == 0) {
        size_t room = s->n == 0 ? 1 : (size_t)s->n * 2;
        struct sub *items = bt_realloc(s->items, room * sizeof(*items));

        if (items == NULL)
            return BT_ENOMEM;
        s->items = items;
    }
    s->items[s->n++] = *sub;
    return 0;
}

static void subs_remove(struct subs *s, struct sub *at)
{
    hub_addr_unref(at->addr);
    *at = s->items[--s->n];
    if (s->n > 0 && (s->n & (s->n - 1)) == 0) {
        struct sub *items = bt_realloc(s->items, s->n * sizeof(*items));

        if (items != NULL)
            s->items = items;
    }
}

static int node_append(struct node *node, const struct sub *sub)
{
    struct subs s = { node->many, node->trie.user };

    if (s.n == 0) {
        node->one = *sub;
        node->trie.user = 1;
        return 0;
    }
    if (s.n == 1) {
        s.items = bt_malloc(2 * sizeof(*s.items));
        if (s.items == NULL)
            return BT_ENOMEM;
        s.items[0] = node->one;
        s.items[1] = *sub;
        s.n = 2;
    } else if (subs_append(&s, sub) != 0) {
        return BT_ENOMEM;
    }
    node->many = s.items;
    node->trie.user = s.n;
    return 0;
}

static void node_remove(struct node *node, struct sub *at)
{
    struct subs s = { node->many, node->trie.user };

    if (s.n == 1) {
        hub_addr_unref(at->addr);
        node->trie.user = 0;
        return;
    }
    subs_remove(&s, at);
    node->trie.user = s.n;
    if (s.n == 1) {
        node->one = s.items[0];
        bt_free(s.items);
    } else {
        node->many = s.items;
    }
}

static struct sub *node_find(struct node *node, const struct hub_addr *addr)
{
    return find_sub(node->trie.user > 1 ? node->many : &node->one, node->trie.user, addr);
}

static int share_append(struct node *node, struct bt_slice name, const struct sub *sub,
                        uint32_t id)
{
    struct share **at = find_share(node, name), *s = *at;
    int r;

    if (s == NULL) {
        s = bt_calloc(1, sizeof(*s) + name.len);
        if (s == NULL)
            return BT_ENOMEM;
        s->name_len = (uint16_t)name.len;
        memcpy(s->name, name.ptr, name.len);
        s->id = id;
    }
    r = subs_append(&s->members, sub);
    if (r != 0) {
        if (*at == NULL)
            share_free(s);
        return r;
    }
    *at = s;
    return 0;
}

static struct sub *any_find(struct node *node, struct bt_slice name,
                            const struct hub_addr *addr)
{
    struct share *s;

    if (name.len == 0)
        return node_find(node, addr);
    s = *find_share(node, name);
    return s == NULL ? NULL : find_sub(s->members.items, s->members.n, addr);
}

static int add_locked(struct hub_index *ix, struct bt_slice filter, const struct sub *sub)
{
    uint32_t id = hub_match_share_id(filter);
    struct bt_slice name = split_share(&filter);
    struct hub_trie_node *n = hub_trie_add(&ix->trie, filter);
    struct sub *old;
    int r;

    if (n == NULL)
        return BT_ENOMEM;
    old = any_find(as_node(n), name, sub->addr);
    if (old != NULL) {
        *old = *sub;
        return HUB_INDEX_REPLACED;
    }
    r = name.len == 0 ? node_append(as_node(n), sub)
                      : share_append(as_node(n), name, sub, id);
    if (r != 0) {
        hub_trie_prune(&ix->trie, n);
        return r;
    }
    hub_addr_ref(sub->addr);
    atomic_fetch_add_explicit(&ix->size, 1, memory_order_relaxed);
    return 0;
}

int hub_index_add(struct hub_index *ix, struct bt_slice filter, struct hub_addr *addr,
                  const struct hub_sub_opts *opts)
{
    struct sub sub = { addr, opts->subid, opts->qos, opts->flags };
    int r;

    assert(addr->worker < ix->n_workers);
    pthread_rwlock_wrlock(&ix->lock);
    r = add_locked(ix, filter, &sub);
    if (r >= 0)
        atomic_fetch_add_explicit(&ix->version, 1, memory_order_release);
    pthread_rwlock_unlock(&ix->lock);
    return r;
}

static bool remove_locked(struct hub_index *ix, struct bt_slice filter,
                          const struct hub_addr *addr)
{
    struct bt_slice name = split_share(&filter);
    struct hub_trie_node *n = hub_trie_find(&ix->trie, filter);
    struct sub *at = n == NULL ? NULL : any_find(as_node(n), name, addr);

    if (at == NULL)
        return false;
    if (name.len == 0) {
        node_remove(as_node(n), at);
    } else {
        struct share **link = find_share(as_node(n), name), *s = *link;

        subs_remove(&s->members, at);
        if (s->members.n == 0) {
            *link = s->next;
            share_free(s);
        }
    }
    hub_trie_prune(&ix->trie, n);
    atomic_fetch_sub_explicit(&ix->size, 1, memory_order_relaxed);
    return true;
}

bool hub_index_remove(struct hub_index *ix, struct bt_slice filter, struct hub_addr *addr)
{
    bool had;

    pthread_rwlock_wrlock(&ix->lock);
    had = remove_locked(ix, filter, addr);
    if (had)
        atomic_fetch_add_explicit(&ix->version, 1, memory_order_release);
    pthread_rwlock_unlock(&ix->lock);
    return had;
}

uint64_t hub_index_size(const struct hub_index *ix)
{
    return atomic_load_explicit(&ix->size, memory_order_relaxed);
}

const _Atomic uint64_t *hub_index_version(const struct hub_index *ix)
{
    return &ix->version;
}

/* ---- Matching ---- */

/* A list of nodes; the first ones need no allocation. */
struct nodes {
    struct hub_trie_node **items;
    size_t n, cap;
    struct hub_trie_node *room[32];
};

static void nodes_init(struct nodes *v)
{
    v->items = v->room;
    v->n = 0;
    v->cap = BT_ARRAY_LEN(v->room);
}

static void nodes_deinit(struct nodes *v)
{
    if (v->items != v->room)
        bt_free(v->items);
}

static int nodes_push(struct nodes *v, struct hub_trie_node *n)
{
    struct hub_trie_node **items;

    if (n == NULL)
        return 0;
    if (v->n == v->cap) {
        items = bt_malloc(v->cap * 2 * sizeof(struct hub_trie_node *));
        if (items == NULL)
            return BT_ENOMEM;
        memcpy(items, v->items, v->n * sizeof(struct hub_trie_node *));
        nodes_deinit(v);
        v->items = items;
        v->cap *= 2;
    }
    v->items[v->n++] = n;
    return 0;
}

static const struct bt_slice level_plus = { (const uint8_t *)"+", 1 };
static const struct bt_slice level_hash = { (const uint8_t *)"#", 1 };

static int push_hash(const struct hub_trie *t, struct hub_trie_node *n,
                     struct nodes *found)
{
    if (!(n->wild & HUB_TRIE_HAS_HASH))
        return 0;
    return nodes_push(found, hub_trie_child(t, n, level_hash));
}

/* One level further: from the nodes of `from` to those of `to`. wild false: literal
 * children only. */
static int walk_level(const struct hub_trie *t, const struct nodes *from,
                      struct nodes *to, struct nodes *found, struct bt_slice level,
                      bool wild)
{
    for (size_t i = 0; i < from->n; i++) {
        struct hub_trie_node *n = from->items[i];

        if (wild && push_hash(t, n, found) != 0)
            return BT_ENOMEM;
        if (wild && (n->wild & HUB_TRIE_HAS_PLUS) &&
            nodes_push(to, hub_trie_child(t, n, level_plus)) != 0)
            return BT_ENOMEM;
        if (n->n_children > 0 && nodes_push(to, hub_trie_child(t, n, level)) != 0)
            return BT_ENOMEM;
    }
    return 0;
}

static int walk(const struct hub_trie *t, struct bt_slice topic, struct nodes *found)
{
    struct nodes a, b, *from = &a, *to = &b, *swap;
    bool wild = topic.len == 0 || topic.ptr[0] != '$';
    struct bt_slice level;
    int r;

    nodes_init(&a);
    nodes_init(&b);
    r = nodes_push(from, t->root);
    while (r == 0 && from->n > 0 && hub_level_next(&topic, &level)) {
        to->n = 0;
        r = walk_level(t, from, to, found, level, wild);
        wild = true;
        swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; r == 0 && i < from->n; i++) {
        r = nodes_push(found, from->items[i]);
        if (r == 0)
            r = push_hash(t, from->items[i], found);
    }
    nodes_deinit(&a);
    nodes_deinit(&b);
    return r;
}

static int by_worker_and_addr(const void *pa, const void *pb)
{
    const struct hub_target *a = pa, *b = pb;

    if (a->addr->worker != b->addr->worker)
        return a->addr->worker < b->addr->worker ? -1 : 1;
    if (a->addr == b->addr)
        return 0;
    return (uintptr_t)a->addr < (uintptr_t)b->addr ? -1 : 1;
}

static void set_target(struct hub_target *t, const struct sub *s)
{
    *t = (struct hub_target){ .addr = s->addr, .qos = s->qos, .flags = s->flags };
    t->n_subids = s->subid != 0;
    t->subid_ = s->subid;
}

/* Put the target's identifier behind those of the targets before it. */
static void place_subid(struct hub_target *t, uint32_t **ids)
{
    uint32_t *at = *ids;

    if (t->n_subids == 0)
        return;
    *at = t->subid_;
    t->subids = at;
    *ids = at + 1;
}

/* `more` is a filter of the same session. Its identifier follows directly, because
 * targets are taken in order. */
static void merge_target(struct hub_target *t, const struct hub_target *more,
                         uint32_t **ids)
{
    struct hub_target id = *more;

    t->qos = BT_MAX(t->qos, more->qos);
    t->flags = (uint8_t)((t->flags | more->flags) & ~HUB_SUB_NO_LOCAL) |
               (t->flags & more->flags & HUB_SUB_NO_LOCAL);
    if (t->n_subids == HUB_MAX_TARGET_SUBIDS || more->n_subids == 0)
        return;
    place_subid(&id, ids);
    if (t->n_subids++ == 0)
        t->subids = id.subids;
}

/* Sort, merge the filters of one session, find each worker's part. */
static void arrange(struct hub_match *m, uint32_t n, uint32_t **ids)
{
    uint32_t out = 0;

    if (n > 1)
        qsort(m->targets, n, sizeof(*m->targets), by_worker_and_addr);
    for (uint32_t i = 0; i < n; i++) {
        if (out > 0 && m->targets[out - 1].addr == m->targets[i].addr)
            merge_target(&m->targets[out - 1], &m->targets[i], ids);
        else {
            m->targets[out] = m->targets[i];
            place_subid(&m->targets[out++], ids);
        }
    }
    m->n_targets = out;
    for (uint32_t i = 0; i < out; i++)
        m->first[m->targets[i].addr->worker + 1]++;
    for (uint32_t w = 0; w < m->n_workers; w++)
        m->first[w + 1] += m->first[w];
}

struct totals {
    size_t targets, members, groups;
};

static struct totals count(const struct nodes *found)
{
    struct totals c = { 0, 0, 0 };

    for (size_t i = 0; i < found->n; i++) {
        c.targets += found->items[i]->user;
        for (struct share *s = as_node(found->items[i])->shares; s != NULL; s = s->next) {
            c.groups++;
            c.members += s->members.n;
        }
    }
    return c;
}

/* One block: the head, first[], groups, targets, members, subscription identifiers. */
static struct hub_match *new_match(const struct hub_index *ix, const struct totals *c,
                                   size_t *size)
{
    size_t head = sizeof(struct hub_match) + (ix->n_workers + 1u) * sizeof(uint32_t);
    struct hub_match *m;

    head = (head + 15) & ~(size_t)15;
    *size = head + c->groups * sizeof(struct hub_group) +
            (c->targets + c->members) * (sizeof(struct hub_target) + sizeof(uint32_t));
    m = bt_calloc(1, *size);
    if (m == NULL)
        return NULL;
    atomic_init(&m->refs, 1);
    m->n_workers = ix->n_workers;
    m->n_groups = (uint32_t)c->groups;
    m->groups = (struct hub_group *)(void *)((char *)m + head);
    m->targets = (struct hub_target *)(void *)(m->groups + c->groups);
    return m;
}

static void fill_groups(struct hub_group *g, struct hub_target *at,
                        const struct node *node, uint32_t turn, uint32_t **ids)
{
    for (const struct share *s = node->shares; s != NULL; s = s->next, g++) {
        atomic_init(&g->turn, turn);
        g->n = s->members.n;
        g->share = s->id;
        g->members = at;
        for (uint32_t i = 0; i < g->n; i++) {
            set_target(at, &s->members.items[i]);
            place_subid(at, ids);
            at++->share = s->id;
        }
    }
}

static struct hub_match *build(struct hub_index *ix, const struct nodes *found,
                               size_t *size)
{
    struct totals c = count(found);
    struct hub_match *m = new_match(ix, &c, size);
    /* A new set must not begin with the same member each time, or it gets everything. */
    uint32_t turn = atomic_fetch_add_explicit(&ix->turn, 1, memory_order_relaxed);
    struct hub_target *member;
    struct hub_group *group;
    uint32_t n = 0, *ids;

    if (m == NULL)
        return NULL;
    member = m->targets + c.targets;
    ids = (uint32_t *)(void *)(member + c.members);
    group = m->groups;
    for (size_t i = 0; i < found->n; i++) {
        struct node *node = as_node(found->items[i]);
        const struct sub *subs = node->trie.user > 1 ? node->many : &node->one;

        for (uint32_t k = 0; k < node->trie.user; k++)
            set_target(&m->targets[n++], &subs[k]);
        fill_groups(group, member, node, turn, &ids);
        for (struct share *s = node->shares; s != NULL; s = s->next, group++)
            member += s->members.n;
    }
    arrange(m, n, &ids);
    for (uint32_t i = 0; i < m->n_targets; i++)
        hub_addr_ref(m->targets[i].addr);
    for (size_t i = 0; i < c.members; i++)
        hub_addr_ref(m->targets[c.targets + i].addr);
    return m;
}

struct hub_match *hub_index_match(struct hub_index *ix, struct bt_slice topic,
                                  uint64_t *version, size_t *size)
{
    struct hub_match *m = NULL;
    struct nodes found;

    nodes_init(&found);
    pthread_rwlock_rdlock(&ix->lock);
    *version = atomic_load_explicit(&ix->version, memory_order_relaxed);
    if (walk(&ix->trie, topic, &found) == 0)
        m = build(ix, &found, size);
    pthread_rwlock_unlock(&ix->lock);
    nodes_deinit(&found);
    return m;
}

void hub_match_unref(struct hub_match *m)
{
    if (m == NULL || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < m->n_targets; i++)
        hub_addr_unref(m->targets[i].addr);
    for (uint32_t g = 0; g < m->n_groups; g++)
        for (uint32_t i = 0; i < m->groups[g].n; i++)
            hub_addr_unref(m->groups[g].members[i].addr);
    bt_free(m);
}
