/* TLS over memory: both sides in one process, joined by buffers. Versions, verification,
 * tickets, fragments, lent buffers, trusted time. */
#include "tests/harness.h"

#include <errno.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/tls.c"
#include "tests/core/tls_certs.h"

#define YEAR_2050 INT64_C(2524608000000) /* ms */
#define YEAR_2030 INT64_C(1893456000000)

static char folder[64];
static char paths[8][96];

/* The path of a file with this text. */
static const char *put(int slot, const char *text)
{
    FILE *f;

    if (folder[0] == '\0') {
        snprintf(folder, sizeof(folder), "/tmp/baetyl-tls-XXXXXX");
        CHECK(mkdtemp(folder) != NULL);
    }
    snprintf(paths[slot], sizeof(paths[slot]), "%s/%d", folder, slot);
    f = fopen(paths[slot], "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
    return paths[slot];
}

__attribute__((destructor)) static void clean(void)
{
    for (int i = 0; i < 8; i++)
        if (paths[i][0] != '\0')
            (void)unlink(paths[i]);
    if (folder[0] != '\0')
        (void)rmdir(folder);
}

static struct bt_tls_conf server_conf(uint32_t require)
{
    return (struct bt_tls_conf){ .server = true,
                                 .require = require,
                                 .ca = put(0, pem_ca),
                                 .cert = put(1, pem_server),
                                 .key = put(2, pem_server_key) };
}

static struct bt_tls_conf client_conf(const char *cert, const char *key)
{
    struct bt_tls_conf c = { .ca = put(3, pem_ca) };

    if (cert != NULL) {
        c.cert = put(4, cert);
        c.key = put(5, key);
    }
    return c;
}

static struct bt_tls_ctx *ctx_of(struct bt_tls_conf conf)
{
    char error[BT_TLS_ERROR_LEN];
    struct bt_tls_ctx *ctx = NULL;

    if (bt_tls_ctx_new(&conf, &ctx, error) != 0)
        printf("%s\n", error);
    CHECK(ctx != NULL);
    return ctx;
}

/* Two ends and what is on its way. */
struct pair {
    struct bt_tls *server, *client;
    struct bt_buf to_server, to_client;
    size_t at_server, at_client; /* of those, offered already */
};
static struct pair p;

static void close_pair(void)
{
    bt_tls_free(p.server);
    bt_tls_free(p.client);
    bt_buf_deinit(&p.to_server);
    bt_buf_deinit(&p.to_client);
    memset(&p, 0, sizeof(p));
}

/* Takes both contexts. */
static void open_pair(struct bt_tls_ctx *server, struct bt_tls_ctx *client,
                      const char *host)
{
    close_pair();
    CHECK_INT(bt_tls_new(server, NULL, &p.server), 0);
    CHECK_INT(bt_tls_new(client, host, &p.client), 0);
    bt_tls_ctx_unref(server);
    bt_tls_ctx_unref(client);
}

/* Offer what waits, `piece` bytes more each time. */
static ssize_t pull(struct bt_tls *t, struct bt_buf *from, struct bt_buf *out,
                    uint8_t *to, size_t room, size_t piece)
{
    size_t *arrived = from == &p.to_server ? &p.at_server : &p.at_client;
    struct bt_slice in = { from->data, BT_MIN(from->len, *arrived + piece) };
    size_t offered = in.len;
    ssize_t n = bt_tls_read(t, &in, to, room, out);

    bt_buf_consume(from, offered - in.len);
    *arrived = in.len;
    return n;
}

/* Until nothing is on its way or one side failed. */
static int shake_hands(size_t piece)
{
    struct bt_slice none = { NULL, 0 };
    uint8_t byte;

    if (bt_tls_handshake(p.client, &none, &p.to_server) != 0)
        return -1;
    while (p.to_server.len > 0 || p.to_client.len > 0) {
        if (pull(p.server, &p.to_server, &p.to_client, &byte, 1, piece) < 0)
            return -2;
        if (pull(p.client, &p.to_client, &p.to_server, &byte, 1, piece) < 0)
            return -1;
    }
    return bt_tls_ready(p.server) && bt_tls_ready(p.client) ? 0 : -3;
}

static void start(void)
{
    bt_clock_fake_start(1000000, YEAR_2050);
}

/* n bytes from one side to the other, and compare. */
static void carry(struct bt_tls *from, struct bt_tls *to, size_t n, size_t piece)
{
    struct bt_buf *way = from == p.client ? &p.to_server : &p.to_client;
    struct bt_buf *back = from == p.client ? &p.to_client : &p.to_server;
    uint8_t *sent = malloc(n), *got = malloc(n + 1);
    struct iovec iov[3] = { { sent, n / 3 }, { sent + n / 3, 0 }, { sent + n / 3, 0 } };
    size_t at = 0;

    iov[2].iov_len = n - n / 3;
    for (size_t i = 0; i < n; i++)
        sent[i] = (uint8_t)test_random();
    CHECK_INT(bt_tls_write(from, iov, 3, n, way), n);
    while (at < n) {
        ssize_t r = pull(to, way, back, got + at, n + 1 - at, piece);

        CHECK(r > 0 || (r == 0 && way->len > 0));
        at += (size_t)r;
    }
    CHECK_INT(at, n);
    CHECK_MEM(got, sent, n);
    CHECK_INT(way->len, 0);
    free(sent);
    free(got);
}

TEST(both_versions)
{
    start();
    for (int v = 0; v < 2; v++) {
        struct bt_tls_conf sc = server_conf(BT_TLS_NONE);
        struct bt_tls_ctx *client = ctx_of(client_conf(NULL, NULL));
        struct bt_tls_peer peer;

        if (v == 0)
            mbedtls_ssl_conf_max_tls_version(&client->conf, MBEDTLS_SSL_VERSION_TLS1_2);
        else
            sc.tls13_only = true;
        open_pair(ctx_of(sc), client, "hub.test");
        CHECK_INT(shake_hands(100000), 0);
        CHECK_STR(bt_tls_version(p.server), v == 0 ? "TLSv1.2" : "TLSv1.3");
        CHECK(!bt_tls_resumed(p.server));
        bt_tls_peer(p.server, &peer);
        CHECK(!peer.verified);
        CHECK_STR(peer.common_name, "");
        bt_tls_peer(p.client, &peer);
        CHECK(peer.verified);
        CHECK_STR(peer.common_name, "server");
        for (size_t n = 1; n < 200000; n = n * 7 + 3) {
            carry(p.client, p.server, n, 100000);
            carry(p.server, p.client, n, 777);
        }
    }
}

TEST(an_old_version_is_refused)
{
    struct bt_tls_conf sc = server_conf(BT_TLS_NONE);
    struct bt_tls_ctx *client = ctx_of(client_conf(NULL, NULL));

    start();
    sc.tls13_only = true;
    mbedtls_ssl_conf_max_tls_version(&client->conf, MBEDTLS_SSL_VERSION_TLS1_2);
    open_pair(ctx_of(sc), client, "hub.test");
    CHECK(shake_hands(100000) != 0);
}

TEST(byte_by_byte)
{
    start();
    open_pair(ctx_of(server_conf(BT_TLS_REQUIRED)),
              ctx_of(client_conf(pem_client, pem_client_key)), "127.0.0.1");
    CHECK_INT(shake_hands(1), 0);
    carry(p.client, p.server, 40000, 1);
}

TEST(names_of_a_client)
{
    struct bt_tls_peer peer;

    start();
    open_pair(ctx_of(server_conf(BT_TLS_OPTIONAL)),
              ctx_of(client_conf(pem_client, pem_client_key)), "a.wild.test");
    CHECK_INT(shake_hands(100000), 0);
    bt_tls_peer(p.server, &peer);
    CHECK(peer.verified);
    CHECK_STR(peer.common_name, "pump-1");
    CHECK_STR(peer.subject, "CN=pump-1, O=plant 7");
    CHECK_INT(strlen(peer.fingerprint), 64);
    CHECK(p.server->ssl.session->peer_cert == NULL);
}

/* What happens to a client with this certificate, and what the server says of it. */
static const struct {
    const char *cert, *key;
    uint32_t require;
    bool crl, ok;
    const char *why;
} clients[] = {
    { NULL, NULL, BT_TLS_NONE, false, true, "" },
    { NULL, NULL, BT_TLS_OPTIONAL, false, true, "" },
    { NULL, NULL, BT_TLS_REQUIRED, false, false, "certificate" },
    { pem_client, pem_client_key, BT_TLS_REQUIRED, true, true, "" },
    { pem_expired, pem_expired_key, BT_TLS_REQUIRED, false, false, "expired" },
    { pem_expired, pem_expired_key, BT_TLS_OPTIONAL, false, false, "expired" },
    { pem_expired, pem_expired_key, BT_TLS_NONE, false, true, "" },
    { pem_future, pem_future_key, BT_TLS_REQUIRED, false, false, "future" },
    { pem_revoked, pem_revoked_key, BT_TLS_REQUIRED, true, false, "revoked" },
    { pem_revoked, pem_revoked_key, BT_TLS_OPTIONAL, true, false, "revoked" },
    { pem_revoked, pem_revoked_key, BT_TLS_REQUIRED, false, true, "" },
};

TEST(client_certificates)
{
    start();
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < BT_ARRAY_LEN(clients); i++) {
            struct bt_tls_conf sc = server_conf(clients[i].require);
            struct bt_tls_ctx *client =
                ctx_of(client_conf(clients[i].cert, clients[i].key));
            char why[BT_TLS_WHY_LEN];
            bool ok;

            if (clients[i].crl)
                sc.crl = put(6, pem_crl);
            if (v == 0)
                mbedtls_ssl_conf_max_tls_version(&client->conf,
                                                 MBEDTLS_SSL_VERSION_TLS1_2);
            open_pair(ctx_of(sc), client, "hub.test");
            ok = shake_hands(100000) == 0;
            bt_tls_why(p.server, why);
            if (ok != clients[i].ok || strstr(why, clients[i].why) == NULL ||
                (!ok && p.to_client.len == 0))
                printf("row %zu, version %zu: %s\n", i, v, why);
            CHECK_INT(ok, clients[i].ok);
            CHECK(strstr(why, clients[i].why) != NULL);
            CHECK(ok || p.to_client.len > 0); /* the alert */
        }
}

