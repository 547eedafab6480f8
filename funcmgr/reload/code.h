/* Functions whose code has changed get new instances. */
#ifndef FUNCMGR_CODE_H
#define FUNCMGR_CODE_H

#include "funcmgr/calls/calls.h"
#include "funcmgr/reload/watch.h"

/* Watch the code of all functions that want it. env finds the pools and has the mailbox;
 * it outlives the watch. before: NULL, or the watch so far, which is stopped and knows
 * what was loaded. *out is NULL when there is nothing to watch. Main thread; 0 or a fatal
 * code, logged. */
int fm_code_watch(const struct fm_conf *conf, const char *work_dir,
                  const struct fm_calls_env *env, struct fm_watch *before,
                  struct fm_watch **out) BT_MUST_CHECK;

#endif
