/* Access control. The principals of the configuration are sorted by name; a login finds
 * one by binary search and compares the whole of BT_PASSWORD_MAX bytes, whatever was
 * given and whether or not the name exists, so that time tells nothing. A stored hash
 * takes long, so an unknown name is given the hash of somebody else to check, always the
 * same for one name: names that exist are then not told by how long the answer takes.
 *
 * Three principals are not configured: anonymous, internal (in-process clients, may do
 * everything) and nobody (owner of stored sessions whose user was removed; may do
 * nothing). Anonymous may do everything but publish below $SYS/.
 *
 * Certificates: a principal without a password logs in over TLS with a certificate that
 * the listener verified. Its name is the user name of the CONNECT packet, or the
 * certificate's common name when there is none; fields of the certificate can be
 * demanded. Passwords are never logged. */
#include "hub/access/auth.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/mqtt.h"
#include "hub/route/hash.h"

enum action { PUB, SUB, N_ACTIONS };
enum power { PERMITS, ALL_BUT_SYS, ALL };

/* Who is connected; shared by the principals of one name before and after a reload. */
struct usage {
    _Atomic uint32_t refs, n_conns;
};

struct hub_principal {
    const char *name;
    const char *password;    /* plain text or the text of the hash; NULL: none */
    struct bt_password hash; /* iterations 0: plain text */
    const char *cert_cn, *cert_subject, *cert_fingerprint; /* demanded; NULL: any */
    enum power power;
    struct hub_permits permits[N_ACTIONS];
    struct hub_client_limits limits;
    struct usage *usage; /* NULL: not counted */
};

struct hub_auth {
    struct hub_principal anonymous, internal, nobody;
    bool anonymous_ok;
    uint64_t seed;
    size_t n, n_passwords;
    struct hub_principal *principals; /* sorted by name */
};

/* ---- From the configuration ---- */

static int fill_list(const struct hub_principal_conf *conf, uint32_t action, bool deny,
                     struct hub_permit **items, size_t *n_items)
{
    const struct hub_permission *p = conf->permissions.items;
    size_t n = 0;

    for (size_t i = 0; i < conf->permissions.n; i++)
        if (p[i].action == action)
            n += deny ? p[i].deny.n : p[i].permit.n;
    if (n == 0)
        return 0;
    *items = bt_calloc(n, sizeof(**items));
    if (*items == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < conf->permissions.n; i++) {
        const struct bt_conf_strings *list = deny ? &p[i].deny : &p[i].permit;

        for (size_t k = 0; p[i].action == action && k < list->n; k++)
            (*items)[(*n_items)++] = hub_permit_of(list->items[k]);
    }
    return 0;
}

static int fill_permits(const struct hub_principal_conf *conf, uint32_t action,
                        struct hub_permits *out)
{
    int r = fill_list(conf, action, false, &out->permit, &out->n_permit);

    return r != 0 ? r : fill_list(conf, action, true, &out->deny, &out->n_deny);
}

#define CHOOSE(member) (own->member != 0 ? own->member : all->member)

static struct hub_client_limits limits_of(const struct hub_client_limits *own,
                                          const struct hub_client_limits *all)
{
    return (struct hub_client_limits){
        .connections = CHOOSE(connections),
        .messages_rate = CHOOSE(messages_rate),
        .messages_burst = CHOOSE(messages_burst),
        .subscriptions = CHOOSE(subscriptions),
        .inflight = CHOOSE(inflight),
        .queue = CHOOSE(queue),
        .bytes_rate = CHOOSE(bytes_rate),
        .packet = CHOOSE(packet),
    };
}

static int fill_principal(const struct hub_conf *hub,
                          const struct hub_principal_conf *conf,
                          struct hub_principal *out)
{
    int r;

