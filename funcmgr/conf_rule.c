/* Options of a rule. */
#include "funcmgr/conf_priv.h"

#define NO_WILDCARDS "^[^+#]+$"

static const struct bt_conf_row rule_rows[] = {
    BT_CONF_ROW(
        struct fm_rule_conf, "clientid", STRING, clientid, NULL,
        "Client id of the rule's session, which outlives a restart; empty: that of "
        "the hub block, or a clean session.",
        .max = 65535),
    BT_CONF_ROW(struct fm_rule_conf, "subscribe.topic", STRING, subscribe.topic, NULL,
                "Filter of the messages to process.", .max = 65535,
                .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct fm_rule_conf, "subscribe.qos", U32, subscribe.qos, "0",
                "QoS of the subscription.", .max = 2),
    BT_CONF_ROW(struct fm_rule_conf, "function.name", STRING, function, NULL,
                "The function to call.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct fm_rule_conf, "publish.topic", STRING, publish.topic, NULL,
                "Topic of the results.", .max = 65535, .flags = BT_CONF_REQUIRED,
                .match = NO_WILDCARDS),
    BT_CONF_ROW(struct fm_rule_conf, "publish.qos", U32, publish.qos, "0",
                "Highest QoS of the results.", .max = 2),
    BT_CONF_ROW(struct fm_rule_conf, "retry.max", U32, retry_max, "3",
                "Attempts in total when an instance breaks during the call; an exception "
                "of the handler and a time-out are answers and not tried again.",
                .min = 1, .max = 100, .flags = BT_CONF_ZERO),
};

const struct bt_conf_table fm_rule_table = {
    .name = "functions.rules",
    .doc =
        "A rule calls a function for every message of a subscription and publishes the "
        "results.",
    .size = sizeof(struct fm_rule_conf),
    .rows = rule_rows,
    .n_rows = BT_ARRAY_LEN(rule_rows),
};
