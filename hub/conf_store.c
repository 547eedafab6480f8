/* What the store's options say when a row is not enough: the mode of durability with its
 * time, and budgets that leave room to work. */
#include <string.h>

#include "core/error.h"
#include "hub/conf.h"

#define MIN_DISK     ((uint64_t)8 * 1024 * 1024)
#define MIN_MEMORY   ((uint64_t)4 * 1024 * 1024)
#define MAX_INTERVAL 60000

/* 0, or BT_EINVAL when text is not batched(TIME). */
static int parse_batched(const char *text, int64_t *ms)
{
    static const char head[] = "batched(";
    size_t n = strlen(text);
    char time[32];

    if (n < sizeof(head) + 1 || strncmp(text, head, sizeof(head) - 1) != 0 ||
        text[n - 1] != ')' || n - sizeof(head) >= sizeof(time))
        return BT_EINVAL;
    memcpy(time, text + sizeof(head) - 1, n - sizeof(head));
    time[n - sizeof(head)] = '\0';
    return bt_conf_parse_ms(time, ms);
}

static void check_durability(struct bt_conf_ctx *ctx, struct hub_conf *conf)
{
    const char *text = conf->durability_text;

    conf->commit_interval = 0;
    if (text == NULL || strcmp(text, "full") == 0) {
        conf->durability = HUB_DURABILITY_FULL;
    } else if (strcmp(text, "memory") == 0) {
        conf->durability = HUB_DURABILITY_MEMORY;
    } else if (parse_batched(text, &conf->commit_interval) == 0 &&
               conf->commit_interval >= 1 && conf->commit_interval <= MAX_INTERVAL) {
        conf->durability = HUB_DURABILITY_BATCHED;
    } else {
        bt_conf_error_at(ctx, conf, "durability",
                         "expected full, memory or batched(TIME) with a time from 1ms to "
                         "1m, found \"%.64s\"",
                         text);
    }
}

void hub_conf_check_store(struct bt_conf_ctx *ctx, struct hub_conf *conf)
{
    check_durability(ctx, conf);
    if (conf->max_disk != 0 && conf->max_disk < MIN_DISK)
        bt_conf_error_at(ctx, conf, "limits.disk", "expected at least 8m, or 0");
    if (conf->max_memory != 0 && conf->max_memory < MIN_MEMORY)
        bt_conf_error_at(ctx, conf, "limits.memory", "expected at least 4m, or 0");
}
