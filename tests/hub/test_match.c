/* The subscription index and its caches: who gets a topic, merging, pruning, staleness,
 * bounds, memory failures, and readers beside a writer (meant for SAN=thread). */
#include "tests/harness.h"

#include <pthread.h>

#include "core/mqtt.h"
#include "hub/route/match.c"
#include "hub/route/match_cache.c"

static const struct hub_sub_opts plain = { .qos = 1 };

TEST(topics_and_filters)
{
    static const struct {
        const char *filter, *topic;
        bool yes;
    } rows[] = {
        { "a/#", "a", true },
        { "a/+", "a/", true },
        { "a/+", "a", false },
        { "+", "/", false },
        { "+/+", "/", true },
        { "/+", "/", true },
        { "/a/b/#", "/a/b", true },
        { "/a/b/+", "/a/b", false },
        { "+/#", "//", true },
        { "#", "a/b/c", true },
        { "#", "$SYS/x", false },
        { "+/x", "$SYS/x", false },
        { "$SYS/#", "$SYS/x", true },
        { "$SYS/+", "$SYS/x", true },
        { "a/b", "a/b", true },
        { "a/b", "a/bc", false },
        { "a//b", "a//b", true },
        { "a/+/b", "a//b", true },
        { "a/+/b", "a/c/d/b", false },
        { "a", "a/", false },
        { "a/+/+/d", "a/b/c/d", true },
        { "$share/g/a/+", "a/b", true },
        { "$share/g/#", "$SYS", false },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct hub_index *ix = hub_index_new(2);
        struct hub_cache *c = hub_cache_new(ix);
        struct hub_addr *a = hub_addr_new(1, NULL);
        struct hub_match *m;

        CHECK_INT(hub_index_add(ix, bt_slice_of(rows[i].filter), a, &plain), 0);
        m = hub_cache_lookup(c, bt_slice_of(rows[i].topic));
        if ((m->n_targets + m->n_groups == 1) != rows[i].yes)
            printf("row %zu: %s ~ %s\n", i, rows[i].filter, rows[i].topic);
        CHECK_INT(m->n_targets + m->n_groups, rows[i].yes);
        hub_cache_free(c);
        CHECK(hub_index_remove(ix, bt_slice_of(rows[i].filter), a));
        CHECK_INT(atomic_load(&a->refs), 1);
        CHECK_INT(ix->trie.n, 0);
        CHECK_INT(hub_index_size(ix), 0);
        hub_addr_unref(a);
        hub_index_free(ix);
    }
}

TEST(overlapping_filters_merge)
{
    static const struct hub_sub_opts opts[] = { { 0, HUB_SUB_NO_LOCAL, 7 },
                                                { 2, 0, 8 },
                                                { 1, HUB_SUB_RETAIN_AS_PUBLISHED, 9 } };
    static const char *const filters[] = { "a/b", "a/+", "#" };
    struct hub_index *ix = hub_index_new(3);
    struct hub_cache *c = hub_cache_new(ix);
    struct hub_addr *a = hub_addr_new(2, NULL), *b = hub_addr_new(0, NULL);
    struct hub_match *m;

    for (size_t i = 0; i < 3; i++)
        CHECK_INT(hub_index_add(ix, bt_slice_of(filters[i]), a, &opts[i]), 0);
    CHECK_INT(hub_index_add(ix, bt_slice_of("a/b"), b, &plain), 0);
    m = hub_cache_lookup(c, bt_slice_of("a/b"));
    CHECK_INT(m->n_targets, 2);
    CHECK(m->targets[0].addr == b && m->targets[1].addr == a);
    CHECK_INT(m->targets[1].qos, 2);
    CHECK_INT(m->targets[1].flags, HUB_SUB_RETAIN_AS_PUBLISHED);
    CHECK_INT(m->targets[1].n_subids, 3);
    CHECK_INT(m->targets[1].subids[0] + m->targets[1].subids[1] + m->targets[1].subids[2],
              opts[0].subid + opts[1].subid + opts[2].subid);
    CHECK_INT(m->first[0], 0);
    CHECK_INT(m->first[1], 1);
    CHECK_INT(m->first[2], 1);
    CHECK_INT(m->first[3], 2);
    CHECK_INT(hub_index_add(ix, bt_slice_of("a/b"), b, &opts[0]), HUB_INDEX_REPLACED);
    m = hub_cache_lookup(c, bt_slice_of("a/b"));
    CHECK_INT(m->targets[0].qos, 0);
    CHECK_INT(hub_index_size(ix), 4);
    CHECK(!hub_index_remove(ix, bt_slice_of("a/c"), a));
    CHECK(!hub_index_remove(ix, bt_slice_of("a/+"), b));
    hub_cache_free(c);
    hub_index_free(ix);
    CHECK_INT(atomic_load(&a->refs), 1);
    hub_addr_unref(a);
    hub_addr_unref(b);
}

