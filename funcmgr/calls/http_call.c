/* POST /v1/functions/NAME/call: a payload in, a payload out.
 *
 * Happy path: main thread: the query is read, a task is made and posted; the function
 * manager's thread: the pool runs the call and its result is the answer. One attempt;
 * nothing is tried again, because nobody but the client knows whether that is right.
 * Failure modes: each outcome has its status, and the body is the error message that a
 * rule would publish. A call that no instance takes until its time is over is answered
 * then. A client that waits for less time than the function may take gets its answer
 * then, too, and like one that went away it does not end the instance for the others: the
 * call ends as it would have, and the result is dropped. Too many calls under way refuse
 * new ones. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/conf.h"
#include "core/error.h"
#include "core/mem.h"
#include "funcmgr/calls/calls.h"
#include "funcmgr/calls/payload.h"
#include "funcmgr/rule/error_json.h"
#include "funcmgr/rule/message.h"
#include "funcmgr/task.h"

#define SUFFIX   "/call"
#define MAX_NAME 256u
#define GRACE_MS 50u

struct http_call {
    struct fm_task task;
    struct fm_call call;
    struct fm_face *face;
    struct fm_pool *pool;
    struct bt_api_req *req; /* NULL: answered */
    struct bt_timer timer;  /* the client's time */
    int64_t timeout;        /* ms, 0 = the function's */
    char uuid[FM_UUID_LEN + 1];
    char name[MAX_NAME], topic[FM_MAX_CALL_TOPIC];
};

static void free_call(struct http_call *h)
{
    atomic_fetch_sub(&h->face->n_calls, 1);
    bt_free(h);
}

/* ---- Answering; the function manager's thread ---- */

static unsigned status_of(const struct fm_result *result)
{
    static const struct {
        enum fm_outcome outcome;
        unsigned status;
    } table[] = {
        { FM_FAILED, 500 },      { FM_TIMEOUT, 504 }, { FM_BROKEN, 502 },
        { FM_NOT_STARTED, 503 }, { FM_STOPPED, 503 }, { FM_OVERLOADED, 429 },
    };

    /* One that came back too large is the function's fault, not the client's. */
    if (result->outcome == FM_TOO_LARGE)
        return strstr(result->message, "trying to send") != NULL ? 413 : 502;
    for (size_t i = 0; i < BT_ARRAY_LEN(table); i++)
        if (table[i].outcome == result->outcome)
            return table[i].status;
    return 500;
}

static void put_error(struct http_call *h, unsigned status, const char *message,
                      const char *type)
{
    struct bt_buf json = { 0 };
    const struct fm_message *m = &h->call.message;
    int r = fm_error_json(&json, message, type, m, m->payload.len <= FM_MAX_ERROR_INPUT);

    if (r == 0)
        bt_api_answer(bt_steal(h->req), status, BT_API_JSON, &json);
    else
        bt_api_refuse(bt_steal(h->req), 503, "out of memory");
    bt_buf_deinit(&json);
}

static void answer_error(struct http_call *h, unsigned status, const char *message,
                         const char *type)
{
    put_error(h, status, message, type);
    free_call(h);
}

static void answer_payload(struct http_call *h, struct bt_slice payload)
{
    struct bt_buf body = { 0 };
    int r = payload.len > 0 ? bt_buf_append(&body, payload.ptr, payload.len) : 0;

    if (r != 0)
        bt_api_refuse(h->req, 503, "out of memory");
    else if (payload.len == 0)
        bt_api_answer(h->req, 204, NULL, NULL);
    else
        bt_api_answer(h->req, 200,
                      fm_payload_is_json(payload) ? BT_API_JSON : BT_API_BINARY, &body);
    bt_buf_deinit(&body);
    free_call(h);
}

static void on_done(struct fm_call *call, const struct fm_result *result)
{
    struct http_call *h = bt_container_of(call, struct http_call, call);

    bt_timer_stop(h->face->calls->env.loop, &h->timer);
    if (h->req == NULL)
        free_call(h);
    else if (result->outcome == FM_OK)
        answer_payload(h, result->payload);
    else
        answer_error(h, status_of(result), result->message, result->type);
}

/* ---- Running; the function manager's thread ---- */

static void on_timer(struct bt_timer *t)
{
    struct http_call *h = bt_container_of(t, struct http_call, timer);

    put_error(h, 504,
              "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
              FM_STATUS_ERROR);
    /* The payload went with the request. */
    h->call.message.payload = (struct bt_slice){ NULL, 0 };
    fm_pool_cancel(h->pool, &h->call);
}

