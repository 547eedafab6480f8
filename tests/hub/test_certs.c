/* Certificates of listeners: read again when the files change, warned about in time, and
 * what a clock in 1970 is told by the store. */
#include "tests/harness.h"

#include <sys/stat.h>
#include <utime.h>

#include "hub/net/certs.c"
#include "tests/core/tls_certs.h"

#define YEAR_2050 INT64_C(2524608000) /* s */

static char folder[64], log_path[96], path[3][96];
static struct hub_cert_conf conf;
static struct hub_certs *certs;
static struct bt_loop *loop;

static void put(const char *to, const char *text)
{
    char fresh[128];
    FILE *f;

    (void)snprintf(fresh, sizeof(fresh), "%s.new", to);
    f = fopen(fresh, "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
    CHECK_INT(rename(fresh, to), 0);
}

/* How often the log says it; -1 when there is no log. */
static int said(const char *what)
{
    static char text[65536];
    FILE *f = fopen(log_path, "r");
    size_t n = f == NULL ? 0 : fread(text, 1, sizeof(text) - 1, f);
    int count = 0;

    if (f == NULL)
        return -1;
    (void)fclose(f);
    text[n] = '\0';
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what))
        count++;
    return count;
}

static void set_up(int64_t now_s)
{
    static const char *const names[] = { "ca", "cert", "key" };
    struct bt_log_conf log = { .path = log_path,
                               .level = BT_LOG_INFO,
                               .size_mb = 50,
                               .age_days = 1,
                               .backup_count = 1 };

    (void)snprintf(folder, sizeof(folder), "/tmp/baetyl-certs-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    (void)snprintf(log_path, sizeof(log_path), "%s/log", folder);
    for (int i = 0; i < 3; i++)
        (void)snprintf(path[i], sizeof(path[i]), "%s/%s", folder, names[i]);
    CHECK_INT(bt_log_open(&log), 0);
    put(path[0], pem_ca);
    put(path[1], pem_server);
    put(path[2], pem_server_key);
    conf = (struct hub_cert_conf){
        .ca = path[0], .cert = path[1], .key = path[2], .require = BT_TLS_OPTIONAL
    };
    bt_clock_fake_start(1000000, now_s * 1000);
    loop = bt_loop_new("main", false);
    certs = hub_certs_new(loop, folder);
    CHECK(loop != NULL && certs != NULL);
}

static void tear_down(void)
{
    hub_certs_free(certs);
    bt_loop_free(loop);
    bt_clock_fake_stop();
    bt_log_close();
    for (int i = 0; i < 3; i++)
        (void)unlink(path[i]);
    (void)unlink(log_path);
    (void)rmdir(folder);
}

TEST(read_again_when_changed)
{
    struct hub_cert *c, *same;
    struct bt_tls_ctx *first, *now;

    set_up(YEAR_2050);
    CHECK_INT(hub_certs_add(certs, &conf, &c), 0);
    CHECK_INT(hub_certs_add(certs, &conf, &same), 0);
    CHECK(c == same);
    first = hub_cert_context(c);
    check(certs, false);
    now = hub_cert_context(c);
    CHECK(now == first);
    bt_tls_ctx_unref(now);
    /* Half of a replacement: the old one stays, and it is said once. */
    put(path[1], pem_client);
    check(certs, false);
    check(certs, false);
    now = hub_cert_context(c);
    CHECK(now == first);
    bt_tls_ctx_unref(now);
    CHECK_INT(said("the new certificate cannot be used, the old one stays"), 1);
    CHECK_INT(said("does not belong to the certificate"), 1);
    put(path[2], pem_client_key);
    check(certs, false);
    now = hub_cert_context(c);
    CHECK(now != first);
    bt_tls_ctx_unref(now);
    CHECK_INT(said("certificate read again"), 1);
    /* On request also when nothing changed. */
    first = (bt_tls_ctx_unref(first), hub_cert_context(c));
    check(certs, true);
    now = hub_cert_context(c);
    CHECK(now != first);
    bt_tls_ctx_unref(now);
    bt_tls_ctx_unref(first);
    tear_down();
}

TEST(a_bad_file_at_start)
{
    struct hub_cert *c;

    set_up(YEAR_2050);
    put(path[2], "nonsense");
    CHECK_INT(hub_certs_add(certs, &conf, &c), BT_ETLS);
    CHECK_INT(said("the certificate cannot be used"), 1);
    tear_down();
}

TEST(warnings)
{
    static const int64_t left_days[] = { 40, 30, 29, 7, 6, 1, 0, -1, -2 };
    static const int told[] = { 0, 1, 1, 2, 2, 3, 4, 4, 4 };
    int64_t until = INT64_C(4922899200); /* 2126-01-01, of the file */
    struct hub_cert *c;

    set_up(until - 40 * DAY_S);
    CHECK_INT(hub_certs_add(certs, &conf, &c), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(told); i++) {
        bt_clock_fake_start(1000000, (until - left_days[i] * DAY_S) * 1000);
        check(certs, false);
        check(certs, false);
        CHECK_INT(said("expires soon") + said("has expired"), told[i]);
    }
    CHECK_INT(said("days=7"), 1);
    CHECK_INT(said("has expired"), 1);
    tear_down();
}

/* Last: the floor does not sink again. */
TEST(the_store_tells_the_time)
{
    struct utimbuf t = { .modtime = 4102444800, .actime = 4102444800 }; /* 2100 */
    struct hub_cert *c;
    int64_t known;

    /* Too far ahead to be believed. */
    set_up(5);
    CHECK(bt_tls_clock_wrong());
    known = bt_tls_now();
    CHECK_INT(utime(path[0], &t), 0);
    CHECK_INT(hub_certs_add(certs, &conf, &c), 0);
    CHECK(bt_tls_now() < known + MAX_AHEAD_S);
    tear_down();
    /* And believed. */
    set_up(5);
    known = bt_tls_now();
    t.modtime = t.actime = known + 5 * 365 * DAY_S;
    CHECK_INT(utime(path[0], &t), 0);
    CHECK_INT(hub_certs_add(certs, &conf, &c), 0);
    CHECK_INT(bt_tls_now(), t.modtime);
    CHECK(bt_tls_clock_wrong());
    tear_down();
}
