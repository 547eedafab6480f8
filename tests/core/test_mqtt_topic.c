/* Topics and filters: well-formed text, the matching and covering vectors of the
 * specification. */
#include "core/mqtt_topic.c"

#include "tests/harness.h"

static bool ask(bool (*fn)(struct bt_slice), const char *s, size_t n)
{
    uint8_t *exact = malloc(n > 0 ? n : 1);
    bool yes;

    if (exact == NULL)
        abort();
    memcpy(exact, s, n);
    yes = fn((struct bt_slice){ exact, n });
    free(exact);
    return yes;
}

#define ROW(s, ok)           \
    {                        \
        s, sizeof(s) - 1, ok \
    }

static const struct text_row {
    const char *s;
    size_t n;
    bool ok;
} utf8_rows[] = {
    ROW("", true),
    ROW("plain text, longer than eight", true),
    ROW("\xc2\x80", true),
    ROW("\xdf\xbf", true),
    ROW("\xe0\xa0\x80", true),
    ROW("\xed\x9f\xbf", true),
    ROW("\xee\x80\x80", true),
    ROW("\xef\xbf\xbf", true),
    ROW("\xef\xbb\xbf", true),
    ROW("\xf0\x90\x80\x80", true),
    ROW("\xf4\x8f\xbf\xbf", true),
    ROW("12345678\xc3\xa4 12345678\xc3\xa4", true),
    ROW("1234567\xc3\xa4 12", true),
    ROW("\0", false),
    ROW("1234567\0", false),
    ROW("12345678\0", false),
    ROW("\x80", false),
    ROW("\xbf", false),
    ROW("\xc0\x80", false),
    ROW("\xc1\xbf", false),
    ROW("\xc2", false),
    ROW("\xc2\x41", false),
    ROW("\xe0\x9f\xbf", false),
    ROW("\xe1\x80", false),
    ROW("\xe1\x80\x41", false),
    ROW("\xed\xa0\x80", false),
    ROW("\xed\xbf\xbf", false),
    ROW("\xf0\x8f\xbf\xbf", false),
    ROW("\xf4\x90\x80\x80", false),
    ROW("\xf1\x80\x80", false),
    ROW("\xf5\x80\x80\x80", false),
    ROW("\xff", false),
    ROW("1234567\xff", false),
    ROW("12345678 2345678\xe1\x80", false),
};

TEST(utf8)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(utf8_rows); i++) {
        const struct text_row *r = &utf8_rows[i];

        if (ask(bt_mqtt_utf8_ok, r->s, r->n) != r->ok)
            TEST_END_(1, "row %zu", i);
    }
}

/* The fast path finds the character wherever it stands in its eight bytes. */
TEST(scan_every_position)
{
    static const struct {
        char c;
        unsigned want;
    } rows[] = { { '+', BT_MQTT_SCAN_WILD },
                 { '#', BT_MQTT_SCAN_WILD },
                 { '\0', BT_MQTT_SCAN_BAD },
                 { '\x80', BT_MQTT_SCAN_BAD },
                 { '"', 0 },
                 { ',', 0 },
                 { '*', 0 },
                 { '$', 0 },
                 { '\x01', 0 },
                 { '\x7f', 0 } };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        for (size_t at = 0; at < 24; at++) {
            uint8_t s[24];

            memset(s, 'a', sizeof(s));
            s[at] = (uint8_t)rows[i].c;
            CHECK_INT(bt_mqtt_scan((struct bt_slice){ s, sizeof(s) }), rows[i].want);
        }
    }
}

static const struct text_row topic_rows[] = {
    ROW("/a/b/c/d/e/f/g/h", true),
    ROW(" /", true),
    ROW("/$", true),
    ROW("/", true),
    ROW("//", true),
    ROW(" ", true),
    ROW("a/b//c", true),
    ROW("$SYS/x", true),
    ROW("", false),
    ROW("/a/b#b/c", false),
    ROW("/a+a/b/", false),
    ROW("+", false),
    ROW("#", false),
    ROW("a\0b", false),
    ROW("a/\xed\xa0\x80", false),
};

