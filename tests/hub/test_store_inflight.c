/* QoS 2 in the store: released deliveries, identifiers of publishes, what a start finds
 * of them, and a store of the version before. */
#include "hub/store/store_inflight.c"

#include "tests/hub/store_util.h"

static struct hub_store_tx tx;
static char path[128];

static void open_path(const char *where)
{
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, where), 0);
}

static void run_op(struct hub_op *op)
{
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
}

static void put_row(uint64_t sid, uint64_t qseq)
{
    struct hub_msg *m = message("t", "x");

    run_op(enqueue_op(sid, qseq, m, NULL));
    hub_msg_unref(m);
}

static struct hub_op *pid_op(enum hub_op_kind kind, uint64_t sid, uint32_t pid)
{
    struct hub_op *op = hub_op_new(kind, sid);

    op->u32 = pid;
    return op;
}

static int64_t count(const char *table)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM %s", table);
    return ask_db(tx.db, sql);
}

static struct hub_store_rows *read_all(uint64_t sid)
{
    struct hub_op *op = seq_op(HUB_OP_READ, sid, 1);
    struct hub_store_rows *rows;

    op->u32 = 100;
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    rows = bt_steal(op->rows);
    hub_op_free(op);
    return rows;
}

TEST(a_released_row_lets_go_of_its_message)
{
    struct hub_msg *m = message("t", "x");

    open_path(NULL);
    run_op(enqueue_op(1, 1, m, NULL));
    run_op(enqueue_op(2, 1, m, NULL));
    run_op(seq_op(HUB_OP_RELEASE, 1, 1));
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    run_op(seq_op(HUB_OP_RELEASE, 1, 1)); /* twice is once */
    CHECK_INT(ask_db(tx.db, "SELECT refs FROM message"), 1);
    run_op(seq_op(HUB_OP_RELEASE, 2, 1));
    CHECK_INT(count("message"), 0);
    CHECK_INT(count("queue"), 2);
    run_op(seq_op(HUB_OP_RELEASE, 2, 77)); /* of a row that is not there */
    run_op(seq_op(HUB_OP_DEQUEUE, 1, 1));
    CHECK_INT(count("queue"), 1);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(released_rows_are_read_in_their_place)
{
    struct hub_store_rows *rows;
    struct hub_qentry *e;

    open_path(NULL);
    for (uint64_t i = 1; i <= 3; i++)
        put_row(1, i);
    run_op(seq_op(HUB_OP_RELEASE, 1, 2));
    rows = read_all(1);
    CHECK_INT(rows->n, 3);
    e = rows->head;
    CHECK(e->phase == HUB_Q_PUBLISH && e->msg != NULL && e->committed);
    e = e->next;
    CHECK(e->phase == HUB_Q_RELEASED && e->msg == NULL && e->committed);
    CHECK_INT(e->qseq, 2);
    CHECK(e->next->msg != NULL);
    hub_store_rows_free(rows);
    hub_store_tx_close(&tx);
}

TEST(a_row_whose_message_is_missing_is_passed_over)
{
    struct hub_store_rows *rows;

    open_path(NULL);
    put_row(1, 1);
    put_row(1, 2);
    CHECK_INT(bt_db_exec(tx.db, "DELETE FROM message WHERE mid=1"), 0);
    rows = read_all(1);
    CHECK_INT(rows->n, 1);
    CHECK_INT(rows->head->qseq, 2);
    hub_store_rows_free(rows);
    hub_store_tx_close(&tx);
}

TEST(released_in_the_transaction_that_stored_it)
{
    struct hub_msg *m = message("t", "x");
    struct hub_op *put = enqueue_op(1, 1, m, NULL);
    struct hub_op *release = seq_op(HUB_OP_RELEASE, 1, 1);

    open_path(NULL);
    CHECK_INT(hub_store_tx_apply(&tx, put), 0);
    run_op(release);
    hub_op_free(put);
    CHECK_INT(count("message"), 0);
    CHECK_INT(count("queue"), 1);
    hub_msg_unref(m);
    hub_store_tx_close(&tx);
}

TEST(a_session_ends_with_all_of_it)
{
    open_path(NULL);
    put_row(1, 1);
    put_row(1, 2);
    run_op(seq_op(HUB_OP_RELEASE, 1, 1));
    run_op(pid_op(HUB_OP_INCOMING_PUT, 1, 5));
    run_op(pid_op(HUB_OP_INCOMING_PUT, 2, 5));
    run_op(hub_op_new(HUB_OP_SESSION_DEL, 1));
    CHECK_INT(count("queue"), 0);
    CHECK_INT(count("message"), 0);
    CHECK_INT(count("incoming"), 1);
    hub_store_tx_close(&tx);
}

TEST(a_rollback_brings_both_back)
{
    struct hub_op *release = seq_op(HUB_OP_RELEASE, 1, 1);
    struct hub_op *pid = pid_op(HUB_OP_INCOMING_DEL, 1, 5);

    open_path(NULL);
    put_row(1, 1);
    run_op(pid_op(HUB_OP_INCOMING_PUT, 1, 5));
    CHECK_INT(hub_store_tx_apply(&tx, release), 0);
    CHECK_INT(hub_store_tx_apply(&tx, pid), 0);
    hub_store_tx_rollback(&tx);
    hub_store_tx_restore(release);
    hub_store_tx_restore(pid);
    CHECK_INT(ask_db(tx.db, "SELECT mid FROM queue"), 1);
    CHECK_INT(count("incoming"), 1);
    run_op(release);
    run_op(pid);
    CHECK_INT(ask_db(tx.db, "SELECT mid FROM queue"), -1);
    CHECK_INT(count("incoming"), 0);
    hub_store_tx_close(&tx);
}

struct told {
    int n;
    uint64_t sid;
    uint16_t pid;
};
static struct told told;

static int on_incoming(void *arg, uint64_t sid, uint16_t pid)
{
    (void)arg;
    told = (struct told){ told.n + 1, sid, pid };
    return 0;
}

static void load(struct seen *seen)
{
    struct hub_store_visitor v = visitor_of(seen);

    v.incoming = on_incoming;
    told = (struct told){ 0 };
    CHECK_INT(hub_store_tx_load(&tx, &v), 0);
}

TEST(a_start_tells_the_identifiers)
{
    struct seen seen;

    snprintf(path, sizeof(path), "%s/hub.db", new_dir());
    open_path(path);
    run_op(text_op(HUB_OP_SESSION_PUT, 3, "c"));
    run_op(pid_op(HUB_OP_INCOMING_PUT, 3, 65535));
    run_op(pid_op(HUB_OP_INCOMING_PUT, 3, 65535));
    run_op(pid_op(HUB_OP_INCOMING_PUT, 4, 1)); /* of a session that is gone */
    put_row(3, 7);
    run_op(seq_op(HUB_OP_RELEASE, 3, 7));
    hub_store_tx_close(&tx);
    open_path(path);
    load(&seen);
    CHECK_INT(told.n, 1);
    CHECK_INT(told.sid, 3);
    CHECK_INT(told.pid, 65535);
    CHECK_INT(count("incoming"), 1);
    CHECK_INT(seen.last, 7); /* the identifier of a released row stays in use */
    hub_store_tx_close(&tx);
    drop_dir();
}

/* The tables of version 1, with a session that waits for a message. */
static const char version_1[] =
    "CREATE TABLE message(mid INTEGER PRIMARY KEY, refs INT, topic TEXT, qos INT,"
    " retain INT, created INT, expires INT, props BLOB, payload BLOB);"
    "CREATE TABLE queue(sid INT, qseq INT, mid INT, flags INT, subids INT,"
    " PRIMARY KEY(sid, qseq)) WITHOUT ROWID;"
    "CREATE TABLE session(sid INTEGER PRIMARY KEY, client TEXT, principal TEXT,"
    " expiry INT, disconnected INT);"
    "CREATE TABLE subscription(sid INT, filter TEXT, options INT, subid INT,"
    " PRIMARY KEY(sid, filter)) WITHOUT ROWID;"
    "CREATE TABLE retained(topic TEXT PRIMARY KEY, qos INT, retain INT, created INT,"
    " expires INT, props BLOB, payload BLOB);"
    "INSERT INTO session VALUES(3, 'c', '', 4294967295, 0);"
    "INSERT INTO message VALUES(8, 1, 't', 1, 0, 0, 0, X'', X'78');"
    "INSERT INTO queue VALUES(3, 1, 8, 1, 0);"
    "PRAGMA user_version=1;";

TEST(a_store_of_the_version_before_goes_on)
{
    struct hub_store_rows *rows;
    struct bt_db *db;
    struct seen seen;
    int damaged = 0;

    snprintf(path, sizeof(path), "%s/hub.db", new_dir());
    CHECK_INT(bt_db_open(path, &db), 0);
    CHECK_INT(bt_db_exec(db, version_1), 0);
    bt_db_close(db);
    for (int start = 0; start < 2; start++) {
        open_path(path);
        each_file(count_damaged, &damaged);
        CHECK_INT(damaged, 0);
        CHECK_INT(ask_db(tx.db, "PRAGMA user_version"), 2);
        load(&seen);
        CHECK_INT(seen.sessions, 1);
        rows = read_all(3);
        CHECK_INT(rows->n, 1);
        hub_store_rows_free(rows);
        run_op(pid_op(HUB_OP_INCOMING_PUT, 3, 1));
        hub_store_tx_close(&tx);
    }
    drop_dir();
}
