/* Certificates of listeners. Once a minute the main thread looks at the files (a stat
 * each); when one of a set has changed, or on request, it reads them all and swaps the
 * context. Connections keep the context they began with; the tickets of the old one are
 * void.
 *
 * Failure modes: files that do not fit together (half of a replacement is in place) or
 * are damaged: the old context stays, the reason is logged once, and the next change is
 * another try. At start the same ends the start. */
#include "hub/net/certs.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/mbox.h"
#include "core/mem.h"
#include "core/sys.h"

#define CHECK_MS  60000u
#define DAY_S     INT64_C(86400)
#define N_FILES   4
#define MAX_FILES 64 /* of the store that are asked for the time */
/* What is told is not believed when it is this far ahead of what is known: a clock that
 * was once wrong must not lock anybody out. */
#define MAX_AHEAD_S (INT64_C(10) * 366 * DAY_S)

/* How a file looks from outside. */
struct look {
    int64_t size, inode, mtime_ns;
};

struct hub_cert {
    struct hub_cert *next;
    struct hub_certs *all;
    const struct hub_cert_conf *conf;
    struct look looks[N_FILES];
    size_t told_cert, told_crl; /* warnings that were given */
    pthread_mutex_t lock;       /* accepting threads take the context, main swaps it */
    struct bt_tls_ctx *ctx;
};
struct hub_certs {
    struct bt_loop *loop;
    const char *storage_dir;
    struct bt_mbox *mbox;
    struct bt_msg ask;
    _Atomic bool asked;
    struct bt_timer timer;
    struct hub_cert *list;
};

/* ---- Time ---- */

static void raise_floor(int64_t utc_s)
{
    if (utc_s < bt_tls_now() + MAX_AHEAD_S)
        bt_tls_floor_raise(utc_s);
}

/* The store was written when the clock was last right. */
static void ask_the_store(const char *folder)
{
    DIR *dir = bt_tls_clock_wrong() && folder != NULL ? opendir(folder) : NULL;
    const struct dirent *e;
    struct stat st;

    if (dir == NULL)
        return;
    for (int i = 0; i < MAX_FILES && (e = readdir(dir)) != NULL; i++)
        if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
            raise_floor(st.st_mtime);
    (void)closedir(dir);
}

/* ---- Warnings ---- */

static const int64_t warn_days[] = { 30, 7, 1, 0 };

static void warn(const char *file, const char *what, int64_t until, size_t *told)
{
    int64_t left = until - bt_tls_now();
    char text[BT_CLOCK_TEXT_LEN];
    size_t n = 0;

    while (until != INT64_MAX && n < BT_ARRAY_LEN(warn_days) &&
           left <= warn_days[n] * DAY_S)
        n++;
    if (n <= *told) {
        *told = n;
        return;
    }
    *told = n;
    bt_clock_text(until * 1000, text);
    if (left <= 0)
        bt_log(BT_LOG_ERROR, "HUB-CERT", "a certificate or revocation list has expired",
               "file=%s what=%s until=%s", file, what, text);
    else
        bt_log(BT_LOG_WARN, "HUB-CERT", "a certificate or revocation list expires soon",
               "file=%s what=%s until=%s days=%lld", file, what, text,
               (long long)(left / DAY_S));
}

static void warn_all(struct hub_cert *c)
{
    struct bt_tls_dates dates;

    bt_tls_ctx_dates(c->ctx, &dates);
    warn(c->conf->cert, "certificate", dates.cert_until, &c->told_cert);
    if (c->conf->crl != NULL)
        warn(c->conf->crl, "crl", dates.crl_until, &c->told_crl);
}

/* ---- Files ---- */

static void look_at(const char *path, struct look *out)
{
    struct stat st;

    *out = (struct look){ .size = -1 };
    if (path != NULL && stat(path, &st) == 0)
        *out = (struct look){ (int64_t)st.st_size, (int64_t)st.st_ino,
                              bt_sys_mtime_ns(&st) };
}

/* Whether something is not as it was; remembers how it is. */
static bool changed(struct hub_cert *c)
{
    const char *const paths[N_FILES] = { c->conf->ca, c->conf->cert, c->conf->key,
                                         c->conf->crl };
    bool different = false;

    for (size_t i = 0; i < N_FILES; i++) {
        struct look now;

        look_at(paths[i], &now);
        different |= memcmp(&now, &c->looks[i], sizeof(now)) != 0;
        c->looks[i] = now;
    }
    return different;
}

