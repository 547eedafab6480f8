/* Topic rules (`subscriptions`): for every message whose topic matches a source, a copy
 * under the target topic. Copies are routed like any message, so rules chain; the
 * configuration refuses cycles and the number of hops is bounded all the same. Copies
 * never carry retain and keep the publisher. Several rules with one target make one copy:
 * highest source QoS, then highest target QoS. */
#include <string.h>

#include "hub/access/reply_guard.h"
#include "hub/hub_internal.h"
#include "hub/worker.h"

#define MAX_HOPS 32u

static const struct hub_rule_conf *rule_at(const struct hub_conf *conf, size_t i)
{
    return (const struct hub_rule_conf *)conf->rules.items + i;
}

static bool feeds(const struct hub_rule_conf *r, struct bt_slice topic)
{
    return bt_mqtt_match(bt_slice_of(r->source.topic), topic);
}

/* The strongest rule with the target of rule i, or NULL when an earlier rule stands for
 * it. */
static const struct hub_rule_conf *strongest(const struct hub_conf *conf, size_t i,
                                             struct bt_slice topic)
{
    const struct hub_rule_conf *best = rule_at(conf, i);

    for (size_t j = 0; j < conf->rules.n; j++) {
        const struct hub_rule_conf *r = rule_at(conf, j);

        if (j == i || strcmp(r->target.topic, best->target.topic) != 0 ||
            !feeds(r, topic))
            continue;
        if (j < i)
            return NULL;
        if (r->source.qos > best->source.qos ||
            (r->source.qos == best->source.qos && r->target.qos > best->target.qos))
            best = r;
    }
    return best;
}

static void each_copy(struct hub_worker *w, const struct hub_pub *pub,
                      bool (*fn)(struct hub_worker *w, struct hub_pub *copy, void *arg),
                      void *arg)
{
    const struct hub_conf *conf = w->conf;

    if (pub->hops >= MAX_HOPS)
        return;
    for (size_t i = 0; i < conf->rules.n; i++) {
        const struct hub_rule_conf *r =
            feeds(rule_at(conf, i), pub->topic) ? strongest(conf, i, pub->topic) : NULL;
        struct hub_pub copy;

        if (r == NULL)
            continue;
        copy = (struct hub_pub){
            .topic = bt_slice_of(r->target.topic),
            .payload = pub->payload,
            .props = pub->props,
            .qos = BT_MIN(pub->qos, r->source.qos) == 0 ? 0 : (uint8_t)r->target.qos,
            .expiry_s = pub->expiry_s,
            .origin = pub->origin,
            .hops = (uint8_t)(pub->hops + 1),
        };
        /* Nobody has looked whether its publisher may publish there. */
        if (copy.props.len > 0 && hub_reply_guarded(&w->hub->reply_guards, copy.topic))
            copy.props.len = 0;
        if (!fn(w, &copy, arg))
            return;
    }
}

static bool route_copy(struct hub_worker *w, struct hub_pub *copy, void *arg)
{
    (void)hub_route(w, copy, copy->qos > 0 ? arg : NULL);
    hub_pub_deinit(copy);
    return true;
}

void hub_rules_route(struct hub_worker *w, const struct hub_pub *pub,
                     struct hub_ticket *ticket)
{
    each_copy(w, pub, route_copy, ticket);
}

static bool copy_must_store(struct hub_worker *w, struct hub_pub *copy, void *arg)
{
    bool *found = arg;

    *found = hub_route_must_store(w, copy);
    return !*found;
}

bool hub_rules_must_store(struct hub_worker *w, const struct hub_pub *pub)
{
    bool found = false;

    each_copy(w, pub, copy_must_store, &found);
    return found;
}
