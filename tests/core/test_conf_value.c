/* Durations, sizes, numbers, truth values, and the distance between names. */
#include "core/conf_value.c"

#include "tests/harness.h"

TEST(durations_work)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        { "500ms", 500 },
        { "20s", 20000 },
        { "1m", 60000 },
        { "1m30s", 90000 },
        { "48h", 172800000 },
        { "1.5h", 5400000 },
        { "1h15m30.918s", 4530918 },
        { ".5s", 500 },
        { "1.s", 1000 },
        { "0", 0 },
        { "0s", 0 },
        { "+5s", 5000 },
        { "-1s", -1000 },
        { "-1", -1 },
        { "1", 1 },
        { "1000000", 1 },
        { "1000001", 2 },
        { "20000000000", 20000 },
        { "1ns", 1 },
        { "1us", 1 },
        { "1\xc2\xb5s", 1 },
        { "1\xce\xbcs", 1 },
        { "1500us", 2 },
        { "0.0000001s", 1 },
        { "0.3333333333333333333333333333s", 334 },
        { "2562047h", 9223369200000 },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int64_t ms = -7;

        printf("%s\n", rows[i].text);
        CHECK_INT(bt_conf_parse_ms(rows[i].text, &ms), 0);
        CHECK_INT(ms, rows[i].ms);
    }
}

TEST(durations_fail)
{
    static const char *const texts[] = {
        "",
        " ",
        "s",
        ".s",
        "-",
        "+",
        "1x",
        "1 s",
        "1s ",
        "1.5",
        "1d",
        "1S",
        "1m30",
        "--1s",
        "1e3s",
        "0x10",
        "9223372036854775808",
        "..",
        "1..s",
        "abc",
        "1s2",
        "1,5s",
        "1ms1",
        "2562048h",
        "99999999999999999999s",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        int64_t ms = -7;

        printf("%s\n", texts[i]);
        CHECK_INT(bt_conf_parse_ms(texts[i], &ms), BT_EINVAL);
        CHECK_INT(ms, -7);
    }
}

TEST(sizes_work)
{
    static const struct {
        const char *text;
        uint64_t n;
    } rows[] = {
        { "0", 0 },
        { "1", 1 },
        { "32768", 32768 },
        { "32k", 32768 },
        { "32K", 32768 },
        { "4m", 4194304 },
        { "4 m", 4194304 },
        { "4MiB", 4194304 },
        { "4mb", 4194304 },
        { "1.5k", 1536 },
        { "0.1k", 102 },
        { "2g", UINT64_C(2147483648) },
        { "3T", UINT64_C(3298534883328) },
        { "1p", UINT64_C(1125899906842624) },
        { "7b", 7 },
        { "7i", 7 },
        { "7 iB", 7 },
        { "0.99999999999999999999999p", UINT64_C(1125899906842623) },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        uint64_t n = 7777;

        printf("%s\n", rows[i].text);
        CHECK_INT(bt_conf_parse_bytes(rows[i].text, &n), 0);
        CHECK_INT(n, rows[i].n);
    }
}

TEST(sizes_fail)
{
    static const char *const texts[] = {
        "",
        "1x",
        "k",
        " 1",
        "1  k",
        "-1",
        "+1",
        ".5k",
        "1.",
        "1.k",
        "1kk",
        "1e3",
        "0x1",
        "1bi",
        "1k ",
        "a",
        "1,5k",
        "1.2.3k",
        "18446744073709551616",
        "16384p",
        "99999999999999999999999999",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        uint64_t n;

        printf("%s\n", texts[i]);
        CHECK_INT(bt_conf_parse_bytes(texts[i], &n), BT_EINVAL);
    }
}

TEST(numbers)
{
    static const char *const wrong[] = { "",    "-1", "+1",  "4294967296",  "0x",
                                         "1.0", "1 ", "0xg", "0x100000000", "ten" };
    uint32_t n = 7;

    CHECK_INT(bt_conf_parse_u32("0", &n), 0);
    CHECK_INT(n, 0);
    CHECK_INT(bt_conf_parse_u32("4294967295", &n), 0);
    CHECK_INT(n, UINT32_MAX);
    CHECK_INT(bt_conf_parse_u32("0xFf", &n), 0);
    CHECK_INT(n, 255);
    for (size_t i = 0; i < BT_ARRAY_LEN(wrong); i++)
        CHECK_INT(bt_conf_parse_u32(wrong[i], &n), BT_EINVAL);
    CHECK_INT(n, 255);
}

TEST(truth_values)
{
    bool b = false;

    CHECK_INT(bt_conf_parse_bool("true", &b), 0);
    CHECK(b);
    CHECK_INT(bt_conf_parse_bool("Off", &b), 0);
    CHECK(!b);
    CHECK_INT(bt_conf_parse_bool("YES", &b), 0);
    CHECK(b);
    CHECK_INT(bt_conf_parse_bool("1", &b), BT_EINVAL);
    CHECK_INT(bt_conf_parse_bool("", &b), BT_EINVAL);
    CHECK_INT(bt_conf_parse_bool("tRue", &b), BT_EINVAL);
}

TEST(what_is_printed_reads_back)
{
    static const int64_t ms[] = { 0, 1, 999, 1000, 90000, 3600000, 5430250, -1, -61000 };
    static const uint64_t sizes[] = { 0, 1, 1023, 1024, 1536, 32768, 4194304, 1u << 30 };
    char text[BT_CONF_VALUE_LEN];

    for (size_t i = 0; i < BT_ARRAY_LEN(ms); i++) {
        int64_t back = 7;

        bt_conf_format_ms(ms[i], text);
        if (ms[i] != 0 && bt_conf_is_integer(text))
            CHECK(!"a duration without a unit");
        CHECK_INT(bt_conf_parse_ms(text, &back), 0);
        CHECK_INT(back, ms[i]);
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(sizes); i++) {
        uint64_t back = 7;

        bt_conf_format_bytes(sizes[i], text);
        CHECK_INT(bt_conf_parse_bytes(text, &back), 0);
        CHECK_INT(back, sizes[i]);
    }
    bt_conf_format_ms(5430250, text);
    CHECK_STR(text, "1h30m30s250ms");
    bt_conf_format_bytes(4194304, text);
    CHECK_STR(text, "4m");
}

TEST(distances)
{
    char longer[100];

    memset(longer, 'a', sizeof(longer));
    longer[99] = '\0';
    CHECK_INT(bt_conf_distance("", ""), 0);
    CHECK_INT(bt_conf_distance("listen", "listen"), 0);
    CHECK_INT(bt_conf_distance("lsten", "listen"), 1);
    CHECK_INT(bt_conf_distance("lisetn", "listen"), 1);
    CHECK_INT(bt_conf_distance("listens", "listen"), 1);
    CHECK_INT(bt_conf_distance("", "abc"), 3);
    CHECK_INT(bt_conf_distance("kitten", "sitting"), 3);
    CHECK_INT(bt_conf_distance(longer, "a"), BT_CONF_FAR);
}
