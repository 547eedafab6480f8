/* Opening the store and telling what is in it.
 *
 * A new file gets the schema. An old one is checked: the version, the tables (every
 * statement must prepare) and the structure. The check reads the whole file, so it is
 * left out for large files unless damage was met while running, which leaves a note
 * (FILE.check) for the next start.
 *
 * A damaged file is renamed, together with its log, and what can be read of it is the new
 * one (hub/store/store_mend.c): the hub never refuses to start because of what is in its
 * store. A full disk or a missing permission is not damage. */
#include "hub/store/store_tx.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/db_raw.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "hub/route/hash.h"
#include "hub/store/store_salvage.h"

#define STORE_VERSION 2
#define STORE_CHECK_MAX \
    ((int64_t)64 * 1024 * 1024) /* larger files are checked on a note only */
#define STORE_COUNT_MAX 10000   /* queues are counted up to here, longer ones estimated */

#define INCOMING                                                     \
    "CREATE TABLE incoming(sid INT, pid INT, PRIMARY KEY(sid, pid))" \
    " WITHOUT ROWID;"
static const char schema[] =
    "BEGIN;"
    "CREATE TABLE message(mid INTEGER PRIMARY KEY, refs INT, topic TEXT, qos INT,"
    " retain INT, created INT, expires INT, props BLOB, payload BLOB);"
    "CREATE TABLE queue(sid INT, qseq INT, mid INT, flags INT, subids INT,"
    " PRIMARY KEY(sid, qseq)) WITHOUT ROWID;"
    "CREATE TABLE session(sid INTEGER PRIMARY KEY, client TEXT, principal TEXT,"
    " expiry INT, disconnected INT);"
    "CREATE TABLE subscription(sid INT, filter TEXT, options INT, subid INT,"
    " PRIMARY KEY(sid, filter)) WITHOUT ROWID;"
    "CREATE TABLE retained(topic TEXT PRIMARY KEY, qos INT, retain INT, created INT,"
    " expires INT, props BLOB, payload BLOB);" INCOMING "PRAGMA user_version=2;"
    "COMMIT";

/* Tables that later versions of the program added. */
static const char additions[] =
    "CREATE TABLE IF NOT EXISTS will(sid INTEGER PRIMARY KEY, delay INT, expiry INT,"
    " topic TEXT, qos INT, retain INT, created INT, expires INT, props BLOB,"
    " payload BLOB)";

/* From the version of the place to the next one. */
static const char *const migrations[STORE_VERSION] = {
    [1] = "BEGIN;" INCOMING "PRAGMA user_version=2; COMMIT",
};

/* All of a queue is lost with the session's row, so there are two copies of those, on
 * different pages. */
static const char session_copy[] = "CREATE INDEX IF NOT EXISTS session_copy ON"
                                   " session(client, principal, expiry, disconnected)";

