/* What the files core/tls*.c share; nobody else includes it. */
#ifndef CORE_TLS_PRIV_H
#define CORE_TLS_PRIV_H

/* core/tls.c lends its buffers to the library, which has no call for that. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS

#include <pthread.h>
#include <stdatomic.h>

#include "core/tls.h"
#include <mbedtls/gcm.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

/* The verified other side, in one block that can be put into a ticket as it is. */
struct bt_tls_id {
    int64_t until; /* its certificate's last second */
    uint32_t size; /* of the whole block */
    uint32_t subject_at;
    char fingerprint[65];
    char text[]; /* common name, NUL, subject, NUL */
};
#define BT_TLS_MAX_ID 4096u

/* Two keys: the one that seals, and the one before it. */
struct bt_tls_ticket_key {
    uint8_t name[4];
    bool live;
    uint64_t born_ms;
    mbedtls_gcm_context gcm;
};
struct bt_tls_tickets {
    pthread_mutex_t lock; /* handshakes on several threads; held for one small record */
    unsigned current;
    struct bt_tls_ticket_key keys[2];
};

struct bt_tls_ctx {
    _Atomic unsigned refs;
    bool server, insecure;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt ca, cert;
    mbedtls_x509_crl crl;
    mbedtls_pk_context key;
    struct bt_tls_dates dates;
    struct bt_tls_tickets tickets;
};

struct bt_tls {
    mbedtls_ssl_context ssl;
    struct bt_tls_ctx *ctx;
    struct bt_slice *in; /* of the call that runs */
    struct bt_buf *out;
    struct bt_tls_id *peer;    /* verified in this handshake or, when resumed, before */
    struct bt_tls_id *offered; /* of a ticket that may yet be refused */
    uint32_t flags;            /* what is wrong with the other side's certificate */
    int error;                 /* the library's code, 0 = none */
    uint8_t in_ctr[8];         /* the library keeps it in the buffer that is lent */
    uint8_t alert;             /* that the other side sent */
    uint8_t first[8]; /* bytes of the other side, to say what it speaks instead */
    uint8_t n_first;
    uint8_t out_msg_at;
    bool in_lent, ready, full, closed, told;
};

/* Of the library's own headers. */
void mbedtls_ssl_handshake_free(mbedtls_ssl_context *ssl);
int mbedtls_ssl_flush_output(mbedtls_ssl_context *ssl);

/* ---- core/tls_time.c: tells the library about our time. Any thread, idempotent. ---- */
void bt_tls_time_init(void);

/* ---- core/tls_cert.c ---- */
/* Verification callback of the library; p is the session. */
int bt_tls_verify(void *p, mbedtls_x509_crt *crt, int depth, uint32_t *flags);
int64_t bt_tls_time_of(const mbedtls_x509_time *t);

/* ---- core/tls_ticket.c: callbacks of the library; p is the struct bt_tls_tickets. The
 * session is the one that the calling thread works on (bt_tls_current). ---- */
extern _Thread_local struct bt_tls *bt_tls_current;
int bt_tls_tickets_init(struct bt_tls_tickets *k) BT_MUST_CHECK;
void bt_tls_tickets_deinit(struct bt_tls_tickets *k);
int bt_tls_ticket_write(void *p, const mbedtls_ssl_session *session, unsigned char *start,
                        const unsigned char *end, size_t *len, uint32_t *lifetime_s);
int bt_tls_ticket_parse(void *p, mbedtls_ssl_session *session, unsigned char *buf,
                        size_t len);

/* ---- core/tls_ctx.c ---- */
int bt_tls_random(void *p, unsigned char *out, size_t n);

#endif
