/* Cycles of routes: the same verdict as the transitive closure of "feeds", in whatever
 * order the rules stand. */
#include "hub/conf_rules.c"

#include "tests/harness.h"

#define MAX 7

static const char *const sources[] = { "a",   "b",   "a/b", "a/c", "+",     "+/b",
                                       "a/+", "a/#", "#",   "b/#", "+/+/#", "b/c" };
static const char *const targets[] = { "a", "b", "a/b", "a/c", "b/c", "a/b/c", "d" };

struct rules {
    struct hub_rule_conf r[MAX];
    size_t n;
};

static void make(struct rules *out)
{
    out->n = 1 + (size_t)(test_random() % MAX);
    for (size_t i = 0; i < out->n; i++) {
        const char *s = sources[test_random() % BT_ARRAY_LEN(sources)];
        const char *t = targets[test_random() % BT_ARRAY_LEN(targets)];

        out->r[i] = (struct hub_rule_conf){ .source = { (char *)(uintptr_t)s, 0 },
                                            .target = { (char *)(uintptr_t)t, 0 } };
    }
}

static bool oracle(const struct rules *r)
{
    bool to[MAX][MAX];

    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->n; k++)
            to[i][k] = feeds(&r->r[i], &r->r[k]);
    for (size_t m = 0; m < r->n; m++)
        for (size_t i = 0; i < r->n; i++)
            for (size_t k = 0; k < r->n; k++)
                to[i][k] |= to[i][m] && to[m][k];
    for (size_t i = 0; i < r->n; i++)
        if (to[i][i])
            return true;
    return false;
}

static bool refused(struct rules *r, const char *why)
{
    struct hub_conf conf = { .rules = { r->r, r->n } };
    struct bt_conf_ctx *ctx = bt_conf_new();
    bool found;

    hub_conf_check_rules(ctx, &conf);
    found = strstr(bt_conf_messages(ctx), why) != NULL;
    bt_conf_free(ctx);
    return found;
}

static void shuffle(struct rules *r)
{
    for (size_t i = r->n; i > 1; i--) {
        size_t k = (size_t)(test_random() % i);
        struct hub_rule_conf swap = r->r[i - 1];

        r->r[i - 1] = r->r[k];
        r->r[k] = swap;
    }
}

TEST(cycles_are_the_closure_s_in_any_order)
{
    size_t n_cycles = 0, rounds = 4000;

    for (size_t i = 0; i < rounds; i++) {
        struct rules r;
        bool want;

        make(&r);
        want = oracle(&r);
        n_cycles += want;
        for (int k = 0; k < 4; k++) {
            CHECK_INT(refused(&r, "found cycle in source and target config"), want);
            shuffle(&r);
        }
    }
    CHECK(n_cycles > rounds / 10 && n_cycles < rounds * 9 / 10);
}

TEST(the_same_file_names_the_same_rule)
{
    static const char yaml[] = "subscriptions:\n"
                               "- {source: {topic: c}, target: {topic: a}}\n"
                               "- {source: {topic: 'a/#'}, target: {topic: b}}\n"
                               "- {source: {topic: b}, target: {topic: c}}\n"
                               "- {source: {topic: x}, target: {topic: x}}\n";
    char first[512] = "";

    for (int i = 0; i < 20; i++) {
        struct bt_conf_ctx *ctx = bt_conf_new();
        struct hub_conf conf;

        CHECK(bt_conf_load_text(ctx, "hub.yml", yaml, strlen(yaml), &hub_conf_table,
                                &conf) != 0);
        if (i == 0)
            (void)snprintf(first, sizeof(first), "%s", bt_conf_messages(ctx));
        CHECK_STR(bt_conf_messages(ctx), first);
        bt_conf_free(ctx);
    }
    CHECK(strstr(first, "hub.yml:") == first);
}
