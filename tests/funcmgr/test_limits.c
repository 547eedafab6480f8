/* The policy: who holds which limit, and what an instance is locked into. */
#include "funcmgr/limits/limits.c"

#include "tests/harness.h"

static struct fm_backend backend;
static char f_name[] = "f";
static struct fm_interp python = { .language = FM_PYTHON },
                        node = { .language = FM_NODE };

static struct fm_function_conf function(void)
{
    struct fm_function_conf c = { .name = f_name };

    c.limits = (struct fm_limits_conf){
        .memory = (uint64_t)48 << 20, .cpu_milli = 500, .pids = 10, .files = 64
    };
    return c;
}

static void begin(void)
{
    bt_log_set_level(BT_LOG_ERROR);
    fm_backend_init(&backend, NULL, "", "/", FM_BACKEND_RLIMIT);
    backend.open = true; /* as if it had been looked */
}

static struct fm_limits *make(struct fm_function_conf *c, const struct fm_interp *interp)
{
    struct fm_limits *l = NULL;

    CHECK_INT(fm_limits_new(&backend, c, "/", interp, &l), 0);
    return l;
}

TEST(control_groups_hold_what_they_can)
{
    struct fm_function_conf c = function();
    struct fm_limits *l;

    begin();
    backend.cgroups.v2 = FM_CTL(FM_CTL_MEMORY) | FM_CTL(FM_CTL_PIDS);
    backend.cgroups.v1 = FM_CTL(FM_CTL_CPU);
    l = make(&c, &node);
    CHECK_INT(l->by[FM_LIMIT_MEMORY], FM_BY_CGROUP2);
    CHECK_INT(l->by[FM_LIMIT_CPU], FM_BY_CGROUP1);
    CHECK_INT(l->by[FM_LIMIT_PIDS], FM_BY_CGROUP2);
    CHECK_INT(l->by[FM_LIMIT_FILES], FM_BY_RLIMIT);
    CHECK_STR(fm_backend_name(&backend), "cgroup2+cgroup1");
    fm_limits_unref(l);
}

TEST(without_control_groups)
{
    struct fm_function_conf c = function();
    char option[FM_CELL_OPTION], name[] = "node", last[] = "-e";
    char *argv[4] = { name, last, NULL, NULL };
    struct fm_cell *cell;
    struct fm_limits *l;

    begin();
    l = make(&c, &python);
    CHECK_INT(l->by[FM_LIMIT_MEMORY], FM_BY_RLIMIT);
    CHECK_INT(l->by[FM_LIMIT_CPU], FM_BY_NICE);
    CHECK_INT(l->by[FM_LIMIT_PIDS], geteuid() == 0 ? FM_BY_NOTHING : FM_BY_RLIMIT);
    CHECK_STR(fm_limit_by_name(l->by[FM_LIMIT_CPU]), "priority");
    fm_cell_argv(l, argv, option);
    CHECK_STR(argv[1], "-e");
    CHECK_INT(fm_cell_new(l, "f.1", &cell), 0);
    CHECK(cell != NULL && !fm_cell_is_slow(cell) && !fm_cell_holds_all(cell));
    CHECK_INT(fm_cell_confine(cell)->nice, 10);
    CHECK_INT(fm_cell_confine(cell)->rlimits[0].value, 64);
    fm_limits_unref(l); /* the cell has its own reference */
    fm_cell_free(cell);
    l = make(&c, &node);
    CHECK_INT(l->by[FM_LIMIT_MEMORY], FM_BY_RUNTIME);
    fm_cell_argv(l, argv, option);
    CHECK_STR(argv[0], "node");
    CHECK_STR(argv[1], "--max-old-space-size=48");
    CHECK_STR(argv[2], "-e");
    CHECK(argv[3] == NULL);
    fm_limits_unref(l);
}

TEST(no_limits_no_cell)
{
    struct fm_function_conf c = { .name = f_name };
    struct fm_cell *cell;
    struct fm_limits *l;

    begin();
    l = make(&c, &python);
    for (unsigned i = 0; i < FM_N_LIMITS; i++)
        CHECK_INT(l->by[i], FM_BY_NOBODY);
    CHECK_INT(fm_cell_new(l, "f.1", &cell), 0);
    CHECK(cell == NULL && fm_cell_confine(cell) == NULL);
    fm_cell_free(cell);
    fm_limits_unref(l);
    CHECK_INT(fm_limits_new(NULL, &c, "/", &python, &l), 0);
    CHECK(l == NULL);
    CHECK_INT(fm_cell_new(NULL, "f.1", &cell), 0);
    CHECK(cell == NULL);
}

TEST(users)
{
    static const char *const unknown[] = {
        "no-such-user-here", "", "4294967295:1", "1:", "1:x", ":1", "99999999999", "-1",
    };
    struct bt_buf why = { 0 };
    struct fm_user u;

    for (size_t i = 0; i < BT_ARRAY_LEN(unknown); i++) {
        CHECK_INT(fm_user_find(unknown[i], &u, &why), BT_EINVAL);
        CHECK(why.len > 0);
        fm_user_deinit(&u);
    }
    if (geteuid() != 0) {
        CHECK_INT(fm_user_find("0", &u, &why), BT_EINVAL);
    } else {
        CHECK_INT(fm_user_find("1234:5678", &u, &why), 0);
        CHECK(u.set && u.uid == 1234 && u.gid == 5678 && u.n_groups == 1);
        CHECK_INT(fm_user_find("root", &u, &why), 0);
        CHECK_STR(u.home, "/root");
    }
    fm_user_deinit(&u);
    bt_buf_deinit(&why);
}

TEST(an_unknown_user_is_an_error)
{
    struct fm_function_conf c = function();
    char nobody[] = "no-such-user-here";
    struct fm_limits *l;

    begin();
    c.user = nobody;
    CHECK_INT(fm_limits_new(&backend, &c, "/", &python, &l), BT_ECONF);
    CHECK(l == NULL);
}

TEST(out_of_memory)
{
    struct fm_function_conf c = function();
    char a[] = "A=1", b[] = "B=2", *env[] = { a, b };
    struct fm_limits *l;
    unsigned long n = 1;
    int r;

    begin();
    c.env.items = env;
    c.env.n = 2;
    do {
        bt_mem_fail_from(n++);
        r = fm_limits_new(&backend, &c, "/", &python, &l);
        CHECK(r == BT_ENOMEM || (r == 0 && l != NULL));
        (void)bt_mem_fail_from(0);
    } while (r != 0);
    CHECK(n > 4);
    CHECK_INT(l->n_env, 2);
    fm_limits_unref(l);
}
