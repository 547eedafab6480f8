/* Any bytes as a configuration: a synthetic table with every kind, and the wrapping of a
 * module's own file. What was accepted must print, and what was printed must be accepted.
 */
#include <stdint.h>
#include <stdlib.h>

#include "core/app_conf.h"

struct item {
    char *name;
    struct bt_conf_strings permit;
};
struct sample {
    bool on;
    uint32_t count, mode;
    uint64_t size;
    int64_t time;
    char *text;
    struct bt_conf_strings listen;
    struct bt_conf_list rules;
    struct item end;
};

static const char *const modes[] = { "full", "memory", NULL };
static const struct bt_conf_row item_rows[] = {
    BT_CONF_ROW(struct item, "name", STRING, name, NULL, "N.", .flags = BT_CONF_REQUIRED),
    BT_CONF_ROW(struct item, "permit", STRINGS, permit, NULL, "P.",
                .match = "^[a-z#+/]*$"),
};
static const struct bt_conf_table item_table = {
    "item", "I.", sizeof(struct item), item_rows, BT_ARRAY_LEN(item_rows), NULL,
};
static const struct bt_conf_row end_rows[] = {
    BT_CONF_ROW(struct item, "name", STRING, name, NULL, "N."),
    BT_CONF_ROW(struct item, "permit", STRINGS, permit, "[a]", "P."),
};
static const struct bt_conf_table end_table = {
    "end", "E.", sizeof(struct item), end_rows, BT_ARRAY_LEN(end_rows), NULL,
};
static const struct bt_conf_row rows[] = {
    BT_CONF_ROW(struct sample, "on", BOOL, on, "true", "O."),
    BT_CONF_ROW(struct sample, "message.count.max", U32, count, "10", "C.", .min = 1),
    BT_CONF_ROW(struct sample, "message.size", BYTES, size, "32k", "S."),
    BT_CONF_ROW(struct sample, "time", MS, time, "20s", "T.", .min = -1),
    BT_CONF_ROW(struct sample, "mode", ENUM, mode, "memory", "M.", .choices = modes),
    BT_CONF_ROW(struct sample, "text", STRING, text, NULL, "T."),
    BT_CONF_ROW(struct sample, "listen", STRINGS, listen, NULL, "L."),
    BT_CONF_ROW(struct sample, "rules", LIST, rules, NULL, "R.", .sub = &item_table),
    BT_CONF_SECTION_ROW(struct sample, "end", end, &end_table, "E."),
};
static const struct bt_conf_table table = {
    "sample", "S.", sizeof(struct sample), rows, BT_ARRAY_LEN(rows), NULL,
};
static const struct bt_module_ops ops = { .name = "sample" };
static const struct bt_app_mark marks[] = { { "listen", false },
                                            { "rules", true },
                                            { NULL, false } };
static const struct bt_app_module module = { &ops, &table, "hub", marks, NULL };
static const struct bt_app_modules modules = { &module, 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bt_slice text = { data, size };
    struct bt_buf out = { 0 };
    struct bt_app *app = NULL, *again = NULL;

    if (bt_app_load_text(&modules, "fuzz", text, 1, &app) == 0) {
        if (bt_app_print(app, &out) != 0)
            abort();
        text = (struct bt_slice){ out.data, out.len };
        if (bt_app_load_text(&modules, "printed", text, 1, &again) != 0)
            abort();
    }
    if (app != NULL)
        (void)bt_conf_messages(app->ctx);
    bt_app_free(again);
    bt_app_free(app);
    bt_buf_deinit(&out);
    return 0;
}
