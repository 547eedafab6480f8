/* Options of calls by MQTT 5 request and response. */
#include <string.h>

#include "core/mqtt.h"
#include "funcmgr/conf/conf_priv.h"

#define NAME "{name}"

static const struct bt_conf_row calls_rows[] = {
    BT_CONF_ROW(struct fm_requests_conf, "topic", STRING, topic, NULL,
                "Topic at which functions are called: `functions/{name}/call`, where "
                "{name} is the function. The result goes to the Response Topic of the "
                "request. Without it there are no such calls.",
                .max = 1024),
    BT_CONF_ROW(struct fm_requests_conf, "qos", U32, qos, "1",
                "Highest QoS of requests and their responses.", .max = 2),
    BT_CONF_ROW(
        struct fm_requests_conf, "clientid", STRING, clientid, NULL,
        "Client id of the session, which then outlives a restart with the requests "
        "that wait in it."),
};

/* {name} once, as a level of its own. */
static bool topic_ok(const char *topic)
{
    const char *name = strstr(topic, NAME);
    const char *rest = name != NULL ? name + strlen(NAME) : NULL;

    return name != NULL && strstr(rest, NAME) == NULL &&
           (name == topic || name[-1] == '/') && (*rest == '/' || *rest == '\0') &&
           topic[0] != '$' &&
           bt_mqtt_topic_ok((struct bt_slice){ (const uint8_t *)topic, strlen(topic) });
}

static void check_calls(struct bt_conf_ctx *ctx, void *obj)
{
    const struct fm_requests_conf *c = obj;

    if (c->topic != NULL && c->topic[0] != '\0' && !topic_ok(c->topic))
        bt_conf_error_at(ctx, obj, "topic",
                         "\"%s\": expected a topic with the level {name}, as in "
                         "functions/{name}/call",
                         c->topic);
}

const struct bt_conf_table fm_requests_table = {
    .name = "functions.calls",
    .doc = "Calls by MQTT 5 request and response.",
    .size = sizeof(struct fm_requests_conf),
    .rows = calls_rows,
    .n_rows = BT_ARRAY_LEN(calls_rows),
    .check = check_calls,
};