TEST(topics)
{
    static char longest[65536];

    for (size_t i = 0; i < BT_ARRAY_LEN(topic_rows); i++) {
        if (ask(bt_mqtt_topic_ok, topic_rows[i].s, topic_rows[i].n) != topic_rows[i].ok)
            TEST_END_(1, "row %zu", i);
    }
    memset(longest, 'x', sizeof(longest));
    CHECK(ask(bt_mqtt_topic_ok, longest, 65535));
    CHECK(!ask(bt_mqtt_topic_ok, longest, 65536));
    CHECK(ask(bt_mqtt_filter_ok, longest, 65535));
    CHECK(!ask(bt_mqtt_filter_ok, longest, 65536));
}

static const struct text_row filter_rows[] = {
    ROW("+/a/#", true),
    ROW("/+", true),
    ROW("/a/+/", true),
    ROW("#", true),
    ROW("+", true),
    ROW("+/+", true),
    ROW("a//#", true),
    ROW("$SYS/#", true),
    ROW("$share", true),
    ROW("$shared/a", true),
    ROW("$share/g/a", true),
    ROW("$share/g/#", true),
    ROW("$share/g/+/b", true),
    ROW("$share/g//", true),
    ROW("$share/g/$SYS/#", true),
    ROW("", false),
    ROW("/a/#/c", false),
    ROW("/a/##", false),
    ROW("/a/b/+#", false),
    ROW("/a/b+c/", false),
    ROW("a#", false),
    ROW("#/", false),
    ROW("++", false),
    ROW("a+", false),
    ROW("\0", false),
    ROW("a/\xff", false),
    ROW("$share/", false),
    ROW("$share/g", false),
    ROW("$share/g/", false),
    ROW("$share//a", false),
    ROW("$share/+/a", false),
    ROW("$share/g#/a", false),
    ROW("$share/#", false),
    ROW("$share/g/a#", false),
    ROW("$share/g/#/a", false),
};

TEST(filters)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(filter_rows); i++) {
        const struct text_row *r = &filter_rows[i];

        if (ask(bt_mqtt_filter_ok, r->s, r->n) != r->ok)
            TEST_END_(1, "filter \"%s\"", r->s);
    }
}

struct pair_row {
    const char *a, *b;
    bool yes;
};

static const struct pair_row match_rows[] = {
    /* filter, topic */
    { "a/#", "a", true },         { "a/+", "a/", true },
    { "a/+", "a", false },        { "+", "/", false },
    { "+/+", "/", true },         { "/+", "/", true },
    { "/a/b/#", "/a/b", true },   { "/a/b/+", "/a/b", false },
    { "+/#", "//", true },        { "#", "a", true },
    { "#", "/", true },           { "#", "a/b/c", true },
    { "a", "a", true },           { "a", "b", false },
    { "a", "a/", false },         { "a/", "a", false },
    { "a/b", "a/b", true },       { "a/b", "a/bc", false },
    { "a/bc", "a/b", false },     { "a/+/c", "a/b/c", true },
    { "a/+/c", "a//c", true },    { "a/+/c", "a/b/b/c", false },
    { "a/+/#", "a", false },      { "a/+/#", "a/b", true },
    { "a/#", "ab", false },       { "a/#", "a/", true },
    { "#", "$SYS/x", false },     { "+/x", "$SYS/x", false },
    { "+", "$SYS", false },       { "$SYS/#", "$SYS/x", true },
    { "$SYS/+", "$SYS/x", true }, { "a/#", "a/$x", true },
    { "/#", "/$x", true },        { "", "a", false },
    { "a", "", false },           { "", "", false },
    { "+", "a", true },           { "+/a", "/a", true },
    { "/", "/", true },           { "//", "/", false },
};

