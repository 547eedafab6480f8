/* Requests between a hub and a pool that are not there: what is published, and when a
 * request is acknowledged. */
#include "funcmgr/calls/requests.c"

#include "tests/harness.h"

/* ---- The hub ---- */

struct hub_client {
    int unused;
};

static struct hub_client the_client;
static struct hub_client_opts opened;
static struct {
    int opens, closes, acks, frees, sends;
    bool ack_ok;
    struct hub_publish p;
    char payload[1024];
    struct bt_mqtt_props props;
    uint8_t block[256];
    int result;
} saw;

int hub_client_open(struct hub *hub, const struct hub_client_opts *opts,
                    struct hub_client **out)
{
    (void)hub;
    opened = *opts;
    saw.opens++;
    *out = &the_client;
    return 0;
}
int hub_client_send(struct hub_client *c, const struct hub_publish *p)
{
    CHECK(c == &the_client && p->props.len < sizeof(saw.block));
    saw.sends++;
    saw.p = *p;
    snprintf(saw.payload, sizeof(saw.payload), "%.*s", (int)p->payload.len,
             (const char *)p->payload.ptr);
    memcpy(saw.block, p->props.ptr, p->props.len);
    saw.props = (struct bt_mqtt_props){ 0 };
    CHECK_INT(bt_mqtt_props_read((struct bt_slice){ saw.block, p->props.len },
                                 BT_MQTT_PUBLISH, &saw.props),
              0);
    return saw.result;
}
void hub_client_ack(struct hub_client *c, struct hub_delivery *d, bool ok)
{
    CHECK(c == &the_client && d != NULL);
    saw.acks++;
    saw.ack_ok = ok;
}
void hub_delivery_free(struct hub_delivery *d)
{
    CHECK(d != NULL);
    saw.frees++;
}
void hub_client_close(struct hub_client *c)
{
    CHECK(c == &the_client);
    saw.closes++;
}
size_t hub_max_payload(const struct hub *hub, size_t topic_len)
{
    (void)hub;
    return 2000 - topic_len;
}
bool fm_hub_is_remote(const struct fm_hub_conf *c, const struct hub *hub)
{
    (void)c;
    (void)hub;
    return false;
}

/* ---- The pool and the loop ---- */

static struct fm_pool the_pool;
static struct fm_call *waiting;

void fm_pool_call(struct fm_pool *p, struct fm_call *call)
{
    CHECK(p == &the_pool);
    waiting = call;
}
void fm_pool_cancel(struct fm_pool *p, struct fm_call *call)
{
    (void)p;
    call->cancelled = true;
}
void bt_timer_init(struct bt_timer *t, void (*fn)(struct bt_timer *t))
{
    t->fn = fn;
}
void bt_timer_start(struct bt_loop *l, struct bt_timer *t, uint64_t after,
                    uint64_t repeat)
{
    (void)l;
    (void)repeat;
    t->priv_[0] = after;
}
void bt_timer_stop(struct bt_loop *l, struct bt_timer *t)
{
    (void)l;
    t->priv_[0] = 0;
}
bool bt_timer_active(const struct bt_timer *t)
{
    return t->priv_[0] != 0;
}
uint64_t bt_loop_ms(const struct bt_loop *l)
{
    (void)l;
    return 1;
}

/* ---- Requests ---- */

static struct fm_requests r;
static struct fm_conf conf;
static struct fm_function_conf function;
static struct hub_delivery delivery;
static int n_drained;

static struct bt_slice text(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}
static struct fm_pool *find(void *arg, struct bt_slice name)
{
    (void)arg;
    return name.len == 1 && name.ptr[0] == 'f' ? &the_pool : NULL;
}
static void on_drained(void *arg)
{
    (void)arg;
    n_drained++;
}

static void begin(void)
{
    static char topic[] = "a/{name}/call", id[] = "id";
    const struct fm_calls_env env = { .find = find };

    memset(&saw, 0, sizeof(saw));
    waiting = NULL;
    n_drained = 0;
    function.calls_mqtt = true;
    the_pool.conf = &function;
    conf = (struct fm_conf){ .calls = { topic, 1, id }, .hub = { .interval = 1000 } };
    CHECK_INT(fm_requests_init(&r, &conf, &env, NULL), 0);
    r.drained = on_drained;
    fm_requests_open(&r);
    on_ready(&r, 0);
    CHECK_STR(r.filter, "a/+/call");
    CHECK(opened.guards && !opened.clean);
}

static void end(void)
{
    fm_requests_close(&r);
    CHECK(n_drained == 1 && saw.closes == 1);
    fm_requests_deinit(&r);
}

/* props: encoded block without its length. */
static void deliver(uint8_t qos, const char *topic, const char *props)
{
    delivery = (struct hub_delivery){ .topic = text(topic),
                                      .payload = text("in"),
                                      .qos = qos,
                                      .pid = qos > 0 ? 7 : 0,
                                      .props = { (const uint8_t *)props, 9 } };
    if (props[0] == '\0')
        delivery.props.len = 0;
    on_message(&r, &delivery);
}

/* Response Topic "re", Correlation Data "c". */
#define PROPS "\x08\0\2re\x09\0\1c"

static void finish(enum fm_outcome outcome, const char *words)
{
    struct fm_result result = { .outcome = outcome,
                                .payload = text(words),
                                .message = words,
                                .type = FM_STATUS_ERROR };

    waiting->done(waiting, &result);
}

