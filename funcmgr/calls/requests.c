/* Requests by MQTT 5.
 *
 * Happy path: delivery -> job -> the pool of the function that the topic names -> result
 * -> publish to the Response Topic with the Correlation Data of the request ->
 * acknowledge the request when the result is safe. An empty result is published, too:
 * somebody waits. A request without a Response Topic is run, and its result dropped. One
 * attempt.
 *
 * Whoever calls cannot borrow the manager's right to publish: the hub refuses requests
 * whose sender may not itself publish to the Response Topic (hub_client_opts.guards).
 *
 * Failure modes: a call that fails is answered with the error message of a rule and the
 * user property error=true. A response that the hub refuses for ever is given up, one
 * that it cannot take now leaves the request unacknowledged. QoS 0 has no back-pressure:
 * beyond the limits it is dropped and counted. When the session is lost the jobs that run
 * end, nothing of them is published, and the hub delivers their requests again. */
#include "funcmgr/calls/requests.h"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "funcmgr/calls/payload.h"
#include "funcmgr/rule/message.h"

#define REFUSED       0x80u
#define NAME          "{name}"
#define REOPEN_MIN_MS 100u
/* Room for properties and the packet's own bytes. */
#define PROPS_ROOM 512u

struct job {
    struct fm_call call;
    struct bt_list link; /* in jobs */
    struct fm_requests *owner;
    struct fm_pool *pool; /* it went to */
    struct hub_delivery *delivery;
    struct bt_slice response, correlation; /* of the delivery */
    size_t n_bytes;                        /* counted at QoS 0 */
    bool orphan;                           /* its session is gone */
    bool publishing;                       /* waits for on_published */
    char uuid[FM_UUID_LEN + 1];
};

/* ---- The end of a job ---- */

static void close_client(struct fm_requests *r)
{
    struct hub_client *client = bt_steal(r->client);

    if (client != NULL)
        hub_client_close(client);
}

static void check_drained(struct fm_requests *r)
{
    if (!r->closing || r->closed || r->n_jobs > 0)
        return;
    r->closed = true;
    close_client(r);
    bt_timer_stop(r->env.loop, &r->reopen_timer);
    fm_quiet_stop(&r->dropped);
    fm_quiet_stop(&r->lost);
    r->drained(r->arg);
}

/* What is not acknowledged keeps its place in the window until the session is opened
 * again. */
static void count_left(struct fm_requests *r)
{
    if (!r->closing && ++r->n_left == FM_REQUESTS_MAX_LEFT)
        bt_timer_start(r->env.loop, &r->reopen_timer, REOPEN_MIN_MS, 0);
}

static void end_job(struct job *job, bool ok)
{
    struct fm_requests *r = job->owner;

    ok |= r->clean && !r->closing; /* it would never come again */
    if (!ok && !job->orphan && job->delivery->qos > 0)
        count_left(r);

    if (job->delivery->qos == 0) {
        r->n_qos0--;
        r->n_bytes -= job->n_bytes;
    }
    if (job->orphan)
        hub_delivery_free(job->delivery);
    else
        hub_client_ack(r->client, job->delivery, ok);
    bt_list_remove(&job->link);
    r->n_jobs--;
    bt_free(job);
    check_drained(r);
}

static void lost(struct job *job, const char *why)
{
    job->owner->lost_why = why;
    fm_quiet_hit(&job->owner->lost);
}

static void say_lost(void *arg, uint64_t n)
{
    const struct fm_requests *r = arg;

    bt_log(BT_LOG_ERROR, "FUNC-RESPONSE", "a response could not be published",
           "filter=%s reason=\"%s\" times=%llu", r->filter, r->lost_why,
           (unsigned long long)n);
}

static void say_dropped(void *arg, uint64_t n)
{
    const struct fm_requests *r = arg;

    bt_log(BT_LOG_WARN, "FUNC-DROPPED", "too many requests wait for functions",
           "filter=%s waiting=%zu dropped=%llu", r->filter, r->n_jobs,
           (unsigned long long)n);
}

