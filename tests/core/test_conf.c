/* Tables applied to texts: every kind, every message with its place, defaults, dotted
 * keys. */
#include "core/conf.c"
#include "core/conf_fill.c"

#include "tests/harness.h"

struct end {
    char *topic;
    uint32_t qos;
};
struct item {
    char *name, *secret;
    struct bt_conf_strings permit;
    struct end source;
};
struct sample {
    bool on;
    uint32_t count, mode;
    uint64_t size;
    int64_t time, keepalive;
    char *text, *word, *old;
    struct bt_conf_strings list;
    struct bt_conf_list items;
    struct end end;
};

static const char *const modes[] = { "full", "memory", NULL };
static const struct bt_conf_row end_rows[] = {
    BT_CONF_ROW(struct end, "topic", STRING, topic, NULL, "T.", .max = 8),
    BT_CONF_ROW(struct end, "qos", U32, qos, "0", "Q.", .max = 1),
};
static const struct bt_conf_table end_table = {
    "end", "E.", sizeof(struct end), end_rows, BT_ARRAY_LEN(end_rows), NULL,
};
static const struct bt_conf_row item_rows[] = {
    BT_CONF_ROW(struct item, "name", STRING, name, NULL, "N.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct item, "secret", STRING, secret, NULL, "S.", .match = "^[a-z]+$",
                .flags = BT_CONF_SECRET),
    BT_CONF_ROW(struct item, "permit", STRINGS, permit, NULL, "P."),
    BT_CONF_SECTION_ROW(struct item, "source", source, &end_table, "S."),
};

static void check_item(struct bt_conf_ctx *ctx, void *obj)
{
    const struct item *item = obj;

    if (strcmp(item->name, "bad") == 0)
        bt_conf_error_at(ctx, obj, "name", "this name is taken");
    if (item->source.qos == 1 && !bt_conf_given(ctx, &item->source, "topic"))
        bt_conf_warn_at(ctx, &item->source, "qos", "without a topic");
    if (strcmp(item->name, "list") == 0)
        bt_conf_error_at(ctx, obj, "permit[1].x", "no such thing");
    if (strcmp(item->name, "none") == 0)
        bt_conf_error_at(ctx, obj, "permit[1]", "no such thing");
    if (strcmp(item->name, "far") == 0)
        bt_conf_error_at(ctx, obj, NULL, "too far");
}

static const struct bt_conf_table item_table = {
    "item", "I.", sizeof(struct item), item_rows, BT_ARRAY_LEN(item_rows), check_item,
};
static const struct bt_conf_row rows[] = {
    BT_CONF_ROW(struct sample, "on", BOOL, on, "true", "O."),
    BT_CONF_ROW(struct sample, "message.count.max", U32, count, "10", "C.", .min = 1,
                .max = 100),
    BT_CONF_ROW(struct sample, "message.size", BYTES, size, "32k", "S.", .max = 1048576),
    BT_CONF_ROW(struct sample, "time", MS, time, "20s", "T.", .min = 1, .max = 3600000),
    BT_CONF_ROW(struct sample, "keepalive", MS, keepalive, "1m", "K.", .min = -1,
                .max = 3600000),
    BT_CONF_ROW(struct sample, "mode", ENUM, mode, "memory", "M.", .choices = modes),
    BT_CONF_ROW(struct sample, "text", STRING, text, NULL, "T.", .max = 5),
    BT_CONF_ROW(struct sample, "word", STRING, word, "abc", "W.",
                .match = "^(p|s)ub$|abc"),
    BT_CONF_ROW(struct sample, "old", STRING, old, NULL, "O.", .flags = BT_CONF_IGNORED),
    BT_CONF_ROW(struct sample, "list", STRINGS, list, "[a, b]", "L.", .max = 3),
    BT_CONF_ROW(struct sample, "items", LIST, items, NULL, "I.", .sub = &item_table,
                .max = 4),
    BT_CONF_SECTION_ROW(struct sample, "end", end, &end_table, "E."),
};
static const struct bt_conf_table table = {
    "sample", "S.", sizeof(struct sample), rows, BT_ARRAY_LEN(rows), NULL,
};

static struct bt_conf_ctx *ctx;
static struct sample s;

static int load(const char *text)
{
    bt_conf_free(ctx);
    ctx = bt_conf_new();
    CHECK(ctx != NULL);
    return bt_conf_load_text(ctx, "f", text, strlen(text), &table, &s);
}

static void done(void)
{
    bt_conf_free(ctx);
    ctx = NULL;
}

