/* Session tickets (RFC 5077, RFC 8446 section 4.6.1): the session's secrets and the name
 * of the client, sealed with AES-256-GCM by a key that only this context has. So a
 * resumed session knows who it is, and a new context (other certificates, a new list of
 * revoked ones) begins with nobody.
 *
 *   key name 4 | nonce 12 | sealed { id size 4 | id | session } | tag 16
 *
 * A key seals for LIFETIME and opens for as long again. Failure modes: whatever is wrong
 * with a ticket, the client gets a full handshake. */
#include <string.h>

#include "core/clock.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/tls_priv.h"
#include <mbedtls/platform_util.h>

#define LIFETIME_S (12u * 3600u)
#define NAME       4u
#define NONCE      12u
#define TAG        16u
#define HEAD       (NAME + NONCE)

_Thread_local struct bt_tls *bt_tls_current;

static int new_key(struct bt_tls_ticket_key *k, uint64_t now_ms)
{
    uint8_t secret[32];
    int r;

    if (bt_sys_random(secret, sizeof(secret)) != 0 ||
        bt_sys_random(k->name, sizeof(k->name)) != 0)
        return -1;
    mbedtls_gcm_free(&k->gcm);
    mbedtls_gcm_init(&k->gcm);
    r = mbedtls_gcm_setkey(&k->gcm, MBEDTLS_CIPHER_ID_AES, secret, 256);
    mbedtls_platform_zeroize(secret, sizeof(secret));
    k->live = r == 0;
    k->born_ms = now_ms;
    return r;
}

int bt_tls_tickets_init(struct bt_tls_tickets *k)
{
    (void)pthread_mutex_init(&k->lock, NULL);
    mbedtls_gcm_init(&k->keys[0].gcm);
    mbedtls_gcm_init(&k->keys[1].gcm);
    return new_key(&k->keys[0], bt_clock_ms());
}

void bt_tls_tickets_deinit(struct bt_tls_tickets *k)
{
    mbedtls_gcm_free(&k->keys[0].gcm);
    mbedtls_gcm_free(&k->keys[1].gcm);
    (void)pthread_mutex_destroy(&k->lock);
}

/* Locked. The key that seals now, or NULL. */
static struct bt_tls_ticket_key *sealer(struct bt_tls_tickets *k)
{
    uint64_t now = bt_clock_ms();
    struct bt_tls_ticket_key *key = &k->keys[k->current];

    if (key->live && now - key->born_ms < LIFETIME_S * UINT64_C(1000))
        return key;
    key = &k->keys[k->current ^ 1u];
    if (new_key(key, now) != 0)
        return NULL;
    k->current ^= 1u;
    return key;
}

static struct bt_tls_ticket_key *opener(struct bt_tls_tickets *k, const uint8_t *name)
{
    uint64_t now = bt_clock_ms();

    for (size_t i = 0; i < 2; i++) {
        struct bt_tls_ticket_key *key = &k->keys[i];

        if (key->live && memcmp(key->name, name, NAME) == 0 &&
            now - key->born_ms < 2 * LIFETIME_S * UINT64_C(1000))
            return key;
    }
    return NULL;
}

/* The secrets and the name, in the clear, at p. */
static int compose(const mbedtls_ssl_session *session, uint8_t *p, size_t room,
                   size_t *len)
{
    const struct bt_tls *t = bt_tls_current;
    const struct bt_tls_id *id = t->peer != NULL ? t->peer : t->full ? NULL : t->offered;
    uint32_t size = id != NULL ? id->size : 0;
    mbedtls_ssl_session bare = *session;
    size_t n = 0;

    if (size > BT_TLS_MAX_ID || room < sizeof(size) + size)
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    memcpy(p, &size, sizeof(size));
    if (size > 0)
        memcpy(p + sizeof(size), id, size);
    p += sizeof(size) + size;
    /* The name is enough; the certificate itself would make the ticket large. */
    bare.peer_cert = NULL;
    if (mbedtls_ssl_session_save(&bare, p, room - sizeof(size) - size, &n) != 0)
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    *len = sizeof(size) + size + n;
    return 0;
}

int bt_tls_ticket_write(void *p, const mbedtls_ssl_session *session, unsigned char *start,
                        const unsigned char *end, size_t *len, uint32_t *lifetime_s)
{
    struct bt_tls_tickets *k = p;
    struct bt_tls_ticket_key *key;
    size_t room = (size_t)(end - start), n = 0;
    uint8_t *body = start + HEAD;
    int r;

    *len = 0;
    if (room < HEAD + TAG || bt_sys_random(start + NAME, NONCE) != 0)
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    r = compose(session, body, room - HEAD - TAG, &n);
    if (r != 0)
        return r;
    (void)pthread_mutex_lock(&k->lock);
    key = sealer(k);
    r = MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    if (key != NULL) {
        memcpy(start, key->name, NAME);
        r = mbedtls_gcm_crypt_and_tag(&key->gcm, MBEDTLS_GCM_ENCRYPT, n, start + NAME,
                                      NONCE, start, NAME, body, body, TAG, body + n);
    }
    (void)pthread_mutex_unlock(&k->lock);
    *len = r == 0 ? HEAD + n + TAG : 0;
    *lifetime_s = LIFETIME_S;
    return r;
}

static int open_sealed(struct bt_tls_tickets *k, uint8_t *buf, size_t len)
{
    size_t n = len - HEAD - TAG;
    struct bt_tls_ticket_key *key;
    int r = -1;

    (void)pthread_mutex_lock(&k->lock);
    key = opener(k, buf);
    if (key != NULL)
        r = mbedtls_gcm_auth_decrypt(&key->gcm, n, buf + NAME, NONCE, buf, NAME,
                                     buf + HEAD + n, TAG, buf + HEAD, buf + HEAD);
    (void)pthread_mutex_unlock(&k->lock);
    return r == 0 ? 0 : MBEDTLS_ERR_SSL_INVALID_MAC;
}

/* What we sealed ourselves, so its sizes are right. */
static int restore_id(const uint8_t *p, uint32_t size, struct bt_tls_id **out)
{
    struct bt_tls_id *id;

    *out = NULL;
    if (size == 0)
        return 0;
    id = bt_malloc(size);
    if (id == NULL)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    memcpy(id, p, size);
    if (id->until < bt_tls_now()) {
        bt_free(id);
        return MBEDTLS_ERR_SSL_SESSION_TICKET_EXPIRED;
    }
    *out = id;
    return 0;
}

int bt_tls_ticket_parse(void *p, mbedtls_ssl_session *session, unsigned char *buf,
                        size_t len)
{
    struct bt_tls *t = bt_tls_current;
    struct bt_tls_id *id = NULL;
    uint32_t size;
    int r;

    if (t == NULL || len < HEAD + sizeof(size) + TAG)
        return MBEDTLS_ERR_SSL_INVALID_MAC;
    r = open_sealed(p, buf, len);
    if (r != 0)
        return r;
    buf += HEAD;
    len -= HEAD + TAG;
    memcpy(&size, buf, sizeof(size));
    buf += sizeof(size);
    r = restore_id(buf, size, &id);
    if (r == 0)
        r = mbedtls_ssl_session_load(session, buf + size, len - sizeof(size) - size);
    if (r != 0) {
        bt_free(id);
        return r;
    }
    bt_free(t->offered);
    t->offered = id;
    return 0;
}
