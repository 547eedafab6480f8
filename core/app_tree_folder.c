/* The folder a service ran in, as the original made it without containers: a link for
 * each mount, so that code finds the files of its volumes under the paths it knows. Only
 * services that are runtimes of functions get one; instances run in it.
 *
 * Made before the modules start and at a reload. What is there already stays: only a link
 * of ours is replaced when its mount has changed. A mount below another one is reached
 * through that. Failure: what cannot be made is logged; the functions of the service say
 * so when they do not start. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/app_tree.h"
#include "core/error.h"
#include "core/log.h"

/* The folders of the path; with the last part too when `all`. */
static int make_folders(const char *path, bool all)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof(part))
        return BT_ELIMIT;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && (path[i] != '\0' || !all))
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return BT_EIO;
    }
    return 0;
}

static bool is_link_to(const char *path, const char *target)
{
    char now[PATH_MAX];
    ssize_t n = readlink(path, now, sizeof(now) - 1);

    if (n < 0)
        return false;
    now[n] = '\0';
    return strcmp(now, target) == 0;
}

static int make_link(const char *path, const char *target)
{
    struct stat st;

    if (make_folders(path, false) != 0)
        return BT_EIO;
    if (lstat(path, &st) == 0) {
        if (!S_ISLNK(st.st_mode) || is_link_to(path, target))
            return 0;
        if (unlink(path) != 0)
            return BT_EIO;
    }
    return symlink(target, path) == 0 ? 0 : BT_EIO;
}

static bool is_below_another(const struct bt_app_service *s, const struct bt_app_mount *m)
{
    const struct bt_app_mount *all = s->mounts.items;

    for (size_t i = 0; i < s->mounts.n; i++) {
        size_t n = strlen(all[i].path);

        if (&all[i] != m && strncmp(m->path, all[i].path, n) == 0 &&
            (m->path[n] == '/' || n == 0 || (m->path[n] == '\0' && &all[i] < m)))
            return true;
    }
    return false;
}

static int make_mount(const char *folder, const char *work_dir,
                      const struct bt_app_mount *m)
{
    char path[PATH_MAX], target[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", folder, m->path);
    int k = snprintf(target, sizeof(target), "%s/%s", work_dir, m->source);

    if (n < 0 || n >= (int)sizeof(path) || k < 0 || k >= (int)sizeof(target))
        return BT_ELIMIT;
    if (access(target, F_OK) != 0 && make_folders(target, true) != 0)
        return BT_EIO;
    return make_link(path, target);
}

static void make_folder(const struct bt_app_service *s, const char *work_dir)
{
    const struct bt_app_mount *m = s->mounts.items;
    char folder[BT_APP_FOLDER_MAX];
    int r;

    bt_app_tree_folder(s, folder);
    r = make_folders(folder, true);
    for (size_t i = 0; r == 0 && i < s->mounts.n; i++) {
        if (m[i].path[0] != '\0' && !is_below_another(s, &m[i]))
            r = make_mount(folder, work_dir, &m[i]);
    }
    if (r != 0)
        bt_log(BT_LOG_ERROR, "CORE-FOLDER", "the folder of a service cannot be made",
               "service=%s folder=" BT_LOG_Q " reason=" BT_LOG_Q, s->name, folder,
               r == BT_EIO ? strerror(errno) : bt_error_text(r));
}

void bt_app_tree_folder(const struct bt_app_service *s, char out[BT_APP_FOLDER_MAX])
{
    snprintf(out, BT_APP_FOLDER_MAX, BT_APP_SERVICES "/%.64s", s->name);
}

void bt_app_tree_prepare(const struct bt_app_tree *tree)
{
    char work_dir[PATH_MAX];

    if (getcwd(work_dir, sizeof(work_dir)) == NULL)
        return;
    for (size_t i = 0; i < tree->app.services.n; i++) {
        const struct bt_app_part *part = &tree->parts[i];
        const struct bt_app_service *s = part->view.service;

        if (part->used && s->kind != NULL && s->kind->kind == BT_APP_IMAGE_RUNTIME &&
            strcmp(s->kind->name, "sql") != 0)
            make_folder(s, work_dir);
    }
}