TEST(shared_groups)
{
    struct hub_index *ix = hub_index_new(1);
    struct hub_cache *c = hub_cache_new(ix);
    struct hub_addr *a = hub_addr_new(0, NULL), *b = hub_addr_new(0, NULL);
    struct hub_match *m;

    CHECK_INT(hub_index_add(ix, bt_slice_of("$share/g/t"), a, &plain), 0);
    CHECK_INT(hub_index_add(ix, bt_slice_of("$share/g/t"), b, &plain), 0);
    CHECK_INT(hub_index_add(ix, bt_slice_of("$share/h/t"), a, &plain), 0);
    CHECK_INT(hub_index_add(ix, bt_slice_of("t"), a, &plain), 0);
    CHECK_INT(hub_index_add(ix, bt_slice_of("$share/g/t"), a, &plain),
              HUB_INDEX_REPLACED);
    m = hub_cache_lookup(c, bt_slice_of("t"));
    CHECK_INT(m->n_targets, 1);
    CHECK_INT(m->n_groups, 2);
    CHECK_INT(m->groups[0].n + m->groups[1].n, 3);
    CHECK(hub_index_remove(ix, bt_slice_of("$share/g/t"), a));
    CHECK(hub_index_remove(ix, bt_slice_of("$share/g/t"), b));
    m = hub_cache_lookup(c, bt_slice_of("t"));
    CHECK_INT(m->n_groups, 1);
    CHECK_INT(m->groups[0].n, 1);
    hub_cache_free(c);
    hub_index_free(ix);
    CHECK_INT(atomic_load(&a->refs), 1);
    hub_addr_unref(a);
    hub_addr_unref(b);
}

/* Random filters and topics against bt_mqtt_match, with removals. */
TEST(same_answers_as_matching_one_by_one)
{
    static const char *const parts[] = { "a", "b", "", "+", "#", "$x" };
    enum { N = 200 };
    struct hub_index *ix = hub_index_new(4);
    struct hub_cache *c = hub_cache_new(ix);
    char filters[N][32], topic[32];
    struct hub_addr *addrs[N];

    for (size_t i = 0; i < N; i++) {
        size_t levels = 1 + test_random() % 4, len = 0;

        for (size_t k = 0; k < levels; k++) {
            const char *p = parts[test_random() % (k + 1 == levels ? 6 : 4)];

            len += (size_t)snprintf(filters[i] + len, 32 - len, k ? "/%s" : "%s", p);
        }
        if (filters[i][0] == '\0')
            strcpy(filters[i], "a");
        addrs[i] = hub_addr_new((uint32_t)(i % 4), NULL);
        CHECK_INT(hub_index_add(ix, bt_slice_of(filters[i]), addrs[i], &plain), 0);
    }
    for (size_t round = 0; round < 2000; round++) {
        size_t levels = 1 + test_random() % 4, len = 0, want = 0, last = N - round / 11;
        struct hub_match *m;

        for (size_t k = 0; k < levels; k++) {
            const char *p = parts[(size_t[]){ 0, 1, 2, 5 }[test_random() % 4]];

            len += (size_t)snprintf(topic + len, 32 - len, k ? "/%s" : "%s", p);
        }
        if (topic[0] == '\0')
            strcpy(topic, "b");
        for (size_t i = 0; i < last; i++)
            want += bt_mqtt_match(bt_slice_of(filters[i]), bt_slice_of(topic));
        m = hub_cache_lookup(c, bt_slice_of(topic));
        if (m->n_targets != want)
            printf("topic %s\n", topic);
        CHECK_INT(m->n_targets, want);
        if (round % 11 == 10)
            CHECK(hub_index_remove(ix, bt_slice_of(filters[last - 1]), addrs[last - 1]));
    }
    hub_cache_free(c);
    hub_index_free(ix);
    for (size_t i = 0; i < N; i++)
        hub_addr_unref(addrs[i]);
}

TEST(many_subscribers_of_one_filter)
{
    enum { N = 300 };
    struct hub_index *ix = hub_index_new(1);
    struct hub_cache *c = hub_cache_new(ix);
    struct hub_addr *a[N];

    for (size_t i = 0; i < N; i++) {
        a[i] = hub_addr_new(0, NULL);
        CHECK_INT(hub_index_add(ix, bt_slice_of("x"), a[i], &plain), 0);
        CHECK_INT(hub_cache_lookup(c, bt_slice_of("x"))->n_targets, i + 1);
    }
    for (size_t i = 0; i < N; i++) {
        CHECK(hub_index_remove(ix, bt_slice_of("x"), a[i]));
        CHECK_INT(hub_cache_lookup(c, bt_slice_of("x"))->n_targets, N - 1 - i);
        hub_addr_unref(a[i]);
    }
    hub_cache_free(c);
    hub_index_free(ix);
}

