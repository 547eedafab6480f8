/* Events of the recorder in words. */
#include <inttypes.h>
#include <stdio.h>

#include "core/mqtt.h"
#include "hub/access/limit.h"
#include "hub/observe/recorder.h"

static const char *const names[HUB_N_EVENTS] = {
    [HUB_EV_CONNECTED] = "connected",
    [HUB_EV_LOGIN_REFUSED] = "login_refused",
    [HUB_EV_DISCONNECTED] = "disconnected",
    [HUB_EV_SUBSCRIBED] = "subscribed",
    [HUB_EV_SUB_REFUSED] = "subscribe_refused",
    [HUB_EV_UNSUBSCRIBED] = "unsubscribed",
    [HUB_EV_PUB_REFUSED] = "publish_refused",
    [HUB_EV_ROUTED] = "routed",
    [HUB_EV_NOBODY] = "nobody",
    [HUB_EV_SENT] = "sent",
    [HUB_EV_QUEUED] = "queued",
    [HUB_EV_ON_DISK] = "on_disk",
    [HUB_EV_DROPPED] = "dropped",
    [HUB_EV_NO_LOCAL] = "no_local",
    [HUB_EV_ACKED] = "acknowledged",
    [HUB_EV_LIMITED] = "limited",
};

const char *hub_event_name(enum hub_event_kind kind)
{
    return names[kind];
}

static void disconnected(const struct hub_event *e, char *out)
{
    static const char *const ends[] = {
        [HUB_END_DISCONNECT] = "disconnected: the client said goodbye",
        [HUB_END_LOST] = "disconnected: the connection was lost",
    };

    if (e->n < BT_ARRAY_LEN(ends))
        (void)snprintf(out, HUB_EVENT_SENTENCE, "%s", ends[e->n]);
    else
        (void)snprintf(out, HUB_EVENT_SENTENCE, "disconnected by the hub: %s",
                       bt_mqtt_reason_text(e->why));
}

void hub_event_sentence(const struct hub_event *e, char out[HUB_EVENT_SENTENCE])
{
    /* At most one %s, for the cause, or one number. */
    const char *reason = bt_mqtt_reason_text(e->why);
    size_t room = HUB_EVENT_SENTENCE;

    switch ((enum hub_event_kind)e->kind) {
    case HUB_EV_CONNECTED:
        (void)snprintf(out, room, "connected (protocol version %" PRIu32 ")", e->n);
        break;
    case HUB_EV_LOGIN_REFUSED:
        (void)snprintf(out, room, "login refused: %s", reason);
        break;
    case HUB_EV_DISCONNECTED:
        disconnected(e, out);
        break;
    case HUB_EV_SUBSCRIBED:
        (void)snprintf(out, room, "subscribed with QoS %" PRIu32, e->n);
        break;
    case HUB_EV_SUB_REFUSED:
        (void)snprintf(out, room, "subscription refused: %s", reason);
        break;
    case HUB_EV_UNSUBSCRIBED:
        (void)snprintf(out, room, "unsubscribed");
        break;
    case HUB_EV_PUB_REFUSED:
        (void)snprintf(out, room, "its publish was refused: %s", reason);
        break;
    case HUB_EV_ROUTED:
        (void)snprintf(out, room, "its publish went to %" PRIu32 " receivers", e->n);
        break;
    case HUB_EV_NOBODY:
        (void)snprintf(out, room, "its publish went nowhere: nobody subscribes to that");
        break;
    case HUB_EV_SENT:
        (void)snprintf(out, room, "sent with QoS %" PRIu32, e->n);
        break;
    case HUB_EV_QUEUED:
        (void)snprintf(out, room, "queued with QoS %" PRIu32, e->n);
        break;
    case HUB_EV_ON_DISK:
        (void)snprintf(out, room, "queued on disk, to be sent when there is room");
        break;
    case HUB_EV_DROPPED:
        (void)snprintf(out, room, "not delivered: %s", hub_drop_text(e->why));
        break;
    case HUB_EV_NO_LOCAL:
        (void)snprintf(out, room, "not delivered: its own message (no-local)");
        break;
    case HUB_EV_ACKED:
        (void)snprintf(out, room, "the client acknowledged packet %" PRIu32, e->n);
        break;
    case HUB_EV_LIMITED:
        (void)snprintf(out, room, "a limit was reached: %s", hub_limit_text(e->why));
        break;
    case HUB_N_EVENTS:
        break;
    }
}
