/* Topics whose receiver answers by Response Topic (MQTT 5.0 §4.10) with more power than
 * who asks has: the function manager may publish everywhere. On such a topic a client may
 * only name a Response Topic to which it may publish itself. Any thread. */
#ifndef HUB_REPLY_GUARD_H
#define HUB_REPLY_GUARD_H

#include <pthread.h>

#include "core/list.h"
#include "core/mqtt.h"

struct hub;
struct hub_session;

struct hub_reply_guards {
    pthread_mutex_t lock; /* looked at by workers only for messages with a Response Topic,
                             changed when such a receiver comes */
    struct bt_list all;
};

void hub_reply_guards_init(struct hub_reply_guards *guards);
void hub_reply_guards_deinit(struct hub_reply_guards *guards);
/* Guard what the filter matches until the end of the hub: a persistent session collects
 * messages also while its client is away. Idempotent. 0 or BT_ENOMEM. */
int hub_reply_guard_add(struct hub_reply_guards *guards,
                        const char *filter) BT_MUST_CHECK;
/* A message on this topic reaches such a receiver. */
bool hub_reply_guarded(struct hub_reply_guards *guards, struct bt_slice topic);
/* Whether the session may send a message with these properties to this topic. */
bool hub_reply_guard_permits(struct hub *hub, const struct hub_session *s,
                             struct bt_slice topic, const struct bt_mqtt_props *props);

#endif