TEST(cache_is_bounded_and_right)
{
    struct hub_index *ix = hub_index_new(1);
    struct hub_cache *c = hub_cache_new(ix);
    struct hub_addr *a = hub_addr_new(0, NULL);
    char topic[32];

    CHECK_INT(c->mask + 1, 128);
    CHECK_INT(hub_index_add(ix, bt_slice_of("t/77"), a, &plain), 0);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(topic, sizeof(topic), "t/%u", i % 9000);
        CHECK_INT(hub_cache_lookup(c, bt_slice_of(topic))->n_targets, i % 9000 == 77);
    }
    CHECK_INT(c->n, HUB_CACHE_SLOTS);
    CHECK_INT(c->mask + 1, HUB_CACHE_SLOTS * 2);
    hub_cache_free(c);
    hub_index_free(ix);
    hub_addr_unref(a);
}

TEST(cache_bytes_are_bounded)
{
    enum { N = 64, LONG = 60000 };
    struct hub_index *ix = hub_index_new(1);
    struct hub_cache *c = hub_cache_new(ix);
    uint8_t *topic = malloc(LONG);

    memset(topic, 'x', LONG);
    for (uint32_t i = 0; i < 600; i++) {
        memcpy(topic, &i, sizeof(i));
        CHECK(hub_cache_lookup(c, (struct bt_slice){ topic, LONG }) != NULL);
        CHECK(c->bytes <= CACHE_MAX_BYTES);
    }
    free(topic);
    hub_cache_free(c);
    hub_index_free(ix);
}

/* Each allocation in turn fails: nothing leaks, nothing has changed, the next try works.
 */
TEST(no_memory)
{
    static const char *const filters[] = { "a/b/c/d", "$share/g/a/b", "a/b/c/d",
                                           "a/b/c/d" };
    struct hub_addr *a[3];

    for (size_t i = 0; i < 3; i++)
        a[i] = hub_addr_new(0, NULL);
    for (unsigned long nth = 1;; nth++) {
        struct hub_index *ix;
        struct hub_cache *c = NULL;
        bool failed = false;
        uint64_t size = 0;

        bt_mem_fail_from(nth);
        ix = hub_index_new(1);
        c = ix != NULL ? hub_cache_new(ix) : NULL;
        for (size_t i = 0; c != NULL && i < 4; i++) {
            size_t nodes = ix->trie.n;

            if (hub_index_add(ix, bt_slice_of(filters[i]), a[i % 3], &plain) >= 0)
                continue;
            failed = true;
            CHECK_INT(ix->trie.n, nodes);
        }
        if (c != NULL) {
            failed |= hub_cache_lookup(c, bt_slice_of("a/b/c/d")) == NULL;
            failed |= hub_cache_lookup(c, bt_slice_of("a/b")) == NULL;
            bt_mem_fail_from(0);
            size = hub_index_size(ix);
            CHECK(hub_cache_lookup(c, bt_slice_of("a/b/c/d")) != NULL);
            CHECK(size <= 4);
        }
        bt_mem_fail_from(0);
        hub_cache_free(c);
        hub_index_free(ix);
        for (size_t i = 0; i < 3; i++)
            CHECK_INT(atomic_load(&a[i]->refs), 1);
        if (c != NULL && !failed && nth > 20)
            break;
    }
    for (size_t i = 0; i < 3; i++)
        hub_addr_unref(a[i]);
}

struct crowd {
    struct hub_index *ix;
    _Atomic bool stop;
    _Atomic unsigned wrong;
};

static void *reader(void *arg)
{
    struct crowd *crowd = arg;
    struct hub_cache *c = hub_cache_new(crowd->ix);
    char topic[16];

    for (unsigned i = 0; !atomic_load(&crowd->stop); i++) {
        struct hub_match *m;

        snprintf(topic, sizeof(topic), "t/%u", i % 50);
        m = hub_cache_lookup(c, bt_slice_of(topic));
        /* "t/+" is always there; the literal and the shared one come and go. */
        if (m == NULL || m->n_targets < 1 || m->n_targets > 2)
            atomic_fetch_add(&crowd->wrong, 1);
    }
    hub_cache_free(c);
    return NULL;
}

TEST(readers_beside_a_writer)
{
    struct crowd crowd = { .ix = hub_index_new(4) };
    struct hub_addr *fixed = hub_addr_new(0, NULL), *moving;
    pthread_t threads[4];
    char filter[32];

    CHECK_INT(hub_index_add(crowd.ix, bt_slice_of("t/+"), fixed, &plain), 0);
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, reader, &crowd), 0);
    for (unsigned i = 0; i < 2000; i++) {
        moving = hub_addr_new(i % 4, NULL);
        snprintf(filter, sizeof(filter), i % 3 ? "t/%u" : "$share/g/t/%u", i % 50);
        CHECK_INT(hub_index_add(crowd.ix, bt_slice_of(filter), moving, &plain), 0);
        CHECK(hub_index_remove(crowd.ix, bt_slice_of(filter), moving));
        hub_addr_unref(moving);
    }
    atomic_store(&crowd.stop, true);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(atomic_load(&crowd.wrong), 0);
    hub_index_free(crowd.ix);
    CHECK_INT(atomic_load(&fixed->refs), 1);
    hub_addr_unref(fixed);
}
