/* Free pages are given back. */
#include "hub/store/store_space.c"

#include "tests/hub/store_util.h"

static struct hub_store_tx tx;

TEST(a_file_shrinks_when_most_of_it_is_free)
{
    static char payload[3500];
    char path[128];
    int64_t before;
    uint64_t i;
    int steps = 0;

    snprintf(path, sizeof(path), "%s/hub.db", new_dir());
    memset(payload, 'p', sizeof(payload) - 1);
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, path), 0);
    for (i = 1; i <= 3000; i++) {
        struct hub_msg *m = message("t", payload);
        struct hub_op *op = enqueue_op(1, i, m, NULL);

        hub_msg_unref(m);
        CHECK_INT(hub_store_tx_apply(&tx, op), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        hub_op_free(op);
    }
    before = ask_db(tx.db, "PRAGMA page_count");
    CHECK(before > 3000);
    CHECK_INT(hub_store_shrink_begin(&tx), 0);
    CHECK(!tx.shrinking);
    CHECK_INT(hub_store_reap_finish(&tx, 1), 0);
    CHECK_INT(bt_db_exec(tx.db, "DELETE FROM queue; DELETE FROM message"), 0);
    CHECK_INT(hub_store_shrink_begin(&tx), 0);
    CHECK(tx.shrinking);
    while (tx.shrinking && steps++ < 100) {
        CHECK_INT(hub_store_shrink_step(&tx), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
    }
    CHECK(steps > 4);
    CHECK(ask_db(tx.db, "PRAGMA page_count") < before / 4);
    CHECK_INT(bt_db_check(tx.db, true), 0);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(a_budget_is_the_largest_size)
{
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    CHECK_INT(hub_store_space_limit(&tx, 8 << 20), 0);
    CHECK_INT(tx.group_bytes, 1 << 20);
    CHECK(ask_db(tx.db, "PRAGMA max_page_count") * 4096 <= 5 << 20);
    hub_store_tx_close(&tx);
}
