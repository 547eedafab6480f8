/* A short list under a lock: there is one entry at most for each module that answers, and
 * only messages with a Response Topic ask for it. */
#include "hub/access/reply_guard.h"

#include "hub/hub_internal.h"
#include "hub/protocol/props.h"
#include "hub/session/session.h"

void hub_reply_guards_init(struct hub_reply_guards *guards)
{
    pthread_mutex_init(&guards->lock, NULL);
    bt_list_init(&guards->all);
}

void hub_reply_guards_deinit(struct hub_reply_guards *guards)
{
    pthread_mutex_destroy(&guards->lock);
}

void hub_reply_guard_add(struct hub_reply_guards *guards, struct hub_reply_guard *guard)
{
    pthread_mutex_lock(&guards->lock);
    bt_list_push_back(&guards->all, &guard->link);
    pthread_mutex_unlock(&guards->lock);
}

void hub_reply_guard_remove(struct hub_reply_guards *guards,
                            struct hub_reply_guard *guard)
{
    pthread_mutex_lock(&guards->lock);
    if (bt_list_linked(&guard->link))
        bt_list_remove(&guard->link);
    pthread_mutex_unlock(&guards->lock);
}

bool hub_reply_guarded(struct hub_reply_guards *guards, struct bt_slice topic)
{
    struct bt_list *it;
    bool found = false;

    pthread_mutex_lock(&guards->lock);
    bt_list_for_each (it, &guards->all) {
        found =
            bt_mqtt_match(bt_list_entry(it, struct hub_reply_guard, link)->filter, topic);
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
