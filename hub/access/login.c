/* Logins. With plain-text passwords and addresses without failures all is decided at
 * once. Otherwise the connection is paused with its CONNECT in c->in, and the packet is
 * handled again when the answer is there:
 *
 *   FRESH -> (slot in time) SLOT -> DUE -> (thread) CHECKING -> GOOD | BAD | BUSY
 *
 * A pair of user and password that was right from the same address is remembered by a
 * keyed hash and passes at once, so that clients that come back cost nothing and do not
 * suffer from others behind the same address. Everything else at an address with failures
 * gets its slot before it is looked at, right or wrong, known user or not: nothing can be
 * learned from time. Failure modes: too many wait: refused unseen (0x9f); no memory:
 * server unavailable. */
#include "hub/access/login.h"

#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "hub/net/listener.h"
#include "hub/worker.h"

enum state { FRESH, SLOT, DUE, CHECKING, GOOD, BAD, BUSY };

#define PROOF_WAYS 2u

struct hub_proofs {
    const struct hub_settings *settings; /* what they were right for */
    uint8_t key[BT_SHA256_LEN];
    uint32_t n_sets;
    struct {
        uint8_t way[PROOF_WAYS][BT_SHA256_LEN];
    } sets[];
};

/* ---- The guard ---- */

static void on_timer(struct bt_timer *t)
{
    struct hub_guard *g = bt_container_of(t, struct hub_guard, timer);

    if (g->state == SLOT)
        g->state = DUE;
    hub_conn_unpause(g->conn, HUB_PAUSE_LOGIN | HUB_PAUSE_RATE);
}

struct hub_guard *hub_guard_of(struct hub_conn *c)
{
    struct hub_guard *g = c->guard;

    if (g != NULL)
        return g;
    g = bt_calloc(1, sizeof(*g));
    if (g == NULL)
        return NULL;
    g->conn = c;
    bt_timer_init(&g->timer, on_timer);
    c->guard = g;
    return g;
}

void hub_guard_free(struct hub_guard *g)
{
    if (g == NULL)
        return;
    bt_timer_stop(g->conn->worker->loop, &g->timer);
    if (g->check != NULL)
        g->check->owner = NULL;
    bt_free(g);
}

/* ---- Proofs ---- */

void hub_proofs_free(struct hub_proofs *p)
{
    if (p != NULL)
        bt_wipe(p, sizeof(*p));
    bt_free(p);
}

/* The worker's, empty after a reload. NULL: no memory, nothing is remembered. */
static struct hub_proofs *proofs_of(struct hub_worker *w)
{
    struct hub_proofs *p = w->proofs;
    uint32_t n = 64;

    if (p == NULL) {
        while (n < w->conf->max_connections / w->hub->n_workers && n < 8192)
            n *= 2;
        p = bt_calloc(1, sizeof(*p) + n * sizeof(p->sets[0]));
        if (p == NULL)
            return NULL;
        p->n_sets = n;
        p->settings = w->settings;
        if (bt_sys_random(p->key, sizeof(p->key)) != 0) {
            bt_free(p);
            return NULL;
        }
        w->proofs = p;
    } else if (p->settings != w->settings) {
        memset(p->sets, 0, p->n_sets * sizeof(p->sets[0]));
        p->settings = w->settings;
    }
    return p;
}

/* One attempt. */
struct attempt {
    struct hub_conn *conn;
    const struct bt_mqtt_connect *m;
    struct hub_ip ip;
    bool guess; /* there is a password that could be guessed */
};

static bool prove(const struct hub_proofs *p, const struct attempt *a,
                  uint8_t out[BT_SHA256_LEN])
{
    const struct hub_ip ip = hub_ip_group(a->ip);
    const struct bt_slice user = a->m->username;
    const uint8_t len[2] = { (uint8_t)(user.len >> 8), (uint8_t)user.len };
    const struct bt_slice parts[] = {
        { ip.b, sizeof(ip.b) }, { len, sizeof(len) }, user, a->m->password
    };

    return bt_hmac_sha256((struct bt_slice){ p->key, sizeof(p->key) }, parts,
                          BT_ARRAY_LEN(parts), out) == 0;
}

static uint32_t set_of(const struct hub_proofs *p, const uint8_t proof[BT_SHA256_LEN])
{
    uint32_t n;

    memcpy(&n, proof, sizeof(n));
    return n % p->n_sets;
}

static bool was_right(const struct attempt *a)
{
    struct hub_worker *w = a->conn->worker;
    struct hub_proofs *p = w->proofs == NULL ? NULL : proofs_of(w);
    uint8_t proof[BT_SHA256_LEN];
    bool found = false;

    if (p == NULL || !prove(p, a, proof))
        return false;
    for (uint32_t i = 0; i < PROOF_WAYS; i++)
        found |= bt_ct_equal(p->sets[set_of(p, proof)].way[i], proof, sizeof(proof));
    return found;
}

