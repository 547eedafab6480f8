/* Messages: one block, counted references. A publish that nobody has to keep never makes
 * one; the first receiver that must keep it copies topic, properties and payload once,
 * all others share it. */
#include "hub/route/msg.h"

#include <string.h>

#include "core/clock.h"
#include "core/copy.h"
#include "core/mem.h"
#include "hub/session/quota.h"

static void copy(uint8_t *to, struct bt_slice s)
{
    bt_copy(to, s.ptr, s.len);
}

static int64_t footprint(const struct hub_msg *m)
{
    return (int64_t)sizeof(*m) + m->topic_len + m->props_len + m->payload_len;
}

static void release(struct hub_msg *m)
{
    hub_quota_charge(-footprint(m));
    bt_free(m);
}

struct hub_msg *hub_msg_new(const struct hub_pub *p)
{
    struct hub_msg *m;

    if (p->topic.len > UINT16_MAX || p->props.len > UINT16_MAX ||
        p->payload.len > UINT32_MAX - 2u * UINT16_MAX - sizeof(*m))
        return NULL;
    m = bt_malloc(sizeof(*m) + p->topic.len + p->props.len + p->payload.len);
    if (m == NULL)
        return NULL;
    atomic_init(&m->refs, 1);
    m->payload_len = (uint32_t)p->payload.len;
    m->topic_len = (uint16_t)p->topic.len;
    m->props_len = (uint16_t)p->props.len;
    m->qos = p->qos;
    m->retain = p->retain;
    m->created_ms = bt_clock_wall_ms();
    m->expires_ms = p->expiry_s == 0 ? 0 : m->created_ms + hub_expiry_s(p) * 1000;
    m->mid = 0;
    m->origin = p->origin;
    hub_quota_charge(footprint(m));
    copy(m->data, p->topic);
    copy(m->data + m->topic_len, p->props);
    copy(m->data + m->topic_len + m->props_len, p->payload);
    return m;
}

struct hub_msg *hub_pub_msg(struct hub_pub *p)
{
    if (p->msg == NULL)
        p->msg = hub_msg_new(p);
    return p->msg != NULL ? hub_msg_ref(p->msg) : NULL;
}

void hub_pub_deinit(struct hub_pub *p)
{
    hub_msg_unref(p->msg);
    p->msg = NULL;
}

void hub_msg_unref(struct hub_msg *m)
{
    if (m != NULL && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        release(m);
}