/* ---- Responses ---- */

/* The encoded block without its length, in b. */
static int put_props(const struct job *job, const struct fm_answer *a, struct bt_buf *b,
                     struct bt_slice *out)
{
    const struct bt_mqtt_user error = { bt_slice_of("error"), bt_slice_of("true") };
    struct bt_mqtt_props p = { .content_type = bt_slice_of(BT_API_JSON),
                               .correlation_data = job->correlation,
                               .users = &error,
                               .n_users = a->error ? 1 : 0 };
    size_t prefix = 0;
    int r;

    if (job->correlation.ptr != NULL)
        p.present |= 1u << BT_MQTT_P_CORRELATION_DATA;
    if (a->error || fm_payload_is_json(a->payload))
        p.present |= 1u << BT_MQTT_P_CONTENT_TYPE;
    r = bt_mqtt_encode_props(b, &p);
    if (r != 0)
        return r;
    while ((b->data[prefix++] & 0x80) != 0)
        ; /* skip the length */
    *out = (struct bt_slice){ b->data + prefix, b->len - prefix };
    return 0;
}

static int publish(struct job *job, const struct fm_answer *a)
{
    struct bt_buf props bt_cleanup(bt_buf_deinit) = { 0 };
    struct hub_delivery *d = job->delivery;
    struct hub_publish p = { .topic = job->response,
                             .payload = a->payload,
                             .qos = d->qos,
                             .token = (uint64_t)(uintptr_t)job,
                             .input = d->qos > 0 ? d : NULL };
    int r = put_props(job, a, &props, &p.props);

    if (r != 0)
        return r;
    job->publishing = d->qos > 0;
    r = hub_client_send(job->owner->client, &p);
    if (r != 0)
        job->publishing = false;
    return r;
}

static void answer(struct job *job, const struct fm_result *result)
{
    size_t most = hub_max_payload(job->owner->hub, job->response.len);
    size_t room = PROPS_ROOM + job->correlation.len;
    struct fm_answer a;
    int r = fm_answer_init(&a, result, &job->call.message, most > room ? most - room : 0);

    if (r == 0)
        r = publish(job, &a);
    fm_answer_deinit(&a);
    if (r == 0 && job->publishing)
        return;
    if (r != 0)
        lost(job, bt_error_text(r));
    /* What the hub will never take must not come again. */
    end_job(job, r == 0 || r == BT_ELIMIT || r == BT_EINVAL);
}

static void on_done(struct fm_call *call, const struct fm_result *result)
{
    struct job *job = bt_container_of(call, struct job, call);

    if (job->orphan || result->outcome == FM_STOPPED)
        end_job(job, false);
    else if (job->response.len == 0)
        end_job(job, true);
    else
        answer(job, result);
}

static void on_published(void *arg, uint64_t token, unsigned reason)
{
    struct job *job = (struct job *)(uintptr_t)token;
    bool for_ever = reason == BT_MQTT_NOT_AUTHORIZED || reason == BT_MQTT_BAD_TOPIC;

    (void)arg;
    job->publishing = false;
    job->delivery->answered &= reason < REFUSED; /* else it is still to be acknowledged */
    if (reason >= REFUSED)
        lost(job, for_ever ? "functions.hub.username may not publish there"
                           : "refused by the hub");
    end_job(job, reason < REFUSED || for_ever);
}

/* ---- Requests ---- */

static struct bt_slice name_in(const struct fm_requests *r, struct bt_slice topic)
{
    return (struct bt_slice){ topic.ptr + r->prefix, topic.len - r->prefix - r->suffix };
}

/* A client of version 3 has no properties, so no Response Topic either. */
static void take_props(struct job *job)
{
    struct bt_mqtt_props p = { 0 };

    if (bt_mqtt_props_read(job->delivery->props, BT_MQTT_PUBLISH, &p) != 0)
        return;
    if ((p.present & 1u << BT_MQTT_P_RESPONSE_TOPIC) != 0)
        job->response = p.response_topic;
    if ((p.present & 1u << BT_MQTT_P_CORRELATION_DATA) != 0)
        job->correlation = p.correlation_data;
}

