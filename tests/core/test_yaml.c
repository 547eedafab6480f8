/* The tree, its positions, and its bounds. */
#include "core/yaml.c"

#include "tests/harness.h"

static char problems[2048];

static void report(void *arg, struct bt_yaml_pos pos, const char *text)
{
    size_t n = strlen(problems);

    (void)arg;
    snprintf(problems + n, sizeof(problems) - n, "%u:%u %s\n", pos.line, pos.column,
             text);
}

static int parse(const char *text, struct bt_yaml **out)
{
    problems[0] = '\0';
    *out = NULL;
    return bt_yaml_parse(text, strlen(text), report, NULL, out);
}

TEST(a_tree_with_positions)
{
    struct bt_yaml *doc;
    struct bt_yaml_node *root, *list;

    CHECK_INT(parse("a: 1\nb:\n  - x\n  - 'y z'\n\xc3\xa4: {c: null}\n", &doc), 0);
    root = bt_yaml_root(doc);
    CHECK_INT(root->kind, BT_YAML_MAP);
    CHECK_INT(root->n, 3);
    CHECK_STR(bt_yaml_get(root, "a")->text, "1");
    CHECK_INT(bt_yaml_get(root, "a")->pos.column, 4);
    list = bt_yaml_get(root, "b");
    CHECK_INT(list->kind, BT_YAML_LIST);
    CHECK_INT(list->n, 2);
    CHECK_INT(list->last->pos.line, 4);
    CHECK_INT(list->last->pos.column, 5);
    CHECK(!list->last->plain);
    CHECK(list->first->plain);
    list = bt_yaml_get(root, "\xc3\xa4");
    CHECK_INT(list->key_pos.line, 5);
    CHECK_INT(list->pos.column, 4);
    CHECK(bt_yaml_is_null(bt_yaml_get(list, "c")));
    CHECK(bt_yaml_get(root, "d") == NULL);
    CHECK(bt_yaml_get(NULL, "d") == NULL);
    bt_yaml_free(doc);
}

TEST(nulls_and_empty_documents)
{
    static const char *const empty[] = { "", "\n\n", "# only a comment\n", "---\n" };
    struct bt_yaml *doc;

    for (size_t i = 0; i < BT_ARRAY_LEN(empty); i++) {
        CHECK_INT(parse(empty[i], &doc), 0);
        CHECK(bt_yaml_is_null(bt_yaml_root(doc)));
        bt_yaml_free(doc);
    }
    CHECK_INT(parse("[~, null, '', \"null\", no]", &doc), 0);
    CHECK(bt_yaml_is_null(bt_yaml_root(doc)->first));
    CHECK(bt_yaml_is_null(bt_yaml_root(doc)->first->next));
    CHECK(!bt_yaml_is_null(bt_yaml_root(doc)->first->next->next));
    CHECK(!bt_yaml_is_null(bt_yaml_root(doc)->last));
    bt_yaml_free(doc);
}

TEST(aliases_and_merges)
{
    struct bt_yaml *doc;
    struct bt_yaml_node *m;

    CHECK_INT(parse("base: &b {x: 1, y: [2]}\nm:\n  <<: *b\n  z: 3\nl: [*b, *b]\n", &doc),
              0);
    m = bt_yaml_get(bt_yaml_root(doc), "m");
    CHECK_INT(m->n, 3);
    CHECK_STR(bt_yaml_get(m, "x")->text, "1");
    CHECK_STR(bt_yaml_get(m, "y")->first->text, "2");
    CHECK_INT(bt_yaml_get(bt_yaml_root(doc), "l")->n, 2);
    bt_yaml_free(doc);
}

TEST(wrong_documents_are_reported_at_their_place)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "a: 1\nb: 2\na: 3\nb: 4\n", "3:1 key \"a\" was given before, on line 1\n"
                                      "4:1 key \"b\" was given before, on line 2\n" },
        { "a: 1\n---\nb: 2\n", "2:1 only one document may be here\n" },
        { "? [a]\n: b\n", "1:3 a key must be a plain text\n" },
        { "a: *b\n", "1:4 an alias without its anchor\n" },
        { "a: &x [*x]\n", "1:8 an alias inside of its anchor\n" },
        { "a: \"b\\0c\"\n", "1:4 a text with a NUL in it\n" },
        { "m:\n  <<: *s\n", "2:7 an alias without its anchor\n" },
        { "s: &s 1\nm: {<<: *s}\n", "1:4 only a mapping can be merged\n" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_yaml *doc;

        CHECK_INT(parse(rows[i].text, &doc), BT_ECONF);
        CHECK_STR(problems, rows[i].want);
        CHECK(doc == NULL);
    }
}

