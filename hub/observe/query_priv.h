/* What the questions share. Private to hub/query*.c. */
#ifndef HUB_QUERY_PRIV_H
#define HUB_QUERY_PRIV_H

#include "hub/net/conn.h"
#include "hub/observe/query.h"
#include "hub/observe/recorder.h"
#include "hub/worker.h"

#define HUB_QUERY_MAX_TOPIC    1024u
#define HUB_QUERY_ADDRESS_TEXT 80u

enum hub_query_kind { HUB_QUERY_OF_CLIENTS, HUB_QUERY_OF_WHY };

struct hub_query {
    struct bt_msg msg;
    struct bt_api_req *req;
    struct hub *hub;
    enum hub_query_kind kind;
    bool at_home; /* WHY: the client's own worker is asked next */
    bool text, trace;
    uint32_t worker; /* where it stands */
    uint32_t bucket; /* CLIENTS: of the worker's table */
    uint32_t left;   /* more clients that are wanted */
    uint32_t n;      /* items written to the list that is open */
    uint32_t trace_s;
    struct bt_buf out;
    int r; /* the first failure */
    struct bt_slice id, topic;
    char id_text[HUB_MAX_CLIENT_ID + 1], topic_text[HUB_QUERY_MAX_TOPIC + 1];
};

/* Writing: a failure is remembered, the rest is dropped. key: all that stands before. */
void hub_query_put(struct hub_query *q, const char *text);
void hub_query_put_text(struct hub_query *q, struct bt_slice s); /* a JSON string */
void hub_query_put_str(struct hub_query *q, const char *key, const char *value);
void hub_query_put_int(struct hub_query *q, const char *key, int64_t value);
void hub_query_put_bool(struct hub_query *q, const char *key, bool value);
void hub_query_put_comma(struct hub_query *q); /* between the items of a list */
/* Answers and frees q. */
void hub_query_finish(struct hub_query *q);
/* Passes q on; w is stopping: answers and frees it. */
void hub_query_send(struct hub_query *q, struct hub_worker *w);

/* NULL when out of memory: the request is answered. */
struct hub_query *hub_query_new(struct hub *hub, struct bt_api_req *req,
                                enum hub_query_kind kind);
/* Status 400; frees q. */
void hub_query_refuse(struct hub_query *q, const char *why);
/* A decimal number; absent leaves *out. */
bool hub_query_number(const struct bt_api_req *req, const char *name, uint32_t most,
                      uint32_t *out);

/* Wall clock of a time of the worker's loop. */
int64_t hub_query_wall(const struct hub_worker *w, uint64_t loop_ms);
/* One client as a JSON object. */
void hub_query_client(struct hub_query *q, const struct hub_worker *w,
                      struct hub_session *s);

/* hub/observe/query_why.c */
void hub_query_get_why(void *arg, struct bt_api_req *req);
void hub_query_on_why(struct hub_query *q, struct hub_worker *w);

#endif
