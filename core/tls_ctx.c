/* Contexts: the files, and what is agreed on with the other side.
 *
 * Happy path: read CA, chain, key and revocation lists, check that key and chain belong
 * together, fill the library's configuration. Failure modes: a file that is missing, too
 * large or not PEM, a key that is another's: one sentence for the caller, nothing kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/tls_priv.h"
#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>
#include <psa/crypto.h>

#define MAX_FILE ((size_t)16 * 1024 * 1024)

/* With forward secrecy and authentication. Which one is the client's choice: it knows
 * what its processor is good at. */
static const int suites[] = {
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_128_CCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8,
    0,
};

/* Where systems keep the certificates they trust; a client without its own looks here. */
static const char *const system_cas[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static psa_status_t ready;

static void init_library(void)
{
    bt_tls_time_init();
    ready = psa_crypto_init();
}

int bt_tls_random(void *p, unsigned char *out, size_t n)
{
    (void)p;
    return bt_sys_random(out, n) == 0 ? 0 : MBEDTLS_ERR_PLATFORM_HW_ACCEL_FAILED;
}

static int fail(char *error, const char *fmt, ...) BT_PRINTF(2, 3);
static int fail(char *error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(error, BT_TLS_ERROR_LEN, fmt, args);
    va_end(args);
    return BT_ETLS;
}

static int fail_code(char *error, const char *path, int code)
{
    char text[128];

    mbedtls_strerror(code, text, sizeof(text));
    return fail(error, "%.300s: %s", path, text);
}

static int read_all(int fd, struct bt_buf *out)
{
    for (;;) {
        ssize_t n;

        if (bt_buf_reserve(out, 16384) != 0) {
            errno = EFBIG;
            return -1;
        }
        n = read(fd, out->data + out->len, 16383);
        if (n == 0)
            return 0;
        if (n > 0)
            out->len += (size_t)n;
        else if (errno != EINTR)
            return -1;
    }
}

/* The file with a NUL behind it, as the library wants PEM. */
static int read_pem(const char *path, struct bt_buf *out, char *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;

    *out = (struct bt_buf){ .max = MAX_FILE };
    r = fd < 0 ? -1 : read_all(fd, out);
    if (r != 0)
        (void)fail(error, "%.300s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    if (r != 0)
        return BT_ETLS;
    out->data[out->len++] = '\0';
    return 0;
}

static void forget(struct bt_buf *b)
{
    if (b->data != NULL)
        mbedtls_platform_zeroize(b->data, b->len);
    bt_buf_deinit(b);
}

static int load_chain(const char *path, bool all, mbedtls_x509_crt *out, char *error)
{
    struct bt_buf pem;
    int r = read_pem(path, &pem, error), bad;

    if (r == 0) {
        bad = mbedtls_x509_crt_parse(out, pem.data, pem.len);
        /* Above zero: so many of the file's certificates are not understood. */
        if (bad < 0 || (bad > 0 && all))
            r = bad < 0 ? fail_code(error, path, bad)
                        : fail(error, "%.300s: %d of its certificates are damaged", path,
                               bad);
    }
    forget(&pem);
    return r;
}

static int load_key(const char *path, mbedtls_pk_context *out, char *error)
{
    struct bt_buf pem;
    int r = read_pem(path, &pem, error), bad;

    if (r == 0) {
        bad = mbedtls_pk_parse_key(out, pem.data, pem.len, NULL, 0, bt_tls_random, NULL);
        if (bad != 0)
            r = fail_code(error, path, bad);
    }
    forget(&pem);
    return r;
}

static int load_crl(const char *path, mbedtls_x509_crl *out, char *error)
{
    struct bt_buf pem;
    int r = read_pem(path, &pem, error), bad;

    if (r == 0) {
        bad = mbedtls_x509_crl_parse(out, pem.data, pem.len);
        if (bad != 0)
            r = fail_code(error, path, bad);
    }
    forget(&pem);
    return r;
}

static int load_own(struct bt_tls_ctx *ctx, const struct bt_tls_conf *conf, char *error)
{
    int r;

    if (!bt_given(conf->cert) && !bt_given(conf->key) && !conf->server)
        return 0;
    if (!bt_given(conf->cert) || !bt_given(conf->key))
        return fail(error, "a certificate and its key are needed, both");
    r = load_chain(conf->cert, true, &ctx->cert, error);
    if (r == 0)
        r = load_key(conf->key, &ctx->key, error);
    if (r != 0)
        return r;
    if (mbedtls_pk_check_pair(&ctx->cert.pk, &ctx->key, bt_tls_random, NULL) != 0)
        return fail(error, "the key %.200s does not belong to the certificate %.200s",
                    conf->key, conf->cert);
    if (mbedtls_ssl_conf_own_cert(&ctx->conf, &ctx->cert, &ctx->key) != 0)
        return BT_ENOMEM;
    ctx->dates.cert_from = bt_tls_time_of(&ctx->cert.valid_from);
    ctx->dates.cert_until = bt_tls_time_of(&ctx->cert.valid_to);
    return 0;
}

static const char *system_ca(void)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(system_cas); i++)
        if (access(system_cas[i], R_OK) == 0)
            return system_cas[i];
    return NULL;
}

