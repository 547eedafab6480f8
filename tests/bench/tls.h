/* TLS 1.3 for the load generator, or none: tls_openssl.c where OpenSSL's headers are
 * there, else tls_none.c. The certificate is not verified: measured is the server. */
#ifndef TESTS_BENCH_TLS_H
#define TESTS_BENCH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;

#define TLS_WANT_READ  1
#define TLS_WANT_WRITE 2

/* From now on connections use TLS. Ends the program where there is none. */
void tls_init(void);
/* For a descriptor that is about to connect; NULL when tls_init was not called. */
struct tls *tls_open(int fd);
void tls_close(struct tls *t); /* NULL is fine */
bool tls_ready(const struct tls *t);
/* 0 = done, TLS_WANT_x, < 0 = failed. */
int tls_handshake(struct tls *t);
/* As send and recv on a non-blocking socket, errno included. */
ssize_t tls_send(struct tls *t, const void *p, size_t n);
ssize_t tls_recv(struct tls *t, void *p, size_t n);
/* Decoded bytes wait, which the descriptor will not announce. */
bool tls_pending(const struct tls *t);

#endif
