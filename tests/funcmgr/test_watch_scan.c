/* What counts as code, and what a look at a folder sees. */
#include "funcmgr/reload/watch_scan.c"

#include <stdlib.h>

#include "tests/harness.h"

TEST(names)
{
    static const struct {
        const char *name;
        bool code, temporary;
    } rows[] = {
        { "index.py", true, false },      { "a.js", true, false },
        { "a.mjs", true, false },         { "a.cjs", true, false },
        { "fast.so", true, false },       { "x.node", true, false },
        { "x.wasm", true, false },        { "package.json", true, false },
        { "program", true, false },       { "state.json", false, false },
        { "data.csv", false, false },     { "x.log", false, false },
        { ".index.py.swp", false, true }, { "index.py~", false, true },
        { "index.pyc", false, true },     { "__pycache__", false, true },
        { "#index.py#", false, true },    { ".git", false, true },
        { "index.py.tmp", false, true },  { "index.js.part", false, true },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        CHECK_INT(fm_scan_is_code(rows[i].name), rows[i].code);
        CHECK_INT(fm_scan_is_temporary(rows[i].name), rows[i].temporary);
    }
}

static char root[64];

static void put(const char *name, const char *text, mode_t mode)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void make_dir(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    CHECK_INT(mkdir(path, 0700), 0);
}

static unsigned n_dirs;

static void on_dir(void *arg, const char *path)
{
    (void)arg, (void)path;
    n_dirs++;
}

static struct fm_scan now(void)
{
    struct fm_scan s = { .dir = on_dir };

    n_dirs = 0;
    CHECK(fm_scan(&s, root));
    CHECK_INT(n_dirs, s.dirs);
    return s;
}

TEST(changes)
{
    struct fm_scan a, b;
    char command[256];

    snprintf(root, sizeof(root), "/tmp/baetyl-scan-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    put("index.py", "1", 0600);
    a = now();
    b = now();
    CHECK(a.code == b.code && a.all == b.all && a.dirs == 1);
    put("state.json", "1", 0600);
    put("index.py.tmp", "1", 0600);
    put("counter", "1", 0600);
    b = now();
    CHECK(a.code == b.code && a.all != b.all);
    put("index.py", "22", 0600);
    a = now();
    CHECK(a.code != b.code);
    put("tool", "1", 0700);
    b = now();
    CHECK(a.code != b.code);
    make_dir("lib");
    a = now();
    CHECK(a.code == b.code && a.dirs == 2);
    put("lib/x.py", "1", 0600);
    b = now();
    CHECK(a.code != b.code);
    make_dir("node_modules");
    make_dir("node_modules/left");
    put("node_modules/left/index.js", "1", 0600);
    a = now();
    CHECK(a.code != b.code && a.dirs == 3);
    make_dir("node_modules/right");
    b = now();
    CHECK(a.code != b.code);
    CHECK(!b.cut);
    snprintf(command, sizeof(command), "rm -rf %s", root);
    CHECK_INT(system(command), 0);
    CHECK(!fm_scan(&b, root));
}

TEST(maxima)
{
    char command[256], name[32];
    struct fm_scan s;

    snprintf(root, sizeof(root), "/tmp/baetyl-scan-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    for (unsigned i = 0; i < FM_SCAN_DIRS + 10; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        make_dir(name);
    }
    s = now();
    CHECK(s.cut && s.dirs == FM_SCAN_DIRS);
    snprintf(command, sizeof(command), "rm -rf %s", root);
    CHECK_INT(system(command), 0);
    CHECK(mkdir(root, 0700) == 0);
    snprintf(command, sizeof(command), "ln -s . %s/self && touch %s/a.py", root, root);
    CHECK_INT(system(command), 0);
    s = now();
    CHECK_INT(s.dirs, FM_SCAN_DEPTH + 1);
    snprintf(command, sizeof(command), "rm -rf %s", root);
    CHECK_INT(system(command), 0);
}
