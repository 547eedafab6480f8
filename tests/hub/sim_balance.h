/* The books of the simulated hub: what its sessions count is what they hold. */
#ifndef TESTS_HUB_SIM_BALANCE_H
#define TESTS_HUB_SIM_BALANCE_H

#include "tests/hub/sim.h"

/* What each session counts is what it holds, and the index knows every subscription. */
__attribute__((unused)) static void sim_balance(void)
{
    uint64_t filters = 0;

    for (uint32_t i = 0; i < sim.hub->n_workers; i++) {
        const struct hub_session_map *m = &sim.hub->workers[i]->sessions;
        uint32_t n = 0;

        for (uint32_t slot = 0; slot < m->cap; slot++) {
            for (struct hub_session *s = m->by_id[slot]; s != NULL; s = s->next_by_id) {
                uint32_t queued = 0, unacked = 0;

                for (struct hub_qentry *e = s->head; e != NULL; e = e->next)
                    queued++;
                for (struct hub_unacked *u = s->unacked; u != NULL; u = u->next)
                    unacked++;
                sim_need(queued == s->n_queued, "queue");
                sim_need(unacked == s->n_unacked, "unacknowledged");
                sim_need(s->link != NULL || s->persistent, "a session of nobody");
                filters += s->leaving ? 0 : s->n_filters; /* gone from the index */
                n++;
            }
        }
        sim_need(n == m->n, "sessions");
    }
    sim_need(filters == hub_index_size(sim.hub->index), "subscriptions");
}

#endif