/* Texts sort behind every number: what is no number is never met. */
#define NUMBER "<=9223372036854775807"
static const char *const statements[] = {
    [HUB_S_QUEUE_PUT] = "INSERT OR IGNORE INTO queue VALUES(?,?,?,?,?)",
    [HUB_S_QUEUE_MID] = "SELECT mid FROM queue WHERE sid=? AND qseq=?",
    [HUB_S_QUEUE_DEL] = "DELETE FROM queue WHERE sid=? AND qseq=?",
    [HUB_S_QUEUE_READ] =
        "SELECT q.qseq, q.mid, q.flags, q.subids, m.topic, m.qos, m.retain, m.created,"
        " m.expires, m.props, m.payload FROM queue q LEFT JOIN message m ON m.mid=q.mid"
        " WHERE q.sid=? AND q.qseq>=? AND q.qseq" NUMBER
        " AND (q.mid<0 OR m.mid IS NOT NULL)"
        " ORDER BY q.qseq LIMIT ?",
    [HUB_S_QUEUE_RELEASE] =
        "UPDATE queue SET mid=-mid WHERE sid=? AND qseq=? AND mid>0 RETURNING -mid",
    [HUB_S_INCOMING_PUT] = "INSERT OR REPLACE INTO incoming VALUES(?,?)",
    [HUB_S_INCOMING_DEL] = "DELETE FROM incoming WHERE sid=? AND pid=?",
    [HUB_S_INCOMINGS_DEL] = "DELETE FROM incoming WHERE sid=?",
    [HUB_S_QUEUE_HEAD] = "SELECT qseq, mid FROM queue WHERE sid=? AND qseq" NUMBER
                         " ORDER BY qseq LIMIT ?",
    [HUB_S_QUEUE_TRIM] = "DELETE FROM queue WHERE sid=? AND qseq<=?",
    [HUB_S_MESSAGE_PUT] = "INSERT INTO message VALUES(?,?,?,?,?,?,?,?,?)"
                          " ON CONFLICT(mid) DO UPDATE SET refs=refs+excluded.refs",
    [HUB_S_MESSAGE_DEL] = "DELETE FROM message WHERE mid=? AND refs<=?",
    [HUB_S_MESSAGE_LESS] = "UPDATE message SET refs=refs-?2 WHERE mid=?1",
    [HUB_S_SESSION_PUT] = "INSERT OR REPLACE INTO session VALUES(?,?,?,?,?)",
    [HUB_S_SESSION_DEL] = "DELETE FROM session WHERE sid=?",
    [HUB_S_SUB_PUT] = "INSERT OR REPLACE INTO subscription VALUES(?,?,?,?)",
    [HUB_S_SUB_DEL] = "DELETE FROM subscription WHERE sid=? AND filter=?",
    [HUB_S_SUBS_DEL] = "DELETE FROM subscription WHERE sid=?",
    [HUB_S_RETAIN_PUT] = "INSERT OR REPLACE INTO retained VALUES(?,?,?,?,?,?,?)",
    [HUB_S_RETAIN_DEL] = "DELETE FROM retained WHERE topic=?1 AND (?2=0 OR expires=?2)",
    [HUB_S_WILL_PUT] = "INSERT OR REPLACE INTO will VALUES(?,?,?,?,?,?,?,?,?,?)",
    [HUB_S_WILL_DEL] = "DELETE FROM will WHERE sid=?",
    [HUB_S_LOAD_WILLS] = "SELECT * FROM will WHERE sid IN (SELECT sid FROM session)",
    [HUB_S_LOAD_SESSIONS] =
        "SELECT sid, client, principal, expiry, disconnected FROM session ORDER BY sid",
    [HUB_S_LOAD_SUBS] = "SELECT s.sid, s.filter, s.options, s.subid FROM subscription s"
                        " JOIN session USING(sid) ORDER BY s.sid",
    [HUB_S_LOAD_RETAINED] =
        "SELECT topic, qos, retain, created, expires, props, payload FROM retained",
    [HUB_S_LOAD_INCOMING] = "SELECT sid, pid FROM incoming",
    [HUB_S_QUEUE_FIRST] = "SELECT qseq FROM queue WHERE sid=? ORDER BY qseq LIMIT 1",
    [HUB_S_QUEUE_LAST] = "SELECT qseq FROM queue WHERE sid=? AND qseq" NUMBER
                         " ORDER BY qseq DESC LIMIT 1",
    [HUB_S_QUEUE_COUNT] =
        "SELECT COUNT(*) FROM (SELECT 1 FROM queue WHERE sid=? LIMIT 10001)",
    [HUB_S_QUEUE_NEXT_SID] =
        "SELECT sid, EXISTS(SELECT 1 FROM session s WHERE s.sid=q.sid) FROM queue q"
        " WHERE sid>? AND sid" NUMBER " ORDER BY sid LIMIT 1",
    [HUB_S_QUEUE_AGE] =
        "SELECT q.qseq, q.mid, m.created, q.flags&3 FROM queue q"
        " LEFT JOIN message m ON m.mid=q.mid"
        " WHERE q.sid=? AND q.qseq>? AND q.qseq" NUMBER " ORDER BY q.qseq LIMIT ?",
    [HUB_S_QUEUE_SIZE] =
        "SELECT COUNT(*), SUM(OCTET_LENGTH(m.payload)+OCTET_LENGTH(m.topic)) FROM queue q"
        " LEFT JOIN message m ON m.mid=q.mid WHERE q.sid=?",
    [HUB_S_QUEUE_OLDEST] = "SELECT qseq, mid FROM queue WHERE sid=? AND (flags&3)=? AND"
                           " mid>0 AND qseq" NUMBER " ORDER BY qseq LIMIT 1 OFFSET ?",
    [HUB_S_MESSAGE_SIZE] =
        "SELECT OCTET_LENGTH(payload)+OCTET_LENGTH(topic) FROM message WHERE mid=?",
};
_Static_assert(BT_ARRAY_LEN(statements) == HUB_S_COUNT, "a statement for every name");

