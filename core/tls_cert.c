/* The other side's certificate: verified with our time, and its names taken, because the
 * certificate itself is freed after the handshake.
 *
 * Happy path: the library calls bt_tls_verify for each certificate of the chain, the
 * other side's own last. Failure modes: a bad certificate of a client that need not have
 * shown one still ends the handshake; without memory for the names it ends too. */
#include <string.h>

#include "core/mem.h"
#include "core/tls_priv.h"
#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>

#define SUBJECT_ROOM 1024u

/* Days from 1970 to the first of March of year 0, and the calendar of the Gregorian
 * eras, as in core/clock.c, the other way round. */
int64_t bt_tls_time_of(const mbedtls_x509_time *t)
{
    int64_t y = t->year - (t->mon <= 2), era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t day = (153 * (t->mon + (t->mon > 2 ? -3 : 9)) + 2) / 5 + t->day - 1;
    int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719468;

    return days * 86400 + t->hour * 3600 + t->min * 60 + t->sec;
}

/* The last CN, or nothing when it holds what could fool a comparison of strings. */
static struct bt_slice common_name(const mbedtls_x509_crt *crt)
{
    struct bt_slice cn = { NULL, 0 };

    for (const mbedtls_x509_name *n = &crt->subject; n != NULL; n = n->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &n->oid) == 0)
            cn = (struct bt_slice){ n->val.p, n->val.len };
    if (cn.len == 0 || cn.len > SUBJECT_ROOM || memchr(cn.ptr, '\0', cn.len) != NULL)
        return (struct bt_slice){ (const uint8_t *)"", 0 };
    return cn;
}

static void fingerprint(const mbedtls_x509_crt *crt, char out[65])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t sum[32];

    (void)mbedtls_sha256(crt->raw.p, crt->raw.len, sum, 0);
    for (size_t i = 0; i < sizeof(sum); i++) {
        out[2 * i] = hex[sum[i] >> 4];
        out[2 * i + 1] = hex[sum[i] & 15];
    }
    out[64] = '\0';
}

static struct bt_tls_id *id_of(const mbedtls_x509_crt *crt)
{
    char subject[SUBJECT_ROOM];
    struct bt_slice cn = common_name(crt);
    struct bt_tls_id *id;
    size_t n;

    if (mbedtls_x509_dn_gets(subject, sizeof(subject), &crt->subject) < 0)
        subject[0] = '\0';
    n = strlen(subject);
    id = bt_calloc(1, sizeof(*id) + cn.len + n + 2);
    if (id == NULL)
        return NULL;
    id->until = bt_tls_time_of(&crt->valid_to);
    id->size = (uint32_t)(sizeof(*id) + cn.len + n + 2);
    id->subject_at = (uint32_t)cn.len + 1;
    fingerprint(crt, id->fingerprint);
    memcpy(id->text, cn.ptr, cn.len);
    memcpy(id->text + id->subject_at, subject, n);
    return id;
}

int bt_tls_verify(void *p, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct bt_tls *t = p;

    /* A clock that is wrong for sure says nothing about beginnings; ends are compared
     * with the floor. */
    if (bt_tls_clock_wrong())
        *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_FUTURE | MBEDTLS_X509_BADCRL_FUTURE);
    t->flags |= *flags;
    if (depth > 0)
        return 0;
    if (t->flags != 0)
        return t->ctx->conf.authmode == MBEDTLS_SSL_VERIFY_OPTIONAL
                   ? MBEDTLS_ERR_X509_FATAL_ERROR
                   : 0;
    bt_free(t->peer);
    t->peer = id_of(crt);
    return t->peer == NULL ? MBEDTLS_ERR_X509_ALLOC_FAILED : 0;
}
