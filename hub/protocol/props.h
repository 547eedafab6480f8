/* Which properties of a version 5 PUBLISH or will travel on to the receivers (MQTT 5.0
 * §3.3.2.3), and the topic rules of the configuration. Any thread. */
#ifndef HUB_PROPS_H
#define HUB_PROPS_H

#include "core/buf.h"
#include "core/mqtt.h"

struct hub;

/* *out becomes the run of encoded properties to forward: p's own bytes when all of them
 * travel, otherwise bytes in b. Valid as long as both. 0, BT_ENOMEM, or BT_ELIMIT for
 * more than a message can hold (65535 bytes). */
int hub_props_forward(const struct bt_mqtt_props *p, struct bt_buf *b,
                      struct bt_slice *out) BT_MUST_CHECK;
/* The message expiry of a publish or will as hub_pub.expiry_s says it. */
uint32_t hub_props_expiry(const struct bt_mqtt_props *p);
/* Well-formed UTF-8; unlike in a topic, U+0000 is allowed (MQTT 5.0 §3.3.2.3.2). */
bool hub_payload_is_text(struct bt_slice payload);
/* Within the configured length and number of levels, and not a $ topic. */
bool hub_topic_allowed(const struct hub *hub, struct bt_slice topic);
/* The same for a filter; $share/name/ is looked through. */
bool hub_filter_allowed(const struct hub *hub, struct bt_slice filter);

#endif