TEST(defaults)
{
    CHECK_INT(load(""), 0);
    CHECK(s.on);
    CHECK_INT(s.count, 10);
    CHECK_INT(s.size, 32768);
    CHECK_INT(s.time, 20000);
    CHECK_INT(s.mode, 1);
    CHECK(s.text == NULL);
    CHECK_STR(s.word, "abc");
    CHECK_INT(s.list.n, 2);
    CHECK_STR(s.list.items[1], "b");
    CHECK_INT(s.items.n, 0);
    CHECK_STR(bt_conf_messages(ctx), "");
    CHECK(!bt_conf_given(ctx, &s, "on"));
    memset(&s, 0xff, sizeof(s));
    CHECK_INT(bt_conf_defaults(ctx, &table, &s), 0);
    CHECK_INT(s.count, 10);
    CHECK(s.end.topic == NULL);
    done();
}

TEST(every_kind)
{
    CHECK_INT(load("on: no\n"
                   "message: {count: {max: 100}, size: 1m}\n"
                   "time: 1m30s\nkeepalive: -1\nmode: full\ntext: 'a: b'\nword: sub\n"
                   "list: one\n"
                   "items:\n"
                   "  - name: x\n    permit: ['#', a/+]\n    source: {topic: t, qos: 1}\n"
                   "  - {name: 12, secret: abc, permit: []}\n"
                   "end: {qos: 1}\nold: 7\n"),
              0);
    CHECK_STR(bt_conf_messages(ctx), "");
    CHECK(!s.on);
    CHECK_INT(s.count, 100);
    CHECK_INT(s.size, 1048576);
    CHECK_INT(s.time, 90000);
    CHECK_INT(s.keepalive, -1);
    CHECK_INT(s.mode, 0);
    CHECK_STR(s.text, "a: b");
    CHECK_INT(s.list.n, 1);
    CHECK_STR(s.list.items[0], "one");
    CHECK_INT(s.items.n, 2);
    CHECK_STR(((struct item *)s.items.items)[0].permit.items[1], "a/+");
    CHECK_STR(((struct item *)s.items.items)[0].source.topic, "t");
    CHECK_STR(((struct item *)s.items.items)[1].name, "12");
    CHECK_INT(s.end.qos, 1);
    CHECK(bt_conf_given(ctx, &s, "end"));
    CHECK(bt_conf_given(ctx, &s, "message.size"));
    CHECK(bt_conf_given(ctx, &s.end, "qos"));
    CHECK(!bt_conf_given(ctx, &s.end, "topic"));
    done();
}

TEST(an_explicit_zero_is_a_zero_and_null_is_absent)
{
    CHECK_INT(load("message.size: 0\ntext: ''\nlist: []\non: ~\ntime:\nend:\nmessage:\n"),
              0);
    CHECK_STR(bt_conf_messages(ctx), "");
    CHECK_INT(s.size, 0);
    CHECK_STR(s.text, "");
    CHECK_INT(s.list.n, 0);
    CHECK(s.on);
    CHECK_INT(s.time, 20000);
    done();
}

TEST(dots_may_be_written_in_any_way)
{
    static const char *const texts[] = {
        "message.count.max: 7\n",
        "message: {count: {max: 7}}\n",
        "message.count: {max: 7}\n",
        "message: {count.max: 7}\n",
        "message.size: 4k\nmessage: {count.max: 7}\n",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        CHECK_INT(load(texts[i]), 0);
        CHECK_STR(bt_conf_messages(ctx), "");
        CHECK_INT(s.count, 7);
    }
    CHECK_INT(load("end.topic: a\nend: {qos: 1}\n"), 0);
    CHECK_STR(s.end.topic, "a");
    CHECK_INT(s.end.qos, 1);
    CHECK_INT(load("message.count.max: 7\nmessage: {count.max: 8}\n"), BT_ECONF);
    CHECK_STR(bt_conf_messages(ctx),
              "f:2:11: error: key \"count.max\" was given before, on line 1\n");
    done();
}

