/* A TLS session over memory.
 *
 * The library wants two buffers of 17 KiB in each session for good. Here they belong to
 * the thread and are lent to a session while one of its calls runs. That works because
 * the library is given whole records only, and its output always goes out at once:
 * between two calls the buffers hold nothing but a counter. Only bytes that found no
 * room, and a handshake message that is spread over records, keep an input buffer for a
 * while.
 *
 * Output never blocks: the library's sending callback appends to the caller's buffer, so
 * a record is always written whole. Failure modes: whatever the library reports is final
 * and is kept for bt_tls_why. */
#include "core/tls.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/tls_priv.h"
#include <mbedtls/error.h>
#include <mbedtls/platform.h>

/* The library refuses to be built when a record takes more. */
#define RECORD_ROOM    (16384u + 2048u + 16u)
#define PAYLOAD        16384u
#define CTR            8u
#define HDR            5u

#define TYPE_HANDSHAKE 0x16 /* of a record */
#define TYPE_ALERT     0x15
#define TYPE_FIRST     0x14
#define TYPE_LAST      0x17

struct scratch {
    struct bt_tls_space space;
    uint8_t in[RECORD_ROOM], out[RECORD_ROOM], gather[PAYLOAD];
};

static _Thread_local struct scratch *scratch;
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void free_scratch(void *arg)
{
    struct scratch *s = arg;

    bt_buf_deinit(&s->space.out);
    bt_free(s);
}

static void make_key(void)
{
    (void)pthread_key_create(&scratch_key, free_scratch);
}

/* The thread's buffers, made when first needed, freed when the thread ends. */
static bool have_scratch(void)
{
    if (scratch != NULL)
        return true;
    (void)pthread_once(&scratch_once, make_key);
    scratch = bt_malloc(sizeof(*scratch));
    if (scratch == NULL)
        return false;
    scratch->space.out = (struct bt_buf){ 0 };
    (void)pthread_setspecific(scratch_key, scratch);
    return true;
}

struct bt_tls_space *bt_tls_space(void)
{
    return have_scratch() ? &scratch->space : NULL;
}

/* ---- What the library calls ---- */

