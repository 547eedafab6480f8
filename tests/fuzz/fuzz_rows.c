/* A store whose file is sound but whose rows hold anything. The input is a list of rows:
 * a table, then a value for each of its columns. The hub must start, serve the sessions
 * it finds, and send nothing that does not decode. */
#include <dirent.h>
#include <sys/stat.h>

#include "core/db.h"
#include "tests/hub/sim_balance.h"
#include "tests/hub/sim_mqtt.h"

#define MAX_TABLES 16u
#define MAX_ROWS   200u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64], path[80];
static struct sim_bytes template;
static char inserts[MAX_TABLES][160];
static const char *statements[MAX_TABLES];
static int columns[MAX_TABLES];
static unsigned n_tables;

static const uint8_t *at, *end;

static unsigned next(void)
{
    return at < end ? *at++ : 0;
}

static void read_file(const char *name, struct sim_bytes *to)
{
    static uint8_t block[65536];
    FILE *f = fopen(name, "rb");
    size_t n;

    sim_need(f != NULL, "no database");
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        sim_add(to, block, n);
    fclose(f);
}

static void write_file(const char *name, const struct sim_bytes *from)
{
    FILE *f = fopen(name, "wb");

    sim_need(f != NULL && fwrite(from->data, 1, from->len, f) == from->len, "disk full");
    fclose(f);
}

static void clear_dir(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char name[400];

    while (d != NULL && (e = readdir(d)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            (void)unlink(name);
    }
    if (d != NULL)
        closedir(d);
}

static void remove_dir(void)
{
    clear_dir();
    (void)rmdir(dir);
}

/* One INSERT for each table of the schema. */
static void learn_tables(void)
{
    static const char *const list[] = {
        "SELECT s.name, (SELECT COUNT(*) FROM pragma_table_info(s.name))"
        " FROM sqlite_schema s WHERE s.type='table' AND s.name NOT LIKE 'sqlite%'",
    };
    struct bt_db *db;

    sim_need(bt_db_open(path, &db) == 0 && bt_db_prepare(db, list, 1) == 0, "no schema");
    while (n_tables < MAX_TABLES && bt_db_step(db, 0) == BT_DB_ROW) {
        char *to = inserts[n_tables];
        int n = (int)bt_db_int(db, 0, 1);
        int len =
            snprintf(to, 100, "INSERT OR REPLACE INTO %s VALUES(?", bt_db_text(db, 0, 0));

        for (int i = 1; i < n; i++)
            len += snprintf(to + len, 8, ",?");
        snprintf(to + len, 8, ")");
        columns[n_tables] = n;
        statements[n_tables] = to;
        n_tables++;
    }
    bt_db_reset(db, 0);
    bt_db_close(db);
}

static void prepare(void)
{
    struct stat st;

    snprintf(dir, sizeof(dir), "%s/baetyl-rows-XXXXXX",
             stat("/dev/shm", &st) == 0 ? "/dev/shm" : "/tmp");
    sim_need(mkdtemp(dir) != NULL, "no folder");
    (void)atexit(remove_dir);
    snprintf(path, sizeof(path), "%s/hub.db", dir);
    sim_need(sim_begin_in("workers: 1\n", dir), "no hub");
    sim_end();
    learn_tables();
    read_file(path, &template);
}

static const char *const words[] = {
    "a",          "b",
    "c",          "",
    "a/b",        "a/+",
    "#",          "a/#/b",
    "$share/g/a", "$share//",
    "$SYS/x",     "+x",
    "a\xff",      "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
};
static const int64_t numbers[] = {
    -1,        0,         65535,         65536,
    268435455, 268435456, UINT32_MAX,    (int64_t)UINT32_MAX + 1,
    INT64_MAX, INT64_MIN, 1700000000000, 255,
    256,
};

static void bind_long(struct bt_db *db, unsigned stmt, int pos, size_t n)
{
    static uint8_t bytes[80000];

    memset(bytes, 'x', sizeof(bytes));
    bt_db_bind_text(db, stmt, pos, (struct bt_slice){ bytes, BT_MIN(n, sizeof(bytes)) });
}

static void bind(struct bt_db *db, unsigned stmt, int pos)
{
    unsigned kind = next(), n = kind >> 3;
    struct bt_slice raw;

    switch (kind & 7) {
    case 0:
    case 1:
        bt_db_bind_int(db, stmt, pos, n & 3);
        break;
    case 2:
        bt_db_bind_int(db, stmt, pos, numbers[n % BT_ARRAY_LEN(numbers)]);
        break;
    case 3:
    case 4:
        raw.ptr = (const uint8_t *)words[n % BT_ARRAY_LEN(words)];
        raw.len = strlen((const char *)raw.ptr);
        bt_db_bind_text(db, stmt, pos, raw);
        break;
    case 5:
        raw = (struct bt_slice){ at, BT_MIN((size_t)n, (size_t)(end - at)) };
        at += raw.len;
        bt_db_bind_blob(db, stmt, pos, raw);
        break;
    case 6:
        bind_long(db, stmt, pos, (size_t)n * 2500);
        break;
    default:
        raw = (struct bt_slice){ at, BT_MIN((size_t)n, (size_t)(end - at)) };
        at += raw.len;
        bt_db_bind_text(db, stmt, pos, raw);
        break;
    }
}

static void fill(void)
{
    struct bt_db *db;
    unsigned rows = 0;

    clear_dir();
    write_file(path, &template);
    sim_need(bt_db_open(path, &db) == 0 && bt_db_prepare(db, statements, n_tables) == 0,
             "no database");
    sim_need(bt_db_begin(db) == 0, "no transaction");
    while (at < end && rows++ < MAX_ROWS) {
        unsigned stmt = next() % n_tables;

        for (int i = 1; i <= columns[stmt]; i++)
            bind(db, stmt, i);
        (void)!bt_db_run(db, stmt); /* a value may break a rule of its table */
    }
    sim_need(bt_db_commit(db) == 0, "no commit");
    bt_db_close(db);
}

static void visit(const char *id)
{
    struct sim_client c =
        sim_client_open(&(struct sim_login){ .id = id, .version = 5, .keep = true });
    struct sim_heard h;

    for (int i = 0; i < 4; i++) {
        while (sim_hear(&c, &h)) {
            if (h.type == BT_MQTT_PUBLISH && h.qos > 0)
                sim_say_ack(&c, h.qos == 1 ? 0x40 : 0x50, h.pid);
            if (h.type == BT_MQTT_PUBREL)
                sim_say_ack(&c, 0x70, h.pid);
        }
        sim_run();
    }
    sim_say_subscribe(&c, "#", 2, 60000);
    sim_say_publish(&c, "a/b", "x", 1, 1, 60001);
    sim_run();
    while (sim_hear(&c, &h))
        ;
    sim_say(&c, 0xe0);
    sim_run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bt_log_set_level(BT_LOG_ERROR);
    if (n_tables == 0)
        prepare();
    at = data;
    end = data + size;
    fill();
    sim_need(sim_begin_in("workers: 2\n", dir), "the hub refuses to start");
    visit("a");
    visit("b");
    sim_pass(100000);
    visit("c");
    sim_balance();
    sim_end();
    return 0;
}
