/* Logins and permits: the rows of the specification's vectors, refusals, memory failures.
 */
#include "tests/harness.h"

#include "hub/access/auth.c"

static char *permit_items[] = { NULL };
static struct hub_permission permission[2] = {
    { .action = PUB, .permit = { permit_items, 1 } },
    { .action = SUB, .permit = { permit_items, 1 } },
};
static char zoe[] = "zoe", secret[] = "secret", cert[] = "cert", amy[] = "amy",
            other[] = "other", empty[] = "empty", nothing[] = "";
static struct hub_principal_conf people[] = {
    { .username = zoe, .password = secret, .permissions = { permission, 2 } },
    { .username = cert, .permissions = { permission, 2 } },
    { .username = amy, .password = other, .permissions = { permission, 1 } },
    { .username = empty, .password = nothing },
};

static struct hub_auth *make(const char *permit, bool anonymous)
{
    struct hub_conf conf = { .anonymous = anonymous, .principals = { people, 4 } };
    struct hub_auth *a;

    permit_items[0] = (char *)(uintptr_t)permit;
    CHECK_INT(hub_auth_new(&conf, true, NULL, &a), 0);
    return a;
}

static const struct hub_principal *login(const struct hub_auth *a, const char *user,
                                         const char *password)
{
    const struct hub_login in = {
        .has_user = user != NULL,
        .has_password = password != NULL,
        .username = bt_slice_of(user ? user : ""),
        .password = bt_slice_of(password ? password : ""),
    };
    const struct hub_principal *p;
    const struct bt_password *work;
    int r = hub_auth_login(a, &in, &p, &work);

    CHECK(r == 0 || r == HUB_LOGIN_REFUSED);
    CHECK(work == NULL);
    return r == 0 ? p : NULL;
}

TEST(logins)
{
    static const struct {
        const char *user, *password, *name; /* name NULL: refused */
    } rows[] = {
        { "zoe", "secret", "zoe" }, { "zoe", "secreT", NULL }, { "zoe", "secret1", NULL },
        { "zoe", "secre", NULL },   { "zoe", "", NULL },       { "zoe", NULL, NULL },
        { "amy", "other", "amy" },  { "amy", "secret", NULL }, { "bob", "", NULL },
        { "bob", "secret", NULL },  { "", "", NULL },          { "cert", "", NULL },
        { "cert", NULL, NULL },     { "cert", "x", NULL },     { "empty", "", NULL },
        { "empty", NULL, NULL },    { NULL, NULL, NULL },      { "zo", "secret", NULL },
        { "zoey", "secret", NULL }, { "$internal", "", NULL },
    };
    struct hub_auth *a = make("#", false);

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct hub_principal *p = login(a, rows[i].user, rows[i].password);

        CHECK_STR(p == NULL ? NULL : hub_principal_name(p), rows[i].name);
    }
    hub_auth_free(a);
}

TEST(anonymous)
{
    struct hub_conf conf = { 0 };
    struct hub_auth *a = make("#", true);
    const struct hub_principal *p = login(a, NULL, NULL);

    CHECK_STR(hub_principal_name(p), "");
    CHECK(hub_principal_may_publish(p, bt_slice_of("id"), bt_slice_of("a")));
    CHECK(hub_principal_may_publish(p, bt_slice_of("id"), bt_slice_of("$SYSTEM")));
    CHECK(!hub_principal_may_publish(p, bt_slice_of("id"), bt_slice_of("$SYS/x")));
    CHECK(!hub_principal_may_publish(p, bt_slice_of("id"), bt_slice_of("$SYS")));
    CHECK(hub_principal_may_subscribe(p, bt_slice_of("id"), bt_slice_of("$SYS/#")));
    CHECK(login(a, "bob", "x") == NULL);
    hub_auth_free(a);

    CHECK_INT(hub_auth_new(&conf, true, NULL, &a), 0);
    CHECK(login(a, NULL, NULL) != NULL);
    CHECK_STR(hub_principal_name(login(a, "bob", "x")), "");
    hub_auth_free(a);
    CHECK_INT(hub_auth_new(&conf, false, NULL, &a), 0);
    CHECK(login(a, NULL, NULL) == NULL);
    CHECK(login(a, "bob", "x") == NULL);
    hub_auth_free(a);
}

