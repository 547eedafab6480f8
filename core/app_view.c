/* The mount with the longest path that the wanted one begins with gives the folder; the
 * rest of the path is appended. A path that no mount holds lies in the service itself,
 * which is no folder here: it is taken as it is and told, unless it is only a default.
 * With containers an absolute path is one of the container; without, one of the machine.
 */
#include "core/app_view.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/version.h"

/* What is left of path behind the folder, or NULL. */
static const char *below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    if (strncmp(path, folder, n) != 0)
        return NULL;
    if (n == 0 || path[n] == '\0')
        return path + n;
    return path[n] == '/' ? path + n + 1 : NULL;
}

static const struct bt_app_mount *find_mount(const struct bt_app_service *s,
                                             const char *path)
{
    const struct bt_app_mount *m = s->mounts.items, *best = NULL;

    for (size_t i = 0; i < s->mounts.n; i++) {
        if (m[i].source != NULL && below(path, m[i].path) != NULL &&
            (best == NULL || strlen(m[i].path) > strlen(best->path)))
            best = &m[i];
    }
    return best;
}

/* root/folder/rest, those that are not empty. */
static const char *joined(struct bt_conf_ctx *ctx, const char *root, const char *folder,
                          const char *rest)
{
    const char *parts[] = { root != NULL ? root : "", folder, rest };
    char *out = bt_conf_alloc(ctx, strlen(parts[0]) + strlen(folder) + strlen(rest) + 4);

    if (out == NULL)
        return NULL;
    strcpy(out, parts[0][0] != '\0' || *folder != '\0' ? "" : ".");
    for (size_t i = 0; i < BT_ARRAY_LEN(parts); i++) {
        if (parts[i][0] == '\0')
            continue;
        if (out[0] != '\0')
            strcat(out, "/");
        strcat(out, parts[i]);
    }
    return out;
}

const char *bt_app_view_path(const struct bt_app_view *view, struct bt_conf_ctx *ctx,
                             const char *path, bool *mounted)
{
    const struct bt_app_mount *mount = NULL;
    const char *clean;

    if (mounted != NULL)
        *mounted = true;
    if (path[0] == '/' && !view->docker)
        return path;
    clean = bt_app_clean_path(ctx, path);
    if (clean == NULL)
        return NULL;
    mount = find_mount(view->service, clean);
    if (mount != NULL)
        return joined(ctx, view->root, mount->source, below(clean, mount->path));
    if (mounted != NULL)
        *mounted = false;
    return path[0] == '/' || view->root == NULL ? path
                                                : joined(ctx, view->root, "", path);
}

static const char *translate(void *arg, struct bt_conf_ctx *ctx, const char *path,
                             struct bt_yaml_pos pos)
{
    const struct bt_app_view *view = arg;
    bool mounted;
    const char *to = bt_app_view_path(view, ctx, path, &mounted);

    if (!mounted && pos.line != 0)
        bt_conf_report(ctx, false, pos,
                       "no mount of the service \"%s\" holds %.200s; it is taken as a "
                       "path of the working directory",
                       view->service->name, path);
    return to;
}

static const char *own_variable(const struct bt_app_service *s, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < s->env.n; i++) {
        if (strncmp(s->env.items[i], name, n) == 0 && s->env.items[i][n] == '=')
            return s->env.items[i] + n + 1;
    }
    return NULL;
}

/* What the original's master gave every service, by both names. */
static const char *variable(void *arg, const char *name)
{
    const struct bt_app_view *view = arg;
    const struct {
        const char *name, *old, *value;
    } given[] = {
        { "BAETYL_SERVICE_NAME", "OPENEDGE_SERVICE_NAME", view->service->name },
        { "BAETYL_SERVICE_INSTANCE_NAME", "OPENEDGE_SERVICE_INSTANCE_NAME",
          view->service->name },
        { "BAETYL_SERVICE_MODE", "OPENEDGE_RUNNING_MODE",
          view->docker ? "docker" : "native" },
        { "BAETYL_HOST_OS", "OPENEDGE_HOST_OS",
          BT_PLATFORM[0] == 'd' ? "darwin" : "linux" },
    };
    const char *value = own_variable(view->service, name);

    for (size_t i = 0; value == NULL && i < BT_ARRAY_LEN(given); i++) {
        if (strcmp(given[i].name, name) == 0 || strcmp(given[i].old, name) == 0)
            value = given[i].value;
    }
    return value != NULL ? value : getenv(name);
}

void bt_app_view_init(struct bt_app_view *view, const struct bt_app_service *service,
                      bool docker)
{
    *view = (struct bt_app_view){
        .conf = { .path = translate, .variable = variable, .arg = view },
        .service = service,
        .docker = docker,
    };
}
