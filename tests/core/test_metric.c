/* Metrics: families, labels, histograms, sources, the text Prometheus reads. */
#include "core/metric.c"

#include "tests/harness.h"

static char *text(void)
{
    struct bt_buf b = { 0 };
    char *s;

    CHECK_INT(bt_metric_text(&b), 0);
    s = bt_buf_steal_str(&b);
    CHECK(s != NULL);
    return s;
}

static void check_has(const char *part)
{
    char *s = text();

    if (strstr(s, part) == NULL)
        fprintf(stderr, "no \"%s\" in\n%s", part, s);
    CHECK(strstr(s, part) != NULL);
    free(s);
}

/* Works. */

TEST(members_of_a_family_stay_together)
{
    static struct bt_metric a =
        BT_METRIC_OF("t_drops_total", BT_COUNTER, "reason=\"a\"", "Drops.");
    static struct bt_metric other = BT_METRIC("t_other", BT_GAUGE, "Other.");
    static struct bt_metric b =
        BT_METRIC_OF("t_drops_total", BT_COUNTER, "reason=\"b\"", "Drops.");

    bt_metric_register(&a);
    bt_metric_register(&other);
    bt_metric_register(&b);
    bt_metric_register(&b);
    bt_metric_add(&a, 1);
    bt_metric_add(&b, 2);
    bt_metric_set(&other, -3);
    check_has("# HELP t_drops_total Drops.\n# TYPE t_drops_total counter\n"
              "t_drops_total{reason=\"a\"} 1\nt_drops_total{reason=\"b\"} 2\n"
              "# HELP t_other Other.\n# TYPE t_other gauge\nt_other -3\n");
}

TEST(microseconds_are_shown_as_seconds)
{
    static struct bt_metric m = BT_METRIC_US("t_seconds_total", BT_COUNTER, "Time.");

    bt_metric_register(&m);
    bt_metric_add(&m, 1250000);
    check_has("t_seconds_total 1.250000\n");
}

TEST(a_histogram_adds_up_its_ranges)
{
    static struct bt_histogram h = { .bounds = { 1000, 10000 } };
    static struct bt_metric m = {
        .name = "t_took_seconds",
        .help = "Time.",
        .kind = BT_HISTOGRAM,
        .per = 1000000,
        .hist = &h,
    };

    bt_metric_register(&m);
    bt_metric_observe(&m, 1000);
    bt_metric_observe(&m, 1001);
    bt_metric_observe(&m, 500000);
    check_has("# TYPE t_took_seconds histogram\n"
              "t_took_seconds_bucket{le=\"0.001000\"} 1\n"
              "t_took_seconds_bucket{le=\"0.010000\"} 2\n"
              "t_took_seconds_bucket{le=\"+Inf\"} 3\n"
              "t_took_seconds_sum 0.502001\nt_took_seconds_count 3\n");
}

static void refresh(void *arg)
{
    bt_metric_set(arg, 7);
}

TEST(a_source_is_asked_until_it_is_removed)
{
    static struct bt_metric m = BT_METRIC("t_asked", BT_GAUGE, "Asked.");
    struct bt_metric_source s = { .fn = refresh, .arg = &m };

    bt_metric_source_add(&s);
    bt_metric_refresh();
    CHECK_INT(bt_metric_get(&m), 7);
    bt_metric_set(&m, 0);
    bt_metric_source_remove(&s);
    bt_metric_source_remove(&s);
    bt_metric_refresh();
    CHECK_INT(bt_metric_get(&m), 0);
}

/* Fails. */

TEST(a_text_that_is_too_long_is_refused)
{
    static struct bt_metric m = BT_METRIC("t_long", BT_GAUGE, "Long.");
    struct bt_buf b = { .max = 4 };

    bt_metric_register(&m);
    CHECK(bt_metric_text(&b) != 0);
    bt_buf_deinit(&b);
}
