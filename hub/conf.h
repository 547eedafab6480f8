/* Checks of the hub's configuration that look at more than one value. Private to
 * hub/conf*.c. */
#ifndef HUB_CONF_H
#define HUB_CONF_H

#include "hub/hub.h"

/* The rules of spec A.5 that concern configured topics, for limits of conf. wild: filters
 * are allowed. */
bool hub_conf_topic_ok(const char *topic, bool wild);
/* Addresses. The first reports one that is wrong to ctx and returns whether it is right.
 */
bool hub_conf_check_address(struct bt_conf_ctx *ctx, const void *obj, const char *key,
                            const char *text);
void hub_conf_check_listen(struct bt_conf_ctx *ctx, struct hub_conf *conf);
extern const struct bt_conf_table hub_listener_table;
/* Rules: pairs given twice, and cycles. Every rule by itself is valid. Reports to ctx. */
void hub_conf_check_rules(struct bt_conf_ctx *ctx, const struct hub_conf *conf);
/* Durability and budgets (hub/conf_store.c): fills what durability_text says. */
void hub_conf_check_store(struct bt_conf_ctx *ctx, struct hub_conf *conf);

#endif
