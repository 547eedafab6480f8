/* Permits: every filter over a small alphabet against a brute-force reading of the
 * standard, and the values that must not get in through %c and %u. */
#include "tests/harness.h"

#include "hub/access/permit.c"

static const char *const parts[] = { "", "a", "b", "$x", "+", "#" };

#define MAX_LEVELS 3
#define MAX_TEXTS  400
static char filters[MAX_TEXTS][16], topics[MAX_TEXTS][16];
static size_t n_filters, n_topics;

/* All valid texts of up to MAX_LEVELS levels out of the first n parts. */
static void build(char (*to)[16], size_t *count, size_t n, const char *sofar, int levels)
{
    for (size_t i = 0; i < n; i++) {
        char s[16];

        (void)snprintf(s, sizeof(s), "%s%s%s", sofar, levels > 0 ? "/" : "", parts[i]);
        if (bt_mqtt_filter_ok(bt_slice_of(s))) {
            CHECK(*count < MAX_TEXTS);
            memcpy(to[(*count)++], s, sizeof(s));
        }
        if (levels + 1 < MAX_LEVELS && strcmp(parts[i], "#") != 0)
            build(to, count, n, s, levels + 1);
    }
}

static void build_all(void)
{
    n_filters = n_topics = 0;
    build(filters, &n_filters, BT_ARRAY_LEN(parts), "", 0);
    build(topics, &n_topics, 4, "", 0);
}

/* §4.7 read by the letter, on strings. */
static bool oracle(const char *f, const char *t)
{
    size_t nf = strcspn(f, "/"), nt = strcspn(t, "/");

    if (*f == '#')
        return true;
    if (!(nf == 1 && *f == '+') && (nf != nt || memcmp(f, t, nf) != 0))
        return false;
    if (f[nf] == '\0' || t[nt] == '\0')
        return f[nf] == t[nt] || strcmp(f + nf, "/#") == 0;
    return oracle(f + nf + 1, t + nt + 1);
}

static bool matched(const char *f, const char *t)
{
    return !(*t == '$' && (*f == '+' || *f == '#')) && oracle(f, t);
}

/* Topics longer than any filter tell # from all the topics with as many levels. */
static bool matches_deep(const char *f, const char *t, const char *more)
{
    char deep[40];

    CHECK(snprintf(deep, sizeof(deep), "%s%s", t, more) < (int)sizeof(deep));
    return matched(f, deep);
}

static bool topic_in(const struct hub_permits *p, const char *t)
{
    static const struct hub_who nobody;

    return hub_permits_topic(p, &nobody, bt_slice_of(t));
}

static bool filter_in(const struct hub_permits *p, const char *f)
{
    static const struct hub_who nobody;

    return hub_permits_filter(p, &nobody, bt_slice_of(f));
}

TEST(every_topic_against_every_permit)
{
    build_all();
    for (size_t i = 0; i < n_filters; i++) {
        struct hub_permit permit = hub_permit_of(filters[i]);
        struct hub_permits p = { .permit = &permit, .n_permit = 1 };
        struct hub_permits d = { &permit, &permit, 1, 1 };

        for (size_t k = 0; k < n_topics; k++) {
            struct walk w = { .who = &(struct hub_who){ .client_id = { NULL, 0 } },
                              .permit = permit.text,
                              .other = bt_slice_of(topics[k]) };

            CHECK_INT(topic_in(&p, topics[k]), matched(filters[i], topics[k]));
            CHECK_INT(matches(&w), matched(filters[i], topics[k]));
            CHECK(!topic_in(&d, topics[k])); /* deny wins */
        }
    }
}

/* For each pair: is every topic of the filter matched (covers), is any (meets)? */
static void compare(const char *permit_text, const char *filter)
{
    static const char *const more[] = { "", "/a", "/a/b/c", "/z" };
    static const char any_text[] = "#", dollar_text[] = "$x/#";
    struct hub_permit all[2], permit;
    struct hub_permits p = { .permit = &permit, .n_permit = 1 };
    struct hub_permits d = { all, &permit, 2, 1 };
    bool every = true, some = false;

    permit = hub_permit_of(permit_text);
    all[0] = hub_permit_of(any_text);
    all[1] = hub_permit_of(dollar_text);
    for (size_t k = 0; k < n_topics; k++) {
        for (size_t m = 0; m < BT_ARRAY_LEN(more); m++) {
            if (!matches_deep(filter, topics[k], more[m]))
                continue;
            every &= matches_deep(permit_text, topics[k], more[m]);
            some |= matches_deep(permit_text, topics[k], more[m]);
        }
    }
    if (filter_in(&p, filter) != every ||
        filter_in(&d, filter) !=
            (filter_in(&(struct hub_permits){ .permit = all, .n_permit = 2 }, filter) &&
             !some))
        printf("permit %s filter %s\n", permit_text, filter);
    CHECK_INT(filter_in(&p, filter), every);
    if (filter_in(&(struct hub_permits){ .permit = all, .n_permit = 2 }, filter))
        CHECK_INT(filter_in(&d, filter), !some);
}

TEST(every_filter_against_every_permit)
{
    build_all();
    for (size_t i = 0; i < n_filters; i++)
        for (size_t k = 0; k < n_filters; k++)
            compare(filters[i], filters[k]);
}

TEST(the_escalations_of_the_original)
{
    static const char *const rows[][2] = { { "a/+", "a/#" }, { "+", "#" }, { "a", "+" } };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct hub_permit permit = hub_permit_of(rows[i][0]);
        struct hub_permits p = { .permit = &permit, .n_permit = 1 };

        CHECK(!filter_in(&p, rows[i][1]));
    }
}

