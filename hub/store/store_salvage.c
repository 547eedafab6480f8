/* Salvage: from the pages of a damaged database (core/db_raw.h) into a new one.
 *
 * Rows come in the order of the pages, named by nothing but their shape, so each table
 * has a shape of its own and a check of what it says. The first copy of a row is kept; of
 * a retained message the newest. When all rows are in, queue rows are matched with their
 * messages: rows without message and messages without row go, and the number of rows of
 * each message, which it remembered, is compared with what was found. Until then `refs`
 * holds the remembered number in its upper and the found one in its lower half.
 *
 * The new file has neither log nor synchronisation while it is made; it is worth nothing
 * before it is complete, and on the disk. Memory: the page cache and one row. */
#include "hub/store/store_salvage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/db_raw.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mqtt.h"
#include "core/notify.h"
#include "hub/session/session.h"
#include "hub/store/store_tx.h"

#define MAX_ID      (INT64_C(1) << 62)
#define COMMIT_ROWS 16384u
#define CHUNK       1024u
#define PROGRESS_MS 2000u
#define REFS_SHIFT  32
#define REFS_FOUND  INT64_C(0xffffffff)

/* What a row can be. Shape: one letter a column; r: the row's number, i: a number, t:
 * text, b: bytes, n: a number or bytes. */
struct table {
    const char *name, *shape, *insert;
    bool (*ok)(const struct bt_db_raw_row *row);
    bool rowid;
};

static bool id_ok(int64_t v)
{
    return v > 0 && v < MAX_ID;
}

/* Columns first.. as those of a message behind its topic: qos, retain, times. */
static bool head_ok(const struct bt_db_raw_row *row, unsigned topic)
{
    const struct bt_db_raw_value *v = &row->v[topic];

    return v[0].bytes.len <= UINT16_MAX && bt_mqtt_topic_ok(v[0].bytes) && v[1].i >= 0 &&
           v[1].i <= 2 && v[3].i >= 0 && v[4].i >= 0 && v[5].bytes.len <= UINT16_MAX;
}

static bool message_ok(const struct bt_db_raw_row *row)
{
    return id_ok(row->rowid) && row->v[1].i >= 0 && row->v[1].i <= INT32_MAX &&
           head_ok(row, 2);
}

static bool queue_ok(const struct bt_db_raw_row *row)
{
    return id_ok(row->v[0].i) && id_ok(row->v[1].i) && row->v[2].i > -MAX_ID &&
           row->v[2].i < MAX_ID && (uint32_t)row->v[3].i <= UINT16_MAX;
}

static bool incoming_ok(const struct bt_db_raw_row *row)
{
    return id_ok(row->v[0].i) && row->v[1].i > 0 && row->v[1].i <= UINT16_MAX;
}

static bool session_ok(const struct bt_db_raw_row *row)
{
    struct bt_slice client = row->v[1].bytes;

    return id_ok(row->rowid) && client.len > 0 && client.len <= HUB_MAX_CLIENT_ID &&
           bt_mqtt_utf8_ok(client) && bt_mqtt_utf8_ok(row->v[2].bytes) &&
           row->v[3].i >= 0 && row->v[3].i <= UINT32_MAX;
}

/* The second copy: the row's number comes last. */
static bool session_copy_ok(const struct bt_db_raw_row *row)
{
    struct bt_db_raw_row as = { .has_rowid = true, .rowid = row->v[4].i, .n = 5 };

    memcpy(&as.v[1], &row->v[0], 4 * sizeof(as.v[0]));
    return session_ok(&as);
}

static bool subscription_ok(const struct bt_db_raw_row *row)
{
    struct bt_slice filter = row->v[1].bytes;

    return id_ok(row->v[0].i) && filter.len <= UINT16_MAX && bt_mqtt_filter_ok(filter) &&
           row->v[2].i >= 0 && row->v[2].i <= UINT8_MAX;
}

