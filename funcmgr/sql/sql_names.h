/* The functions that a statement of the `sql` runtime may call. Constant; any thread. */
#ifndef FUNCMGR_SQL_NAMES_H
#define FUNCMGR_SQL_NAMES_H

#include "core/base.h"

/* Ours beside them: a member of the payload by its path's number, and a truth value. */
#define FM_SQL_MEMBER "m"
#define FM_SQL_TRUTH  "b"

struct fm_sql_function {
    const char *name;
    unsigned min, max;   /* arguments */
    unsigned truth_from; /* not 0: a truth value when all arguments from this one are */
    unsigned literal;    /* not 0: this argument is written in the statement */
};

/* NULL: there is none. In any case. */
const struct fm_sql_function *fm_sql_function(struct bt_slice name);

#endif
