/* The original's working folder as one configuration: etc/baetyl/conf.yml, the services
 * of var/db/baetyl/application.yml, and the service.yml of each in the volume that the
 * service mounts at etc/baetyl. Main thread; all memory is the context's. */
#ifndef CORE_APP_TREE_H
#define CORE_APP_TREE_H

#include "core/app_conf.h"
#include "core/app_view.h"

#define BT_APP_APPLICATION "var/db/baetyl/application.yml"
#define BT_APP_SERVICE_YML "etc/baetyl/service.yml"
#define BT_APP_MASTER_LOG  "var/log/baetyl/baetyl.log"

/* One service, and what it is here. */
struct bt_app_part {
    struct bt_app_view view; /* view.service: of the file */
    const char *file;        /* its service.yml; NULL: it has none, or is not run */
    struct bt_yaml *doc;     /* of file */
    const char *root; /* of the paths in its file: NULL, or the working directory */
    bool used;        /* it runs, or is the runtime of a function */
};
struct bt_app_tree {
    struct bt_conf_ctx *ctx;
    const struct bt_app_modules *modules;
    bool docker;
    const char *file;     /* application.yml */
    const char *work_dir; /* absolute */
    struct bt_app_services app;
    struct bt_app_part *parts; /* one for each service */
};

/* Whether these are files of the original's master: `root` is the one that was read
 * (NULL: an empty file), and no section of a module is in it. With `services` it is the
 * application; otherwise it is conf.yml when it has `mode` or there is an application. */
bool bt_app_tree_is(const struct bt_yaml_node *root);
/* The sections of the modules, in the place of *doc: what the application's services
 * give. doc and *doc as above. 0, BT_ECONF after reports, BT_ENOMEM. */
int bt_app_tree_load(struct bt_conf_ctx *ctx, const struct bt_app_modules *modules,
                     struct bt_yaml **doc, struct bt_app_tree **out) BT_MUST_CHECK;
/* One line for each service: its name, image, and what it is here. */
int bt_app_tree_print(const struct bt_app_tree *tree, struct bt_buf *out) BT_MUST_CHECK;

#define BT_APP_SERVICES   "var/run/baetyl/services"
#define BT_APP_FOLDER_MAX 128u
/* The folder in which the functions of a service run, relative to the working directory.
 */
void bt_app_tree_folder(const struct bt_app_service *s, char out[BT_APP_FOLDER_MAX]);
/* Make these folders; before the modules start, and after a reload. */
void bt_app_tree_prepare(const struct bt_app_tree *tree);

/* ---- The parts of the work, core/app_tree_*.c ---- */

/* The service.yml of a part, read in its view. *doc is NULL after a report; `at` is where
 * it is needed. */
int bt_app_part_read(struct bt_app_tree *tree, struct bt_app_part *part) BT_MUST_CHECK;
/* Addresses of the section `listen` as the machine has them: published ports of a
 * container, the loopback address for the others. */
int bt_app_tree_ports(struct bt_app_tree *tree, const struct bt_app_part *hub,
                      struct bt_yaml_node *section) BT_MUST_CHECK;
/* Give the functions of the section their runtime, handler, code folder and environment
 * out of their services. */
int bt_app_tree_functions(struct bt_app_tree *tree, const struct bt_app_part *manager,
                          struct bt_yaml_node *section) BT_MUST_CHECK;
/* The part of a service by its name; NULL. */
struct bt_app_part *bt_app_tree_part(const struct bt_app_tree *tree, const char *service);

#endif
