/* Retained messages in memory: topic -> message (MQTT 5.0 §3.3.1.3). One tree for the
 * hub under a lock, because all workers must agree on the newest; held only for one
 * update or one collection of references. */
#ifndef HUB_RETAIN_H
#define HUB_RETAIN_H

#include "hub/route/msg.h"

struct hub_retain;
struct hub_retain *hub_retain_new(void) BT_MUST_CHECK;
void hub_retain_free(struct hub_retain *r);
/* Any thread. Replaces; takes a new reference. BT_ENOMEM. */
int hub_retain_put(struct hub_retain *r, struct hub_msg *msg) BT_MUST_CHECK;
/* Any thread. false: there was none. */
bool hub_retain_del(struct hub_retain *r, struct bt_slice topic);
/* Any thread. What the topic retains, expired or not, a new reference; NULL: nothing. */
struct hub_msg *hub_retain_get(struct hub_retain *r, struct bt_slice topic);
/* Any thread. Whether m is still what its topic retains. */
bool hub_retain_has(struct hub_retain *r, const struct hub_msg *m);
struct hub_retain_set {
    struct hub_msg **items; /* one reference each */
    size_t n;
};
/* Any thread. All unexpired messages whose topic matches the filter, by wall clock
 * now_ms. Free with hub_retain_set_deinit. */
int hub_retain_match(struct hub_retain *r, struct bt_slice filter, int64_t now_ms,
                     struct hub_retain_set *out) BT_MUST_CHECK;
/* Any thread. Removes expired messages among the next `nodes` of the tree, a different
 * part each time, and gives them out. Returns whether messages that can expire remain;
 * asked again and again it finds all of them. */
bool hub_retain_sweep(struct hub_retain *r, int64_t now_ms, size_t nodes,
                      struct hub_retain_set *out);
void hub_retain_set_deinit(struct hub_retain_set *s);
size_t hub_retain_count(const struct hub_retain *r);
/* Topics, properties and payloads of them. */
uint64_t hub_retain_bytes(const struct hub_retain *r);

#endif
