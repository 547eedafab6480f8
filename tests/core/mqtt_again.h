/* Encode what was decoded, for the round trips of the unit tests and the fuzz target. */
#ifndef TESTS_CORE_MQTT_AGAIN_H
#define TESTS_CORE_MQTT_AGAIN_H

#include "core/error.h"
#include "core/mqtt.h"

#define AGAIN_MAX 64

/* User properties are in the raw block; the encoder wants them in a list. */
static void again_users(struct bt_mqtt_props *props, struct bt_mqtt_user *users)
{
    size_t pos = 0;

    props->users = users;
    while (props->n_users < AGAIN_MAX &&
           bt_mqtt_user_next(props->raw, &pos, &users[props->n_users]))
        props->n_users++;
}

static int again_subscribe(struct bt_buf *b, uint8_t version,
                           const struct bt_mqtt_packet *p)
{
    struct bt_mqtt_sub subs[AGAIN_MAX];
    size_t n = 0, pos = 0;

    while (n < AGAIN_MAX && bt_mqtt_sub_next(p->list, version, &pos, &subs[n]))
        n++;
    return bt_mqtt_encode_subscribe(b, version, p->pid, subs, n, &p->props);
}

static int again_unsubscribe(struct bt_buf *b, uint8_t version,
                             const struct bt_mqtt_packet *p)
{
    struct bt_slice filters[AGAIN_MAX];
    size_t n = 0, pos = 0;

    while (n < AGAIN_MAX && bt_mqtt_filter_next(p->list, &pos, &filters[n]))
        n++;
    return bt_mqtt_encode_unsubscribe(b, version, p->pid, filters, n, &p->props);
}

/* Changes p: its user properties become a list. */
static int encode_again(struct bt_buf *b, uint8_t version, struct bt_mqtt_packet *p)
{
    struct bt_mqtt_user users[AGAIN_MAX], will_users[AGAIN_MAX];
    enum bt_mqtt_type type = (enum bt_mqtt_type)p->type;

    again_users(&p->props, users);
    switch (type) {
    case BT_MQTT_CONNECT:
        again_users(&p->connect.will.props, will_users);
        return bt_mqtt_encode_connect(b, &p->connect, &p->props);
    case BT_MQTT_CONNACK:
        return bt_mqtt_encode_connack(b, version, p->session_present, p->reason,
                                      &p->props);
    case BT_MQTT_PUBLISH:
        return bt_mqtt_encode_publish(b, version, &p->publish, &p->props);
    case BT_MQTT_PUBACK:
    case BT_MQTT_PUBREC:
    case BT_MQTT_PUBREL:
    case BT_MQTT_PUBCOMP:
        return bt_mqtt_encode_ack(b, version, type, p->pid, p->reason, &p->props);
    case BT_MQTT_SUBSCRIBE:
        return again_subscribe(b, version, p);
    case BT_MQTT_UNSUBSCRIBE:
        return again_unsubscribe(b, version, p);
    case BT_MQTT_SUBACK:
    case BT_MQTT_UNSUBACK:
        return bt_mqtt_encode_suback(b, version, type, p->pid, p->list.ptr, p->list.len,
                                     &p->props);
    default:
        return bt_mqtt_encode_simple(b, version, type, p->reason, &p->props);
    }
}

#endif