TEST(what_a_client_demands)
{
    static const struct {
        const char *ca, *host, *why;
        bool insecure;
    } rows[] = {
        { pem_ca, "hub.test", NULL, false },     { pem_ca, "127.0.0.1", NULL, false },
        { pem_ca, "x.wild.test", NULL, false },  { pem_ca, "wild.test", "match", false },
        { pem_ca, "127.0.0.2", "match", false }, { pem_other, "hub.test", "CA", false },
        { pem_other, NULL, NULL, true },
    };

    start();
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_tls_conf cc = { .ca = put(3, rows[i].ca),
                                  .insecure = rows[i].insecure };
        struct bt_tls_ctx *client;
        char why[BT_TLS_WHY_LEN];
        int r;

        client = ctx_of(cc);
        if (i % 2 == 0)
            mbedtls_ssl_conf_max_tls_version(&client->conf, MBEDTLS_SSL_VERSION_TLS1_2);
        open_pair(ctx_of(server_conf(BT_TLS_NONE)), client, rows[i].host);
        r = shake_hands(100000);
        bt_tls_why(p.client, why);
        if ((r == 0) != (rows[i].why == NULL))
            printf("row %zu: %s\n", i, why);
        CHECK_INT(r == 0, rows[i].why == NULL);
        if (r == 0)
            continue;
        CHECK(strstr(why, rows[i].why) != NULL);
        (void)pull(p.server, &p.to_server, &p.to_client, (uint8_t[1]){ 0 }, 1, 100000);
        bt_tls_why(p.server, why);
        if (strstr(why, "the other side refused") == NULL)
            printf("row %zu: %s\n", i, why);
        CHECK(strstr(why, "the other side refused") != NULL);
    }
}