static bool retained_ok(const struct bt_db_raw_row *row)
{
    return head_ok(row, 0);
}

static bool will_ok(const struct bt_db_raw_row *row)
{
    return id_ok(row->rowid) && row->v[1].i >= 0 && row->v[1].i <= UINT32_MAX &&
           row->v[2].i >= 0 && row->v[2].i <= UINT32_MAX && head_ok(row, 3);
}

enum {
    T_MESSAGE,
    T_QUEUE,
    T_SESSION,
    T_SESSION_COPY,
    T_SUBSCRIPTION,
    T_RETAINED,
    T_WILL,
    T_INCOMING,
    N_TABLES
};

static const struct table tables[] = {
    [T_MESSAGE] = { "message", "ritiiiibb",
                    "INSERT OR IGNORE INTO message VALUES(?,?,?,?,?,?,?,?,?)", message_ok,
                    true },
    [T_QUEUE] = { "queue", "iiiin", "INSERT OR IGNORE INTO queue VALUES(?,?,?,?,?)",
                  queue_ok, false },
    [T_SESSION] = { "session", "rttii", "INSERT OR IGNORE INTO session VALUES(?,?,?,?,?)",
                    session_ok, true },
    [T_SESSION_COPY] = { "session_copy", "ttiii",
                         "INSERT OR IGNORE INTO session(client, principal, expiry,"
                         " disconnected, sid) VALUES(?,?,?,?,?)",
                         session_copy_ok, false },
    [T_SUBSCRIPTION] = { "subscription", "itii",
                         "INSERT OR IGNORE INTO subscription VALUES(?,?,?,?)",
                         subscription_ok, false },
    [T_RETAINED] = { "retained", "tiiiibb",
                     "INSERT INTO retained VALUES(?,?,?,?,?,?,?) ON CONFLICT(topic) DO"
                     " UPDATE SET qos=excluded.qos, retain=excluded.retain,"
                     " created=excluded.created, expires=excluded.expires,"
                     " props=excluded.props, payload=excluded.payload"
                     " WHERE excluded.created>retained.created",
                     retained_ok, true },
    [T_WILL] = { "will", "riitiiiibb",
                 "INSERT OR IGNORE INTO will VALUES(?,?,?,?,?,?,?,?,?,?)", will_ok,
                 true },
    [T_INCOMING] = { "incoming", "ii", "INSERT OR IGNORE INTO incoming VALUES(?,?)",
                     incoming_ok, false },
};
_Static_assert(N_TABLES <= HUB_STORE_TABLES, "a toll for every table");

/* Behind the statements of the tables. */
enum { S_ROWS = N_TABLES, S_FOUND, S_ORPHAN, S_MESSAGES, S_KEEP, S_DROP, N_STATEMENTS };

struct salvage {
    struct bt_db_raw *raw;
    struct bt_db *db;
    struct hub_store_salvaged *out;
    uint64_t in_group;
    uint64_t told_ms;
};

/* ---- Rows ---- */

static bool fits(const struct table *t, const struct bt_db_raw_row *row)
{
    static const struct {
        char letter;
        unsigned kinds;
    } kinds[] = {
        { 'r', 1u << BT_DB_RAW_NULL },
        { 'i', 1u << BT_DB_RAW_INT },
        { 'n', 1u << BT_DB_RAW_INT | 1u << BT_DB_RAW_BLOB },
        { 't', 1u << BT_DB_RAW_TEXT },
        { 'b', 1u << BT_DB_RAW_BLOB | 1u << BT_DB_RAW_TEXT | 1u << BT_DB_RAW_NULL },
    };
    uint32_t i;
    size_t k;

    if (row->has_rowid != t->rowid || row->n != strlen(t->shape))
        return false;
    for (i = 0; i < row->n; i++) {
        for (k = 0; kinds[k].letter != t->shape[i];)
            k++;
        if ((kinds[k].kinds >> row->v[i].kind & 1) == 0)
            return false;
    }
    return true;
}

