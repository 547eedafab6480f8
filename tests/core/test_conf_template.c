/* {{.NAME}}: what is replaced, what is left, and where positions point afterwards. */
#include "core/conf_template.c"

#include <stdio.h>

#include "tests/harness.h"

static char problems[1024];

static const char *lookup(void *arg, const char *name)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        { "A", "x" },         { "LONG", "a long value" }, { "EMPTY", "" },
        { "EQ", "a=b=c" },    { "TWO", "1\n2" },          { "_N1", "under" },
        { "SELF", "{{.A}}" }, { "UTF", "\xc3\xa4" },
    };

    (void)arg;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].value;
    }
    return NULL;
}

static void report(void *arg, struct bt_yaml_pos pos, const char *text)
{
    size_t n = strlen(problems);

    (void)arg;
    snprintf(problems + n, sizeof(problems) - n, "%u:%u %s\n", pos.line, pos.column,
             text);
}

static int expand(const char *text, struct bt_buf *out, struct bt_conf_patches *patches)
{
    struct bt_slice all = { (const uint8_t *)text, strlen(text) };

    problems[0] = '\0';
    return bt_conf_expand(all, lookup, report, NULL, out, patches);
}

TEST(replaces_each_occurrence)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "" },
        { "k: v", "k: v" },
        { "k: {{.A}}", "k: x" },
        { "{{.A}}{{.A}}", "xx" },
        { "k: '{{.EQ}}'", "k: 'a=b=c'" },
        { "[{{ .A }},{{.EMPTY}}]", "[x,]" },
        { "{{._N1}}", "under" },
        { "{{.SELF}}", "{{.A}}" },
        { "{{.TWO}}\n{{.A}}", "1\n2\nx" },
        { "a: {b: {{.A}}}", "a: {b: x}" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_buf out = { 0 };
        struct bt_conf_patches patches = { 0 };

        CHECK_INT(expand(rows[i].text, &out, &patches), 0);
        CHECK_INT(bt_buf_append_u8(&out, 0), 0);
        CHECK_STR((const char *)out.data, rows[i].want);
        bt_buf_deinit(&out);
        bt_conf_patches_deinit(&patches);
    }
}

TEST(leaves_what_is_not_ours)
{
    static const char *const texts[] = {
        "{",           "{{",        "{{.",           "{{.}}",         "{{.A}",
        "{{.A",        "{{A}}",     "{{.1A}}",       "{{.Time.Now}}", "{{.Rand.Intn 10}}",
        "{a: {b: 1}}", "# {{.NO}}", "  # {{.NO}}\n", "{{ . A}}",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        struct bt_buf out = { 0 };
        struct bt_conf_patches patches = { 0 };

        CHECK_INT(expand(texts[i], &out, &patches), 0);
        CHECK_INT(bt_buf_append_u8(&out, 0), 0);
        CHECK_STR((const char *)out.data, texts[i]);
        CHECK_INT(patches.n, 0);
        bt_buf_deinit(&out);
        bt_conf_patches_deinit(&patches);
    }
}

TEST(unknown_names_are_all_reported)
{
    struct bt_buf out = { 0 };
    struct bt_conf_patches patches = { 0 };

    CHECK_INT(expand("a: {{.LONG}} {{.NO}}\n\xc3\xa4: {{.NEITHER}}\n", &out, &patches),
              BT_ECONF);
    CHECK_STR(problems, "1:14 environment variable NO is not set\n"
                        "2:4 environment variable NEITHER is not set\n");
    bt_buf_deinit(&out);
    bt_conf_patches_deinit(&patches);
}

TEST(positions_point_into_the_file)
{
    static const struct {
        struct bt_yaml_pos at, want;
    } rows[] = {
        { { 1, 1, 0 }, { 1, 1, 0 } },   /* before everything */
        { { 1, 4, 0 }, { 1, 4, 0 } },   /* the start of a value */
        { { 1, 9, 0 }, { 1, 4, 0 } },   /* inside of a value */
        { { 1, 16, 0 }, { 1, 13, 0 } }, /* behind it: a long value for a shorter name */
        { { 1, 19, 0 }, { 1, 16, 0 } }, /* the start of the second */
        { { 1, 20, 0 }, { 1, 22, 0 } }, /* behind it */
        { { 2, 3, 0 }, { 2, 3, 0 } },   /* a line without any */
        { { 3, 1, 0 }, { 3, 1, 0 } },   /* a value of two lines */
        { { 4, 1, 0 }, { 3, 1, 0 } },
        { { 4, 2, 0 }, { 3, 9, 0 } }, /* behind it, on its last line */
        { { 5, 4, 0 }, { 4, 4, 0 } }, /* the line below */
    };
    struct bt_buf out = { 0 };
    struct bt_conf_patches patches = { 0 };

    CHECK_INT(expand("a: {{.LONG}} b:{{.A}}\nc: d\n{{.TWO}} e\nf: g\n", &out, &patches),
              0);
    CHECK_INT(patches.n, 3);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_yaml_pos got = bt_conf_origin(&patches, rows[i].at);

        printf("%u:%u\n", rows[i].at.line, rows[i].at.column);
        CHECK_INT(got.line, rows[i].want.line);
        CHECK_INT(got.column, rows[i].want.column);
    }
    bt_buf_deinit(&out);
    bt_conf_patches_deinit(&patches);
}

TEST(the_result_is_bounded)
{
    struct bt_buf out = { .max = 16 };
    struct bt_conf_patches patches = { 0 };

    CHECK_INT(expand("{{.LONG}}{{.LONG}}", &out, &patches), BT_ELIMIT);
    bt_buf_deinit(&out);
    bt_conf_patches_deinit(&patches);
}
