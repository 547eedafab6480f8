/* A remote link over a connection that is not there: what is asked of it, and what is
 * handed on. */
#include "funcmgr/rule/link_remote.c"

#include "tests/harness.h"

struct bt_mqtt_conn {
    int unused;
};

static struct bt_mqtt_conn the_conn;
static struct bt_mqtt_conn_conf opened;
static struct {
    char filter[64], client_id[64], username[64];
    int closes, n_acks, result;
    bool ok;
    struct bt_mqtt_message *acked;
    struct bt_mqtt_publish published;
    uint64_t token;
} conn_saw;

static void copy(char *out, struct bt_slice s)
{
    snprintf(out, 64, "%.*s", (int)s.len, s.len > 0 ? (const char *)s.ptr : "");
}

int bt_mqtt_conn_new(const struct bt_mqtt_conn_conf *conf, struct bt_mqtt_conn **out)
{
    opened = *conf;
    copy(conn_saw.filter, conf->subs[0].filter);
    copy(conn_saw.client_id, conf->connect.client_id);
    copy(conn_saw.username, conf->connect.username);
    *out = &the_conn;
    return conn_saw.result;
}
void bt_mqtt_conn_close(struct bt_mqtt_conn *c)
{
    CHECK(c == &the_conn);
    conn_saw.closes++;
}
int bt_mqtt_conn_publish(struct bt_mqtt_conn *c, const struct bt_mqtt_publish *p,
                         const struct bt_mqtt_props *props, uint64_t token)
{
    CHECK(c == &the_conn && props == NULL);
    conn_saw.published = *p;
    conn_saw.token = token;
    return conn_saw.result;
}
void bt_mqtt_message_ack(struct bt_mqtt_message *m, bool ok)
{
    conn_saw.n_acks++;
    conn_saw.acked = m;
    conn_saw.ok = ok;
}
void bt_mqtt_conn_pause(struct bt_mqtt_conn *c, bool paused)
{
    CHECK(c == &the_conn);
    conn_saw.n_acks = paused ? -1 : 0;
}
size_t bt_mqtt_conn_max_payload(const struct bt_mqtt_conn *c, size_t topic_len)
{
    (void)c;
    return 100 - topic_len;
}
uint8_t bt_mqtt_conn_version(const struct bt_mqtt_conn *c)
{
    (void)c;
    return BT_MQTT_50;
}

/* ---- The rule ---- */

static unsigned ready, closed, published;
static int n_ready, n_closed, n_messages;
static struct fm_delivery last;

static void rule_ready(void *arg, unsigned reason)
{
    (void)arg;
    n_ready++;
    ready = reason;
}
static void rule_message(void *arg, const struct fm_delivery *d)
{
    (void)arg;
    n_messages++;
    last = *d;
}
static void rule_published(void *arg, uint64_t token, unsigned reason)
{
    (void)arg;
    published = (unsigned)token + reason;
}
static void rule_closed(void *arg, unsigned reason)
{
    (void)arg;
    n_closed++;
    closed = reason;
}

static char address[] = "tcp://broker:1883", user[] = "u", secret[] = "p";
static struct fm_hub_conf conf;
static struct fm_remote remote;
static struct fm_link *link_;

static int start(void)
{
    const struct fm_link_opts opts = { .remote = &remote,
                                       .conf = &conf,
                                       .client_id = "me",
                                       .window = 12,
                                       .filter = "$share/g/t",
                                       .qos = 1,
                                       .on_ready = rule_ready,
                                       .on_message = rule_message,
                                       .on_published = rule_published,
                                       .on_closed = rule_closed };

    memset(&conn_saw, 0, sizeof(conn_saw));
    n_ready = n_closed = n_messages = 0;
    conf = (struct fm_hub_conf){ .address = address,
                                 .username = user,
                                 .password = secret,
                                 .timeout = 5000,
                                 .keepalive = 1500,
                                 .interval = 60000 };
    return fm_link_remote_ops.open(&opts, &link_);
}

/* Works. */

TEST(what_is_asked_for)
{
    CHECK_INT(start(), 0);
    CHECK_STR(opened.address, address);
    CHECK_STR(conn_saw.filter, "$share/g/t");
    CHECK_STR(conn_saw.client_id, "me");
    CHECK_STR(conn_saw.username, "u");
    CHECK(opened.connect.has_password && !opened.connect.clean);
    CHECK_INT(opened.connect.keepalive, 2); /* whole seconds, upwards */
    CHECK_INT(opened.connect.version, 0);
    CHECK_INT(opened.window_in, 12);
    CHECK_INT(opened.timeout_ms, 5000);
    CHECK_INT(opened.interval_ms, 0); /* the rule makes a new link */
    CHECK_INT(opened.session_expiry, UINT32_MAX);
    link_->ops->close(link_);
    CHECK_INT(conn_saw.closes, 1);
}