TEST(text_that_is_no_yaml)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "a: [1, 2\nb: 3\n", "1:4 not valid YAML: the list that begins with [" },
        { "a: {b: 1\nc: 3\n", "1:4 not valid YAML: the mapping that begins with {" },
        { "a: 1\n b: 2\n", "2:3 not valid YAML: a \": \" in a text" },
        { "a: 'x\n", "1:4 not valid YAML: the quote that begins here" },
        { "a: \"\\d\"\n", "1:5 not valid YAML: a backslash in double quotes" },
        { "\tb: 1\n", "1:1 not valid YAML: a tab cannot indent" },
        { "a:\n  b: 1\n\tc: 1\n", "3:1 not valid YAML: a tab cannot indent" },
        { "a:\n  - b: 1\n   c: 1\n", "3:4 not valid YAML: the indentation does not fit" },
        { "a:\n  b: 1\n - c\n", "3:2 not valid YAML: expected \"key: value\"" },
        { "a: *\n", "1:4 not valid YAML: a text that begins with *" },
        { "a: @b\n", "1:4 not valid YAML: a text that begins with @" },
        { "a: [#]\n", "2:1 not valid YAML: a value is missing" },
        { "a: 1\nb\nc: 2\n", "2:1 not valid YAML: this line has no \": \"" },
        { "a: b\nc: \xff\n", "2:4 the file is not UTF-8 text: " },
        { "a: \x01\n", "1:4 the file is not UTF-8 text: " },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_yaml *doc;

        CHECK_INT(parse(rows[i].text, &doc), BT_ECONF);
        printf("%s", problems);
        CHECK(strncmp(problems, rows[i].says, strlen(rows[i].says)) == 0);
    }
}

TEST(bounds)
{
    static char text[40000];
    struct bt_yaml *doc;
    size_t n;

    memset(text, '[', BT_YAML_MAX_DEPTH + 1);
    text[BT_YAML_MAX_DEPTH + 1] = '\0';
    CHECK_INT(parse(text, &doc), BT_ECONF);
    CHECK(strstr(problems, "nested too deep") != NULL);

    memset(text, '[', BT_YAML_MAX_DEPTH);
    memset(text + BT_YAML_MAX_DEPTH, ']', BT_YAML_MAX_DEPTH);
    text[2 * BT_YAML_MAX_DEPTH] = '\0';
    CHECK_INT(parse(text, &doc), 0);
    bt_yaml_free(doc);

    n = 0;
    for (unsigned i = 0; i <= BT_YAML_MAX_KEYS; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "k%u: 1\n", i);
    CHECK_INT(parse(text, &doc), BT_ECONF);
    CHECK_STR(problems, "1025:1 too many keys in one mapping\n");
}

TEST(a_small_text_cannot_stand_for_a_huge_tree)
{
    static char text[4000];
    struct bt_yaml *doc;
    size_t n = (size_t)snprintf(text, sizeof(text), "a0: &a0 [x]\n");

    for (int i = 1; i < 20; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
                              i - 1, i - 1, i - 1, i - 1);
    CHECK_INT(parse(text, &doc), BT_ECONF);
    CHECK(strstr(problems, "too many values in one file") != NULL);
}

TEST(taking_and_putting)
{
    struct bt_yaml *doc;
    struct bt_yaml_node *root, *map, *b;

    CHECK_INT(parse("a: 1\nb: 2\nc: 3\n", &doc), 0);
    root = bt_yaml_root(doc);
    b = bt_yaml_take(root, "c");
    CHECK_STR(root->last->key, "b");
    b = bt_yaml_take(root, "b");
    CHECK_INT(root->n, 1);
    CHECK(bt_yaml_take(root, "b") == NULL);
    map = bt_yaml_new_map(doc, root->pos);
    CHECK(map != NULL);
    CHECK_INT(bt_yaml_put(doc, map, "x", b), 0);
    CHECK_INT(bt_yaml_put(doc, map, "in", root), 0);
    bt_yaml_set_root(doc, map);
    CHECK_STR(bt_yaml_get(bt_yaml_root(doc), "x")->text, "2");
    CHECK(bt_yaml_take(root, "a") != NULL);
    CHECK(root->first == NULL && root->last == NULL);
    bt_yaml_free(doc);
}

TEST(every_allocation_may_fail)
{
    static const char text[] = "a: &a {b: [1, 2], c: x}\nd: *a\ne: {<<: *a}\n";

    for (unsigned long n = 1;; n++) {
        struct bt_yaml *doc = NULL;
        int r;

        bt_mem_fail_from(n);
        r = bt_yaml_parse(text, sizeof(text) - 1, report, NULL, &doc);
        bt_mem_fail_from(0);
        if (r == 0) {
            bt_yaml_free(doc);
            CHECK(n > 20);
            return;
        }
        CHECK_INT(r, BT_ENOMEM);
    }
}