static int on_recv(void *arg, unsigned char *to, size_t room)
{
    struct bt_tls *t = arg;
    size_t n = BT_MIN(room, t->in->len);

    if (n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    for (size_t i = 0; i < n && t->n_first < sizeof(t->first); i++)
        t->first[t->n_first++] = t->in->ptr[i];
    memcpy(to, t->in->ptr, n);
    t->in->ptr += n;
    t->in->len -= n;
    return (int)n;
}

static int on_send(void *arg, const unsigned char *p, size_t n)
{
    struct bt_tls *t = arg;

    return bt_buf_append(t->out, p, n) == 0 ? (int)n : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

/* ---- Buffers ---- */

static void lend_in(mbedtls_ssl_context *s, uint8_t *buf)
{
    s->in_buf = s->in_ctr = buf;
    s->in_hdr = buf + CTR;
    s->in_len = s->in_hdr + 3;
    s->in_iv = s->in_msg = s->in_hdr + HDR;
    s->in_offt = NULL;
}

static void lend_out(mbedtls_ssl_context *s, uint8_t *buf, size_t msg_at)
{
    s->out_buf = s->out_ctr = buf;
    s->out_hdr = buf + CTR;
    s->out_len = s->out_hdr + 3;
    s->out_iv = s->out_hdr + HDR;
    s->out_msg = buf + msg_at;
}

static int enter(struct bt_tls *t, struct bt_slice *in, struct bt_buf *out)
{
    if (!have_scratch())
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    t->in = in;
    t->out = out;
    bt_tls_current = t;
    lend_out(&t->ssl, scratch->out, t->out_msg_at);
    if (t->ssl.in_buf == NULL) {
        t->in_lent = true;
        lend_in(&t->ssl, scratch->in);
        memcpy(t->ssl.in_ctr, t->in_ctr, CTR);
    }
    return 0;
}

/* Nothing of a record, or of a message made of several, is in the input buffer. */
static bool input_idle(const struct bt_tls *t)
{
    const mbedtls_ssl_context *s = &t->ssl;

    return s->in_left == 0 && s->badmac_seen_or_in_hsfraglen == 0 &&
           s->in_hdr == s->in_buf + CTR && mbedtls_ssl_check_pending(s) == 0;
}

/* A record that is not done with moves to a buffer of the session's own. */
static int keep_input(struct bt_tls *t)
{
    mbedtls_ssl_context *s = &t->ssl;
    uint8_t *from = s->in_buf, *own = mbedtls_calloc(1, RECORD_ROOM);

    if (own == NULL)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    memcpy(own, from, RECORD_ROOM);
    s->in_buf = s->in_ctr = own;
    s->in_hdr = own + (s->in_hdr - from);
    s->in_len = own + (s->in_len - from);
    s->in_iv = own + (s->in_iv - from);
    s->in_msg = own + (s->in_msg - from);
    if (s->in_offt != NULL)
        s->in_offt = own + (s->in_offt - from);
    t->in_lent = false;
    return 0;
}

/* Take the buffers back, so that the session holds none while it waits. The library's
 * code when that fails. */
static int leave(struct bt_tls *t)
{
    mbedtls_ssl_context *s = &t->ssl;
    int r = 0;

    if (bt_tls_current != t)
        return 0;
    if (s->out_left > 0 && t->error == 0)
        r = mbedtls_ssl_flush_output(s);
    if (r == 0 && t->error == 0 && !input_idle(t) && t->in_lent)
        r = keep_input(t);
    if (t->in_lent || t->error != 0 || r != 0 || input_idle(t)) {
        memcpy(t->in_ctr, s->in_ctr, CTR);
        if (!t->in_lent)
            mbedtls_free(s->in_buf);
        s->in_buf = NULL;
    }
    t->out_msg_at = (uint8_t)((size_t)(s->out_msg - s->out_hdr) + CTR);
    s->out_buf = NULL;
    bt_tls_current = NULL;
    t->in = NULL;
    t->out = NULL;
    return r;
}

/* How much of in the library is given: whole records, or all when it is no record that
 * could become whole, so that the library says what is wrong with it. */
static size_t whole_records(struct bt_slice in)
{
    size_t n = 0;

    while (in.len - n >= HDR) {
        const uint8_t *h = in.ptr + n;
        size_t len = HDR + ((size_t)h[3] << 8 | h[4]);

        if (h[0] < TYPE_FIRST || h[0] > TYPE_LAST || h[1] != 3 || len > BT_TLS_RECORD)
            return in.len;
        if (len > in.len - n)
            break;
        n += len;
    }
    return n;
}

bool bt_tls_whole(struct bt_slice in)
{
    return whole_records(in) > 0;
}

/* What the library used of the records that it was given moves *in on. */
static void use_up(struct bt_slice *in, struct bt_slice given)
{
    size_t used = (size_t)(given.ptr - in->ptr);

    in->ptr += used;
    in->len -= used;
}

/* ---- Life ---- */

int bt_tls_new(struct bt_tls_ctx *ctx, const char *host, struct bt_tls **out)
{
    struct bt_tls *t = bt_calloc(1, sizeof(*t));
    int r;

    *out = NULL;
    if (t == NULL)
        return BT_ENOMEM;
    t->ctx = bt_tls_ctx_ref(ctx);
    mbedtls_ssl_init(&t->ssl);
    r = mbedtls_ssl_setup(&t->ssl, &ctx->conf);
    if (r == 0 && !ctx->server)
        r = mbedtls_ssl_set_hostname(&t->ssl, host);
    if (r != 0) {
        bt_tls_free(t);
        return r == MBEDTLS_ERR_SSL_ALLOC_FAILED ? BT_ENOMEM : BT_EINVAL;
    }
    mbedtls_free(t->ssl.in_buf);
    mbedtls_free(t->ssl.out_buf);
    t->ssl.in_buf = t->ssl.out_buf = NULL;
    t->out_msg_at = CTR + HDR;
    mbedtls_ssl_set_bio(&t->ssl, t, on_send, on_recv, NULL);
    mbedtls_ssl_set_verify(&t->ssl, bt_tls_verify, t);
    *out = t;
    return 0;
}

void bt_tls_free(struct bt_tls *t)
{
    if (t == NULL)
        return;
    mbedtls_ssl_free(&t->ssl);
    bt_tls_ctx_unref(t->ctx);
    bt_free(t->peer);
    bt_free(t->offered);
    bt_free(t);
}

/* A client of TLS 1.3 that does not like the server's certificate may say so in the clear
 *; the library takes it for a damaged record. */
static bool is_plain_alert(const struct bt_tls *t)
{
    const uint8_t *hdr = t->ssl.in_hdr;

    return !t->ready && hdr != NULL && hdr[0] == TYPE_ALERT && hdr[3] == 0 && hdr[4] == 2;
}

/* Remember why, and make it our code. */
static int failed(struct bt_tls *t, int code)
{
    if (t->error != 0)
        return BT_ETLS;
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && t->ssl.in_msg != NULL)
        t->alert = t->ssl.in_msg[1];
    if (code == MBEDTLS_ERR_SSL_INVALID_MAC && is_plain_alert(t)) {
        t->alert = t->ssl.in_hdr[HDR + 1];
        code = MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE;
    }
    t->error = code;
    return BT_ETLS;
}

/* A server of TLS 1.3 keeps what its handshake needed (4 KiB) for good, though nothing
 * looks at it any more; in 1.2 the library frees it itself. */
static void free_handshake(mbedtls_ssl_context *s)
{
    if (s->conf->endpoint != MBEDTLS_SSL_IS_SERVER || s->handshake == NULL)
        return;
    mbedtls_ssl_handshake_free(s);
    mbedtls_free(s->handshake);
    mbedtls_free(s->transform_negotiate); /* made for 1.2, empty */
    s->handshake = NULL;
    s->transform_negotiate = NULL;
}

/* The handshake is over: whose session is it, and drop what it does not need any more. */
static void finish(struct bt_tls *t)
{
    mbedtls_ssl_session *s = t->ssl.session;

    t->ready = true;
    if (!t->full && t->peer == NULL)
        t->peer = bt_steal(t->offered);
    bt_free(t->offered);
    t->offered = NULL;
    free_handshake(&t->ssl);
    if (s != NULL && s->peer_cert != NULL) {
        mbedtls_x509_crt_free(s->peer_cert);
        mbedtls_free(s->peer_cert);
        s->peer_cert = NULL;
    }
}

static bool is_waiting(int r)
{
    return r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE;
}

/* Where the library leaves without a word, the other side hears one from us; but not one
 * that does not speak TLS. */
static void say_failed(struct bt_tls *t, int code)
{
    if (code != MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && t->n_first > 0 &&
        t->first[0] == TYPE_HANDSHAKE)
        (void)mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                             MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
}

/* Entered. One state after the other, because the states say whether the session is an
 * old one: only a full handshake passes the two of the certificates. */
static int shake(struct bt_tls *t)
{
    if (t->error != 0)
        return t->error;
    while (!t->ready) {
        size_t before = t->out->len;
        int r = mbedtls_ssl_handshake_step(&t->ssl);

        if (t->ssl.state == MBEDTLS_SSL_SERVER_CERTIFICATE ||
            t->ssl.state == MBEDTLS_SSL_CERTIFICATE_REQUEST)
            t->full = true;
        if (r != 0 && !is_waiting(r) && t->out->len == before)
            say_failed(t, r);
        if (r != 0)
            return r;
        if (t->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER)
            finish(t);
    }
    return 0;
}

int bt_tls_handshake(struct bt_tls *t, struct bt_slice *in, struct bt_buf *out)
{
    struct bt_slice given = { in->ptr, whole_records(*in) };
    int r = enter(t, &given, out), left;

    if (r == 0)
        r = shake(t);
    if (r != 0 && !is_waiting(r))
        (void)failed(t, r);
    left = leave(t);
    if (left != 0)
        (void)failed(t, left);
    use_up(in, given);
    return t->error != 0 ? BT_ETLS : 0;
}

/* ---- Bytes ---- */

/* Entered and ready. Decrypts until `to` is full or the ciphertext ends. Returns the
 * library's code that ended it. */
static int read_records(struct bt_tls *t, uint8_t *to, size_t room, size_t *got)
{
    while (*got < room) {
        int n = mbedtls_ssl_read(&t->ssl, to + *got, room - *got);

        if (n > 0)
            *got += (size_t)n;
        else if (n == 0)
            return MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY;
        else if (n != MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET)
            return n;
    }
    return 0;
}

ssize_t bt_tls_read(struct bt_tls *t, struct bt_slice *in, uint8_t *to, size_t room,
                    struct bt_buf *out)
{
    struct bt_slice given = { in->ptr, whole_records(*in) };
    size_t got = 0;
    int r, left;

    if (t->closed)
        return BT_ECLOSED;
    if (t->error != 0)
        return BT_ETLS;
    r = enter(t, &given, out);
    if (r == 0)
        r = shake(t);
    if (r == 0)
        r = read_records(t, to, room, &got);
    if (r == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY && t->ready)
        t->closed = true;
    else if (r != 0 && !is_waiting(r))
        (void)failed(t, r);
    left = leave(t);
    if (left != 0)
        (void)failed(t, left);
    use_up(in, given);
    /* What came before the end counts; the end is told by the next call. */
    if (got > 0)
        return (ssize_t)got;
    return t->closed ? BT_ECLOSED : t->error != 0 ? BT_ETLS : 0;
}

bool bt_tls_pending(const struct bt_tls *t)
{
    return t->closed || t->error != 0 || (t->ready && t->ssl.in_offt != NULL);
}

/* What goes into the next record: a large piece where it lies, small ones copied
 * together. *skip: bytes of the first piece that are done with. */
static struct bt_slice next_payload(const struct iovec **iov, int *n, size_t *skip,
                                    size_t max)
{
    struct bt_slice p = { scratch->gather, 0 };

    max = BT_MIN(max, PAYLOAD);
    while (*n > 0 && p.len < max) {
        const uint8_t *from = (const uint8_t *)(*iov)->iov_base + *skip;
        size_t left = (*iov)->iov_len - *skip, take = BT_MIN(left, max - p.len);

        if (p.len == 0 && take == max) {
            p = (struct bt_slice){ from, take };
        } else {
            memcpy(scratch->gather + p.len, from, take);
            p.len += take;
        }
        *skip += take;
        if (take == left) {
            ++*iov;
            --*n;
            *skip = 0;
        }
    }
    return p;
}

static int write_payload(struct bt_tls *t, struct bt_slice p)
{
    while (p.len > 0) {
        int n = mbedtls_ssl_write(&t->ssl, p.ptr, p.len);

        if (n < 0)
            return n;
        p.ptr += n;
        p.len -= (size_t)n;
    }
    return 0;
}

ssize_t bt_tls_write(struct bt_tls *t, const struct iovec *iov, int n, size_t max,
                     struct bt_buf *out)
{
    struct bt_slice none = { NULL, 0 };
    size_t skip = 0, done = 0;
    int r, left;

    if (!t->ready || t->error != 0)
        return t->error != 0 ? BT_ETLS : 0;
    r = enter(t, &none, out);
    while (r == 0 && n > 0 && done < max) {
        struct bt_slice p = next_payload(&iov, &n, &skip, max - done);

        r = write_payload(t, p);
        done += p.len;
    }
    if (r != 0)
        (void)failed(t, r);
    left = leave(t);
    if (left != 0)
        (void)failed(t, left);
    return t->error != 0 ? BT_ETLS : (ssize_t)done;
}

void bt_tls_close(struct bt_tls *t, struct bt_buf *out)
{
    struct bt_slice none = { NULL, 0 };

    if (!t->ready || t->error != 0 || t->told)
        return;
    t->told = true;
    if (enter(t, &none, out) == 0)
        (void)mbedtls_ssl_close_notify(&t->ssl);
    if (leave(t) != 0)
        (void)failed(t, MBEDTLS_ERR_SSL_ALLOC_FAILED);
}

/* ---- What is known ---- */

bool bt_tls_ready(const struct bt_tls *t)
{
    return t->ready;
}

bool bt_tls_resumed(const struct bt_tls *t)
{
    return t->ready && !t->full;
}

const char *bt_tls_version(const struct bt_tls *t)
{
    return mbedtls_ssl_get_version(&t->ssl);
}

void bt_tls_peer(const struct bt_tls *t, struct bt_tls_peer *out)
{
    const struct bt_tls_id *id = t->ready ? t->peer : NULL;

    *out = (struct bt_tls_peer){ .common_name = "", .subject = "", .fingerprint = "" };
    if (id == NULL)
        return;
    out->verified = true;
    out->common_name = id->text;
    out->subject = id->text + id->subject_at;
    out->fingerprint = id->fingerprint;
}

/* What a client that does not speak TLS probably speaks. */
static const char *other_protocol(const struct bt_tls *t)
{
    if (t->n_first >= 1 && t->first[0] == TYPE_HANDSHAKE)
        return NULL;
    if (t->n_first >= 1 && t->first[0] == 0x10)
        return "the client speaks MQTT without TLS";
    if (t->n_first >= 4 && memcmp(t->first, "GET ", 4) == 0)
        return "the client speaks HTTP without TLS";
    return t->n_first > 0 ? "the other side does not speak TLS" : NULL;
}

static const struct {
    uint8_t alert;
    const char *text;
} alerts[] = {
    { 0, "it closed the connection" },
    { 40, "handshake failure" },
    { 42, "our certificate is bad" },
    { 43, "our certificate's kind is not supported" },
    { 44, "our certificate is revoked" },
    { 45, "our certificate has expired" },
    { 46, "our certificate is not accepted" },
    { 48, "it does not know the CA of our certificate" },
    { 49, "access denied" },
    { 70, "protocol version" },
    { 71, "insufficient security" },
    { 116, "it wants a certificate from us" },
};

static void why_alert(uint8_t alert, char *out)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(alerts); i++)
        if (alerts[i].alert == alert) {
            (void)snprintf(out, BT_TLS_WHY_LEN, "the other side refused: %s",
                           alerts[i].text);
            return;
        }
    (void)snprintf(out, BT_TLS_WHY_LEN, "the other side refused with alert %u", alert);
}

