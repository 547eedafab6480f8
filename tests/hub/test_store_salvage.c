/* Damage of every kind to every page of a store and of its log: it opens, and what can be
 * read is there. */
#include "hub/store/store_salvage.c"

#include <sys/wait.h>

#include "tests/hub/store_util.h"

#define SESSIONS 20u
#define ROWS     30u /* of each */
#define PAGE     4096

static struct hub_store_tx tx;
static char path[128], log_path[136];

static void run_op(struct hub_op *op)
{
    CHECK_INT(hub_store_tx_apply(&tx, op), 0);
    CHECK_INT(hub_store_tx_commit(&tx), 0);
    hub_op_free(op);
}

static void put_session(uint64_t sid)
{
    struct hub_op *op;
    char text[64];

    snprintf(text, sizeof(text), "client-%u", (unsigned)sid);
    op = text_op(HUB_OP_SESSION_PUT, sid, text);
    op->text2 = bt_strdup("");
    op->u32 = UINT32_MAX;
    run_op(op);
    op = text_op(HUB_OP_SUB_PUT, sid, "a/+/b");
    op->u32 = 1;
    run_op(op);
    op = hub_op_new(HUB_OP_RETAIN_PUT, 0);
    snprintf(text, sizeof(text), "r/%u", (unsigned)sid);
    op->retained = message(text, "kept");
    run_op(op);
}

/* Messages for two sessions each, some of them long, some delivered already. */
static void put_rows(void)
{
    static char payload[3 * PAGE];
    uint64_t i, s;

    memset(payload, 'p', sizeof(payload) - 1);
    for (i = 1; i <= ROWS; i++) {
        for (s = 1; s < SESSIONS; s += 2) {
            struct hub_msg *m =
                message("a/x/b", payload + (i % 7 == 0 ? 0 : sizeof(payload) - 200));

            run_op(enqueue_op(s, i, m, NULL));
            run_op(enqueue_op(s + 1, i, m, NULL));
            hub_msg_unref(m);
        }
    }
    for (s = 1; s <= SESSIONS; s++) {
        struct hub_op *op = hub_op_new(HUB_OP_INCOMING_PUT, s);

        for (i = 1; i <= 10; i++)
            run_op(seq_op(HUB_OP_DEQUEUE, s, i));
        run_op(seq_op(HUB_OP_RELEASE, s, 11)); /* a row without a message */
        op->u32 = (uint32_t)(s * 3000);
        run_op(op);
    }
}

/* A store as a killed process leaves it: part of it in the log. */
static void build(void)
{
    pid_t pid;
    int status;

    snprintf(path, sizeof(path), "%s/hub.db", new_dir());
    snprintf(log_path, sizeof(log_path), "%s-wal", path);
    memset(&tx, 0, sizeof(tx));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        uint64_t s;

        CHECK_INT(hub_store_tx_open(&tx, path), 0);
        for (s = 1; s <= SESSIONS; s++)
            put_session(s);
        bt_db_checkpoint(tx.db, false);
        put_rows();
        _exit(0);
    }
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
}

struct bytes {
    char *p;
    size_t n;
};

static struct bytes read_all(const char *from)
{
    struct bytes b = { NULL, 0 };
    FILE *f = fopen(from, "rb");

    if (f == NULL)
        return b;
    fseek(f, 0, SEEK_END);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.p = malloc(b.n + 1);
    CHECK_INT(fread(b.p, 1, b.n, f), b.n);
    fclose(f);
    return b;
}

static void write_all(const char *to, const struct bytes *b, size_t n)
{
    FILE *f = fopen(to, "wb");

    CHECK_INT(fwrite(b->p, 1, n, f), n);
    fclose(f);
}

static struct bytes file, wal;

static void restore(void)
{
    each_file(remove_file, NULL);
    write_all(path, &file, file.n);
    if (wal.p != NULL)
        write_all(log_path, &wal, wal.n);
}

/* Identifiers of publishes and released deliveries that the last open found. */
static int64_t exchanges;

enum harm { ZERO, FLIP, NOISE, CUT, N_HARMS };