/* The ticket that the client was given, after some bytes went over. */
static mbedtls_ssl_session ticket;

static void take_ticket(void)
{
    mbedtls_ssl_session_free(&ticket);
    mbedtls_ssl_session_init(&ticket);
    carry(p.server, p.client, 100, 100000);
    CHECK_INT(mbedtls_ssl_get_session(&p.client->ssl, &ticket), 0);
}

TEST(tickets)
{
    start();
    for (int v = 0; v < 2; v++) {
        struct bt_tls_ctx *server = ctx_of(server_conf(BT_TLS_REQUIRED));
        struct bt_tls_ctx *client = ctx_of(client_conf(pem_client, pem_client_key));
        struct bt_tls_peer peer;
        int other;

        mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
            &client->conf, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
        if (v == 0)
            mbedtls_ssl_conf_max_tls_version(&client->conf, MBEDTLS_SSL_VERSION_TLS1_2);
        open_pair(bt_tls_ctx_ref(server), bt_tls_ctx_ref(client), "hub.test");
        CHECK_INT(shake_hands(100000), 0);
        CHECK(!bt_tls_resumed(p.server));
        take_ticket();
        open_pair(bt_tls_ctx_ref(server), bt_tls_ctx_ref(client), "hub.test");
        CHECK_INT(mbedtls_ssl_set_session(&p.client->ssl, &ticket), 0);
        CHECK_INT(shake_hands(100000), 0);
        CHECK(bt_tls_resumed(p.server));
        bt_tls_peer(p.server, &peer);
        CHECK(peer.verified);
        CHECK_STR(peer.common_name, "pump-1");
        /* A ticket of that session is as good. */
        take_ticket();
        open_pair(bt_tls_ctx_ref(server), bt_tls_ctx_ref(client), "hub.test");
        CHECK_INT(mbedtls_ssl_set_session(&p.client->ssl, &ticket), 0);
        CHECK_INT(shake_hands(100000), 0);
        CHECK(bt_tls_resumed(p.server));
        bt_tls_peer(p.server, &peer);
        CHECK_STR(peer.common_name, "pump-1");
        /* Another context does not know it, and a day later nobody does. */
        for (other = 0; other < 2; other++) {
            struct bt_tls_ctx *fresh = other == 0 ? ctx_of(server_conf(BT_TLS_REQUIRED))
                                                  : bt_tls_ctx_ref(server);

            if (other == 1)
                bt_clock_fake_advance(UINT64_C(25) * 3600 * 1000000);
            open_pair(fresh, bt_tls_ctx_ref(client), "hub.test");
            CHECK_INT(mbedtls_ssl_set_session(&p.client->ssl, &ticket), 0);
            CHECK_INT(shake_hands(100000), 0);
            CHECK(!bt_tls_resumed(p.server));
            bt_tls_peer(p.server, &peer);
            CHECK_STR(peer.common_name, "pump-1");
        }
        bt_tls_ctx_unref(server);
        bt_tls_ctx_unref(client);
    }
    mbedtls_ssl_session_free(&ticket);
}

