#include "core/log_rotate.c"

#include "tests/harness.h"

#define START INT64_C(1769860800000) /* 2026-01-31T12:00:00Z */

static char dir[64];
static struct bt_log_file f;

static void begin(void)
{
    char path[128];

    strcpy(dir, "/tmp/baetyl-test-XXXXXX"); /* NOLINT: a pattern */
    CHECK(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof(path), "%s/a/b/x.log", dir);
    memset(&f, 0, sizeof(f));
    CHECK_INT(bt_log_file_open(&f, path), 0);
}

static int exists(const char *name)
{
    char path[192];

    (void)snprintf(path, sizeof(path), "%s/a/b/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void touch(const char *name)
{
    char path[192];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/a/b/%s", dir, name);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
}

static void end(void)
{
    static const char *const folders[] = { "a/b", "a", "." };
    size_t i;

    bt_log_file_close(&f);
    for (i = 0; i < BT_ARRAY_LEN(folders); i++) {
        char path[512];
        const struct dirent *entry;
        DIR *d;

        (void)snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
        d = opendir(path);
        while (d != NULL && (entry = readdir(d)) != NULL)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
        if (d != NULL)
            closedir(d);
        (void)rmdir(i == 2 ? dir : path);
    }
}

/* Works. */

TEST(rotates_by_size)
{
    begin();
    f.max_size = 10;
    CHECK_INT(bt_log_file_write(&f, "12345678\n", 9, START), 0);
    CHECK_INT(bt_log_file_write(&f, "\n", 1, START), 0);
    CHECK(!exists("x-2026-01-31T12-00-00.000.log"));
    CHECK_INT(bt_log_file_write(&f, "abc\n", 4, START), 0);
    CHECK(exists("x-2026-01-31T12-00-00.000.log"));
    CHECK(exists("x.log"));
    CHECK_INT(f.size, 4);
    end();
}

TEST(two_rotations_in_one_millisecond)
{
    begin();
    f.max_size = 1;
    CHECK_INT(bt_log_file_write(&f, "a\n", 2, START), 0);
    CHECK_INT(bt_log_file_write(&f, "b\n", 2, START), 0);
    CHECK_INT(bt_log_file_write(&f, "c\n", 2, START), 0);
    CHECK(exists("x-2026-01-31T12-00-00.000.log"));
    CHECK(exists("x-2026-01-31T12-00-00.001.log"));
    end();
}

TEST(keeps_the_newest_files)
{
    begin();
    f.max_size = 1;
    f.backup_count = 2;
    touch("x-2026-01-30T00-00-00.000.log");
    touch("x-2026-01-29T00-00-00.000.log");
    touch("x-2026-01-28T00-00-00.000.log");
    touch("x-other.log");
    touch("y-2026-01-28T00-00-00.000.log");
    CHECK_INT(bt_log_file_write(&f, "a\n", 2, START), 0);
    CHECK_INT(bt_log_file_write(&f, "b\n", 2, START), 0);
    CHECK(exists("x-2026-01-31T12-00-00.000.log"));
    CHECK(exists("x-2026-01-30T00-00-00.000.log"));
    CHECK(!exists("x-2026-01-29T00-00-00.000.log"));
    CHECK(!exists("x-2026-01-28T00-00-00.000.log"));
    CHECK(exists("x-other.log") && exists("y-2026-01-28T00-00-00.000.log"));
    end();
}

TEST(removes_files_by_age)
{
    begin();
    f.max_size = 1;
    f.age_days = 2;
    touch("x-2026-01-29T12-00-00.001.log");
    touch("x-2026-01-29T11-59-59.999.log");
    CHECK_INT(bt_log_file_write(&f, "a\n", 2, START), 0);
    CHECK_INT(bt_log_file_write(&f, "b\n", 2, START), 0);
    CHECK(exists("x-2026-01-29T12-00-00.001.log"));
    CHECK(!exists("x-2026-01-29T11-59-59.999.log"));
    end();
}

TEST(goes_on_with_the_size_of_an_existing_file)
{
    struct bt_log_file again = { 0 };

    begin();
    CHECK_INT(bt_log_file_write(&f, "0123456789", 10, START), 0);
    CHECK_INT(bt_log_file_open(&again, f.path), 0);
    CHECK_INT(again.size, 10);
    bt_log_file_close(&again);
    end();
}

/* Fails. */

TEST(a_rotation_that_fails_keeps_the_file)
{
    char path[256];

    begin();
    f.max_size = 4;
    (void)snprintf(path, sizeof(path), "%s/a/b/x.log", dir);
    CHECK_INT(bt_log_file_write(&f, "abc\n", 4, START), 0);
    CHECK_INT(unlink(path), 0);
    /* Nothing to rename any more: the line still goes somewhere, without an error. */
    CHECK_INT(bt_log_file_write(&f, "def\n", 4, START), 0);
    CHECK(f.fd >= 0);
    end();
}

TEST(no_memory_removes_nothing)
{
    begin();
    f.max_size = 1;
    f.backup_count = 1;
    touch("x-2026-01-30T00-00-00.000.log");
    CHECK_INT(bt_log_file_write(&f, "a\n", 2, START), 0);
    bt_mem_fail_from(1);
    (void)!bt_log_file_write(&f, "b\n", 2, START);
    bt_mem_fail_from(0);
    CHECK(exists("x-2026-01-30T00-00-00.000.log"));
    end();
}

TEST(paths_that_are_no_files)
{
    struct bt_log_file none = { 0 };
    char name[300];

    CHECK_INT(bt_log_file_open(&none, "/tmp/"), BT_EIO);
    CHECK_INT(none.fd, -1);
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    CHECK_INT(bt_log_file_open(&none, name), BT_EIO);
    CHECK_INT(bt_log_file_open(&none, "/dev/null/x"), BT_EIO);
}
