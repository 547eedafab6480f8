/* The original's application.yml, in both of its forms, as one list of services. Main
 * thread; all memory is the context's. */
#ifndef CORE_APP_SERVICES_H
#define CORE_APP_SERVICES_H

#include "core/app_image.h"
#include "core/conf_priv.h"

#define BT_APP_MAX_SERVICES 1024u

struct bt_app_mount {
    char *name; /* of a volume; NULL when source was written */
    char *
        source; /* where the folder is, relative to the working directory; set for both */
    char *path; /* where the service sees it */
    bool readonly;
};
struct bt_app_volume {
    char *name;
    char *path; /* NULL: a volume of a container engine, which has no path */
};
struct bt_app_service {
    char *name;
    char *container_name, *hostname, *network_mode; /* NULL: not written */
    char *image;
    uint32_t replica;
    char *memory, *cpus, *pids; /* limits of one instance; NULL: not written */
    char *ignored;
    struct bt_conf_list mounts; /* struct bt_app_mount */
    struct bt_conf_strings ports, args, env;
    const struct bt_app_image *kind; /* NULL: not an official image */
};
struct bt_app_services {
    char *version, *name;         /* NULL: not written */
    struct bt_conf_list services; /* struct bt_app_service */
    struct bt_conf_list volumes;  /* struct bt_app_volume */
};

/* doc is changed: its compose-like form becomes the list form. 0, BT_ECONF after reports
 * to ctx, BT_ENOMEM. */
int bt_app_services_read(struct bt_conf_ctx *ctx, struct bt_yaml *doc,
                         struct bt_app_services *out) BT_MUST_CHECK;
/* The compose-like form (services and volumes are mappings) as the list form, and what
 * has two spellings as one. Keys that mean nothing here are taken out. 0 or BT_ENOMEM. */
int bt_app_compose(struct bt_yaml *doc) BT_MUST_CHECK;
/* A path without "." and "..", which cannot lead out of the root, and without slashes at
 * its ends: "/a/../b//c/" is "b/c", the root is "". NULL when out of memory. */
char *bt_app_clean_path(struct bt_conf_ctx *ctx, const char *path) BT_MUST_CHECK;
/* By its name, its container's or its host's name. NULL when there is none. */
const struct bt_app_service *bt_app_services_find(const struct bt_app_services *app,
                                                  const char *name, size_t len);

#endif
