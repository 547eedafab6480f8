/* Values of rows that no hub wrote. */
#include "hub/store/store_row.c"

#include "tests/harness.h"

static const char *const sql[] = { "SELECT ?1, ?2, 1, ?3, ?4, ?5, ?6" };

static struct hub_msg *row(struct bt_slice topic, int64_t qos, int64_t expires,
                           const char *props, size_t n_props)
{
    struct hub_msg *m;
    struct bt_db *db;

    bt_log_set_level(BT_LOG_ERROR);
    CHECK_INT(bt_db_open(NULL, &db), 0);
    CHECK_INT(bt_db_prepare(db, sql, 1), 0);
    bt_db_bind_text(db, 0, 1, topic);
    bt_db_bind_int(db, 0, 2, qos);
    bt_db_bind_int(db, 0, 3, INT64_MAX);
    bt_db_bind_int(db, 0, 4, expires);
    bt_db_bind_blob(db, 0, 5, (struct bt_slice){ (const uint8_t *)props, n_props });
    bt_db_bind_blob(db, 0, 6, (struct bt_slice){ (const uint8_t *)"payload", 7 });
    CHECK_INT(bt_db_step(db, 0), BT_DB_ROW);
    m = hub_store_row_msg(db, 0, 0);
    bt_db_reset(db, 0);
    bt_db_close(db);
    CHECK(m != NULL);
    return m;
}

TEST(a_sound_row_stays_as_it_is)
{
    struct hub_msg *m = row(bt_slice_of("a/b"), 1, 1700000000000, "\x01\x01", 2);

    CHECK(!hub_store_row_spoiled(m));
    CHECK_INT(m->qos, 1);
    CHECK_INT(m->expires_ms, 1700000000000);
    CHECK_INT(m->props_len, 2);
    CHECK_INT(m->payload_len, 7);
    hub_msg_unref(m);
}

TEST(a_topic_that_is_none_spoils_the_message)
{
    static const char *const topics[] = { "", "a/+", "#", "a\xff" };
    static uint8_t long_topic[70000];

    memset(long_topic, 'x', sizeof(long_topic));
    for (size_t i = 0; i <= BT_ARRAY_LEN(topics); i++) {
        struct bt_slice long_one = { long_topic, sizeof(long_topic) };
        struct hub_msg *m = row(
            i < BT_ARRAY_LEN(topics) ? bt_slice_of(topics[i]) : long_one, 1, 0, NULL, 0);

        CHECK(hub_store_row_spoiled(m));
        CHECK_INT(m->payload_len, 0);
        hub_msg_unref(m);
    }
}

TEST(properties_that_do_not_travel_are_left_out)
{
    static const struct {
        const char *bytes;
        size_t n;
    } props[] = { { "\x01\x07", 2 },
                  { "\x23\x00\x01", 3 },
                  { "\xff", 1 },
                  { "\x26\x00", 2 },
                  { "\x02\x00\x00\x00\x01", 5 } };

    for (size_t i = 0; i < BT_ARRAY_LEN(props); i++) {
        struct hub_msg *m =
            row(bt_slice_of("a"), 3, INT64_MIN, props[i].bytes, props[i].n);

        CHECK_INT(m->props_len, 0);
        CHECK_INT(m->qos, 2);
        CHECK_INT(m->expires_ms, 0);
        CHECK_INT(m->created_ms, LAST_MS);
        CHECK(!hub_store_row_spoiled(m));
        hub_msg_unref(m);
    }
}

TEST(sessions_subscriptions_identifiers)
{
    char id[HUB_MAX_CLIENT_ID + 2];

    memset(id, 'x', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    CHECK(hub_store_row_session(1, "a", 0, 0));
    CHECK(!hub_store_row_session(0, "a", 0, 0));
    CHECK(!hub_store_row_session((uint64_t)-1, "a", 0, 0));
    CHECK(!hub_store_row_session(1, "", 0, 0));
    CHECK(!hub_store_row_session(1, id, 0, 0));
    CHECK(!hub_store_row_session(1, "a", 1, (uint64_t)INT64_MAX));
    CHECK(!hub_store_row_session(1, "a", 5, 4));
    CHECK(hub_store_row_filter("$share/g/a/+"));
    CHECK(!hub_store_row_filter("a/#/b"));
    CHECK(!hub_store_row_filter(""));
    CHECK_INT(hub_store_row_subid(0), 0);
    CHECK_INT(hub_store_row_subid(-1), 0);
    CHECK_INT(hub_store_row_subid(268435455), 268435455);
    CHECK_INT(hub_store_row_subid(268435456), 0);
}
