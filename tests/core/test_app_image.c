/* Which images are ours, however they are written. */
#include "core/app_image.c"

#include "tests/harness.h"

TEST(the_last_component_counts)
{
    static const struct {
        const char *image, *name;
        enum bt_app_image_kind kind;
    } rows[] = {
        { "baetyl-hub", "hub", BT_APP_IMAGE_MODULE },
        { "hub.example.com/baetyl/baetyl-hub:0.1.6-Linux", "hub", BT_APP_IMAGE_MODULE },
        { "registry:5000/a/b/baetyl-hub@sha256:0123", "hub", BT_APP_IMAGE_MODULE },
        { "openedge-hub:latest", "hub", BT_APP_IMAGE_MODULE },
        { "x/baetyl-function-manager", "functions", BT_APP_IMAGE_MODULE },
        { "baetyl-function-python27", "python27", BT_APP_IMAGE_RUNTIME },
        { "baetyl-function-python36:1-opencv41", "python36", BT_APP_IMAGE_RUNTIME },
        { "baetyl-function-python36-opencv41", "python36", BT_APP_IMAGE_RUNTIME },
        { "baetyl-function-node8", "node8", BT_APP_IMAGE_RUNTIME },
        { "baetyl-function-sql ", "sql", BT_APP_IMAGE_RUNTIME },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct bt_app_image *image = bt_app_image_find(rows[i].image);

        CHECK(image != NULL);
        CHECK_STR(image->name, rows[i].name);
        CHECK_INT(image->kind, rows[i].kind);
    }
    CHECK_INT(bt_app_image_find("a/baetyl-timer:1")->kind, BT_APP_IMAGE_LATER);
}

TEST(other_images)
{
    static const char *const rows[] = {
        "",        "hub",         "baetyl-",     "baetyl-hub2", "eclipse-mosquitto:1.6",
        "a/b:hub", "baetyl-hub/", "xbaetyl-hub", ":baetyl-hub",
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        CHECK(bt_app_image_find(rows[i]) == NULL);
}
