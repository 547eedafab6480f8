/* The table of application.yml, and what one row alone cannot tell: names that are there
 * twice, mounts of volumes that are not declared.
 *
 * Paths of volumes are confined to the working directory, as in the original: a leading
 * slash means that folder and ".." does not lead out of it. */
#include "core/app_services.h"

#include <string.h>

#include "core/error.h"

#define NAME "^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$"

static const struct bt_conf_row mount_rows[] = {
    BT_CONF_ROW(struct bt_app_mount, "name", STRING, name, NULL, "Volume.",
                .match = NAME),
    BT_CONF_ROW(struct bt_app_mount, "source", STRING, source, NULL, "Folder.",
                .max = 4096),
    BT_CONF_ROW(struct bt_app_mount, "path", STRING, path, NULL, "Where it is seen.",
                .flags = BT_CONF_REQUIRED, .max = 4096),
    BT_CONF_ROW(struct bt_app_mount, "readonly", BOOL, readonly, "false", "Read only."),
};
static const struct bt_conf_table mount_table = {
    .name = "mounts",
    .size = sizeof(struct bt_app_mount),
    .rows = mount_rows,
    .n_rows = BT_ARRAY_LEN(mount_rows),
};

static const struct bt_conf_row volume_rows[] = {
    BT_CONF_ROW(struct bt_app_volume, "name", STRING, name, NULL, "Name.",
                .flags = BT_CONF_REQUIRED, .match = NAME),
    BT_CONF_ROW(struct bt_app_volume, "path", STRING, path, NULL, "Folder.", .max = 4096),
};
static const struct bt_conf_table volume_table = {
    .name = "volumes",
    .size = sizeof(struct bt_app_volume),
    .rows = volume_rows,
    .n_rows = BT_ARRAY_LEN(volume_rows),
};

#define SERVICE_ROW(...) BT_CONF_ROW(struct bt_app_service, __VA_ARGS__)
static const struct bt_conf_row service_rows[] = {
    SERVICE_ROW("name", STRING, name, NULL, "Name.", .flags = BT_CONF_REQUIRED,
                .match = NAME),
    SERVICE_ROW("container_name", STRING, container_name, NULL, "Name of the instance.",
                .match = NAME),
    SERVICE_ROW("hostname", STRING, hostname, NULL, "Name of the host.", .max = 255),
    SERVICE_ROW("network_mode", STRING, network_mode, NULL, "Network.", .max = 255),
    SERVICE_ROW("image", STRING, image, NULL, "Image.", .flags = BT_CONF_REQUIRED,
                .max = 1024),
    SERVICE_ROW("replica", U32, replica, "0", "Instances at the start.", .max = 10000),
    SERVICE_ROW("resources.memory.limit", STRING, memory, NULL, "Memory.", .max = 32),
    SERVICE_ROW("resources.memory.swap", STRING, ignored, NULL, "Swap.", .max = 32),
    SERVICE_ROW("resources.cpu.cpus", STRING, cpus, NULL, "Processors.", .max = 32),
    SERVICE_ROW("resources.cpu.setcpus", STRING, ignored, NULL, "Processors.",
                .max = 255),
    SERVICE_ROW("resources.pids.limit", STRING, pids, NULL, "Processes.", .max = 32),
    SERVICE_ROW("mounts", LIST, mounts, NULL, "Folders.", .sub = &mount_table,
                .max = 1024),
    SERVICE_ROW("ports", STRINGS, ports, NULL, "Published ports.", .max = 1024),
    SERVICE_ROW("args", STRINGS, args, NULL, "Arguments.", .max = 1024),
    SERVICE_ROW("env", STRINGS, env, NULL, "Environment.", .max = 1024,
                .match = "^[A-Za-z_][A-Za-z0-9_]*="),
};
static const struct bt_conf_table service_table = {
    .name = "services",
    .size = sizeof(struct bt_app_service),
    .rows = service_rows,
    .n_rows = BT_ARRAY_LEN(service_rows),
};

/* ---- What needs two rows ---- */

char *bt_app_clean_path(struct bt_conf_ctx *ctx, const char *path)
{
    char *out = bt_conf_alloc(ctx, strlen(path) + 2);
    size_t len = 0;

    if (out == NULL)
        return NULL;
    while (*path != '\0') {
        size_t n = strcspn(path, "/");

        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (len > 0 && out[--len] != '/')
                ;
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            if (len > 0)
                out[len++] = '/';
            memcpy(out + len, path, n);
            len += n;
        }
        path += n + (path[n] == '/');
    }
    out[len] = '\0';
    return out;
}

