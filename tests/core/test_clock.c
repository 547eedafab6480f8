#include "core/clock.c"

#include "tests/harness.h"

TEST(text_of_moments)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { 1769860800123, "2026-01-31T12:00:00.123Z" },
        { 951782399999, "2000-02-28T23:59:59.999Z" },
        { 951782400000, "2000-02-29T00:00:00.000Z" },
        { 4107542400000, "2100-03-01T00:00:00.000Z" },
        { -1, "1969-12-31T23:59:59.999Z" },
        { INT64_MAX, "9999-12-31T23:59:59.999Z" },
        { INT64_MIN, "0001-01-01T00:00:00.000Z" },
    };
    char text[BT_CLOCK_TEXT_LEN];
    size_t i;

    for (i = 0; i < BT_ARRAY_LEN(rows); i++) {
        bt_clock_text(rows[i].ms, text);
        CHECK_STR(text, rows[i].text);
    }
}

TEST(text_agrees_with_the_c_library)
{
    char text[BT_CLOCK_TEXT_LEN], want[BT_CLOCK_TEXT_LEN];
    int i;

    for (i = 0; i < 10000; i++) {
        time_t t = (time_t)(test_random() % 4000000000u);
        struct tm tm;

        CHECK(gmtime_r(&t, &tm) != NULL);
        (void)strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.007Z", &tm);
        bt_clock_text((int64_t)t * 1000 + 7, text);
        CHECK_STR(text, want);
    }
}

TEST(the_virtual_clock_stands_still)
{
    bt_clock_fake_start(5000000, 1000);
    CHECK_INT(bt_clock_us(), 5000000);
    CHECK_INT(bt_clock_wall_ms(), 1000);
    bt_clock_fake_advance(2500);
    CHECK_INT(bt_clock_us(), 5002500);
    CHECK_INT(bt_clock_ms(), 5002);
    CHECK_INT(bt_clock_wall_ms(), 1002);
    bt_clock_fake_stop();
    CHECK(bt_clock_wall_ms() > 1500000000000);
}

TEST(the_real_clock_does_not_go_back)
{
    uint64_t before = bt_clock_us();

    CHECK(bt_clock_us() >= before);
}