TEST(idle_sessions_hold_no_buffers)
{
    uint8_t bytes[300];
    struct iovec iov = { bytes, sizeof(bytes) };

    start();
    open_pair(ctx_of(server_conf(BT_TLS_NONE)), ctx_of(client_conf(NULL, NULL)),
              "hub.test");
    CHECK(p.server->ssl.in_buf == NULL && p.server->ssl.out_buf == NULL);
    CHECK_INT(shake_hands(100000), 0);
    CHECK(p.server->ssl.in_buf == NULL && p.server->ssl.out_buf == NULL);
    memset(bytes, 7, sizeof(bytes));
    CHECK_INT(bt_tls_write(p.client, &iov, 1, 300, &p.to_server), 300);
    /* Half a record is not taken; bytes without room are kept. */
    CHECK_INT(pull(p.server, &p.to_server, &p.to_client, bytes, 300, 100), 0);
    CHECK(p.server->ssl.in_buf == NULL && !bt_tls_pending(p.server));
    CHECK_INT(pull(p.server, &p.to_server, &p.to_client, bytes, 100, 1000), 100);
    CHECK(p.server->ssl.in_buf != NULL && bt_tls_pending(p.server));
    CHECK_INT(pull(p.server, &p.to_server, &p.to_client, bytes, 300, 1000), 200);
    CHECK(p.server->ssl.in_buf == NULL && !bt_tls_pending(p.server));
    CHECK(p.server->ssl.out_buf == NULL);
}