int hub_store_schema(struct bt_db *db)
{
    int r = bt_db_exec(db, schema);

    if (r == 0)
        r = bt_db_exec(db, additions);
    return r == 0 ? bt_db_exec(db, session_copy) : r;
}

/* 0, or BT_DB_DAMAGED, also for a schema that is not ours. */
static int check_schema(struct bt_db *db, int64_t size, bool note)
{
    int64_t version, tables;
    int r = bt_db_query_int(db, "PRAGMA user_version", &version);

    if (r == 0)
        r = bt_db_query_int(db, "SELECT COUNT(*) FROM sqlite_schema", &tables);
    if (r < 0)
        return bt_db_damaged(db) ? BT_DB_DAMAGED : r;
    if (version == 0 && tables == 0)
        return hub_store_schema(db);
    for (; version > 0 && version < STORE_VERSION && r == 0; version++)
        r = bt_db_exec(db, migrations[version]);
    if (r < 0)
        return bt_db_damaged(db) ? BT_DB_DAMAGED : r;
    if (version != STORE_VERSION)
        return BT_DB_DAMAGED;
    return note || size <= STORE_CHECK_MAX ? bt_db_check(db, note) : 0;
}

/* 0, or BT_DB_DAMAGED, also when the tables are not what the statements expect. */
static int open_once(struct bt_db **out, const char *path)
{
    struct stat st;
    int64_t size = path != NULL && stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
    bool note = path != NULL && hub_store_noted(path);
    struct bt_db *db;
    int r = bt_db_open(path, &db);

    if (r != 0)
        return r;
    r = check_schema(db, size, note);
    if (r == 0)
        r = bt_db_exec(db, additions);
    if (r == 0) {
        r = bt_db_prepare(db, statements, HUB_S_COUNT);
        if (r == BT_EDB)
            r = BT_DB_DAMAGED;
    }
    if (r == 0 && bt_db_exec(db, session_copy) == BT_ENOMEM) /* else without the copy */
        r = BT_ENOMEM;
    if (r == 0)
        *out = db;
    else
        bt_db_close(db);
    return r;
}

static void forget(struct hub_store_tx *tx)
{
    while (tx->reap != NULL) {
        struct hub_store_reap *node = tx->reap;

        tx->reap = node->next;
        bt_free(node);
    }
    bt_db_close(tx->db);
    tx->db = NULL;
    tx->begun = false;
}

static int no_session(void *arg, uint64_t sid, const char *client_id,
                      const char *principal, uint32_t expiry_s, int64_t disconnected_ms,
                      uint64_t first_qseq, uint64_t last_qseq, uint64_t rows)
{
    (void)arg, (void)sid, (void)client_id, (void)principal, (void)expiry_s;
    (void)disconnected_ms, (void)first_qseq, (void)last_qseq, (void)rows;
    return 0;
}

static int no_subscription(void *arg, uint64_t sid, const char *filter, uint32_t options,
                           uint32_t subid)
{
    (void)arg, (void)sid, (void)filter, (void)options, (void)subid;
    return 0;
}

static int no_retained(void *arg, struct hub_msg *msg)
{
    (void)arg;
    hub_msg_unref(msg);
    return 0;
}

/* A file too large to be checked: what the start needs of it must be readable. */
static int try_load(struct hub_store_tx *tx, const char *path)
{
    static const struct hub_store_visitor nobody = { .session = no_session,
                                                     .subscription = no_subscription,
                                                     .retained = no_retained };
    struct stat st;
    int r;

    if (stat(path, &st) != 0 || (int64_t)st.st_size <= STORE_CHECK_MAX)
        return 0;
    r = hub_store_tx_load(tx, &nobody);
    return r < 0 && bt_db_damaged(tx->db) ? BT_DB_DAMAGED : r;
}

/* 0, BT_DB_DAMAGED, or why it cannot be opened. */
static int open_checked(struct hub_store_tx *tx, const char *path)
{
    int r = path != NULL ? bt_db_raw_probe(path) : 0;

    if (r == BT_DB_RAW_DAMAGED)
        return BT_DB_DAMAGED;
    if (r < 0)
        return r;
    r = open_once(&tx->db, path);
    if (r == 0 && path != NULL)
        r = try_load(tx, path);
    if (r != 0)
        forget(tx);
    return r;
}

