/* Which trees of control groups there are, and our folder in each.
 *
 * Happy path: /proc/self/mountinfo says where the trees are, /proc/self/cgroup where in
 * them this process is; below that comes our folder. In version 2 a group that has
 * processes cannot hand controllers to groups below it (but for the root), so when this
 * process and its guard are alone in their group (a systemd service with Delegate=yes)
 * they move into a leaf, baetyl.main. When others are there, too (a login), they are left
 * alone and our folder comes to the top of the tree, where somebody may have enabled the
 * controllers.
 *
 * Failure modes: no tree, not ours to write, a controller that is not there. Each is a
 * sentence in `why`, and what can be had is used. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"
#include "funcmgr/limits/cgroup_priv.h"

#define MAX_MOUNTINFO ((size_t)1024 * 1024)
#define LEAF          "baetyl.main"
/* What an earlier run left has so long to end. */
#define CLEAR_TRIES   200
#define CLEAR_STEP_US 5000u

static const char *const names[FM_N_CONTROLLERS] = {
    [FM_CTL_MEMORY] = "memory",
    [FM_CTL_CPU] = "cpu",
    [FM_CTL_PIDS] = "pids",
};
/* The file that shows that a version 1 controller can limit. */
static const char *const v1_files[FM_N_CONTROLLERS] = {
    [FM_CTL_MEMORY] = "memory.limit_in_bytes",
    [FM_CTL_CPU] = "cpu.cfs_quota_us",
    [FM_CTL_PIDS] = "pids.max",
};

struct found {
    bool v2;
    unsigned controllers; /* version 1: that are mounted here */
    char *base;           /* the folder below which ours comes */
    char *top;            /* where the tree is mounted */
};

/* ---- Reading what the kernel says ---- */

