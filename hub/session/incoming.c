/* Identifiers of QoS 2 publishes: open addressing, a slot is the identifier's low bits.
 * Clients number their messages one after the other, so slots hardly ever collide; with
 * the largest table, one slot for each of the 65535 identifiers, they cannot. At most
 * half of a smaller table is used, which bounds what a hostile client can make of it.
 *
 * Failure mode: out of memory on growth leaves the table as it is. */
#include "hub/session/incoming.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

#define FIRST_SLOTS 16u
#define KEEP_SLOTS  64u /* an empty table up to this size is kept while connected */
#define MAX_SLOTS   65536u

struct slot {
    uint16_t pid; /* 0 = free */
    uint8_t flags;
};
struct hub_incoming {
    uint32_t n, mask;
    struct slot slots[];
};

static struct slot *slot_of(struct hub_incoming *in, uint16_t pid)
{
    uint32_t i = pid & in->mask;

    while (in->slots[i].pid != 0 && in->slots[i].pid != pid)
        i = (i + 1) & in->mask;
    return &in->slots[i];
}

static struct hub_incoming *resized(const struct hub_incoming *old, uint32_t slots)
{
    struct hub_incoming *in = bt_calloc(1, sizeof(*in) + slots * sizeof(in->slots[0]));

    if (in == NULL)
        return NULL;
    in->mask = slots - 1;
    for (uint32_t i = 0; old != NULL && i <= old->mask; i++)
        if (old->slots[i].pid != 0)
            *slot_of(in, old->slots[i].pid) = old->slots[i];
    in->n = old != NULL ? old->n : 0;
    return in;
}

uint8_t *hub_incoming_find(struct hub_incoming *in, uint16_t pid)
{
    struct slot *s = in == NULL ? NULL : slot_of(in, pid);

    return s == NULL || s->pid == 0 ? NULL : &s->flags;
}

int hub_incoming_add(struct hub_incoming **in, uint16_t pid, uint8_t flags)
{
    struct hub_incoming *old = *in;
    uint32_t slots = old == NULL ? 0 : old->mask + 1;

    if (old == NULL || (old->n >= slots / 2 && slots < MAX_SLOTS)) {
        struct hub_incoming *bigger = resized(old, slots == 0 ? FIRST_SLOTS : slots * 2);

        if (bigger == NULL)
            return BT_ENOMEM;
        bt_free(old);
        *in = bigger;
    }
    *slot_of(*in, pid) = (struct slot){ .pid = pid, .flags = flags };
    (*in)->n++;
    return 0;
}

void hub_incoming_remove(struct hub_incoming **table, uint16_t pid)
{
    struct hub_incoming *in = *table;
    uint32_t hole = (uint32_t)(slot_of(in, pid) - in->slots), i = hole;

    /* Those behind the hole that would not be found any more move into it. */
    while (in->slots[i = (i + 1) & in->mask].pid != 0) {
        uint32_t home = in->slots[i].pid & in->mask;

        if (((i - home) & in->mask) >= ((i - hole) & in->mask)) {
            in->slots[hole] = in->slots[i];
            hole = i;
        }
    }
    in->slots[hole].pid = 0;
    in->n--;
    if (in->n == 0 && in->mask >= KEEP_SLOTS) {
        bt_free(in);
        *table = NULL;
    }
}

void hub_incoming_mark(struct hub_incoming **table, uint8_t flags)
{
    struct hub_incoming *in = *table;

    if (in != NULL && in->n == 0) {
        bt_free(in);
        *table = NULL;
        return;
    }
    for (uint32_t i = 0; in != NULL && i <= in->mask; i++)
        in->slots[i].flags |= flags;
}

uint32_t hub_incoming_count(const struct hub_incoming *in)
{
    return in == NULL ? 0 : in->n;
}