TEST(permits)
{
    static const struct {
        const char *permit, *topic;
        bool pub, sub;
    } rows[] = {
        { "+", "a", 1, 1 },
        { "+", "/", 0, 0 },
        { "+", "a/", 0, 0 },
        { "+", "/a", 0, 0 },
        { "test/+", "test/", 1, 1 },
        { "test/+", "test", 0, 0 },
        { "a/+/b", "a//b", 1, 1 },
        { "a/+/b", "a///b", 0, 0 },
        { "test/#", "test", 1, 1 },
        { "test/#", "/", 0, 0 },
        { "#", "a/b", 1, 1 },
        { "#", "$SYS/x", 0, 0 },
        { "a/+", "a/#", 0, 0 },
        { "+", "#", 0, 0 },
        { "a/#", "a/+", 1, 1 },
        { "a/b", "a/+", 0, 0 },
        { "a/+", "$share/g/a/b", 0, 1 },
        { "a/+", "$share/g/a/#", 0, 0 },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct hub_auth *a = make(rows[i].permit, false);
        const struct hub_principal *p = login(a, "zoe", "secret");

        if (strpbrk(rows[i].topic, "+#") == NULL)
            CHECK_INT(hub_principal_may_publish(p, bt_slice_of("id"),
                                                bt_slice_of(rows[i].topic)),
                      rows[i].pub);
        CHECK_INT(
            hub_principal_may_subscribe(p, bt_slice_of("id"), bt_slice_of(rows[i].topic)),
            rows[i].sub);
        hub_auth_free(a);
    }
}

TEST(found_by_name)
{
    struct hub_auth *a = make("#", false);
    const struct hub_principal *p = login(a, "amy", "other");

    CHECK(hub_auth_find(a, "amy") == p);
    CHECK(hub_principal_may_publish(p, bt_slice_of("id"), bt_slice_of("x")));
    CHECK(!hub_principal_may_subscribe(p, bt_slice_of("id"), bt_slice_of("x")));
    CHECK(hub_auth_find(a, "$internal") == hub_auth_internal(a));
    CHECK(hub_principal_may_publish(hub_auth_internal(a), bt_slice_of("id"),
                                    bt_slice_of("$SYS/x")));
    CHECK(hub_auth_find(a, "") == &a->anonymous);
    p = hub_auth_find(a, "gone");
    CHECK(p != NULL && p != &a->anonymous);
    CHECK(!hub_principal_may_publish(p, bt_slice_of("id"), bt_slice_of("x")));
    CHECK(!hub_principal_may_subscribe(p, bt_slice_of("id"), bt_slice_of("x")));
    hub_auth_free(a);
}

/* ---- Hashes ---- */

static char hash_a[BT_PASSWORD_TEXT], hash_b[BT_PASSWORD_TEXT],
    user_a[] = "ha", user_b[] = "hb", user_p[] = "plain";

static struct hub_auth *make_hashed(struct hub_principal_conf *list, size_t n)
{
    struct hub_conf conf = { .principals = { list, n } };
    struct hub_auth *a;

    if (hash_a[0] == '\0') {
        CHECK_INT(bt_password_make(bt_slice_of("one"), 7, hash_a), 0);
        CHECK_INT(bt_password_make(bt_slice_of("two"), 9, hash_b), 0);
    }
    CHECK_INT(hub_auth_new(&conf, true, NULL, &a), 0);
    return a;
}

/* HUB_LOGIN_WORK is decided here as the thread would. */
static int decide(const struct hub_auth *a, const char *user, const char *password,
                  const struct bt_password **work)
{
    const struct hub_login in = { .has_user = true,
                                  .has_password = true,
                                  .username = bt_slice_of(user),
                                  .password = bt_slice_of(password) };
    const struct hub_principal *p;
    int r = hub_auth_login(a, &in, &p, work);

    if (r != HUB_LOGIN_WORK)
        return r;
    return bt_password_check(*work, bt_slice_of(password)) && p != NULL
               ? 0
               : HUB_LOGIN_REFUSED;
}