TEST(small_pieces_share_a_record)
{
    uint8_t bytes[64] = { 0 };
    struct iovec iov[64];

    start();
    open_pair(ctx_of(server_conf(BT_TLS_NONE)), ctx_of(client_conf(NULL, NULL)),
              "hub.test");
    CHECK_INT(shake_hands(100000), 0);
    for (size_t i = 0; i < 64; i++)
        iov[i] = (struct iovec){ bytes, 64 };
    CHECK_INT(bt_tls_write(p.server, iov, 64, 65536, &p.to_client), 4096);
    CHECK_INT(p.to_client.len, 4096 + 22); /* one header, type and tag */
}

TEST(goodbye)
{
    uint8_t byte;

    start();
    open_pair(ctx_of(server_conf(BT_TLS_NONE)), ctx_of(client_conf(NULL, NULL)),
              "hub.test");
    CHECK_INT(shake_hands(100000), 0);
    carry(p.client, p.server, 10, 1000);
    bt_tls_close(p.client, &p.to_server);
    bt_tls_close(p.client, &p.to_server);
    CHECK(p.to_server.len < 60);
    CHECK_INT(pull(p.server, &p.to_server, &p.to_client, &byte, 1, 1000), BT_ECLOSED);
    CHECK(bt_tls_pending(p.server));
    CHECK_INT(pull(p.server, &p.to_server, &p.to_client, &byte, 1, 1000), BT_ECLOSED);
}

TEST(not_tls)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *why;
    } rows[] = {
        { "\x10\x0c\0\4MQTT\4\2\0\12\0\0", 14, "MQTT without TLS" },
        { "GET / HTTP/1.1\r\n\r\n", 18, "HTTP without TLS" },
        { "\0\0\0\0\0\0\0\0\0\0", 10, "does not speak TLS" },
        { "\x16\3\1\0\5\1\0\0\1\xff", 10, "" },
        { "\x16\3\1\xff\xff\1\0\0\1\xff", 10, "" },
    };

    start();
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_slice in = { (const uint8_t *)rows[i].bytes, rows[i].n };
        char why[BT_TLS_WHY_LEN];

        open_pair(ctx_of(server_conf(BT_TLS_NONE)), ctx_of(client_conf(NULL, NULL)),
                  "hub.test");
        CHECK_INT(bt_tls_handshake(p.server, &in, &p.to_client), BT_ETLS);
        CHECK_INT(bt_tls_handshake(p.server, &in, &p.to_client), BT_ETLS);
        bt_tls_why(p.server, why);
        CHECK(why[0] != '\0' && strstr(why, rows[i].why) != NULL);
    }
}

TEST(damaged_records)
{
    uint8_t bytes[1000];
    struct iovec iov = { bytes, sizeof(bytes) };

    start();
    memset(bytes, 1, sizeof(bytes));
    for (int i = 0; i < 40; i++) {
        ssize_t n;

        open_pair(ctx_of(server_conf(BT_TLS_NONE)), ctx_of(client_conf(NULL, NULL)),
                  "hub.test");
        CHECK_INT(shake_hands(100000), 0);
        CHECK_INT(bt_tls_write(p.client, &iov, 1, 1000, &p.to_server), 1000);
        p.to_server.data[test_random() % p.to_server.len] ^= (uint8_t)(1 + i);
        do
            n = pull(p.server, &p.to_server, &p.to_client, bytes, 1000, 100000);
        while (n > 0);
        /* Only a changed length may wait for more. */
        CHECK(n == BT_ETLS || (n == 0 && !bt_tls_pending(p.server)));
    }
}

