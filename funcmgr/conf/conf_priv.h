/* The parts of the function manager's option table, a file each. */
#ifndef FUNCMGR_CONF_PRIV_H
#define FUNCMGR_CONF_PRIV_H

#include "funcmgr/funcmgr.h"

#define FM_DAY_MS ((int64_t)24 * 3600 * 1000)

extern const struct bt_conf_table fm_hub_table;      /* conf_hub.c */
extern const struct bt_conf_table fm_rule_table;     /* conf_rule.c */
extern const struct bt_conf_table fm_function_table; /* conf_function.c */
extern const struct bt_conf_table fm_requests_table; /* conf_calls.c */
extern const struct bt_conf_table fm_http_table;     /* conf_http.c */
extern const struct bt_conf_table fm_limits_table;   /* conf_limits.c */
extern const struct bt_conf_table fm_sandbox_table;  /* conf_limits.c */

/* Whether a key of this block was written. */
bool fm_hub_is_given(const struct bt_conf_ctx *ctx, const struct fm_hub_conf *c);

/* Warn about limits of a function that runs in this process. */
void fm_conf_no_process(struct bt_conf_ctx *ctx, const struct fm_function_conf *c);

#endif
