/* Out of memory at every single allocation. Each case is played again and again with the
 * nth allocation failing, once alone and once with all later ones, until none fails any
 * more. Nothing may crash or leak; what was acknowledged must be kept; a client that got
 * no answer must have been closed. */
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

#define MOST_ALLOCATIONS 2000

static struct sim_client a, b, c;
static unsigned version;
static const char *config;
static unsigned long attempt;
static bool once;
static unsigned taken; /* messages that act took */

static void wrong(const char *what)
{
    printf("%s: version %u, %s allocation %lu\n", what, version, once ? "only" : "from",
           attempt);
    fflush(stdout);
    CHECK(!"see above");
}

struct play {
    void (*before)(void), (*act)(void), (*after)(void);
};

static bool incoming[65536]; /* QoS 2 messages whose PUBREL has not come */

static bool play_once(const struct play *p)
{
    bool failed;

    sim_begin(config);
    a = b = c = (struct sim_client){ NULL, version };
    memset(incoming, 0, sizeof(incoming));
    taken = 0;
    p->before();
    sim_run();
    if (once)
        (void)bt_mem_fail_once(attempt);
    else
        (void)bt_mem_fail_from(attempt);
    p->act();
    sim_run();
    failed = bt_mem_fail_from(0);
    sim_run();
    p->after();
    sim_end();
    return failed;
}

static void play(void (*before)(void), void (*act)(void), void (*after)(void))
{
    static const char *const configs[] = { "workers: 1\n", "workers: 3\n" };
    struct play p = { before, act, after };

    for (unsigned i = 0; i < 8; i++) {
        version = i & 1 ? 5 : 4;
        once = (i & 2) != 0;
        config = configs[i / 4];
        for (attempt = 1; play_once(&p); attempt++)
            if (attempt > MOST_ALLOCATIONS)
                wrong("never without a failure");
        CHECK(attempt > 1);
    }
}

static struct sim_client open_client(const char *id, bool keep)
{
    return sim_client_open(
        &(struct sim_login){ .id = id, .version = version, .keep = keep });
}

/* The answer to what was asked: its reason. -1: none, the connection was closed. */
static int answer_of(const struct sim_client *cl, unsigned type)
{
    struct sim_heard h;

    while (sim_answer(cl, &h))
        if (h.type == type)
            return (int)h.reason;
    if (!cl->peer->gone)
        wrong("no answer, and not closed");
    return -1;
}

static void subscribed(struct sim_client *cl, const char *filter, unsigned qos)
{
    sim_say_subscribe(cl, filter, qos, 1);
    sim_run();
    CHECK_INT(answer_of(cl, BT_MQTT_SUBACK), (int)qos);
}

/* Answers one packet of the hub; 1 for a message that is new and has the payload. */
static unsigned take_packet(const struct sim_client *cl, const struct sim_heard *h,
                            const char *payload)
{
    bool known = false;

    if (h->type == BT_MQTT_PUBREL) {
        incoming[h->pid] = false;
        sim_say_ack(cl, 0x70, h->pid);
    }
    if (h->type != BT_MQTT_PUBLISH)
        return 0;
    if (h->qos == 2) {
        known = incoming[h->pid];
        incoming[h->pid] = true;
    }
    if (h->qos > 0)
        sim_say_ack(cl, h->qos == 1 ? 0x40 : 0x50, h->pid);
    return !known && strcmp(h->payload, payload) == 0;
}

/* Takes deliveries, acknowledges, counts those with this payload. */
static unsigned take(const struct sim_client *cl, const char *payload)
{
    struct sim_heard h;
    unsigned n = 0;

    for (int i = 0; i < 4; i++) {
        while (sim_hear(cl, &h))
            n += take_packet(cl, &h, payload);
        sim_run();
    }
    return n;
}

/* What the persistent session of this client holds, now and after a new login. */
static unsigned take_all(struct sim_client *cl, const char *id, const char *payload)
{
    unsigned n = take(cl, payload);

    sim_client_break(cl);
    *cl = open_client(id, true);
    return n + take(cl, payload);
}

