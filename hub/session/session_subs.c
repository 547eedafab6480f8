/* Sessions: subscriptions. The session keeps its own list (to undo and to store them);
 * the shared index is what routing reads. */
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/mem.h"
#include "hub/observe/recorder.h"
#include "hub/observe/sys.h"
#include "hub/session/session.h"
#include "hub/session/share.h"
#include "hub/worker.h"

#define RETAIN_HANDLING_SHIFT 4

static struct bt_slice text_of(const struct hub_filter *f)
{
    return (struct bt_slice){ (const uint8_t *)f->text, f->len };
}

static struct hub_filter **find(struct hub_session *s, struct bt_slice filter)
{
    struct hub_filter **at = &s->filters;

    while (*at != NULL &&
           ((*at)->len != filter.len || memcmp((*at)->text, filter.ptr, filter.len) != 0))
        at = &(*at)->next;
    return at;
}

static void charge(struct hub_session *s, struct hub_op *op, struct hub_ticket *ticket)
{
    op->ticket = ticket;
    if (ticket != NULL)
        atomic_fetch_add(&ticket->pending, 1);
    hub_batch_add(&s->worker->batch, op);
}

static int put_filter(struct hub_session *s, struct bt_slice filter,
                      const struct hub_sub_opts *opts)
{
    struct hub_filter **at = find(s, filter), *f = *at;
    int r;

    if (f == NULL && s->n_filters >= HUB_MAX_FILTERS)
        return BT_ELIMIT;
    if (f == NULL) {
        f = bt_calloc(1, sizeof(*f) + filter.len + 1);
        if (f == NULL)
            return BT_ENOMEM;
        memcpy(f->text, filter.ptr, filter.len);
        f->len = (uint16_t)filter.len;
    }
    r = hub_index_add(s->worker->hub->index, filter, s->addr, opts);
    if (r < 0) {
        if (*at == NULL)
            bt_free(f);
        return r;
    }
    f->opts = *opts;
    if (*at == NULL) {
        f->next = s->filters;
        s->filters = f;
        s->n_filters++;
        hub_count_sub(filter, 1);
        hub_sys_subscribed(s->worker->hub->sys, filter, 1);
    }
    return r;
}

int hub_session_subscribe(struct hub_session *s, const struct bt_mqtt_sub *sub,
                          uint32_t subid, struct hub_ticket *ticket)
{
    struct hub_sub_opts opts = {
        .qos = sub->qos,
        .flags = (uint8_t)((sub->no_local ? HUB_SUB_NO_LOCAL : 0) |
                           (sub->retain_as_published ? HUB_SUB_RETAIN_AS_PUBLISHED : 0) |
                           (s->persistent ? HUB_SUB_PERSISTENT : 0)),
        .subid = subid,
    };
    uint32_t most = hub_principal_limits(s->principal)->subscriptions;
    struct hub_op *op;
    int r;

    if (most != 0 && s->n_filters >= most && *find(s, sub->filter) == NULL)
        return BT_ELIMIT;
    r = put_filter(s, sub->filter, &opts);
    if (r < 0 || !s->persistent)
        return r;
    op = hub_op_new(HUB_OP_SUB_PUT, s->sid);
    if (op == NULL)
        return BT_ENOMEM;
    op->text = bt_strndup(sub->filter.ptr, sub->filter.len);
    if (op->text == NULL) {
        hub_op_free(op);
        return BT_ENOMEM;
    }
    op->u32 = (uint32_t)(opts.qos | (sub->no_local ? 4 : 0) |
                         (sub->retain_as_published ? 8 : 0) |
                         (sub->retain_handling << RETAIN_HANDLING_SHIFT));
    op->u32b = subid;
    charge(s, op, ticket);
    return r;
}

int hub_session_restore(struct hub_session *s, struct bt_slice filter, uint8_t options,
                        uint32_t subid)
{
    struct hub_sub_opts opts = {
        .qos = BT_MIN(options & 3, 2),
        .flags = (uint8_t)(((options & 4) != 0 ? HUB_SUB_NO_LOCAL : 0) |
                           ((options & 8) != 0 ? HUB_SUB_RETAIN_AS_PUBLISHED : 0) |
                           HUB_SUB_PERSISTENT),
        .subid = subid,
    };
    int r = put_filter(s, filter, &opts);

    return BT_MIN(r, 0);
}

bool hub_session_unsubscribe(struct hub_session *s, struct bt_slice filter,
                             struct hub_ticket *ticket)
{
    struct hub_filter **at = find(s, filter), *f = *at;
    struct hub_op *op;

    if (f == NULL)
        return false;
    hub_index_remove(s->worker->hub->index, filter, s->addr);
    *at = f->next;
    s->n_filters--;
    hub_count_sub(filter, -1);
    hub_sys_subscribed(s->worker->hub->sys, filter, -1);
    hub_record(s, &(struct hub_fact){ HUB_EV_UNSUBSCRIBED, .text = filter });
    if (hub_match_is_share(filter))
        hub_share_left(s, filter);
    op = s->persistent ? hub_op_new(HUB_OP_SUB_DEL, s->sid) : NULL;
    if (op != NULL)
        op->text = bt_strndup(text_of(f).ptr, f->len);
    if (op != NULL && op->text != NULL) {
        charge(s, op, ticket);
    } else {
        hub_op_free(op);
        if (s->persistent && ticket != NULL) /* not on disk: must not be answered */
            atomic_store(&ticket->failed, true);
    }
    bt_free(f);
    return true;
}