TEST(files_that_do_not_do)
{
    static const struct {
        const char *cert, *key, *says;
    } rows[] = {
        { pem_server, pem_client_key, "does not belong" },
        { "nothing", pem_server_key, "/1: " },
        { pem_server, "nothing", "/2: " },
        { NULL, pem_server_key, "both" },
        { pem_server, NULL, "both" },
    };
    char error[BT_TLS_ERROR_LEN];
    struct bt_tls_ctx *ctx;

    start();
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_tls_conf sc = { .server = true };

        if (rows[i].cert != NULL)
            sc.cert = put(1, rows[i].cert);
        if (rows[i].key != NULL)
            sc.key = put(2, rows[i].key);
        CHECK_INT(bt_tls_ctx_new(&sc, &ctx, error), BT_ETLS);
        CHECK(ctx == NULL);
        if (strstr(error, rows[i].says) == NULL)
            printf("row %zu: %s\n", i, error);
        CHECK(strstr(error, rows[i].says) != NULL);
    }
    CHECK_INT(bt_tls_ctx_new(&(struct bt_tls_conf){ .server = true,
                                                    .cert = "/nowhere/x",
                                                    .key = "/nowhere/y" },
                             &ctx, error),
              BT_ETLS);
    CHECK(strstr(error, "/nowhere/x: No such file") != NULL);
}

TEST(dates)
{
    struct bt_tls_conf sc = server_conf(BT_TLS_REQUIRED);
    struct bt_tls_ctx *ctx;
    struct bt_tls_dates d;

    start();
    sc.crl = put(6, pem_crl);
    ctx = ctx_of(sc);
    bt_tls_ctx_dates(ctx, &d);
    CHECK_INT(d.cert_from, 1767225600);  /* 2026-01-01 */
    CHECK_INT(d.cert_until, 4922899200); /* 2126-01-01 */
    CHECK_INT(d.crl_until, d.cert_until);
    bt_tls_ctx_unref(ctx);
}

/* The clock of a device that has just been switched on. */
TEST(a_clock_in_1970)
{
    bt_clock_fake_start(1000000, 5000);
    CHECK(bt_tls_clock_wrong());
    CHECK(bt_tls_now() > 1767225600);
    open_pair(ctx_of(server_conf(BT_TLS_REQUIRED)),
              ctx_of(client_conf(pem_client, pem_client_key)), "hub.test");
    CHECK_INT(shake_hands(100000), 0);
    /* Not yet valid is not known; expired is. */
    open_pair(ctx_of(server_conf(BT_TLS_REQUIRED)),
              ctx_of(client_conf(pem_future, pem_future_key)), "hub.test");
    CHECK_INT(shake_hands(100000), 0);
    open_pair(ctx_of(server_conf(BT_TLS_REQUIRED)),
              ctx_of(client_conf(pem_expired, pem_expired_key)), "hub.test");
    CHECK(shake_hands(100000) != 0);
    /* The clock is set: from now on it counts. */
    bt_clock_fake_start(1000000, YEAR_2050);
    CHECK(!bt_tls_clock_wrong());
    open_pair(ctx_of(server_conf(BT_TLS_REQUIRED)),
              ctx_of(client_conf(pem_future, pem_future_key)), "hub.test");
    CHECK(shake_hands(100000) != 0);
}

TEST(the_floor_only_rises)
{
    bt_clock_fake_start(1000000, YEAR_2030);
    bt_tls_floor_raise(YEAR_2030 / 1000 + 100);
    CHECK(bt_tls_clock_wrong());
    CHECK_INT(bt_tls_now(), YEAR_2030 / 1000 + 100);
    bt_tls_floor_raise(5);
    CHECK_INT(bt_tls_now(), YEAR_2030 / 1000 + 100);
    bt_clock_fake_advance(UINT64_C(200) * 1000000);
    CHECK_INT(bt_tls_now(), YEAR_2030 / 1000 + 200);
    close_pair();
    bt_clock_fake_stop();
}