TEST(options)
{
    struct fm_hub_conf c = { .address = address,
                             .version = FM_MQTT_311,
                             .keepalive = -1,
                             .sessionexpiry = 90000,
                             .maxinflight = 3 };
    const struct fm_link_opts opts = {
        .remote = &remote, .conf = &c, .client_id = "me", .window = 12, .filter = "t"
    };

    CHECK_INT(fm_link_remote_ops.open(&opts, &link_), 0);
    CHECK_INT(opened.connect.version, BT_MQTT_311);
    CHECK_INT(opened.connect.keepalive, 0);
    CHECK(!opened.connect.has_username && !opened.connect.has_password);
    CHECK_INT(opened.session_expiry, 90);
    CHECK_INT(opened.window_in, 3);
    link_->ops->close(link_);
}

TEST(messages_and_results)
{
    struct bt_mqtt_message m = { .qos = 1, .pid = 7, .dup = true };
    const struct fm_publish p = { .topic = "r", .qos = 1, .token = 40 };

    CHECK_INT(start(), 0);
    opened.on_up(opened.arg, false);
    CHECK_INT(ready, FM_LINK_NEW_SESSION);
    m.topic = (struct bt_slice){ (const uint8_t *)"t", 1 };
    opened.on_message(opened.arg, &m);
    CHECK_INT(n_messages, 1);
    CHECK(last.pid == 7 && last.qos == 1 && last.dup && last.topic.len == 1);
    CHECK_INT(link_->ops->publish(link_, &p), 0);
    CHECK_INT(conn_saw.token, 40);
    CHECK_INT(conn_saw.published.qos, 1);
    CHECK_INT(conn_saw.published.topic.len, 1);
    opened.on_published(opened.arg, 40, 2);
    CHECK_INT(published, 42);
    link_->ops->ack(link_, &last, true);
    CHECK(conn_saw.acked == &m && conn_saw.ok);
    link_->ops->drop(&last);
    CHECK(conn_saw.n_acks == 2 && !conn_saw.ok);
    CHECK_INT(link_->ops->max_payload(link_, 1), 99);
    link_->ops->pause(link_, true);
    CHECK_INT(conn_saw.n_acks, -1);
    link_->ops->close(link_);
}

TEST(a_session_from_before)
{
    CHECK_INT(start(), 0);
    opened.on_up(opened.arg, true);
    CHECK_INT(ready, BT_MQTT_SUCCESS);
    link_->ops->close(link_);
}

/* Fails. */

TEST(not_reached_and_lost)
{
    struct bt_mqtt_loss loss = { .why = "no route" };

    CHECK_INT(start(), 0);
    opened.on_down(opened.arg, &loss);
    CHECK_INT(ready, BT_MQTT_UNAVAILABLE | FM_LINK_LOGGED);
    CHECK_INT(n_closed, 0);
    link_->ops->close(link_);
    CHECK_INT(start(), 0);
    opened.on_up(opened.arg, true);
    loss.reason = BT_MQTT_TAKEN_OVER;
    opened.on_down(opened.arg, &loss);
    CHECK_INT(n_ready, 1);
    CHECK_INT(closed, BT_MQTT_TAKEN_OVER | FM_LINK_LOGGED);
    link_->ops->close(link_);
}

TEST(what_the_connection_refuses)
{
    const struct fm_link_opts opts = {
        .remote = &remote, .conf = &conf, .client_id = "me", .filter = "t"
    };

    CHECK_INT(start(), 0);
    link_->ops->close(link_);
    link_ = NULL;
    conn_saw.result = BT_EINVAL;
    CHECK_INT(fm_link_remote_ops.open(&opts, &link_), BT_EINVAL);
    CHECK(link_ == NULL);
    (void)bt_mem_fail_from(1);
    CHECK_INT(fm_link_remote_ops.open(&opts, &link_), BT_ENOMEM);
    (void)bt_mem_fail_from(0);
}

TEST(certificates)
{
    static char tls[] = "ssl://broker", none[] = "/nonexistent/ca.pem";
    struct fm_hub_conf plain = { .address = address }, bad = { .address = tls };
    struct bt_loop *loop = bt_loop_new("test", false);
    const struct fm_remote *a, *b;
    struct fm_remotes all = { 0 };

    bad.ca = none;
    CHECK_INT(fm_remotes_get(&all, loop, &plain, &a), 0);
    CHECK(a->tls == NULL && a->resolver != NULL);
    CHECK_INT(fm_remotes_get(&all, loop, &plain, &b), 0);
    CHECK(a == b);
    CHECK_INT(fm_remotes_get(&all, loop, &bad, &b), BT_ETLS);
    fm_remotes_deinit(&all);
    fm_remotes_deinit(&all);
    bt_loop_free(loop);
}
