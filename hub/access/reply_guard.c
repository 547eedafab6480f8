/* A short list under a lock: there is one entry for each module that answers, and only
 * messages with a Response Topic ask for it. */
#include "hub/access/reply_guard.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/hub_internal.h"
#include "hub/protocol/props.h"
#include "hub/session/session.h"

struct guard {
    struct bt_list link;
    size_t len;
    char filter[];
};

static struct bt_slice filter_of(struct bt_list *it)
{
    const struct guard *g = bt_list_entry(it, struct guard, link);

    return (struct bt_slice){ (const uint8_t *)g->filter, g->len };
}

void hub_reply_guards_init(struct hub_reply_guards *guards)
{
    pthread_mutex_init(&guards->lock, NULL);
    bt_list_init(&guards->all);
}

void hub_reply_guards_deinit(struct hub_reply_guards *guards)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &guards->all)
        bt_free(bt_list_entry(it, struct guard, link));
    pthread_mutex_destroy(&guards->lock);
}

static bool has(const struct hub_reply_guards *guards, const char *filter, size_t len)
{
    struct bt_list *it;

    bt_list_for_each (it, &guards->all) {
        struct bt_slice have = filter_of(it);

        if (have.len == len && memcmp(have.ptr, filter, len) == 0)
            return true;
    }
    return false;
}

int hub_reply_guard_add(struct hub_reply_guards *guards, const char *filter)
{
    size_t len = strlen(filter);
    struct guard *g = bt_malloc(sizeof(*g) + len + 1);

    if (g == NULL)
        return BT_ENOMEM;
    g->len = len;
    memcpy(g->filter, filter, len + 1);
    pthread_mutex_lock(&guards->lock);
    if (!has(guards, filter, len)) {
        bt_list_push_back(&guards->all, &g->link);
        g = NULL;
    }
    pthread_mutex_unlock(&guards->lock);
    bt_free(g);
    return 0;
}

bool hub_reply_guarded(struct hub_reply_guards *guards, struct bt_slice topic)
{
    struct bt_list *it;
    bool found = false;

    pthread_mutex_lock(&guards->lock);
    bt_list_for_each (it, &guards->all) {
        found = bt_mqtt_match(filter_of(it), topic);
        if (found)
            break;
    }
    pthread_mutex_unlock(&guards->lock);
    return found;
}

bool hub_reply_guard_permits(struct hub *hub, const struct hub_session *s,
                             struct bt_slice topic, const struct bt_mqtt_props *props)
{
    if ((props->present & (1u << BT_MQTT_P_RESPONSE_TOPIC)) == 0 ||
        !hub_reply_guarded(&hub->reply_guards, topic))
        return true;
    return hub_topic_allowed(hub, props->response_topic) &&
           hub_session_may_publish(s, props->response_topic);
}
