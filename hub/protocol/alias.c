/* Topic aliases (MQTT 5.0 §3.3.2.3.4), one small table each way.
 *
 * From the client: it chooses; the table has as many places as were announced, is made on
 * the first alias, and all its topics together are bounded. To the client: the hub
 * chooses. A topic gets a free place; when there is none, a hand goes round: a place used
 * since it last came by is spared once, and the message then goes without an alias, so
 * that a stream of ever new topics does not push out those that come often.
 *
 * Failure modes: an alias that was not announced or has no meaning is the client's
 * mistake; out of memory means no alias. */
#include "hub/protocol/v5.h"

#include <string.h>

#include "core/mem.h"

void hub_v5_free(struct hub_v5 *v)
{
    if (v == NULL)
        return;
    for (uint16_t i = 0; v->in != NULL && i < v->n_in; i++)
        bt_free(v->in[i].topic);
    for (uint16_t i = 0; v->out != NULL && i < v->max_out; i++)
        bt_free(v->out[i].topic);
    bt_free(v->in);
    bt_free(v->out);
    bt_free(v);
}

/* ---- From the client ---- */

static bool make_in(struct hub_v5 **vp, uint16_t most)
{
    if (*vp == NULL)
        *vp = bt_calloc(1, sizeof(**vp));
    if (*vp != NULL && (*vp)->in == NULL) {
        (*vp)->in = bt_calloc(most, sizeof(*(*vp)->in));
        (*vp)->n_in = most;
    }
    return *vp != NULL && (*vp)->in != NULL;
}

static int set_in(struct hub_v5 *v, struct hub_alias_in *a, struct bt_slice topic)
{
    uint8_t *copy;

    if (a->len == topic.len && memcmp(a->topic, topic.ptr, topic.len) == 0)
        return 0;
    if (v->in_bytes - a->len + topic.len > HUB_ALIAS_IN_BYTES)
        return BT_MQTT_QUOTA;
    copy = bt_malloc(topic.len);
    if (copy == NULL)
        return BT_MQTT_QUOTA;
    memcpy(copy, topic.ptr, topic.len);
    v->in_bytes = v->in_bytes - a->len + (uint32_t)topic.len;
    bt_free(a->topic);
    a->topic = copy;
    a->len = (uint32_t)topic.len;
    return 0;
}

int hub_alias_resolve(struct hub_v5 **vp, uint16_t most, uint16_t alias,
                      struct bt_slice *topic)
{
    struct hub_alias_in *a;

    if (*vp != NULL && (*vp)->in != NULL)
        most = (*vp)->n_in; /* the configuration may have changed since */
    if (alias == 0 || alias > most)
        return BT_MQTT_BAD_ALIAS;
    if (topic->len == 0 && (*vp == NULL || (*vp)->in == NULL))
        return BT_MQTT_PROTOCOL_ERROR;
    if (!make_in(vp, most))
        return BT_MQTT_QUOTA;
    a = &(*vp)->in[alias - 1];
    if (topic->len > 0)
        return set_in(*vp, a, *topic);
    if (a->len == 0)
        return BT_MQTT_PROTOCOL_ERROR; /* §3.3.4: no mapping was made */
    *topic = (struct bt_slice){ a->topic, a->len };
    return 0;
}

/* ---- To the client ---- */

static struct hub_alias_out *place(struct hub_v5 *v)
{
    struct hub_alias_out *a;

    if (v->out == NULL) {
        v->out = bt_calloc(v->max_out, sizeof(*v->out));
        if (v->out == NULL)
            return NULL;
    }
    a = &v->out[v->hand];
    v->hand = (uint16_t)((v->hand + 1) % v->max_out);
    if (a->used) {
        a->used = false;
        return NULL;
    }
    return a;
}

uint16_t hub_alias_for(struct hub_v5 *v, struct bt_slice topic, bool *known)
{
    struct hub_alias_out *a;

    *known = false;
    if (v->max_out == 0 || topic.len < HUB_ALIAS_OUT_MIN || topic.len > HUB_ALIAS_OUT_MAX)
        return 0;
    for (uint16_t i = 0; v->out != NULL && i < v->max_out; i++) {
        a = &v->out[i];
        if (a->len == topic.len && memcmp(a->topic, topic.ptr, topic.len) == 0) {
            a->used = *known = true;
            return (uint16_t)(i + 1);
        }
    }
    a = place(v);
    return a == NULL ? 0 : (uint16_t)(a - v->out + 1);
}

void hub_alias_sent(struct hub_v5 *v, uint16_t alias, struct bt_slice topic)
{
    struct hub_alias_out *a = &v->out[alias - 1];
    uint8_t *copy = bt_malloc(topic.len);

    bt_free(a->topic);
    *a = (struct hub_alias_out){ .topic = copy };
    if (copy == NULL)
        return; /* the client holds a meaning that is never used */
    memcpy(copy, topic.ptr, topic.len);
    a->len = (uint16_t)topic.len;
    a->used = true;
}
