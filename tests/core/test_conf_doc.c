/* Tables written out: YAML that reads back, Markdown. */
#include "core/conf_doc.c"

#include "core/mem.h"
#include "tests/harness.h"

struct item {
    char *name;
    bool on;
};
struct sample {
    uint32_t count, old, mode;
    uint64_t size;
    int64_t time;
    char *text, *secret;
    struct bt_conf_strings list;
    struct bt_conf_list items;
    struct item one;
};

static const char *const modes[] = { "full", "memory", NULL };
static const struct bt_conf_row item_rows[] = {
    BT_CONF_ROW(struct item, "name", STRING, name, NULL, "N.", .match = "^(a|b.*)?$"),
    BT_CONF_ROW(struct item, "is.on", BOOL, on, "false", "O."),
};
static const struct bt_conf_table item_table = {
    "item", "I.", sizeof(struct item), item_rows, BT_ARRAY_LEN(item_rows), NULL,
};
static const struct bt_conf_row name_rows[] = {
    BT_CONF_ROW(struct item, "name", STRING, name, NULL, "N."),
};
static const struct bt_conf_table name_table = {
    "name", "I.", sizeof(struct item), name_rows, BT_ARRAY_LEN(name_rows), NULL,
};
static const struct bt_conf_row rows[] = {
    BT_CONF_ROW(struct sample, "m.count", U32, count, "10", "C.", .min = 1, .max = 99,
                .flags = BT_CONF_RELOAD),
    BT_CONF_ROW(struct sample, "time", MS, time, "20s", "T.", .max = 3600000),
    BT_CONF_ROW(struct sample, "m.size", BYTES, size, "32k", "S."),
    BT_CONF_ROW(struct sample, "was.old", U32, old, "1", "O.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct sample, "mode", ENUM, mode, "memory", "M.", .choices = modes),
    BT_CONF_ROW(struct sample, "text", STRING, text, NULL, "A | b.", .max = 99),
    BT_CONF_ROW(struct sample, "secret", STRING, secret, NULL, "S.",
                .flags = BT_CONF_SECRET),
    BT_CONF_ROW(struct sample, "list", STRINGS, list, "[]", "L."),
    BT_CONF_ROW(struct sample, "items", LIST, items, NULL, "I.", .sub = &item_table),
    BT_CONF_SECTION_ROW(struct sample, "one", one, &name_table, "O."),
};
static const struct bt_conf_table table = {
    "sample", "What it is.", sizeof(struct sample), rows, BT_ARRAY_LEN(rows), NULL,
};

static char *print(const char *text)
{
    struct bt_conf_ctx *ctx = bt_conf_new();
    struct bt_buf out = { 0 };
    struct sample s;
    char *result;

    CHECK(ctx != NULL);
    CHECK_INT(bt_conf_load_text(ctx, "f", text, strlen(text), &table, &s), 0);
    CHECK_INT(bt_conf_print(&table, &s, &out), 0);
    bt_conf_free(ctx);
    result = bt_buf_steal_str(&out);
    CHECK(result != NULL);
    return result;
}

TEST(defaults_print)
{
    char *text = print("");

    CHECK_STR(text, "m:\n  count: 10\n  size: 32k\ntime: 20s\nmode: memory\nlist: []\n"
                    "items: []\none: {}\n");
    bt_free(text);
}

TEST(values_print_without_secrets_and_read_back)
{
    char *text =
        print("text: \"a\\\"\\e\\n\xc3\xa4: b\"\nsecret: hush\n"
              "list: ['yes', '1', '~', '', a/b, 'null', ' x']\n"
              "items: [{}, {name: b}, {is.on: yes}]\none.name: '#'\ntime: 90s\n");
    char *again = print(text);

    CHECK_STR(text,
              "m:\n  count: 10\n  size: 32k\ntime: 1m30s\nmode: memory\n"
              "text: \"a\\\"\\u001b\\u000a\xc3\xa4: b\"\nsecret: '***'\n"
              "list: [\"yes\", \"1\", \"~\", \"\", a/b, \"null\", \" x\"]\n"
              "items:\n  - is:\n      on: false\n  - name: b\n    is:\n      on: false\n"
              "  - is:\n      on: true\none:\n  name: \"#\"\n");
    CHECK_STR(again, text);
    bt_free(text);
    bt_free(again);
}

TEST(characters_that_yaml_would_change_are_escaped)
{
    char *text = print("text: \"\\x9b\\N\\L\\P\\ufeff\\uffffx\"\n");
    char *again = print(text);

    CHECK(strstr(text, "text: \"\\u009b\\u0085\\u2028\\u2029\\ufeff\\uffffx\"\n") !=
          NULL);
    CHECK_STR(again, text);
    bt_free(text);
    bt_free(again);
}

TEST(a_value_and_keys_below_it)
{
    static const struct bt_conf_row delay_rows[] = {
        BT_CONF_ROW(struct sample, "a.time", MS, time, "1s", "T."),
        BT_CONF_ROW(struct sample, "a.time.max", U32, count, "5", "M."),
        BT_CONF_ROW(struct sample, "a.time.min", U32, old, "4", "M."),
    };
    static const struct bt_conf_table delays = { "d",        "D.", sizeof(struct sample),
                                                 delay_rows, 3,    NULL };
    struct bt_conf_ctx *ctx = bt_conf_new();
    struct bt_buf out = { 0 };
    struct sample s;

    CHECK_INT(bt_conf_defaults(ctx, &delays, &s), 0);
    CHECK_INT(bt_conf_print(&delays, &s, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK_STR((char *)out.data, "a:\n  time: 1s\n  time.max: 5\n  time.min: 4\n");
    CHECK_INT(bt_conf_load_text(ctx, "f", (char *)out.data, out.len - 1, &delays, &s), 0);
    CHECK_INT(s.count, 5);
    bt_buf_deinit(&out);
    bt_conf_free(ctx);
}

TEST(an_item_without_values_is_still_an_item)
{
    static const struct bt_conf_row list_rows[] = {
        BT_CONF_ROW(struct sample, "items", LIST, items, NULL, "I.", .sub = &name_table),
    };
    static const struct bt_conf_table list = {
        "list", "L.", sizeof(struct sample), list_rows, 1, NULL,
    };
    struct item items[2] = { { .name = NULL }, { .name = NULL } };
    struct sample s = { .items = { items, 2 } };
    struct bt_buf out = { 0 };

    CHECK_INT(bt_conf_print(&list, &s, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK_STR((const char *)out.data, "items:\n  - {}\n  - {}\n");
    bt_buf_deinit(&out);
}

TEST(markdown)
{
    struct bt_buf out = { 0 };

    CHECK_INT(bt_conf_markdown(&table, &out), 0);
    CHECK_INT(bt_buf_append_u8(&out, 0), 0);
    CHECK_STR(
        (const char *)out.data,
        "## sample\n\nWhat it is.\n\n| key | value | default | meaning |\n"
        "|---|---|---|---|\n"
        "| `m.count` | number, 1 to 99 | `10` | C. Taken over by a reload. |\n"
        "| `time` | duration, 0s to 1h | `20s` | T. |\n"
        "| `m.size` | size | `32k` | S. |\n"
        "| `was.old` | number | `1` | O. Accepted for compatibility; has no effect. |\n"
        "| `mode` | one of `full`, `memory` | `memory` | M. |\n"
        "| `text` | text, at most 99 bytes |  | A \\| b. |\n"
        "| `secret` | text |  | S. Never printed. |\n"
        "| `list` | list of texts | `[]` | L. |\n"
        "| `items` | list of mappings |  | I. |\n"
        "| `items[].name` | text, matches `^(a\\|b.*)?$` |  | N. |\n"
        "| `items[].is.on` | true or false | `false` | O. |\n"
        "| `one.name` | text |  | N. |\n");
    bt_buf_deinit(&out);
}

TEST(a_full_buffer_is_told)
{
    for (size_t max = 1; max < 400; max += 7) {
        struct bt_buf out = { .max = max };

        CHECK_INT(bt_conf_markdown(&table, &out), BT_ELIMIT);
        bt_buf_deinit(&out);
    }
}