static int open_file(struct hub_store_tx *tx, const char *path)
{
    int r = hub_store_mend_finish(path);

    if (r == 0)
        r = open_checked(tx, path);
    if (r == BT_DB_DAMAGED) {
        r = hub_store_mend(path);
        if (r == 0)
            r = open_checked(tx, path);
    }
    if (r == BT_DB_DAMAGED) {
        r = hub_store_set_aside(path);
        if (r == 0)
            r = open_checked(tx, path);
    }
    if (r != 0)
        return bt_fold(r);
    hub_store_unnote(path);
    /* What an earlier process could not synchronise may be in the log and yet not on the
     * disk; it must not be what the next commits are built on. */
    bt_db_checkpoint(tx->db, false);
    return 0;
}

static int take_lock(struct hub_store_tx *tx, const char *path)
{
    char lock[HUB_STORE_PATH_MAX];
    int r;

    snprintf(lock, sizeof(lock), "%s.lock", path);
    r = bt_lock_take_file(&tx->lock, lock);
    tx->locked = r == 0;
    if (r == BT_EBUSY)
        bt_log(BT_LOG_ERROR, "HUB-STORE-BUSY", "store is in use by another process",
               "path=\"%s\" process=%ld", path, (long)tx->lock.holder);
    return r;
}

int hub_store_tx_open(struct hub_store_tx *tx, const char *path)
{
    int r;

    tx->next_mid = 1;
    tx->group_bytes = tx->group_most = HUB_STORE_GROUP_BYTES;
    tx->retains.seed = hub_hash_seed();
    if (path == NULL)
        return bt_fold(open_once(&tx->db, NULL));
    if (strlen(path) > HUB_STORE_PATH_MAX - 64)
        return bt_origin(BT_ELIMIT, "the store's path is too long");
    r = take_lock(tx, path);
    return r == 0 ? open_file(tx, path) : r;
}

void hub_store_tx_close(struct hub_store_tx *tx)
{
    forget(tx);
    hub_store_limit_deinit(tx);
    if (tx->locked)
        bt_lock_drop(&tx->lock);
    tx->locked = false;
}

/* First column of a statement that has one parameter, the session. */
static int ask(struct bt_db *db, unsigned stmt, uint64_t sid, uint64_t *out)
{
    int r;

    bt_db_bind_int(db, stmt, 1, (int64_t)sid);
    r = bt_db_step(db, stmt);
    *out = r == BT_DB_ROW ? (uint64_t)bt_db_int(db, stmt, 0) : 0;
    bt_db_reset(db, stmt);
    return r < 0 ? r : 0;
}

static int load_session(struct hub_store_tx *tx, const struct hub_store_visitor *v)
{
    struct bt_db *db = tx->db;
    uint64_t sid = (uint64_t)bt_db_int(db, HUB_S_LOAD_SESSIONS, 0);
    uint64_t first, last, rows = 0;
    const char *client;
    int r = ask(db, HUB_S_QUEUE_FIRST, sid, &first);

    if (r == 0)
        r = ask(db, HUB_S_QUEUE_LAST, sid, &last);
    if (r == 0 && last != 0)
        r = ask(db, HUB_S_QUEUE_COUNT, sid, &rows);
    if (r < 0)
        return r;
    client = bt_db_text(db, HUB_S_LOAD_SESSIONS, 1);
    if (!hub_store_row_session(sid, client, first, last))
        return 0;
    if (rows > STORE_COUNT_MAX)
        rows = last - first + 1;
    tx->max_sid = BT_MAX(tx->max_sid, sid);
    return v->session(v->arg, sid, client, bt_db_text(db, HUB_S_LOAD_SESSIONS, 2),
                      (uint32_t)bt_db_int(db, HUB_S_LOAD_SESSIONS, 3),
                      hub_store_row_time(bt_db_int(db, HUB_S_LOAD_SESSIONS, 4)), first,
                      last, rows);
}

static int load_sub(struct hub_store_tx *tx, const struct hub_store_visitor *v)
{
    struct bt_db *db = tx->db;
    const char *filter = bt_db_text(db, HUB_S_LOAD_SUBS, 1);

    if (!hub_store_row_filter(filter))
        return 0;
    return v->subscription(v->arg, (uint64_t)bt_db_int(db, HUB_S_LOAD_SUBS, 0), filter,
                           (uint32_t)bt_db_int(db, HUB_S_LOAD_SUBS, 2),
                           hub_store_row_subid(bt_db_int(db, HUB_S_LOAD_SUBS, 3)));
}

