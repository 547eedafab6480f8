/* What one client may send, and how long it may take. Rates are token buckets: a client
 * that is ahead is not read until it is level again, so TCP makes it wait and nothing is
 * lost. A connection without limits has no bucket and costs a branch.
 *
 * Stalls are counted by the half-second tick: a packet that was begun has to arrive
 * within a time that grows with what has come of it (a kibibyte a second is enough), and
 * a client that is written to has to take something now and then. Failure modes: no
 * memory at login: server unavailable. */
#include "hub/access/limit.h"

#include "core/error.h"
#include "core/log.h"
#include "hub/access/login.h"
#include "hub/net/listener.h"
#include "hub/observe/recorder.h"
#include "hub/worker.h"

#define TICKS_A_SECOND (1000u / HUB_TICK_MS)
#define SLOWEST        1024u /* bytes a second that a begun packet may arrive with */

#define METRIC(name, label, text)                                               \
    BT_METRIC_OF("baetyl_hub_limited_total", BT_COUNTER, "cause=\"" label "\"", \
                 "Times a limit was reached, by cause."),
static struct bt_metric metrics[HUB_N_LIMITS] = { HUB_LIMITS(METRIC) };
#define TEXT(name, label, text) text,
static const char *const texts[] = { HUB_LIMITS(TEXT) };
#define LABEL(name, label, text) label,
static const char *const labels[] = { HUB_LIMITS(LABEL) };

const char *hub_limit_text(enum hub_limit what)
{
    return texts[what];
}

void hub_limits_register(void)
{
    for (size_t i = 0; i < HUB_N_LIMITS; i++)
        bt_metric_register(&metrics[i]);
}

static void tell(struct hub_worker *w, const char *client, int fd, enum hub_limit what)
{
    enum hub_quiet_kind kind = client == NULL ? HUB_QUIET_ACCEPT : HUB_QUIET_LIMITED;
    char address[HUB_IP_TEXT];
    uint32_t hidden;

    bt_metric_add(&metrics[what], 1);
    if (!hub_quiet(&w->quiet[kind], bt_loop_ms(w->loop), &hidden))
        return;
    bt_log(BT_LOG_WARN, "HUB-LIMIT", texts[what],
           "cause=%s client=" BT_LOG_Q " address=%s more=%u", labels[what],
           client == NULL ? "" : client, hub_ip_text(hub_ip_of(fd), address), hidden);
}

void hub_limited(struct hub_conn *c, enum hub_limit what)
{
    if (c->link.session != NULL)
        hub_record(c->link.session,
                   &(struct hub_fact){ HUB_EV_LIMITED, .why = (uint8_t)what });
    tell(c->worker, c->link.session != NULL ? c->link.session->id : "", bt_io_fd(&c->io),
         what);
}

void hub_limited_at_door(struct hub_worker *w, int fd, enum hub_limit what)
{
    tell(w, NULL, fd, what);
}

/* ---- Rates ---- */

static const struct hub_client_limits *limits_of(const struct hub_conn *c)
{
    return hub_principal_limits(c->link.session->principal);
}

int hub_meter_init(struct hub_conn *c)
{
    const struct hub_client_limits *l = limits_of(c);

    if (l->messages_rate == 0 && l->bytes_rate == 0 && l->packet == 0) {
        hub_guard_free(bt_steal(c->guard)); /* a login may have needed it */
        return 0;
    }
    return hub_guard_of(c) == NULL ? BT_ENOMEM : 0;
}

void hub_meter_reload(struct hub_conn *c)
{
    hub_conn_unpause(c, HUB_PAUSE_RATE); /* and what comes now is measured anew */
    if (!c->closed && c->link.session != NULL && hub_meter_init(c) != 0)
        bt_log(BT_LOG_WARN, "HUB-LIMIT", "no memory to apply the limits",
               "client=" BT_LOG_Q, c->link.session->id);
}

uint64_t hub_meter_max_packet(const struct hub_conn *c)
{
    uint64_t max = hub_listener_max_packet(c->listener, c->worker->conf), own;

    if (c->guard == NULL || c->link.session == NULL)
        return max;
    own = limits_of(c)->packet;
    return own == 0 ? max : BT_MIN(own, max);
}

/* Milliseconds to wait after using n of a bucket. */
static uint64_t use(struct hub_bucket *b, uint64_t rate, uint64_t burst, uint64_t n,
                    uint64_t now_ms)
{
    (void)hub_bucket_left(b, rate, burst, now_ms);
    hub_bucket_use(b, n);
    return hub_bucket_wait(b, rate);
}

void hub_meter_packet(struct hub_conn *c, uint8_t first_byte, size_t n)
{
    struct hub_guard *g = c->guard;
    struct bt_loop *loop = c->worker->loop;
    const struct hub_client_limits *l;
    uint64_t wait = 0, by_bytes = 0;

    if (c->closed || c->link.session == NULL)
        return;
    l = limits_of(c);
    if (l->messages_rate != 0 && first_byte >> 4 == BT_MQTT_PUBLISH)
        wait = use(&g->messages, l->messages_rate,
                   l->messages_burst != 0 ? l->messages_burst : l->messages_rate, 1,
                   bt_loop_ms(loop));
    if (l->bytes_rate != 0)
        by_bytes = use(&g->bytes, l->bytes_rate, l->bytes_rate, n, bt_loop_ms(loop));
    if (wait == 0 && by_bytes == 0)
        return;
    hub_limited(c, wait >= by_bytes ? HUB_LIMIT_MESSAGE_RATE : HUB_LIMIT_BYTE_RATE);
    hub_conn_pause(c, HUB_PAUSE_RATE);
    bt_timer_start(loop, &g->timer, BT_MAX(wait, by_bytes), 0);
}

/* ---- Stalls ---- */

static bool too_long(uint16_t *ticks, int64_t limit_ms, uint64_t more_s)
{
    if (*ticks < UINT16_MAX)
        (*ticks)++;
    return *ticks / TICKS_A_SECOND > (uint64_t)limit_ms / 1000 + more_s;
}

bool hub_meter_check_stall(struct hub_conn *c)
{
    const struct hub_conf *conf = c->worker->conf;

    if (c->in.len == 0 || c->paused != 0)
        c->in_ticks = 0;
    else if (too_long(&c->in_ticks, conf->stall_receive, c->in.len / SLOWEST)) {
        hub_limited(c, HUB_LIMIT_STALLED_WRITER);
        hub_conn_close(c, BT_MQTT_QUOTA, true);
        return false;
    }
    if (!c->blocked)
        c->out_ticks = 0;
    else if (too_long(&c->out_ticks, conf->stall_send, 0)) {
        hub_limited(c, HUB_LIMIT_STALLED_READER);
        hub_conn_close(c, BT_MQTT_QUOTA, true);
        return false;
    }
    return true;
}
