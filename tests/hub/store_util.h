/* What the store's tests share: folders, messages, operations, a visitor that counts. */
#ifndef TESTS_HUB_STORE_UTIL_H
#define TESTS_HUB_STORE_UTIL_H

#include <dirent.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/mem.h"
#include "hub/store/store_tx.h"
#include "tests/harness.h"

static char test_dir[64];

__attribute__((unused)) static const char *new_dir(void)
{
    snprintf(test_dir, sizeof(test_dir), "/tmp/baetyl-store-XXXXXX");
    return mkdtemp(test_dir);
}

/* Calls fn for every name in test_dir. */
__attribute__((unused)) static void each_file(void (*fn)(void *arg, const char *name),
                                              void *arg)
{
    DIR *d = opendir(test_dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            fn(arg, e->d_name);
    if (d != NULL)
        closedir(d);
}

__attribute__((unused)) static void remove_file(void *arg, const char *name)
{
    char path[512];

    (void)arg;
    snprintf(path, sizeof(path), "%s/%s", test_dir, name);
    unlink(path);
}

__attribute__((unused)) static void count_damaged(void *arg, const char *name)
{
    *(int *)arg += strncmp(name, "hub.db.damaged-", 15) == 0 &&
                   strcmp(name + strlen(name) - 4, "-wal") != 0;
}

__attribute__((unused)) static void drop_dir(void)
{
    each_file(remove_file, NULL);
    rmdir(test_dir);
}

__attribute__((unused)) __attribute__((unused)) static struct hub_msg *
message(const char *topic, const char *payload)
{
    struct hub_pub pub = { .topic = bt_slice_of(topic),
                           .payload = bt_slice_of(payload),
                           .props = bt_slice_of("\x01\x01"),
                           .qos = 1,
                           .expiry_s = 60 };

    return hub_msg_new(&pub);
}

/* The entry's second reference is the test's when keep is not NULL. */
__attribute__((unused)) static struct hub_op *
enqueue_op(uint64_t sid, uint64_t qseq, struct hub_msg *msg, struct hub_qentry **keep)
{
    struct hub_op *op = hub_op_new(HUB_OP_ENQUEUE, sid);

    op->entry = hub_qentry_new(msg, qseq);
    op->entry->qos = 1;
    if (keep != NULL) {
        atomic_fetch_add(&op->entry->refs, 1);
        *keep = op->entry;
    }
    return op;
}

__attribute__((unused)) static struct hub_op *seq_op(enum hub_op_kind kind, uint64_t sid,
                                                     uint64_t qseq)
{
    struct hub_op *op = hub_op_new(kind, sid);

    op->qseq = qseq;
    return op;
}

__attribute__((unused)) static struct hub_op *text_op(enum hub_op_kind kind, uint64_t sid,
                                                      const char *text)
{
    struct hub_op *op = hub_op_new(kind, sid);

    op->text = bt_strdup(text);
    return op;
}

struct seen {
    unsigned sessions, subs, retained;
    uint64_t sid, first, last, rows;
    uint32_t expiry, options, subid;
    int64_t disconnected;
    char client[32], principal[32], filter[32], topic[32], payload[32];
};

__attribute__((unused)) static int on_session(void *arg, uint64_t sid, const char *client,
                                              const char *principal, uint32_t expiry_s,
                                              int64_t disconnected_ms, uint64_t first,
                                              uint64_t last, uint64_t rows)
{
    struct seen *seen = arg;

    seen->sessions++;
    seen->sid = sid;
    seen->expiry = expiry_s;
    seen->disconnected = disconnected_ms;
    seen->first = first;
    seen->last = last;
    seen->rows = rows;
    snprintf(seen->client, sizeof(seen->client), "%s", client);
    snprintf(seen->principal, sizeof(seen->principal), "%s", principal);
    return 0;
}

__attribute__((unused)) static int on_sub(void *arg, uint64_t sid, const char *filter,
                                          uint32_t options, uint32_t subid)
{
    struct seen *seen = arg;

    (void)sid;
    seen->subs++;
    seen->options = options;
    seen->subid = subid;
    snprintf(seen->filter, sizeof(seen->filter), "%s", filter);
    return 0;
}

__attribute__((unused)) static int on_retained(void *arg, struct hub_msg *msg)
{
    struct seen *seen = arg;
    struct bt_slice topic = hub_msg_topic(msg), payload = hub_msg_payload(msg);

    seen->retained++;
    snprintf(seen->topic, sizeof(seen->topic), "%.*s", (int)topic.len,
             (const char *)topic.ptr);
    snprintf(seen->payload, sizeof(seen->payload), "%.*s", (int)payload.len,
             (const char *)payload.ptr);
    hub_msg_unref(msg);
    return 0;
}

__attribute__((unused)) static struct hub_store_visitor visitor_of(struct seen *seen)
{
    memset(seen, 0, sizeof(*seen));
    return (struct hub_store_visitor){ .arg = seen,
                                       .session = on_session,
                                       .subscription = on_sub,
                                       .retained = on_retained };
}

__attribute__((unused)) static int64_t ask_db(struct bt_db *db, const char *sql)
{
    int64_t n = -1;

    return bt_db_query_int(db, sql, &n) == 0 ? n : -1;
}

#endif
