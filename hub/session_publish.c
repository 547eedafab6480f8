/* Sessions: what this client publishes, and the order of its acknowledgements. A publish
 * that must be stored gets a ticket; its PUBACK leaves after the commit. One that needs
 * no commit is acknowledged at once, unless an earlier one still waits (MQTT 5.0 §4.6).
 *
 * Failure modes: when the commit cannot be made the ticket says so and no PUBACK leaves
 * for version 3.1.1 (the client sends again), version 5 is told "quota exceeded". */
#include "core/error.h"
#include "core/mem.h"
#include "hub/session.h"
#include "hub/worker.h"

static void tell(struct hub_session *s, uint16_t pid, uint64_t token, uint8_t reason)
{
    if (s->link != NULL)
        s->link->ops->acked(s->link, pid, token, reason);
}

/* Acknowledge, in order, every finished publish at the head. */
static void drain(struct hub_session *s)
{
    bool was_full = s->n_unacked >= HUB_MAX_UNACKED;

    while (s->unacked != NULL && s->unacked->done) {
        struct hub_unacked *u = s->unacked;

        s->unacked = u->next;
        if (s->unacked == NULL)
            s->unacked_tail = NULL;
        s->n_unacked--;
        if (u->pid != 0 || u->token != 0)
            tell(s, u->pid, u->token, u->reason);
        bt_free(u);
    }
    if (was_full && s->n_unacked < HUB_MAX_UNACKED && s->link != NULL)
        s->link->ops->resume(s->link);
}

static struct hub_unacked *new_unacked(struct hub_session *s, uint16_t pid,
                                       uint64_t token)
{
    struct hub_unacked *u = bt_calloc(1, sizeof(*u));

    if (u == NULL)
        return NULL;
    u->ticket.msg.kind = HUB_W_PUBLISHED;
    u->ticket.to = s->worker->mbox;
    atomic_init(&u->ticket.pending, 1);
    u->addr = hub_addr_ref(s->addr);
    u->pid = pid;
    u->token = token;
    if (s->unacked_tail != NULL)
        s->unacked_tail->next = u;
    else
        s->unacked = u;
    s->unacked_tail = u;
    s->n_unacked++;
    return u;
}

static void finish(struct hub_session *s, struct hub_unacked *u, uint8_t reason)
{
    u->done = true;
    u->reason = reason;
    hub_addr_unref(u->addr);
    u->addr = NULL;
    drain(s);
}

void hub_session_publish(struct hub_session *s, struct hub_pub *pub, uint16_t pid,
                         uint64_t token, uint8_t refused)
{
    struct hub_unacked *u = NULL;
    bool store = refused == 0 && hub_route_must_store(s->worker, pub);

    if (pub->qos == 0) {
        if (refused == 0)
            (void)hub_route(s->worker, pub, NULL);
        return;
    }
    if (store || s->unacked != NULL) {
        u = new_unacked(s, pid, token);
        if (u == NULL)
            return; /* not acknowledged: the client sends it again */
    }
    if (refused == 0)
        (void)hub_route(s->worker, pub, store ? &u->ticket : NULL);
    if (u == NULL)
        tell(s, pid, token, refused);
    else if (store)
        hub_ticket_done(&u->ticket, true);
    else
        finish(s, u, refused);
}

void hub_session_published(struct hub_unacked *u)
{
    struct hub_session *s = u->addr->session;
    bool failed = atomic_load(&u->ticket.failed);

    if (u->orphan || s == NULL) {
        hub_addr_unref(u->addr);
        bt_free(u);
        return;
    }
    finish(s, u, failed ? BT_MQTT_QUOTA : BT_MQTT_SUCCESS);
}
