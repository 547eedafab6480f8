/* TLS by OpenSSL, which costs the generator less than what it measures. A session is
 * opened over a non-blocking descriptor; partial writes are allowed, and the bytes of a
 * write that has to be repeated may have moved. */
#include <errno.h>
#include <openssl/ssl.h>

#include "tests/bench/conn.h"
#include "tests/bench/tls.h"

static SSL_CTX *context;

/* struct tls is OpenSSL's own object. */
static SSL *ssl_of(const struct tls *t)
{
    return (SSL *)(uintptr_t)t;
}

void tls_init(void)
{
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1)
        die("no TLS 1.3");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
}

struct tls *tls_open(int fd)
{
    SSL *s;

    if (context == NULL)
        return NULL;
    s = SSL_new(context);
    if (s == NULL || SSL_set_fd(s, fd) != 1)
        die("out of memory");
    SSL_set_connect_state(s);
    return (struct tls *)s;
}

void tls_close(struct tls *t)
{
    SSL_free(ssl_of(t));
}

bool tls_ready(const struct tls *t)
{
    return SSL_is_init_finished(ssl_of(t));
}

int tls_handshake(struct tls *t)
{
    int r = SSL_do_handshake(ssl_of(t));

    if (r == 1)
        return 0;
    switch (SSL_get_error(ssl_of(t), r)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    default:
        return -1;
    }
}

/* OpenSSL's result as that of send or recv. */
static ssize_t result(SSL *s, int r)
{
    int error;

    if (r > 0)
        return r;
    error = SSL_get_error(s, r);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = EPROTO;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    return -1;
}

ssize_t tls_send(struct tls *t, const void *p, size_t n)
{
    return result(ssl_of(t), SSL_write(ssl_of(t), p, (int)n));
}

ssize_t tls_recv(struct tls *t, void *p, size_t n)
{
    return result(ssl_of(t), SSL_read(ssl_of(t), p, (int)n));
}

bool tls_pending(const struct tls *t)
{
    return SSL_pending(ssl_of(t)) > 0;
}
