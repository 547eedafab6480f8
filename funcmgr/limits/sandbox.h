/* The optional sandbox of a function: its code and the system read-only, its data folder
 * read-write, nothing else. Landlock enforces it. */
#ifndef FUNCMGR_SANDBOX_H
#define FUNCMGR_SANDBOX_H

#include "funcmgr/limits/limits.h"

/* Fill sandboxed and data_dir; the data folder is made and given to the function's user.
 * 0; BT_ECONF (logged): no Landlock here, or a folder that cannot be had; BT_ENOMEM. */
int fm_sandbox_init(struct fm_limits *l) BT_MUST_CHECK;
/* A rule set for one instance, close-on-exec, or -1 (logged). */
int fm_sandbox_rules(const struct fm_limits *l) BT_MUST_CHECK;

#endif
