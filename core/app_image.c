/* The table of official images. Registries, tags and digests differ from site to site, so
 * only the last component of the name counts; the name of the first versions had another
 * vendor prefix. Failure: an image that is not in the table is not ours. */
#include "core/app_image.h"

#include <string.h>

static const char *const prefixes[] = { "baetyl-", "openedge-" };

static const struct bt_app_image images[] = {
    { "hub", BT_APP_IMAGE_MODULE, "hub" },
    { "function-manager", BT_APP_IMAGE_MODULE, "functions" },
    { "function-python27", BT_APP_IMAGE_RUNTIME, "python27" },
    { "function-python2", BT_APP_IMAGE_RUNTIME, "python2" },
    { "function-python36", BT_APP_IMAGE_RUNTIME, "python36" },
    { "function-python36-opencv41", BT_APP_IMAGE_RUNTIME, "python36" },
    { "function-python3", BT_APP_IMAGE_RUNTIME, "python3" },
    { "function-node85", BT_APP_IMAGE_RUNTIME, "node85" },
    { "function-node8", BT_APP_IMAGE_RUNTIME, "node8" },
    { "function-sql", BT_APP_IMAGE_RUNTIME, "sql" },
    { "agent", BT_APP_IMAGE_LATER, NULL },
    { "remote-mqtt", BT_APP_IMAGE_LATER, NULL },
    { "timer", BT_APP_IMAGE_LATER, NULL },
    { "video-infer", BT_APP_IMAGE_LATER, NULL },
};

const struct bt_app_image *bt_app_image_find(const char *image)
{
    const char *slash = strrchr(image, '/');
    const char *name = slash != NULL ? slash + 1 : image;
    size_t n = strcspn(name, ":@ "), prefix = 0;

    for (size_t i = 0; i < BT_ARRAY_LEN(prefixes); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            prefix = strlen(prefixes[i]);
    }
    if (prefix == 0 || n <= prefix)
        return NULL;
    for (size_t i = 0; i < BT_ARRAY_LEN(images); i++) {
        if (strlen(images[i].image) == n - prefix &&
            strncmp(images[i].image, name + prefix, n - prefix) == 0)
            return &images[i];
    }
    return NULL;
}
