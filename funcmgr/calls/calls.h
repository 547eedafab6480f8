/* Functions as HTTP shows them: on the control socket and, where `http.listen` says so,
 * on addresses of their own. docs/api.md has the routes.
 *
 * Requests come on the main thread and become tasks of the function manager's thread,
 * which answers them. Everything in the struct but n_calls is written before the thread
 * runs. */
#ifndef FUNCMGR_CALLS_H
#define FUNCMGR_CALLS_H

#include <stdatomic.h>

#include "core/api.h"
#include "core/loop.h"
#include "core/mbox.h"
#include "funcmgr/funcmgr.h"
#include "funcmgr/pool/pool.h"

/* Calls by HTTP under way, also those whose client went away; of each server, so that
 * the callers of the one cannot take the other's. */
#define FM_MAX_HTTP_CALLS 1024u
#define FM_MAX_CALL_TOPIC 1024u /* of the context, with its end */
/* An error message repeats an input up to this size. */
#define FM_MAX_ERROR_INPUT ((size_t)64 * 1024)

/* The function manager, as far as calls need it. Its thread only, but for mbox. */
struct fm_calls_env {
    struct bt_loop *loop;
    struct bt_mbox *mbox; /* runs tasks: FM_MSG_TASK */
    void *arg;
    struct fm_pool *(*find)(void *arg, struct bt_slice function);
    /* All pools, in order; NULL after the last. */
    struct fm_pool *(*at)(void *arg, size_t i);
};

struct fm_calls;

/* One server's view: the routes' arg. */
struct fm_face {
    struct fm_calls *calls;
    bool remote;              /* functions can keep out of it */
    _Atomic uint32_t n_calls; /* under way */
};

struct fm_calls {
    struct fm_calls_env env;
    const struct fm_http_conf *conf;
    struct bt_api *control, *http; /* NULL: there is none */
    struct fm_face control_face, http_face;
    struct bt_api_route routes[3];
    char *token; /* owned */
};

/* Main thread, all of these. `conf` outlives the calls. Binds the addresses; 0 or a fatal
 * code, logged. _deinit either way. */
int fm_calls_init(struct fm_calls *calls, const struct fm_calls_env *env,
                  const struct fm_conf *conf, struct bt_loop *main_loop,
                  struct bt_api *control) BT_MUST_CHECK;
/* Read token and certificates again, which also means their files; the rest of `conf`
 * needs a restart. What cannot be read is logged, and the old one stays. A server that
 * asks for a token goes on to do so. */
void fm_calls_reload(struct fm_calls *calls, const struct fm_conf *conf);
/* Let clients in. */
void fm_calls_open(struct fm_calls *calls);
/* After the function manager's thread has ended, or before it began. Idempotent. */
void fm_calls_deinit(struct fm_calls *calls);

/* ---- funcmgr/calls/http_call.c, funcmgr/calls/describe.c: the handlers; arg is a face.
 * ---- */
void fm_http_call(void *arg, struct bt_api_req *req);
void fm_http_list(void *arg, struct bt_api_req *req);
void fm_http_one(void *arg, struct bt_api_req *req);

#endif
