/* Options of a rule. */
#include <string.h>

#include "core/mqtt.h"
#include "funcmgr/conf/conf_priv.h"

#define NO_WILDCARDS "^[^+#]+$"

static const char *const retry_kinds[] = { "instance", "any", NULL };

static bool has_own_hub(const void *obj)
{
    const struct fm_rule_conf *c = obj;

    return c->hub == &c->own_hub;
}

static const struct bt_conf_row rule_rows[] = {
    BT_CONF_ROW(
        struct fm_rule_conf, "clientid", STRING, clientid, NULL,
        "Client id of the rule's session, which outlives a restart; empty: that of "
        "the hub block, or a clean session.",
        .max = 65535),
    BT_CONF_ROW(struct fm_rule_conf, "subscribe.topic", STRING, subscribe.topic, NULL,
                "Filter of the messages to process; with $share/GROUP/FILTER each of "
                "them goes to one of the group only.",
                .max = 65535, .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct fm_rule_conf, "subscribe.qos", U32, subscribe.qos, "0",
                "QoS of the subscription.", .max = 2),
    BT_CONF_SECTION_ROW(struct fm_rule_conf, "hub", own_hub, &fm_hub_table,
                        "The session of this rule; one that is written stands in place "
                        "of the whole `functions.hub`.",
                        .is_given = has_own_hub),
    BT_CONF_ROW(struct fm_rule_conf, "function.name", STRING, function, NULL,
                "The function to call.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct fm_rule_conf, "publish.topic", STRING, publish.topic, NULL,
                "Topic of the results.", .max = 65535, .flags = BT_CONF_REQUIRED,
                .match = NO_WILDCARDS),
    BT_CONF_ROW(struct fm_rule_conf, "publish.qos", U32, publish.qos, "0",
                "Highest QoS of the results.", .max = 2),
    BT_CONF_ROW(struct fm_rule_conf, "retry.max", U32, retry_max, "3",
                "Attempts in total of a call that failed.", .min = 1, .max = 100,
                .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_rule_conf, "retry.on", ENUM, retry_on, "instance",
                "What is tried again: instance, a call whose instance broke; any, also "
                "an exception of the handler, a time-out and an instance that did not "
                "start.",
                .choices = retry_kinds),
    BT_CONF_ROW(struct fm_rule_conf, "retry.delay", MS, retry_delay, "0s",
                "Pause before the second attempt; it doubles before each further one. "
                "With a pause, or with retry.on any, each attempt has the function's "
                "whole time-out.",
                .max = FM_DAY_MS),
    BT_CONF_ROW(struct fm_rule_conf, "retry.delay.max", MS, retry_delay_max, "1m",
                "Longest pause between two attempts.", .min = 1, .max = FM_DAY_MS,
                .flags = BT_CONF_ZERO),
    BT_CONF_ROW(struct fm_rule_conf, "deadletter.topic", STRING, deadletter.topic, NULL,
                "Topic of the error message of a call that failed for good; the default "
                "is publish.topic.",
                .max = 65535, .match = NO_WILDCARDS),
    BT_CONF_ROW(struct fm_rule_conf, "deadletter.qos", U32, deadletter.qos, "1",
                "Highest QoS of the error messages on deadletter.topic.", .max = 2),
};

static void check_rule(struct bt_conf_ctx *ctx, void *obj)
{
    const struct fm_rule_conf *c = obj;
    const char *filter = c->subscribe.topic;

    if (filter != NULL && filter[0] != '\0' &&
        !bt_mqtt_filter_ok((struct bt_slice){ (const uint8_t *)filter, strlen(filter) }))
        bt_conf_error_at(
            ctx, obj, "subscribe.topic", "\"%s\" is not a topic filter%s", filter,
            strncmp(filter, "$share", 6) == 0 ? "; a shared one is $share/GROUP/FILTER"
                                              : "");
}

const struct bt_conf_table fm_rule_table = {
    .name = "functions.rules",
    .doc =
        "A rule calls a function for every message of a subscription and publishes the "
        "results.",
    .size = sizeof(struct fm_rule_conf),
    .rows = rule_rows,
    .n_rows = BT_ARRAY_LEN(rule_rows),
    .check = check_rule,
};
