/* Retained messages: a tree of topic levels whose nodes hold the newest message of their
 * topic. Children are also linked as siblings, because a wildcard visits all of them.
 *
 * A collection walks the filter level by level with the set of nodes that fit, like the
 * index does, and takes a reference on every message that has not expired; "#" visits the
 * whole tree below without recursion. Expired messages are passed over. Failure: only
 * memory; then nothing is kept or collected. */
#include "hub/route/retain.h"

#include <pthread.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/route/trie.h"

struct node {
    struct hub_trie_node trie;
    struct node *first, *next, *prev; /* first child; siblings */
    struct hub_msg *msg;              /* NULL: only a level above others */
};

struct hub_retain {
    /* All workers must agree on which message is the newest, and a collection must see
     * one state. Held for one update or one collection of references, never while
     * anything is sent. */
    pthread_mutex_t lock;
    struct hub_trie trie;
    _Atomic size_t n;
    _Atomic uint64_t bytes;
    size_t n_expiring; /* messages that have an expiry */
    size_t swept;      /* where the sweep goes on: a place in the trie's table */
};

static struct node *as_node(struct hub_trie_node *n)
{
    return bt_container_of(n, struct node, trie);
}

static struct node *parent_of(struct node *n)
{
    return as_node(n->trie.parent);
}

static void node_link(struct hub_trie_node *t)
{
    struct node *n = as_node(t), *parent = parent_of(n);

    n->next = parent->first;
    if (n->next != NULL)
        n->next->prev = n;
    parent->first = n;
}

static void node_unlink(struct hub_trie_node *t)
{
    struct node *n = as_node(t);

    if (n->prev != NULL)
        n->prev->next = n->next;
    else
        parent_of(n)->first = n->next;
    if (n->next != NULL)
        n->next->prev = n->prev;
}

static bool node_empty(const struct hub_trie_node *t)
{
    return ((const struct node *)(const void *)t)->msg == NULL;
}

static const struct hub_trie_ops retain_ops = {
    .node_size = sizeof(struct node),
    .on_add = node_link,
    .on_remove = node_unlink,
    .empty = node_empty,
};

struct hub_retain *hub_retain_new(void)
{
    struct hub_retain *r = bt_calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    if (hub_trie_init(&r->trie, &retain_ops) != 0) {
        bt_free(r);
        return NULL;
    }
    if (pthread_mutex_init(&r->lock, NULL) != 0) {
        hub_trie_deinit(&r->trie, NULL);
        bt_free(r);
        return NULL;
    }
    return r;
}

static void node_drop(struct hub_trie_node *t)
{
    hub_msg_unref(as_node(t)->msg);
}

void hub_retain_free(struct hub_retain *r)
{
    if (r == NULL)
        return;
    hub_trie_deinit(&r->trie, node_drop);
    pthread_mutex_destroy(&r->lock);
    bt_free(r);
}

static uint64_t size_of(const struct hub_msg *m)
{
    return m == NULL ? 0 : (uint64_t)m->topic_len + m->props_len + m->payload_len;
}

static size_t expires(const struct hub_msg *m)
{
    return m != NULL && m->expires_ms != 0;
}

int hub_retain_put(struct hub_retain *r, struct hub_msg *msg)
{
    struct hub_msg *old = NULL;
    struct hub_trie_node *t;

    pthread_mutex_lock(&r->lock);
    t = hub_trie_add(&r->trie, hub_msg_topic(msg));
    if (t != NULL) {
        old = as_node(t)->msg;
        as_node(t)->msg = hub_msg_ref(msg);
        r->n_expiring += expires(msg) - expires(old);
        if (old == NULL)
            atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&r->bytes, size_of(msg) - size_of(old),
                                  memory_order_relaxed);
    }
    pthread_mutex_unlock(&r->lock);
    hub_msg_unref(old);
    return t == NULL ? BT_ENOMEM : 0;
}

/* Take the message out of its node; the node may be freed. Locked. */
static struct hub_msg *take_out(struct hub_retain *r, struct hub_trie_node *t)
{
    struct hub_msg *old = as_node(t)->msg;

    as_node(t)->msg = NULL;
    hub_trie_prune(&r->trie, t);
    r->n_expiring -= expires(old);
    atomic_fetch_sub_explicit(&r->bytes, size_of(old), memory_order_relaxed);
    if (old != NULL)
        atomic_fetch_sub_explicit(&r->n, 1, memory_order_relaxed);
    return old;
}

bool hub_retain_del(struct hub_retain *r, struct bt_slice topic)
{
    struct hub_msg *old = NULL;
    struct hub_trie_node *t;

    pthread_mutex_lock(&r->lock);
    t = hub_trie_find(&r->trie, topic);
    if (t != NULL)
        old = take_out(r, t);
    pthread_mutex_unlock(&r->lock);
    hub_msg_unref(old);
    return old != NULL;
}

struct hub_msg *hub_retain_get(struct hub_retain *r, struct bt_slice topic)
{
    struct hub_trie_node *t;
    struct hub_msg *m = NULL;

    pthread_mutex_lock(&r->lock);
    t = hub_trie_find(&r->trie, topic);
    if (t != NULL && as_node(t)->msg != NULL)
        m = hub_msg_ref(as_node(t)->msg);
    pthread_mutex_unlock(&r->lock);
    return m;
}

bool hub_retain_has(struct hub_retain *r, const struct hub_msg *m)
{
    struct hub_trie_node *t;
    bool has;

    pthread_mutex_lock(&r->lock);
    t = hub_trie_find(&r->trie, hub_msg_topic(m));
    has = t != NULL && as_node(t)->msg == m;
    pthread_mutex_unlock(&r->lock);
    return has;
}

