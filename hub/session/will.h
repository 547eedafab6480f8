/* Wills (MQTT 5.0 §3.1.2.5, §3.1.3.2.2): a message the session leaves behind when its
 * connection is lost, at once or after a delay, at the latest when the session ends. Home
 * worker only, but for restoring at start. */
#ifndef HUB_WILL_H
#define HUB_WILL_H

#include "core/mqtt.h"

struct hub_msg;
struct hub_session;

struct hub_will {
    struct hub_msg *msg; /* without expiry: that counts from its publication */
    uint64_t due_ms;     /* loop time, 0 while the client is connected */
    uint32_t delay_s, expiry_s;
    bool stored; /* it has a row */
};

/* The will of a new connection instead of an older one; will->present may be false. 0 or
 * BT_ENOMEM. */
int hub_will_set(struct hub_session *s, const struct bt_mqtt_will *will) BT_MUST_CHECK;
/* Discard: the client said goodbye. */
void hub_will_cancel(struct hub_session *s);
/* The connection was lost: publish now, or when the delay has passed. */
void hub_will_lost(struct hub_session *s);
/* Publish now: the delay has passed or the session ends. Nothing without a will. */
void hub_will_publish(struct hub_session *s);
/* The delay of a restored or a lost client's will: publishes when it has passed. Returns
 * whether it still waits. */
bool hub_will_check(struct hub_session *s, uint64_t now_ms);
/* What the store had: the delay counts from now. Takes the reference. */
int hub_will_restore(struct hub_session *s, struct hub_msg *msg, uint32_t delay_s,
                     uint32_t expiry_s) BT_MUST_CHECK;
/* Free the memory only; the row stays. */
void hub_will_free(struct hub_session *s);

#endif
