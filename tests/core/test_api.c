/* Which route, and who may ask. */
#include "core/api.c"

#include "tests/harness.h"

static struct bt_api api;

static unsigned permit(const char *token, const char *fields)
{
    char text[512];
    struct bt_http_request head;
    int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);

    api.token = token;
    CHECK_INT(bt_http_parse((const uint8_t *)text, (size_t)n, &head), 0);
    return api_permit(&api, &head);
}

TEST(token)
{
    static const char secret[] = "0123456789abcdef";

    CHECK_INT(permit(secret, "Authorization: Bearer 0123456789abcdef\r\n"), 0);
    CHECK_INT(permit(secret, "authorization: bearer 0123456789abcdef\r\n"), 0);
    CHECK_INT(permit(secret, ""), 401);
    CHECK_INT(permit(secret, "Authorization: Bearer \r\n"), 401);
    CHECK_INT(permit(secret, "Authorization: Bearer 0123456789abcde\r\n"), 401);
    CHECK_INT(permit(secret, "Authorization: Bearer 0123456789abcdef0\r\n"), 401);
    CHECK_INT(permit(secret, "Authorization: Bearer 0123456789abcdeF\r\n"), 401);
    CHECK_INT(
        permit(secret, "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n"),
        401);
    CHECK_INT(permit(secret, "Authorization: Basic 0123456789abcdef\r\n"), 401);
    CHECK_INT(permit(secret, "Authorization: Bearer 0123456789abcdef\r\n"
                             "Authorization: Bearer 0123456789abcdef\r\n"),
              401);
    CHECK_INT(permit(secret, "Origin: http://a\r\n"
                             "Authorization: Bearer 0123456789abcdef\r\n"),
              0);
}

TEST(pages_of_browsers_have_no_token)
{
    CHECK_INT(permit(NULL, ""), 0);
    CHECK_INT(permit(NULL, "Origin: http://a\r\n"), 403);
    api.path[0] = '/'; /* a page cannot reach a Unix socket */
    CHECK_INT(permit(NULL, "Origin: http://a\r\n"), 0);
    api.path[0] = '\0';
}

static void handle(void *arg, struct bt_api_req *req)
{
    (void)arg, (void)req;
}

TEST(routes)
{
    static const struct bt_api_route some[] = {
        { .method = "GET", .path = "/a", .handle = handle },
        { .method = "GET", .path = "/a/", .handle = handle },
        { .method = "POST", .path = "/a/", .handle = handle },
    };
    static struct bt_api_route many[BT_API_MAX_ROUTES];
    struct api_route r;
    int mine, other;

    CHECK_INT(bt_api_add(&api, some, 3, &mine), 0);
    CHECK_INT(bt_api_add(&api, many, BT_API_MAX_ROUTES, &other), BT_ELIMIT);
    CHECK(api_find(&api, "GET", "/a", &r) == 0 && r.route == &some[0]);
    CHECK(api_find(&api, "GET", "/a/b/c", &r) == 0 && r.route == &some[1]);
    CHECK(api_find(&api, "POST", "/a/b", &r) == 0 && r.route == &some[2]);
    CHECK(r.arg == &mine);
    CHECK_INT(api_find(&api, "POST", "/a", &r), 405);
    CHECK_INT(api_find(&api, "PUT", "/a/b", &r), 405);
    CHECK_INT(api_find(&api, "GET", "/ab", &r), 404);
    bt_api_remove(&api, &mine);
    CHECK_INT(api_find(&api, "GET", "/a", &r), 404);
}
