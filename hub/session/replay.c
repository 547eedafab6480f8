/* Replaying retained messages. There may be many more than a connection takes at once,
 * and none of them may be dropped for that, so a replay is a set of messages and a place
 * in it; it goes on whenever the session is pumped because there is room again.
 *
 * A message that was replaced or cleared while it waited is passed over: the subscriber
 * got the newer one already, and an old value must not come after a new one. A session
 * that is kept takes QoS 1 and 2 all at once: its queue is on disk and survives a break,
 * which a replay does not.
 *
 * Failure modes: out of memory sends nothing of that filter. */
#include "hub/session/replay.h"

#include "core/clock.h"
#include "core/mem.h"
#include "hub/observe/sys.h"
#include "hub/session/quota.h"
#include "hub/worker.h"

struct hub_replay {
    struct hub_replay *next;
    struct hub_retain_set set;
    size_t at;
    struct hub_sub_opts opts;
    bool late; /* time has passed since the set was taken */
};

static void replay_free(struct hub_replay *r)
{
    hub_retain_set_deinit(&r->set);
    bt_free(r);
}

void hub_replay_drop(struct hub_session *s)
{
    while (s->replay != NULL) {
        struct hub_replay *r = s->replay;

        s->replay = r->next;
        replay_free(r);
    }
}

/* Whether this message can go out, or be queued without being dropped. */
static bool has_room(struct hub_session *s, const struct hub_replay *r,
                     const struct hub_msg *m)
{
    if (BT_MIN(m->qos, r->opts.qos) > 0 && s->persistent)
        return true;
    if (!s->link->ops->ready(s->link))
        return false;
    return BT_MIN(m->qos, r->opts.qos) == 0 ||
           s->n_queued < s->worker->hub->conf->max_queued;
}

/* The hub's own values lie beside what clients retained. */
static struct hub_retain *tree_of(const struct hub_session *s, struct bt_slice filter)
{
    const struct hub *hub = s->worker->hub;

    return hub->sys != NULL && hub_sys_is(filter) ? hub_sys_tree(hub->sys) : hub->retain;
}

static void send_one(struct hub_session *s, struct hub_replay *r, struct hub_msg *m)
{
    const struct hub_target t = {
        .addr = s->addr,
        .qos = r->opts.qos,
        .flags = HUB_SUB_RETAIN_AS_PUBLISHED,
        .n_subids = r->opts.subid != 0,
        .subids = &r->opts.subid,
    };
    struct hub_pub pub = {
        .topic = hub_msg_topic(m),
        .payload = hub_msg_payload(m),
        .props = hub_msg_props(m),
        .qos = m->qos,
        .retain = true,
        .msg = BT_MIN(m->qos, t.qos) > 0 ? hub_quota_renewed(m) : hub_msg_ref(m),
    };

    /* A permit may be narrower than the filter was when it was granted. */
    if (hub_session_may_subscribe(s, pub.topic) &&
        (!r->late || hub_retain_has(tree_of(s, pub.topic), m)))
        hub_session_deliver(s, &pub, &t, NULL);
    hub_pub_deinit(&pub);
}

void hub_replay_pump(struct hub_session *s)
{
    if (s->replaying)
        return; /* a delivery pumps its session */
    s->replaying = true;
    while (s->replay != NULL && s->link != NULL) {
        struct hub_replay *r = s->replay;

        while (r->at < r->set.n && has_room(s, r, r->set.items[r->at]))
            send_one(s, r, r->set.items[r->at++]);
        if (r->at < r->set.n) {
            r->late = true;
            break;
        }
        s->replay = r->next;
        replay_free(r);
    }
    s->replaying = false;
}

void hub_replay_start(struct hub_session *s, struct bt_slice filter,
                      const struct hub_sub_opts *opts)
{
    struct hub_replay **end = &s->replay, *r = bt_calloc(1, sizeof(*r));

    if (r == NULL ||
        hub_retain_match(tree_of(s, filter), filter, bt_clock_wall_ms(), &r->set) != 0) {
        bt_free(r);
        return;
    }
    r->opts = *opts;
    while (*end != NULL)
        end = &(*end)->next;
    *end = r;
    hub_replay_pump(s);
}