static int read_all(const char *root, const char *path, struct bt_buf *out)
{
    char full[FM_CGROUP_PATH];
    int fd, r = 0;
    ssize_t n = 1;

    (void)snprintf(full, sizeof(full), "%s%s", root, path);
    out->max = MAX_MOUNTINFO;
    fd = open(full, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && r == 0 && n > 0) {
        r = bt_buf_reserve(out, 4096);
        n = r == 0 ? read(fd, out->data + out->len, 4095) : 0;
        out->len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    if (r == BT_ELIMIT) /* the rest is not looked at */
        r = 0;
    return r != 0 ? r : bt_buf_append_u8(out, 0);
}

/* The words of a list, as in "cpu,cpuacct". */
static bool list_has(const char *list, size_t len, const char *word, char separator)
{
    size_t want = strlen(word);

    while (len > 0) {
        const char *end = memchr(list, separator, len);
        size_t n = end != NULL ? (size_t)(end - list) : len;

        if (n == want && memcmp(list, word, n) == 0)
            return true;
        n += end != NULL;
        list += n;
        len -= n;
    }
    return false;
}

static unsigned controllers_in(const char *list, size_t len, char separator)
{
    unsigned set = 0;

    for (unsigned c = 0; c < FM_N_CONTROLLERS; c++)
        set |= list_has(list, len, names[c], separator) ? FM_CTL(c) : 0;
    return set;
}

/* The path of this process in the tree, from /proc/self/cgroup; borrowed, not terminated.
 */
static struct bt_slice own_path(const char *text, bool v2, unsigned controllers)
{
    while (*text != '\0') {
        const char *list = strchr(text, ':'), *path, *end = strchr(text, '\n');

        end = end != NULL ? end : text + strlen(text);
        path = list != NULL ? strchr(list + 1, ':') : NULL;
        if (path != NULL && path < end) {
            size_t len = (size_t)(path - list) - 1;

            if (v2 ? len == 0 && text[0] == '0'
                   : (controllers_in(list + 1, len, ',') & controllers) != 0)
                return (struct bt_slice){ (const uint8_t *)path + 1,
                                          (size_t)(end - path) - 1 };
        }
        text = *end != '\0' ? end + 1 : end;
    }
    return (struct bt_slice){ 0 };
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where this process is, as a folder. mount_root: the part of the tree that is mounted.
 */
static char *base_folder(const char *top, const char *mount_root, struct bt_slice own)
{
    struct bt_buf path bt_cleanup(bt_buf_deinit) = { 0 };
    size_t skip = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
    char *text;

    if (own.len < skip || memcmp(own.ptr, mount_root, skip) != 0)
        own.len = skip = 0;
    if (bt_buf_printf(&path, "%s%.*s", top, (int)(own.len - skip),
                      own.len > 0 ? (const char *)own.ptr + skip : "") != 0)
        return NULL;
    while (path.len > 1 && path.data[path.len - 1] == '/')
        path.len--;
    text = bt_buf_steal_str(&path);
    if (text == NULL || (is_folder(text) && strstr(text, "/..") == NULL))
        return text;
    bt_free(text);
    return bt_strdup(top);
}

/* One line of mountinfo: ... ROOT MOUNTPOINT ... - TYPE SOURCE OPTIONS. False when it is
 * no tree of control groups. line is changed. */
static bool parse_mount(char *line, const char *root, const char *self, struct found *out)
{
    char *tail = strstr(line, " - "), *words[5], *save = NULL, *type, *options;
    char top[FM_CGROUP_PATH];

    if (tail == NULL)
        return false;
    *tail = '\0';
    for (size_t i = 0; i < BT_ARRAY_LEN(words); i++) {
        words[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
        if (words[i] == NULL)
            return false;
    }
    type = strtok_r(tail + 3, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    options = strtok_r(NULL, " ", &save);
    if (type == NULL || options == NULL || strncmp(type, "cgroup", 6) != 0)
        return false;
    *out = (struct found){ .v2 = strcmp(type, "cgroup2") == 0 };
    out->controllers = out->v2 ? 0 : controllers_in(options, strlen(options), ',');
    if (!out->v2 && out->controllers == 0)
        return false;
    (void)snprintf(top, sizeof(top), "%s%s", root, words[4]);
    out->top = bt_strdup(top);
    out->base = base_folder(top, words[3], own_path(self, out->v2, out->controllers));
    return true;
}

/* ---- Our folder ---- */

/* End what is in a folder and below, and remove it. False: something is still there. */
static bool clear_once(const char *path, bool kills)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    char below[FM_CGROUP_PATH];
    int n;

    if (dir == NULL)
        return errno == ENOENT;
    fm_cgroup_kill_folder(path, kills);
    while ((e = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe): own stream */
        n = snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && n < (int)sizeof(below) && is_folder(below)) {
            fm_cgroup_kill_folder(below, kills);
            (void)rmdir(below);
        }
    }
    closedir(dir);
    return rmdir(path) == 0 || errno == ENOENT;
}

bool fm_cgroup_end_folder(const char *path)
{
    for (int i = 0; i < CLEAR_TRIES; i++) {
        if (clear_once(path, true))
            return true;
        usleep(CLEAR_STEP_US);
    }
    return false;
}

static char *join(const char *folder, const char *name)
{
    struct bt_buf path bt_cleanup(bt_buf_deinit) = { 0 };

    return bt_buf_printf(&path, "%s/%s", folder, name) == 0 ? bt_buf_steal_str(&path)
                                                            : NULL;
}

static int make_ours(const char *base, const char *name, char **out, struct bt_buf *why)
{
    char *path = join(base, name);

    *out = NULL;
    if (path == NULL)
        return BT_ENOMEM;
    (void)fm_cgroup_end_folder(path);
    if (mkdir(path, 0755) == 0 || errno == EEXIST) {
        *out = path;
        return 0;
    }
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): both libcs' is safe */
    if (bt_buf_printf(why, "; %s: %s", path, strerror(errno)) != 0) {
        bt_free(path);
        return BT_ENOMEM;
    }
    bt_free(path);
    return 0;
}

/* ---- Version 1 ---- */

static int open_v1(struct fm_cgroups *cgs, const struct found *f, struct bt_buf *why)
{
    struct fm_cgroup_mount *m = &cgs->mounts[cgs->n_mounts];
    int r = make_ours(f->base, cgs->name, &m->ours, why);

    if (r != 0 || m->ours == NULL)
        return r;
    m->v2 = m->kills = false;
    m->controllers = 0;
    for (unsigned c = 0; c < FM_N_CONTROLLERS; c++) {
        if ((f->controllers & FM_CTL(c)) != 0 && fm_cgroup_has(m->ours, v1_files[c]))
            m->controllers |= FM_CTL(c);
    }
    m->controllers &= ~(cgs->v1 | cgs->v2);
    cgs->v1 |= m->controllers;
    if (m->controllers != 0) {
        cgs->n_mounts++;
        return 0;
    }
    (void)rmdir(m->ours);
    bt_free(bt_steal(m->ours));
    return 0;
}

/* ---- Version 2 ---- */

static unsigned get_controllers(const char *folder, const char *file)
{
    char text[FM_CGROUP_TEXT];

    if (fm_cgroup_get(folder, file, text) != 0)
        return 0;
    return controllers_in(text, strcspn(text, "\n"), ' ');
}

/* Hand controllers on to the folders below; those that are. */
static unsigned enable(const char *folder, unsigned controllers)
{
    char text[16];

    for (unsigned c = 0; c < FM_N_CONTROLLERS; c++) {
        (void)snprintf(text, sizeof(text), "+%s", names[c]);
        if ((controllers & FM_CTL(c)) != 0)
            (void)fm_cgroup_put(folder, "cgroup.subtree_control", text);
    }
    return get_controllers(folder, "cgroup.subtree_control") & controllers;
}

static pid_t parent_of(pid_t pid)
{
    char folder[32], text[FM_CGROUP_TEXT];
    const char *p;

    (void)snprintf(folder, sizeof(folder), "/proc/%ld", (long)pid);
    if (fm_cgroup_get(folder, "status", text) != 0)
        return 0;
    p = strstr(text, "\nPPid:");
    return p != NULL ? (pid_t)strtol(p + strlen("\nPPid:"), NULL, 10) : 0;
}

/* When only this process and its children (the guard) are in the group, they leave it for
 * a leaf below. True: no process is in it. */
static bool move_to_leaf(const char *base)
{
    char text[FM_CGROUP_TEXT], one[24];
    char *leaf, *end;
    long pid;

    if (fm_cgroup_get(base, "cgroup.procs", text) != 0)
        return false;
    for (char *p = text; (pid = strtol(p, &end, 10)) > 0 && end != p; p = end)
        if (pid != (long)getpid() && parent_of((pid_t)pid) != getpid())
            return false;
    leaf = join(base, LEAF);
    if (leaf != NULL && (mkdir(leaf, 0755) == 0 || errno == EEXIST)) {
        for (char *p = text; (pid = strtol(p, &end, 10)) > 0 && end != p; p = end) {
            (void)snprintf(one, sizeof(one), "%ld", pid);
            (void)fm_cgroup_put(leaf, "cgroup.procs", one);
        }
    }
    bt_free(leaf);
    return fm_cgroup_get(base, "cgroup.procs", text) == 0 && text[0] == '\0';
}

/* Some controllers can be enabled in a group that has processes; it is then of another
 * kind, in which no process can have a folder of its own. So nothing is tried before the
 * group is empty. The root, which has no cgroup.type, is exempt. */
static unsigned enable_base(const char *base, unsigned there)
{
    unsigned on = get_controllers(base, "cgroup.subtree_control") & there;
    char text[FM_CGROUP_TEXT];

    if (on == there)
        return on;
    if (fm_cgroup_get(base, "cgroup.type", text) == 0 && !move_to_leaf(base))
        return on;
    return enable(base, there);
}

/* The folder below which ours comes, in f->base; what it hands on. */
static unsigned choose_base(struct found *f)
{
    size_t len = strlen(f->base), leaf = strlen("/" LEAF);
    unsigned there, on;

    /* A restart in the same process: the move was made. */
    if (len > leaf && strcmp(f->base + len - leaf, "/" LEAF) == 0)
        f->base[len - leaf] = '\0';
    there = get_controllers(f->base, "cgroup.controllers");
    if (there == 0)
        return 0;
    on = enable_base(f->base, there);
    if (on == 0 && access(f->top, W_OK) == 0) {
        on = get_controllers(f->top, "cgroup.subtree_control");
        if (on != 0)
            (void)memcpy(f->base, f->top, strlen(f->top) + 1);
    }
    return on;
}

/* wanted false: only for cgroup.kill. */
static int open_v2(struct fm_cgroups *cgs, struct found *f, bool wanted,
                   struct bt_buf *why)
{
    struct fm_cgroup_mount *m = &cgs->mounts[cgs->n_mounts];
    unsigned on = wanted ? choose_base(f) : 0;
    int r = make_ours(f->base, cgs->name, &m->ours, why);

    if (r != 0 || m->ours == NULL)
        return r;
    m->v2 = true;
    m->kills = fm_cgroup_has(m->ours, "cgroup.kill");
    m->controllers = enable(m->ours, on) & ~cgs->v1;
    cgs->v2 |= m->controllers;
    if (m->controllers != 0 || m->kills) {
        cgs->n_mounts++;
        return 0;
    }
    (void)rmdir(m->ours);
    bt_free(bt_steal(m->ours));
    return 0;
}

/* ---- All ---- */

static int open_found(struct fm_cgroups *cgs, struct found *f, unsigned versions,
                      struct bt_buf *why)
{
    int r = 0;

    if (f->top == NULL || f->base == NULL)
        r = BT_ENOMEM;
    else if (cgs->n_mounts == FM_CGROUP_MOUNTS)
        r = 0;
    else if (f->v2)
        r = open_v2(cgs, f, (versions & FM_CGROUP_V2) != 0, why);
    else if ((versions & FM_CGROUP_V1) != 0)
        r = open_v1(cgs, f, why);
    bt_free(f->top);
    bt_free(f->base);
    return r;
}

static void set_name(struct fm_cgroups *cgs, const char *id)
{
    uint64_t hash = 14695981039346656037u;

    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 1099511628211u;
    (void)snprintf(cgs->name, sizeof(cgs->name), "baetyl-%016llx",
                   (unsigned long long)hash);
}

int fm_cgroups_open(struct fm_cgroups *cgs, const char *root, const char *id,
                    unsigned versions, struct bt_buf *why)
{
    struct bt_buf mounts bt_cleanup(bt_buf_deinit) = { 0 };
    struct bt_buf self bt_cleanup(bt_buf_deinit) = { 0 };
    char *save = NULL;
    int r;

    *cgs = (struct fm_cgroups){ .root = root };
    set_name(cgs, id);
    r = read_all(root, "/proc/self/mountinfo", &mounts);
    if (r == 0)
        r = read_all(root, "/proc/self/cgroup", &self);
    if (r != 0)
        return r;
    for (char *line = strtok_r((char *)mounts.data, "\n", &save); line != NULL && r == 0;
         line = strtok_r(NULL, "\n", &save)) {
        struct found f;

        if (parse_mount(line, root, (const char *)self.data, &f))
            r = open_found(cgs, &f, versions, why);
    }
    if (r == 0 && cgs->n_mounts == 0 && why->len == 0)
        r = bt_buf_append_str(why, "; no control groups are mounted");
    if (r != 0)
        fm_cgroups_close(cgs);
    return r;
}

void fm_cgroups_close(struct fm_cgroups *cgs)
{
    for (size_t i = 0; i < cgs->n_mounts; i++) {
        (void)fm_cgroup_end_folder(cgs->mounts[i].ours);
        bt_free(cgs->mounts[i].ours);
    }
    *cgs = (struct fm_cgroups){ 0 };
}