static const struct bt_app_volume *find_volume(const struct bt_app_services *app,
                                               const char *name)
{
    const struct bt_app_volume *v = app->volumes.items;

    for (size_t i = 0; name != NULL && i < app->volumes.n; i++) {
        if (strcmp(v[i].name, name) == 0)
            return &v[i];
    }
    return NULL;
}

/* The folder of a volume of a container engine: beside the others. */
static char *engine_folder(struct bt_conf_ctx *ctx, const char *name)
{
    struct bt_buf path bt_cleanup(bt_buf_deinit) = { 0 };

    if (bt_buf_printf(&path, "var/db/baetyl/%s", name) != 0 ||
        bt_buf_append_u8(&path, 0) != 0)
        return NULL;
    return bt_app_clean_path(ctx, (const char *)path.data);
}

static int resolve_mount(struct bt_conf_ctx *ctx, const struct bt_app_services *app,
                         struct bt_app_mount *m)
{
    const struct bt_app_volume *v =
        find_volume(app, m->name != NULL ? m->name : m->source);

    if (m->name != NULL && v == NULL) {
        bt_conf_error_at(ctx, m, "name", "there is no volume \"%s\" under `volumes`",
                         m->name);
        return 0;
    }
    if (v != NULL && v->path == NULL)
        m->source = engine_folder(ctx, v->name);
    else if (v != NULL && m->name != NULL)
        m->source = bt_app_clean_path(ctx, v->path);
    else if (m->source != NULL)
        m->source = bt_app_clean_path(ctx, m->source);
    else
        bt_conf_error_at(ctx, m, "name", "a mount needs the name of a volume");
    m->path = bt_app_clean_path(ctx, m->path);
    return m->path != NULL ? 0 : BT_ENOMEM;
}

static void check_names(struct bt_conf_ctx *ctx, const struct bt_app_services *app)
{
    const struct bt_app_service *s = app->services.items;
    const struct bt_app_volume *v = app->volumes.items;

    for (size_t i = 0; i < app->services.n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(s[i].name, s[k].name) == 0)
                bt_conf_error_at(ctx, &s[i], "name", "more than one service is \"%s\"",
                                 s[i].name);
        }
    }
    for (size_t i = 0; i < app->volumes.n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(v[i].name, v[k].name) == 0)
                bt_conf_error_at(ctx, &v[i], "name", "more than one volume is \"%s\"",
                                 v[i].name);
        }
    }
}

static void check_services(struct bt_conf_ctx *ctx, void *obj)
{
    struct bt_app_services *app = obj;
    struct bt_app_service *s = app->services.items;

    check_names(ctx, app);
    for (size_t i = 0; i < app->services.n; i++) {
        struct bt_app_mount *m = s[i].mounts.items;

        s[i].kind = bt_app_image_find(s[i].image);
        for (size_t k = 0; k < s[i].mounts.n; k++) {
            if (resolve_mount(ctx, app, &m[k]) != 0)
                return; /* the context remembers */
        }
    }
}

static const struct bt_conf_row app_rows[] = {
    BT_CONF_ROW(struct bt_app_services, "version", STRING, version, NULL, "Version.",
                .max = 1024),
    BT_CONF_ROW(struct bt_app_services, "app_version", STRING, version, NULL, "Version.",
                .max = 1024),
    BT_CONF_ROW(struct bt_app_services, "name", STRING, name, NULL, "Name.", .max = 1024),
    BT_CONF_ROW(struct bt_app_services, "services", LIST, services, NULL, "Services.",
                .sub = &service_table, .max = BT_APP_MAX_SERVICES),
    BT_CONF_ROW(struct bt_app_services, "volumes", LIST, volumes, NULL, "Volumes.",
                .sub = &volume_table, .max = BT_APP_MAX_SERVICES),
};
static const struct bt_conf_table app_table = {
    .name = "",
    .size = sizeof(struct bt_app_services),
    .rows = app_rows,
    .n_rows = BT_ARRAY_LEN(app_rows),
    .check = check_services,
};

int bt_app_services_read(struct bt_conf_ctx *ctx, struct bt_yaml *doc,
                         struct bt_app_services *out)
{
    int r = bt_app_compose(doc);

    return r != 0 ? r : bt_conf_apply(ctx, doc, &app_table, out);
}

static bool is_name(const char *have, const char *name, size_t len)
{
    return have != NULL && strlen(have) == len && strncmp(have, name, len) == 0;
}

const struct bt_app_service *bt_app_services_find(const struct bt_app_services *app,
                                                  const char *name, size_t len)
{
    const struct bt_app_service *s = app->services.items;

    for (size_t i = 0; i < app->services.n; i++) {
        if (is_name(s[i].name, name, len) || is_name(s[i].container_name, name, len) ||
            is_name(s[i].hostname, name, len))
            return &s[i];
    }
    return NULL;
}