TEST(hashed_passwords)
{
    struct hub_principal_conf list[] = { { .username = user_a, .password = hash_a },
                                         { .username = user_b, .password = hash_b },
                                         { .username = cert } };
    const struct bt_password *work, *again;
    struct hub_auth *a = make_hashed(list, 1);
    bool seen[2] = { false, false };

    hub_auth_free(a);
    a = make_hashed(list, 3);
    CHECK(hub_auth_has_hashes(a));
    CHECK_INT(decide(a, "ha", "one", &work), 0);
    CHECK_INT(work->iterations, 7);
    CHECK_INT(decide(a, "hb", "two", &work), 0);
    CHECK_INT(work->iterations, 9);
    CHECK_INT(decide(a, "ha", "two", &work), HUB_LOGIN_REFUSED);
    CHECK(work != NULL);
    /* Unknown names and those of certificates cost the same as somebody's, always. */
    for (int i = 0; i < 50; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "x%d", i);
        CHECK_INT(decide(a, name, "one", &work), HUB_LOGIN_REFUSED);
        CHECK_INT(decide(a, name, "two", &again), HUB_LOGIN_REFUSED);
        CHECK(work != NULL && work == again);
        seen[work->iterations == 9] = true;
    }
    CHECK(seen[0] && seen[1]);
    CHECK_INT(decide(a, "cert", "one", &work), HUB_LOGIN_REFUSED);
    CHECK(work != NULL);
    /* Not the text of the hash. */
    CHECK_INT(decide(a, "ha", hash_a, &work), HUB_LOGIN_REFUSED);
    hub_auth_free(a);
}

TEST(plain_and_hashed_side_by_side)
{
    struct hub_principal_conf list[] = { { .username = user_a, .password = hash_a },
                                         { .username = user_p, .password = secret } };
    const struct bt_password *work;
    struct hub_auth *a = make_hashed(list, 2);

    CHECK_INT(decide(a, "plain", "secret", &work), 0);
    CHECK(work == NULL);
    CHECK_INT(decide(a, "plain", "one", &work), HUB_LOGIN_REFUSED);
    CHECK_INT(decide(a, "ha", "one", &work), 0);
    hub_auth_free(a);
}

/* ---- Certificates ---- */

#define PRINT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

TEST(certificates)
{
    static char any[] = "any", named[] = "named", cn[] = "right",
                subject[] = "CN=right,O=y", printed[] = "printed", sub[] = "sub",
                print[] =
                    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:"
                    "66:77:88:99:AA:BB:CC:DD:EE:FF";
    struct hub_principal_conf list[] = {
        { .username = any },
        { .username = named, .cert_cn = cn },
        { .username = printed, .cert_fingerprint = print },
        { .username = sub, .cert_subject = subject },
        { .username = zoe, .password = secret },
    };
    static const struct {
        const char *user, *password, *cn;
        bool verified;
        const char *name;
    } rows[] = {
        { "any", NULL, "whoever", true, "any" }, /* the original's contract */
        { "any", NULL, "whoever", false, NULL },
        { "any", "", "whoever", true, "any" }, /* an empty password is none */
        { "any", "x", "whoever", true, NULL },
        { "any", "", "whoever", false, NULL },
        { "named", NULL, "right", true, "named" },
        { "named", NULL, "wrong", true, NULL },
        { NULL, NULL, "any", true, "any" },
        { NULL, NULL, "named", true, NULL },
        { NULL, NULL, "nobody", true, NULL },
        { NULL, NULL, "", true, NULL },
        { NULL, NULL, "zoe", true, NULL },
        { "zoe", NULL, "zoe", true, NULL },
        { "zoe", "secret", "whoever", true, "zoe" },
        { "printed", NULL, "x", true, "printed" },
        { "sub", NULL, "right", true, "sub" },
        { "sub", NULL, "wrong", true, NULL },
    };
    struct hub_conf conf = { .principals = { list, BT_ARRAY_LEN(list) } };
    struct hub_auth *a;

    CHECK_INT(hub_auth_new(&conf, false, NULL, &a), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        char full[64];
        const struct hub_peer peer = { .tls = true,
                                       .certificate = rows[i].verified,
                                       .common_name = rows[i].cn,
                                       .subject = full,
                                       .fingerprint = PRINT };
        const struct hub_login in = {
            .has_user = rows[i].user != NULL,
            .has_password = rows[i].password != NULL,
            .username = bt_slice_of(rows[i].user ? rows[i].user : ""),
            .password = bt_slice_of(rows[i].password ? rows[i].password : ""),
            .peer = &peer
        };
        const struct hub_principal *p;
        const struct bt_password *work;
        int r;

        (void)snprintf(full, sizeof(full), "CN=%s,O=y", rows[i].cn);
        r = hub_auth_login(a, &in, &p, &work);
        if ((r == 0) != (rows[i].name != NULL))
            printf("row %zu\n", i);
        CHECK_INT(r, rows[i].name != NULL ? 0 : HUB_LOGIN_REFUSED);
        if (r == 0)
            CHECK_STR(hub_principal_name(p), rows[i].name);
    }
    CHECK(!fingerprint_fits(print, "00"));
    CHECK(!fingerprint_fits(print, PRINT "0"));
    CHECK(!fingerprint_fits("00", PRINT));
    hub_auth_free(a);
}