static void run(struct fm_task *task)
{
    struct http_call *h = bt_container_of(task, struct http_call, task);
    const struct fm_calls_env *env = &h->face->calls->env;
    char text[MAX_NAME + 32];
    uint64_t timeout;

    h->pool = env->find(env->arg, h->call.message.function);
    if (h->pool == NULL || (h->face->remote && !h->pool->conf->calls_http)) {
        (void)snprintf(text, sizeof(text), "function (%s) not found", h->name);
        answer_error(h, 404, text, FM_START_ERROR);
        return;
    }
    timeout = (uint64_t)h->pool->conf->timeout;
    /* A little later than the instance's own, which says what happened. */
    timeout += GRACE_MS;
    if (h->timeout > 0)
        timeout = BT_MIN(timeout, (uint64_t)h->timeout);
    bt_timer_start(env->loop, &h->timer, timeout, 0);
    fm_pool_call(h->pool, &h->call);
}

/* ---- Asking; main thread ---- */

/* "2s", "500ms"; a bare number is seconds. */
static bool take_timeout(const char *text, int64_t *out)
{
    char with_unit[48];
    bool bare = text[0] != '\0' && strspn(text, "0123456789.") == strlen(text);

    (void)snprintf(with_unit, sizeof(with_unit), "%.32s%s", text, bare ? "s" : "");
    return bt_conf_parse_ms(with_unit, out) == 0 && *out > 0;
}

/* NULL or what is wrong with the query. */
static const char *take_query(struct http_call *h)
{
    char text[33];
    int r = bt_api_param(h->req, "topic", h->topic, sizeof(h->topic));

    if (r < 0)
        return "topic: expected up to 1023 bytes of text";
    r = bt_api_param(h->req, "qos", text, sizeof(text));
    if (r < 0 || (r == 0 && (text[1] != '\0' || text[0] < '0' || text[0] > '2')))
        return "qos: expected 0, 1 or 2";
    if (r == 0)
        h->call.message.qos = (uint32_t)(text[0] - '0');
    r = bt_api_param(h->req, "timeout", text, sizeof(text));
    if (r < 0 || (r == 0 && !take_timeout(text, &h->timeout)))
        return "timeout: expected a time, as in 2s or 500ms";
    return NULL;
}

/* NULL when out of memory. */
static struct http_call *new_call(struct fm_face *face, struct bt_api_req *req,
                                  size_t name_len)
{
    struct http_call *h = bt_calloc(1, sizeof(*h));
    struct fm_message *m;

    if (h == NULL)
        return NULL;
    h->face = face;
    h->req = req;
    h->task.run = run;
    h->task.msg.kind = FM_MSG_TASK;
    h->call.attempts = 1;
    h->call.done = on_done;
    bt_timer_init(&h->timer, on_timer);
    memcpy(h->name, req->rest, name_len);
    fm_uuid(h->uuid);
    m = &h->call.message;
    m->payload = req->body;
    m->timestamp = bt_clock_wall_ms() / 1000;
    m->function = bt_slice_of(h->name);
    m->invoke_id = bt_slice_of(h->uuid);
    return h;
}

/* Whether another call may be under way. */
static bool enter(struct fm_face *face)
{
    if (atomic_fetch_add(&face->n_calls, 1) < FM_MAX_HTTP_CALLS)
        return true;
    atomic_fetch_sub(&face->n_calls, 1);
    return false;
}

void fm_http_call(void *arg, struct bt_api_req *req)
{
    struct fm_face *face = arg;
    size_t len = strlen(req->rest), cut = sizeof(SUFFIX) - 1;
    const char *wrong = NULL;
    struct http_call *h;

    if (len <= cut || strcmp(req->rest + len - cut, SUFFIX) != 0 ||
        len - cut >= MAX_NAME) {
        bt_api_refuse(req, 404, "expected /v1/functions/NAME/call");
        return;
    }
    if (!enter(face)) {
        bt_api_refuse(req, 429, "too many calls are under way");
        return;
    }
    h = new_call(face, req, len - cut);
    if (h == NULL) {
        atomic_fetch_sub(&face->n_calls, 1);
        bt_api_refuse(req, 503, "out of memory");
        return;
    }
    wrong = take_query(h);
    if (wrong != NULL) {
        bt_api_refuse(req, 400, wrong);
        free_call(h);
        return;
    }
    h->call.message.topic = bt_slice_of(h->topic);
    if (bt_mbox_post(face->calls->env.mbox, &h->task.msg) != 0) {
        bt_api_refuse(req, 503, "the function manager stops");
        free_call(h);
    }
}
