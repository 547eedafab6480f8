/* Control groups in a plain folder: what the kernel does on mkdir and rmdir is done here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_PATH 4200
static int fake_mkdir(const char *path, mode_t mode);
static int fake_rmdir(const char *path);
static int fake_kill(int pid, int signum);
#define mkdir(path, mode) fake_mkdir(path, mode)
#define rmdir(path)       fake_rmdir(path)
#define kill(pid, signum) fake_kill(pid, signum)
#include "funcmgr/limits/cgroup_linux.c"
#include "funcmgr/limits/cgroup_tree_linux.c"
#undef mkdir
#undef rmdir
#undef kill

#include "tests/harness.h"

static char root[64];
static int killed_pid;

static const char *at(const char *path)
{
    static char full[256];

    (void)snprintf(full, sizeof(full), "%s%s", root, path);
    return full;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(at(path), "w");

    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static const char *get(const char *path)
{
    static char text[256];
    FILE *f = fopen(at(path), "r");
    size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;

    if (f == NULL)
        return "(none)";
    (void)fclose(f);
    text[n] = '\0';
    return text;
}

static void touch(const char *folder, const char *file)
{
    char path[FAKE_PATH];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, file);
    f = fopen(path, "w");
    CHECK(f != NULL && fclose(f) == 0);
}

static const char *const files[] = {
    "cgroup.procs",
    "cgroup.kill",
    "cgroup.subtree_control",
    "cgroup.controllers",
    "cgroup.type",
    "memory.max",
    "memory.swap.max",
    "memory.oom.group",
    "memory.events",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.oom_control",
    "cpu.max",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "pids.max",
};

static int fake_mkdir(const char *path, mode_t mode)
{
    int r = mkdir(path, mode);

    for (size_t i = 0; r == 0 && i < BT_ARRAY_LEN(files); i++) {
        bool v2 = strstr(path, "/unified") != NULL;
        bool of_v2 =
            strstr("cgroup.kill memory.max memory.events cpu.max", files[i]) != NULL;
        bool of_v1 = strstr(files[i], "_") != NULL && strncmp(files[i], "cgroup", 6) != 0;

        if ((v2 && !of_v1) || (!v2 && !of_v2))
            touch(path, files[i]);
    }
    return r;
}

static int fake_rmdir(const char *path)
{
    char full[FAKE_PATH];

    for (size_t i = 0; i < BT_ARRAY_LEN(files); i++) {
        (void)snprintf(full, sizeof(full), "%s/%s", path, files[i]);
        (void)unlink(full);
    }
    return rmdir(path);
}

static int fake_kill(int pid, int signum)
{
    CHECK_INT(signum, SIGKILL);
    killed_pid = pid;
    return 0;
}

static void folder(const char *path)
{
    CHECK(mkdir(at(path), 0755) == 0);
}

static void begin(void)
{
    bt_log_set_level(BT_LOG_ERROR);
    killed_pid = 0;
    strcpy(root, "/tmp/baetyl-test-XXXXXX"); /* NOLINT: a pattern */
    CHECK(mkdtemp(root) != NULL);
    folder("/proc");
    folder("/proc/self");
    folder("/cg");
}

static void end(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -r %s", root);
    CHECK_INT(system(command), 0); /* NOLINT: the test's own folder */
}

/* A machine of version 2: this process alone in /service. */
static void machine_v2(const char *procs)
{
    put("/proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\n"
                                "30 22 0:26 / /cg/unified rw,nosuid shared:4 - cgroup2 "
                                "cgroup2 rw,nsdelegate\n");
    put("/proc/self/cgroup", "0::/service\n");
    folder("/cg/unified");
    put("/cg/unified/cgroup.subtree_control", "cpu memory pids\n");
    CHECK_INT(fake_mkdir(at("/cg/unified/service"), 0755), 0);
    put("/cg/unified/service/cgroup.controllers", "cpuset cpu io memory pids\n");
    put("/cg/unified/service/cgroup.procs", procs);
    put("/cg/unified/service/cgroup.type", "domain\n");
}

static void machine_hybrid(void)
{
    put("/proc/self/mountinfo",
        "31 22 0:27 / /cg/memory rw - cgroup cgroup rw,memory\n"
        "32 22 0:28 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 22 0:29 /docker/x /cg/pids rw - cgroup cgroup rw,pids\n"
        "34 22 0:30 / /cg/systemd rw - cgroup systemd rw,xattr,name=systemd\n"
        "35 22 0:31 / /cg/unified rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/\n"
                             "8:pids:/docker/x/y\n0::/\n");
    folder("/cg/memory");
    folder("/cg/memory/a");
    folder("/cg/memory/a/b");
    folder("/cg/cpu,cpuacct");
    folder("/cg/pids");
    folder("/cg/pids/y");
    folder("/cg/unified");
    folder("/cg/systemd");
}

static const struct fm_cgroup_limits limits = { .memory = 32 << 20,
                                                .cpu_milli = 200,
                                                .pids = 10 };

static struct fm_cgroups *open_all(unsigned versions)
{
    static struct fm_cgroups cgs;
    struct bt_buf why = { 0 };

    CHECK_INT(fm_cgroups_open(&cgs, root, "/var/lib/x", versions, &why), 0);
    bt_buf_deinit(&why);
    return &cgs;
}

/* Works. */