    out->name = conf->username;
    out->power = PERMITS;
    out->cert_cn = conf->cert_cn;
    out->cert_subject = conf->cert_subject;
    out->cert_fingerprint = conf->cert_fingerprint;
    out->limits = limits_of(&conf->limits, &hub->client);
    if (conf->password != NULL && conf->password[0] != '\0')
        out->password = conf->password;
    if (out->password != NULL && bt_password_parse(out->password, &out->hash) != 0)
        out->hash.iterations = 0;
    r = fill_permits(conf, PUB, &out->permits[PUB]);
    return r == 0 ? fill_permits(conf, SUB, &out->permits[SUB]) : r;
}

static const struct hub_principal *find(const struct hub_auth *a, struct bt_slice name);

static int count_on(struct hub_principal *p, const struct hub_auth *before)
{
    const struct hub_principal *old =
        before == NULL ? NULL : find(before, bt_slice_of(p->name));

    if (old == NULL) {
        p->usage = bt_calloc(1, sizeof(*p->usage));
        if (p->usage == NULL)
            return BT_ENOMEM;
    } else {
        p->usage = old->usage;
    }
    atomic_fetch_add(&p->usage->refs, 1);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hub_principal *)a)->name,
                  ((const struct hub_principal *)b)->name);
}

static void init(struct hub_auth *a, const struct hub_conf *conf, bool loopback_only,
                 const struct hub_auth *before)
{
    a->anonymous = (struct hub_principal){ .name = "",
                                           .power = ALL_BUT_SYS,
                                           .limits = conf->client };
    a->internal = (struct hub_principal){ .name = "$internal", .power = ALL };
    a->nobody = (struct hub_principal){ .name = "$nobody",
                                        .power = PERMITS,
                                        .limits = conf->client };
    a->anonymous_ok = conf->anonymous || (conf->principals.n == 0 && loopback_only);
    a->seed = before != NULL ? before->seed : hub_hash_seed();
}

/* What a person should know about how clients log in. */
static void tell(const struct hub_auth *a)
{
    size_t n_plain = 0;

    for (size_t i = 0; i < a->n; i++)
        n_plain +=
            a->principals[i].password != NULL && a->principals[i].hash.iterations == 0;
    if (n_plain > 0)
        bt_log(BT_LOG_WARN, "HUB-PLAINPW", "passwords are in plain text in the file",
               "principals=%zu hint=\"make hashes with: baetyl passwd\"", n_plain);
    if (a->n == 0 && !a->anonymous_ok)
        bt_log(BT_LOG_WARN, "HUB-NOLOGIN",
               "no principals and not on loopback only: nobody can log in", "%s",
               "hint=\"add principals or set anonymous: true\"");
}

int hub_auth_new(const struct hub_conf *conf, bool loopback_only,
                 const struct hub_auth *before, struct hub_auth **out)
{
    const struct hub_principal_conf *list = conf->principals.items;
    struct hub_auth *a = bt_calloc(1, sizeof(*a));
    int r = 0;

    *out = NULL;
    if (a == NULL)
        return BT_ENOMEM;
    init(a, conf, loopback_only, before);
    if (conf->principals.n > 0) {
        a->principals = bt_calloc(conf->principals.n, sizeof(*a->principals));
        r = a->principals == NULL ? BT_ENOMEM : 0;
    }
    while (r == 0 && a->n < conf->principals.n) {
        struct hub_principal *p = &a->principals[a->n];

        r = fill_principal(conf, &list[a->n], p);
        a->n++;
        a->n_passwords += p->password != NULL;
        if (r == 0)
            r = count_on(p, before);
    }
    if (r != 0) {
        hub_auth_free(a);
        return r;
    }
    if (a->n > 1)
        qsort(a->principals, a->n, sizeof(*a->principals), by_name);
    tell(a);
    *out = a;
    return 0;
}