TEST(qos_0)
{
    begin();
    deliver(0, "a/f/call", PROPS);
    CHECK_INT(waiting->attempts, 1);
    finish(FM_OK, "out");
    CHECK(saw.sends == 1 && saw.p.qos == 0 && saw.p.input == NULL && saw.acks == 1);
    CHECK_STR(saw.payload, "out");
    CHECK_MEM(saw.p.topic.ptr, "re", 2);
    CHECK(saw.props.correlation_data.len == 1 &&
          saw.props.correlation_data.ptr[0] == 'c');
    CHECK((saw.props.present & 1u << BT_MQTT_P_CONTENT_TYPE) == 0);
    end();
}

TEST(qos_1_is_acknowledged_when_the_response_is_safe)
{
    begin();
    deliver(1, "a/f/call", PROPS);
    finish(FM_OK, "");
    CHECK(saw.sends == 1 && saw.p.qos == 1 && saw.p.input == &delivery && saw.acks == 0);
    on_published(&r, saw.p.token, 0);
    CHECK(saw.acks == 1 && saw.ack_ok);
    end();
}

TEST(refused_response)
{
    begin();
    deliver(1, "a/f/call", PROPS);
    finish(FM_OK, "out");
    on_published(&r, saw.p.token, BT_MQTT_NOT_AUTHORIZED);
    CHECK(saw.acks == 1 && saw.ack_ok); /* for ever */
    deliver(1, "a/f/call", PROPS);
    finish(FM_OK, "out");
    on_published(&r, saw.p.token, BT_MQTT_QUOTA);
    CHECK(saw.acks == 2 && !saw.ack_ok);
    end();
}

TEST(refused_responses_do_not_fill_the_window)
{
    begin();
    for (unsigned i = 0; i < FM_REQUESTS_MAX_LEFT; i++) {
        CHECK(!bt_timer_active(&r.reopen_timer));
        deliver(1, "a/f/call", PROPS);
        finish(FM_OK, "out");
        delivery.answered = true;
        on_published(&r, saw.p.token, BT_MQTT_QUOTA);
        CHECK(!saw.ack_ok && !delivery.answered);
    }
    CHECK(bt_timer_active(&r.reopen_timer));
    on_reopen(&r.reopen_timer);
    CHECK(saw.closes == 1 && bt_timer_active(&r.reopen_timer));
    on_reopen(&r.reopen_timer);
    CHECK(saw.opens == 2 && r.n_left == 0);
    saw.closes = 0;
    r.clean = true; /* nothing would come again */
    deliver(1, "a/f/call", PROPS);
    finish(FM_OK, "out");
    on_published(&r, saw.p.token, BT_MQTT_QUOTA);
    CHECK(saw.ack_ok);
    end();
}

TEST(failure_is_an_error_message)
{
    struct bt_mqtt_user user;
    size_t pos = 0;

    begin();
    deliver(0, "a/f/call", PROPS);
    finish(FM_FAILED, "boom");
    CHECK(strstr(saw.payload, "\"errorMessage\":\"boom\"") != NULL);
    CHECK(bt_mqtt_user_next(saw.props.raw, &pos, &user) && user.name.len == 5);
    deliver(0, "a/g/call", PROPS);
    CHECK(strstr(saw.payload, "function (g) not found") != NULL);
    CHECK(saw.sends == 2 && saw.acks == 2);
    end();
}

TEST(without_response_topic_the_result_is_dropped)
{
    begin();
    deliver(1, "a/f/call", "");
    finish(FM_OK, "out");
    CHECK(saw.sends == 0 && saw.acks == 1 && saw.ack_ok);
    end();
}

TEST(stopped_call_is_not_acknowledged)
{
    begin();
    deliver(1, "a/f/call", PROPS);
    finish(FM_STOPPED, "stops");
    CHECK(saw.sends == 0 && saw.acks == 1 && !saw.ack_ok);
    end();
}

TEST(lost_session)
{
    begin();
    deliver(1, "a/f/call", PROPS);
    on_closed(&r, 0x8e);
    CHECK(saw.closes == 1 && waiting->cancelled && bt_timer_active(&r.reopen_timer));
    finish(FM_OK, "out");
    CHECK(saw.sends == 0 && saw.acks == 0 && saw.frees == 1);
    r.reopen_timer.fn(&r.reopen_timer);
    CHECK_INT(saw.opens, 2);
    saw.closes = 0;
    end();
}

TEST(qos_0_is_bounded)
{
    begin();
    for (unsigned i = 0; i <= FM_REQUESTS_MAX_JOBS; i++)
        on_message(&r, &(struct hub_delivery){ .topic = text("a/f/call") });
    CHECK(r.n_jobs == FM_REQUESTS_MAX_JOBS && saw.acks == 1);
    fm_requests_close(&r);
    CHECK_INT(n_drained, 0);
    while (!bt_list_empty(&r.jobs)) {
        waiting = &bt_list_entry(bt_list_first(&r.jobs), struct job, link)->call;
        r.n_qos0 = r.n_qos0 > 0 ? r.n_qos0 : 1;
        bt_list_entry(bt_list_first(&r.jobs), struct job, link)->delivery = &delivery;
        delivery.qos = 0;
        finish(FM_STOPPED, "");
    }
    CHECK_INT(n_drained, 1);
    fm_requests_deinit(&r);
}
