/* The environment of an instance: a few variables of ours, the function's own, nothing
 * else. */
#ifndef FUNCMGR_INSTANCE_ENV_H
#define FUNCMGR_INSTANCE_ENV_H

#include "core/base.h"

struct fm_child_env {
    char **envp; /* NULL-terminated; each string is owned */
    size_t n;
};

/* extra: NUL-terminated NAME=value each; a later one replaces an earlier one of the same
 * name. 0 or BT_ENOMEM; _deinit either way. */
int fm_child_env_init(struct fm_child_env *env, const char *instance,
                      const char *function, const struct bt_slice *extra,
                      size_t n_extra) BT_MUST_CHECK;
void fm_child_env_deinit(struct fm_child_env *env);

#endif
