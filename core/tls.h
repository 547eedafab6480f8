/* TLS 1.2 and 1.3 over memory: a context holds certificates and what is demanded of the
 * other side, a session turns ciphertext into bytes and back. Nothing here knows sockets.
 *
 * A context may be used by any number of threads at once and lives until its last
 * reference is dropped, so that a new one can take its place under live sessions. A
 * session is for one thread at a time. Renegotiation does not exist here. */
#ifndef CORE_TLS_H
#define CORE_TLS_H

#include <sys/uio.h>

#include "core/base.h"
#include "core/buf.h"

struct bt_tls_ctx;
struct bt_tls;

enum bt_tls_require {
    BT_TLS_NONE,     /* server: no client certificate is asked for */
    BT_TLS_OPTIONAL, /* one that is shown must be good */
    BT_TLS_REQUIRED,
};

/* Paths name PEM files; NULL or "" = none. */
struct bt_tls_conf {
    bool server;
    bool insecure;    /* client: take any certificate and any name */
    bool tls13_only;  /* else 1.2 is spoken too */
    uint32_t require; /* server: enum bt_tls_require */
    const char *ca;   /* who may have signed the other side's certificate */
    const char *cert; /* our own chain; a server needs it */
    const char *key;  /* its private key, not encrypted */
    const char *crl;  /* revoked certificates of that CA; may hold several lists */
};

#define BT_TLS_ERROR_LEN 512

/* Reads the files (blocks). 0, or BT_ETLS with a sentence in error (nothing is logged),
 * or BT_ENOMEM. A client without a CA uses the system's. */
int bt_tls_ctx_new(const struct bt_tls_conf *conf, struct bt_tls_ctx **out,
                   char error[BT_TLS_ERROR_LEN]) BT_MUST_CHECK;
struct bt_tls_ctx *bt_tls_ctx_ref(struct bt_tls_ctx *ctx);
void bt_tls_ctx_unref(struct bt_tls_ctx *ctx); /* NULL is fine */

/* UTC seconds since 1970; INT64_MAX = never or none. */
struct bt_tls_dates {
    int64_t cert_from, cert_until; /* of our own certificate */
    int64_t crl_until;             /* the earliest next update */
};
void bt_tls_ctx_dates(const struct bt_tls_ctx *ctx, struct bt_tls_dates *out);

/* ---- Sessions. Ciphertext that came is offered as *in, which moves on by whole records;
 * what is left has to be offered again with what came after it. What has to be sent is
 * appended to out (its ceiling must leave room for 32 KiB a call). ---- */

/* host: client only: the name or address that the server's certificate must be for; NULL
 * with `insecure`. The context is referenced. BT_ENOMEM or BT_EINVAL. */
int bt_tls_new(struct bt_tls_ctx *ctx, const char *host,
               struct bt_tls **out) BT_MUST_CHECK;
void bt_tls_free(struct bt_tls *t); /* NULL is fine */
/* Go on with the handshake (a client begins with it) as far as *in allows. 0 or BT_ETLS;
 * after a failure out holds the alert that fits. Implied by bt_tls_read. */
int bt_tls_handshake(struct bt_tls *t, struct bt_slice *in,
                     struct bt_buf *out) BT_MUST_CHECK;
bool bt_tls_ready(const struct bt_tls *t); /* the handshake is done */
/* Up to room (> 0) bytes. 0: more ciphertext is needed; BT_ECLOSED: the other side said
 * goodbye; BT_ETLS. All whole records of *in are used unless `to` is full. */
ssize_t bt_tls_read(struct bt_tls *t, struct bt_slice *in, uint8_t *to, size_t room,
                    struct bt_buf *out) BT_MUST_CHECK;
/* bt_tls_read would return something without more ciphertext. */
bool bt_tls_pending(const struct bt_tls *t);
/* bt_tls_read would use some of in: a whole record is there, or what is none. */
bool bt_tls_whole(struct bt_slice in);
/* Encrypts up to max bytes from iov in order, small pieces together in one record. How
 * many; 0 before the handshake is done; BT_ETLS. */
ssize_t bt_tls_write(struct bt_tls *t, const struct iovec *iov, int n, size_t max,
                     struct bt_buf *out) BT_MUST_CHECK;
/* Appends close_notify. Idempotent. */
void bt_tls_close(struct bt_tls *t, struct bt_buf *out);

/* Who the other side is. Strings belong to the session and change with its handshake
 * only; "" when there is none. */
struct bt_tls_peer {
    bool verified;           /* it showed a certificate and that is good */
    const char *common_name; /* the last CN of the subject; "" when it has a NUL */
    const char *subject;     /* "CN=x, O=y" */
    const char *fingerprint; /* SHA-256 of the certificate, 64 hexadecimal digits */
};
void bt_tls_peer(const struct bt_tls *t, struct bt_tls_peer *out);
bool bt_tls_resumed(const struct bt_tls *t);
const char *bt_tls_version(const struct bt_tls *t); /* "TLSv1.3" */
/* Why the session failed, one line for people. */
#define BT_TLS_WHY_LEN 256
void bt_tls_why(const struct bt_tls *t, char out[BT_TLS_WHY_LEN]);

/* Space of the calling thread to receive and to gather in, for between two calls: nothing
 * of it outlives the function that uses it, and it leaves `out` empty. NULL when out of
 * memory. Freed with the thread. */
#define BT_TLS_CHUNK  65536u
#define BT_TLS_RECORD 18437u /* a record is not longer, with its head */
struct bt_tls_space {
    struct bt_buf out;
    uint8_t in[BT_TLS_RECORD + BT_TLS_CHUNK];
};
struct bt_tls_space *bt_tls_space(void) BT_MUST_CHECK;

/* ---- Trusted time: docs/tls.md says the policy. Any thread. ---- */

/* UTC seconds: the clock's, but never before the floor. */
int64_t bt_tls_now(void);
/* Whether the clock stands before the floor, so that it must be wrong. */
bool bt_tls_clock_wrong(void);
/* It cannot be earlier than this. The floor begins at the time of the build. */
void bt_tls_floor_raise(int64_t utc_s);

#endif
