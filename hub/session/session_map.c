/* The sessions of one worker by client id and by number: two chained hash tables over the
 * same objects, doubled when full. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/worker.h"

#define FIRST_CAP 64u

static uint32_t sid_slot(const struct hub_session_map *m, uint64_t sid)
{
    return (uint32_t)((sid * 0x9e3779b97f4a7c15u) >> 32) & (m->cap - 1);
}

static void put(struct hub_session_map *m, struct hub_session *s)
{
    struct hub_session **id = &m->by_id[s->hash & (m->cap - 1)];
    struct hub_session **sid = &m->by_sid[sid_slot(m, s->sid)];

    s->next_by_id = *id;
    *id = s;
    s->next_by_sid = *sid;
    *sid = s;
}

static int grow(struct hub_session_map *m)
{
    struct hub_session_map bigger = { .cap = m->cap == 0 ? FIRST_CAP : m->cap * 2,
                                      .n = m->n };

    bigger.by_id = bt_calloc(bigger.cap, sizeof(*bigger.by_id));
    bigger.by_sid = bt_calloc(bigger.cap, sizeof(*bigger.by_sid));
    if (bigger.by_id == NULL || bigger.by_sid == NULL) {
        bt_free(bigger.by_id);
        bt_free(bigger.by_sid);
        return BT_ENOMEM;
    }
    for (uint32_t i = 0; i < m->cap; i++) {
        for (struct hub_session *s = m->by_id[i], *next; s != NULL; s = next) {
            next = s->next_by_id;
            put(&bigger, s);
        }
    }
    bt_free(m->by_id);
    bt_free(m->by_sid);
    *m = bigger;
    return 0;
}

int hub_worker_add_session(struct hub_worker *w, struct hub_session *s)
{
    struct hub_session_map *m = &w->sessions;

    if (m->n >= m->cap && grow(m) != 0 && m->cap == 0)
        return BT_ENOMEM;
    put(m, s);
    m->n++;
    return 0;
}

void hub_worker_remove_session(struct hub_worker *w, struct hub_session *s)
{
    struct hub_session_map *m = &w->sessions;
    struct hub_session **at = &m->by_id[s->hash & (m->cap - 1)];

    while (*at != s)
        at = &(*at)->next_by_id;
    *at = s->next_by_id;
    at = &m->by_sid[sid_slot(m, s->sid)];
    while (*at != s)
        at = &(*at)->next_by_sid;
    *at = s->next_by_sid;
    m->n--;
}

struct hub_session *hub_worker_find(const struct hub_worker *w, struct bt_slice id)
{
    const struct hub_session_map *m = &w->sessions;
    struct hub_session *s;

    if (m->cap == 0)
        return NULL;
    s = m->by_id[hub_id_hash(id) & (m->cap - 1)];
    while (s != NULL &&
           (s->leaving || s->id_len != id.len || memcmp(s->id, id.ptr, id.len) != 0))
        s = s->next_by_id;
    return s;
}

struct hub_session *hub_worker_find_sid(const struct hub_worker *w, uint64_t sid)
{
    const struct hub_session_map *m = &w->sessions;
    struct hub_session *s = m->cap == 0 ? NULL : m->by_sid[sid_slot(m, sid)];

    while (s != NULL && s->sid != sid)
        s = s->next_by_sid;
    return s;
}