/* Where the library's own words would puzzle. */
static const struct {
    int code;
    const char *text;
} errors[] = {
    { MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, "the client showed no certificate" },
    { MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, "no version of TLS in common" },
    { MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, "no cipher or signature in common" },
    { MBEDTLS_ERR_SSL_INVALID_MAC, "a record was damaged or is not for this session" },
    { MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY, "the other side gave up" },
};

static void why_error(int code, char *out)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(errors); i++)
        if (errors[i].code == code) {
            (void)snprintf(out, BT_TLS_WHY_LEN, "%s", errors[i].text);
            return;
        }
    mbedtls_strerror(code, out, BT_TLS_WHY_LEN);
}

static void one_line(char *s)
{
    size_t n = strlen(s);

    while (n > 0 && s[n - 1] == '\n')
        s[--n] = '\0';
    for (; *s != '\0'; s++)
        if (*s == '\n')
            *s = ' ';
}

void bt_tls_why(const struct bt_tls *t, char out[BT_TLS_WHY_LEN])
{
    const char *other = t->ready ? NULL : other_protocol(t);

    out[0] = '\0';
    if (other != NULL)
        (void)snprintf(out, BT_TLS_WHY_LEN, "%s", other);
    else if (t->error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        why_alert(t->alert, out);
    else if (t->flags != 0)
        (void)mbedtls_x509_crt_verify_info(out, BT_TLS_WHY_LEN, "", t->flags);
    else if (t->error != 0)
        why_error(t->error, out);
    one_line(out);
}
