/* What only the file system can tell about a configuration, for `baetyl check`: the
 * certificates are read as the start would read them, and the folder of the store is
 * looked at. Nothing is created or changed; addresses are not tried, because the hub that
 * is being checked for may be running.
 *
 * Failure modes: all of them are reports with the place of the key that names the file. A
 * folder that is not writable is a warning: the hub may run as another user. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/tls.h"
#include "hub/conf.h"
#include "hub/net/listen_url.h"

static bool begins(const char *text, const char *path)
{
    return path != NULL && *path != '\0' && strncmp(text, path, strlen(path)) == 0 &&
           text[strlen(path)] == ':';
}

/* Which key the error is about: errors begin with the name of the file. */
static const char *key_of(const struct hub_cert_conf *c, const char *error)
{
    if (begins(error, c->ca))
        return "certificate.ca";
    if (begins(error, c->crl))
        return "certificate.crl";
    return begins(error, c->cert) ? "certificate.cert" : "certificate.key";
}

/* obj: where the keys are looked for first; what it does not have is the hub's. */
static void check_cert(struct bt_conf_ctx *ctx, const struct hub_conf *conf,
                       const void *obj, const struct hub_cert_conf *c)
{
    const struct bt_tls_conf tls = {
        .server = true,
        .tls13_only = c->version == HUB_TLS_13,
        .require = c->require,
        .ca = c->ca,
        .cert = c->cert,
        .key = c->key,
        .crl = c->crl,
    };
    char error[BT_TLS_ERROR_LEN];
    struct bt_tls_ctx *made = NULL;
    int r = bt_tls_ctx_new(&tls, &made, error);
    const char *key;

    if (r == 0) {
        bt_tls_ctx_unref(made);
        return;
    }
    if (r == BT_ENOMEM)
        (void)snprintf(error, sizeof(error), "out of memory");
    key = key_of(c, error);
    bt_conf_error_at(ctx, bt_conf_given(ctx, obj, key) ? obj : conf, key, "%.400s",
                     error);
}

static bool is_tls(const char *address)
{
    struct hub_listen_url url;

    return hub_listen_url_parse(address, &url) == 0 && url.tls;
}

static bool same(const struct hub_cert_conf *a, const struct hub_cert_conf *b)
{
    return a->ca == b->ca && a->cert == b->cert && a->key == b->key && a->crl == b->crl;
}

static void check_certs(struct bt_conf_ctx *ctx, const struct hub_conf *conf)
{
    const struct hub_listener_conf *list = conf->listeners.items;
    bool done = false;

    for (size_t i = 0; i < conf->listen.n && !done; i++)
        done = is_tls(conf->listen.items[i]);
    if (done)
        check_cert(ctx, conf, conf, &conf->cert);
    for (size_t i = 0; i < conf->listeners.n; i++) {
        if (!is_tls(list[i].address) || (done && same(&list[i].cert, &conf->cert)))
            continue;
        check_cert(ctx, conf, &list[i], &list[i].cert);
        done |= same(&list[i].cert, &conf->cert);
    }
}

/* The last part of the path that is there, in place. */
static bool find_existing(char path[PATH_MAX], struct stat *st)
{
    while (stat(path, st) != 0) {
        char *slash = strrchr(path, '/');

        if (errno != ENOENT && errno != ENOTDIR)
            return false;
        if (slash == NULL || slash == path) {
            memcpy(path, slash == NULL ? "." : "/", 2);
            return stat(path, st) == 0;
        }
        *slash = '\0';
    }
    return true;
}

static void check_folder(struct bt_conf_ctx *ctx, const struct hub_conf *conf)
{
    char path[PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof(path), "%s", conf->storage_dir);

    if (conf->durability == HUB_DURABILITY_MEMORY || n < 0 || n >= (int)sizeof(path))
        return;
    if (!find_existing(path, &st))
        bt_conf_error_at(ctx, conf, "storage.dir", "%.200s: %s", path, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        bt_conf_error_at(ctx, conf, "storage.dir", "%.200s is not a folder", path);
    else if (access(path, W_OK | X_OK) != 0)
        bt_conf_warn_at(ctx, conf, "storage.dir",
                        "this user cannot write to the folder %.200s: %s", path,
                        strerror(errno));
}

void hub_conf_check_files(struct bt_conf_ctx *ctx, const void *conf)
{
    check_certs(ctx, conf);
    check_folder(ctx, conf);
}
