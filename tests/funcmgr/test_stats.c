/* What is counted of a function. */
#include "funcmgr/stats.c"

#include "tests/harness.h"

TEST(one_struct_for_a_name)
{
    struct fm_stats *a = fm_stats_of("a"), *b = fm_stats_of("b");

    CHECK(a != b && a == fm_stats_of("a"));
    CHECK_STR(a->labels, "function=\"a\"");
    CHECK_STR(fm_stats_of("q\"\\\nx")->labels, "function=\"q\\\"\\\\\\nx\"");
}

TEST(every_time_has_a_range_that_ends_close_by)
{
    size_t last = 0;

    for (uint64_t us = 0; us < (uint64_t)1 << FM_TIME_OCTAVE; us += 1 + us / 7) {
        size_t range = range_of(us);
        uint64_t end = end_of(range);

        CHECK(range < FM_TIME_RANGES && range >= last);
        CHECK(end >= us && end - us <= us / 16);
        CHECK(range_of(end) == range && range_of(end + 1) == range + 1);
        last = range;
    }
    CHECK_INT(range_of(UINT64_MAX), FM_TIME_RANGES - 1);
}

TEST(percentiles)
{
    struct fm_stats *s = fm_stats_of("p");
    struct fm_call call = { .began_us = 1000 };

    CHECK_INT(fm_stats_time(s, 500), 0);
    for (uint64_t i = 1; i <= 100; i++)
        fm_stats_end(s, &call, FM_OK, 1000 + i * 10);
    CHECK(fm_stats_time(s, 500) >= 500 && fm_stats_time(s, 500) <= 535);
    CHECK(fm_stats_time(s, 990) >= 990 && fm_stats_time(s, 990) <= 1000);
    CHECK_INT(fm_stats_time(s, 1000), 1000);
    CHECK_INT(s->max_us, 1000);
    CHECK_INT(bt_metric_get(&s->calls), 100);
}

TEST(errors_are_counted_by_outcome)
{
    struct fm_stats *s = fm_stats_of("e");
    struct fm_call call = { .began_us = 0 };

    for (size_t i = 0; i < FM_N_OUTCOMES; i++)
        CHECK(fm_outcome_name((enum fm_outcome)i) != NULL);
    fm_stats_end(s, &call, FM_TIMEOUT, 5);
    fm_stats_end(s, &call, FM_TIMEOUT, 5);
    CHECK_INT(bt_metric_get(&s->errors[FM_TIMEOUT]), 2);
    CHECK_STR(s->errors[FM_TIMEOUT].labels, "function=\"e\",outcome=\"timeout\"");
    CHECK_INT(bt_metric_get(&s->errors[FM_FAILED]), 0);
}

TEST(names_are_bounded)
{
    struct fm_stats *other = others();
    char name[32];

    n_all = FM_MAX_STATS - 1;
    CHECK(fm_stats_of("the last one") != other);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), "more %d", i);
        CHECK(fm_stats_of(name) == other);
    }
}