size_t hub_retain_count(const struct hub_retain *r)
{
    return atomic_load_explicit(&r->n, memory_order_relaxed);
}

uint64_t hub_retain_bytes(const struct hub_retain *r)
{
    return atomic_load_explicit(&r->bytes, memory_order_relaxed);
}

/* ---- Collecting ---- */

/* A grown array of pointers. */
struct ptrs {
    void **items;
    size_t n, cap;
};

static int ptrs_push(struct ptrs *v, void *p)
{
    if (v->n == v->cap) {
        size_t cap = v->cap == 0 ? 16 : v->cap * 2;
        void **items = bt_realloc(v->items, cap * sizeof(*items));

        if (items == NULL)
            return BT_ENOMEM;
        v->items = items;
        v->cap = cap;
    }
    v->items[v->n++] = p;
    return 0;
}

struct walk {
    const struct hub_trie *trie;
    int64_t now_ms;
    struct ptrs at;   /* nodes that fit so far */
    struct ptrs next; /* those of the next level */
    struct ptrs msgs; /* collected, one reference each */
};

static int take(struct walk *w, struct node *n)
{
    int r;

    if (n->msg == NULL || (n->msg->expires_ms != 0 && n->msg->expires_ms <= w->now_ms))
        return 0;
    r = ptrs_push(&w->msgs, n->msg);
    if (r == 0)
        hub_msg_ref(n->msg);
    return r;
}

/* A wildcard at the first level does not match a topic that begins with $ (MQTT 5.0
 * §4.7.2). */
static bool hidden(const struct walk *w, struct node *n)
{
    struct bt_slice level = hub_trie_level(w->trie, &n->trie);

    return parent_of(n)->trie.parent == NULL && level.len > 0 && level.ptr[0] == '$';
}

/* The node after n in the tree below top, depth first; NULL at the end. */
static struct node *after(struct node *n, const struct node *top, bool down)
{
    if (down && n->first != NULL)
        return n->first;
    while (n != top && n->next == NULL)
        n = parent_of(n);
    return n == top ? NULL : n->next;
}

static int take_below(struct walk *w, struct node *top)
{
    struct node *n = top;
    bool down = true;

    while (n != NULL) {
        down = n == top || !hidden(w, n);
        if (down && take(w, n) != 0)
            return BT_ENOMEM;
        n = after(n, top, down);
    }
    return 0;
}

static int step_plus(struct walk *w, struct node *n)
{
    for (struct node *c = n->first; c != NULL; c = c->next)
        if (!hidden(w, c) && ptrs_push(&w->next, c) != 0)
            return BT_ENOMEM;
    return 0;
}

static int step(struct walk *w, struct node *n, struct bt_slice level)
{
    struct hub_trie_node *child;

    if (level.len == 1 && level.ptr[0] == '#')
        return take_below(w, n);
    if (level.len == 1 && level.ptr[0] == '+')
        return step_plus(w, n);
    child = hub_trie_child(w->trie, &n->trie, level);
    return child == NULL ? 0 : ptrs_push(&w->next, as_node(child));
}

static int collect(struct walk *w, struct bt_slice filter)
{
    struct bt_slice level;
    int r = ptrs_push(&w->at, as_node(w->trie->root));

    while (r == 0 && w->at.n > 0 && hub_level_next(&filter, &level)) {
        struct ptrs swap = w->at;

        w->next.n = 0;
        for (size_t i = 0; r == 0 && i < w->at.n; i++)
            r = step(w, w->at.items[i], level);
        w->at = w->next;
        w->next = swap;
    }
    for (size_t i = 0; r == 0 && i < w->at.n; i++)
        r = take(w, w->at.items[i]);
    return r;
}

int hub_retain_match(struct hub_retain *r, struct bt_slice filter, int64_t now_ms,
                     struct hub_retain_set *out)
{
    struct walk w = { .trie = &r->trie, .now_ms = now_ms };
    int rc;

    pthread_mutex_lock(&r->lock);
    rc = collect(&w, filter);
    pthread_mutex_unlock(&r->lock);
    bt_free(w.at.items);
    bt_free(w.next.items);
    *out = (struct hub_retain_set){ (struct hub_msg **)(void *)w.msgs.items, w.msgs.n };
    if (rc != 0)
        hub_retain_set_deinit(out);
    return rc;
}

bool hub_retain_sweep(struct hub_retain *r, int64_t now_ms, size_t nodes,
                      struct hub_retain_set *out)
{
    struct ptrs found = { 0 };
    bool more;

    pthread_mutex_lock(&r->lock);
    for (; nodes > 0 && r->n_expiring > 0; nodes--) {
        struct hub_trie_node *t = r->trie.slots[r->swept % r->trie.cap];
        struct hub_msg *m = t == NULL || t->parent == NULL ? NULL : as_node(t)->msg;

        if (!expires(m) || m->expires_ms > now_ms || ptrs_push(&found, m) != 0)
            r->swept++;
        else /* another node may have moved to this place */
            (void)take_out(r, t);
    }
    more = r->n_expiring > 0;
    pthread_mutex_unlock(&r->lock);
    *out = (struct hub_retain_set){ (struct hub_msg **)(void *)found.items, found.n };
    return more;
}

void hub_retain_set_deinit(struct hub_retain_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        hub_msg_unref(s->items[i]);
    bt_free(s->items);
    *s = (struct hub_retain_set){ NULL, 0 };
}
