/* What only the file system can tell of a configuration that is right by itself: code
 * folders, interpreters and certificates. For `baetyl check`; a start finds the same when
 * it creates the functions.
 *
 * Failure: a folder that is not there, an interpreter that is not installed: reported at
 * the key. A function of an original's service runs without its interpreter in so far as
 * its messages wait, so that is a warning. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/stream.h"
#include "core/tls.h"
#include "funcmgr/conf/conf_priv.h"
#include "funcmgr/limits/user.h"
#include "funcmgr/process/interp.h"
#include "funcmgr/sql/sql.h"

static void check_codedir(struct bt_conf_ctx *ctx, const struct fm_function_conf *c)
{
    struct stat st;

    if (stat(c->codedir, &st) != 0)
        bt_conf_error_at(ctx, c, "codedir", "%.200s: %s", c->codedir, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        bt_conf_error_at(ctx, c, "codedir", "%.200s is not a folder", c->codedir);
}

static void check_runtime(struct bt_conf_ctx *ctx, const struct fm_function_conf *c)
{
    struct fm_interp interp bt_cleanup(fm_interp_deinit) = { 0 };
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };
    int r = fm_interp_of(c, NULL, &interp, &why);

    if (r != BT_EINVAL)
        return;
    if (fm_interp_is_exec(c->runtime))
        bt_conf_error_at(ctx, c, "handler", "%.*s", (int)BT_MIN(why.len, 300),
                         (const char *)why.data);
    else if (c->service == NULL)
        bt_conf_error_at(ctx, c, "runtime", "%.*s", (int)BT_MIN(why.len, 300),
                         (const char *)why.data);
    else
        bt_conf_warn_at(ctx, c, "runtime",
                        "%.*s; until it is installed the messages of \"%s\" wait. If its "
                        "code runs with another one, write `runtime:` beside `service:`",
                        (int)BT_MIN(why.len, 200), (const char *)why.data, c->name);
}

/* Who checks need not be root, as the service may be. */
static void check_user(struct bt_conf_ctx *ctx, const struct fm_function_conf *c)
{
    struct fm_user user bt_cleanup(fm_user_deinit) = { 0 };
    struct bt_buf why bt_cleanup(bt_buf_deinit) = { 0 };

    if (c->user != NULL && geteuid() == 0 &&
        fm_user_find(c->user, &user, &why) == BT_EINVAL)
        bt_conf_error_at(ctx, c, "user", "%.*s", (int)BT_MIN(why.len, 300),
                         (const char *)why.data);
}

static void check_http(struct bt_conf_ctx *ctx, const struct fm_http_conf *c)
{
    const struct {
        const char *key, *path;
    } files[] = { { "tokenfile", c->tokenfile },
                  { "certificate.cert", c->cert },
                  { "certificate.key", c->key },
                  { "certificate.ca", c->ca } };

    for (size_t i = 0; c->listen.n > 0 && i < BT_ARRAY_LEN(files); i++) {
        if (bt_given(files[i].path) && access(files[i].path, R_OK) != 0)
            bt_conf_error_at(ctx, c, files[i].key, "%.200s: %s", files[i].path,
                             strerror(errno));
    }
}

/* The files of a broker elsewhere, as a start reads them. */
static void check_certificates(struct bt_conf_ctx *ctx, const struct fm_hub_conf *c)
{
    const struct bt_tls_conf tls = {
        .insecure = c->insecure, .ca = c->ca, .cert = c->cert, .key = c->key
    };
    const struct {
        const char *key, *path;
    } files[] = { { "ca", c->ca }, { "cert", c->cert }, { "key", c->key } };
    struct bt_stream_address address;
    struct bt_tls_ctx *made = NULL;
    char why[BT_TLS_ERROR_LEN];
    const char *key = "address";

    if (c->address == NULL || bt_stream_parse(c->address, &address) != 0 || !address.tls)
        return;
    if (bt_tls_ctx_new(&tls, &made, why) == BT_ETLS) {
        for (size_t i = 0; i < BT_ARRAY_LEN(files); i++) {
            if (files[i].path != NULL && strstr(why, files[i].path) != NULL)
                key = files[i].key;
        }
        bt_conf_error_at(ctx, c, key, "%s", why);
    }
    bt_tls_ctx_unref(made);
}

void fm_conf_check_files(struct bt_conf_ctx *ctx, const void *conf)
{
    const struct fm_conf *c = conf;
    const struct fm_function_conf *f = c->functions.items;
    const struct fm_rule_conf *r = c->rules.items;

    check_certificates(ctx, &c->hub);
    check_http(ctx, &c->http);
    for (size_t i = 0; i < c->rules.n; i++, r++)
        check_certificates(ctx, &r->own_hub);
    for (size_t i = 0; i < c->functions.n; i++, f++) {
        check_user(ctx, f);
        if (f->codedir != NULL)
            check_codedir(ctx, f);
        if (f->codedir != NULL && f->runtime != NULL && !fm_sql_is_runtime(f->runtime))
            check_runtime(ctx, f);
    }
}
