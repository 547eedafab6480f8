/* How a service sees files and variables. The original gave each service a folder (or a
 * container) in which its volumes were mounted; here a path of its files is translated to
 * the folder of the volume. Main thread; memory is the context's. */
#ifndef CORE_APP_VIEW_H
#define CORE_APP_VIEW_H

#include "core/app_services.h"

struct bt_app_view {
    struct bt_conf_view conf; /* arg is this view */
    const struct bt_app_service *service;
    bool docker;      /* the service's own paths begin at a root of its own */
    const char *root; /* what translated paths begin with: NULL, or the working directory,
                         for code that runs in another folder */
};

void bt_app_view_init(struct bt_app_view *view, const struct bt_app_service *service,
                      bool docker);
/* A path of the service as one relative to the working directory. *mounted (may be NULL)
 * tells whether a mount holds it; other paths are returned as they are. NULL when out of
 * memory. */
const char *bt_app_view_path(const struct bt_app_view *view, struct bt_conf_ctx *ctx,
                             const char *path, bool *mounted);

#endif