static struct job *new_job(struct fm_requests *r, struct hub_delivery *d)
{
    struct job *job = bt_calloc(1, sizeof(*job));

    if (job == NULL)
        return NULL;
    job->owner = r;
    job->delivery = d;
    job->n_bytes = d->payload.len;
    job->call.attempts = 1;
    job->call.done = on_done;
    fm_uuid(job->uuid);
    job->call.message = (struct fm_message){
        .id = d->pid,
        .qos = d->qos,
        .topic = d->topic,
        .payload = d->payload,
        .timestamp = bt_clock_wall_ms() / 1000,
        .function = name_in(r, d->topic),
        .invoke_id = bt_slice_of(job->uuid),
    };
    take_props(job);
    bt_list_push_back(&r->jobs, &job->link);
    r->n_jobs++;
    if (d->qos == 0) {
        r->n_qos0++;
        r->n_bytes += job->n_bytes;
    }
    return job;
}

static bool is_full(const struct fm_requests *r, const struct hub_delivery *d)
{
    return d->qos == 0 && (r->n_qos0 >= FM_REQUESTS_MAX_JOBS ||
                           r->n_bytes + d->payload.len > FM_REQUESTS_MAX_BYTES);
}

static void unknown_function(struct job *job)
{
    const struct fm_message *m = &job->call.message;
    char text[300];
    struct fm_result result = { .outcome = FM_FAILED,
                                .message = text,
                                .type = FM_START_ERROR };

    (void)snprintf(text, sizeof(text), "function (%.*s) not found",
                   (int)BT_MIN(m->function.len, 255u), (const char *)m->function.ptr);
    on_done(&job->call, &result);
}

static void on_message(void *arg, struct hub_delivery *d)
{
    struct fm_requests *r = arg;
    struct job *job;

    if (r->closing) {
        hub_client_ack(r->client, d, false);
        return;
    }
    if (is_full(r, d)) {
        fm_quiet_hit(&r->dropped);
        hub_client_ack(r->client, d, true);
        return;
    }
    job = new_job(r, d);
    if (job == NULL) {
        hub_client_ack(r->client, d, false);
        return;
    }
    job->pool = r->env.find(r->env.arg, job->call.message.function);
    if (job->pool == NULL || !job->pool->conf->calls_mqtt)
        unknown_function(job);
    else
        fm_pool_call(job->pool, &job->call);
}

/* ---- The session ---- */

static void reopen_later(struct fm_requests *r)
{
    uint64_t max = (uint64_t)r->conf->hub.interval;

    if (r->closing)
        return;
    r->pause = r->pause == 0 ? REOPEN_MIN_MS : r->pause * 2;
    r->pause = BT_MIN(r->pause, max);
    bt_timer_start(r->env.loop, &r->reopen_timer, r->pause, 0);
}

static void tell_answered(struct fm_requests *r)
{
    if (!r->told && r->answered != NULL)
        r->answered(r->arg);
    r->told = true;
}

/* The jobs' deliveries outlive the session; only what they hold is looked at. */
static void lose_session(struct fm_requests *r)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &r->jobs) {
        struct job *job = bt_list_entry(it, struct job, link);

        job->orphan = true;
        if (job->publishing)
            end_job(job, false);
        else
            fm_pool_cancel(job->pool, &job->call);
    }
    close_client(r);
    reopen_later(r);
}

static void on_closed(void *arg, unsigned reason)
{
    struct fm_requests *r = arg;

    bt_log(BT_LOG_WARN, "FUNC-SESSION", "the session of functions.calls was closed",
           "filter=%s reason=0x%02x", r->filter, reason);
    lose_session(r);
}

