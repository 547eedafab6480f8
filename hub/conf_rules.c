/* Routes must not run in circles. A rule feeds another when its target topic matches the
 * other's source filter; a cycle of such steps would copy one message for ever, and
 * nothing else would, so the check is exact. At most MAX_RULES rules keep it fast: every
 * pair is compared once.
 *
 * The search goes through the rules in the file's order and depth first with its own
 * stack, so that the same file always names the same rule and a long chain does not
 * exhaust the thread's stack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/mqtt.h"
#include "hub/conf.h"

#define MAX_RULES 4096u

enum colour { WHITE, GREY, BLACK }; /* not seen, on the path, done */

struct graph {
    const struct hub_rule_conf *rules;
    const struct hub_rule_conf **sorted; /* by source, target, place in the file */
    size_t n;
    uint8_t *colour; /* by place in the file */
    size_t *stack;   /* rules on the path */
    size_t *next;    /* where in sorted each of them goes on */
    size_t depth;    /* of the cycle that was found, and */
    size_t first;    /* the rule on the path that its last one feeds */
};

static int by_topics(const void *pa, const void *pb)
{
    const struct hub_rule_conf *a = *(const struct hub_rule_conf *const *)pa;
    const struct hub_rule_conf *b = *(const struct hub_rule_conf *const *)pb;
    int r = strcmp(a->source.topic, b->source.topic);

    if (r == 0)
        r = strcmp(a->target.topic, b->target.topic);
    return r != 0 ? r : a < b ? -1 : 1;
}

static bool feeds(const struct hub_rule_conf *from, const struct hub_rule_conf *to)
{
    const char *filter = to->source.topic, *topic = from->target.topic;

    return bt_mqtt_match((struct bt_slice){ (const uint8_t *)filter, strlen(filter) },
                         (struct bt_slice){ (const uint8_t *)topic, strlen(topic) });
}

/* Go from the top of the stack to a rule it feeds. False: none is left. *cycle: that rule
 * is on the path. */
static bool descend(struct graph *g, size_t *depth, bool *cycle)
{
    size_t at = g->stack[*depth - 1];

    while (g->next[*depth - 1] < g->n) {
        const struct hub_rule_conf *to = g->sorted[g->next[*depth - 1]++];
        size_t i = (size_t)(to - g->rules);

        if (g->colour[i] == BLACK || !feeds(&g->rules[at], to))
            continue;
        *cycle = g->colour[i] == GREY;
        if (*cycle) {
            g->depth = *depth;
            g->first = i;
            return true;
        }
        g->colour[i] = GREY;
        g->stack[*depth] = i;
        g->next[(*depth)++] = 0;
        return true;
    }
    return false;
}

/* The place of a rule on a cycle that is reached from start, or n. */
static size_t search(struct graph *g, size_t start)
{
    size_t depth = 1;
    bool cycle = false;

    g->colour[start] = GREY;
    g->stack[0] = start;
    g->next[0] = 0;
    while (depth > 0) {
        if (descend(g, &depth, &cycle)) {
            if (cycle)
                return g->stack[depth - 1];
            continue;
        }
        g->colour[g->stack[--depth]] = BLACK;
    }
    return g->n;
}

/* "a -> b, b/# -> a": the rules of the cycle, in its order, as many as fit. */
static void describe(const struct graph *g, char *out, size_t size)
{
    size_t from = 0, n = 0;

    while (g->stack[from] != g->first)
        from++;
    for (size_t i = from; i < g->depth && n < size; i++) {
        const struct hub_rule_conf *r = &g->rules[g->stack[i]];

        n += (size_t)snprintf(out + n, size - n, "%s%.60s -> %.60s", i > from ? ", " : "",
                              r->source.topic, r->target.topic);
    }
}

static void check_cycle(struct bt_conf_ctx *ctx, struct graph *g)
{
    for (size_t i = 0; i < g->n; i++) {
        size_t found = g->colour[i] == WHITE ? search(g, i) : g->n;

        if (found < g->n) {
            char text[400];

            describe(g, text, sizeof(text));
            bt_conf_error_at(ctx, &g->rules[found], "target.topic",
                             "found cycle in source and target config: %s", text);
            return;
        }
    }
}

static void check_pairs(struct bt_conf_ctx *ctx, const struct graph *g)
{
    for (size_t i = 1; i < g->n; i++) {
        const struct hub_rule_conf *a = g->sorted[i - 1], *b = g->sorted[i];

        if (strcmp(a->source.topic, b->source.topic) == 0 &&
            strcmp(a->target.topic, b->target.topic) == 0)
            bt_conf_error_at(ctx, b, "source.topic",
                             "duplicate source and target config");
    }
}

void hub_conf_check_rules(struct bt_conf_ctx *ctx, const struct hub_conf *conf)
{
    struct graph g = { .rules = conf->rules.items, .n = conf->rules.n };

    if (g.n == 0)
        return;
    if (g.n > MAX_RULES) {
        bt_conf_error_at(ctx, conf, "subscriptions", "more than %u rules", MAX_RULES);
        return;
    }
    g.sorted = bt_calloc(g.n, sizeof(struct hub_rule_conf *));
    g.colour = bt_calloc(g.n, sizeof(*g.colour));
    g.stack = bt_calloc(g.n, sizeof(*g.stack));
    g.next = bt_calloc(g.n, sizeof(*g.next));
    if (g.sorted == NULL || g.colour == NULL || g.stack == NULL || g.next == NULL) {
        bt_conf_error_at(ctx, conf, "subscriptions", "out of memory");
    } else {
        for (size_t i = 0; i < g.n; i++)
            g.sorted[i] = &g.rules[i];
        qsort(g.sorted, g.n, sizeof(struct hub_rule_conf *), by_topics);
        check_pairs(ctx, &g);
        check_cycle(ctx, &g);
    }
    bt_free(g.sorted);
    bt_free(g.colour);
    bt_free(g.stack);
    bt_free(g.next);
}
