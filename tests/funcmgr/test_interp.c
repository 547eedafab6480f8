#include "funcmgr/process/interp.c"

#include "tests/harness.h"

#define PATTERN "interp-XXXXXX" /* NOLINT: what mkdtemp replaces */

static char folder[256];

static void put(const char *name, const char *text)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
    CHECK_INT(chmod(path, 0755), 0);
}

static void begin(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(folder, sizeof(folder), "%s/interp-XXXXXX", tmp != NULL ? tmp : "/tmp");
    CHECK(mkdtemp(folder) != NULL);
}

static void end(void)
{
    static const char *const names[] = { "python3", "python2", "node", "node8",
                                         "python3.6" };
    char path[512];

    for (size_t i = 0; i < BT_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    CHECK_INT(rmdir(folder), 0);
}

/* The name of the program found, or why there is none. */
static void find(const char *runtime, enum fm_language language, const char *want)
{
    struct fm_interp interp = { 0 };
    struct bt_buf why = { 0 };
    char search[512];

    snprintf(search, sizeof(search), "relative:/nowhere:%s", folder);
    CHECK_INT(fm_interp_find(runtime, search, &interp, &why), 0);
    CHECK_STR(strrchr(interp.path, '/') + 1, want);
    CHECK_INT(interp.language, language);
    fm_interp_deinit(&interp);
    bt_buf_deinit(&why);
}

static void find_not(const char *runtime, const char *want)
{
    struct fm_interp interp = { 0 };
    struct bt_buf why = { 0 };

    CHECK_INT(fm_interp_find(runtime, folder, &interp, &why), BT_EINVAL);
    CHECK_INT(bt_buf_append_u8(&why, 0), 0);
    CHECK(strstr((const char *)why.data, want) != NULL);
    CHECK(interp.path == NULL);
    bt_buf_deinit(&why);
}

TEST(names)
{
    begin();
    put("python2", "x");
    find("python", FM_PYTHON, "python2");
    find("python27", FM_PYTHON, "python2");
    put("python3", "x");
    find("python", FM_PYTHON, "python3");
    find("python3", FM_PYTHON, "python3");
    find("python36", FM_PYTHON, "python3");
    put("python3.6", "x");
    find("python36", FM_PYTHON, "python3.6");
    find("python3.6", FM_PYTHON, "python3.6");
    put("node", "x");
    find("node", FM_NODE, "node");
    find("node8", FM_NODE, "node");
    put("node8", "x");
    find("node8", FM_NODE, "node8");
    end();
}

TEST(real_programs_before_scripts)
{
    begin();
    put("python3", "#!/bin/sh\n");
    find("python", FM_PYTHON, "python3");
    put("python2", "x");
    find("python", FM_PYTHON, "python2");
    end();
}

TEST(absolute_path)
{
    char path[512];

    begin();
    put("node", "x");
    snprintf(path, sizeof(path), "%s/node", folder);
    find(path, FM_NODE, "node");
    end();
}

TEST(not_found)
{
    begin();
    find_not("python2", "no program python2 or python2.7 in the folders of PATH: /");
    find_not("python311", "no program python3.11 or python3 in the folders of PATH: /");
    find_not("python3.6", "no program python3.6 in the folders of PATH: /");
    find_not("node20", "no program node20 or node or nodejs");
    find_not("/nowhere/python3", "/nowhere/python3 is not a program");
    find_not("./python3", "a path must be absolute");
    find_not("node/x", "is not a runtime");
    find_not("perl", "\"perl\" is not a runtime: expected python");
    end();
}

TEST(arguments)
{
    static char path[] = "/usr/bin/python3";
    struct fm_interp interp = { .path = path, .language = FM_PYTHON };
    char *argv[FM_INTERP_ARGS];
    char source[32];

    fm_interp_argv(&interp, argv);
    CHECK_STR(argv[0], path);
    snprintf(source, sizeof(source), "/proc/self/fd/%d", FM_SOURCE_FD);
    CHECK_STR(argv[4], "-c");
    CHECK(strstr(argv[5], source) != NULL && argv[6] == NULL);
    interp.language = FM_NODE;
    fm_interp_argv(&interp, argv);
    CHECK_STR(argv[1], "-e");
    CHECK(strstr(argv[2], source) != NULL && argv[3] == NULL);
}

/* The path found, or why there is none; to be freed. */
static char *find_exec(char *handler, char *codedir, const char *work_dir)
{
    struct fm_function_conf c = { .handler = handler, .codedir = codedir };
    struct fm_interp interp = { 0 };
    struct bt_buf why = { 0 };
    char exec[] = "exec", *result;
    int r;

    c.runtime = exec;
    r = fm_interp_of(&c, work_dir, &interp, &why);
    CHECK(r == 0 || r == BT_EINVAL);
    if (r == 0) {
        CHECK_INT(interp.language, FM_PROGRAM);
        result = bt_steal(interp.path);
    } else {
        CHECK(interp.path == NULL);
        result = bt_buf_steal_str(&why);
    }
    fm_interp_deinit(&interp);
    bt_buf_deinit(&why);
    return result;
}

TEST(programs_of_exec)
{
    char name[] = "node", none[] = "none", absolute[600], want[800], dot[] = ".";
    char *got;

    begin();
    put(name, "x");
    snprintf(absolute, sizeof(absolute), "%s/node", folder);
    got = find_exec(absolute, dot, "/nowhere");
    CHECK_STR(got, absolute);
    bt_free(got);
    got = find_exec(name, dot, folder);
    snprintf(want, sizeof(want), "%s/./node", folder);
    CHECK_STR(got, want);
    bt_free(got);
    got = find_exec(name, folder, "/nowhere");
    CHECK_STR(got, absolute);
    bt_free(got);
    got = find_exec(none, folder, NULL);
    snprintf(want, sizeof(want),
             "the program %s/none cannot be run: No such file or directory", folder);
    CHECK_STR(got, want);
    bt_free(got);
    got = find_exec(dot, folder, NULL);
    snprintf(want, sizeof(want), "the program %s/. cannot be run: it is no file", folder);
    CHECK_STR(got, want);
    bt_free(got);
    end();
}

TEST(arguments_of_exec)
{
    char path[] = "/bin/x", one[] = "1", two[] = "2 3", *items[] = { one, two };
    struct bt_conf_strings list = { items, 2 };
    struct fm_interp interp = { .path = path, .language = FM_PROGRAM, .args = &list };
    char *argv[FM_INTERP_ARGS];

    fm_interp_argv(&interp, argv);
    CHECK(argv[0] == path && argv[1] == one && argv[2] == two && argv[3] == NULL);
}

TEST(out_of_memory_for_a_program)
{
    char name[] = "sh", codedir[] = "/bin", exec[] = "exec";
    struct fm_function_conf c = { .runtime = exec, .handler = name, .codedir = codedir };
    struct fm_interp interp;
    struct bt_buf why = { 0 };
    bool failed = true;

    for (unsigned long nth = 1; failed; nth++) {
        int r;

        bt_mem_fail_from(nth);
        r = fm_interp_of(&c, NULL, &interp, &why);
        failed = bt_mem_fail_from(0);
        CHECK_INT(r, failed ? BT_ENOMEM : 0);
        fm_interp_deinit(&interp);
    }
}
