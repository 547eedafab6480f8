/* Options of a function's limits and of its sandbox. */
#include <stdlib.h>
#include <string.h>

#include "funcmgr/conf/conf_priv.h"

/* Less than this no interpreter starts with. */
#define MIN_MEMORY ((uint64_t)4 * 1024 * 1024)
/* One in a hundred is the kernel's shortest turn. */
#define MIN_CPU_MILLI 10
#define MAX_CPU_MILLI 1024000
#define MIN_FILES     16u

static const struct bt_conf_row limits_rows[] = {
    BT_CONF_ROW(struct fm_limits_conf, "memory", BYTES, memory, "0",
                "Memory of one instance; beyond it the instance is ended. 0 is no limit.",
                .max = INT64_MAX),
    BT_CONF_ROW(struct fm_limits_conf, "cpu", STRING, cpu, NULL,
                "Share of one processor that one instance may use, as 0.5 or 50%; beyond "
                "it the instance waits.",
                .match = "^[0-9]+([.][0-9]+)?%?$", .max = 16),
    BT_CONF_ROW(
        struct fm_limits_conf, "pids", U32, pids, "0",
        "Processes and threads of one instance; beyond it no more can be started. "
        "0 is no limit.",
        .max = 4194304),
    BT_CONF_ROW(struct fm_limits_conf, "files", U32, files, "0",
                "Open files of a process of the instance; 0 is the limit of Baetyl "
                "itself.",
                .max = 1048576),
    BT_CONF_ROW(struct fm_limits_conf, "log.rate", U32, log_rate, "100",
                "Printed lines a second that go to the log; the others are counted.",
                .max = 100000),
    BT_CONF_ROW(struct fm_limits_conf, "log.line", BYTES, log_line, "1k",
                "Bytes of a printed line; the rest of it is dropped.", .min = 16,
                .max = 3072),
};

static void check_limits(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_limits_conf *c = obj;

    if (c->memory > 0 && c->memory < MIN_MEMORY)
        bt_conf_error_at(ctx, obj, "memory", "no instance starts with less than 4m");
    if (c->files > 0 && c->files < MIN_FILES)
        bt_conf_error_at(ctx, obj, "files", "no instance starts with less than %u",
                         MIN_FILES);
    if (c->cpu != NULL) {
        double share = strtod(c->cpu, NULL);

        share *= strchr(c->cpu, '%') != NULL ? 10 : 1000;
        if (share < MIN_CPU_MILLI || share > MAX_CPU_MILLI)
            bt_conf_error_at(ctx, obj, "cpu", "%s is not between 1%% and 1024", c->cpu);
        else
            c->cpu_milli = (uint32_t)(share + 0.5);
    }
}

void fm_conf_no_process(struct bt_conf_ctx *ctx, const struct fm_function_conf *c)
{
    const struct fm_limits_conf *l = &c->limits;
    const struct {
        bool set;
        const char *key;
    } keys[] = {
        { c->user != NULL, "user" },        { c->sandbox.enable, "sandbox" },
        { l->memory > 0, "limits.memory" }, { l->cpu != NULL, "limits.cpu" },
        { l->pids > 0, "limits.pids" },     { l->files > 0, "limits.files" },
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(keys); i++)
        if (keys[i].set)
            bt_conf_warn_at(ctx, c, keys[i].key,
                            "has no effect: this runtime is not a process");
}

const struct bt_conf_table fm_limits_table = {
    .name = "functions.functions.limits",
    .doc = "What an instance of the function may use.",
    .size = sizeof(struct fm_limits_conf),
    .rows = limits_rows,
    .n_rows = BT_ARRAY_LEN(limits_rows),
    .check = check_limits,
};

static const struct bt_conf_row sandbox_rows[] = {
    BT_CONF_ROW(struct fm_sandbox_conf, "enable", BOOL, enable, "false",
                "The function sees its code and the system's programs and libraries, "
                "read-only, its data folder, and nothing else. Needs Landlock (Linux "
                "5.13)."),
    BT_CONF_ROW(
        struct fm_sandbox_conf, "data", STRING, data, NULL,
        "Folder that the function may write to, relative to the working directory; "
        "it is made, and becomes TMPDIR.",
        .match = ".", .max = 4096),
    BT_CONF_ROW(struct fm_sandbox_conf, "read", STRINGS, read, NULL,
                "More files and folders that it may read.", .match = ".", .max = 64),
    BT_CONF_ROW(struct fm_sandbox_conf, "write", STRINGS, write, NULL,
                "More files and folders that it may write to.", .match = ".", .max = 64),
};

static void check_sandbox(struct bt_conf_ctx *ctx, void *obj)
{
    struct fm_sandbox_conf *c = obj;

    if (!c->enable && (c->read.n > 0 || c->write.n > 0))
        bt_conf_warn_at(ctx, obj, c->read.n > 0 ? "read" : "write",
                        "has no effect without sandbox.enable");
}

const struct bt_conf_table fm_sandbox_table = {
    .name = "functions.functions.sandbox",
    .doc = "Which files the function may see.",
    .size = sizeof(struct fm_sandbox_conf),
    .rows = sandbox_rows,
    .n_rows = BT_ARRAY_LEN(sandbox_rows),
    .check = check_sandbox,
};