static int build(struct hub_cert *c, struct bt_tls_ctx **out)
{
    const struct bt_tls_conf conf = {
        .server = true,
        .tls13_only = c->conf->version == HUB_TLS_13,
        .require = c->conf->require,
        .ca = c->conf->ca,
        .cert = c->conf->cert,
        .key = c->conf->key,
        .crl = c->conf->crl,
    };
    char error[BT_TLS_ERROR_LEN];
    struct bt_tls_dates dates;
    int r = bt_tls_ctx_new(&conf, out, error);

    if (r != 0) {
        bt_log(BT_LOG_ERROR, "HUB-CERT",
               c->ctx == NULL ? "the certificate cannot be used"
                              : "the new certificate cannot be used, the old one stays",
               "error=" BT_LOG_Q, r == BT_ENOMEM ? bt_error_text(r) : error);
        return r;
    }
    bt_tls_ctx_dates(*out, &dates);
    raise_floor(dates.cert_from);
    return 0;
}

static void swap(struct hub_cert *c, struct bt_tls_ctx *fresh)
{
    struct bt_tls_ctx *old;

    (void)pthread_mutex_lock(&c->lock);
    old = c->ctx;
    c->ctx = fresh;
    (void)pthread_mutex_unlock(&c->lock);
    bt_tls_ctx_unref(old);
    c->told_cert = c->told_crl = 0;
    bt_log(BT_LOG_INFO, "HUB-CERT", "certificate read again", "file=%s", c->conf->cert);
}

static void check(struct hub_certs *all, bool force)
{
    struct bt_tls_ctx *fresh;

    for (struct hub_cert *c = all->list; c != NULL; c = c->next) {
        if ((changed(c) || force) && build(c, &fresh) == 0)
            swap(c, fresh);
        warn_all(c);
    }
}

static void on_timer(struct bt_timer *t)
{
    check(bt_container_of(t, struct hub_certs, timer), false);
}

static void on_ask(void *arg, struct bt_msg *msg)
{
    struct hub_certs *c = arg;

    (void)msg;
    atomic_store(&c->asked, false);
    check(c, true);
}

/* ---- Life ---- */

struct hub_certs *hub_certs_new(struct bt_loop *main_loop, const char *storage_dir)
{
    struct hub_certs *c = bt_calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->loop = main_loop;
    c->storage_dir = storage_dir;
    bt_timer_init(&c->timer, on_timer);
    return c;
}

void hub_certs_free(struct hub_certs *c)
{
    if (c == NULL)
        return;
    if (c->mbox != NULL) {
        bt_timer_stop(c->loop, &c->timer);
        bt_mbox_close(c->mbox);
        bt_mbox_free(c->mbox);
    }
    while (c->list != NULL) {
        struct hub_cert *next = c->list->next;

        bt_tls_ctx_unref(c->list->ctx);
        (void)pthread_mutex_destroy(&c->list->lock);
        bt_free(c->list);
        c->list = next;
    }
    bt_free(c);
}

/* With the first certificate. */
static int begin(struct hub_certs *c)
{
    c->mbox = bt_mbox_new(c->loop, on_ask, c);
    if (c->mbox == NULL)
        return BT_ENOMEM;
    bt_timer_start(c->loop, &c->timer, CHECK_MS, CHECK_MS);
    ask_the_store(c->storage_dir);
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_conf(const struct hub_cert_conf *a, const struct hub_cert_conf *b)
{
    return same_text(a->ca, b->ca) && same_text(a->cert, b->cert) &&
           same_text(a->key, b->key) && same_text(a->crl, b->crl) &&
           a->require == b->require && a->version == b->version;
}

int hub_certs_add(struct hub_certs *all, const struct hub_cert_conf *conf,
                  struct hub_cert **out)
{
    struct hub_cert *c;
    int r;

    for (c = all->list; c != NULL; c = c->next)
        if (same_conf(c->conf, conf)) {
            *out = c;
            return 0;
        }
    c = bt_calloc(1, sizeof(*c));
    *out = c;
    if (c == NULL)
        return BT_ENOMEM;
    c->conf = conf;
    (void)pthread_mutex_init(&c->lock, NULL);
    c->next = all->list;
    all->list = c;
    r = all->mbox == NULL ? begin(all) : 0;
    if (r != 0)
        return r;
    (void)changed(c);
    r = build(c, &c->ctx);
    if (r == 0)
        warn_all(c);
    return r;
}

struct bt_tls_ctx *hub_cert_context(struct hub_cert *c)
{
    struct bt_tls_ctx *ctx;

    (void)pthread_mutex_lock(&c->lock);
    ctx = bt_tls_ctx_ref(c->ctx);
    (void)pthread_mutex_unlock(&c->lock);
    return ctx;
}

void hub_certs_reload(struct hub_certs *c)
{
    if (c->mbox != NULL && !atomic_exchange(&c->asked, true))
        (void)!bt_mbox_post(c->mbox, &c->ask);
}