/* The table of a row by its shape; N_TABLES: none of ours. */
static unsigned table_of(const struct bt_db_raw_row *row)
{
    unsigned t = 0;

    while (t < N_TABLES && !fits(&tables[t], row))
        t++;
    return t;
}

/* Where the rows of a table are counted. */
static struct hub_store_toll *toll(struct salvage *s, unsigned t)
{
    return &s->out->tables[t == T_SESSION_COPY ? T_SESSION : t];
}

static int insert(struct salvage *s, unsigned t, const struct bt_db_raw_row *row)
{
    uint32_t i;
    int r;

    for (i = 0; i < row->n; i++) {
        const struct bt_db_raw_value *v = &row->v[i];
        int64_t number = tables[t].shape[i] == 'r'  ? row->rowid
                         : t == T_MESSAGE && i == 1 ? v->i << REFS_SHIFT
                                                    : v->i;

        if (tables[t].shape[i] == 't')
            bt_db_bind_text(s->db, t, (int)i + 1, v->bytes);
        else if (tables[t].shape[i] == 'b' || v->kind == BT_DB_RAW_BLOB)
            bt_db_bind_blob(s->db, t, (int)i + 1, v->bytes);
        else
            bt_db_bind_int(s->db, t, (int)i + 1, number);
    }
    r = bt_db_run(s->db, t);
    if (r == 0)
        toll(s, t)->kept += (uint64_t)bt_db_changes(s->db);
    return r;
}

/* Now and then: the rows so far into the file, and a sign of life. */
static int breathe(struct salvage *s, bool now)
{
    const struct bt_db_raw_stats *st = bt_db_raw_stats(s->raw);
    uint64_t ms;
    int r;

    if (!now && ++s->in_group < COMMIT_ROWS)
        return 0;
    s->in_group = 0;
    r = bt_db_commit(s->db);
    if (r == 0)
        r = bt_db_begin(s->db);
    ms = bt_clock_ms();
    if (ms - s->told_ms < PROGRESS_MS)
        return r;
    s->told_ms = ms;
    bt_log(BT_LOG_INFO, "HUB-STORE-SALVAGING", "salvaging the store",
           "pages=%u of=%u messages=%llu", st->pages_done, st->pages,
           (unsigned long long)s->out->tables[T_MESSAGE].kept);
    (void)bt_notify("WATCHDOG=1\nEXTEND_TIMEOUT_USEC=60000000\n"
                    "STATUS=salvaging the store");
    return r;
}

static int copy_rows(struct salvage *s)
{
    struct bt_db_raw_row row;
    unsigned t;
    int r;

    while ((r = bt_db_raw_next(s->raw, &row)) == BT_DB_RAW_ROW) {
        t = table_of(&row);
        if (t == N_TABLES)
            continue;
        if (!tables[t].ok(&row)) {
            toll(s, t)->dropped++;
            continue;
        }
        r = insert(s, t, &row);
        if (r == 0)
            r = breathe(s, false);
        if (r < 0)
            return r;
    }
    return r;
}

/* ---- Matching ---- */

struct key {
    int64_t sid, qseq, mid;
};

/* The rows after the key *last; how many there are. */
static int next_keys(struct salvage *s, struct key *keys, const struct key *last,
                     uint32_t *n)
{
    int r;

    *n = 0;
    bt_db_bind_int(s->db, S_ROWS, 1, last->sid);
    bt_db_bind_int(s->db, S_ROWS, 2, last->qseq);
    bt_db_bind_int(s->db, S_ROWS, 3, CHUNK);
    while ((r = bt_db_step(s->db, S_ROWS)) == BT_DB_ROW)
        keys[(*n)++] =
            (struct key){ bt_db_int(s->db, S_ROWS, 0), bt_db_int(s->db, S_ROWS, 1),
                          bt_db_int(s->db, S_ROWS, 2) };
    return r;
}

