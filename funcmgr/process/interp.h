/* Which program runs a function: the name in the configuration, looked up once at start.
 */
#ifndef FUNCMGR_INTERP_H
#define FUNCMGR_INTERP_H

#include "core/buf.h"
#include "funcmgr/funcmgr.h"

enum fm_language {
    FM_PYTHON,
    FM_NODE,
    FM_PROGRAM, /* any other, which speaks docs/frames.md itself */
};
#define FM_N_LANGUAGES 2 /* those with an embedded runtime */

struct fm_interp {
    char *path; /* absolute; owned */
    enum fm_language language;
    const struct bt_conf_strings *args; /* FM_PROGRAM: borrowed from the configuration */
    char *missing; /* why there is none; owned. Path is then the runtime's name, which is
                      looked up again at every start of an instance. NULL: there is one */
};

/* Find the program for a runtime name in the folders of `search` (as in PATH). 0,
 * BT_ENOMEM, or BT_EINVAL with what was looked for and where in *why (text, not logged).
 * Free with _deinit. */
int fm_interp_find(const char *runtime, const char *search, struct fm_interp *out,
                   struct bt_buf *why) BT_MUST_CHECK;
/* The same in the folders of PATH. */
int fm_interp_lookup(const char *runtime, struct fm_interp *out,
                     struct bt_buf *why) BT_MUST_CHECK;
/* Whether a function with this runtime (or NULL) is a program of its own. */
bool fm_interp_is_exec(const char *runtime);
/* What runs a function: the interpreter, or for exec the program, which must be there and
 * executable. work_dir: absolute, or NULL for the process's own. As fm_interp_find. */
int fm_interp_of(const struct fm_function_conf *c, const char *work_dir,
                 struct fm_interp *out, struct bt_buf *why) BT_MUST_CHECK;
/* An interpreter that is not there, with the text of why; instances do not start until it
 * is. 0 or BT_ENOMEM. */
int fm_interp_absent(const char *runtime, const struct bt_buf *why,
                     struct fm_interp *out) BT_MUST_CHECK;
void fm_interp_deinit(struct fm_interp *interp);
/* Arguments that start the embedded runtime, whose source is open as descriptor
 * FM_SOURCE_FD, or the program; argv has room for FM_INTERP_ARGS. They borrow. */
#define FM_SOURCE_FD   5
#define FM_INTERP_ARGS (FM_MAX_ARGS + 2)
void fm_interp_argv(const struct fm_interp *interp, char *argv[FM_INTERP_ARGS]);

#endif
