/* Logins in a whole hub: what waits, what passes at once, what a closed connection leaves
 * behind. The password thread is played by the test. */
#include "hub/access/login.c"

#include "hub/net/listener.h"
#include "tests/harness.h"
#include "tests/hub/sim_mqtt.h"

#define USERS                                                        \
    "{workers: 1, principals: [{username: ann, password: one, "      \
    "permissions: [{action: pub, permit: ['#']}]}, {username: bob, " \
    "password: two}]}\n"

static void say_login(struct sim_peer *p, const char *id, const char *user,
                      const char *password)
{
    sim_put_text("MQTT");
    sim_put_u8(5);
    sim_put_u8(0xc2);
    sim_put_u16(0);
    sim_put_u8(0);
    sim_put_text(id);
    sim_put_text(user);
    sim_put_text(password);
    sim_finish(p, 0x10);
}

/* The CONNACK's reason; -1: none yet. */
static int reason_of(const struct sim_client *c)
{
    struct sim_heard h;

    return sim_hear(c, &h) && h.type == BT_MQTT_CONNACK ? (int)h.reason : -1;
}

static int try(struct sim_client *c, const char *user, const char *password)
{
    *c = (struct sim_client){ sim_connect(0), 5 };
    say_login(c->peer, "c", user, password);
    sim_run();
    return reason_of(c);
}

static struct hub_conn *newest(void)
{
    struct hub_worker *w = sim.hub->workers[0];
    struct bt_list *list = bt_list_empty(&w->conns) ? &w->fresh : &w->conns;

    return bt_list_entry(list->prev, struct hub_conn, all);
}

static void run_timer(struct hub_conn *c)
{
    CHECK(c->guard != NULL && bt_timer_active(&c->guard->timer));
    bt_timer_stop(c->worker->loop, &c->guard->timer);
    c->guard->timer.fn(&c->guard->timer);
    sim_run();
}

TEST(free_tries_then_slots)
{
    struct sim_client c;
    struct hub_conn *conn;

    sim_begin(USERS);
    for (int i = 0; i < 3; i++)
        CHECK_INT(try(&c, "ann", "bad"), BT_MQTT_BAD_LOGIN);
    CHECK_INT(try(&c, "ann", "one"), -1);
    conn = newest();
    CHECK_INT(conn->paused, HUB_PAUSE_LOGIN);
    run_timer(conn);
    CHECK_INT(reason_of(&c), 0);
    CHECK(conn->guard == NULL);
    /* Right here before: at once, and a wrong one still waits. */
    CHECK_INT(try(&c, "ann", "one"), 0);
    CHECK_INT(try(&c, "ann", "two"), -1);
    run_timer(newest());
    CHECK_INT(reason_of(&c), BT_MQTT_BAD_LOGIN);
    sim_end();
}

TEST(too_many_waiting_are_refused_unseen)
{
    struct sim_client c[8];
    struct bt_list *it, *tmp;
    int refused = 0;

    sim_begin(USERS);
    for (int i = 0; i < 12; i++)
        hub_throttle_failed(sim.hub->throttle, (struct hub_ip){ { 0 } },
                            bt_loop_ms(sim.hub->workers[0]->loop));
    for (int i = 0; i < 8; i++)
        refused += try(&c[i], "ann", "one") == BT_MQTT_CONN_RATE;
    CHECK_INT(refused, 6);
    CHECK_INT(sim.hub->workers[0]->n_fresh, 0);
    bt_list_for_each_safe (it, tmp, &sim.hub->workers[0]->conns)
        run_timer(bt_list_entry(it, struct hub_conn, all));
    for (int i = 0; i < 8; i++)
        refused += reason_of(&c[i]) == 0;
    CHECK_INT(refused, 8);
    sim_end();
}

/* The check on its way, taken out of the hands of the thread that is not there. */
static struct hub_check *check_of(struct hub_conn *c, bool good)
{
    struct hub_check *k =
        hub_check_new(c->worker->settings, (struct bt_slice){ (const uint8_t *)"x", 1 });
    struct hub_guard *g = hub_guard_of(c);

    CHECK(k != NULL && g != NULL);
    k->owner = g;
    k->done = on_checked;
    k->good = good;
    k->principal = hub_auth_find(c->worker->settings->auth, "ann");
    g->check = k;
    g->state = CHECKING;
    hub_conn_pause(c, HUB_PAUSE_LOGIN);
    return k;
}

TEST(the_answer_of_the_thread)
{
    static const struct {
        bool good, busy;
        int reason;
    } rows[] = { { true, false, 0 },
                 { false, false, BT_MQTT_BAD_LOGIN },
                 { false, true, BT_MQTT_BUSY } };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct sim_client c;
        struct hub_check *k;

        sim_begin(USERS);
        c = (struct sim_client){ sim_connect(0), 5 };
        k = check_of(newest(), rows[i].good);
        k->busy = rows[i].busy;
        say_login(c.peer, "c", "ann", "whatever");
        sim_run();
        CHECK_INT(reason_of(&c), -1);
        hub_login_checked(sim.hub->workers[0], &k->msg);
        /* /dev/null tells of no bytes: read what the peer has sent. */
        sim_run();
        CHECK_INT(reason_of(&c), rows[i].reason);
        sim_end();
    }
}

TEST(a_connection_that_went_leaves_its_check)
{
    struct hub_check *k;
    struct hub_conn *conn;

    sim_begin(USERS);
    (void)sim_connect(0);
    conn = newest();
    k = check_of(conn, true);
    hub_conn_close(conn, BT_MQTT_SUCCESS, false);
    sim_run();
    CHECK(k->owner == NULL);
    hub_login_checked(sim.hub->workers[0], &k->msg);
    CHECK_INT(atomic_load(&sim.hub->settings->refs), 2);
    sim_end();
}

TEST(a_reload_in_between_looks_again)
{
    struct sim_client c;
    struct hub_settings other = { .refs = 1 };
    struct hub_check *k;

    sim_begin(USERS);
    c = (struct sim_client){ sim_connect(0), 5 };
    k = check_of(newest(), true);
    hub_settings_unref(k->settings);
    k->settings = hub_settings_ref(&other);
    say_login(c.peer, "c", "ann", "stale");
    hub_login_checked(sim.hub->workers[0], &k->msg);
    sim_run();
    CHECK_INT(reason_of(&c), BT_MQTT_BAD_LOGIN);
    sim_end();
}

TEST(no_thread_is_busy)
{
    struct sim_client c;

    sim_begin("{workers: 1, principals: [{username: ann, password: "
              "'$pbkdf2-sha512$i=10$MDEyMzQ1Njc4OWFiY2RlZg$vgFvU7zWIDgDAUi7d8ayt+cfRiPWV"
              "VWfv8iQRsGZaZs'}]}\n");
    CHECK(sim.hub->checker == NULL);
    CHECK_INT(try(&c, "ann", "one"), BT_MQTT_BUSY);
    sim_end();
}
