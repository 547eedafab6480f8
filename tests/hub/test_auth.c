/* Logins and permits: the rows of the specification's vectors, refusals, memory failures.
 */
#include "tests/harness.h"

#include "hub/auth.c"

static struct bt_slice text(const char *s)
{
    return (struct bt_slice){ (const uint8_t *)s, strlen(s) };
}

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
        .username = text(user ? user : ""),
        .password = text(password ? password : ""),
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
    CHECK(hub_principal_may_publish(p, text("id"), text("a")));
    CHECK(hub_principal_may_publish(p, text("id"), text("$SYSTEM")));
    CHECK(!hub_principal_may_publish(p, text("id"), text("$SYS/x")));
    CHECK(!hub_principal_may_publish(p, text("id"), text("$SYS")));
    CHECK(hub_principal_may_subscribe(p, text("id"), text("$SYS/#")));
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
            CHECK_INT(hub_principal_may_publish(p, text("id"), text(rows[i].topic)),
                      rows[i].pub);
        CHECK_INT(hub_principal_may_subscribe(p, text("id"), text(rows[i].topic)),
                  rows[i].sub);
        hub_auth_free(a);
    }
}

TEST(found_by_name)
{
    struct hub_auth *a = make("#", false);
    const struct hub_principal *p = login(a, "amy", "other");

    CHECK(hub_auth_find(a, "amy") == p);
    CHECK(hub_principal_may_publish(p, text("id"), text("x")));
    CHECK(!hub_principal_may_subscribe(p, text("id"), text("x")));
    CHECK(hub_auth_find(a, "$internal") == hub_auth_internal(a));
    CHECK(hub_principal_may_publish(hub_auth_internal(a), text("id"), text("$SYS/x")));
    CHECK(hub_auth_find(a, "") == &a->anonymous);
    p = hub_auth_find(a, "gone");
    CHECK(p != NULL && p != &a->anonymous);
    CHECK(!hub_principal_may_publish(p, text("id"), text("x")));
    CHECK(!hub_principal_may_subscribe(p, text("id"), text("x")));
    hub_auth_free(a);
}

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