/* The hub still serves: a new client publishes to another. */
static void still_serves(void)
{
    struct sim_client from = open_client("new-from", false);
    struct sim_client to = open_client("new-to", false);

    subscribed(&to, "still/#", 1);
    sim_say_publish(&from, "still/here", "yes", 1, false, 3);
    sim_run();
    CHECK_INT(answer_of(&from, BT_MQTT_PUBACK), 0);
    CHECK_INT(take(&to, "yes"), 1);
}

static void nothing(void)
{
}

/* ---- CONNECT ---- */

static void connect_with_will(void)
{
    struct sim_login l = { .id = "a",
                           .version = version,
                           .keep = true,
                           .will_topic = "will",
                           .will_payload = "gone",
                           .will_qos = 1,
                           .will_retain = true };

    a.peer = sim_connect(0);
    if (a.peer != NULL)
        sim_say_connect(a.peer, &l);
}

static void connected_or_closed(void)
{
    if (a.peer != NULL && answer_of(&a, BT_MQTT_CONNACK) == 0 && !a.peer->gone) {
        sim_say(&a, 0xc0);
        sim_run();
        (void)answer_of(&a, BT_MQTT_PINGRESP);
    }
    still_serves();
}

TEST(connect)
{
    play(nothing, connect_with_will, connected_or_closed);
}

static void session_a(void)
{
    a = open_client("a", true);
    subscribed(&a, "t/#", 1);
}

static void take_over(void)
{
    b.peer = sim_connect(0);
    if (b.peer != NULL)
        sim_say_connect(
            b.peer, &(struct sim_login){ .id = "a", .version = version, .keep = true });
}

static void taken_or_closed(void)
{
    if (b.peer != NULL && answer_of(&b, BT_MQTT_CONNACK) == 0)
        CHECK(a.peer->gone);
    still_serves();
}

TEST(takeover)
{
    play(session_a, take_over, taken_or_closed);
}

/* The session survives a login that failed. */
static void message_waits(void)
{
    session_a();
    sim_client_break(&a);
    b = open_client("b", false);
    sim_say_publish(&b, "t/1", "kept", 1, false, 1);
    sim_run();
    CHECK_INT(answer_of(&b, BT_MQTT_PUBACK), 0);
}

static void login_again(void)
{
    a.peer = sim_connect(0);
    if (a.peer != NULL)
        sim_say_connect(
            a.peer, &(struct sim_login){ .id = "a", .version = version, .keep = true });
}

static void nothing_lost(void)
{
    unsigned n = a.peer == NULL ? 0 : take(&a, "kept");

    if (a.peer != NULL)
        sim_client_break(&a);
    a = open_client("a", true);
    if (n + take(&a, "kept") == 0)
        wrong("an acknowledged message is lost");
}

TEST(reconnect_keeps_what_waits)
{
    play(message_waits, login_again, nothing_lost);
}

static void acknowledge_all(void)
{
    (void)take(&a, "");
}

static void online_message(void)
{
    session_a();
    b = open_client("b", false);
    sim_say_publish(&b, "t/1", "kept", 1, false, 1);
    sim_run();
}

static void three_more(void)
{
    subscribed(&a, "t/#", 1);
    for (unsigned i = 0; i < 3; i++)
        sim_say_publish(&b, "t/2", "later", 1, false, 10 + i);
    sim_run();
    if (take_all(&a, "a", "later") != 3)
        wrong("later messages are lost");
}

static void goes_on(void)
{
    if (a.peer->gone)
        a = open_client("a", true);
    three_more();
}

