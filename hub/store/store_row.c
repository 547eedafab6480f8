/* Rows as they come from the disk. The file may be sound and its values not: bits change,
 * people have tools, programs have faults. What makes no sense is passed over and the hub
 * starts; nothing of it reaches a client.
 *
 * A message whose topic is none becomes one that expired long ago, so that it goes the
 * way of all expired messages and its row with it; properties that are none are left out.
 * A session or a subscription that makes no sense is not loaded. */
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "hub/session/session.h"
#include "hub/store/store_tx.h"

#define TRAVELLING                                                       \
    (1u << BT_MQTT_P_PAYLOAD_FORMAT | 1u << BT_MQTT_P_CONTENT_TYPE |     \
     1u << BT_MQTT_P_RESPONSE_TOPIC | 1u << BT_MQTT_P_CORRELATION_DATA | \
     1u << BT_MQTT_P_USER)
#define LONG_AGO 1                  /* ms */
#define LAST_MS  ((int64_t)1 << 52) /* later than any time that is meant */
#define HEAD_LEN 9u                 /* of the packet that try_props builds */

static void nonsense(const char *what)
{
    bt_log(BT_LOG_WARN, "HUB-STORE-ROW", "a row of the store makes no sense, passed over",
           "what=%s", what);
}

/* Whether the codec reads them as properties that travel with a message: as those of a
 * PUBLISH. 1 yes, 0 no, BT_ENOMEM. */
static int try_props(struct bt_slice props)
{
    size_t rest = 3 + props.len;
    struct bt_mqtt_publish m;
    struct bt_mqtt_props p;
    uint8_t *packet;
    size_t n = 1;
    int r;

    if (props.len > UINT16_MAX)
        return 0;
    packet = bt_malloc(HEAD_LEN + 3 + props.len);
    if (packet == NULL)
        return BT_ENOMEM;
    packet[0] = BT_MQTT_PUBLISH << 4;
    rest += bt_mqtt_varint(packet + 1, (uint32_t)props.len);
    n += bt_mqtt_varint(packet + 1, (uint32_t)rest);
    memcpy(packet + n, "\0\1t", 3);
    n += 3;
    n += bt_mqtt_varint(packet + n, (uint32_t)props.len);
    memcpy(packet + n, props.ptr, props.len);
    r = bt_mqtt_decode_publish(packet, n + props.len, BT_MQTT_50, &m, &p);
    r = r == 0 && m.payload.len == 0 && (p.present & ~(uint32_t)TRAVELLING) == 0;
    bt_free(packet);
    return r;
}

int64_t hub_store_row_time(int64_t ms)
{
    return BT_MIN(BT_MAX(ms, 0), LAST_MS);
}

struct hub_msg *hub_store_row_msg(struct bt_db *db, unsigned stmt, int column)
{
    struct hub_pub pub = {
        .topic = bt_db_blob(db, stmt, column),
        .qos = (uint8_t)BT_MIN(bt_db_int(db, stmt, column + 1) & 3, 2),
        .retain = bt_db_int(db, stmt, column + 2) != 0,
        .props = bt_db_blob(db, stmt, column + 5),
        .payload = bt_db_blob(db, stmt, column + 6),
    };
    bool spoiled = pub.topic.len > UINT16_MAX || !bt_mqtt_topic_ok(pub.topic);
    int good = pub.props.len == 0 ? 1 : try_props(pub.props);
    struct hub_msg *m;

    if (good < 0)
        return NULL;
    if (good == 0)
        pub.props.len = 0;
    if (spoiled) {
        pub.topic = (struct bt_slice){ (const uint8_t *)"-", 1 };
        pub.payload.len = 0;
    }
    if (spoiled || good == 0)
        nonsense(spoiled ? "topic" : "properties");
    m = hub_msg_new(&pub);
    if (m == NULL)
        return NULL;
    m->created_ms = hub_store_row_time(bt_db_int(db, stmt, column + 3));
    m->expires_ms = hub_store_row_time(bt_db_int(db, stmt, column + 4));
    if (spoiled)
        m->expires_ms = m->created_ms = LONG_AGO;
    return m;
}

bool hub_store_row_spoiled(const struct hub_msg *m)
{
    return m->expires_ms == LONG_AGO;
}

bool hub_store_row_session(uint64_t sid, const char *client, uint64_t first_qseq,
                           uint64_t last_qseq)
{
    struct bt_slice id = { (const uint8_t *)client, strlen(client) };
    bool ok = sid > 0 && sid < HUB_STORE_LAST_KEY && first_qseq <= last_qseq &&
              last_qseq < HUB_STORE_LAST_KEY && id.len > 0 &&
              id.len <= HUB_MAX_CLIENT_ID && bt_mqtt_utf8_ok(id);

    if (!ok)
        nonsense("session");
    return ok;
}

bool hub_store_row_filter(const char *filter)
{
    struct bt_slice f = { (const uint8_t *)filter, strlen(filter) };
    bool ok = f.len <= UINT16_MAX && bt_mqtt_filter_ok(f);

    if (!ok)
        nonsense("subscription");
    return ok;
}

uint32_t hub_store_row_subid(int64_t subid)
{
    return subid > 0 && subid <= (int64_t)BT_MQTT_MAX_REMAINING ? (uint32_t)subid : 0;
}
