/* A walk over a folder. Each file adds a hash of its path, size, time and number, so the
 * order in which the system lists them does not matter. A function may write data beside
 * its code, so what is code goes by the name. Of node_modules only the entries count, not
 * what is in them: installing or removing a package changes them.
 *
 * Failure modes: what cannot be read is left out; beyond the maxima the walk stops. */
#include "funcmgr/reload/watch_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/sys.h"

struct walk {
    struct fm_scan *scan;
    char path[PATH_MAX];
};

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static bool has_suffix(const char *name, const char *const *suffixes)
{
    for (; *suffixes != NULL; suffixes++) {
        if (ends_with(name, *suffixes))
            return true;
    }
    return false;
}

bool fm_scan_is_temporary(const char *name)
{
    static const char *const suffixes[] = { ".pyc", ".pyo",  "~",           ".swp",
                                            ".swx", ".tmp",  ".part",       ".crdownload",
                                            ".bak", ".orig", "__pycache__", NULL };

    return name[0] == '.' || name[0] == '#' || has_suffix(name, suffixes);
}

bool fm_scan_is_code(const char *name)
{
    static const char *const suffixes[] = { ".py", ".js",   ".mjs",  ".cjs",
                                            ".so", ".node", ".wasm", NULL };

    if (fm_scan_is_temporary(name))
        return false;
    return strchr(name, '.') == NULL || has_suffix(name, suffixes) ||
           strcmp(name, "package.json") == 0;
}

/* FNV-1a. */
static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 1099511628211u;
    return h;
}

static uint64_t look_of(const char *path, const struct stat *st)
{
    const int64_t about[] = { bt_sys_mtime_ns(st), (int64_t)st->st_size,
                              (int64_t)st->st_ino, (int64_t)(st->st_mode & 0111) };
    uint64_t h = mix(14695981039346656037u, path, strlen(path));

    return mix(h, about, sizeof(about));
}

static void take_file(struct walk *w, const char *name, const struct stat *st)
{
    uint64_t h = look_of(w->path, st);

    w->scan->all += h;
    if (fm_scan_is_code(name) && (strchr(name, '.') != NULL || (st->st_mode & 0111) != 0))
        w->scan->code += h;
}

static bool walk_dir(struct walk *w, unsigned depth, bool deep);

static void take(struct walk *w, DIR *d, const char *name, unsigned depth)
{
    size_t len = strlen(w->path), n = strlen(name);
    bool modules = strcmp(name, "node_modules") == 0;
    struct stat st;

    if (fm_scan_is_temporary(name) || len + n + 2 > sizeof(w->path))
        return;
    if (fstatat(dirfd(d), name, &st, 0) != 0)
        return;
    w->path[len] = '/';
    memcpy(w->path + len + 1, name, n + 1);
    if (S_ISREG(st.st_mode))
        take_file(w, name, &st);
    else if (S_ISDIR(st.st_mode) && depth < FM_SCAN_DEPTH)
        (void)walk_dir(w, depth + 1, !modules);
    w->path[len] = '\0';
}

/* An entry of node_modules: the folder itself. */
static void take_entry(struct walk *w, DIR *d, const char *name)
{
    struct stat st;

    if (fstatat(dirfd(d), name, &st, 0) == 0) {
        uint64_t h = look_of(name, &st);

        w->scan->all += h;
        w->scan->code += h;
    }
}

static bool walk_dir(struct walk *w, unsigned depth, bool deep)
{
    struct fm_scan *s = w->scan;
    struct dirent *e;
    DIR *d;

    if (s->dirs >= FM_SCAN_DIRS) {
        s->cut = true;
        return true;
    }
    d = opendir(w->path);
    if (d == NULL)
        return false;
    s->dirs++;
    if (s->dir != NULL)
        s->dir(s->arg, w->path);
    while ((e = readdir(d)) != NULL) {
        if (++s->files > FM_SCAN_FILES) {
            s->cut = true;
            break;
        }
        if (deep)
            take(w, d, e->d_name, depth);
        else if (e->d_name[0] != '.')
            take_entry(w, d, e->d_name);
    }
    closedir(d);
    return true;
}

bool fm_scan(struct fm_scan *s, const char *dir)
{
    struct walk w = { .scan = s };

    s->code = s->all = 0;
    s->dirs = s->files = 0;
    s->cut = false;
    if (strlen(dir) >= sizeof(w.path))
        return false;
    memcpy(w.path, dir, strlen(dir) + 1);
    return walk_dir(&w, 0, true);
}