static int load_trust(struct bt_tls_ctx *ctx, const struct bt_tls_conf *conf, char *error)
{
    const char *ca = bt_given(conf->ca) ? conf->ca : NULL;
    int r;

    if (ca == NULL && conf->server)
        return conf->require == BT_TLS_REQUIRED
                   ? fail(error, "client certificates are required, but there is no CA")
                   : 0;
    if (conf->insecure)
        return 0;
    if (ca == NULL && (ca = system_ca()) == NULL)
        return fail(error, "no CA is given, and the system has none");
    r = load_chain(ca, bt_given(conf->ca), &ctx->ca, error);
    if (r == 0 && bt_given(conf->crl))
        r = load_crl(conf->crl, &ctx->crl, error);
    if (r != 0)
        return r;
    mbedtls_ssl_conf_ca_chain(&ctx->conf, &ctx->ca,
                              bt_given(conf->crl) ? &ctx->crl : NULL);
    for (const mbedtls_x509_crl *l = &ctx->crl; bt_given(conf->crl) && l != NULL;
         l = l->next)
        if (l->next_update.year != 0)
            ctx->dates.crl_until =
                BT_MIN(ctx->dates.crl_until, bt_tls_time_of(&l->next_update));
    return 0;
}

static int authmode(const struct bt_tls_conf *conf)
{
    static const int modes[] = { [BT_TLS_NONE] = MBEDTLS_SSL_VERIFY_NONE,
                                 [BT_TLS_OPTIONAL] = MBEDTLS_SSL_VERIFY_OPTIONAL,
                                 [BT_TLS_REQUIRED] = MBEDTLS_SSL_VERIFY_REQUIRED };

    if (!conf->server)
        return conf->insecure ? MBEDTLS_SSL_VERIFY_NONE : MBEDTLS_SSL_VERIFY_REQUIRED;
    return bt_given(conf->ca) ? modes[conf->require] : MBEDTLS_SSL_VERIFY_NONE;
}

static int configure(struct bt_tls_ctx *ctx, const struct bt_tls_conf *conf)
{
    mbedtls_ssl_config *c = &ctx->conf;
    int r = mbedtls_ssl_config_defaults(
        c, conf->server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
        MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

    if (r != 0)
        return BT_ENOMEM;
    mbedtls_ssl_conf_rng(c, bt_tls_random, NULL);
    mbedtls_ssl_conf_ciphersuites(c, suites);
    mbedtls_ssl_conf_min_tls_version(c, conf->tls13_only ? MBEDTLS_SSL_VERSION_TLS1_3
                                                         : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_authmode(c, authmode(conf));
    if (!conf->server)
        return 0;
    mbedtls_ssl_conf_preference_order(c, MBEDTLS_SSL_SRV_CIPHERSUITE_ORDER_CLIENT);
    if (bt_tls_tickets_init(&ctx->tickets) != 0)
        return BT_EIO;
    mbedtls_ssl_conf_session_tickets_cb(c, bt_tls_ticket_write, bt_tls_ticket_parse,
                                        &ctx->tickets);
    return 0;
}

int bt_tls_ctx_new(const struct bt_tls_conf *conf, struct bt_tls_ctx **out,
                   char error[BT_TLS_ERROR_LEN])
{
    struct bt_tls_ctx *ctx = bt_calloc(1, sizeof(*ctx));
    int r;

    *out = NULL;
    error[0] = '\0';
    if (ctx == NULL)
        return BT_ENOMEM;
    (void)pthread_once(&once, init_library);
    atomic_init(&ctx->refs, 1);
    ctx->server = conf->server;
    ctx->insecure = conf->insecure;
    ctx->dates = (struct bt_tls_dates){ 0, INT64_MAX, INT64_MAX };
    mbedtls_ssl_config_init(&ctx->conf);
    mbedtls_x509_crt_init(&ctx->ca);
    mbedtls_x509_crt_init(&ctx->cert);
    mbedtls_x509_crl_init(&ctx->crl);
    mbedtls_pk_init(&ctx->key);
    r = ready == PSA_SUCCESS ? configure(ctx, conf)
                             : fail(error, "the cryptography library does not start");
    if (r == 0)
        r = load_own(ctx, conf, error);
    if (r == 0)
        r = load_trust(ctx, conf, error);
    if (r != 0) {
        bt_tls_ctx_unref(ctx);
        return r;
    }
    *out = ctx;
    return 0;
}

struct bt_tls_ctx *bt_tls_ctx_ref(struct bt_tls_ctx *ctx)
{
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void bt_tls_ctx_unref(struct bt_tls_ctx *ctx)
{
    if (ctx == NULL || atomic_fetch_sub(&ctx->refs, 1) != 1)
        return;
    mbedtls_ssl_config_free(&ctx->conf);
    mbedtls_x509_crt_free(&ctx->ca);
    mbedtls_x509_crt_free(&ctx->cert);
    mbedtls_x509_crl_free(&ctx->crl);
    mbedtls_pk_free(&ctx->key);
    if (ctx->server)
        bt_tls_tickets_deinit(&ctx->tickets);
    bt_free(ctx);
}

void bt_tls_ctx_dates(const struct bt_tls_ctx *ctx, struct bt_tls_dates *out)
{
    *out = ctx->dates;
}
