/* Access control. The principals of the configuration are sorted by name; a login finds
 * one by binary search and compares the whole of PASSWORD_ROOM bytes, whatever was given
 * and whether or not the name exists, so that time tells nothing.
 *
 * Three principals are not configured: anonymous, internal (in-process clients, may do
 * everything) and nobody (owner of stored sessions whose user was removed; may do
 * nothing). Anonymous may do everything but publish below $SYS/.
 *
 * A permit is a filter: a topic is permitted when it matches one, a filter when one
 * covers it. Passwords are never logged. */
#include "hub/auth.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/mqtt.h"

/* Longer passwords are refused when the configuration is read. */
#define PASSWORD_ROOM 1024u

enum action { PUB, SUB, N_ACTIONS };
enum power { PERMITS, ALL_BUT_SYS, ALL };

struct permits {
    struct bt_slice *items; /* borrow the configuration's strings */
    size_t n;
};

struct hub_principal {
    const char *name;
    const char *password; /* NULL: no login by password */
    enum power power;
    struct permits permits[N_ACTIONS];
};

struct hub_auth {
    struct hub_principal anonymous, internal, nobody;
    bool anonymous_ok;
    size_t n;
    struct hub_principal *principals; /* sorted by name */
};

static struct bt_slice slice_of(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

static int fill_permits(const struct hub_principal_conf *conf, uint32_t action,
                        struct permits *out)
{
    const struct hub_permission *p = conf->permissions.items;
    size_t n = 0;

    for (size_t i = 0; i < conf->permissions.n; i++)
        n += p[i].action == action ? p[i].permit.n : 0;
    if (n == 0)
        return 0;
    out->items = bt_calloc(n, sizeof(*out->items));
    if (out->items == NULL)
        return BT_ENOMEM;
    for (size_t i = 0; i < conf->permissions.n; i++)
        for (size_t k = 0; p[i].action == action && k < p[i].permit.n; k++)
            out->items[out->n++] = slice_of(p[i].permit.items[k]);
    return 0;
}

static int fill_principal(const struct hub_principal_conf *conf,
                          struct hub_principal *out)
{
    int r;

    out->name = conf->username;
    out->power = PERMITS;
    if (conf->password != NULL && conf->password[0] != '\0')
        out->password = conf->password;
    r = fill_permits(conf, PUB, &out->permits[PUB]);
    if (r == 0)
        r = fill_permits(conf, SUB, &out->permits[SUB]);
    return r;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hub_principal *)a)->name,
                  ((const struct hub_principal *)b)->name);
}

/* What a person should know about how clients log in; once, at start. */
static void tell(const struct hub_auth *a)
{
    size_t n_passwords = 0;

    for (size_t i = 0; i < a->n; i++)
        n_passwords += a->principals[i].password != NULL;
    if (n_passwords > 0)
        bt_log(BT_LOG_INFO, "HUB-PLAINPW", "passwords are in plain text in the file",
               "principals=%zu", n_passwords);
    if (a->n == 0 && !a->anonymous_ok)
        bt_log(BT_LOG_WARN, "HUB-NOLOGIN",
               "no principals and not on loopback only: nobody can log in", "%s",
               "hint=\"add principals or set anonymous: true\"");
}

int hub_auth_new(const struct hub_conf *conf, bool loopback_only, struct hub_auth **out)
{
    const struct hub_principal_conf *list = conf->principals.items;
    struct hub_auth *a = bt_calloc(1, sizeof(*a));
    int r = 0;

    *out = NULL;
    if (a == NULL)
        return BT_ENOMEM;
    a->anonymous = (struct hub_principal){ .name = "", .power = ALL_BUT_SYS };
    a->internal = (struct hub_principal){ .name = "$internal", .power = ALL };
    a->nobody = (struct hub_principal){ .name = "$nobody", .power = PERMITS };
    a->anonymous_ok = conf->anonymous || (conf->principals.n == 0 && loopback_only);
    if (conf->principals.n > 0) {
        a->principals = bt_calloc(conf->principals.n, sizeof(*a->principals));
        r = a->principals == NULL ? BT_ENOMEM : 0;
    }
    while (r == 0 && a->n < conf->principals.n) {
        r = fill_principal(&list[a->n], &a->principals[a->n]);
        a->n++;
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
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < N_ACTIONS; k++)
            bt_free(a->principals[i].permits[k].items);
    bt_free(a->principals);
    bt_free(a);
}

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
    uint8_t a[PASSWORD_ROOM] = { 0 }, b[PASSWORD_ROOM] = { 0 };
    size_t n = strlen(want);
    volatile uint8_t diff = given.len != n || n > PASSWORD_ROOM;

    if (given.len > 0)
        memcpy(a, given.ptr, BT_MIN(given.len, sizeof(a)));
    memcpy(b, want, BT_MIN(n, sizeof(b)));
    for (size_t i = 0; i < PASSWORD_ROOM; i++)
        diff |= a[i] ^ b[i];
    return diff == 0;
}

const struct hub_principal *hub_auth_login(const struct hub_auth *a, bool has_user,
                                           struct bt_slice username, bool has_password,
                                           struct bt_slice password)
{
    const struct hub_principal *p;
    const char *want;
    bool same;

    /* With no principals there is nobody a name could be checked against. */
    if (!has_user || a->n == 0)
        return a->anonymous_ok ? &a->anonymous : NULL;
    p = find(a, username);
    want = p != NULL && p->password != NULL ? p->password : "";
    same = same_password(has_password ? password : slice_of(""), want);
    return same && has_password && *want != '\0' ? p : NULL;
}

const struct hub_principal *hub_auth_find(const struct hub_auth *a, const char *name)
{
    const struct hub_principal *p;

    if (*name == '\0')
        return &a->anonymous;
    if (strcmp(name, a->internal.name) == 0)
        return &a->internal;
    p = find(a, slice_of(name));
    return p != NULL ? p : &a->nobody;
}

const struct hub_principal *hub_auth_internal(const struct hub_auth *a)
{
    return &a->internal;
}

const char *hub_principal_name(const struct hub_principal *p)
{
    return p->name;
}

static bool below_sys(struct bt_slice topic)
{
    static const char sys[] = "$SYS";
    size_t n = sizeof(sys) - 1;

    return topic.len >= n && memcmp(topic.ptr, sys, n) == 0 &&
           (topic.len == n || topic.ptr[n] == '/');
}

bool hub_principal_may_publish(const struct hub_principal *p, struct bt_slice topic)
{
    const struct permits *permits = &p->permits[PUB];

    if (p->power != PERMITS)
        return p->power == ALL || !below_sys(topic);
    for (size_t i = 0; i < permits->n; i++)
        if (bt_mqtt_match(permits->items[i], topic))
            return true;
    return false;
}

bool hub_principal_may_subscribe(const struct hub_principal *p, struct bt_slice filter)
{
    const struct permits *permits = &p->permits[SUB];

    if (p->power != PERMITS)
        return true;
    for (size_t i = 0; i < permits->n; i++)
        if (bt_mqtt_covers(permits->items[i], filter))
            return true;
    return false;
}
