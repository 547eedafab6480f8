/* What a reload replaces: the configuration and what is built from it. Counted; each
 * worker holds one and swaps it when it is told, so within one loop turn it is the same.
 * Read-only; any thread. */
#ifndef HUB_SETTINGS_H
#define HUB_SETTINGS_H

#include <stdatomic.h>

#include "core/mbox.h"
#include "hub/access/auth.h"
#include "hub/hub.h"

struct hub;
struct hub_worker;

struct hub_settings {
    _Atomic uint32_t refs;
    const struct hub_conf *conf;
    struct bt_conf_ctx *owner; /* of conf; NULL: of the start, which lives on */
    struct hub_auth *auth;
};

/* before: the ones these replace, or NULL. owner: a reference is taken, unless NULL. */
int hub_settings_new(const struct hub_conf *conf, struct bt_conf_ctx *owner,
                     const struct hub_settings *before,
                     struct hub_settings **out) BT_MUST_CHECK;
struct hub_settings *hub_settings_ref(struct hub_settings *s);
void hub_settings_unref(struct hub_settings *s); /* NULL is fine */

/* Main thread: start what these settings need and is not there. */
int hub_settings_ready(struct hub *hub, const struct hub_settings *s) BT_MUST_CHECK;

/* Main thread: the module's reload. Everything that can fail is done first. */
int hub_reload(void *self, const void *conf, struct bt_conf_ctx *owner);
/* HUB_W_SETTINGS, on the worker: swap, then apply to what lives here. A session whose
 * user is gone or has another password is disconnected (0x98); a subscription that is no
 * longer permitted is removed. Takes msg. */
void hub_worker_settings(struct hub_worker *w, struct bt_msg *msg);

#endif
