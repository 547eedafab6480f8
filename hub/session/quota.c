/* The hub's budgets. Memory has three levels: free; tight, from three quarters of the
 * budget on, when queues in memory and output of each client may be a sixteenth of what
 * they may else, so that persistent sessions go to the disk and slow readers lose QoS 0
 * first; full, when it is a sixteenth of that, version 5 publishers of QoS 1 and 2 are
 * refused and those of version 3 wait. A full store refuses and lets wait in the same
 * way, and QoS 0 flows on. */
#include "hub/session/quota.h"

#include "core/clock.h"
#include "core/metric.h"
#include "hub/session/session.h"
#include "hub/worker.h"

#define PRESSED_MEMORY 1u
#define PRESSED_DISK   2u

struct hub_quota hub_quota;
_Thread_local int64_t hub_quota_untold;

static struct bt_metric m_used =
    BT_METRIC("baetyl_hub_memory_bytes", BT_GAUGE,
              "Bytes of messages, queues and output in memory.");
static struct bt_metric m_level =
    BT_METRIC("baetyl_hub_memory_pressure", BT_GAUGE,
              "0 free, 1 three quarters of limits.memory used, 2 all of it.");
static struct bt_metric m_disk = BT_METRIC("baetyl_hub_disk_pressure", BT_GAUGE,
                                           "1 while the store takes nothing new.");

static void press(uint32_t what, bool on)
{
    if (on)
        atomic_fetch_or_explicit(&hub_quota.pressed, what, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&hub_quota.pressed, ~what, memory_order_relaxed);
}

static void judge(int64_t used)
{
    int64_t limit = atomic_load_explicit(&hub_quota.limit, memory_order_relaxed);
    enum hub_quota_memory level = HUB_MEMORY_FREE;

    if (limit != 0 && used >= limit)
        level = HUB_MEMORY_FULL;
    else if (limit != 0 && used >= limit / 4 * 3)
        level = HUB_MEMORY_TIGHT;
    bt_metric_set(&m_used, used);
    if (atomic_exchange_explicit(&hub_quota.memory, level, memory_order_relaxed) ==
        (uint32_t)level)
        return;
    bt_metric_set(&m_level, level);
    press(PRESSED_MEMORY, level == HUB_MEMORY_FULL);
}

void hub_quota_limit(uint64_t bytes)
{
    bt_metric_register(&m_used);
    bt_metric_register(&m_level);
    bt_metric_register(&m_disk);
    atomic_store(&hub_quota.limit, (int64_t)BT_MIN(bytes, (uint64_t)INT64_MAX));
    judge(atomic_load(&hub_quota.used));
}

void hub_quota_tell(void)
{
    int64_t n = hub_quota_untold;

    hub_quota_untold = 0;
    judge(atomic_fetch_add_explicit(&hub_quota.used, n, memory_order_relaxed) + n);
}

void hub_quota_inflight(uint32_t n)
{
    uint32_t most = atomic_load(&hub_quota.inflight);

    while (n > most && !atomic_compare_exchange_weak(&hub_quota.inflight, &most, n))
        ;
}

void hub_quota_disk(bool full)
{
    if (atomic_exchange(&hub_quota.disk_full, full) == full)
        return;
    bt_metric_set(&m_disk, full);
    press(PRESSED_DISK, full);
}

bool hub_quota_refuses(struct hub_session *s, const struct hub_pub *pub)
{
    if (pub->qos == 0)
        return false;
    if (atomic_load_explicit(&hub_quota.memory, memory_order_relaxed) == HUB_MEMORY_FULL)
        return true;
    return atomic_load_explicit(&hub_quota.disk_full, memory_order_relaxed) &&
           hub_route_must_store(s->worker, pub);
}

bool hub_quota_pauses_(const struct hub_session *s)
{
    return s->n_unacked > 0 &&
           atomic_load_explicit(&hub_quota.memory, memory_order_relaxed) ==
               HUB_MEMORY_FULL;
}

bool hub_quota_too_old(const struct hub_qentry *e)
{
    int64_t oldest = atomic_load_explicit(&hub_quota.oldest_ms, memory_order_relaxed);

    return bt_unlikely(oldest != 0) && e->msg != NULL && !e->sent &&
           e->msg->created_ms < oldest && e->msg->created_ms >= HUB_STORE_CLOCK_FLOOR;
}

struct hub_msg *hub_quota_renewed(struct hub_msg *m)
{
    int64_t oldest = atomic_load_explicit(&hub_quota.oldest_ms, memory_order_relaxed);
    int64_t now = bt_clock_wall_ms();
    const struct hub_pub pub = {
        .topic = hub_msg_topic(m),
        .payload = hub_msg_payload(m),
        .props = hub_msg_props(m),
        .qos = m->qos,
        .retain = m->retain,
    };
    struct hub_msg *copy;

    if (oldest == 0 || m->created_ms >= now - (now - oldest) / 2)
        return hub_msg_ref(m);
    copy = hub_msg_new(&pub);
    if (copy == NULL)
        return NULL;
    copy->expires_ms = m->expires_ms;
    copy->origin = m->origin;
    return copy;
}
