/* Topic aliases: meaning, bounds, replacement, out of memory. */
#include "hub/protocol/alias.c"

#include <stdio.h>

#include "tests/harness.h"

static int set(struct hub_v5 **v, uint16_t alias, const char *topic)
{
    struct bt_slice t = bt_slice_of(topic);

    return hub_alias_resolve(v, 3, alias, &t);
}

static int get(struct hub_v5 **v, uint16_t alias, struct bt_slice *t)
{
    t->len = 0;
    return hub_alias_resolve(v, 3, alias, t);
}

TEST(an_alias_means_what_was_said_last)
{
    struct hub_v5 *v = NULL;
    struct bt_slice t;

    CHECK_INT(get(&v, 1, &t), BT_MQTT_PROTOCOL_ERROR);
    CHECK(v == NULL);
    CHECK_INT(set(&v, 1, "a"), 0);
    CHECK_INT(set(&v, 3, "ccc"), 0);
    CHECK_INT(get(&v, 1, &t), 0);
    CHECK_INT(t.len, 1);
    CHECK_INT(set(&v, 1, "bb"), 0);
    CHECK_INT(get(&v, 1, &t), 0);
    CHECK_MEM(t.ptr, "bb", 2);
    CHECK_INT(get(&v, 3, &t), 0);
    CHECK_MEM(t.ptr, "ccc", 3);
    CHECK_INT(get(&v, 2, &t), BT_MQTT_PROTOCOL_ERROR);
    CHECK_INT(v->in_bytes, 5);
    hub_v5_free(v);
}

TEST(aliases_that_were_not_announced)
{
    struct hub_v5 *v = NULL;

    CHECK_INT(set(&v, 0, "a"), BT_MQTT_BAD_ALIAS);
    CHECK_INT(set(&v, 4, "a"), BT_MQTT_BAD_ALIAS);
    CHECK(v == NULL);
}

TEST(topics_of_a_client_are_bounded)
{
    static uint8_t text[65535];
    struct bt_slice t = { text, sizeof(text) };
    struct hub_v5 *v = NULL;

    CHECK_INT(hub_alias_resolve(&v, 3, 1, &t), 0);
    CHECK_INT(hub_alias_resolve(&v, 3, 2, &t), 0);
    CHECK_INT(hub_alias_resolve(&v, 3, 3, &t), BT_MQTT_QUOTA);
    CHECK_INT(hub_alias_resolve(&v, 3, 1, &t), 0);
    CHECK_INT(set(&v, 1, "short"), 0);
    t.len = 60000;
    CHECK_INT(hub_alias_resolve(&v, 3, 3, &t), 0);
    hub_v5_free(v);
}

TEST(no_memory_for_an_alias)
{
    for (unsigned long n = 1; n <= 3; n++) {
        struct hub_v5 *v = NULL;

        bt_mem_fail_from(n);
        CHECK_INT(set(&v, 1, "a"), BT_MQTT_QUOTA);
        bt_mem_fail_from(0);
        CHECK_INT(set(&v, 1, "a"), 0);
        hub_v5_free(v);
    }
}

/* As the connection does: 0 none, the alias, or minus the alias when it is new. */
static int send_topic(struct hub_v5 *v, const char *topic)
{
    bool known;
    uint16_t alias = hub_alias_for(v, bt_slice_of(topic), &known);

    if (alias != 0 && !known)
        hub_alias_sent(v, alias, bt_slice_of(topic));
    return known ? alias : -(int)alias;
}

TEST(aliases_to_the_client)
{
    struct hub_v5 v = { .max_out = 2 };

    CHECK_INT(send_topic(&v, "short"), 0);
    CHECK_INT(send_topic(&v, "topic/number/1"), -1);
    CHECK_INT(send_topic(&v, "topic/number/1"), 1);
    CHECK_INT(send_topic(&v, "topic/number/2"), -2);
    /* Both are spared once, then the first place is taken. */
    CHECK_INT(send_topic(&v, "topic/number/3"), 0);
    CHECK_INT(send_topic(&v, "topic/number/4"), 0);
    CHECK_INT(send_topic(&v, "topic/number/2"), 2);
    CHECK_INT(send_topic(&v, "topic/number/5"), -1);
    CHECK_INT(send_topic(&v, "topic/number/2"), 2);
    CHECK_INT(send_topic(&v, "topic/number/5"), 1);
    for (uint16_t i = 0; i < v.max_out; i++)
        bt_free(v.out[i].topic);
    bt_free(v.out);
}

TEST(a_packet_that_was_not_written_teaches_nothing)
{
    struct hub_v5 v = { .max_out = 1 };
    bool known;

    CHECK_INT(hub_alias_for(&v, bt_slice_of("topic/number/1"), &known), 1);
    CHECK_INT(hub_alias_for(&v, bt_slice_of("topic/number/1"), &known), 1);
    CHECK(!known);
    bt_mem_fail_from(1);
    hub_alias_sent(&v, 1, bt_slice_of("topic/number/1"));
    bt_mem_fail_from(0);
    CHECK_INT(hub_alias_for(&v, bt_slice_of("topic/number/1"), &known), 1);
    CHECK(!known);
    bt_free(v.out);
}
