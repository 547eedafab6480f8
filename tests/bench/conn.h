/* One MQTT 3.1.1 client connection of the load generator, non-blocking, on one epoll. */
#ifndef TESTS_BENCH_CONN_H
#define TESTS_BENCH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONN_ID_LEN    40
#define CONN_TOPIC_LEN 40

enum conn_state { CONN_OPENING, CONN_LOGIN, CONN_SUBSCRIBING, CONN_READY, CONN_CLOSED };

struct conn;
struct tls;
struct conn_ops {
    /* A PUBLISH arrived; QoS 1 and 2 are answered by the connection. now in ns. */
    void (*publish)(struct conn *c, const uint8_t *payload, size_t len, uint64_t now);
    void (*puback)(struct conn *c, uint16_t pid); /* PUBACK or PUBCOMP: it is over */
    void (*ready)(struct conn *c);
};

struct conn {
    const struct conn_ops *ops;
    void *arg;
    int fd, epoll;
    struct tls *tls; /* NULL: plain TCP */
    bool wants_write;
    enum conn_state state;
    unsigned index;
    uint64_t opened_ns;
    uint8_t qos; /* of the subscription */
    bool clean;
    char client_id[CONN_ID_LEN];
    char filter[CONN_TOPIC_LEN]; /* empty: none */
    uint8_t *in, *out;
    size_t in_len, in_cap, out_len, out_cap;
};

uint64_t clock_ns(void);
/* Ends the program with a message. */
_Noreturn void die(const char *what, ...) __attribute__((format(printf, 1, 2)));

/* Start connecting to 127.0.0.1:port with buffers of the given size; over TLS after
 * tls_init. */
void conn_open(struct conn *c, int epoll, uint16_t port, size_t in_cap);
/* Close without DISCONNECT and without leaving the port in TIME_WAIT. */
void conn_close(struct conn *c);
/* What epoll said: reads, writes, calls ops. */
void conn_event(struct conn *c, uint32_t events, uint64_t now);
/* Room for n more bytes to send; conn_flush sends. */
uint8_t *conn_reserve(struct conn *c, size_t n);
void conn_flush(struct conn *c);
/* Append a PUBLISH. */
void conn_publish(struct conn *c, const char *topic, uint8_t qos, uint16_t pid,
                  const void *payload, size_t len);

#endif