TEST(acknowledging)
{
    play(online_message, acknowledge_all, goes_on);
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

static void two_clients(void)
{
    a = open_client("a", true);
    b = open_client("b", false);
}

static void subscribe(void)
{
    sim_say_subscribe(&a, "t/+/x", 1, 1);
}

static void granted_means_delivered(void)
{
    int reason = answer_of(&a, BT_MQTT_SUBACK);

    sim_say_publish(&b, "t/1/x", "wanted", 1, false, 2);
    sim_run();
    CHECK_INT(answer_of(&b, BT_MQTT_PUBACK) & 0x80, 0);
    if (reason >= 0 && reason < 0x80 && take_all(&a, "a", "wanted") == 0)
        wrong("a granted subscription delivers nothing");
    still_serves();
}

TEST(subscribing)
{
    play(two_clients, subscribe, granted_means_delivered);
}

static void retained_is_there(void)
{
    two_clients();
    sim_say_publish(&b, "t/1/x", "old", 1, true, 2);
    sim_run();
    CHECK_INT(answer_of(&b, BT_MQTT_PUBACK) & 0x80, 0);
}

static void subscribe_shared(void)
{
    sim_say_subscribe(&a, "$share/g/t/+/x", 1, 1);
}

TEST(subscribing_shared)
{
    play(two_clients, subscribe_shared, granted_means_delivered);
}

TEST(subscribing_to_retained)
{
    play(retained_is_there, subscribe, granted_means_delivered);
}

static void subscribed_both(void)
{
    two_clients();
    subscribed(&a, "t/+/x", 1);
}

static void unsubscribe(void)
{
    sim_say_unsubscribe(&a, "t/+/x", 9);
}

static void no_more_of_it(void)
{
    int reason = answer_of(&a, BT_MQTT_UNSUBACK);

    sim_say_publish(&b, "t/1/x", "unwanted", 1, false, 2);
    sim_run();
    if (reason == 0 && version == 5 && take_all(&a, "a", "unwanted") != 0)
        wrong("an ended subscription still delivers");
    still_serves();
}

TEST(unsubscribing)
{
    play(subscribed_both, unsubscribe, no_more_of_it);
}

/* ---- PUBLISH ---- */

static void publish_online(void)
{
    sim_say_publish(&b, "t/1", "kept", 1, false, 5);
}

static void kept_if_acknowledged(void)
{
    int reason = answer_of(&b, BT_MQTT_PUBACK);

    if (a.peer->gone)
        a = open_client("a", true);
    if (reason >= 0 && reason < 0x80 && take_all(&a, "a", "kept") == 0)
        wrong("an acknowledged message is lost");
    still_serves();
}

static void receiver_online(void)
{
    session_a();
    b = open_client("b", true);
}

TEST(publish_to_one_who_is_there)
{
    play(receiver_online, publish_online, kept_if_acknowledged);
}

static void receiver_offline(void)
{
    receiver_online();
    sim_client_break(&a);
}

TEST(publish_to_one_who_is_away)
{
    play(receiver_offline, publish_online, kept_if_acknowledged);
}

static void member_online(void)
{
    a = open_client("a", true);
    subscribed(&a, "$share/g/t/#", 1);
    b = open_client("b", true);
}

TEST(publish_to_a_group)
{
    play(member_online, publish_online, kept_if_acknowledged);
}

static void publish_retained(void)
{
    sim_say_publish(&b, "t/1", "kept", 1, true, 5);
}

static void retained_if_acknowledged(void)
{
    int reason = answer_of(&b, BT_MQTT_PUBACK);

    c = open_client("c", false);
    subscribed(&c, "t/1", 1);
    sim_run();
    if (reason >= 0 && reason < 0x80 && take(&c, "kept") == 0)
        wrong("an acknowledged retained message is lost");
}

/* subscribed() drops what came before the SUBACK, which retained messages never do. */
TEST(publish_retained_first)
{
    play(two_clients, publish_retained, retained_if_acknowledged);
}

static void clear_retained(void)
{
    sim_say_publish(&b, "t/1/x", "", 1, true, 5);
}

static void cleared_if_acknowledged(void)
{
    int reason = answer_of(&b, BT_MQTT_PUBACK);

    c = open_client("c", false);
    subscribed(&c, "t/1/x", 1);
    if (reason >= 0 && reason < 0x80 && take(&c, "old") != 0)
        wrong("a message that was cleared is still retained");
}

TEST(clear_a_retained_message)
{
    play(retained_is_there, clear_retained, cleared_if_acknowledged);
}

/* ---- QoS 2: exactly once ---- */

static void receiver_2(void)
{
    a = open_client("a", true);
    subscribed(&a, "t/#", 2);
    b = open_client("b", true);
}

static void receiver_2_away(void)
{
    receiver_2();
    sim_client_break(&a);
}

static void publish_2(void)
{
    sim_say_publish(&b, "t/1", "once", 2, 0, 5);
}

/* What a client does whose connection was closed: publish again with DUP. */
static void exactly_once(void)
{
    int reason = answer_of(&b, BT_MQTT_PUBREC);
    unsigned n;

    if (b.peer->gone) {
        b = open_client("b", true);
        sim_say_publish(&b, "t/1", "once", 2, 8, 5);
        sim_run();
        reason = answer_of(&b, BT_MQTT_PUBREC);
    }
    if (reason >= 0 && reason < 0x80) {
        sim_say_ack(&b, 0x62, 5);
        sim_run();
        CHECK_INT(answer_of(&b, BT_MQTT_PUBCOMP), 0);
    }
    if (a.peer->gone)
        a = open_client("a", true);
    n = take_all(&a, "a", "once");
    if (n > 1 || (n == 0 && reason >= 0 && reason < 0x80))
        wrong(n == 0 ? "an acknowledged message is lost" : "a message came twice");
    still_serves();
}

TEST(publish_2_to_one_who_is_there)
{
    play(receiver_2, publish_2, exactly_once);
}

TEST(publish_2_to_one_who_is_away)
{
    play(receiver_2_away, publish_2, exactly_once);
}

static void delivered_2(void)
{
    receiver_2();
    publish_2();
    sim_run();
    CHECK_INT(answer_of(&b, BT_MQTT_PUBREC), 0);
}

static void handshake(void)
{
    taken = take(&a, "once");
}

static void taken_once(void)
{
    if (a.peer->gone)
        a = open_client("a", true);
    taken += take_all(&a, "a", "once");
    if (taken != 1)
        wrong(taken == 0 ? "an acknowledged message is lost" : "a message came twice");
}

TEST(taking_a_message_of_qos_2)
{
    play(delivered_2, handshake, taken_once);
}

static void released(void)
{
    delivered_2();
    (void)take(&a, "once");
}

static void release(void)
{
    sim_say_ack(&b, 0x62, 5);
}

static void released_or_closed(void)
{
    (void)answer_of(&b, BT_MQTT_PUBCOMP);
    if (b.peer->gone) {
        b = open_client("b", true);
        sim_say_ack(&b, 0x62, 5);
        sim_run();
        (void)answer_of(&b, BT_MQTT_PUBCOMP);
    }
    sim_say_publish(&b, "t/1", "next", 2, 0, 5);
    sim_run();
    CHECK_INT(answer_of(&b, BT_MQTT_PUBREC), 0);
    CHECK_INT(take_all(&a, "a", "next"), 1);
}

TEST(releasing_a_message_of_qos_2)
{
    play(released, release, released_or_closed);
}

/* ---- The end ---- */

static void has_will(void)
{
    b = sim_client_open(&(struct sim_login){ .id = "b",
                                             .version = version,
                                             .will_topic = "t/will",
                                             .will_payload = "kept",
                                             .will_qos = 1 });
    subscribed(&b, "x/#", 1);
    session_a();
}

static void break_b(void)
{
    b.peer->eof = true;
}

TEST(a_client_with_will_and_subscriptions_goes)
{
    play(has_will, break_b, still_serves);
}

static void break_a(void)
{
    a.peer->eof = true;
}

static void session_still_there(void)
{
    b = open_client("b", true);
    sim_say_publish(&b, "t/9", "late", 1, false, 7);
    sim_run();
    if (answer_of(&b, BT_MQTT_PUBACK) == 0) {
        a = open_client("a", true);
        if (take(&a, "late") == 0)
            wrong("the session lost its subscription");
    }
}

TEST(a_persistent_client_goes)
{
    play(session_a, break_a, session_still_there);
}

static void end_session(void)
{
    a.peer = sim_connect(0);
    if (a.peer != NULL)
        sim_say_connect(a.peer, &(struct sim_login){ .id = "a", .version = version });
}

TEST(a_clean_login_ends_a_persistent_session)
{
    play(message_waits, end_session, still_serves);
}