static void on_ready(void *arg, unsigned reason)
{
    struct fm_requests *r = arg;

    tell_answered(r);
    if (reason < REFUSED) {
        r->pause = 0;
        bt_log(BT_LOG_INFO, "FUNC-CALLS", "functions can be called by MQTT", "filter=%s",
               r->filter);
        return;
    }
    bt_log(BT_LOG_ERROR, "FUNC-REFUSED",
           "the hub refused the login or subscription of functions.calls",
           "filter=%s reason=0x%02x", r->filter, reason);
    close_client(r);
    reopen_later(r);
}

void fm_requests_open(struct fm_requests *r)
{
    const struct fm_requests_conf *c = &r->conf->calls;
    const struct fm_hub_conf *login = &r->conf->hub;
    bool named = c->clientid != NULL && c->clientid[0] != '\0';
    /* The login of a broker elsewhere says nothing here. */
    bool here = !fm_hub_is_remote(login, r->hub);
    const struct hub_sub sub = { r->filter, (uint8_t)c->qos };
    struct hub_client_opts opts = {
        .username = here ? login->username : NULL,
        .password = here ? login->password : NULL,
        .clean = !named || login->cleansession,
        .window = FM_REQUESTS_WINDOW,
        .subs = &sub,
        .n_subs = 1,
        .guards = true,
        .loop = r->env.loop,
        .arg = r,
        .on_ready = on_ready,
        .on_message = on_message,
        .on_published = on_published,
        .on_closed = on_closed,
    };
    char own[FM_UUID_LEN + 16];
    char uuid[FM_UUID_LEN + 1];
    int e;

    fm_uuid(uuid);
    (void)snprintf(own, sizeof(own), "calls-%s", uuid);
    opts.client_id = named ? c->clientid : own;
    r->clean = opts.clean;
    r->n_left = 0;
    e = hub_client_open(r->hub, &opts, &r->client);
    if (e == 0)
        return;
    r->client = NULL;
    bt_log(BT_LOG_ERROR, "FUNC-OPEN",
           "the session of functions.calls could not be opened",
           "filter=%s reason=\"%s\"", r->filter, bt_error_text(e));
    tell_answered(r);
    reopen_later(r);
}

static void on_reopen(struct bt_timer *t)
{
    struct fm_requests *r = bt_container_of(t, struct fm_requests, reopen_timer);

    if (r->client != NULL)
        lose_session(r);
    else
        fm_requests_open(r);
}

/* ---- Life ---- */

int fm_requests_init(struct fm_requests *r, const struct fm_conf *conf,
                     const struct fm_calls_env *env, struct hub *hub)
{
    const char *topic = conf->calls.topic, *name = strstr(topic, NAME);
    const char *rest = name + strlen(NAME);
    struct bt_buf filter bt_cleanup(bt_buf_deinit) = { 0 };
    int e;

    *r = (struct fm_requests){ .conf = conf, .env = *env, .hub = hub };
    bt_list_init(&r->jobs);
    bt_timer_init(&r->reopen_timer, on_reopen);
    fm_quiet_init(&r->dropped, env->loop, say_dropped, r);
    fm_quiet_init(&r->lost, env->loop, say_lost, r);
    r->prefix = (size_t)(name - topic);
    r->suffix = strlen(rest);
    e = bt_buf_printf(&filter, "%.*s+%s", (int)r->prefix, topic, rest);
    if (e != 0)
        return e;
    r->filter = bt_buf_steal_str(&filter);
    return r->filter != NULL ? 0 : BT_ENOMEM;
}

void fm_requests_deinit(struct fm_requests *r)
{
    bt_free(r->filter);
    r->filter = NULL;
}

void fm_requests_close(struct fm_requests *r)
{
    r->closing = true;
    bt_timer_stop(r->env.loop, &r->reopen_timer);
    check_drained(r);
}

void fm_requests_abandon(struct fm_requests *r)
{
    struct bt_list *it, *next;

    bt_list_for_each_safe (it, next, &r->jobs) {
        struct job *job = bt_list_entry(it, struct job, link);

        if (job->publishing)
            end_job(job, false);
    }
}