TEST(every_message_has_its_place)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "on: 1\n", "f:1:5: error: on: expected true or false, found \"1\"\n" },
        { "on: [1]\n", "f:1:5: error: on: expected true or false, found a list\n" },
        { "message:\n  count:\n    max: 101\n",
          "f:3:10: error: message.count.max: expected a whole number from 1 to 100, "
          "found \"101\"\n" },
        { "message: {size: 1x}\n",
          "f:1:17: error: message.size: expected a size like 32k or 4m from 0 to 1m, "
          "found \"1x\"\n" },
        { "message.size: 2m\n",
          "f:1:15: error: message.size: expected a size like 32k or 4m from 0 to 1m, "
          "found \"2m\"\n" },
        { "time: 2h\n",
          "f:1:7: error: time: expected a duration like 20s or 1m30s from 1ms to 1h, "
          "found \"2h\"\n" },
        { "time: 20\n",
          "f:1:7: warning: time: 20 without a unit is nanoseconds; write 20s "
          "for seconds\n" },
        { "mode: slow\n",
          "f:1:7: error: mode: expected one of full, memory, found \"slow\"\n" },
        { "text: abcdef\n",
          "f:1:7: error: text: expected a text of at most 5 bytes, found \"abcdef\"\n" },
        { "text: {a: b}\n", "f:1:7: error: text: expected a text, found a mapping\n" },
        { "word: pux\n",
          "f:1:7: error: word: expected a text that matches ^(p|s)ub$|abc, "
          "found \"pux\"\n" },
        { "list: [a, [b]]\n", "f:1:11: error: list[1]: expected a list of texts, found a "
                              "list\n" },
        { "list: [a, ~]\n", "f:1:11: error: list[1]: expected a text, found nothing\n" },
        { "list: [a, b, c, d]\n", "f:1:7: error: list: expected at most 3 items, found a "
                                  "list\n" },
        { "items: {name: a}\n",
          "f:1:8: error: items: expected a list of mappings, found a mapping\n" },
        { "items: [a]\n", "f:1:9: error: items[0]: expected a mapping, found \"a\"\n" },
        { "items:\n  - permit: x\n",
          "f:2:5: error: items[0].name: required, but not given\n" },
        { "items: [{name: ''}]\n",
          "f:1:16: error: items[0].name: required, but empty\n" },
        { "items: [{name: a, secret: P4ss}]\n",
          "f:1:27: error: items[0].secret: expected a text that matches ^[a-z]+$, "
          "found another text\n" },
        { "items: [{name: a}, {name: b, source: {qos: 2}}]\n",
          "f:1:44: error: items[1].source.qos: expected a whole number from 0 to 1, "
          "found \"2\"\n" },
        { "items: [{name: bad}]\n",
          "f:1:10: error: items[0].name: this name is taken\n" },
        { "items: [{name: far}]\n", "f:1:9: error: items[0]: too far\n" },
        { "items: [{name: list, permit: [a, b]}]\n",
          "f:1:34: error: items[0].permit[1].x: no such thing\n" },
        { "items: [{name: none}]\n",
          "f:1:9: error: items[0].permit[1]: no such thing\n" },
        { "items: [{name: a, source: {qos: 1}}]\n",
          "f:1:28: warning: items[0].source.qos: without a topic\n" },
        { "end: 5\n", "f:1:6: error: end: expected a mapping, found \"5\"\n" },
        { "message: count:5\n",
          "f:1:10: error: message: expected a mapping, found "
          "\"count:5\"; a blank belongs behind the colon of a key\n" },
        { "message: 5\n", "f:1:10: error: message: expected a mapping, found \"5\"\n" },
        { "- a\n", "f:1:1: error: expected a mapping of keys to values\n" },
        { "a: [\n",
          "f:2:1: error: not valid YAML: a value is missing, or a [ or { is not "
          "closed; # begins a comment unless it is quoted\n" },
        { "tine: 1s\n",
          "f:1:1: warning: unknown key \"tine\"; did you mean \"time\"?\n" },
        { "message: {siez: 1}\n",
          "f:1:11: warning: unknown key \"message.siez\"; did you mean "
          "\"message.size\"?\n" },
        { "items: [{nane: x, name: y}]\n",
          "f:1:10: warning: unknown key \"items[0].nane\"; did you mean "
          "\"items[0].name\"?\n" },
        { "end:\n  tpic: x\n",
          "f:2:3: warning: unknown key \"end.tpic\"; did you mean \"end.topic\"?\n" },
        { "zebra: 1\n", "f:1:1: warning: unknown key \"zebra\"\n" },
        { "text: \"\\e[1m\\n\"\nword: \"\\e\"\n",
          "f:2:7: error: word: expected a text that matches ^(p|s)ub$|abc, "
          "found \"?\"\n" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        bool wrong = strstr(cases[i].want, "error:") != NULL;

        printf("%s", cases[i].text);
        CHECK_INT(load(cases[i].text), wrong ? BT_ECONF : 0);
        CHECK_STR(bt_conf_messages(ctx), cases[i].want);
        CHECK_INT(bt_conf_errors(ctx), wrong);
    }
    done();
}