TEST(hybrid_takes_every_controller_where_it_is)
{
    struct fm_cgroups *cgs;
    struct fm_cgroup g;
    int fds[FM_CGROUP_MOUNTS];

    begin();
    machine_hybrid();
    cgs = open_all(FM_CGROUP_V1 | FM_CGROUP_V2);
    CHECK_INT(cgs->v1, 7);
    CHECK_INT(cgs->v2, 0);
    CHECK_INT(cgs->n_mounts, 4);
    CHECK(strstr(cgs->mounts[0].ours, "/cg/memory/a/b/baetyl-") != NULL);
    CHECK(strstr(cgs->mounts[2].ours, "/cg/pids/y/baetyl-") != NULL);
    CHECK_INT(fm_cgroup_make(&g, cgs, "a/b\n.1", &limits), 0);
    CHECK_STR(g.name, "a%2Fb%0A.1");
    CHECK_INT(g.mounts, 15);
    CHECK_INT(fm_cgroup_doors(&g, fds), 4);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    fm_cgroup_kill(&g);
    CHECK_INT(killed_pid, 0); /* by cgroup.kill */
    CHECK_INT(fm_cgroup_remove(&g), 0);
    fm_cgroups_close(cgs);
    CHECK(access(at("/cg/pids/y"), F_OK) == 0);
    end();
}

TEST(version_1_limits)
{
    struct fm_cgroups *cgs;
    struct fm_cgroup g;
    char path[FM_CGROUP_PATH];

    begin();
    machine_hybrid();
    cgs = open_all(FM_CGROUP_V1);
    CHECK_INT(fm_cgroup_make(&g, cgs, "f.1", &limits), 0);
    CHECK_INT(folder_of(&g, 0, path), 0);
    strcat(path, "/memory.limit_in_bytes");
    CHECK_STR(get(path + strlen(root)), "33554432");
    CHECK_INT(folder_of(&g, 1, path), 0);
    strcat(path, "/cpu.cfs_quota_us");
    CHECK_STR(get(path + strlen(root)), "4000");
    CHECK_INT(folder_of(&g, 0, path), 0);
    strcat(path, "/memory.oom_control");
    put(path + strlen(root), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    CHECK(fm_cgroup_oom(&g));
    CHECK(!fm_cgroup_oom(&g));
    /* The same name while the folder is still there. */
    struct fm_cgroup other;
    CHECK_INT(fm_cgroup_make(&other, cgs, "f.1", &limits), 0);
    CHECK_STR(other.name, "f.1~1");
    CHECK_INT(fm_cgroup_remove(&other), 0);
    CHECK_INT(fm_cgroup_remove(&g), 0);
    fm_cgroups_close(cgs);
    end();
}

TEST(version_2_moves_into_a_leaf)
{
    struct fm_cgroups *cgs;
    char own[32];

    begin();
    (void)snprintf(own, sizeof(own), "%ld", (long)getpid());
    machine_v2(own);
    cgs = open_all(FM_CGROUP_V1 | FM_CGROUP_V2);
    CHECK_STR(get("/cg/unified/service/baetyl.main/cgroup.procs"), own);
    fm_cgroups_close(cgs);
    end();
}

TEST(version_2_leaves_others_alone)
{
    struct fm_cgroups *cgs;
    char own[32];

    begin();
    (void)snprintf(own, sizeof(own), "1\n%ld\n", (long)getpid());
    machine_v2(own);
    cgs = open_all(FM_CGROUP_V1 | FM_CGROUP_V2);
    CHECK(access(at("/cg/unified/service/baetyl.main"), F_OK) != 0);
    fm_cgroups_close(cgs);
    end();
}

TEST(what_an_earlier_run_left_is_ended)
{
    struct fm_cgroups *cgs;
    char left[256];

    begin();
    machine_hybrid();
    cgs = open_all(FM_CGROUP_V1);
    (void)snprintf(left, sizeof(left), "%s/f.7", cgs->mounts[1].ours);
    CHECK_INT(fake_mkdir(left, 0755), 0);
    strcat(left, "/cgroup.procs");
    put(left + strlen(root), "4711\n");
    for (size_t i = 0; i < cgs->n_mounts; i++)
        bt_free(cgs->mounts[i].ours);
    cgs = open_all(FM_CGROUP_V1);
    CHECK(access(left, F_OK) != 0);
    fm_cgroups_close(cgs);
    end();
}

/* Fails. */

TEST(no_tree)
{
    struct fm_cgroups *cgs;

    begin();
    put("/proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\nnonsense\n - \n");
    put("/proc/self/cgroup", "nonsense\n::\n:");
    cgs = open_all(FM_CGROUP_V1 | FM_CGROUP_V2);
    CHECK_INT(cgs->n_mounts, 0);
    fm_cgroups_close(cgs);
    end();
}

TEST(a_limit_that_cannot_be_set_leaves_nothing)
{
    struct fm_cgroups *cgs;
    struct fm_cgroup g;
    char path[256];

    begin();
    machine_hybrid();
    cgs = open_all(FM_CGROUP_V1);
    (void)snprintf(path, sizeof(path), "%s", cgs->mounts[0].ours);
    cgs->mounts[0].v2 = true; /* its files are not there */
    CHECK_INT(fm_cgroup_make(&g, cgs, "f.1", &limits), BT_EIO);
    strcat(path, "/f.1");
    CHECK(access(path, F_OK) != 0);
    fm_cgroups_close(cgs);
    end();
}
