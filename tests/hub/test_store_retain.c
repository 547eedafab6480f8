/* Retained messages within one transaction: the last of a topic is what is written. */
#include "hub/store/store_retain.c"

#include "tests/hub/store_util.h"

static struct hub_store_tx tx;

static struct hub_op *retain(const char *topic, const char *payload)
{
    struct hub_op *op;

    if (payload == NULL)
        return text_op(HUB_OP_RETAIN_DEL, 0, topic);
    op = hub_op_new(HUB_OP_RETAIN_PUT, 0);
    op->retained = message(topic, payload);
    return op;
}

static void apply(struct hub_op **ops, size_t n)
{
    tx.written = tx.skipped = 0;
    for (size_t i = 0; i < n; i++)
        CHECK_INT(hub_store_tx_apply(&tx, ops[i]), 0);
}

static void free_all(struct hub_op **ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hub_op_free(ops[i]);
}

TEST(only_the_last_of_a_topic_is_written)
{
    struct hub_op *ops[] = { retain("a", "1"), retain("b", "1"), retain("a", "2"),
                             retain("c", "1"), retain("a", "3"), retain("c", NULL) };

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    apply(ops, BT_ARRAY_LEN(ops));
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(ops, BT_ARRAY_LEN(ops));
    CHECK_INT(tx.written, 2);
    CHECK_INT(tx.skipped, 3);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained"), 2);
    CHECK_INT(ask_db(tx.db, "SELECT payload FROM retained WHERE topic='a'"), 3);
    hub_store_tx_close(&tx);
}

TEST(a_removal_that_is_replaced)
{
    struct hub_op *first[] = { retain("a", "1") };
    struct hub_op *ops[] = { retain("a", NULL), retain("a", "7") };

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    apply(first, 1);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(first, 1);
    apply(ops, 2);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(ops, 2);
    CHECK_INT(ask_db(tx.db, "SELECT payload FROM retained"), 7);
    hub_store_tx_close(&tx);
}

TEST(a_rollback_forgets)
{
    struct hub_op *ops[] = { retain("a", "1"), retain("b", "1") };

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    apply(ops, 2);
    hub_store_tx_rollback(&tx);
    CHECK_INT(tx.retains.n, 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained"), 0);
    apply(ops, 2);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(ops, 2);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained"), 2);
    hub_store_tx_close(&tx);
}

TEST(more_topics_than_fit)
{
    static struct hub_op *ops[HUB_STORE_GROUP + 100];
    char topic[32];

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(ops); i++) {
        snprintf(topic, sizeof(topic), "t/%zu", i);
        ops[i] = retain(topic, "x");
    }
    apply(ops, BT_ARRAY_LEN(ops));
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(ops, BT_ARRAY_LEN(ops));
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained"), HUB_STORE_GROUP + 100);
    hub_store_tx_close(&tx);
}

TEST(an_expiry_in_the_group_of_its_message_leaves_no_older_one)
{
    struct hub_op *first[] = { retain("a", "1") };
    struct hub_op *ops[] = { retain("a", "2"), retain("a", NULL) };

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    apply(first, 1);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(first, 1);
    ops[1]->when = ops[0]->retained->expires_ms = 5000;
    apply(ops, 2);
    hub_store_tx_rollback(&tx); /* tried again */
    apply(ops, 2);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    free_all(ops, 2);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained"), 0);
    hub_store_tx_close(&tx);
}

TEST(workers_that_tell_in_another_order)
{
    struct hub_retain *tree = hub_retain_new();
    struct hub_op *ops[] = { retain("a", "2"), retain("a", "1") };
    struct hub_op *more[] = { retain("b", NULL), retain("b", "1"), retain("c", "1"),
                              retain("c", NULL) };

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, NULL), 0);
    tx.retain = tree;
    CHECK_INT(hub_retain_put(tree, ops[1]->retained), 0);
    CHECK_INT(hub_retain_put(tree, ops[0]->retained), 0);
    for (size_t i = 0; i < 2; i++) { /* each in a commit of its own */
        apply(&ops[i], 1);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
        CHECK_INT(ask_db(tx.db, "SELECT payload FROM retained"), 2);
    }
    CHECK_INT(hub_retain_put(tree, more[2]->retained), 0);
    apply(more, 4); /* b was removed last, c was set last */
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained WHERE topic='b'"), 0);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM retained WHERE topic='c'"), 1);
    free_all(ops, 2);
    free_all(more, 4);
    hub_store_tx_close(&tx);
    hub_retain_free(tree);
}
