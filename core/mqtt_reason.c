/* Reason codes of MQTT 5.0 §2.4: one row each with its text, the packets that may carry
 * it and the CONNACK return code that stands for it in version 3. A code without a row is
 * in no packet. */
#include "core/mqtt.h"
#include "core/mqtt_wire.h"

#define CA BT_MQTT_IN(BT_MQTT_CONNACK)
#define PA BT_MQTT_IN(BT_MQTT_PUBACK)
#define PR BT_MQTT_IN(BT_MQTT_PUBREC)
#define PL BT_MQTT_IN(BT_MQTT_PUBREL)
#define PC BT_MQTT_IN(BT_MQTT_PUBCOMP)
#define SA BT_MQTT_IN(BT_MQTT_SUBACK)
#define UA BT_MQTT_IN(BT_MQTT_UNSUBACK)
#define DI BT_MQTT_IN(BT_MQTT_DISCONNECT)
#define AU BT_MQTT_IN(BT_MQTT_AUTH)

/* Return codes of MQTT 3.1.1 §3.2.2.3. */
enum v3 { V3_OK, V3_VERSION, V3_ID, V3_UNAVAILABLE, V3_LOGIN, V3_NOT_AUTHORIZED };

static const struct row {
    uint8_t code, v3;
    uint16_t packets;
    const char *text;
} rows[] = {
    { 0x00, V3_OK, CA | PA | PR | PL | PC | SA | UA | DI | AU, "success" },
    { 0x01, V3_OK, SA, "granted QoS 1" },
    { 0x02, V3_OK, SA, "granted QoS 2" },
    { 0x04, V3_OK, DI, "disconnect with will message" },
    { 0x10, V3_OK, PA | PR, "no matching subscribers" },
    { 0x11, V3_OK, UA, "no subscription existed" },
    { 0x18, V3_OK, AU, "continue authentication" },
    { 0x19, V3_OK, AU, "re-authenticate" },
    { 0x80, V3_UNAVAILABLE, CA | PA | PR | SA | UA | DI, "unspecified error" },
    { 0x81, V3_UNAVAILABLE, CA | DI, "malformed packet" },
    { 0x82, V3_UNAVAILABLE, CA | DI, "protocol error" },
    { 0x83, V3_UNAVAILABLE, CA | PA | PR | SA | UA | DI,
      "implementation specific error" },
    { 0x84, V3_VERSION, CA, "unsupported protocol version" },
    { 0x85, V3_ID, CA, "client identifier not valid" },
    { 0x86, V3_LOGIN, CA, "bad user name or password" },
    { 0x87, V3_NOT_AUTHORIZED, CA | PA | PR | SA | UA | DI, "not authorized" },
    { 0x88, V3_UNAVAILABLE, CA, "server unavailable" },
    { 0x89, V3_UNAVAILABLE, CA | DI, "server busy" },
    { 0x8a, V3_NOT_AUTHORIZED, CA, "banned" },
    { 0x8b, V3_UNAVAILABLE, DI, "server shutting down" },
    { 0x8c, V3_LOGIN, CA | DI, "bad authentication method" },
    { 0x8d, V3_UNAVAILABLE, DI, "keep alive timeout" },
    { 0x8e, V3_UNAVAILABLE, DI, "session taken over" },
    { 0x8f, V3_NOT_AUTHORIZED, SA | UA | DI, "topic filter invalid" },
    { 0x90, V3_NOT_AUTHORIZED, CA | PA | PR | DI, "topic name invalid" },
    { 0x91, V3_UNAVAILABLE, PA | PR | SA | UA, "packet identifier in use" },
    { 0x92, V3_UNAVAILABLE, PL | PC, "packet identifier not found" },
    { 0x93, V3_UNAVAILABLE, DI, "receive maximum exceeded" },
    { 0x94, V3_UNAVAILABLE, DI, "topic alias invalid" },
    { 0x95, V3_UNAVAILABLE, CA | DI, "packet too large" },
    { 0x96, V3_UNAVAILABLE, DI, "message rate too high" },
    { 0x97, V3_UNAVAILABLE, CA | PA | PR | SA | DI, "quota exceeded" },
    { 0x98, V3_UNAVAILABLE, DI, "administrative action" },
    { 0x99, V3_NOT_AUTHORIZED, CA | PA | PR | DI, "payload format invalid" },
    { 0x9a, V3_NOT_AUTHORIZED, CA | DI, "retain not supported" },
    { 0x9b, V3_NOT_AUTHORIZED, CA | DI, "QoS not supported" },
    { 0x9c, V3_UNAVAILABLE, CA | DI, "use another server" },
    { 0x9d, V3_UNAVAILABLE, CA | DI, "server moved" },
    { 0x9e, V3_UNAVAILABLE, SA | DI, "shared subscriptions not supported" },
    { 0x9f, V3_UNAVAILABLE, CA | DI, "connection rate exceeded" },
    { 0xa0, V3_UNAVAILABLE, DI, "maximum connect time" },
    { 0xa1, V3_UNAVAILABLE, SA | DI, "subscription identifiers not supported" },
    { 0xa2, V3_UNAVAILABLE, SA | DI, "wildcard subscriptions not supported" },
};

static const struct row *find(unsigned reason)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        if (rows[i].code == reason)
            return &rows[i];
    }
    return NULL;
}

const char *bt_mqtt_reason_text(unsigned reason)
{
    const struct row *row = find(reason);

    return row != NULL ? row->text : "unknown reason";
}

uint8_t bt_mqtt_connack_v3(unsigned reason)
{
    const struct row *row = find(reason);

    return row != NULL ? row->v3 : V3_UNAVAILABLE;
}

uint8_t bt_mqtt_connack_v5(unsigned code)
{
    static const uint8_t reasons[] = { BT_MQTT_SUCCESS,       BT_MQTT_BAD_VERSION,
                                       BT_MQTT_BAD_CLIENT_ID, BT_MQTT_UNAVAILABLE,
                                       BT_MQTT_BAD_LOGIN,     BT_MQTT_NOT_AUTHORIZED };

    return code < BT_ARRAY_LEN(reasons) ? reasons[code] : BT_MQTT_UNSPECIFIED;
}

bool bt_mqtt_reason_ok(unsigned type, unsigned reason)
{
    const struct row *row = find(reason);

    return row != NULL && (row->packets & BT_MQTT_IN(type)) != 0;
}