static void remember(const struct attempt *a)
{
    struct hub_proofs *p = proofs_of(a->conn->worker);
    uint8_t proof[BT_SHA256_LEN];
    uint32_t set;

    if (p == NULL || !prove(p, a, proof))
        return;
    set = set_of(p, proof);
    memmove(p->sets[set].way[1], p->sets[set].way[0], sizeof(proof));
    memcpy(p->sets[set].way[0], proof, sizeof(proof));
}

/* ---- The steps ---- */

static int failed(const struct attempt *a)
{
    struct hub_worker *w = a->conn->worker;

    if (a->guess)
        hub_throttle_failed(w->hub->throttle, a->ip, bt_loop_ms(w->loop));
    return BT_MQTT_BAD_LOGIN;
}

/* Whether it must wait for its slot. 0, HUB_LOGIN_WAITS, or the reason to refuse. */
static int wait_for_slot(const struct attempt *a)
{
    struct hub_conn *c = a->conn;
    struct hub_worker *w = c->worker;
    int ms = hub_throttle_login(w->hub->throttle, a->ip, bt_loop_ms(w->loop));
    struct hub_guard *g;

    if (ms == 0)
        return 0;
    if (ms < 0)
        return BT_MQTT_CONN_RATE;
    g = hub_guard_of(c);
    if (g == NULL)
        return BT_MQTT_UNAVAILABLE;
    g->state = SLOT;
    hub_conn_pause(c, HUB_PAUSE_LOGIN);
    bt_timer_start(w->loop, &g->timer, (uint64_t)ms, 0);
    return HUB_LOGIN_WAITS;
}

static void on_checked(struct hub_check *k)
{
    struct hub_guard *g = k->owner;

    if (g != NULL) {
        g->check = NULL;
        g->principal = k->principal;
        g->state = k->busy ? BUSY : k->good ? GOOD : BAD;
        if (k->settings != g->conn->worker->settings)
            g->state = DUE; /* a reload came between: look again */
        hub_conn_unpause(g->conn, HUB_PAUSE_LOGIN);
    }
    hub_check_free(k);
}

static int ask_thread(const struct attempt *a, const struct hub_principal *p,
                      const struct bt_password *work)
{
    struct hub_conn *c = a->conn;
    struct hub_guard *g = hub_guard_of(c);
    struct hub_check *k =
        g == NULL ? NULL : hub_check_new(c->worker->settings, a->m->password);

    if (k == NULL)
        return BT_MQTT_UNAVAILABLE;
    k->reply_to = c->worker->mbox;
    k->reply_kind = HUB_W_CHECKED;
    k->owner = g;
    k->done = on_checked;
    k->principal = p;
    k->work = work;
    k->ip = a->ip;
    g->check = k;
    g->state = CHECKING;
    hub_conn_pause(c, HUB_PAUSE_LOGIN);
    hub_checker_submit(c->worker->hub->checker, k);
    return HUB_LOGIN_WAITS;
}

/* What the thread said. */
static int answered(const struct attempt *a, const struct hub_principal **out)
{
    struct hub_guard *g = a->conn->guard;
    enum state state = (enum state)g->state;

    g->state = FRESH;
    if (state == BUSY)
        return BT_MQTT_BUSY;
    if (state == BAD)
        return failed(a);
    *out = g->principal;
    remember(a);
    return 0;
}

/* Look at it now. */
static int decide(const struct attempt *a, const struct hub_principal **out)
{
    const struct bt_mqtt_connect *m = a->m;
    struct hub_peer peer;
    const struct hub_login in = {
        .has_user = m->has_username,
        .has_password = m->has_password,
        .username = m->username,
        .password = m->password,
        .peer = &peer,
        .anonymous = a->conn->listener->anonymous,
    };
    const struct bt_password *work;
    int r;

    hub_stream_peer(a->conn->stream, &peer);
    r = hub_auth_login(a->conn->worker->settings->auth, &in, out, &work);
    if (r == HUB_LOGIN_WORK)
        return ask_thread(a, *out, work);
    if (r != 0)
        return failed(a);
    if (a->guess && hub_principal_name(*out)[0] != '\0')
        remember(a);
    return 0;
}

int hub_login(struct hub_conn *c, const struct bt_mqtt_connect *m,
              const struct hub_principal **out)
{
    enum state state = c->guard == NULL ? FRESH : (enum state)c->guard->state;
    struct attempt a = { .conn = c, .m = m, .guess = m->has_username && m->has_password };
    int r = 0;

    if (a.guess)
        a.ip = hub_conn_ip(c);
    if (state == GOOD || state == BAD || state == BUSY)
        return answered(&a, out);
    if (m->has_password && m->password.len > BT_PASSWORD_MAX)
        return failed(&a); /* so long is none, and nobody looks at it */
    if (a.guess && was_right(&a)) {
        *out = hub_auth_named(c->worker->settings->auth, m->username);
        return *out != NULL ? 0 : BT_MQTT_BAD_LOGIN;
    }
    if (a.guess && state != DUE)
        r = wait_for_slot(&a);
    return r != 0 ? r : decide(&a, out);
}

void hub_login_checked(struct hub_worker *w, struct bt_msg *msg)
{
    struct hub_check *k = bt_container_of(msg, struct hub_check, msg);

    (void)w;
    k->done(k);
}