static int load_retained(struct hub_store_tx *tx, const struct hub_store_visitor *v)
{
    struct hub_msg *msg = hub_store_row_msg(tx->db, HUB_S_LOAD_RETAINED, 0);

    if (msg == NULL)
        return BT_ENOMEM;
    if (!hub_store_row_spoiled(msg))
        return v->retained(v->arg, msg);
    hub_msg_unref(msg);
    return 0;
}

static int load_will(struct hub_store_tx *tx, const struct hub_store_visitor *v)
{
    struct bt_db *db = tx->db;
    struct hub_msg *msg;

    if (v->will == NULL)
        return 0;
    msg = hub_store_row_msg(db, HUB_S_LOAD_WILLS, 3);
    if (msg == NULL)
        return BT_ENOMEM;
    if (!hub_store_row_spoiled(msg))
        return v->will(v->arg, (uint64_t)bt_db_int(db, HUB_S_LOAD_WILLS, 0), msg,
                       (uint32_t)bt_db_int(db, HUB_S_LOAD_WILLS, 1),
                       (uint32_t)bt_db_int(db, HUB_S_LOAD_WILLS, 2));
    hub_msg_unref(msg);
    return 0;
}

/* Queues whose session is gone: what a crash left of an ended session. */
static int load_orphans(struct hub_store_tx *tx)
{
    uint64_t sid = 0;
    int r;

    for (;;) {
        bool known;

        bt_db_bind_int(tx->db, HUB_S_QUEUE_NEXT_SID, 1, (int64_t)sid);
        r = bt_db_step(tx->db, HUB_S_QUEUE_NEXT_SID);
        if (r != BT_DB_ROW)
            return r;
        sid = (uint64_t)bt_db_int(tx->db, HUB_S_QUEUE_NEXT_SID, 0);
        known = bt_db_int(tx->db, HUB_S_QUEUE_NEXT_SID, 1) != 0;
        bt_db_reset(tx->db, HUB_S_QUEUE_NEXT_SID);
        if (sid < HUB_STORE_LAST_KEY)
            tx->max_sid = BT_MAX(tx->max_sid, sid);
        r = known ? 0 : hub_store_reap_begin(tx, sid);
        if (r < 0)
            return r;
    }
}

int hub_store_tx_load(struct hub_store_tx *tx, const struct hub_store_visitor *v)
{
    static const struct {
        unsigned stmt;
        int (*row)(struct hub_store_tx *, const struct hub_store_visitor *);
    } parts[] = {
        { HUB_S_LOAD_SESSIONS, load_session },
        { HUB_S_LOAD_SUBS, load_sub },
        { HUB_S_LOAD_RETAINED, load_retained },
        { HUB_S_LOAD_WILLS, load_will },
        { HUB_S_LOAD_INCOMING, hub_store_load_incoming },
    };
    int64_t mid;
    size_t i;
    int r = bt_db_query_int(tx->db, "SELECT MAX(mid) FROM message", &mid);

    if (r == 0 && (mid < 0 || (uint64_t)mid >= HUB_STORE_LAST_KEY)) {
        r = bt_db_exec(tx->db, "DELETE FROM message WHERE mid<=0 OR mid>=1<<62");
        if (r == 0)
            r = bt_db_query_int(tx->db, "SELECT MAX(mid) FROM message", &mid);
    }
    if (r == 0)
        r = bt_db_exec(tx->db, "DELETE FROM incoming WHERE sid NOT IN"
                               " (SELECT sid FROM session)");

    tx->next_mid = (uint64_t)mid + 1;
    for (i = 0; i < BT_ARRAY_LEN(parts) && r == 0; i++) {
        while ((r = bt_db_step(tx->db, parts[i].stmt)) == BT_DB_ROW) {
            r = parts[i].row(tx, v);
            if (r != 0) {
                bt_db_reset(tx->db, parts[i].stmt);
                return r;
            }
        }
    }
    if (r == 0)
        r = load_orphans(tx);
    if (r == 0)
        r = hub_store_tx_commit(tx);
    if (r < 0)
        hub_store_tx_rollback(tx);
    return r;
}
