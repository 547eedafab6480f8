/* The recorder: one ring a client, made when there is something to say. */
#include "hub/observe/recorder.c"

#include "hub/access/limit.h"
#include "tests/hub/session_util.h"

static struct bt_slice text_of(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

struct seen {
    size_t n;
    uint8_t kinds[HUB_RING_TRACED];
    uint32_t times[HUB_RING_TRACED];
    char last[HUB_EVENT_SENTENCE];
};

static void see(void *arg, const struct hub_event *e)
{
    struct seen *s = arg;

    s->kinds[s->n] = e->kind;
    s->times[s->n++] = e->times;
    hub_event_sentence(e, s->last);
}

static void see_of(void *arg, struct bt_slice id, const struct hub_event *e)
{
    (void)id;
    see(arg, e);
}

static struct seen look(const char *id, const char *topic)
{
    struct seen s = { .n = 0 };

    hub_recorder_each(&worker, text_of(id), text_of(topic), see, &s);
    return s;
}

static struct hub_session *begin(uint32_t clients)
{
    struct hub_session *s = setup(false, 1);

    conf.recorder_clients = clients;
    return s;
}

static void end(void)
{
    teardown();
    hub_recorder_free(worker.recorder);
}

static void about_id(const char *id, enum hub_event_kind kind, uint32_t n)
{
    const struct hub_fact f = { .kind = kind, .n = n, .text = text_of("t") };

    hub_record_id(&worker, text_of(id), &f);
}

/* Works. */

TEST(nothing_is_kept_until_there_is_something)
{
    struct hub_session *s = begin(4);

    hub_record(s, &(struct hub_fact){ .kind = HUB_EV_CONNECTED });
    CHECK(worker.recorder == NULL);
    CHECK_INT(look("client", "").n, 0);
    hub_drop(s, text_of("a/b"), HUB_DROP_QUEUE_FULL);
    hub_record(s, &(struct hub_fact){ .kind = HUB_EV_CONNECTED });
    CHECK_INT(look("client", "").n, 2);
    CHECK_INT(worker.counts.dropped[HUB_DROP_QUEUE_FULL], 1);
    end();
}

TEST(the_same_again_counts_up)
{
    struct hub_session *s = begin(4);
    struct seen seen;

    for (int i = 0; i < 1000; i++)
        hub_drop(s, text_of("a/b"), HUB_DROP_SLOW_READER);
    hub_drop(s, text_of("a/c"), HUB_DROP_SLOW_READER);
    seen = look("client", "");
    CHECK_INT(seen.n, 2);
    CHECK_INT(seen.times[0], 1000);
    CHECK_STR(seen.last, "not delivered: the client did not read fast enough");
    CHECK_INT(look("client", "a/b").n, 1);
    CHECK_INT(look("client", "a/x").n, 0);
    end();
}

TEST(a_ring_keeps_the_newest)
{
    struct hub_session *s = begin(4);

    for (int i = 0; i < 100; i++) {
        char topic[16];

        (void)snprintf(topic, sizeof(topic), "t/%d", i);
        hub_drop(s, text_of(topic), HUB_DROP_EXPIRED);
    }
    CHECK_INT(look("client", "").n, HUB_RING_EVENTS);
    CHECK_INT(look("client", "t/99").n, 1);
    CHECK_INT(look("client", "t/84").n, 1);
    CHECK_INT(look("client", "t/83").n, 0);
    end();
}

TEST(long_topics_differ_by_their_hash)
{
    struct hub_session *s = begin(4);
    char one[101], two[101];

    memset(one, 'x', 100);
    one[100] = '\0';
    memcpy(two, one, sizeof(two));
    two[99] = 'y';
    hub_drop(s, text_of(one), HUB_DROP_EXPIRED);
    CHECK_INT(look("client", one).n, 1);
    CHECK_INT(look("client", two).n, 0);
    end();
}

TEST(the_quietest_client_makes_room_for_a_drop)
{
    (void)begin(2);
    about_id("a", HUB_EV_DROPPED, 0);
    about_id("b", HUB_EV_DROPPED, 0);
    about_id("a", HUB_EV_DROPPED, 0);
    about_id("c", HUB_EV_DROPPED, 0);
    CHECK_INT(look("a", "").n, 1);
    CHECK_INT(look("b", "").n, 0);
    CHECK_INT(look("c", "").n, 1);
    CHECK_INT(worker.recorder->n, 2);
    end();
}

TEST(minor_facts_displace_nobody)
{
    (void)begin(2);
    about_id("a", HUB_EV_DROPPED, 0);
    about_id("b", HUB_EV_NOBODY, 0);
    for (int i = 0; i < 100; i++) {
        char id[16];

        (void)snprintf(id, sizeof(id), "x%d", i);
        about_id(id, HUB_EV_NOBODY, 0);
        about_id(id, HUB_EV_DISCONNECTED, HUB_END_DISCONNECT);
    }
    CHECK_INT(look("a", "").n, 1);
    CHECK_INT(look("b", "").n, 1);
    about_id("lost", HUB_EV_DISCONNECTED, HUB_END_LOST);
    CHECK_INT(look("lost", "").n, 1);
    end();
}

TEST(strangers_share_one_ring)
{
    (void)begin(2);
    about_id("a", HUB_EV_DROPPED, 0);
    for (int i = 0; i < 1000; i++) {
        char id[16];

        (void)snprintf(id, sizeof(id), "s%d", i);
        hub_refused_login(&worker, text_of(id), BT_MQTT_BAD_LOGIN);
    }
    hub_refused_login(&worker, text_of(""), BT_MQTT_MALFORMED);
    CHECK_INT(look("a", "").n, 1);
    CHECK_INT(look("s999", "").n, 1);
    CHECK_INT(look("s100", "").n, 0);
    CHECK_STR(look("s999", "").last, "login refused: bad user name or password");
    CHECK_INT(worker.recorder->n, 1);
    hub_refused_login(&worker, text_of("client"), BT_MQTT_BAD_LOGIN); /* has a session */
    CHECK_INT(worker.recorder->n, 2);
    end();
}

TEST(a_trace_records_everything_and_ends)
{
    struct hub_session *s = begin(4);

    hub_drop(s, text_of("old"), HUB_DROP_EXPIRED);
    CHECK_INT(hub_recorder_trace(s, 60), 0);
    CHECK(s->traced);
    for (int i = 0; i < 100; i++) {
        char topic[16];

        (void)snprintf(topic, sizeof(topic), "t/%d", i);
        hub_trace(s, HUB_EV_SENT, 1, text_of(topic));
    }
    CHECK_INT(look("client", "").n, 101);
    CHECK_INT(look("client", "old").n, 1);
    s->traced = false;
    hub_recorder_attach(s);
    CHECK(s->traced);
    CHECK_INT(hub_recorder_trace(s, 0), 0);
    CHECK(!s->traced);
    hub_trace(s, HUB_EV_SENT, 1, text_of("t/x"));
    CHECK_INT(look("client", "t/x").n, 0);
    CHECK_INT(worker.recorder->n_traced, 0);
    end();
}

TEST(a_topic_is_found_at_all_clients)
{
    struct seen seen = { .n = 0 };

    (void)begin(4);
    about_id("a", HUB_EV_NOBODY, 0);
    about_id("b", HUB_EV_DROPPED, 0);
    hub_recorder_each_topic(&worker, text_of("t"), see_of, &seen);
    CHECK_INT(seen.n, 2);
    seen.n = 0;
    hub_recorder_each_topic(&worker, text_of("u"), see_of, &seen);
    CHECK_INT(seen.n, 0);
    end();
}

TEST(every_event_has_a_name_and_a_sentence)
{
    char out[HUB_EVENT_SENTENCE];

    for (uint8_t k = 0; k < HUB_N_EVENTS; k++)
        for (unsigned why = 0; why < 256; why++) {
            struct hub_event e = { .kind = k, .why = (uint8_t)why };

            if ((k == HUB_EV_DROPPED && why >= HUB_N_DROPS) ||
                (k == HUB_EV_LIMITED && why >= HUB_N_LIMITS))
                continue;
            out[0] = '\0';
            hub_event_sentence(&e, out);
            CHECK(out[0] != '\0' && hub_event_name((enum hub_event_kind)k) != NULL);
        }
}

/* Fails. */

TEST(without_room_nothing_is_kept)
{
    struct hub_session *s = begin(0);

    hub_drop(s, text_of("a"), HUB_DROP_EXPIRED);
    hub_refused_login(&worker, text_of("x"), BT_MQTT_BAD_LOGIN);
    CHECK(worker.recorder == NULL);
    CHECK_INT(worker.counts.dropped[HUB_DROP_EXPIRED], 1);
    CHECK(hub_recorder_trace(s, 5) < 0);
    end();
}

TEST(too_many_traces_are_refused)
{
    struct hub_session *s = begin(100), *more[HUB_MAX_TRACED];

    for (size_t i = 0; i < HUB_MAX_TRACED; i++) {
        char id[8];

        (void)snprintf(id, sizeof(id), "m%zu", i);
        more[i] = hub_session_new(&worker, text_of(id), 100 + i);
        CHECK_INT(hub_recorder_trace(more[i], 5), 0);
    }
    CHECK(hub_recorder_trace(s, 5) < 0);
    CHECK(!s->traced);
    end();
}

TEST(out_of_memory_records_nothing_and_counts)
{
    struct hub_session *s = begin(4);

    for (unsigned long n = 1; n < 4; n++) {
        bt_mem_fail_from(n);
        hub_drop(s, text_of("a"), HUB_DROP_EXPIRED);
        hub_refused_login(&worker, text_of("x"), BT_MQTT_BAD_LOGIN);
        bt_mem_fail_from(0);
    }
    CHECK_INT(worker.counts.dropped[HUB_DROP_EXPIRED], 3);
    end();
}
