/* A server: its routes, limits and life. Connections are in core/api_conn.c, their bytes
 * in core/api_link.c, where it listens in core/api_listen.c. */
#include "core/api.h"

#include <string.h>
#include <unistd.h>

#include "core/api_priv.h"
#include "core/error.h"
#include "core/mem.h"

/* ---- Finding the handler ---- */

static bool fits(const struct bt_api_route *r, const char *path)
{
    size_t n = strlen(r->path);

    if (n > 1 && r->path[n - 1] == '/')
        return strncmp(path, r->path, n) == 0;
    return strcmp(path, r->path) == 0;
}

unsigned api_find(const struct bt_api *api, const char *method, const char *path,
                  struct api_route *out)
{
    unsigned status = 404;

    for (size_t i = 0; i < api->n_routes; i++) {
        const struct api_route *r = &api->routes[i];

        if (!fits(r->route, path))
            continue;
        status = 405;
        if (strcmp(r->route->method, method) != 0)
            continue;
        *out = *r;
        return 0;
    }
    return status;
}

int bt_api_add(struct bt_api *api, const struct bt_api_route *routes, size_t n, void *arg)
{
    if (api == NULL)
        return 0;
    if (n > BT_API_MAX_ROUTES - api->n_routes)
        return BT_ELIMIT;
    for (size_t i = 0; i < n; i++)
        api->routes[api->n_routes++] = (struct api_route){ &routes[i], arg };
    return 0;
}

void bt_api_remove(struct bt_api *api, const void *arg)
{
    size_t kept = 0;

    if (api == NULL)
        return;
    for (size_t i = 0; i < api->n_routes; i++)
        if (api->routes[i].arg != arg)
            api->routes[kept++] = api->routes[i];
    api->n_routes = kept;
}

/* ---- Who may ask ---- */

/* In the same time wherever they differ; only the length of what was sent shows. */
static bool same(const char *secret, struct bt_slice given)
{
    size_t n = strlen(secret);
    unsigned differ = n == given.len ? 0 : 1;

    for (size_t i = 0; i < given.len; i++)
        differ |= (unsigned)given.ptr[i] ^ (uint8_t)secret[n == 0 ? 0 : i % n];
    return differ == 0;
}

unsigned api_permit(const struct bt_api *api, const struct bt_http_request *head)
{
    static const char scheme[] = "Bearer ";
    struct bt_slice given = bt_http_field(head, "Authorization");
    size_t n = sizeof(scheme) - 1;

    /* A page in a browser on this machine reaches loopback addresses, too. */
    if (api->token == NULL)
        return api->path[0] == '\0' && bt_http_count(head, "Origin") > 0 ? 403 : 0;
    if (bt_http_count(head, "Authorization") != 1 || given.len <= n ||
        !bt_http_is_nocase((struct bt_slice){ given.ptr, n }, scheme))
        return 401;
    return same(api->token, (struct bt_slice){ given.ptr + n, given.len - n }) ? 0 : 401;
}

void bt_api_set_token(struct bt_api *api, const char *token)
{
    api->token = token;
}

/* ---- Life ---- */

struct bt_api *bt_api_create(const struct bt_api_opts *opts)
{
    struct bt_api *api = bt_calloc(1, sizeof(*api));

    if (api == NULL)
        return NULL;
    api->loop = opts->loop;
    api->limits = opts->limits;
    api->token = opts->token;
    if (api->limits.conns == 0)
        api->limits.conns = BT_API_MAX_CONNS;
    if (api->limits.bytes == 0)
        api->limits.bytes = BT_API_MAX_BYTES;
    if (api->limits.whole_ms == 0)
        api->limits.whole_ms = BT_API_REQUEST_MS;
    bt_list_init(&api->conns);
    bt_list_init(&api->listeners);
    api->mbox = bt_mbox_new(opts->loop, api_conn_answer, api);
    if (api->mbox == NULL) {
        bt_free(api);
        return NULL;
    }
    return api;
}

int bt_api_new(struct bt_loop *loop, const char *path, struct bt_api **out)
{
    struct bt_api_opts opts = { .loop = loop };
    struct bt_api *api = bt_api_create(&opts);
    int r = api == NULL ? BT_ENOMEM : bt_api_listen_unix(api, path);

    if (r != 0) {
        bt_api_free(api);
        return r;
    }
    bt_api_open(api);
    *out = api;
    return 0;
}

void bt_api_free(struct bt_api *api)
{
    struct bt_list *it, *next;

    if (api == NULL)
        return;
    api->closing = true;
    bt_mbox_close(api->mbox); /* sends what was answered */
    while (!bt_list_empty(&api->conns))
        api_conn_close(bt_list_entry(bt_list_first(&api->conns), struct api_conn, all));
    bt_mbox_free(api->mbox);
    if (api->path[0] != '\0')
        (void)unlink(api->path);
    bt_list_for_each_safe (it, next, &api->listeners) {
        struct api_listener *l = bt_list_entry(it, struct api_listener, link);

        bt_list_remove(it);
        bt_io_close(api->loop, &l->io);
        bt_tls_ctx_unref(l->tls);
        bt_free(l);
    }
    bt_free(api);
}