TEST(shared_filters_are_looked_through)
{
    struct hub_permit permit = hub_permit_of("a/+"), deny = hub_permit_of("a/b");
    struct hub_permits p = { &permit, &deny, 1, 1 };

    CHECK(filter_in(&p, "$share/g/a/c"));
    CHECK(!filter_in(&p, "$share/g/a/b"));
    CHECK(!filter_in(&p, "$share/g/a/+"));
    CHECK(!filter_in(&p, "$share/g"));
    CHECK(!filter_in(&p, "$share/g/"));
}

/* What a permit with %c and %u says about a topic or filter for this client and user. */
TEST(the_client_and_the_user_stand_in)
{
    static const struct {
        const char *permit, *id, *user, *topic;
        bool want;
    } rows[] = {
        { "dev/%c/#", "d1", "u", "dev/d1/x", true },
        { "dev/%c/#", "d1", "u", "dev/d1", true },
        { "dev/%c/#", "d1", "u", "dev/d2/x", false },
        { "dev/%c/#", "d1", "u", "dev/d1x/x", false },
        { "dev/%c/#", "d1", "u", "dev/%c/x", false },
        { "%u/%c", "d1", "bob", "bob/d1", true },
        { "%u/%c", "d1", "bob", "d1/bob", false },
        { "x-%u-%c/+", "d1", "bob", "x-bob-d1/q", true },
        { "x-%u-%c/+", "d1", "bob", "x-bob-d1/q/r", false },
        { "x%", "d1", "bob", "x%", true },
        { "%d/%c", "d1", "bob", "%d/d1", true },
        { "%c%c", "ab", "", "abab", true },
        { "a/%c", "\xc3\xa4", "", "a/\xc3\xa4", true },
        /* Values that must not get in. */
        { "a/%c", "+", "u", "a/b", false },
        { "a/%c", "#", "u", "a/b/c", false },
        { "a/%c", "#", "u", "a", false },
        { "a/%c/x", "b/c", "u", "a/b/c/x", false },
        { "a/%c", "+x", "u", "a/+x", false },
        { "%c/x", "$SYS", "u", "$SYS/x", false },
        { "%c", "", "u", "", false },
        { "a/%c", "", "u", "a/", false },
        { "a/%u", "d", "", "a/", false },
        { "a/%u", "d", "#", "a/b", false },
        { "+/%c", "$x", "u", "a/$x", false },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct hub_who who = { bt_slice_of(rows[i].id), bt_slice_of(rows[i].user) };
        struct hub_permit permit = hub_permit_of(rows[i].permit);
        struct hub_permits p = { .permit = &permit, .n_permit = 1 };

        CHECK_INT(hub_permits_topic(&p, &who, bt_slice_of(rows[i].topic)), rows[i].want);
        CHECK_INT(hub_permits_filter(&p, &who, bt_slice_of(rows[i].topic)), rows[i].want);
    }
}

/* A filter is not covered through a value that looks like it. */
TEST(an_identifier_is_no_wildcard)
{
    static const char *const ids[] = { "+", "#", "a/#", "+/#", "", "$share/g/#" };

    for (size_t i = 0; i < BT_ARRAY_LEN(ids); i++) {
        struct hub_who who = { bt_slice_of(ids[i]), bt_slice_of(ids[i]) };
        struct hub_permit permit = hub_permit_of("%c"), both = hub_permit_of("%u/%c");
        struct hub_permits p = { .permit = &permit, .n_permit = 1 };
        struct hub_permits q = { .permit = &both, .n_permit = 1 };

        for (size_t k = 0; k < n_filters; k++) {
            CHECK(!hub_permits_filter(&p, &who, bt_slice_of(filters[k])));
            CHECK(!hub_permits_filter(&q, &who, bt_slice_of(filters[k])));
        }
    }
}

/* A client cannot get out of a deny by the name it chooses. */
TEST(a_deny_with_an_odd_value_denies_all_values)
{
    static const char *const odd[] = { "", "+", "#", "x/y", "$SYS", "a#" };
    struct hub_permit permit = hub_permit_of("#"), deny = hub_permit_of("adm/%c/x");
    struct hub_permits p = { &permit, &deny, 1, 1 };
    struct hub_who who = { bt_slice_of("d1"), bt_slice_of("u") };

    CHECK(!hub_permits_topic(&p, &who, bt_slice_of("adm/d1/x")));
    CHECK(hub_permits_topic(&p, &who, bt_slice_of("adm/d2/x")));
    CHECK(hub_permits_filter(&p, &who, bt_slice_of("adm/d2/x")));
    CHECK(!hub_permits_filter(&p, &who, bt_slice_of("adm/+/x")));
    CHECK(!hub_permits_filter(&p, &who, bt_slice_of("#")));
    for (size_t i = 0; i < BT_ARRAY_LEN(odd); i++) {
        who.client_id = bt_slice_of(odd[i]);
        CHECK(!hub_permits_topic(&p, &who, bt_slice_of("adm/d1/x")));
        CHECK(!hub_permits_filter(&p, &who, bt_slice_of("adm/d1/x")));
        CHECK(hub_permits_topic(&p, &who, bt_slice_of("adm/d1/y")));
        CHECK(!hub_permits_filter(&p, &who, bt_slice_of("adm/#")));
    }
}
