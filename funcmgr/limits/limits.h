/* What a function may use, and what the machine can hold it to: the policy over control
 * groups, process limits and Landlock. The function manager's thread only, or before it
 * runs. */
#ifndef FUNCMGR_LIMITS_H
#define FUNCMGR_LIMITS_H

#include "core/confine.h"
#include "core/list.h"
#include "core/loop.h"
#include "funcmgr/funcmgr.h"
#include "funcmgr/limits/cgroup.h"
#include "funcmgr/limits/guard.h"
#include "funcmgr/limits/user.h"
#include "funcmgr/process/interp.h"

enum fm_limit { FM_LIMIT_MEMORY, FM_LIMIT_CPU, FM_LIMIT_PIDS, FM_LIMIT_FILES };
#define FM_N_LIMITS 4

/* Who holds a function to a limit. */
enum fm_limit_by {
    FM_BY_NOBODY,  /* no limit is wanted */
    FM_BY_CGROUP2, /* control groups, version 2 */
    FM_BY_CGROUP1, /* control groups, version 1 */
    FM_BY_RLIMIT,  /* a limit of the process */
    FM_BY_RUNTIME, /* an option of the interpreter */
    FM_BY_NICE,    /* only a lower priority: the limit is not enforced */
    FM_BY_NOTHING, /* it is wanted and cannot be enforced */
};
#define FM_N_LIMIT_BY 7

/* What the machine has; one in the manager, outlives all below. */
struct fm_backend {
    struct bt_loop *loop;
    struct fm_guard guard;
    const char *root, *work_dir;
    enum fm_backend_choice choice;
    struct fm_cgroups cgroups;
    bool open;             /* they were looked for */
    struct bt_buf why;     /* what was missing */
    struct bt_list graves; /* groups whose processes have not all ended */
    struct bt_timer timer;
};

/* root and work_dir as fm_cgroups_open, borrowed. Control groups are looked for when the
 * first function needs them; what is missing is logged. No guard is started. */
void fm_backend_init(struct fm_backend *b, struct bt_loop *loop, const char *root,
                     const char *work_dir, enum fm_backend_choice choice);
void fm_backend_deinit(struct fm_backend *b);
/* "cgroup2", "cgroup1", "cgroup2+cgroup1", "rlimit". */
const char *fm_backend_name(const struct fm_backend *b);

/* One function's, made at start and when the configuration changes. Instances hold a
 * reference as long as they live; conf and interp belong to the pool and are looked at
 * only when one starts. */
struct fm_limits {
    unsigned refs;
    struct fm_backend *backend;
    const struct fm_function_conf *conf;
    const char *work_dir;
    const struct fm_interp *interp;
    struct fm_limits_conf want; /* numbers only */
    enum fm_limit_by by[FM_N_LIMITS];
    struct fm_user user;
    bool sandboxed;
    char *data_dir; /* sandbox.data, absolute, or NULL */
    struct bt_slice
        *env; /* HOME, TMPDIR where they are other ones, then the function's */
    size_t n_env;
};

/* Decide who holds what, look up the user, make the data folder. Logs one line about what
 * is enforced and a warning for each limit that is not. b NULL: *out is NULL, which is no
 * limits. interp may be NULL. 0; BT_ECONF (logged): unknown user, not root, a sandbox
 * without Landlock; BT_ENOMEM. */
int fm_limits_new(struct fm_backend *b, const struct fm_function_conf *conf,
                  const char *work_dir, const struct fm_interp *interp,
                  struct fm_limits **out) BT_MUST_CHECK;
struct fm_limits *fm_limits_ref(struct fm_limits *l);
void fm_limits_unref(struct fm_limits *l); /* NULL is fine */

struct fm_cell;
/* For cell.c: takes a cell whose processes are being killed and frees it when its group
 * is empty. */
void fm_limits_bury(struct fm_backend *b, struct fm_cell *cell);

const char *fm_limit_name(enum fm_limit limit);    /* "memory" */
const char *fm_limit_by_name(enum fm_limit_by by); /* "cgroup2", "unenforced" */
/* The wanted value: bytes, thousandths of a processor, a count; 0 = none. */
uint64_t fm_limit_value(const struct fm_function_conf *conf, enum fm_limit limit);

#endif