static void harm(const char *victim, const struct bytes *was, size_t page, enum harm how)
{
    struct bytes b = { malloc(was->n), was->n };
    size_t at = page * PAGE, n = BT_MIN((size_t)PAGE, was->n - at), i;

    memcpy(b.p, was->p, was->n);
    if (how == ZERO)
        memset(b.p + at, 0, n);
    for (i = 0; how == FLIP && i < n; i += 97)
        b.p[at + i] = (char)(b.p[at + i] ^ 1 << i % 8);
    for (i = 0; how == NOISE && i < n; i++)
        b.p[at + i] = (char)(i * 7919 % 251);
    write_all(victim, &b, how == CUT ? at : b.n);
    free(b.p);
}

/* Opens, loads and works; how many queue rows are there. */
static int64_t open_and_count(void)
{
    struct hub_store_visitor v;
    struct seen seen;
    int64_t rows;

    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, path), 0);
    v = visitor_of(&seen);
    CHECK_INT(hub_store_tx_load(&tx, &v), 0);
    while (tx.reap != NULL) {
        CHECK_INT(hub_store_reap_step(&tx), 0);
        CHECK_INT(hub_store_tx_commit(&tx), 0);
    }
    put_session(SESSIONS + 1);
    rows = ask_db(tx.db, "SELECT COUNT(*) FROM queue");
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE mid>0 AND mid NOT IN"
                            " (SELECT mid FROM message)"),
              0);
    exchanges = ask_db(tx.db, "SELECT COUNT(*) FROM incoming") +
                ask_db(tx.db, "SELECT COUNT(*) FROM queue WHERE mid<0");
    CHECK_INT(ask_db(tx.db, "SELECT COUNT(*) FROM message m WHERE refs<>"
                            " (SELECT COUNT(*) FROM queue q WHERE q.mid=m.mid)"),
              0);
    CHECK_INT(bt_db_check(tx.db, true), 0);
    hub_store_tx_close(&tx);
    return rows;
}

/* The least that is left when one page is damaged: some of the pages, or each of them
 * when ALL_PAGES is in the environment. */
static void damage_each_page(const char *victim, const struct bytes *was, int64_t least)
{
    int64_t all = SESSIONS * (ROWS - 10), rows, worst = all;
    size_t pages = was->n / PAGE, step = getenv("ALL_PAGES") != NULL ? 1 : pages / 8;
    size_t first = (size_t)test_random() % step;
    int64_t most = 0;
    int set_aside = 0;

    for (size_t page = first; page * PAGE < was->n; page += step) {
        for (enum harm how = ZERO; how < N_HARMS; how++) {
            restore();
            harm(victim, was, page, how);
            rows = open_and_count();
            most = BT_MAX(most, exchanges);
            each_file(count_damaged, &set_aside);
            if (how != CUT)
                worst = BT_MIN(worst, rows);
            if (how != CUT && rows < least)
                printf("page %zu harm %d: %lld rows\n", page, (int)how, (long long)rows);
        }
    }
    printf("%s: at least %lld of %lld rows, set aside %d times\n", victim,
           (long long)worst, (long long)all, set_aside);
    CHECK(set_aside > 0);
    CHECK_INT(most, 2 * SESSIONS); /* all of them, when it was another page */
    CHECK(worst >= least);
}

TEST(every_page_of_the_file)
{
    build();
    memset(&tx, 0, sizeof(tx));
    CHECK_INT(hub_store_tx_open(&tx, path), 0); /* carries the log over */
    hub_store_tx_close(&tx);
    file = read_all(path);
    wal = (struct bytes){ NULL, 0 };
    CHECK_INT(open_and_count(), SESSIONS * (ROWS - 10));
    damage_each_page(path, &file, SESSIONS * (ROWS - 10) / 2);
    free(file.p);
    drop_dir();
}

TEST(every_page_of_the_log)
{
    build();
    file = read_all(path);
    wal = read_all(log_path);
    CHECK(wal.n > 20 * PAGE);
    restore();
    CHECK_INT(open_and_count(), SESSIONS * (ROWS - 10));
    CHECK_INT(exchanges, 2 * SESSIONS);
    damage_each_page(log_path, &wal, SESSIONS * (ROWS - 10) / 2);
    free(file.p);
    free(wal.p);
    drop_dir();
}