TEST(matching)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(match_rows); i++) {
        const struct pair_row *r = &match_rows[i];

        if (bt_mqtt_match(bt_slice_of(r->a), bt_slice_of(r->b)) != r->yes)
            TEST_END_(1, "%s ~ %s", r->a, r->b);
    }
}

static const struct pair_row cover_rows[] = {
    /* permit, filter */
    { "+", "a", true },
    { "+", "/", false },
    { "+", "a/", false },
    { "+", "a/b", false },
    { "+", "/a", false },
    { "test/+", "test/", true },
    { "test/+", "test/a", true },
    { "test/+", "test", false },
    { "test/+", "/test/a", false },
    { "test/+", "a/b/c", false },
    { "a/+/b", "a/c/b", true },
    { "a/+/b", "a//b", true },
    { "a/+/b", "a/c/d/b", false },
    { "a/+/b", "a///b", false },
    { "test/#", "test", true },
    { "test/#", "test/", true },
    { "test/#", "test/a/b", true },
    { "test/#", "/", false },
    { "test/#", "a", false },
    { "#", "a/b/c", true },
    { "#", "#", true },
    { "#", "+", true },
    { "#", "+/#", true },
    { "#", "/", true },
    { "a/+", "a/#", false },
    { "+", "#", false },
    { "+", "+", true },
    { "a/#", "a", true },
    { "a/#", "a/+", true },
    { "a/#", "a/#", true },
    { "a/#", "a/+/#", true },
    { "a/+/#", "a/#", false },
    { "+/#", "#", true },
    { "+/+/#", "#", false },
    { "a/+", "a/+", true },
    { "a/b", "a/+", false },
    { "a/b", "a/b", true },
    { "a/b", "a/#", false },
    { "a", "+", false },
    { "a", "#", false },
    { "+/b", "a/b", true },
    { "+/b", "+/b", true },
    { "a/b", "+/b", false },
    { "#", "$SYS/#", false },
    { "#", "$SYS/a", false },
    { "+/#", "$SYS/#", false },
    { "$SYS/#", "$SYS/#", true },
    { "$SYS/#", "$SYS/a", true },
    { "$SYS/#", "#", false },
    { "#", "$share/g/a", true },
    { "a/#", "$share/g/a/+", true },
    { "a", "$share/g/a/+", false },
    { "#", "$share/g/$SYS/#", false },
    { "#", "$share/g", false },
    { "", "a", false },
    { "a", "", false },
};

TEST(covering)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(cover_rows); i++) {
        const struct pair_row *r = &cover_rows[i];

        if (bt_mqtt_covers(bt_slice_of(r->a), bt_slice_of(r->b)) != r->yes)
            TEST_END_(1, "%s covers %s", r->a, r->b);
    }
}

static void random_levels(char *out, const char *const *levels, size_t n)
{
    size_t count = (size_t)(1 + test_random() % 3);

    *out = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *l = levels[test_random() % n];

        strcat(out, i > 0 ? "/" : "");
        strcat(out, l);
        if (*l == '#')
            return;
    }
}

/* What a filter matches, a permit that covers it matches too. */
TEST(covering_agrees_with_matching)
{
    static const char *const levels[] = { "a", "b", "", "$x", "+", "#" };
    int used = 0;

    for (int i = 0; i < 200000; i++) {
        char permit[32], filter[32], topic[32];

        random_levels(permit, levels, 6);
        random_levels(filter, levels, 6);
        random_levels(topic, levels, 4);
        if (*topic == '\0' || !bt_mqtt_match(bt_slice_of(filter), bt_slice_of(topic)) ||
            !bt_mqtt_covers(bt_slice_of(permit), bt_slice_of(filter)))
            continue;
        used++;
        if (!bt_mqtt_match(bt_slice_of(permit), bt_slice_of(topic)))
            TEST_END_(1, "%s covers %s but not %s", permit, filter, topic);
    }
    CHECK(used > 100);
}