TEST(listeners_have_their_own_word_on_anonymous)
{
    struct hub_auth *a = make("#", false);
    struct hub_login in = { .anonymous = HUB_ANONYMOUS_YES };
    const struct hub_principal *p;
    const struct bt_password *work;

    CHECK_INT(hub_auth_login(a, &in, &p, &work), 0);
    in.anonymous = HUB_ANONYMOUS_BY_CONF;
    CHECK_INT(hub_auth_login(a, &in, &p, &work), HUB_LOGIN_REFUSED);
    hub_auth_free(a);
    a = make("#", true);
    in.anonymous = HUB_ANONYMOUS_NO;
    CHECK_INT(hub_auth_login(a, &in, &p, &work), HUB_LOGIN_REFUSED);
    hub_auth_free(a);
}

/* ---- Limits, and what a reload keeps ---- */

TEST(connections_are_counted_over_a_reload)
{
    struct hub_principal_conf list[] = { { .username = zoe, .password = secret },
                                         { .username = amy, .password = other } };
    struct hub_conf conf = { .principals = { list, 2 }, .client = { .connections = 2 } };
    struct hub_auth *before, *after;
    const struct hub_principal *p;

    CHECK_INT(hub_auth_new(&conf, false, NULL, &before), 0);
    p = login(before, "zoe", "secret");
    CHECK(hub_principal_enter(p, 0) && hub_principal_enter(p, 0));
    CHECK(!hub_principal_enter(p, 0));
    CHECK(hub_principal_enter(p, 1));
    hub_principal_leave(p);
    CHECK(hub_principal_enter(login(before, "amy", "other"), 0));
    list[0].limits.connections = 3;
    CHECK_INT(hub_auth_new(&conf, false, before, &after), 0);
    hub_auth_free(before);
    p = login(after, "zoe", "secret");
    CHECK(hub_principal_enter(p, 0));
    CHECK(!hub_principal_enter(p, 0));
    hub_principal_leave(p);
    hub_principal_leave(p);
    hub_principal_leave(p);
    CHECK_INT(hub_principal_limits(login(after, "amy", "other"))->connections, 2);
    /* Anonymous and internal clients are not counted. */
    for (int i = 0; i < 10; i++)
        CHECK(hub_principal_enter(hub_auth_internal(after), 0) &&
              hub_principal_enter(hub_auth_find(after, ""), 0));
    hub_auth_free(after);
}

TEST(a_login_is_the_same_or_not)
{
    struct hub_principal_conf one = { .username = zoe, .password = secret }, two = one;
    struct hub_conf conf = { .principals = { &one, 1 } };
    struct hub_auth *a, *b;

    CHECK_INT(hub_auth_new(&conf, false, NULL, &a), 0);
    conf.principals.items = &two;
    for (int i = 0; i < 3; i++) {
        if (i == 1)
            two.password = other;
        if (i == 2)
            two.username = amy;
        CHECK_INT(hub_auth_new(&conf, false, a, &b), 0);
        CHECK_INT(
            hub_principal_same_login(hub_auth_find(a, "zoe"), hub_auth_find(b, "zoe")),
            i == 0);
        CHECK(hub_principal_same_login(hub_auth_internal(a),
                                       hub_auth_find(b, "$internal")));
        CHECK(hub_principal_same_login(hub_auth_find(a, ""), hub_auth_find(b, "")));
        hub_auth_free(b);
    }
    hub_auth_free(a);
}

/* ---- Fails ---- */

TEST(no_memory)
{
    struct hub_conf conf = { .principals = { people, 4 } };
    struct hub_auth *a = NULL;
    unsigned long nth = 1;

    permit_items[0] = (char *)(uintptr_t) "#";
    for (;; nth++) {
        int r;

        bt_mem_fail_from(nth);
        r = hub_auth_new(&conf, true, NULL, &a);
        bt_mem_fail_from(0);
        if (r == 0)
            break;
        CHECK_INT(r, BT_ENOMEM);
        CHECK(a == NULL);
    }
    CHECK(nth > 3);
    hub_auth_free(a);
    hub_auth_free(NULL);
}