void hub_auth_free(struct hub_auth *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->n; i++) {
        struct hub_principal *p = &a->principals[i];

        for (size_t k = 0; k < N_ACTIONS; k++) {
            bt_free(p->permits[k].permit);
            bt_free(p->permits[k].deny);
        }
        if (p->usage != NULL && atomic_fetch_sub(&p->usage->refs, 1) == 1)
            bt_free(p->usage);
    }
    bt_free(a->principals);
    bt_free(a);
}

/* ---- Logging in ---- */

static int compare_name(struct bt_slice name, const char *with)
{
    size_t n = strlen(with), common = BT_MIN(name.len, n);
    int r = common == 0 ? 0 : memcmp(name.ptr, with, common);

    if (r != 0)
        return r;
    return name.len == n ? 0 : name.len < n ? -1 : 1;
}

static const struct hub_principal *find(const struct hub_auth *a, struct bt_slice name)
{
    size_t lo = 0, hi = a->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int r = compare_name(name, a->principals[mid].name);

        if (r == 0)
            return &a->principals[mid];
        if (r < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* The same work for any two passwords. */
static bool same_password(struct bt_slice given, const char *want)
{
    uint8_t a[BT_PASSWORD_MAX + 1] = { 0 }, b[BT_PASSWORD_MAX + 1] = { 0 };
    size_t n = strlen(want);
    bool same;

    if (given.len > 0)
        memcpy(a, given.ptr, BT_MIN(given.len, BT_PASSWORD_MAX));
    memcpy(b, want, BT_MIN(n, BT_PASSWORD_MAX));
    same = bt_ct_equal(a, b, sizeof(a));
    return (bool)(same & (given.len == n) & (n <= BT_PASSWORD_MAX));
}

/* Whose password an unknown name is checked against, in vain. */
static const struct hub_principal *stand_in(const struct hub_auth *a,
                                            struct bt_slice name)
{
    size_t k;

    if (a->n_passwords == 0)
        return NULL;
    k = (size_t)(hub_hash(name.ptr, name.len, a->seed) % a->n_passwords);
    for (size_t i = 0; i < a->n; i++)
        if (a->principals[i].password != NULL && k-- == 0)
            return &a->principals[i];
    return NULL;
}

static int by_password(const struct hub_auth *a, const struct hub_login *in,
                       const struct hub_principal **out, const struct bt_password **work)
{
    const struct hub_principal *p = find(a, in->username), *checked;
    bool known = p != NULL && p->password != NULL, same;

    checked = known ? p : stand_in(a, in->username);
    *out = known ? p : NULL;
    if (checked != NULL && checked->hash.iterations != 0) {
        *work = &checked->hash;
        return HUB_LOGIN_WORK;
    }
    same = same_password(in->password, checked == NULL ? "" : checked->password);
    return same && known ? 0 : HUB_LOGIN_REFUSED;
}

static bool field_fits(const char *want, const char *is)
{
    return want == NULL || strcmp(want, is) == 0;
}

/* Hexadecimal digits, with colons or without, in any case. */
static bool fingerprint_fits(const char *want, const char *is)
{
    for (; want != NULL && *want != '\0'; want++) {
        if (*want == ':')
            continue;
        if (*is == '\0' || strncasecmp(want, is, 1) != 0)
            return false;
        is++;
    }
    return want == NULL || *is == '\0';
}

static int by_certificate(const struct hub_auth *a, const struct hub_login *in,
                          const struct hub_principal **out)
{
    const struct hub_peer *peer = in->peer;
    struct bt_slice name = in->has_user ? in->username : bt_slice_of(peer->common_name);
    const struct hub_principal *p = name.len == 0 ? NULL : find(a, name);

    if (p == NULL || p->password != NULL || !field_fits(p->cert_cn, peer->common_name) ||
        !field_fits(p->cert_subject, peer->subject) ||
        !fingerprint_fits(p->cert_fingerprint, peer->fingerprint))
        return HUB_LOGIN_REFUSED;
    *out = p;
    return 0;
}

int hub_auth_login(const struct hub_auth *a, const struct hub_login *in,
                   const struct hub_principal **out, const struct bt_password **work)
{
    /* An empty password is none, as in the original. */
    bool certificate = in->peer != NULL && in->peer->certificate &&
                       (!in->has_password || in->password.len == 0);
    bool anonymous_ok = in->anonymous == HUB_ANONYMOUS_BY_CONF
                            ? a->anonymous_ok
                            : in->anonymous == HUB_ANONYMOUS_YES;

    *out = NULL;
    *work = NULL;
    if (certificate && by_certificate(a, in, out) == 0)
        return 0;
    /* With no principals there is nobody a name could be checked against. */
    if (!in->has_user || a->n == 0) {
        *out = anonymous_ok ? &a->anonymous : NULL;
        return anonymous_ok ? 0 : HUB_LOGIN_REFUSED;
    }
    return in->has_password ? by_password(a, in, out, work) : HUB_LOGIN_REFUSED;
}

const struct hub_principal *hub_auth_find(const struct hub_auth *a, const char *name)
{
    const struct hub_principal *p;

    if (*name == '\0')
        return &a->anonymous;
    if (strcmp(name, a->internal.name) == 0)
        return &a->internal;
    p = find(a, bt_slice_of(name));
    return p != NULL ? p : &a->nobody;
}

bool hub_auth_has_hashes(const struct hub_auth *a)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->principals[i].hash.iterations != 0)
            return true;
    return false;
}

