/* Intrusive doubly linked list with a head that points to itself when empty.
 * The list owns nothing. Not thread-safe: one owner. */
#ifndef CORE_LIST_H
#define CORE_LIST_H

#include "core/base.h"

struct bt_list {
    struct bt_list *prev, *next;
};

static inline void bt_list_init(struct bt_list *l)
{
    l->prev = l->next = l;
}
/* A zeroed or initialised and unlinked node is not linked. */
static inline bool bt_list_linked(const struct bt_list *n)
{
    return n->next != NULL && n->next != n;
}
static inline bool bt_list_empty(const struct bt_list *head)
{
    return head->next == head;
}
static inline void bt_list_insert_(struct bt_list *n, struct bt_list *prev,
                                   struct bt_list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}
static inline void bt_list_push_back(struct bt_list *head, struct bt_list *n)
{
    bt_list_insert_(n, head->prev, head);
}
static inline void bt_list_push_front(struct bt_list *head, struct bt_list *n)
{
    bt_list_insert_(n, head, head->next);
}
/* Unlink; harmless on a node that is not linked. Leaves it re-initialised. */
static inline void bt_list_remove(struct bt_list *n)
{
    if (n->next != NULL) {
        n->prev->next = n->next;
        n->next->prev = n->prev;
    }
    bt_list_init(n);
}
/* First node or NULL. */
static inline struct bt_list *bt_list_first(const struct bt_list *head)
{
    return head->next == head ? NULL : head->next;
}

#define bt_list_entry(node, type, member) bt_container_of(node, type, member)
/* The list must not change inside the body. */
#define bt_list_for_each(it, head) for (it = (head)->next; it != (head); it = it->next)
/* The current node may be removed inside the body. */
#define bt_list_for_each_safe(it, tmp, head) \
    for (it = (head)->next, tmp = it->next; it != (head); it = tmp, tmp = it->next)

#endif
