/* The idea: `baetyl.log` that is full becomes `baetyl-2026-01-31T12-00-00.123.log` (UTC).
 * The names sort by time, so the age and the order of the old files are in their names,
 * and nothing depends on file times, which copying changes. Old files stay plain text.
 *
 * Failure: when renaming or reopening fails the old descriptor stays in use and the file
 * grows on; the next try is after another max_size bytes, so a full or read-only disk is
 * not asked for every line. */
#include "core/log_rotate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/mem.h"

#define STAMP_LEN 23 /* 2026-01-31T12-00-00.123 */
#define DAY_MS    INT64_C(86400000)

/* The parts of the path: folder, name before the extension, extension with its dot. */
struct parts {
    char dir[PATH_MAX];
    char stem[NAME_MAX + 1];
    char ext[NAME_MAX + 1];
};

static int split(const char *path, struct parts *out)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t dir_len = slash != NULL ? (size_t)(slash - path) : 0;
    size_t name_len = strlen(name), stem_len;

    if (dot == NULL || dot == name)
        dot = name + name_len;
    stem_len = (size_t)(dot - name);
    if (name_len == 0 || name_len + STAMP_LEN + 1 > NAME_MAX ||
        dir_len >= sizeof(out->dir)) {
        errno = ENAMETOOLONG;
        return BT_EIO;
    }
    memset(out, 0, sizeof(*out));
    memcpy(out->dir, slash == NULL ? "." : path, slash == NULL ? 1 : dir_len);
    if (slash == path)
        out->dir[0] = '/';
    memcpy(out->stem, name, stem_len);
    memcpy(out->ext, dot, name_len - stem_len);
    return 0;
}

/* mkdir -p; an existing folder is fine, what is in the way shows when the file is opened.
 */
static void make_dirs(char *dir)
{
    char *p;

    for (p = dir + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        (void)mkdir(dir, 0755);
        *p = '/';
    }
    (void)mkdir(dir, 0755);
}

static int open_append(const char *path, uint64_t *size)
{
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0)
        return -1;
    *size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    return fd;
}

int bt_log_file_open(struct bt_log_file *f, const char *path)
{
    struct parts parts;
    int r;

    f->fd = -1;
    r = split(path, &parts);
    if (r != 0 || strlen(path) >= sizeof(f->path))
        return BT_EIO;
    make_dirs(parts.dir);
    strcpy(f->path, path);
    f->fd = open_append(path, &f->size);
    return f->fd < 0 ? BT_EIO : 0;
}

void bt_log_file_close(struct bt_log_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

/* "baetyl-" + stamp: colons are not for file names. */
static void stamp(int64_t wall_ms, char out[STAMP_LEN + 1])
{
    char text[BT_CLOCK_TEXT_LEN];
    char *p;

    bt_clock_text(wall_ms, text);
    for (p = text; *p != '\0'; p++)
        if (*p == ':')
            *p = '-';
    memcpy(out, text, STAMP_LEN);
    out[STAMP_LEN] = '\0';
}

static bool is_stamp(const char *s)
{
    static const char form[] = "dddd-dd-ddTdd-dd-dd.ddd";
    size_t i;

    for (i = 0; i < STAMP_LEN; i++)
        if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
            return false;
    return true;
}

/* Whether name is an old file of ours; its stamp then begins at *out. */
static bool is_old_file(const struct parts *parts, const char *name, const char **out)
{
    size_t stem_len = strlen(parts->stem), len = strlen(name);

    if (len != stem_len + 1 + STAMP_LEN + strlen(parts->ext))
        return false;
    *out = name + stem_len + 1;
    return memcmp(name, parts->stem, stem_len) == 0 && name[stem_len] == '-' &&
           is_stamp(*out) && strcmp(*out + STAMP_LEN, parts->ext) == 0;
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(b, a);
}

typedef char stamp_text[STAMP_LEN + 1];

/* The stamps of all old files; *n at most BT_LOG_MAX_OLD_FILES. NULL when there is no
 * memory. */
static stamp_text *list_old(const struct parts *parts, DIR *dir, size_t *n)
{
    stamp_text *stamps = bt_malloc(BT_LOG_MAX_OLD_FILES * sizeof(*stamps));
    const struct dirent *entry;
    const char *at;

    *n = 0;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
    while (stamps != NULL && *n < BT_LOG_MAX_OLD_FILES &&
           (entry = readdir(dir)) != NULL) {
        if (!is_old_file(parts, entry->d_name, &at))
            continue;
        memcpy(stamps[*n], at, STAMP_LEN);
        stamps[(*n)++][STAMP_LEN] = '\0';
    }
    return stamps;
}

static void remove_old(const struct bt_log_file *f, const struct parts *parts,
                       int64_t wall_ms)
{
    DIR *dir = opendir(parts->dir);
    stamp_text oldest = "", *stamps;
    char name[NAME_MAX + 1];
    size_t i, n;

    if (dir == NULL)
        return;
    if (f->age_days != 0)
        stamp(wall_ms - (int64_t)f->age_days * DAY_MS, oldest);
    stamps = list_old(parts, dir, &n);
    if (stamps != NULL)
        qsort(stamps, n, sizeof(*stamps), newest_first);
    for (i = 0; i < n; i++) {
        if ((f->backup_count == 0 || i < f->backup_count) &&
            strcmp(stamps[i], oldest) >= 0)
            continue;
        if (snprintf(name, sizeof(name), "%s-%s%s", parts->stem, stamps[i], parts->ext) <
            (int)sizeof(name))
            (void)unlinkat(dirfd(dir), name, 0);
    }
    bt_free(stamps);
    closedir(dir);
}

/* A name that is free: two rotations within a millisecond get the following one. */
static int free_name(const struct parts *parts, int64_t wall_ms, char out[PATH_MAX])
{
    int64_t ms;

    for (ms = wall_ms; ms < wall_ms + 1000; ms++) {
        stamp_text text;
        int n;

        stamp(ms, text);
        n = snprintf(out, PATH_MAX, "%s/%s-%s%s", parts->dir, parts->stem, text,
                     parts->ext);
        if (n < 0 || n >= PATH_MAX)
            break;
        if (access(out, F_OK) != 0 && errno == ENOENT)
            return 0;
    }
    return BT_EIO;
}

static void rotate(struct bt_log_file *f, int64_t wall_ms)
{
    struct parts parts;
    char old[PATH_MAX];
    uint64_t size;
    int fd;

    f->size = 0;
    if (split(f->path, &parts) != 0 || free_name(&parts, wall_ms, old) != 0 ||
        rename(f->path, old) != 0)
        return;
    fd = open_append(f->path, &size);
    if (fd < 0)
        return;
    close(f->fd);
    f->fd = fd;
    f->size = size;
    remove_old(f, &parts, wall_ms);
}

int bt_log_file_write(struct bt_log_file *f, const char *line, size_t n, int64_t wall_ms)
{
    if (f->max_size != 0 && f->size > 0 && f->size + n > f->max_size)
        rotate(f, wall_ms);
    f->size += n;
    while (n > 0) {
        ssize_t done = write(f->fd, line, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return BT_EIO;
        line += done;
        n -= (size_t)done;
    }
    return 0;
}
