/* Opening: what is found again, what is set aside. */
#include "hub/store/store_load.c"

#include <sys/wait.h>

#include "tests/hub/store_util.h"

static struct hub_store_tx tx;
static char path[128];

static void open_store_file(void)
{
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, path), 0);
}

static void begin_test(void)
{
    snprintf(path, sizeof(path), "%s/hub.db", new_dir());
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

static int damaged_files(void)
{
    int n = 0;

    each_file(count_damaged, &n);
    return n;
}

static void overwrite(const char *what, size_t n, long at)
{
    FILE *f = fopen(path, at == 0 ? "wb" : "r+b");

    CHECK(f != NULL);
    fseek(f, at, SEEK_SET);
    fwrite(what, 1, n, f);
    fclose(f);
}

TEST(a_restart_finds_everything)
{
    struct hub_op *op = text_op(HUB_OP_SESSION_PUT, 9, "client");
    struct hub_store_visitor v;
    struct seen seen;
    struct stat st;
    uint64_t i;

    begin_test();
    open_store_file();
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    op->text2 = bt_strdup("who");
    op->u32 = UINT32_MAX;
    op->when = 1234567890123;
    run_op(op);
    op = text_op(HUB_OP_SUB_PUT, 9, "a/+");
    op->u32 = 0x2d;
    op->u32b = 77;
    run_op(op);
    op = hub_op_new(HUB_OP_RETAIN_PUT, 0);
    op->retained = message("r/t", "kept");
    run_op(op);
    for (i = 5; i <= 8; i++)
        put_row(9, i);
    run_op(seq_op(HUB_OP_DEQUEUE, 9, 6));
    hub_store_tx_close(&tx);

    open_store_file();
    v = visitor_of(&seen);
    CHECK_INT(hub_store_tx_load(&tx, &v), 0);
    CHECK_INT(seen.sessions, 1);
    CHECK_INT(seen.sid, 9);
    CHECK_STR(seen.client, "client");
    CHECK_STR(seen.principal, "who");
    CHECK_INT(seen.expiry, UINT32_MAX);
    CHECK_INT(seen.disconnected, 1234567890123);
    CHECK_INT(seen.first, 5);
    CHECK_INT(seen.last, 8);
    CHECK_INT(seen.rows, 3);
    CHECK_INT(seen.subs, 1);
    CHECK_STR(seen.filter, "a/+");
    CHECK_INT(seen.options, 0x2d);
    CHECK_INT(seen.subid, 77);
    CHECK_INT(seen.retained, 1);
    CHECK_STR(seen.topic, "r/t");
    CHECK_STR(seen.payload, "kept");
    CHECK_INT(tx.max_sid, 9);
    CHECK_INT(tx.next_mid, 5);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(an_empty_queue_starts_at_zero)
{
    struct hub_store_visitor v;
    struct seen seen;

    begin_test();
    open_store_file();
    run_op(text_op(HUB_OP_SESSION_PUT, 3, "c"));
    v = visitor_of(&seen);
    CHECK_INT(hub_store_tx_load(&tx, &v), 0);
    CHECK_INT(seen.first, 0);
    CHECK_INT(seen.last, 0);
    CHECK_INT(seen.rows, 0);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(a_queue_without_session_is_removed)
{
    struct hub_store_visitor v;
    struct seen seen;

    begin_test();
    open_store_file();
    run_op(text_op(HUB_OP_SESSION_PUT, 3, "c"));
    put_row(3, 1);
    put_row(12, 1);
    run_op(text_op(HUB_OP_SUB_PUT, 12, "lost"));
    v = visitor_of(&seen);
    CHECK_INT(hub_store_tx_load(&tx, &v), 0);
    CHECK_INT(seen.sessions, 1);
    CHECK_INT(seen.subs, 0);
    CHECK_INT(tx.max_sid, 12);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 1);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message"), 1);
    hub_store_tx_close(&tx);
    drop_dir();
}

static int refuse(void *arg, uint64_t sid, const char *filter, uint32_t options,
                  uint32_t subid)
{
    (void)arg;
    (void)sid;
    (void)filter;
    (void)options;
    (void)subid;
    return BT_ENOMEM;
}

TEST(the_visitor_can_refuse)
{
    struct hub_store_visitor v;
    struct seen seen;

    begin_test();
    open_store_file();
    run_op(text_op(HUB_OP_SESSION_PUT, 3, "c"));
    run_op(text_op(HUB_OP_SUB_PUT, 3, "f"));
    v = visitor_of(&seen);
    v.subscription = refuse;
    CHECK_INT(hub_store_tx_load(&tx, &v), BT_ENOMEM);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(what_is_no_database_is_set_aside)
{
    char garbage[8192];

    memset(garbage, 'g', sizeof(garbage));
    begin_test();
    overwrite(garbage, sizeof(garbage), 0);
    open_store_file();
    CHECK_INT(damaged_files(), 1);
    put_row(1, 1);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(a_broken_page_is_set_aside)
{
    char garbage[4096];
    uint64_t i;

    memset(garbage, 0x5a, sizeof(garbage));
    begin_test();
    open_store_file();
    for (i = 1; i < 300; i++)
        put_row(1, i);
    hub_store_tx_close(&tx);
    overwrite(garbage, sizeof(garbage), 4096);
    open_store_file();
    CHECK_INT(damaged_files(), 1);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 299);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(another_schema_is_set_aside)
{
    struct bt_db *db;

    begin_test();
    CHECK_INT(bt_db_open(path, &db), 0);
    CHECK_INT(bt_db_exec(db, "CREATE TABLE message(x); PRAGMA user_version=1"), 0);
    bt_db_close(db);
    open_store_file();
    CHECK_INT(damaged_files(), 1);
    hub_store_tx_close(&tx);
    each_file(remove_file, NULL);

    CHECK_INT(bt_db_open(path, &db), 0);
    CHECK_INT(bt_db_exec(db, "PRAGMA user_version=99"), 0);
    bt_db_close(db);
    open_store_file();
    CHECK_INT(damaged_files(), 1);
    CHECK_INT(ask_db(tx.db, "PRAGMA user_version"), STORE_VERSION);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(a_note_asks_for_a_check)
{
    begin_test();
    open_store_file();
    put_row(1, 1);
    hub_store_tx_close(&tx);
    hub_store_note(path);
    CHECK(hub_store_noted(path));
    open_store_file();
    CHECK(!hub_store_noted(path));
    CHECK_INT(damaged_files(), 0);
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 1);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(only_one_opens_it)
{
    static struct hub_store_tx second;

    begin_test();
    open_store_file();
    put_row(1, 1);
    CHECK_INT(hub_store_tx_open(&second, path), BT_EBUSY);
    hub_store_tx_close(&second);
    put_row(1, 2);
    CHECK_INT(damaged_files(), 0);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(another_process_is_refused)
{
    pid_t pid;
    int status;

    begin_test();
    open_store_file();
    put_row(1, 1);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        static struct hub_store_tx child;

        _exit(hub_store_tx_open(&child, path) == BT_EBUSY ? 42 : 1);
    }
    CHECK(pid > 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 42);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(a_killed_process_leaves_all_it_committed)
{
    pid_t pid;
    int status;

    begin_test();
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        uint64_t i;

        open_store_file();
        for (i = 1; i <= 10; i++)
            put_row(1, i);
        _exit(0);
    }
    CHECK(pid > 0);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    open_store_file();
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue"), 10);
    CHECK_INT(damaged_files(), 0);
    hub_store_tx_close(&tx);
    drop_dir();
}

TEST(no_file_is_made_where_none_can_be)
{
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, "/nonexistent-folder/hub.db"), BT_EIO);
    hub_store_tx_close(&tx);
}