const struct hub_principal *hub_auth_named(const struct hub_auth *a, struct bt_slice name)
{
    return find(a, name);
}

const struct hub_principal *hub_auth_internal(const struct hub_auth *a)
{
    return &a->internal;
}

const char *hub_principal_name(const struct hub_principal *p)
{
    return p->name;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool hub_principal_same_login(const struct hub_principal *was,
                              const struct hub_principal *is)
{
    return strcmp(was->name, is->name) == 0 && same_text(was->password, is->password) &&
           same_text(was->cert_cn, is->cert_cn) &&
           same_text(was->cert_subject, is->cert_subject) &&
           same_text(was->cert_fingerprint, is->cert_fingerprint);
}

/* ---- What it may do ---- */

static bool below_sys(struct bt_slice topic)
{
    static const char sys[] = "$SYS";
    size_t n = sizeof(sys) - 1;

    return topic.len >= n && memcmp(topic.ptr, sys, n) == 0 &&
           (topic.len == n || topic.ptr[n] == '/');
}

bool hub_principal_may_publish(const struct hub_principal *p, struct bt_slice client_id,
                               struct bt_slice topic)
{
    const struct hub_who who = { client_id, bt_slice_of(p->name) };

    if (p->power != PERMITS)
        return p->power == ALL || !below_sys(topic);
    return hub_permits_topic(&p->permits[PUB], &who, topic);
}

bool hub_principal_may_subscribe(const struct hub_principal *p, struct bt_slice client_id,
                                 struct bt_slice filter)
{
    const struct hub_who who = { client_id, bt_slice_of(p->name) };

    return p->power != PERMITS || hub_permits_filter(&p->permits[SUB], &who, filter);
}

const struct hub_client_limits *hub_principal_limits(const struct hub_principal *p)
{
    static const struct hub_client_limits none;

    return p == NULL ? &none : &p->limits;
}

bool hub_principal_enter(const struct hub_principal *p, uint32_t room)
{
    if (p->usage == NULL)
        return true;
    if (atomic_fetch_add(&p->usage->n_conns, 1) <
            (uint64_t)p->limits.connections + room ||
        p->limits.connections == 0)
        return true;
    atomic_fetch_sub(&p->usage->n_conns, 1);
    return false;
}

void hub_principal_leave(const struct hub_principal *p)
{
    if (p->usage != NULL)
        atomic_fetch_sub(&p->usage->n_conns, 1);
}
