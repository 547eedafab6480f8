/* No TLS: OpenSSL's headers are not installed. */
#include "tests/bench/conn.h"
#include "tests/bench/tls.h"

void tls_init(void)
{
    die("built without TLS: OpenSSL's headers are not installed");
}

struct tls *tls_open(int fd)
{
    (void)fd;
    return NULL;
}

void tls_close(struct tls *t)
{
    (void)t;
}

bool tls_ready(const struct tls *t)
{
    (void)t;
    return false;
}

int tls_handshake(struct tls *t)
{
    (void)t;
    return -1;
}

ssize_t tls_send(struct tls *t, const void *p, size_t n)
{
    (void)t;
    (void)p;
    (void)n;
    return -1;
}

ssize_t tls_recv(struct tls *t, void *p, size_t n)
{
    (void)t;
    (void)p;
    (void)n;
    return -1;
}

bool tls_pending(const struct tls *t)
{
    (void)t;
    return false;
}