/* Counts the row with its message, or removes it when there is none. */
static int match_row(struct salvage *s, const struct key *k)
{
    int r;

    if (k->mid <= 0)
        return 0; /* a delivery whose message was let go of */
    bt_db_bind_int(s->db, S_FOUND, 1, k->mid);
    r = bt_db_run(s->db, S_FOUND);
    if (r < 0 || bt_db_changes(s->db) != 0)
        return r;
    s->out->tables[T_QUEUE].kept--;
    s->out->tables[T_QUEUE].dropped++;
    s->out->tables[T_MESSAGE].lost++;
    bt_db_bind_int(s->db, S_ORPHAN, 1, k->sid);
    bt_db_bind_int(s->db, S_ORPHAN, 2, k->qseq);
    return bt_db_run(s->db, S_ORPHAN);
}

static int match_rows(struct salvage *s)
{
    struct key keys[CHUNK], last = { 0, 0, 0 };
    uint32_t n, i;
    int r;

    do {
        r = next_keys(s, keys, &last, &n);
        for (i = 0; r == 0 && i < n; i++) {
            r = match_row(s, &keys[i]);
            if (r == 0)
                r = breathe(s, false);
        }
        if (n > 0)
            last = keys[n - 1];
    } while (r == 0 && n == CHUNK);
    return r;
}

struct count {
    int64_t mid, refs;
};

/* refs as they are, or no message when it has no row. */
static int settle_message(struct salvage *s, const struct count *c)
{
    int64_t found = c->refs & REFS_FOUND, before = c->refs >> REFS_SHIFT;
    unsigned stmt = found > 0 ? S_KEEP : S_DROP;

    if (before > found)
        s->out->tables[T_QUEUE].lost += (uint64_t)(before - found);
    if (found == 0) {
        s->out->tables[T_MESSAGE].kept--;
        s->out->tables[T_MESSAGE].dropped++;
    } else {
        bt_db_bind_int(s->db, stmt, 2, found);
    }
    bt_db_bind_int(s->db, stmt, 1, c->mid);
    return bt_db_run(s->db, stmt);
}

static int settle_messages(struct salvage *s)
{
    struct count counts[CHUNK];
    int64_t last = 0;
    uint32_t n, i;
    int r;

    do {
        n = 0;
        bt_db_bind_int(s->db, S_MESSAGES, 1, last);
        bt_db_bind_int(s->db, S_MESSAGES, 2, CHUNK);
        while ((r = bt_db_step(s->db, S_MESSAGES)) == BT_DB_ROW)
            counts[n++] = (struct count){ bt_db_int(s->db, S_MESSAGES, 0),
                                          bt_db_int(s->db, S_MESSAGES, 1) };
        for (i = 0; r == 0 && i < n; i++) {
            r = settle_message(s, &counts[i]);
            if (r == 0)
                r = breathe(s, false);
        }
        if (n > 0)
            last = counts[n - 1].mid;
    } while (r == 0 && n == CHUNK);
    return r;
}

/* A client has one session: one that something belongs to, or else the newest. What
 * belongs to no session is of no use. */
