/* Where functions are served by HTTP.
 *
 * Happy path: the routes are added to the control socket's server and to one of our own
 * that listens on the addresses of `http.listen`. Failure modes: an address in use, a
 * token file or a certificate that cannot be read end the start, named in the log; what
 * the configuration alone can say wrong is refused by its check. */
#include "funcmgr/calls/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/mem.h"

#define PREFIX    "/v1/functions/"
#define MAX_TOKEN 4096u
/* The handler answers within the function's timeout, which may be a day. */
#define NEVER_MS ((uint32_t)25 * 3600 * 1000)

/* ---- The token ---- */

static int token_fails(const char *path, const char *why)
{
    bt_log(BT_LOG_ERROR, "FUNC-TOKEN", "the token of http.listen cannot be used",
           "file=" BT_LOG_Q " reason=" BT_LOG_Q, path, why);
    return BT_ECONF;
}

/* Whoever reads it may call. */
static void warn_if_open(int fd, const char *path)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        bt_log(BT_LOG_WARN, "FUNC-TOKEN-OPEN", "every user can read the token",
               "file=" BT_LOG_Q, path);
}

/* The file's text without white space at its ends. */
static int read_token(const char *path, char **out)
{
    char text[MAX_TOKEN + 1];
    const char *from = text;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, MAX_TOKEN + 1) : -1;
    int saved = errno;
    size_t len;

    if (n >= 0)
        warn_if_open(fd, path);
    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        return token_fails(path, strerror(saved));
    if ((size_t)n > MAX_TOKEN)
        return token_fails(path, "it is too long");
    text[n] = '\0';
    from += strspn(from, " \t\r\n");
    len = strcspn(from, " \t\r\n");
    if (len < BT_API_MIN_TOKEN || from[len + strspn(from + len, " \t\r\n")] != '\0')
        return token_fails(path, "expected one word of 16 characters or more");
    *out = bt_strndup(from, len);
    return *out != NULL ? 0 : BT_ENOMEM;
}

/* ---- Our own server ---- */

static int load_tls(const struct fm_http_conf *c, struct bt_tls_ctx **out)
{
    struct bt_tls_conf conf = {
        .server = true,
        .require = c->ca != NULL && c->ca[0] != '\0' ? BT_TLS_REQUIRED : BT_TLS_NONE,
        .ca = c->ca,
        .cert = c->cert,
        .key = c->key,
    };
    char error[BT_TLS_ERROR_LEN];
    int r = bt_tls_ctx_new(&conf, out, error);

    if (r == BT_ETLS)
        bt_log(BT_LOG_ERROR, "FUNC-TLS", "the certificate of http.listen cannot be used",
               "error=" BT_LOG_Q, error);
    return r;
}

static int listen_all(struct fm_calls *calls)
{
    const struct fm_http_conf *c = calls->conf;
    struct bt_tls_ctx *tls = NULL;
    struct bt_api_url url;
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->listen.n; i++) {
        if (!bt_api_url(c->listen.items[i], &url))
            r = BT_ECONF;
        else if (url.tls && tls == NULL)
            r = load_tls(c, &tls);
        if (r == 0)
            r = bt_api_listen_tcp(calls->http, c->listen.items[i], tls);
    }
    bt_tls_ctx_unref(tls);
    return r;
}

/* *out is NULL when none is wanted. */
static int take_token(const struct fm_http_conf *c, char **out)
{
    *out = NULL;
    if (bt_given(c->tokenfile))
        return read_token(c->tokenfile, out);
    if (!bt_given(c->token))
        return 0;
    *out = bt_strdup(c->token);
    return *out != NULL ? 0 : BT_ENOMEM;
}

static int create_http(struct fm_calls *calls, struct bt_loop *main_loop)
{
    const struct fm_http_conf *c = calls->conf;
    struct bt_api_opts opts = { .loop = main_loop };
    int r = take_token(c, &calls->token);

    if (r != 0)
        return r;
    opts.token = calls->token;
    opts.limits.conns = c->connections;
    opts.limits.whole_ms = (uint32_t)c->timeout;
    calls->http = bt_api_create(&opts);
    if (calls->http == NULL)
        return BT_ENOMEM;
    r = bt_api_add(calls->http, calls->routes, BT_ARRAY_LEN(calls->routes),
                   &calls->http_face);
    return r == 0 ? listen_all(calls) : r;
}

/* ---- Life ---- */

/* The largest that any function takes; a smaller limit is the function's to check. */
static size_t max_body(const struct fm_conf *conf)
{
    const struct fm_function_conf *f = conf->functions.items;
    uint64_t max = 1;

    for (size_t i = 0; i < conf->functions.n; i++)
        max = BT_MAX(max, f[i].max_message);
    return (size_t)max;
}

int fm_calls_init(struct fm_calls *calls, const struct fm_calls_env *env,
                  const struct fm_conf *conf, struct bt_loop *main_loop,
                  struct bt_api *control)
{
    int r;

    *calls = (struct fm_calls){
        .env = *env,
        .conf = &conf->http,
        .control = control,
        .control_face = { .calls = calls },
        .http_face = { .calls = calls, .remote = true },
        .routes = { { .method = "GET", .path = "/v1/functions", .handle = fm_http_list },
                    { .method = "GET", .path = PREFIX, .handle = fm_http_one },
                    { .method = "POST",
                      .path = PREFIX,
                      .handle = fm_http_call,
                      .max_body = max_body(conf),
                      .max_wait = NEVER_MS } },
    };
    r = bt_api_add(control, calls->routes, BT_ARRAY_LEN(calls->routes),
                   &calls->control_face);
    if (r == 0 && conf->http.listen.n > 0)
        r = create_http(calls, main_loop);
    return r;
}

static void reload_token(struct fm_calls *calls, const struct fm_http_conf *now)
{
    char *token;

    if (take_token(now, &token) != 0)
        return; /* the old one stays, logged */
    if (token == NULL && calls->token != NULL) {
        bt_log(BT_LOG_WARN, "FUNC-RESTART", "a changed key needs a restart",
               "key=functions.http.token");
        return;
    }
    bt_api_set_token(calls->http, token);
    bt_free(calls->token);
    calls->token = token;
}

void fm_calls_reload(struct fm_calls *calls, const struct fm_conf *conf)
{
    const struct fm_http_conf *now = &conf->http;
    struct bt_tls_ctx *tls = NULL;

    if (calls->http == NULL)
        return;
    reload_token(calls, now);
    if (bt_given(now->cert) && load_tls(now, &tls) == 0)
        bt_api_set_tls(calls->http, tls);
    bt_tls_ctx_unref(tls);
}

void fm_calls_open(struct fm_calls *calls)
{
    bt_api_open(calls->http);
}

void fm_calls_deinit(struct fm_calls *calls)
{
    bt_api_remove(calls->control, &calls->control_face);
    bt_api_free(calls->http);
    bt_free(calls->token);
    calls->control = calls->http = NULL;
    calls->token = NULL;
}
