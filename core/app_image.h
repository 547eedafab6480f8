/* Service images of the original that this program is by itself. Any thread. */
#ifndef CORE_APP_IMAGE_H
#define CORE_APP_IMAGE_H

#include "core/base.h"

enum bt_app_image_kind {
    BT_APP_IMAGE_MODULE,  /* a module of this process; name: its section */
    BT_APP_IMAGE_RUNTIME, /* of functions; name: the value of functions[].runtime */
    BT_APP_IMAGE_LATER,   /* an official one that is not built in yet */
};

struct bt_app_image {
    const char *image; /* without registry, vendor prefix and tag */
    enum bt_app_image_kind kind;
    const char *name;
};

/* By the last component of the name, without tag and digest:
 * "registry:5000/team/baetyl-hub:1.0". NULL: not an official image. */
const struct bt_app_image *bt_app_image_find(const char *image);

#endif