static int settle_sessions(struct salvage *s)
{
    static const struct {
        unsigned table;
        const char *sql;
    } steps[] = {
        { T_SESSION,
          "DELETE FROM session WHERE sid NOT IN (SELECT sid FROM (SELECT sid,"
          " ROW_NUMBER() OVER (PARTITION BY client ORDER BY"
          " EXISTS(SELECT 1 FROM queue q WHERE q.sid=s.sid) DESC,"
          " EXISTS(SELECT 1 FROM subscription u WHERE u.sid=s.sid) DESC, sid DESC) n"
          " FROM session s) WHERE n=1)" },
        { T_SUBSCRIPTION, "DELETE FROM subscription WHERE sid NOT IN"
                          " (SELECT sid FROM session)" },
        { T_WILL, "DELETE FROM will WHERE sid NOT IN (SELECT sid FROM session)" },
    };
    int64_t lost, n;
    size_t i;
    int r = 0;

    for (i = 0; r == 0 && i < BT_ARRAY_LEN(steps); i++) {
        r = bt_db_exec(s->db, steps[i].sql);
        n = bt_db_changes(s->db);
        s->out->tables[steps[i].table].kept -= (uint64_t)n;
        s->out->tables[steps[i].table].dropped += (uint64_t)n;
    }
    if (r == 0)
        r = bt_db_query_int(
            s->db,
            "WITH RECURSIVE q(sid) AS (SELECT MIN(sid) FROM queue UNION ALL"
            " SELECT (SELECT MIN(sid) FROM queue WHERE sid>q.sid) FROM q"
            " WHERE q.sid IS NOT NULL) SELECT COUNT(*) FROM q WHERE sid IS"
            " NOT NULL AND sid NOT IN (SELECT sid FROM session)",
            &lost);
    if (r == 0)
        s->out->tables[T_SESSION].lost = (uint64_t)lost;
    return r;
}

/* ---- The whole ---- */

static int prepare(struct salvage *s)
{
    const char *sql[N_STATEMENTS] = {
        [S_ROWS] = "SELECT sid, qseq, mid FROM queue WHERE (sid, qseq) > (?,?)"
                   " ORDER BY sid, qseq LIMIT ?",
        [S_FOUND] = "UPDATE message SET refs=refs+1 WHERE mid=?",
        [S_ORPHAN] = "DELETE FROM queue WHERE sid=? AND qseq=?",
        [S_MESSAGES] = "SELECT mid, refs FROM message WHERE mid>? ORDER BY mid LIMIT ?",
        [S_KEEP] = "UPDATE message SET refs=?2 WHERE mid=?1",
        [S_DROP] = "DELETE FROM message WHERE mid=?",
    };
    unsigned t;
    int r;

    for (t = 0; t < N_TABLES; t++) {
        sql[t] = tables[t].insert;
        toll(s, t)->table = tables[t == T_SESSION_COPY ? T_SESSION : t].name;
    }
    r = hub_store_schema(s->db);
    if (r == 0)
        r = bt_db_exec(s->db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                              "PRAGMA cache_size=-16384");
    if (r == 0)
        r = bt_db_prepare(s->db, sql, N_STATEMENTS);
    return r == 0 ? bt_db_begin(s->db) : r;
}

static int fill(struct salvage *s)
{
    int r = prepare(s);

    if (r == 0)
        r = copy_rows(s);
    if (r == 0)
        r = match_rows(s);
    if (r == 0)
        r = settle_messages(s);
    if (r == 0)
        r = settle_sessions(s);
    return r == 0 ? bt_db_commit(s->db) : r;
}

static int synchronise(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : bt_origin(BT_EIO, "writing a salvaged store");

    if (fd >= 0)
        (void)close(fd);
    return r;
}

int hub_store_salvage(const char *from, const char *to, struct hub_store_salvaged *out)
{
    struct salvage s = { .out = out, .told_ms = bt_clock_ms() };
    const struct bt_db_raw_stats *st;
    int r = bt_db_raw_open(from, &s.raw);

    memset(out, 0, sizeof(*out));
    if (r < 0)
        return r;
    r = bt_db_open(to, &s.db);
    if (r == 0)
        r = fill(&s);
    st = bt_db_raw_stats(s.raw);
    out->pages = st->pages;
    out->bad_pages = st->bad_pages;
    out->bad_cells = st->bad_cells;
    out->bad_log_frames = st->bad_log_frames;
    bt_db_close(s.db);
    bt_db_raw_close(s.raw);
    r = bt_fold(r);
    return r == 0 ? synchronise(to) : r;
}
