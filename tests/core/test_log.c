#include "core/log.c"

#include <stdlib.h>

#include "tests/harness.h"

static char dir[64], path[96];

static void open_log(enum bt_log_format form, enum bt_log_level level)
{
    struct bt_log_conf conf = { .path = path,
                                .level = level,
                                .format = form,
                                .age_days = 15,
                                .size_mb = 50,
                                .backup_count = 15 };

    strcpy(dir, "/tmp/baetyl-test-XXXXXX"); /* NOLINT: a pattern */
    CHECK(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/sub/a.log", dir);
    memset(kinds, 0, sizeof(kinds));
    CHECK_INT(bt_log_open(&conf), 0);
}

/* The file's contents, and the end of it. */
static const char *close_log(void)
{
    static char text[65536];
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;

    text[n] = '\0';
    if (f != NULL)
        fclose(f);
    bt_log_close();
    bt_log_set_level(BT_LOG_INFO);
    (void)unlink(path);
    *strrchr(path, '/') = '\0';
    (void)rmdir(path);
    (void)rmdir(dir);
    return text;
}

static unsigned lines(const char *text)
{
    unsigned n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

/* Works. */

TEST(a_line_of_text)
{
    bt_clock_fake_start(1000000, 0);
    open_log(BT_LOG_TEXT, BT_LOG_INFO);
    bt_log(BT_LOG_WARN, "HUB-X", "something odd", "client=" BT_LOG_Q " n=%d", "a \"b\"",
           5);
    bt_log(BT_LOG_INFO, "HUB-Y", "started", "%s", "");
    bt_log(BT_LOG_DEBUG, "HUB-Z", "not shown", "%s", "");
    bt_clock_fake_stop();
    CHECK_STR(close_log(), "time=\"1970-01-01T00:00:00.000Z\" level=warn id=HUB-X "
                           "msg=\"something odd\" client=\"a \\\"b\\\"\" n=5\n"
                           "time=\"1970-01-01T00:00:00.000Z\" level=info id=HUB-Y "
                           "msg=\"started\"\n");
}

TEST(a_line_of_json)
{
    bt_clock_fake_start(1000000, 0);
    open_log(BT_LOG_JSON, BT_LOG_INFO);
    bt_log(BT_LOG_ERROR, "HUB-X", "odd", "client=" BT_LOG_Q " n=%d word=x q=\"p q\"",
           "a\nb\x80\xc3\xa4", -5);
    bt_clock_fake_stop();
    CHECK_STR(
        close_log(),
        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"error\",\"id\":\"HUB-X\","
        "\"msg\":\"odd\",\"client\":\"a\\u000ab\\u0080\xc3\xa4\",\"n\":-5,"
        "\"word\":\"x\",\"q\":\"p q\"}\n");
}

TEST(repeats_are_held_back_and_counted)
{
    const char *text;
    int i;

    bt_clock_fake_start(1000000, 0);
    open_log(BT_LOG_TEXT, BT_LOG_INFO);
    for (i = 0; i < BT_LOG_BURST + 30; i++)
        bt_log(BT_LOG_WARN, "HUB-X", "flood", "i=%d", i);
    bt_log(BT_LOG_WARN, "HUB-X", "another sentence", "%s", "");
    bt_clock_fake_advance(BT_LOG_WINDOW_MS * 1000u);
    bt_log(BT_LOG_WARN, "HUB-X", "flood", "i=%d", i);
    bt_log(BT_LOG_WARN, "HUB-X", "flood", "i=%d", i);
    bt_clock_fake_stop();
    text = close_log();
    CHECK_INT(lines(text), BT_LOG_BURST + 3);
    CHECK(strstr(text, "msg=\"flood\" held_back=30 i=50\n") != NULL);
    CHECK(strstr(text, "msg=\"flood\" i=50\n") != NULL);
}

TEST(debug_is_not_held_back)
{
    int i, saved = dup(STDERR_FILENO);

    /* At level debug lines go to standard error, too. */
    CHECK(freopen("/dev/null", "w", stderr) != NULL);
    open_log(BT_LOG_TEXT, BT_LOG_DEBUG);
    for (i = 0; i < BT_LOG_BURST + 30; i++)
        bt_log(BT_LOG_DEBUG, "HUB-X", "detail", "i=%d", i);
    i = (int)lines(close_log());
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    CHECK_INT(i, BT_LOG_BURST + 30);
}

TEST(more_kinds_than_places)
{
    char id[32];
    int i;

    open_log(BT_LOG_TEXT, BT_LOG_INFO);
    for (i = 0; i < 3 * N_KINDS; i++) {
        (void)snprintf(id, sizeof(id), "ID-%d", i);
        bt_log(BT_LOG_INFO, id, "x", "%s", "");
    }
    CHECK_INT(lines(close_log()), 3 * N_KINDS);
}

TEST(errno_survives)
{
    open_log(BT_LOG_TEXT, BT_LOG_INFO);
    errno = EXDEV;
    CHECK_INT(bt_origin(BT_EIO, "what failed"), BT_EIO);
    CHECK_INT(errno, EXDEV);
    CHECK_INT(bt_fold(0), 0);
    CHECK_INT(bt_fold(BT_EDB), BT_EDB);
    CHECK_INT(bt_fold(7), BT_EBUG);
    CHECK(strstr(close_log(), "id=CORE-ORIGIN msg=\"what failed\"") != NULL);
    CHECK_STR(bt_error_text(BT_ELIMIT), "limit exceeded");
    CHECK_STR(bt_error_text(77), "unknown result");
}

/* Fails. */

TEST(values_from_outside_cannot_forge_a_line)
{
    const char *text;

    open_log(BT_LOG_TEXT, BT_LOG_INFO);
    bt_log(BT_LOG_INFO, "HUB-X", "login", "client=" BT_LOG_Q " ok=1",
           "x\" level=error\ntime=\"1970\" id=FAKE msg=\"y\" ");
    text = close_log();
    CHECK_INT(lines(text), 1);
    CHECK(strstr(text, "client=\"x\\\" level=error\\u000atime=") != NULL);
    CHECK(strstr(text, "\" ok=1\n") != NULL);
}

TEST(a_long_line_is_cut_and_closed)
{
    static char value[8000];
    const char *text;
    size_t len;

    memset(value, '"', sizeof(value) - 1);
    open_log(BT_LOG_JSON, BT_LOG_INFO);
    bt_log(BT_LOG_INFO, "HUB-X", "long", "v=" BT_LOG_Q, value);
    text = close_log();
    len = strlen(text);
    CHECK(len <= BT_LOG_LINE_MAX && len > BT_LOG_LINE_MAX - 20);
    CHECK_STR(text + len - 5, "\\\"\"}\n");
}

/* Whatever the lengths, the line ends well: the value closed, the object closed. */
TEST(cuts_at_every_place_are_well_formed)
{
    static char out[BT_LOG_LINE_MAX], pairs[PAIRS_MAX * 2];
    size_t n, len;

    for (n = BT_LOG_LINE_MAX - 200; n < BT_LOG_LINE_MAX; n++) {
        struct bt_log_record r = { .id = "I", .text = "t", .pairs = pairs };

        memset(pairs, 'x', n);
        memcpy(pairs, "v=", 2);
        strcpy(pairs + n, " second=\"\xc3\xa4 a\\b\" third=12345 last=word");
        len = bt_log_format_json(&r, out);
        CHECK(len <= sizeof(out) && out[len - 1] == '\n' && out[len - 2] == '}');
        CHECK(out[len - 3] == '"' || out[len - 3] == '5');
        len = bt_log_format_text(&r, out);
        CHECK(len <= sizeof(out) && out[len - 1] == '\n');
    }
}

TEST(a_path_that_cannot_be_opened_leaves_the_sink)
{
    struct bt_log_conf bad = { .path = "/dev/null/x.log", .level = BT_LOG_DEBUG };

    open_log(BT_LOG_TEXT, BT_LOG_INFO);
    CHECK_INT(bt_log_open(&bad), BT_EIO);
    CHECK(!bt_log_enabled(BT_LOG_DEBUG));
    CHECK(strstr(close_log(), "cannot open the log file") != NULL);
}