TEST(all_errors_at_once_in_order_of_place)
{
    CHECK_INT(load("mode: x\nend: {qos: 9}\non: 1\nmessage.count.max: 0\n"), BT_ECONF);
    CHECK_STR(bt_conf_messages(ctx),
              "f:1:7: error: mode: expected one of full, memory, found \"x\"\n"
              "f:2:12: error: end.qos: expected a whole number from 0 to 1, found \"9\"\n"
              "f:3:5: error: on: expected true or false, found \"1\"\n"
              "f:4:20: error: message.count.max: expected a whole number from 1 to 100, "
              "found \"0\"\n");
    CHECK_INT(bt_conf_errors(ctx), 4);
    done();
}

TEST(many_messages_are_counted_not_kept)
{
    static char text[20000];
    size_t n = 0;

    for (int i = 0; i < 900; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "zebra%d: 1\n", i);
    CHECK_INT(load(text), 0);
    CHECK_INT(ctx->n_messages, BT_CONF_MAX_MESSAGES);
    CHECK(strstr(bt_conf_messages(ctx), "\nand 700 more\n") != NULL);
    done();
}

TEST(the_environment)
{
    setenv("BT_TEST_TEXT", "a=b=c", 1);
    setenv("BT_TEST_LIST", "[x, y, z]", 1);
    unsetenv("BT_TEST_NONE");
    CHECK_INT(load("text: '{{.BT_TEST_TEXT}}'\nlist: {{.BT_TEST_LIST}}\n"), 0);
    CHECK_STR(s.text, "a=b=c");
    CHECK_INT(s.list.n, 3);
    CHECK_INT(load("a: {{.BT_TEST_NONE}}\nb: {{.BT_TEST_NONE}}\n"), BT_ECONF);
    CHECK_STR(bt_conf_messages(ctx),
              "f:1:4: error: environment variable BT_TEST_NONE is not set\n"
              "f:2:4: error: environment variable BT_TEST_NONE is not set\n");
    /* A place behind a replaced name is the place in the file. */
    CHECK_INT(load("{text: '{{.BT_TEST_TEXT}}', on: 7}\n"), BT_ECONF);
    CHECK_STR(bt_conf_messages(ctx), "f:1:33: error: on: expected true or false, found "
                                     "\"7\"\n");
    done();
}

TEST(files)
{
    char path[] = "/tmp/test_conf-XXXXXX"; /* NOLINT: for mkstemp */
    int fd = mkstemp(path);
    char want[200];

    CHECK(fd >= 0);
    CHECK_INT(write(fd, "on: 1\n", 6), 6);
    close(fd);
    ctx = bt_conf_new();
    CHECK_INT(bt_conf_load(ctx, path, &table, &s), BT_ECONF);
    snprintf(want, sizeof(want),
             "%s:1:5: error: on: expected true or false, found \"1\"\n", path);
    CHECK_STR(bt_conf_messages(ctx), want);
    unlink(path);
    done();
    ctx = bt_conf_new();
    CHECK_INT(bt_conf_load(ctx, path, &table, &s), BT_ECONF);
    snprintf(want, sizeof(want), "%s: error: cannot be read: No such file or directory\n",
             path);
    CHECK_STR(bt_conf_messages(ctx), want);
    done();
    ctx = bt_conf_new();
    CHECK_INT(bt_conf_load(ctx, "/", &table, &s), BT_ECONF);
    done();
}

TEST(a_wrong_default_is_our_bug)
{
    static const struct bt_conf_row wrong_rows[] = {
        BT_CONF_ROW(struct end, "qos", U32, qos, "7", "Q.", .max = 1),
    };
    static const struct bt_conf_table wrong = {
        "wrong", "W.", sizeof(struct end), wrong_rows, 1, NULL,
    };
    struct end e;

    ctx = bt_conf_new();
    CHECK_INT(bt_conf_load_text(ctx, "f", "", 0, &wrong, &e), BT_EINVAL);
    done();
}

static const char sweep[] =
    "on: maybe\nmessage: {count.max: 7}\ntext: '{{.BT_TEST_TEXT}}'\nlist: [a, b]\n"
    "items: [{name: x, permit: [a]}, {nane: y}]\nend: {topic: a, qos: 9}\n"
    "zebra: &a 1\nb: *a\n";

TEST(every_allocation_may_fail)
{
    setenv("BT_TEST_TEXT", "t", 1);
    for (unsigned long n = 1;; n++) {
        struct bt_conf_ctx *c;
        int r = BT_ENOMEM;

        bt_mem_fail_from(n);
        c = bt_conf_new();
        if (c != NULL)
            r = bt_conf_load_text(c, "f", sweep, sizeof(sweep) - 1, &table, &s);
        if (c != NULL)
            CHECK(bt_conf_messages(c) != NULL);
        bt_mem_fail_from(0);
        bt_conf_free(c);
        if (r == BT_ECONF) {
            CHECK(n > 40);
            return;
        }
        CHECK_INT(r, BT_ENOMEM);
    }
}
