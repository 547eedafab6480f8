#include "core/conf_diff.c"

#include "tests/harness.h"

struct item {
    char *name;
    struct bt_conf_strings words;
};
struct inner {
    bool on;
};
struct outer {
    uint32_t n, ignored;
    uint64_t bytes;
    int64_t ms;
    char *text;
    struct bt_conf_list items;
    struct inner inner;
};

static const struct bt_conf_row item_rows[] = {
    BT_CONF_ROW(struct item, "name", STRING, name, NULL, ""),
    BT_CONF_ROW(struct item, "words", STRINGS, words, NULL, ""),
};
static const struct bt_conf_table item_table = { .size = sizeof(struct item),
                                                 .rows = item_rows,
                                                 .n_rows = BT_ARRAY_LEN(item_rows) };
static const struct bt_conf_row inner_rows[] = {
    BT_CONF_ROW(struct inner, "on", BOOL, on, "false", ""),
};
static const struct bt_conf_table inner_table = { .size = sizeof(struct inner),
                                                  .rows = inner_rows,
                                                  .n_rows = BT_ARRAY_LEN(inner_rows) };
static const struct bt_conf_row rows[] = {
    BT_CONF_ROW(struct outer, "n", U32, n, "0", ""),
    BT_CONF_ROW(struct outer, "old", U32, ignored, "0", "", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct outer, "b.bytes", BYTES, bytes, "0", ""),
    BT_CONF_ROW(struct outer, "ms", MS, ms, "0", ""),
    BT_CONF_ROW(struct outer, "text", STRING, text, NULL, ""),
    BT_CONF_ROW(struct outer, "items", LIST, items, NULL, "", .sub = &item_table),
    BT_CONF_SECTION_ROW(struct outer, "inner", inner, &inner_table, ""),
};
static const struct bt_conf_table table = { .size = sizeof(struct outer),
                                            .rows = rows,
                                            .n_rows = BT_ARRAY_LEN(rows) };

static void note(void *arg, const char *key, const struct bt_conf_row *row)
{
    char *to = arg;

    (void)row;
    (void)snprintf(to + strlen(to), 200 - strlen(to), "%s ", key);
}

/* The keys that differ between two texts. */
static const char *changes(const char *a, const char *b)
{
    static char found[200];
    struct bt_conf_ctx *ca = bt_conf_new(), *cb = bt_conf_new();
    struct outer oa, ob;
    const struct bt_conf_diff d = { note, found };

    found[0] = '\0';
    CHECK_INT(bt_conf_load_text(ca, "a", a, strlen(a), &table, &oa), 0);
    CHECK_INT(bt_conf_load_text(cb, "b", b, strlen(b), &table, &ob), 0);
    bt_conf_each_change(&table, &oa, &ob, &d);
    CHECK(bt_conf_ref(ca) == ca);
    bt_conf_free(ca);
    bt_conf_free(ca);
    bt_conf_free(cb);
    return found;
}

TEST(each_kind)
{
    static const struct {
        const char *a, *b, *want;
    } tests[] = {
        { "{}", "{}", "" },
        { "n: 1", "n: 1", "" },
        { "n: 1", "n: 2", "n " },
        { "{}", "old: 2", "" },
        { "b: {bytes: 1k}", "b: {bytes: 1024}", "" },
        { "b: {bytes: 1k}", "b: {bytes: 2k}", "b.bytes " },
        { "ms: 1s", "ms: 2s", "ms " },
        { "text: a", "text: a", "" },
        { "text: a", "{}", "text " },
        { "inner: {on: true}", "{}", "inner.on " },
        { "items: [{name: a}]", "items: [{name: a}]", "" },
        { "items: [{name: a}]", "items: [{name: b}]", "items " },
        { "items: [{name: a}]", "items: [{name: a}, {name: b}]", "items " },
        { "items: [{words: [a, b]}]", "items: [{words: [a, b]}]", "" },
        { "items: [{words: [a, b]}]", "items: [{words: [b, a]}]", "items " },
        { "{n: 1, text: a}", "{n: 2, text: b}", "n text " },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(tests); i++)
        CHECK_STR(changes(tests[i].a, tests[i].b), tests[i].want);
}
